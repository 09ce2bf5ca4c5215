"""Forms as they come over the wire: straight to disk, hashed, in pieces of any size, and never half a form."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from models.errors import InputError
from serving.forms import Fields, Form, _Parts, _Receiver, receive_form

FIELDS = Fields(files=("images", "layout"), texts=("model", "options"), required=("images", "model"), hashed=True)
BOUNDARY = b"xyz"


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """Answers with what came, or with the messages of the findings."""
    async def answer(request: Request) -> Response:
        try:
            form = await receive_form(request, tmp_path, FIELDS, max_text_bytes=1000)
        except InputError as error:
            return JSONResponse([finding.message for finding in error.findings], status_code=400)
        assert all(file.path.parent == tmp_path for files in form.files.values() for file in files)
        return JSONResponse({"texts": dict(form.texts), "files": {name: [
            (file.filename, file.sha256, hashlib.sha256(file.path.read_bytes()).hexdigest()) for file in files]
            for name, files in form.files.items()}})
    return TestClient(Starlette(routes=[Route("/", answer, methods=["POST"])]))


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    return b'--xyz\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + file.encode() + b"\r\n\r\n" + data + b"\r\n"


def send(client: TestClient, body: bytes, *, piece: int = 0) -> tuple[int, object]:
    def pieces() -> Iterator[bytes]:
        yield from (body[start:start + piece] for start in range(0, len(body), piece))
    response = client.post("/", content=pieces() if piece else body, headers={"content-type": "multipart/form-data; boundary=xyz"})
    return response.status_code, response.json()


GOOD = part("model", b"m") + part("images", b"\r\n--xy\r\n" * 50, "P1.zip") + part("images", b"", "P2.zip") + b"--xyz--\r\n"


def test_a_disk_that_does_not_answer_keeps_nobody_else_waiting(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked for its room in the event loop, so that /livez and all others waited with the upload."""
    in_loop: list[bool] = []

    def room(_folder: Path, *, coming: int = 0) -> None:
        in_loop.append(asyncio._get_running_loop() is not None)
    monkeypatch.setattr("serving.forms.require_room", room)
    assert send(client, GOOD)[0] == 200
    assert in_loop
    assert not any(in_loop)


@pytest.mark.parametrize("piece", [0, 1, 7, 64])
def test_files_come_whole_whatever_the_pieces(client: TestClient, piece: int) -> None:
    status, answer = send(client, GOOD, piece=piece)
    assert status == 200
    assert isinstance(answer, dict)
    assert answer["texts"] == {"model": "m"}
    (first, stated, found), (second, _, _) = answer["files"]["images"]
    assert (first, second, stated) == ("P1.zip", "P2.zip", found)
    assert found == hashlib.sha256(b"\r\n--xy\r\n" * 50).hexdigest()


async def received(folder: Path, body: bytes, *, piece: int) -> Form:
    """What came of a body in pieces, as a server hands them over; the test client joins them."""
    ends = range(piece, len(body) + piece, piece)
    messages = iter([{"type": "http.request", "body": body[end - piece:end], "more_body": end < len(body)} for end in ends])

    async def receive() -> Any:
        return next(messages)
    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", b"multipart/form-data; boundary=xyz")]}, receive)
    folder.mkdir()
    return await receive_form(request, folder, FIELDS, max_text_bytes=1000)


@pytest.mark.parametrize("buffer", [1, 100, 2**20])
@pytest.mark.parametrize("piece", [1, 7, 64, 5000])
def test_files_come_whole_in_however_many_goes_they_are_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffer: int,
                                                               piece: int) -> None:
    monkeypatch.setattr("serving.forms._BUFFER", buffer)
    form = anyio.run(partial(received, tmp_path / "in", GOOD, piece=piece))
    assert form.texts == {"model": "m"}
    assert [(file.filename, file.path.read_bytes()) for file in form.files["images"]] == [
        ("P1.zip", b"\r\n--xy\r\n" * 50), ("P2.zip", b"")]


def test_a_body_in_the_smallest_pieces_does_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece takes memory of its own beside its bytes."""
    piled: list[int] = []
    write = _Receiver.write

    def counted(self: _Receiver, pieces: Sequence[bytes]) -> None:
        piled.append(len(pieces))
        write(self, pieces)
    monkeypatch.setattr("serving.forms._BUFFER", 4096)
    monkeypatch.setattr(_Receiver, "write", counted)
    anyio.run(partial(received, tmp_path / "in", GOOD, piece=1))
    assert sum(piled) >= len(GOOD)
    assert max(piled) <= 4096 / 64


def test_files_are_hashed_only_where_a_hash_is_wanted(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.FIELDS", replace(FIELDS, hashed=False))
    status, answer = send(client, GOOD)
    assert status == 200
    assert isinstance(answer, dict)
    assert [(name, stated) for name, stated, _ in answer["files"]["images"]] == [("P1.zip", ""), ("P2.zip", "")]


@pytest.mark.parametrize(("body", "message"), [
    (GOOD[:-6], "ends before its last boundary"),
    (GOOD[:40], "ends before its last boundary"),
    (b"rubbish", "no multipart form"),
    (part("model", b"m") + part("model", b"n") + part("images", b"x", "a") + b"--xyz--\r\n", "'model' is given 2 times"),
    (part("model", b"m") + b"--xyz--\r\n", "'images' is missing"),
    (part("model", b"m") + part("images", b"http://127.0.0.1/") + b"--xyz--\r\n", "must be uploaded as a file"),
    (part("model", b"m" * 1001) + part("images", b"x", "a") + b"--xyz--\r\n", "'model' is larger than"),
    (part("else", b"m") + b"--xyz--\r\n", "unknown field 'else'; known: images, layout, model, options"),
    (b"--xyz\r\nX: " + b"y" * 100_000 + b"\r\n\r\n--xyz--\r\n", "no multipart form"),
    (b"--xyz\r\nX: y\r\n\r\n\r\n--xyz--\r\n", "a part has no name"),
    (part("images", b"", "a") * 5_100 + b"--xyz--\r\n", "more than 5020 parts"),
])
def test_what_is_no_usable_form_is_refused(client: TestClient, body: bytes, message: str) -> None:
    status, answer = send(client, body)
    assert status == 400
    assert isinstance(answer, list)
    assert message in " ".join(answer)


def test_a_text_may_come_as_a_file(client: TestClient) -> None:
    status, answer = send(client, part("model", b"m", "model.txt") + part("images", b"x", "a") + b"--xyz--\r\n")
    assert (status, answer["texts"]) == (200, {"model": "m"})


def test_a_text_that_is_given_again_is_counted_and_not_kept(client: TestClient, tmp_path: Path) -> None:
    """Each may have megabytes, and a form thousands of them."""
    again = part("model", b"m") + part("options", b"x" * 999) * 50 + part("images", b"", "P1.zip") + b"--xyz--\r\n"
    status, messages = send(client, again)
    assert (status, messages) == (400, ["'options' is given 50 times; give it once"])
    with _Receiver(parts := _Parts(tmp_path, FIELDS, 1000), BOUNDARY) as receiver:
        receiver.write([again])
    assert sum(map(len, parts.texts["options"])) == 999
