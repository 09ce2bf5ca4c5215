"""Two treatments in a well, as the service answers: in every form of a result, after wells are left out, and in the browser."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import httpx
import openpyxl
import pandas as pd
import pytest

from models.dose_response import FitOptions
from models.errors import InputError
from models.plates.simulate.examples import Example
from models.scoring import ScoringOptions, score_measured
from models.tables import COMBINATION_PAIRS, COMBINATIONS, check_table
from serving.client_tables import Scores
from serving.job_records import Job, KeptChange
from serving.job_view import job_view
from serving.readouts import write_tables
from serving.results import Result, read_result, render, result_at, write_result
from serving.schemas import ScoreAnswer
from serving.scored import Scored, measured_lineage

FIT = FitOptions(interval="none")
PAIRS = [("doxorubicin", "cisplatin", "none"), ("bortezomib", "gemcitabine", "synergy")]
NAMES = ("combinations", "combination_pairs")


@pytest.fixture(scope="module")
def table(paired: Example) -> pd.DataFrame:
    return paired.full_layout()


@pytest.fixture(scope="module")
def result(table: pd.DataFrame, paired: Example) -> Result:
    return result_of(table, paired)


def result_of(table: pd.DataFrame, paired: Example) -> Result:
    tables = score_measured(table, screen=paired.screen(), options=ScoringOptions(fit=FIT))
    return Result(scored=Scored(tables=tables, screen=paired.screen(), gates=(), lineage=measured_lineage(service_version="0")))


@pytest.fixture
def single(table: pd.DataFrame, paired: Example) -> Result:
    """The same plates without their combinations."""
    alone = table[table["treatment_2"] == ""].drop(columns=["treatment_2", "dose_2", "dose_unit_2"])
    return result_of(alone.reset_index(drop=True), paired)


JOB = Job(**{**dict.fromkeys(Job.__dataclass_fields__, ""), "id": "a" * 32, "screen": "mine", "revision": 0,
              "created_at": "2026-01-02T03:04:05+00:00"})


def calls(pairs: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(pairs[["treatment", "treatment_2", "call"]].itertuples(index=False, name=None))


def members(data: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return set(archive.namelist())


def test_a_result_is_kept_and_read_with_its_combinations(result: Result, tmp_path: Path) -> None:
    write_result(tmp_path / "result", result)
    again = read_result(tmp_path / "result").scored.tables.combinations
    for name in ("doses", "pairs"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(result.scored.tables.combinations, name))


def test_a_job_that_was_kept_before_there_were_any_opens(result: Result, tmp_path: Path) -> None:
    write_result(tmp_path / "result", result)
    for name in NAMES:
        (tmp_path / "result" / f"{name}.parquet").unlink()
    old = read_result(tmp_path / "result")
    assert old.scored.tables.combinations.named() == {}
    assert "combinations" not in old.scored.record()
    assert "combinations" not in job_view(old)
    for kind in ("json", "csv", "parquet", "xlsx", "html"):
        assert render(old, JOB, kind=kind)[0]


def test_every_form_of_a_result_has_them(result: Result) -> None:
    answer = json.loads(render(result, JOB, kind="json")[0])
    assert calls(pd.DataFrame(answer["combination_pairs"])) == PAIRS
    assert len(check_table(pd.DataFrame(answer["combinations"]), COMBINATIONS)) == 50
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        assert {f"{name}.{kind}" for name in NAMES} <= members(render(result, JOB, kind=kind)[0])
        data, _, name = render(result, JOB, kind=kind, table="combination_pairs")
        assert name == f"mine-aaaaaaaa-combination_pairs.{kind}"
        assert calls(read(io.BytesIO(data))) == PAIRS
    book = openpyxl.load_workbook(io.BytesIO(render(result, JOB, kind="xlsx")[0]))
    assert book.sheetnames == ["treatments", "curves", "combination_pairs", "combinations", "wells", "quality", "flags", "changes",
                               "columns", "about"]
    assert book["combinations"].max_row == 51
    assert "no evidence that the two help or hinder each other" in render(result, JOB, kind="html")[0].decode()
    ScoreAnswer.model_validate(answer)


def test_a_result_without_combinations_is_as_it_was(single: Result, tmp_path: Path) -> None:
    write_result(tmp_path / "result", single)
    assert not [path for path in (tmp_path / "result").iterdir() if path.stem in NAMES]
    assert not {"combinations", "combination_pairs"} & set(json.loads(render(single, JOB, kind="json")[0]))
    assert members(render(single, JOB, kind="csv")[0]) == {"wells.csv", "curves.csv", "quality.csv", "hits.csv", "flags.csv"}
    with pytest.raises(InputError, match="no such table") as caught:
        render(single, JOB, kind="csv", table="combinations")
    assert "no well of this job holds two treatments" in caught.value.findings[0].message


def test_leaving_wells_out_judges_the_pairs_anew(result: Result, table: pd.DataFrame, tmp_path: Path) -> None:
    write_result(tmp_path / "result", result)
    gone = table[(table["treatment"] == "gemcitabine") & (table["dose"] == table.loc[table["treatment"] == "gemcitabine", "dose"].min())]
    changes = [KeptChange(plate=row["plate"], well=row["well"], excluded=True, reason="dry", by="me", at="now", revision=1)
               for _, row in gone.iterrows()]
    after = result_at(tmp_path, changes, fit=FIT, revision=1).scored.tables.combinations
    lost = after.doses[after.doses["status"] == "parts_missing"]
    assert len(lost) == 5
    assert lost["reason"].str.startswith("no well with gemcitabine").all()
    assert after.pairs["n_judged"].tolist() == [25, 20]
    before = result.scored.tables.combinations.pairs
    assert after.pairs["mean_excess"][0] == before["mean_excess"][0]
    assert after.pairs["mean_excess"][1] != before["mean_excess"][1]


def test_the_client_reads_and_writes_them(result: Result, tmp_path: Path) -> None:
    scores = Scores.of({**result.record(JOB), "job": JOB.id})
    assert calls(scores.combinations.pairs) == PAIRS
    assert {f"{name}.csv" for name in NAMES} <= {path.name for path in scores.write(tmp_path)}
    assert "bortezomib + gemcitabine: synergy." in scores.summary()
    assert calls(check_table(pd.read_csv(tmp_path / "combination_pairs.csv"), COMBINATION_PAIRS)) == PAIRS
    written = write_tables(result.scored.tables, tmp_path, screen=result.scored.screen)
    assert {path.name for path in written} >= {f"{name}.csv" for name in NAMES}


def test_a_table_of_read_outs_gives_them_over_http(http: httpx.Client, table: pd.DataFrame) -> None:
    response = http.post("/curves", files={"layout": ("pairs.csv", table.to_csv(index=False))})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert calls(pd.DataFrame(answer["combination_pairs"])) == PAIRS
    assert sum(row["n"] for row in answer["combinations"]) == 100
    schema = http.get("/docs.json").json()["components"]["schemas"]["ScoreAnswer"]
    assert set(NAMES).isdisjoint(schema["required"])
    assert set(NAMES) <= set(schema["properties"])


def test_changed_words_of_a_well_name_both_treatments(result: Result) -> None:
    wells = job_view(result)["wells"]
    assert any(well["content"] == "bortezomib 3 nM + gemcitabine 15 nM" for well in wells)
