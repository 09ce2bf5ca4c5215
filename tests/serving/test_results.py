"""What leaving wells out does to the doubts about a job's plates."""

from __future__ import annotations

import errno
import io
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from models.dose_response import FitOptions
from models.networks.drift import COLUMNS
from models.plates.screen import Screen
from models.scoring import ScoringOptions, score_measured
from models.tables import MEASURED
from serving.job_records import Job, KeptChange
from serving.plain import to_json
from serving.results import FORMATS, Result, render, result_at, write_result
from serving.scored import Scored, measured_lineage
from tests.conftest import tiny_layout

FIT = FitOptions(interval="none")


def test_a_plate_at_another_magnification_stays_in_doubt(tmp_path: Path) -> None:
    layout, screen = tiny_layout(), Screen(name="s", sample="X")
    tables = score_measured(layout, screen=screen, options=ScoringOptions(fit=FIT))
    drift = pd.DataFrame([{"plate": "P1", "model": MEASURED, "structure_size": 0.5, "structure_limit": 1.25}], columns=list(COLUMNS))
    write_result(tmp_path / "result", Result(scored=Scored(
        tables=replace(tables, drift=drift), screen=screen, gates=(), lineage=measured_lineage(service_version="0"))))
    change = KeptChange(plate="P1", well=layout["well"].iloc[-1], excluded=True, reason="dry", by="me", at="now", revision=1)
    after = result_at(tmp_path, [change], fit=FIT, revision=1).scored.tables
    assert after.curves[["status", "n"]].to_numpy().tolist() == [["weakly_identified", 31]]
    assert after.curves["reason"].str.startswith("structures in the negative controls of plate P1 look 0.5 times as large").all()
    assert after.drift["structure_size"].tolist() == [0.5]


def test_a_full_disk_keeps_nobody_from_what_was_left_out_and_becomes_no_fuller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result of a job that was changed could not be had, and each try left half of it behind."""
    layout, screen = tiny_layout(), Screen(name="s", sample="X")
    write_result(tmp_path / "result", Result(scored=Scored(
        tables=score_measured(layout, screen=screen, options=ScoringOptions(fit=FIT)), screen=screen, gates=(),
        lineage=measured_lineage(service_version="0"))))
    change = KeptChange(plate="P1", well=layout["well"].iloc[-1], excluded=True, reason="dry", by="me", at="now", revision=1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        told = result_at(tmp_path, [change], fit=FIT, revision=1)
        with pytest.raises(OSError, match="No space left"):
            write_result(tmp_path / "other", told)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(tmp_path / "other", replace(told, scored=replace(told.scored, lineage={"model": np.nan})))
    assert [path.name for path in tmp_path.rglob("*") if path.is_dir()] == ["result", "revisions"]
    assert told.changes == (change,)
    kept = result_at(tmp_path, [change], fit=FIT, revision=1)
    assert to_json(told.scored.record()) == to_json(kept.scored.record())
    assert (tmp_path / "revisions" / "1").is_dir()


def test_a_result_is_the_same_bytes_whenever_it_is_asked_for_and_names_its_job_and_day(tmp_path: Path) -> None:
    """Archives and workbooks held the time of day at which they were asked for, and the report on paper neither job nor day."""
    job = Job(**{**dict.fromkeys(Job.__dataclass_fields__, ""), "id": "a" * 32, "screen": "s", "revision": 1,
                 "created_at": "2025-01-02T03:04:05+00:00", "finished_at": "2025-01-02T03:09:00+00:00"})
    layout, screen = tiny_layout(), Screen(name="s", sample="X")
    write_result(tmp_path / "result", Result(scored=Scored(
        tables=score_measured(layout, screen=screen, options=ScoringOptions(fit=FIT)), screen=screen, gates=(),
        lineage=measured_lineage(service_version="0"))))
    change = KeptChange(plate="P1", well=layout["well"].iloc[-1], excluded=True, reason="dry", by="me", at="2025-02-03", revision=1)
    result = result_at(tmp_path, [change], fit=FIT, revision=1)
    made = {kind: render(result, job, kind=kind)[0] for kind in FORMATS}
    for kind in ("csv", "parquet", "xlsx"):
        with zipfile.ZipFile(io.BytesIO(made[kind])) as archive:
            assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    book = load_workbook(io.BytesIO(made["xlsx"]))
    assert book.properties.created == book.properties.modified == datetime(2025, 1, 2, 3, 4, 5)
    about = {name: value for _, name, value in book["about"].iter_rows(values_only=True)}
    for told in ("2025-01-02T03:09:00+00:00", job.id, "1; wells were last left out or taken back 2025-02-03"):
        assert told in about.values()
        assert told in made["html"].decode()
