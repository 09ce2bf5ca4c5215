"""The md5 of a screen's folder as DVC computes it, so that lineage names the same version of data wherever a model was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def data_md5(folder: Path, names: Iterable[str] = ("screen.yaml", "layout.csv", "images")) -> str:
    """md5 of those files and folders as DVC hashes a directory: md5 of the JSON list of {md5, relpath}, sorted by path.

    The truth of simulated screens is left out: no model depends on it.
    """
    paths = sorted((path for name in names for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()),
                   key=lambda path: path.relative_to(folder).as_posix())
    entries = [{"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()} for path in paths]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
