"""A primary screen as the service answers it: in every form of a result, after wells are left out, and over HTTP."""

from __future__ import annotations

import io
import json
from pathlib import Path

import httpx
import openpyxl
import pandas as pd
import pytest

from models.dose_response import FitOptions
from models.errors import InputError
from models.plates.screen import Screen
from models.scoring import ScoringOptions, score_measured
from models.tables import SINGLE_DOSES, check_table
from serving.client_tables import Scores
from serving.job_records import Job, KeptChange
from serving.job_view import job_view
from serving.readouts import write_tables
from serving.results import Result, read_result, render, result_at, write_result
from serving.schemas import ScoreAnswer
from serving.scored import Scored, measured_lineage
from tests.conftest import primary_screen, tiny_layout

FIT = FitOptions(interval="none")
SCREEN = Screen(name="primary", sample="A549", plate_format=384, assay="ATP", controls="both")
JOB = Job(**{**dict.fromkeys(Job.__dataclass_fields__, ""), "id": "a" * 32, "screen": "mine", "revision": 0,
              "created_at": "2026-01-02T03:04:05+00:00"})
TABLE = primary_screen({"strong": 90.0, "some": 25.0}, inert=40)


def result_of(table: pd.DataFrame) -> Result:
    tables = score_measured(table, screen=SCREEN, options=ScoringOptions(fit=FIT))
    return Result(scored=Scored(tables=tables, screen=SCREEN, gates=(), lineage=measured_lineage(service_version="0")))


@pytest.fixture(scope="module")
def result() -> Result:
    return result_of(TABLE)


def calls(table: pd.DataFrame) -> dict[str, str]:
    return {name: call for name, call in zip(table["treatment"], table["call"], strict=True) if call != "none"}


FOUND = {"strong": "hit", "some": "effect"}


def test_a_result_is_kept_and_read_with_them(result: Result, tmp_path: Path) -> None:
    write_result(tmp_path / "result", result)
    pd.testing.assert_frame_equal(read_result(tmp_path / "result").scored.tables.single_doses, result.scored.tables.single_doses)
    (tmp_path / "result" / "single_doses.parquet").unlink()     # of a job from before there were any
    old = read_result(tmp_path / "result")
    assert "single_doses" not in old.scored.record()
    assert "single_doses" not in job_view(old)
    for kind in ("json", "csv", "parquet", "xlsx", "html"):
        assert render(old, JOB, kind=kind)[0]


def test_every_form_of_a_result_has_them(result: Result) -> None:
    answer = json.loads(render(result, JOB, kind="json")[0])
    assert calls(check_table(pd.DataFrame(answer["single_doses"]), SINGLE_DOSES)) == FOUND
    assert len(answer["curves"]) == len(answer["single_doses"]) == 42
    ScoreAnswer.model_validate(answer)
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        assert calls(read(io.BytesIO(render(result, JOB, kind=kind, table="single_doses")[0]))) == FOUND
    book = openpyxl.load_workbook(io.BytesIO(render(result, JOB, kind="xlsx")[0]))
    assert book.sheetnames == ["single_doses", "curves", "wells", "quality", "flags", "changes", "columns", "about"]
    assert book["single_doses"].max_row == 43
    assert "1 hit among 42 treatments at single doses, 1 more with an effect." in render(result, JOB, kind="html")[0].decode()


def test_a_result_of_curves_is_as_it_was() -> None:
    curved = result_of(tiny_layout())
    assert "single_doses" not in json.loads(render(curved, JOB, kind="json")[0])
    with pytest.raises(InputError, match="no such table") as caught:
        render(curved, JOB, kind="csv", table="single_doses")
    assert "every treatment of this job has doses enough" in caught.value.findings[0].message


def test_leaving_wells_out_judges_them_anew(result: Result, tmp_path: Path) -> None:
    write_result(tmp_path / "result", result)
    changes = [KeptChange(plate=row["plate"], well=row["well"], excluded=True, reason="dry", by="me", at="now", revision=1)
               for _, row in TABLE[TABLE["treatment"] == "strong"].iterrows()]
    after = result_at(tmp_path, changes, fit=FIT, revision=1).scored.tables.single_doses.set_index("treatment")
    assert after.loc["strong", ["n", "n_left_out", "call", "status"]].tolist() == [0, 2, "", "no_value"]
    assert after.loc["some", "call"] == "effect"


def test_the_client_reads_and_writes_them(result: Result, tmp_path: Path) -> None:
    scores = Scores.of({**result.record(JOB), "job": JOB.id})
    assert calls(scores.single_doses) == FOUND
    assert "single_doses.csv" in {path.name for path in scores.write(tmp_path)}
    assert calls(check_table(pd.read_csv(tmp_path / "single_doses.csv"), SINGLE_DOSES)) == FOUND
    assert "\nstrong 1 µM: hit. Inhibition 88\u00a0%" in scores.summary()
    assert "single_doses.csv" in {path.name for path in write_tables(result.scored.tables, tmp_path, screen=result.scored.screen)}


def test_a_table_of_read_outs_gives_them_over_http(http: httpx.Client) -> None:
    response = http.post("/curves", files={"layout": ("primary.csv", TABLE.to_csv(index=False))})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert calls(pd.DataFrame(answer["single_doses"])) == FOUND
    (finding,) = (flag for flag in answer["flags"] if flag["rule"] == "dose_count")
    assert finding["message"].startswith("42 treatments have fewer than 4 doses")
    schema = http.get("/docs.json").json()["components"]["schemas"]["ScoreAnswer"]
    assert "single_doses" in schema["properties"]
    assert "single_doses" not in schema["required"]
