"""The XML files that microscopes write beside their images, read as a stream of flat records.

Such a file may come from anywhere, so nothing in it is executed or fetched: a document type (the only place where entities
can be declared) is refused, and a plate of a million images needs no more memory than one record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat  # entities cannot be declared, see _refuse

from models.errors import Finding, InputError

MAX_BYTES = 2 * 2**30
_CHUNK = 2**20

Record = dict[str, str]


class _DoctypeError(Exception):
    """The file has a document type."""


@dataclass
class _Collector:
    """Gathers the elements of the wanted names; a record holds attributes and texts of everything inside the element."""

    wanted: tuple[str, ...]
    done: list[tuple[str, Record]] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    record: Record | None = None
    depth: int = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.path.append(_local(tag))
        self.text.clear()
        if self.record is None and self.path[-1] in self.wanted:
            self.record, self.depth = {}, len(self.path)
        if self.record is not None:
            self.record.update({_local(name): value for name, value in attributes.items()})

    def end(self, _: str) -> None:
        name, text = self.path[-1], "".join(self.text).strip()
        self.text.clear()
        if self.record is not None and text:
            self.record.setdefault("" if len(self.path) == self.depth else name, text)
        if self.record is not None and len(self.path) == self.depth:
            self.done.append((name, self.record))
            self.record = None
        self.path.pop()


def xml_records(path: Path, *names: str) -> Iterator[tuple[str, Record]]:
    """(element name, record) of each element of these names, in file order; names without namespace.

    A record maps attribute names and the names of inner elements to text; "" is the text of one without inner elements.
    Raises InputError for a file that is no XML, is too large, or declares a document type.
    """
    if path.stat().st_size > MAX_BYTES:
        raise _refusal(path, f"has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read")
    with path.open("rb") as file:
        yield from _parsed(path, names, iter(lambda: file.read(_CHUNK), b""))


def xml_text_records(text: str, path: Path, *names: str) -> list[tuple[str, Record]]:
    """The records of an XML text that stood inside the file `path`."""
    return list(_parsed(path, names, iter((text.encode(),))))


def _parsed(path: Path, names: tuple[str, ...], chunks: Iterator[bytes]) -> Iterator[tuple[str, Record]]:
    collector = _Collector(names)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = collector.start, collector.end
    parser.CharacterDataHandler = collector.text.append
    parser.StartDoctypeDeclHandler = _refuse
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)
            yield from collector.done
            collector.done.clear()
        parser.Parse(b"", True)
    except _DoctypeError:
        raise _refusal(path, "declares a document type (DOCTYPE); microscopes write none, so it is not read") from None
    except expat.ExpatError as error:
        raise _refusal(path, f"is no readable XML ({error}); copy it again from the microscope") from None


def _refuse(*_: object) -> None:
    raise _DoctypeError


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _refusal(path: Path, message: str) -> InputError:
    return InputError(f"{path.name} cannot be read", [
        Finding(rule="xml_unreadable", severity="error", value=path.name, message=f"{path.name} {message}")])
