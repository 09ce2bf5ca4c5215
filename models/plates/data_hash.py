"""The md5 of a screen's folder as DVC computes it, so that lineage names the same version of data wherever a model was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path


def data_md5(folder: Path, names: Iterable[str] = ("screen.yaml", "layout.csv", "images"), *,
             known: Mapping[str, str] | None = None) -> str:
    """md5 of those files and folders as DVC hashes a directory: md5 of the JSON list of {md5, relpath}, sorted by path.

    known: md5 by relative path of files that need not be read again. The truth of simulated screens is left out: no model depends on it.
    """
    known = known or {}
    paths = {path.relative_to(folder).as_posix(): path for name in names for path in [folder / name, *(folder / name).rglob("*")]
             if path.is_file()}
    entries = [{"md5": known.get(name) or file_md5(path), "relpath": name} for name, path in sorted(paths.items())]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def file_md5(path: Path) -> str:
    """md5 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
