"""Where things come from: the git commit, and hashes of data (models/plates/data_hash.py)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from models.plates.data_hash import data_md5

if TYPE_CHECKING:
    from models.networks.predict import Predictor

__all__ = ["commit_in_words", "data_md5", "git_commit", "lineage_of"]

IGNORED_IN_DIRTY = (":(exclude)dvc.lock", ":(exclude)artifacts")  # DVC rewrites these while it runs


def git_commit() -> tuple[str, bool]:
    """(commit, whether tracked files differ from it, dvc.lock and artifacts aside); ("unknown", True) outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", *IGNORED_IN_DIRTY))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def commit_in_words() -> str:
    """The git commit, and whether the code differs from it."""
    commit, dirty = git_commit()
    return commit + (" (with uncommitted changes)" if dirty else "")


def lineage_of(predictor: Predictor, *, screen: str, data_md5: str, commit: str) -> dict[str, str]:
    """What scores come from. data_md5: of the screen's data; commit: of the code, in words."""
    return {"model": predictor.card.name, "version": predictor.sha256[:12], "bundle_sha256": predictor.sha256, "screen": screen,
            "data_md5": data_md5, "params_hash": predictor.card.lineage["params_hash"], "precision": predictor.trunk.precision,
            "git_commit": commit}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()
