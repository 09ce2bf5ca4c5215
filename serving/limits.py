"""A cap on what a request may send, by its own word (Content-Length) and by count."""

from __future__ import annotations

import contextlib

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.faults import error_response


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
            await error_response(RequestTooLarge(self.max_bytes))(scope, receive, send)
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
                raise RequestTooLarge(self.max_bytes)
            return message

        async def note(message: Message) -> None:
            nonlocal answered
            if over and not answered:
                return          # the app's own words for the signal; the refusal below says what to do
            answered = answered or message["type"] == "http.response.start"
            await send(message)

        with contextlib.suppress(RequestTooLarge):
            await self.app(scope, count, note)
        if over and not answered:
            await error_response(RequestTooLarge(self.max_bytes))(scope, receive, send)


class RequestTooLarge(HTTPException):
    """The body went beyond the limit; an HTTPException, so that handlers of the app count it as 413."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, f"the request is larger than {max_bytes / 2**20:g} MiB; send fewer plates at a time",
                         headers={"connection": "close"})
