"""What a request may send: forms go to disk and may be large, all else is read into memory and may not; silence ends a request."""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from serving import limits
from serving.endpoints import received
from serving.faults import error_response
from serving.forms import Fields
from serving.limits import BodyLimit, Punctual
from serving.settings import Settings
from tests.waiting import PATIENCE, until


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BodyLimit:
    """/form takes an upload as the service's addresses do; /memory reads its body whole, as FastAPI does with JSON."""
    monkeypatch.setattr(limits, "SMALL_BYTES", 1000)

    async def form(request: Request) -> Response:
        async with received(request, Fields(files=("images",), texts=(), required=("images",))) as (found, _):
            return PlainTextResponse(str(found.files["images"][0].path.stat().st_size))

    async def memory(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))
    starlette = Starlette(routes=[Route("/form", form, methods=["POST"]), Route("/memory", memory, methods=["POST"])])
    starlette.state.settings, starlette.state.uploads = Settings(state=tmp_path), tmp_path / "uploads"
    return BodyLimit(starlette, max_bytes=100_000)


def test_an_upload_may_be_large_and_a_body_in_memory_may_not(app: BodyLimit) -> None:
    """Gigabytes of JSON to one address took the service's memory threefold."""
    client = TestClient(app)
    assert client.post("/form", files={"images": ("P1.zip", bytes(50_000))}).text == "50000"
    assert client.post("/memory", content=bytes(900)).text == "900"
    refused = client.post("/memory", content=bytes(50_000))
    assert (refused.status_code, refused.json()["findings"][0]["rule"]) == (413, "request_too_large")
    assert client.post("/form", files={"images": ("P1.zip", bytes(200_000))}).status_code == 413


@pytest.mark.parametrize("declared", [True, False])
def test_no_upload_takes_the_last_of_the_disk(app: BodyLimit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, declared: bool) -> None:
    """One holder of a token could fill it for everybody, and for results and promotions too."""
    def usage(folder: Path) -> SimpleNamespace:
        taken = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        return SimpleNamespace(total=10_000_000, free=550_000 - taken)
    monkeypatch.setattr("serving.limits.shutil.disk_usage", usage)
    monkeypatch.setattr("serving.forms._BUFFER", 1000)
    app.max_bytes, client = 10_000_000, TestClient(app, raise_server_exceptions=False)
    client.app.app.add_exception_handler(OSError, lambda _, error: error_response(error))
    assert client.post("/form", files={"images": ("P1.zip", bytes(40_000))}).text == "40000"
    body = b'--b\r\nContent-Disposition: form-data; name="images"; filename="P1.zip"\r\n\r\n' + bytes(60_000) + b"\r\n--b--\r\n"
    sent = body if declared else (body[start:start + 3000] for start in range(0, len(body), 3000))
    refused = client.post("/form", content=sent, headers={"content-type": "multipart/form-data; boundary=b"})
    assert (refused.status_code, "less than 0 MiB of it would be free" in refused.text) == (507, True)
    assert list((tmp_path / "uploads").iterdir()) == []


class Timeless(asyncio.SelectorEventLoop):
    """A loop whose time stands still while anybody works and else jumps to what is waited for: a minute is over at once, and a busy machine
    is no silence.
    """

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        due = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        if due and not self._ready:
            self.now = max(self.now, min(due))
        super()._run_once()


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=Timeless) as runner:
        runner.run(work)


BEGIN = b'--b\r\nContent-Disposition: form-data; name="images"; filename="P1.zip"\r\n\r\n'


def sent(app: BodyLimit, path: str, pieces: Iterable[bytes], *, every: float) -> list[Message]:
    """The answer to a form of these pieces, `every` so many seconds one, and then silence."""
    answers: list[Message] = []
    coming = itertools.chain([BEGIN], pieces)

    async def receive() -> Message:
        await asyncio.sleep(every)
        piece = next(coming, None)
        if piece is None:
            await asyncio.sleep(1000 * limits.IDLE_SECONDS)
            return {"type": "http.disconnect"}
        return {"type": "http.request", "more_body": not piece.endswith(b"--"), "body": piece}

    async def send(message: Message) -> None:
        answers.append(message)
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "root_path": "", "headers": [
        (b"content-type", b"multipart/form-data; boundary=b")]}
    run(app(scope, receive, send))
    return answers


@pytest.mark.parametrize("path", ["/form", "/memory"])
@pytest.mark.parametrize("pieces", [[b"xxx"], itertools.repeat(b"x", 1000)])
def test_a_sender_that_falls_silent_or_as_good_as_that_is_not_waited_for_and_leaves_nothing(
        app: BodyLimit, tmp_path: Path, path: str, pieces: Iterable[bytes]) -> None:
    """A laptop that is closed in the middle of an upload, or a byte a minute: a connection, its file and the service's orderly end hung
    on it.
    """
    answers = sent(app, path, pieces, every=limits.IDLE_SECONDS / 5)
    assert answers[0]["status"] == 408
    assert (b"connection", b"close") in answers[0]["headers"]
    assert not list(tmp_path.glob("uploads/*"))


def test_a_slow_line_is_waited_for(app: BodyLimit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty times as long as silence is."""
    monkeypatch.setattr(limits, "SLOWEST", 2)
    answers = sent(app, "/form", [*[bytes(100)] * 50, b"\r\n--b--"], every=0.8 * limits.IDLE_SECONDS)
    assert (answers[0]["status"], answers[1]["body"]) == (200, b"5000")


def test_a_long_answer_is_no_silence(app: BodyLimit) -> None:
    """Who has sent everything may wait: for the answer of a plate, for minutes."""
    async def slow(scope: object, receive: object, send: object) -> None:
        assert (await receive())["more_body"] is False
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 4 * limits.IDLE_SECONDS)
    app.app = slow
    messages = iter([{"type": "http.request", "body": b"x", "more_body": False}])

    async def receive() -> Message:
        return next(messages, None) or await asyncio.Event().wait()
    run(app({"type": "http", "headers": []}, receive, lambda _: asyncio.sleep(0)))


@dataclass
class Slow:
    """A server, the connections that it keeps, and the paths that it answered."""

    port: int
    connections: set[object]
    asked: list[str]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """A server that waits 0.3 s for the other side, and takes three times as long for its answer of 20 MB."""
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.3)
    asked: list[str] = []

    async def answer(request: Request) -> Response:
        asked.append(request.url.path)
        await asyncio.sleep(3 * limits.IDLE_SECONDS)
        return PlainTextResponse("x" * 20_000_000)
    found = uvicorn.Server(uvicorn.Config(Starlette(routes=[Route("/", answer)]), http=Punctual, log_config=None, lifespan="off"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=found.run, kwargs={"sockets": [listening]})
    thread.start()
    yield Slow(listening.getsockname()[1], found.server_state.connections, asked)
    found.should_exit = True
    thread.join()


HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"


@pytest.mark.parametrize("said", [b"", HEAD])
def test_who_does_not_say_what_is_asked_is_not_waited_for(slow: Slow, said: bytes) -> None:
    """3,000 such connections of one stranger were kept for ever."""
    with socket.create_connection(("127.0.0.1", slow.port), timeout=PATIENCE) as sender:
        sender.sendall(said)
        assert sender.recv(1) == b""


@pytest.mark.parametrize("piece", [b"x" * 1000, b"x: " + b"y" * 1000 + b"\r\n"])
def test_a_head_without_end_is_not_listened_to(slow: Slow, monkeypatch: pytest.MonkeyPatch, piece: bytes) -> None:
    """190 MB of headers took 800 MB of memory, before anybody asked for a token."""
    monkeypatch.setattr(limits, "IDLE_SECONDS", 60)
    with socket.create_connection(("127.0.0.1", slow.port), timeout=PATIENCE) as sender:
        sender.sendall(HEAD + piece * 60)
        sender.sendall(piece * 10)
        assert sender.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("said", [b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: 4",
                                  b"Content-Length: 4\r\nContent-Length: 5", b"Content-Length : 4", b"Transfer-Encoding: chunked, identity",
                                  b"Content-Length: +4", b"X: a\r\n Content-Length: 4"])
def test_a_body_whose_length_has_two_readings_is_refused(slow: Slow, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """A gateway that reads the other one would pass on what is hidden in it (request smuggling)."""
    monkeypatch.setattr(limits, "IDLE_SECONDS", 60)
    with socket.create_connection(("127.0.0.1", slow.port), timeout=PATIENCE) as sender:
        sender.sendall(b"POST / HTTP/1.1\r\nHost: here\r\n" + said + b"\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: here\r\n\r\n")
        with sender.makefile("rb") as answer:
            found = answer.read()
    assert (found.startswith(b"HTTP/1.1 400"), found.count(b"HTTP/1.1")) == (True, 1)


@pytest.mark.parametrize("piece", [b"x" * 1000, b"x: " + b"y" * 1000 + b"\r\n"])
def test_nor_is_what_follows_a_body(slow: Slow, monkeypatch: pytest.MonkeyPatch, piece: bytes) -> None:
    monkeypatch.setattr(limits, "IDLE_SECONDS", 60)
    with socket.create_connection(("127.0.0.1", slow.port), timeout=PATIENCE) as sender:
        sender.sendall(b"POST /nowhere HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
        sender.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\n")       # a body is not counted
        answer = b""
        while not answer.endswith(b"Not Found"):
            answer += sender.recv(100_000)
        assert answer.startswith(b"HTTP/1.1 404")
        for _ in range(100):    # some of it is read with the body
            sender.sendall(piece * 10)
            if select.select([sender], [], [], 0.1)[0]:
                break
        assert sender.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(("asked", "further"), [
    (b"POST /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n", b"x"),
    (b"POST /nowhere HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\n"),
    (b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n", b"\r\n")])
def test_who_has_an_answer_and_falls_silent_is_not_waited_for(slow: Slow, asked: bytes, further: bytes) -> None:
    """A single byte after any answer, a refusal too, held its connection for ever."""
    with socket.create_connection(("127.0.0.1", slow.port), timeout=PATIENCE) as sender:
        sender.sendall(asked)
        assert sender.recv(1000).startswith(b"HTTP/1.1 404")
        sender.sendall(further)
        with sender.makefile("rb") as rest:
            assert rest.read() in (b"", b"Not Found")


def test_who_waits_for_an_answer_and_takes_it_is(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with half of the next request sent already, which then is the one that is not waited for."""
    monkeypatch.setattr(limits, "IDLE_SECONDS", 1)
    with socket.create_connection(("127.0.0.1", slow.port), timeout=PATIENCE) as sender:
        sender.sendall(HEAD + b"\r\n" + HEAD)
        with sender.makefile("rb") as answer:
            assert len(answer.read()) > 20_000_000


def test_who_does_not_take_an_answer_is_not_waited_for(slow: Slow) -> None:
    with socket.create_connection(("127.0.0.1", slow.port), timeout=PATIENCE) as sender:
        sender.sendall(HEAD + b"\r\n")
        until(lambda: bool(slow.asked) and not slow.connections)
        with sender.makefile("rb") as answer:
            assert len(answer.read()) < 20_000_000      # what lay on the way


def test_a_large_answer_is_minutes_on_its_way_over_a_slow_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was cut off after one, however steadily it was taken."""
    left, waits, ends = [20_000_000], list[Callable[[], None]](), list[bool]()
    taker = object.__new__(Punctual)
    taker.flow = SimpleNamespace(pause_writing=lambda: None)
    taker.loop = SimpleNamespace(call_later=lambda seconds, act: waits.append(act))
    taker.transport = SimpleNamespace(get_write_buffer_size=lambda: left[0], abort=lambda: ends.append(True))
    taker._waits = {}
    taker.pause_writing()
    for _ in range(5):
        left[0] -= limits.SLOWEST * int(limits.IDLE_SECONDS)
        waits[-1]()
    assert (len(waits), ends) == (6, [])
    left[0] -= 1000
    waits[-1]()
    assert (len(waits), ends) == (6, [True])


def test_the_service_waits_so(tmp_path: Path) -> None:
    code = "import serving.service, uvicorn; c = uvicorn.Config('serving.service:app'); c.load(); print(c.http_protocol_class.__name__)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "DOSEWELL_STATE": str(tmp_path)}, capture_output=True, text=True,
                          check=True)
    assert done.stdout.split() == ["Punctual"]
