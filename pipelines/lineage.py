"""Where things come from: hashes of data as DVC computes them, and the git commit."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

IGNORED_IN_DIRTY = (":(exclude)dvc.lock", ":(exclude)artifacts")  # DVC rewrites these while it runs


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


def git_commit() -> tuple[str, bool]:
    """(commit, whether tracked files differ from it, dvc.lock and artifacts aside); ("unknown", True) outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", *IGNORED_IN_DIRTY))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()
