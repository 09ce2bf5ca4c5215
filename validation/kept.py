"""Inventories of plate archives that stay on disk: after a plate was added, or a run was cut off, only what is new is read."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

import models.plates
from models.whole_file import whole_file
from validation import inventory as code
from validation.inventory import Inventory, take_inventory


def kept_inventory(archives: Iterable[Path], folder: Path) -> Inventory:
    """`take_inventory`, which reads every image, of those archives alone that changed since their inventory was put into `folder`.

    An archive changed when its name, size or time of change did. Kept are those in which all could be read, one file each.
    """
    parts, files = [], set[Path]()
    for archive in sorted(archives):
        file = folder / f"{_state(archive)}.parquet"
        files.add(file)
        parts.append(_read(file, archive) or _taken(file, archive))
    for gone in set(folder.glob("*.parquet")) - files:
        gone.unlink()
    if not parts:
        return take_inventory([])
    images = pd.concat([part.images for part in parts], ignore_index=True)
    findings = tuple(found for part in parts for found in part.findings)
    return Inventory(images, findings, tuple(name for part in parts for name in part.plates))


def _read(file: Path, archive: Path) -> Inventory | None:
    return Inventory(pd.read_parquet(file), (), (archive.stem,)) if file.is_file() else None


def _taken(file: Path, archive: Path) -> Inventory:
    found = take_inventory([archive])
    if not found.findings:
        with whole_file(file) as making:
            found.images.to_parquet(making, index=False)
    return found


def _state(archive: Path) -> str:
    about = archive.stat()
    return hashlib.sha256(f"{archive.name}\0{about.st_size}\0{about.st_mtime_ns}\0{_code()}".encode()).hexdigest()[:32]


@functools.cache
def _code() -> str:
    """Changes with the code that makes an inventory."""
    sources = [Path(str(code.__file__)), *sorted(Path(models.plates.__path__[0]).glob("*.py"))]
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
