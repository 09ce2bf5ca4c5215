"""Inventories of plate archives that stay on disk: after a plate was added, or a run was cut off, only what is new is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

import models.plates
from models.kept import kept_files, maker
from models.whole_file import whole_file
from validation import inventory as code
from validation.inventory import Inventory, take_inventory

CODE = (Path(str(code.__file__)), Path(models.plates.__path__[0]))      # what decides on the content of an inventory


def kept_inventory(archives: Iterable[Path], folder: Path) -> Inventory:
    """`take_inventory`, which reads every image, of those archives alone that changed since their inventory was put into `folder`.

    An archive changed when its name, size or time of change did. Kept are those in which all could be read, one file each.
    """
    parts = []
    with kept_files(folder) as keep:
        for archive in sorted(archives):
            about = archive.stat()
            file = keep.place(archive.name, about.st_size, about.st_mtime_ns, maker(*CODE)).with_suffix(".parquet")
            parts.append(_read(file, archive) or _taken(file, archive))
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
