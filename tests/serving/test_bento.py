"""What `make bento` packs: all that the service needs, and a place for its state that outlives the bento."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pathspec
import pytest

from models.errors import DosewellError
from serving import settings
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
