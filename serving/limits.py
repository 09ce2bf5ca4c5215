"""A cap on what a request may send, by its own word (Content-Length) and by count."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware: 413 for bodies above `max_bytes`, whether declared or streamed."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, counting."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self.max_bytes:
            await self._refuse(send)
            return
        await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen, answered, over = 0, False, False

        async def count() -> Message:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_bytes:
                over = True
                raise _TooLarge(413)
            return message

        async def note(message: Message) -> None:
            nonlocal answered
            if over and not answered:
                return          # the app's own words for the signal; the refusal below says what to do
            answered = answered or message["type"] == "http.response.start"
            await send(message)

        with contextlib.suppress(_TooLarge):
            await self.app(scope, count, note)
        if over and not answered:
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        text = f"the request is larger than {self.max_bytes / 2**20:g} MiB; send fewer plates at a time"
        finding = {"rule": "request_too_large", "severity": "error", "message": text, "plate": "", "well": "", "column": "", "value": ""}
        body: dict[str, Any] = {"error": text, "findings": [finding]}
        await send({"type": "http.response.start", "status": 413,
                    "headers": [(b"content-type", b"application/json"), (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


class _TooLarge(HTTPException):
    """The body went beyond the limit; an HTTPException, so that handlers of the app count it as 413."""
