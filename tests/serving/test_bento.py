"""What `make bento` packs: all that the service needs, and a place for its state that outlives the bento."""

from __future__ import annotations

import argparse
import os
import subprocess
import tomllib
from pathlib import Path

import pathspec
import pytest

from models.errors import DosewellError, InputError
from pipelines.servers import free_port
from serving import settings
from serving.commands import _bento_folder, serve
from tests.serving.tiny import ROOT


def test_every_module_and_page_is_packed_and_nothing_else() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["bentoml"]["build"]
    include, exclude = (pathspec.PathSpec.from_lines("gitignore", build[name]) for name in ("include", "exclude"))   # as BentoML reads them

    def goes_in(name: str) -> bool:
        return include.match_file(name) and not exclude.match_file(name)

    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True,
                            text=True).stdout.splitlines()
    files = [name for name in listed if (ROOT / name).is_file()]
    packed = {name for name in files if goes_in(name)}
    needed = {name for name in files if name.startswith(("models/", "serving/", "validation/")) and not name.endswith("Containerfile")}
    assert packed == needed | {"pyproject.toml", "uv.lock", "README.md"}
    assert {"serving/page/index.html", "models/report/templates/page.html", "models/dose_response/flat_nulls.npz"} <= packed
    assert not any(goes_in(name) for name in ("var/service/jobs.db", "data/a549/layout.csv", "serving/__pycache__/jobs.pyc"))
    assert build["service"] == "serving.service:Dosewell"


def test_a_bento_asks_where_its_state_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "__file__", str(tmp_path / "src" / "serving" / "settings.py"))
    monkeypatch.delenv("DOSEWELL_STATE", raising=False)
    settings.require_place()    # no bento
    (tmp_path / "bento.yaml").touch()
    with pytest.raises(DosewellError, match="DOSEWELL_STATE"):
        settings.require_place()
    monkeypatch.setenv("DOSEWELL_STATE", str(tmp_path))
    settings.require_place()


def test_a_bento_is_found_by_its_tag_or_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    made = tmp_path / "bentos" / "dosewell" / "abc"
    made.mkdir(parents=True)
    (made / "bento.yaml").touch()
    (made.parent / "latest").write_text("abc\n")
    for bento in ("dosewell", "dosewell:latest", "dosewell:abc", str(made)):
        assert _bento_folder(bento) == made
    for bento in ("dosewell:def", "other", str(tmp_path)):
        with pytest.raises(InputError, match="there is no bento"):
            _bento_folder(bento)


def test_services_over_one_state_folder_keep_their_own_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of another one, on another machine or port, deleted the files of the first, which then told the other's figures."""
    homes: list[str] = []
    monkeypatch.setattr(os, "execv", lambda *_: homes.append(os.environ["BENTOML_HOME"]))
    for name, text in (settings.QUIET | {"DOSEWELL_STATE": str(tmp_path), "BENTOML_HOME": "as it was",
                                         "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}).items():
        monkeypatch.setenv(name, text)
    for machine in ("one", "two"):
        monkeypatch.setattr("socket.gethostname", lambda machine=machine: machine)
        for _ in range(2):
            serve(argparse.Namespace(host="127.0.0.1", port=free_port(), bento=""))
    assert len(set(homes)) == 4
    assert all(home.startswith(str(tmp_path)) for home in homes)
