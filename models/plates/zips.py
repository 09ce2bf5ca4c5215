"""Zip archives of images, opened with care: nothing of them is unpacked before names, links, sizes, counts and places were looked at."""

from __future__ import annotations

import errno
import itertools
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from models.errors import Finding, ImageError

MAX_MEMBER_BYTES = 512 * 2**20  # per member, declared and read
MAX_MEMBERS = 400_000           # a 1536-well plate of 4 channels and 60 planes
MAX_RATIO = 200                 # unpacked to packed
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what Python unpacks by pieces; a kB of bzip2 or LZMA becomes a GB at once
_DIRECTORY_BYTES = 100          # of a member in the archive's directory, which zipfile reads whole

UNPACKING_ERRORS = (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError)
"""What `read_member` raises for damaged, encrypted or exotically compressed members."""

_FAULTS_OF_FILES = (None, errno.EINVAL, errno.ENOENT, errno.EISDIR, errno.ENOTDIR)  # a damaged directory has zipfile seek before the start

_END = struct.Struct("<4s4H2LH")    # what ends a zip: ... number of members, bytes of the directory ...
_WIDE = struct.Struct("<QQ")        # the same two in a zip beyond 4 GB, behind _BEFORE_WIDE bytes
_BEFORE_WIDE = 32
_LOCAL_BYTES = 30                   # at least, before a member's own

_CLUTTER = re.compile(r"(?:^|/)(?:\.[^./][^/]*|__MACOSX|thumbs\.db|desktop\.ini)(?:/|$)", re.IGNORECASE)
_SHOWN = 3  # members that are named where many have the same fault

Judge = Callable[[str], str]
"""What is wrong with a member's name, "" for nothing."""


def open_zip(path: Path, *, plate: str, judge_name: Judge = lambda name: "") -> zipfile.ZipFile:
    """The archive. Raises ImageError for a file that is no zip, and with a finding per kind of fault of its members: links, names that will
    not do, unbelievable sizes, places where another member lies; OSError where the disk cannot be read. plate: stands in the findings.
    """
    def finding(rule: str, value: str, message: str) -> Finding:
        return Finding(rule=rule, severity="error", plate=plate, value=value, message=f"{path.name}{message}")

    try:
        with _disk_told_from_file():
            with path.open("rb") as file:
                count = declared_members(file)
            archive = zipfile.ZipFile(path) if count <= MAX_MEMBERS else None
    except (*UNPACKING_ERRORS, ValueError, struct.error) as error:  # of a damaged directory
        raise ImageError(f"{path.name} is not a readable zip archive ({error})", [
            finding("archive_unreadable", path.name, " is not a readable zip archive; zip the images again")]) from None
    if archive is None:
        raise ImageError(f"{path.name} cannot be used", [finding(
            "archive_too_many", str(count), f" has {count:,} members, or names of that length; at most {MAX_MEMBERS:,} are read")])
    alike: dict[tuple[str, str], list[str]] = {}
    for info in members_of(archive):
        for fault in _wrongs(info, judge_name)[:1]:
            alike.setdefault(fault, []).append(info.filename)
    wrong = [finding(rule, names[0], f": {_named(names)} {message}") for (rule, message), names in alike.items()]
    if (shared := overlapping(archive.infolist())) is not None:
        wrong.append(finding("archive_overlap", shared, f": member {shared!r} lies where another one does; refused as a zip bomb"))
    if wrong:
        archive.close()
        raise ImageError(f"{path.name} cannot be used", wrong)
    return archive


def members_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members without folders, and without what systems put beside a person's files (`__MACOSX`, `.DS_Store`, `Thumbs.db`)."""
    return [info for info in archive.infolist() if not info.is_dir() and not _CLUTTER.search(info.filename)]


def _leads_outside(name: str) -> bool:
    """Whether a member's name is an absolute path, or one that leaves the archive, on any system."""
    place = PurePosixPath(name)
    return place.is_absolute() or ".." in place.parts or "\\" in name or name[1:2] == ":"


def read_member(archive: zipfile.ZipFile, name: str | zipfile.ZipInfo) -> bytes:
    """A member's bytes. Raises one of UNPACKING_ERRORS, OSError where the disk cannot be read."""
    info = archive.getinfo(name) if isinstance(name, str) else name
    with _disk_told_from_file(), archive.open(info) as stream:
        return stream.read(info.file_size)      # asked for more, zipfile unpacks more than was declared


@contextmanager
def _disk_told_from_file() -> Iterator[None]:
    """An OSError that is the file's fault becomes a BadZipFile; one of the disk stays what it is, so that nobody zips good images again."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FAULTS_OF_FILES:
            raise
        raise zipfile.BadZipFile(str(error)) from None


def declared_members(file: BinaryIO) -> int:
    """How many members the directory of a zip has room for, by its own word, before it is read. 0 where it says nothing."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 2**16 - _END.size))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        return 0    # zipfile says what is wrong
    count, size = _END.unpack_from(tail, at)[4:6]
    wide = tail.rfind(b"PK\6\6", 0, at)
    if wide >= 0 and wide + _BEFORE_WIDE + _WIDE.size <= len(tail):
        more, larger = _WIDE.unpack_from(tail, wide + _BEFORE_WIDE)
        count, size = max(count, more), larger if size == 0xFFFFFFFF else size
    return max(count, size // _DIRECTORY_BYTES)


def overlapping(infos: Sequence[zipfile.ZipInfo]) -> str | None:
    """A member that shares its bytes with another: one of megabytes would stand for thousands that unpack to terabytes."""
    placed = sorted(infos, key=lambda info: info.header_offset)
    return next((later.filename for info, later in itertools.pairwise(placed)
                 if info.header_offset + _LOCAL_BYTES + info.compress_size > later.header_offset), None)


def _named(names: Sequence[str]) -> str:
    """ "member 'A01.tif'", "96 members ('A01.tif', 'A02.tif', 'A03.tif' ...): each"."""
    if len(names) == 1:
        return f"member {names[0]!r}"
    return f"{len(names):,} members ({', '.join(map(repr, names[:_SHOWN]))}{' ...' if len(names) > _SHOWN else ''}): each"


def _wrongs(info: zipfile.ZipInfo, judge_name: Judge) -> list[tuple[str, str]]:
    """(rule, message) for what is wrong with a member."""
    found = [("archive_link", "is a symbolic link; put the image itself in")] if stat.S_ISLNK(info.external_attr >> 16) else []
    unnamed = "leads outside the archive; zip the images again" if _leads_outside(info.filename) else judge_name(info.filename)
    found += [("archive_name", unnamed)] if unnamed else []
    if info.file_size > MAX_MEMBER_BYTES or info.file_size > MAX_RATIO * max(info.compress_size, 5_000):
        found.append(("archive_size", f"declares {info.file_size:,} bytes from {info.compress_size:,}; refused as a zip bomb"))
    if info.compress_type not in PLAIN:
        found.append(("archive_packing", "is packed in a way that is not read; zip the images again with deflate, as is usual"))
    return found
