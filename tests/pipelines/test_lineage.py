"""Hashes of data are DVC's own; the commit is that of what decides results, not of the lock that is written after them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from models.plates.data_hash import data_md5
from pipelines.lineage import git_commit


def make_data(folder: Path) -> Path:
    (folder / "images" / "old").mkdir(parents=True)
    for name in ("screen.yaml", "layout.csv", "images/P1.zip", "images/P-1.zip", "images/old/P1.zip", "images/old.zip", "images/é.zip",
                 "images/P10.zip", "images/empty.zip"):
        (folder / name).write_text(f"content of {name}\r\n" if "empty" not in name else "", encoding="utf-8")
    return folder


def test_the_hash_of_a_folder_is_what_dvc_says(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    subprocess.run([sys.executable, "-m", "dvc", "add", "--quiet", "data"], cwd=tmp_path, check=True,
                   env={**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "site")})
    (out,) = yaml.safe_load((tmp_path / "data.dvc").read_text())["outs"]
    assert data_md5(data) == out["md5"]
    assert out["nfiles"] == 9


def test_what_a_model_depends_on_changes_the_hash_and_the_truth_does_not(tmp_path: Path) -> None:
    first = data_md5(make_data(tmp_path / "a"))
    assert data_md5(make_data(tmp_path / "b")) == first
    (tmp_path / "b" / "truth").mkdir()
    (tmp_path / "b" / "truth" / "wells.csv").write_text("x")
    assert data_md5(tmp_path / "b") == first
    (tmp_path / "b" / "images" / "P1.zip").write_text("another")
    changed = data_md5(tmp_path / "b")
    (tmp_path / "b" / "images" / "P1.zip").rename(tmp_path / "b" / "images" / "P2.zip")
    assert len({first, changed, data_md5(tmp_path / "b")}) == 3


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], check=True, capture_output=True)


def test_the_commit_and_whether_it_is_all(in_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = in_folder("repo")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    assert git_commit() == ("unknown", True)
    git("init", "-q")
    assert git_commit() == ("unknown", True)  # no commit yet
    (folder / "models").mkdir()
    (folder / "README.md").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "nothing that decides")
    assert not git_commit()[1]
    deciding = ("models/a.py", "pipelines/a.py", "validation/a.py", "data.dvc", "dvc.yaml", "params.yaml", "pyproject.toml", "uv.lock")
    for name in (*deciding, "dvc.lock", "models/untracked.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("1")
    git("add", *deciding, "dvc.lock")
    git("commit", "-q", "-m", "first")
    commit, dirty = git_commit()
    assert (len(commit), dirty) == (40, False)
    for name in ("dvc.lock", "README.md", "models/untracked.py"):
        (folder / name).write_text("2")
    assert git_commit() == (commit, False)
    git("commit", "-q", "-m", "the lock and the documents", "dvc.lock", "README.md")
    assert git_commit() == (commit, False)
    for number, name in enumerate(deciding):
        before = git_commit()[0]
        (folder / name).write_text("2")
        assert git_commit() == (before, True)
        git("add", name)
        assert git_commit() == (before, True)
        git("commit", "-q", "-m", f"change {number}")
        assert git_commit()[0] != before
        assert not git_commit()[1]


def test_a_machine_without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() == ("unknown", True)
