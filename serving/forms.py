"""A multipart body straight to disk, part by part: memory stays flat whatever is sent, and each file's sha256, where one is wanted,
is known once it has come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import anyio.to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from models.errors import Finding, InputError
from serving.limits import require_room

MAX_FILES = 5_000       # of a plate whose images are sent one by one
MAX_TEXTS = 20
_BUFFER = 2**20         # bytes that are parsed at a time, away from the event loop
_OBJECT = 64            # bytes of memory that each piece costs beside its content: a hostile sender may send single bytes


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What a form may hold. files: names of its file fields; single: those given once; texts: names of its text fields; required:
    those that must be there; hashed: whether the sha256 of files is wanted, which costs as much as receiving them.
    """

    files: tuple[str, ...]
    texts: tuple[str, ...]
    required: tuple[str, ...]
    single: tuple[str, ...] = ("layout",)
    hashed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All fields, files first."""
        return self.files + self.texts


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """An uploaded file on disk. filename: as its sender called it, not to be trusted; sha256 of its bytes, "" where none was wanted."""

    filename: str
    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Form:
    """The parts of a form: files in the order in which they came, and texts."""

    files: Mapping[str, Sequence[StoredFile]]
    texts: Mapping[str, str]


def field_finding(name: str, message: str, value: str = "") -> Finding:
    """A finding about a field of a form."""
    return Finding(rule="form_field", severity="error", column=name, value=value[:200], message=message)


async def receive_form(request: Request, folder: Path, fields: Fields, *, max_text_bytes: int) -> Form:
    """Write the body's files into `folder` and return what came.

    max_text_bytes: of a text field. Raises InputError with a finding per missing, unknown, repeated or wrong field, and for a body
    that is no form or ends early, OSError where the disk has no room for it.
    """
    await anyio.to_thread.run_sync(partial(require_room, folder, coming=int(request.headers.get("content-length", "0"))))
    content_type, parameters = parse_options_header(request.headers.get("content-type", ""))
    if content_type != b"multipart/form-data":
        return _Parts(folder, fields, max_text_bytes).form()
    if b"boundary" not in parameters:
        raise _broken("its content type names no boundary")
    with _Receiver(_Parts(folder, fields, max_text_bytes), parameters[b"boundary"]) as receiver:
        pieces: list[bytes] = []    # as they came: joined, each byte would be copied twice more
        held = 0
        async for piece in request.stream():
            pieces.append(piece)
            held += len(piece) + _OBJECT
            if held >= _BUFFER:
                await anyio.to_thread.run_sync(receiver.write, pieces)
                pieces, held = [], 0
        return await anyio.to_thread.run_sync(receiver.finish, pieces)


def _broken(reason: str) -> InputError:
    return InputError("the body is no form that can be read", [Finding(rule="form", severity="error", message=(
        f"the body is no multipart form that can be read: {reason}"))])


class _Parts:
    """The parts so far, and what is wrong with them. A part that is wrong is not stored."""

    def __init__(self, folder: Path, fields: Fields, max_text_bytes: int) -> None:
        self.folder, self.fields, self.max_text_bytes = folder, fields, max_text_bytes
        self.files: dict[str, list[StoredFile]] = {name: [] for name in fields.files}
        self.texts: dict[str, list[str]] = {name: [] for name in fields.texts}
        self.findings: list[Finding] = []
        self.count = 0

    def begin(self, name: str, filename: str | None) -> _FilePart | _TextPart | None:
        """Where the part's bytes go; None for a part that cannot be used."""
        self.count += 1
        if self.count > MAX_FILES + MAX_TEXTS:
            raise _broken(f"it has more than {MAX_FILES + MAX_TEXTS} parts; send one zip per plate")
        if name not in self.fields.names:
            self._note(name, f"unknown field '{name}'; known: {', '.join(self.fields.names)}")
        elif name in self.fields.texts:
            if not self.texts[name]:
                return _TextPart(self, name)
            self.texts[name].append("")     # counted, not kept: thousands of them would fill the memory
        elif filename is None:
            self._note(name, f"'{name}' must be uploaded as a file; addresses and texts are not fetched or read")
        else:
            return _FilePart(self, name, filename, self.folder / f"part-{self.count:05d}")
        return None

    def _note(self, name: str, message: str) -> None:
        if len(self.findings) < MAX_TEXTS:  # a thousand foreign parts are one mistake
            self.findings.append(field_finding(name[:100], message))

    def form(self) -> Form:
        """The whole. Raises InputError."""
        counts = {name: len(self.texts[name]) for name in self.fields.texts} | {
            name: len(self.files[name]) for name in self.fields.single if name in self.files}
        findings = self.findings + [field_finding(name, f"'{name}' is given {count} times; give it once")
                                    for name, count in counts.items() if count > 1]
        blamed = {finding.column for finding in findings}
        findings += [field_finding(name, f"'{name}' is missing") for name in self.fields.required
                     if name not in blamed and not (self.files.get(name) or self.texts.get(name))]
        if findings:
            raise InputError("the form cannot be used", findings)
        return Form(files=self.files, texts={name: items[0] for name, items in self.texts.items() if items})


class _TextPart:
    """A text field."""

    def __init__(self, parts: _Parts, name: str) -> None:
        self.parts, self.name, self.data = parts, name, bytearray()

    def write(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > self.parts.max_text_bytes:
            raise InputError(f"'{self.name}' cannot be used", [field_finding(
                self.name, f"'{self.name}' is larger than {self.parts.max_text_bytes / 2**20:g} MiB")])

    def end(self) -> None:
        self.parts.texts[self.name].append(self.data.decode("utf-8", errors="replace"))

    def close(self) -> None:
        """Nothing is open."""


class _FilePart:
    """A file, hashed while it is written where that is wanted."""

    def __init__(self, parts: _Parts, name: str, filename: str, path: Path) -> None:
        self.parts, self.name, self.filename, self.path = parts, name, filename, path
        self.digest = hashlib.sha256() if parts.fields.hashed else None
        self.file: IO[bytes] = path.open("wb")

    def write(self, data: bytes) -> None:
        self.file.write(data)
        if self.digest is not None:
            self.digest.update(data)

    def end(self) -> None:
        self.close()
        digest = self.digest.hexdigest() if self.digest is not None else ""
        self.parts.files[self.name].append(StoredFile(filename=self.filename, path=self.path, sha256=digest))

    def close(self) -> None:
        self.file.close()


class _Receiver:
    """python-multipart's callbacks, one part at a time."""

    def __init__(self, parts: _Parts, boundary: bytes) -> None:
        self.parts, self.ended = parts, False
        self.part: _FilePart | _TextPart | None = None
        self.name, self.value = bytearray(), bytearray()
        self.disposition = b""
        try:
            self.parser = MultipartParser(boundary, {
                "on_part_begin": self._begin, "on_header_field": self._header_name, "on_header_value": self._header_value,
                "on_header_end": self._header_end, "on_headers_finished": self._headers_end, "on_part_data": self._data,
                "on_part_end": self._end, "on_end": self._all})
        except FormParserError as error:
            raise _broken(str(error)) from None

    def write(self, pieces: Sequence[bytes]) -> None:
        """Parse pieces of the body. Looks at the disk each time, for others send too, and not all say how much will come."""
        require_room(self.parts.folder)
        try:
            for piece in pieces:
                self.parser.write(piece)
        except FormParserError as error:
            raise _broken(str(error)) from None

    def finish(self, pieces: Sequence[bytes]) -> Form:
        """Parse the last pieces."""
        self.write(pieces)
        if not self.ended:
            raise _broken("it ends before its last boundary; send it again")
        return self.parts.form()

    def _begin(self) -> None:
        self.disposition = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def _header_end(self) -> None:
        if self.name.lower() == b"content-disposition":
            self.disposition = bytes(self.value)
        self.name.clear()
        self.value.clear()

    def _headers_end(self) -> None:
        _, options = parse_options_header(self.disposition)
        if b"name" not in options:
            raise _broken("a part has no name")
        filename = options.get(b"filename")
        self.part = self.parts.begin(_decoded(options[b"name"]), None if filename is None else _decoded(filename))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self.part is not None:
            self.part.write(data[start:end])

    def _end(self) -> None:
        if self.part is not None:
            self.part.end()
        self.part = None

    def _all(self) -> None:
        self.ended = True

    def __enter__(self) -> _Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        if self.part is not None:
            self.part.close()


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", errors="replace")
