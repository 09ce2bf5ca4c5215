"""What a request may send: how much, by its own word (Content-Length) and by count, and how long either side may be silent."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.faults import error_response

SMALL_BYTES = 8 * 2**20     # of a body that is read into memory: 20,000 wells with reasons fit
IDLE_SECONDS = 60.0         # a laptop that was closed in the middle of an upload says no goodbye, and would be waited for for ever
SLOWEST = 4096              # bytes of a body a second, on average: plates come faster over any line, and a byte a minute holds on for ever
HEAD_BYTES = 65_536         # of address and headers
KEPT_FREE, KEPT_SHARE = 2**30, 0.05     # bytes of the disk that no upload takes, or of a small disk this share
_KEY = "dosewell.allowance"


@dataclass
class _Allowance:
    """Bytes that this request may send; a form, which goes straight to disk, may send more."""

    max_bytes: int


def allow_upload(scope: Scope, max_bytes: int) -> None:
    """The body of this request goes to disk, so it may be large."""
    if _KEY in scope:
        scope[_KEY].max_bytes = max_bytes


def require_room(folder: Path, *, coming: int = 0) -> None:
    """Raises OSError (507) where an upload of which so many bytes are still to come leaves too little of the disk of `folder`: results,
    logs, promotions and the table of jobs need some, whoever sends.
    """
    disk = shutil.disk_usage(folder)
    kept = int(min(KEPT_FREE, KEPT_SHARE * disk.total))
    if disk.free - coming < kept:
        raise OSError(errno.ENOSPC, f"with this upload, less than {kept / 2**20:,.0f} MiB of it would be free")


class BodyLimit:
    """ASGI middleware that answers 413 to a body above `max_bytes` (above SMALL_BYTES where it is no upload), and 408 to one that stops for
    IDLE_SECONDS or comes more slowly than SLOWEST.
    """

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
        scope[_KEY] = _Allowance(min(SMALL_BYTES, self.max_bytes))
        await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowance: _Allowance = scope[_KEY]
        seen, waited, complete, answered, over = 0, 0.0, False, False, False

        async def count() -> Message:
            nonlocal seen, waited, complete, over
            if complete:    # what comes now is that the other side goes away
                return await receive()
            began = anyio.current_time()
            message = await _soon(receive, min(IDLE_SECONDS, IDLE_SECONDS + seen / SLOWEST - waited))
            waited += anyio.current_time() - began      # not what the disk takes for it
            complete = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > allowance.max_bytes:
                over = True
                raise RequestTooLarge(allowance.max_bytes)
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
            await error_response(RequestTooLarge(allowance.max_bytes))(scope, receive, send)


async def _soon(receive: Receive, seconds: float) -> Message:
    """The next piece of a body. Raises HTTPException where none comes."""
    try:
        with anyio.fail_after(seconds):
            return await receive()
    except TimeoutError:
        raise HTTPException(408, f"nothing came for {IDLE_SECONDS:g} s in the middle of the request, or less than {SLOWEST / 1024:g} KiB a "
                                 "second of all of it; send it again", headers={"connection": "close"}) from None


class RequestTooLarge(HTTPException):
    """The body went beyond the limit; an HTTPException, so that handlers of the app count it as 413."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, f"the request is larger than {max_bytes / 2**20:g} MiB; send less at a time",
                         headers={"connection": "close"})


class Punctual(HttpToolsProtocol):
    """uvicorn's connection, closed where the other side does not say within IDLE_SECONDS and HEAD_BYTES what it asks, or takes an answer
    more slowly than SLOWEST. uvicorn itself waits and listens for ever: whoever reaches the port could hold all its open files and memory.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """A request is due."""
        self._waits: dict[str, asyncio.TimerHandle] = {}
        self._head_bytes = 0
        super().connection_made(transport)
        self._wait("head", self._give_up)

    def data_received(self, data: bytes) -> None:
        """A piece, of a head, a body, or of what may follow a body that comes in chunks, and is kept whole like a head."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of the request is longer than {HEAD_BYTES} bytes.")

    def on_body(self, body: bytes) -> None:
        """Counted by BodyLimit."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_begin(self) -> None:
        """The first line comes; of a second request over the same connection, too."""
        super().on_message_begin()
        if "head" not in self._waits:
            self._wait("head", self._give_up)

    def on_headers_complete(self) -> None:
        """What comes now is the body, for which BodyLimit waits."""
        self._head_bytes = 0
        self._wait_no_more("head")
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Of a body that nobody read, the rest may still come, and a next request may follow: with every byte, uvicorn would wait anew."""
        super().on_response_complete()
        if self.cycle.response_complete and "head" not in self._waits:
            self._wait("head", self._give_up)

    def pause_writing(self) -> None:
        """The answer is not taken as fast as it is made."""
        super().pause_writing()
        self._wait_for_taker()

    def resume_writing(self) -> None:
        """It is taken."""
        super().resume_writing()
        self._wait_no_more("answer")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        for what in list(self._waits):
            self._wait_no_more(what)
        super().connection_lost(exc)

    def _wait_for_taker(self) -> None:
        """For as long as the answer gets less: a large one is minutes on its way over a slow line."""
        enough = self.transport.get_write_buffer_size() - SLOWEST * IDLE_SECONDS

        def look() -> None:
            if self.transport.get_write_buffer_size() > enough:
                self.transport.abort()
            else:
                self._wait_for_taker()
        self._wait("answer", look)

    def _wait(self, what: str, give_up: Callable[[], None]) -> None:
        self._waits[what] = self.loop.call_later(IDLE_SECONDS, give_up)

    def _wait_no_more(self, what: str) -> None:
        if what in self._waits:
            self._waits.pop(what).cancel()

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self._wait("head", self._give_up)   # an earlier request's answer is being made
