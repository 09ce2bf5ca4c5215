"""The stage `report`: files of `score` and `evaluate` in, byte-stable pages out, errors that name the file."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from models.errors import Finding, InputError, TableError
from models.networks.bundle import Card, GateResult, TrunkReference, write_bundle
from models.networks.recipe import Recipe
from models.plates.screen import Screen
from models.plates.simulate.examples import Example
from models.report import render_report
from models.scoring import score_measured
from models.tables import CURVES, WELL_SCORES
from pipelines.report import SCORE_FILES, ScoredEntry, main, read_entry, read_tables, relative
from pipelines.score import write_scores
from pipelines.screens import write_screen
from tests.conftest import primary_screen

MODEL = "profile-PAT_7"


def make_wells() -> pd.DataFrame:
    controls = [("negative", "", None, 1.0)] * 3 + [("positive", "", None, 0.0)] * 3
    rows = controls + [("treated", "trametinib", 10.0 ** power, 1 / (1 + 10.0 ** (power - 2))) for power in range(5)]
    table = pd.DataFrame(rows, columns=["role", "treatment", "dose", "viability"])
    table = table.assign(plate="P1", well=[f"A{index + 1:02d}" for index in range(len(table))], dose_unit="nM", replicate=1,
                         logit=0.0, probability=table["viability"], od=float("nan"), excluded=False, exclusion_reason="", model=MODEL,
                         version="abc", flags=pd.Series([["out_of_distribution"]] + [[]] * (len(table) - 1), dtype=object))
    return table[[*WELL_SCORES.names(required_only=True), "exclusion_reason"]]


def make_curves(**values: object) -> pd.DataFrame:
    row = dict.fromkeys(CURVES.names(), 0.0) | {
        "treatment": "trametinib", "dose_unit": "nM", "scale": "percent_inhibition", "model": "4pl", "direction": "rising", "top": 100.0,
        "log10_midpoint": 2.0, "slope": 1.0, "asymmetry": 1.0, "ec50": 100.0, "ec50_relation": "=", "ic50": 100.0, "ic50_low": 50.0,
        "ic50_high": 200.0, "ic50_relation": "=", "n": 5, "n_doses": 5, "n_outliers": 0, "dose_min": 1.0, "dose_max": 1e4, "dss_asym": 22.0,
        "status": "ok", "reason": "", "uncalibrated": True}
    return pd.DataFrame([row | values])


def make_card(*, passed: bool) -> Card:
    gate = GateResult(metric="z_prime_cv", value=0.7, minimum=0.3, maximum=None, passed=passed,
                      reason="z_prime_cv is 0.7, asked at least 0.3")
    return Card(name=MODEL, system="profile", recipe=Recipe(system="profile", target="control_class"), output="probability alive",
                sample="PAT_7", trunk=TrunkReference(name="small_cnn", weights="none", sha256="0"), weights_sha256="", gates=(gate,))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with one scored screen, patient-7, and the arguments of the stage."""
    scores = tmp_path / "artifacts" / "scores" / "patient-7"
    scores.mkdir(parents=True)
    make_wells().to_parquet(scores / "wells.parquet", index=False)
    make_curves().to_parquet(scores / "curves.parquet", index=False)
    pd.DataFrame([{"plate": "P1", "z_prime": 0.7, "z_prime_robust": 0.8, "n_negative": 3, "n_positive": 3, "reason": ""}]).to_parquet(
        scores / "quality.parquet", index=False)
    finding = Finding(rule="out_of_distribution", severity="warning", plate="P1", well="A01", message="well A01 looks odd")
    (scores / "findings.json").write_text(json.dumps([finding.record()]))
    (scores / "lineage.json").write_text(json.dumps({"model": MODEL, "version": "abc", "git_commit": "c0ffee"}))
    (tmp_path / "data" / "patient-7").mkdir(parents=True)
    write_screen(tmp_path / "data" / "patient-7", Screen(name="patient-7", sample="PAT_7", kind="patient"))
    evaluation = tmp_path / "artifacts" / "evaluate" / MODEL
    evaluation.mkdir(parents=True)
    (evaluation / "metrics.json").write_text(json.dumps({"z_prime_cv": 0.7}))
    write_bundle(tmp_path / "artifacts" / "models" / MODEL, make_card(passed=True), head=b"weights", trunk=None)
    (tmp_path / "params.yaml").write_text(f"scores: {{patient-7: {MODEL}}}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [
        "report", "--scores", "artifacts/scores", "--data", "data", "--evaluate", "artifacts/evaluate", "--models", "artifacts/models",
        "--validate", "artifacts/validate", "--docs", "artifacts/data_docs", "--out", "artifacts/report"])
    return tmp_path


def pages(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project / "artifacts" / "report").iterdir()}


def test_a_page_per_screen_and_an_index(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main()
    written = pages(project)
    assert sorted(written) == ["index.html", "patient-7.html"]
    page = written["patient-7.html"].decode()
    for words in ("trametinib", "100 nM", "c0ffee", "z_prime_cv is 0.7", "well A01 looks odd", "Evaluation of the model",
                  "does not look like what the model learned from",
                  'href="../validate/patient-7.html"', 'href="../data_docs/patient-7.html"', 'href="index.html"'):
        assert words in page
    assert 'href="patient-7.html"' in written["index.html"].decode()
    assert "1 screen(s)" in capsys.readouterr().out


def test_each_screen_has_its_own_page_and_line(project: Path) -> None:
    for folder in (project / "artifacts" / "scores", project / "data"):
        shutil.copytree(folder / "patient-7", folder / "patient-8")
    write_screen(project / "data" / "patient-8", Screen(name="patient-8", sample="PAT_8", kind="patient"))
    (project / "params.yaml").write_text(f"scores: {{patient-7: {MODEL}, patient-8: {MODEL}}}\n")
    main()
    written = {name: page.decode() for name, page in pages(project).items()}
    assert [f'href="patient-{number}.html"' in written["index.html"] for number in (7, 8)] == [True, True]
    assert ["PAT_8" in written[name] for name in ("patient-7.html", "patient-8.html", "index.html")] == [False, True, True]


def test_links_to_folders_with_blanks_can_be_followed() -> None:
    assert relative(Path("my #1 data/docs"), Path("reports")) == "../my%20%231%20data/docs"


def test_single_doses_go_from_the_stage_score_to_the_tables_of_the_page(tmp_path: Path) -> None:
    scored = score_measured(primary_screen({"killer": 90.0}, inert=8), screen=Screen(name="s", sample="x", plate_format=384))
    write_scores(scored, tmp_path, lineage={})
    assert len(scored.single_doses) == 9
    pd.testing.assert_frame_equal(read_tables(tmp_path).single_doses, scored.single_doses)


def test_a_second_run_gives_the_same_bytes_and_removes_pages_of_screens_that_are_gone(project: Path) -> None:
    main()
    first = pages(project)
    (project / "artifacts" / "report" / "gone.html").write_text("old")
    main()
    assert pages(project) == first


def test_scores_of_a_screen_that_is_listed_no_longer_are_not_reported(project: Path) -> None:
    """Its folder of data/ may be gone too: that must not keep the others from their pages."""
    shutil.copytree(project / "artifacts" / "scores" / "patient-7", project / "artifacts" / "scores" / "gone")
    main()
    assert sorted(pages(project)) == ["index.html", "patient-7.html"]


def test_failed_gates_of_the_bundle_reach_the_page(project: Path) -> None:
    write_bundle(project / "artifacts" / "models" / MODEL, make_card(passed=False), head=b"weights", trunk=None)
    main()
    written = pages(project)
    assert b"The model did not pass its own checks." in written["patient-7.html"]
    assert b"model gates failed" in written["index.html"]


def test_flags_come_back_as_lists(project: Path) -> None:
    tables = read_tables(project / "artifacts" / "scores" / "patient-7")
    assert list(tables.wells["flags"])[:2] == [["out_of_distribution"], []]


def test_no_scored_screen_gives_an_index_that_says_so(project: Path) -> None:
    for path in (scores := project / "artifacts" / "scores" / "patient-7").iterdir():
        path.unlink()
    scores.rmdir()
    main()
    assert b"No screen has been scored yet." in pages(project)["index.html"]


@pytest.mark.parametrize(("path", "message"), [
    *((f"artifacts/scores/patient-7/{name}", f"lacks {name}; run the stage `score`") for name in SCORE_FILES[1:]),
    (f"artifacts/evaluate/{MODEL}/metrics.json", "run the stage `evaluate`")])
def test_a_missing_file_is_named_with_the_stage_that_makes_it(project: Path, path: str, message: str) -> None:
    (project / path).unlink()
    with pytest.raises(InputError, match=message):
        main()
    assert not (project / "artifacts" / "report").exists()


def test_a_table_that_breaks_its_contract_is_refused(project: Path) -> None:
    make_curves(status="wonderful").to_parquet(project / "artifacts" / "scores" / "patient-7" / "curves.parquet", index=False)
    with pytest.raises(TableError, match="status"):
        main()


def test_a_well_that_is_there_twice_is_refused(project: Path) -> None:
    wells = make_wells()
    pd.concat([wells, wells.tail(1)]).to_parquet(project / "artifacts" / "scores" / "patient-7" / "wells.parquet", index=False)
    with pytest.raises(TableError, match="well"):
        main()


def test_combinations_go_from_the_stage_score_to_the_page_and_leave_no_trace_where_there_are_none(tmp_path: Path, paired: Example) -> None:
    scored = score_measured(paired.full_layout(), screen=paired.screen())
    write_scores(scored, tmp_path / "both", lineage={})
    tables = read_tables(tmp_path / "both")
    pd.testing.assert_frame_equal(tables.combinations.pairs, scored.combinations.pairs)
    pd.testing.assert_frame_equal(tables.combinations.doses, scored.combinations.doses)
    assert "bortezomib + gemcitabine" in render_report(tables, screen=paired.screen(), lineage={})
    alone = paired.full_layout().query("treatment_2 == ''").drop(columns=["treatment_2", "dose_2", "dose_unit_2"])
    write_scores(score_measured(alone, screen=paired.screen()), tmp_path / "single", lineage={})
    assert sorted(path.name for path in (tmp_path / "single").iterdir()) == [
        "curves.parquet", "drift.parquet", "findings.json", "lineage.json", "quality.parquet", "wells.parquet"]
    assert read_tables(tmp_path / "single").combinations.named() == {}


def test_each_page_is_written_before_the_next_screen_is_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and pages of all screens lay in memory together."""
    for folder in (project / "artifacts" / "scores", project / "data"):
        shutil.copytree(folder / "patient-7", folder / "patient-8")
    (project / "params.yaml").write_text(f"scores: {{patient-7: {MODEL}, patient-8: {MODEL}}}\n")
    done: list[str] = []

    def read(folder: Path, **places: Any) -> ScoredEntry:
        done.append(f"read {folder.name}")
        return read_entry(folder, **places)

    def write(path: Path, text: str, **how: Any) -> int:
        done.append(f"write {path.name}")
        return path.write_bytes(text.encode())
    monkeypatch.setattr("pipelines.report.read_entry", read)
    monkeypatch.setattr(Path, "write_text", write)
    main()
    assert done == ["read patient-7", "write patient-7.html", "read patient-8", "write patient-8.html", "write index.html"]
