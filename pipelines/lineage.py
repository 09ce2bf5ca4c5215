"""Where things come from: the git commit, and hashes of data (models/plates/data_hash.py)."""

from __future__ import annotations

import subprocess

from models.plates.data_hash import data_md5

__all__ = ["data_md5", "git_commit"]

IGNORED_IN_DIRTY = (":(exclude)dvc.lock", ":(exclude)artifacts")  # DVC rewrites these while it runs


def git_commit() -> tuple[str, bool]:
    """(commit, whether tracked files differ from it, dvc.lock and artifacts aside); ("unknown", True) outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", *IGNORED_IN_DIRTY))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()
