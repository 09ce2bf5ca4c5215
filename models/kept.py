"""Pieces of work that stay on disk under the hash of all that they are made from: what did not change is not done again.

A piece is never looked for by when it was made: another input, parameter, line of the code that makes it, package or processor is
another name. Whoever uses them gets what he would have made, so the folder may be deleted at any time.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from models.instructions import told

_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class KeptFiles:
    """The pieces in `folder`; `kept_files` opens one."""

    folder: Path
    _used: set[str] = field(default_factory=set)

    def place(self, *made_from: object) -> Path:
        """Where the piece that is made from these lies, or is to be put, whole (`whole_file`); suffixes are the caller's."""
        name = hashlib.sha256(repr(made_from).encode()).hexdigest()[:32]
        self._used.add(name)
        return self.folder / name


@contextmanager
def kept_files(folder: Path) -> Iterator[KeptFiles]:
    """The pieces in `folder`; those that nobody asked for are removed when the block ends well, so that it holds what one run needs."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = KeptFiles(folder)
    yield kept
    for file in folder.iterdir():
        name = file.name.partition(".")[0]
        if _NAME.fullmatch(name) and name not in kept._used:
            file.unlink()


def link_file(path: Path, place: Path) -> None:
    """The file at `place` too, in the place of what is there; a copy where the file system has no hard links."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    try:
        os.link(path.resolve(), place)      # the file itself, where DVC has put a symbolic link
    except OSError:
        shutil.copyfile(path, place)


@functools.cache
def maker(*sources: Path) -> str:
    """Changes with the code that makes a piece (files, or folders of modules), with the installed packages, and with the processor
    and what of it is used.
    """
    files = [file for source in sources for file in ([source] if source.is_file() else sorted(source.glob("*.py")))]
    packages = sorted(found.name for folder in set(sys.path) for found in Path(folder or ".").glob("*.dist-info"))
    code = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    processor = (platform.machine(), _processor(), told())
    return hashlib.sha256(repr((code, packages, sys.version, processor)).encode()).hexdigest()


def _processor() -> str:
    """What Linux calls it; "" elsewhere."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8", errors="replace").splitlines() if about.is_file() else []
    return next((line for line in lines if line.startswith("model name")), "")
