"""Where things come from: the git commit, and what scores rest on."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.networks.predict import Predictor

DECIDING = ("models", "pipelines", "validation", "data.dvc", "dvc.yaml", "params.yaml", "pyproject.toml", "uv.lock")


def git_commit() -> tuple[str, bool]:
    """(the last commit that changed what decides a stage's result, whether tracked files differ from it); ("unknown", True) outside a
    repository.

    Later commits, of documents, of the service or of dvc.lock itself, give the same results: so the lock that is committed after a run
    is the one that another run writes, byte for byte.
    """
    try:
        commit = _git("log", "-1", "--format=%H", "--", *DECIDING) or _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no", "--", *DECIDING))
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
