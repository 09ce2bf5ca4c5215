"""`make repro` around a stand-in for dvc: times by stage, and what a refused screen leaves to do for the others."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from models.errors import DosewellError
from pipelines import repro

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(in_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data, and a `dvc` that notes its arguments, talks like DVC, and ends with $CODE."""
    found = in_folder("work")
    (found / "data").mkdir()
    (found / "bin").mkdir()
    dvc = found / "bin" / "dvc"
    dvc.write_text("#!/bin/sh\necho \"$@\" >> calls\n[ \"$2\" = --single-item ] && exit 0\n"
                   "echo \"Running stage 'validate':\"\nsleep 0.1\necho \"Running stage 'prepare@a549':\"\nexit ${CODE:-0}\n")
    dvc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{dvc.parent}{os.pathsep}{os.environ['PATH']}")
    return found


def test_a_good_run_gives_seconds_by_stage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = repro.reproduce()
    assert list(seconds) == ["start", "validate", "prepare@a549"]
    assert seconds["validate"] >= 0.09
    assert (folder / "calls").read_text() == "repro --keep-going\n"
    assert "Running stage 'validate':" in capsys.readouterr().out


def test_a_refused_screen_does_not_keep_the_others_from_their_results(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "1")
    (folder / "artifacts/validate").mkdir(parents=True)
    for name, accepted in (("a549", False), ("hek293", True)):
        (folder / f"artifacts/validate/{name}.json").write_text(json.dumps({"screen": name, "accepted": accepted}))
    with pytest.raises(DosewellError) as caught:
        repro.reproduce()
    assert str(caught.value).splitlines()[1:] == ["screen a549 was refused: see artifacts/validate/a549.html"]
    assert (folder / "calls").read_text().splitlines() == ["repro --keep-going", *(f"repro --single-item {name}" for name in repro.GROUPED)]


def test_a_failure_without_a_refusal_says_where_to_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "255")
    with pytest.raises(DosewellError, match="see the failed stage above"):
        repro.reproduce()


def test_stages_over_all_screens_are_those_of_dvc_yaml() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert [name for name, stage in stages.items() if "foreach" not in stage] == ["validate", *repro.GROUPED]
