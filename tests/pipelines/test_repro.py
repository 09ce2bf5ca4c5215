"""`make repro` around a stand-in for dvc: times by stage, what a refused screen leaves to do for the others, and cells side by side."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from models.errors import DosewellError
from pipelines import repro
from pipelines.params import Params

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(in_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data, and a `dvc` that notes its arguments, talks like DVC, and ends with $CODE."""
    found = in_folder("work")
    (found / "data").mkdir()
    (found / "bin").mkdir()
    dvc = found / "bin" / "dvc"
    dvc.write_text("#!/bin/sh\necho \"$@\" >> calls\necho \"$OMP_NUM_THREADS\" >> threads\ncase \"$*\" in *--single-item*) exit 0;; esac\n"
                   "echo \"Running stage 'validate':\"\necho \"Running stage 'prepare@a549':\"\nexit ${CODE:-0}\n")
    dvc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{dvc.parent}{os.pathsep}{os.environ['PATH']}")
    return found


def test_a_good_run_gives_seconds_by_stage(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter((10.0, 11.0, 11.0, 14.0, 14.0, 16.0))     # asked at the start, twice at each stage's line, and at the end
    monkeypatch.setattr(repro, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert repro.reproduce() == {"start": 1.0, "validate": 3.0, "prepare@a549": 2.0}
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


def lock(**hashes: str) -> str:
    return yaml.safe_dump({"schema": "2.0", "stages": {name: {"cmd": "x", "outs": [{"path": f"artifacts/{name}", "md5": md5}]}
                                                       for name, md5 in hashes.items()}})


def test_the_end_tells_whether_the_results_are_the_committed_ones(folder: Path, monkeypatch: pytest.MonkeyPatch,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    (folder / "dvc.lock").write_text(lock(prepare="1", train="2", score="3"))
    repro.reproduce()
    assert "dvc.lock is not committed yet" in capsys.readouterr().out
    for command in (["init", "-q"], ["add", "dvc.lock"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "lock"]):
        subprocess.run(["git", *command], check=True)
    repro.reproduce()
    assert "all 3 stages gave what the committed dvc.lock says, byte for byte" in capsys.readouterr().out
    (folder / "dvc.lock").write_text(lock(prepare="1", train="changed", score="3", report="new"))
    repro.reproduce()
    said = capsys.readouterr().out
    assert "2 of 4 stages gave other results than the committed dvc.lock (report, train): " in said
    assert "rounds otherwise (DOSEWELL_INSTRUCTIONS=portable makes x86 processors agree); `dvc metrics diff`" in said
    monkeypatch.setenv("DOSEWELL_INSTRUCTIONS", "portable")
    repro.reproduce()
    assert "rounds otherwise; `dvc metrics diff`" in capsys.readouterr().out


def test_a_failure_without_a_refusal_says_where_to_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "255")
    with pytest.raises(DosewellError, match="see the failed stage above"):
        repro.reproduce()


def test_a_terminal_without_the_environment_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DosewellError, match=r"source \.venv/bin/activate"):
        repro.reproduce()


def test_an_unfinished_merge_is_called_so_before_anything_runs(folder: Path) -> None:
    """DVC says of it that it could not find an expected ':'."""
    (folder / "dvc.lock").write_text("stages:\n<<<<<<< HEAD\n  a: {}\n=======\n  b: {}\n>>>>>>> anna\n")
    with pytest.raises(DosewellError, match=r"dvc.lock: two branches .* \(line 2"):
        repro.reproduce()
    assert not (folder / "calls").exists()


def test_metrics_of_another_commit_can_be_had_and_what_is_listed_decides() -> None:
    """`dvc metrics diff` finds an older metrics.json in the cache only: artifacts/ is not in git."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert all(isinstance(path, str) for name in ("evaluate", "compare") for path in stages[name].get("do", stages[name])["metrics"])
    assert [stages[name]["params"] for name in repro.GROUPED] == [["screens", "models"], ["models"], ["scores"]]


def test_stages_over_all_screens_are_those_of_dvc_yaml() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert [name for name, stage in stages.items() if "foreach" not in stage] == ["validate", *repro.GROUPED]


def test_cells_run_side_by_side_and_then_all_is_looked_at_again(folder: Path) -> None:
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    seconds = repro.reproduce(jobs=2)
    *first, last = (folder / "calls").read_text().splitlines()
    assert last == "repro --keep-going"
    assert list(seconds) == ["start", "validate", "prepare@a549"]
    assert all(call.startswith("--wait-for-lock repro --single-item --keep-going ") for call in first)
    asked = [call.split()[4:] for call in first]
    waves = repro.waves(Params.read("params.yaml"))
    assert sorted(cell for share in asked for cell in share) == sorted(cell for wave in waves for cell in wave)
    assert sorted(len(share) for share in asked if share[0].startswith("score@")) == [2, 2]


@pytest.mark.parametrize(("stated", "told"), [("", "4"), ("3", "3")])
def test_cells_side_by_side_share_the_cores_unless_a_person_says_how_many(folder: Path, monkeypatch: pytest.MonkeyPatch, stated: str,
                                                                         told: str) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if stated:
        monkeypatch.setenv("OMP_NUM_THREADS", stated)
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    repro.reproduce(jobs=2)
    *cells, whole = (folder / "threads").read_text().splitlines()
    assert (set(cells), whole) == ({told}, stated)


def test_waves_hold_every_cell_of_the_pipeline_after_what_it_needs() -> None:
    params, raw = Params.read(ROOT / "params.yaml"), yaml.safe_load((ROOT / "params.yaml").read_text())
    place = {cell: number for number, wave in enumerate(repro.waves(params)) for cell in wave}
    cells = {}
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        for key, item in raw[stage["foreach"][2:-1]].items() if "foreach" in stage else [("", "")]:
            cells[f"{name}@{key}" if key else name] = _filled(stage.get("do", stage), key, item)
    assert set(place) == set(cells) - set(repro.GROUPED)
    made_by = {out: cell for cell, (_, outs) in cells.items() for out in outs}
    needs = [(cell, made_by[dep]) for cell, (deps, _) in cells.items() for dep in deps if dep in made_by and cell in place]
    assert len(needs) > len(params.models)
    assert [pair for pair in needs if place[pair[0]] <= place[pair[1]]] == []


def _filled(stage: dict[str, Any], key: str, item: Any) -> tuple[list[str], list[str]]:
    """(deps, outs) of a cell, templates filled in."""
    def fill(text: str) -> str:
        text = text.replace("${key}", key).replace("${item}", str(item))
        return re.sub(r"\$\{item\.(\w+)\}", lambda found: str(item[found[1]]), text)

    paths = {part: [next(iter(path)) if isinstance(path, dict) else str(path) for path in stage.get(part, [])] for part in ("deps", "outs")}
    return [fill(path) for path in paths["deps"]], [fill(path) for path in paths["outs"]]
