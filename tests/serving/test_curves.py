"""A plate reader's table alone, by HTTP and by command: the numbers of the functions in Python, figures, and refusals in words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pandas as pd
import pytest

from models.dose_response import FitOptions, assay_quality, fit_curves, normalise_to_controls, score_curves
from models.dose_response.control_error import control_errors, with_control_error
from models.tables import CURVES, WELL_SCORES, check_table
from serving import cli
from tests.conftest import tiny_layout
from tests.serving.tiny import ROOT

SHARED = Path(os.environ.get("DOSEWELL_SHARED", ROOT.parent / "shared")) / "data" / "dose_response"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return tiny_layout()


@pytest.fixture(scope="module")
def grid(table: pd.DataFrame) -> str:
    """The read-outs as a plate reader prints them."""
    values = table.set_index("well")["readout"]
    rows = ["\t".join([row, *(str(values.get(f"{row}{column:02d}", "NA")) for column in range(1, 13))]) for row in "ABCDEFGH"]
    return "\n".join(["\t".join(["", *map(str, range(1, 13))]), *rows])


def post(http: httpx.Client, table: pd.DataFrame, *, options: dict | None = None, **files: tuple[str, str]) -> httpx.Response:
    parts = {"layout": ("my plate.csv", table.to_csv(index=False)), **files}
    return http.post("/curves", files=parts, data={"options": json.dumps(options or {})})


def by_hand(table: pd.DataFrame) -> pd.DataFrame:
    wells = normalise_to_controls(table, value="readout")
    treated = wells[wells["role"] == "treated"].assign(response=lambda rows: 100 * (1 - rows["viability"]))
    curves = score_curves(fit_curves(treated, by=["treatment"], response="response"))
    wells = wells.assign(excluded=False)
    return with_control_error(curves, wells, control_errors(wells, value="readout", positive=True), FitOptions(), value="readout")


def test_the_numbers_are_those_of_the_functions(http: httpx.Client, table: pd.DataFrame) -> None:
    response = post(http, table)
    assert response.status_code == 200, response.text
    answer = response.json()
    curves = check_table(pd.DataFrame(answer["curves"]), CURVES)
    pd.testing.assert_frame_equal(curves, check_table(by_hand(table), CURVES)[list(curves.columns)], rtol=1e-12)
    wells = check_table(pd.DataFrame(answer["wells"]), WELL_SCORES, keys=("plate", "well"))
    assert list(wells["well"]) == list(table["well"])
    assert pd.DataFrame(answer["quality"])["z_prime"].tolist() == assay_quality(table, value="readout")["z_prime"].tolist()
    assert (answer["lineage"]["model"], answer["screen"]["name"], answer["screen"]["plate_format"]) == ("read-out", "my plate", 96)


def made_since(began: datetime, page: str) -> bool:
    """Whether a report says that it was made since then; across midnight, too."""
    told = re.search(r"<dt>scored at</dt><dd><code>([^<]+)<", page)
    return told is not None and began.replace(microsecond=0) <= datetime.fromisoformat(told[1]) <= datetime.now(UTC)


def test_the_same_as_a_report(http: httpx.Client, table: pd.DataFrame) -> None:
    began = datetime.now(UTC)
    page = http.post("/curves?format=html", files={"layout": ("my plate.csv", table.to_csv(index=False))})
    assert page.status_code == 200, page.text
    assert page.headers["content-disposition"].startswith('attachment; filename="my_plate.html"')
    assert page.headers["content-security-policy"] == "sandbox"
    assert "measured read-outs" in page.text
    assert made_since(began, page.text)
    assert "model’s error" not in page.text.partition("Treatments</h2>")[0]     # no model made them
    assert "flagged or left out (" not in page.text
    assert http.post("/curves?format=html", files={"layout": ("empty.csv", "well,role\n")}).json()["findings"]
    assert http.post("/curves?format=docx", files={"layout": ("my plate.csv", table.to_csv(index=False))}).status_code == 400


def test_the_plate_readers_own_file_gives_the_same(http: httpx.Client, table: pd.DataFrame, grid: str) -> None:
    bare = table.drop(columns="readout")
    assert post(http, bare, readout=("CTG_1.txt", grid)).json()["curves"] == post(http, table).json()["curves"]
    assert "no column holds measured values" in post(http, bare).text


def test_options_of_a_table(http: httpx.Client, table: pd.DataFrame) -> None:
    well = table.loc[table["role"] == "treated", "well"].iloc[0]
    answer = post(http, table, options={"fit": {"ic_level": 30}, "exclusions": [{"plate": "P1", "well": well, "reason": "bubble"}],
                                        "controls": "none", "plate_format": 384, "name": "mine"}).json()
    (curve,) = answer["curves"]
    assert (curve["scale"], curve["n"], curve["ic50"]) == ("raw", 31, None)
    assert (answer["screen"]["plate_format"], answer["screen"]["name"]) == (384, "mine")


def test_hits_of_the_report_and_wells_that_stay_in(http: httpx.Client, table: pd.DataFrame) -> None:
    """The command had options for the one, jobs for the other."""
    def report(**options: object) -> str:
        page = http.post("/curves?format=html", files={"layout": ("my plate.csv", table.to_csv(index=False))},
                         data={"options": json.dumps(options)})
        assert page.status_code == 200, page.text
        return page.text
    assert "DSS2" not in report()
    assert "DSS2" in report(hit_score="dss2", hit_threshold=90)
    well = table.loc[table["role"] == "treated", "well"].iloc[0]
    left = table.assign(excluded=table["well"] == well, exclusion_reason="dry")
    kept = {"keep": [{"plate": "P1", "well": well, "reason": "not dry"}]}
    assert [post(http, left, options=options).json()["curves"][0]["n"] for options in ({}, kept)] == [31, 32]


def test_a_table_of_another_program_says_the_rest_by_options(http: httpx.Client, table: pd.DataFrame) -> None:
    """No roles, another name of the read-out, no unit: docs/coming_from.md."""
    named = table["treatment"].mask(table["role"] == "negative", "DMSO").mask(table["role"] == "positive", "BzCl")
    other = table.assign(treatment=named, cells=table["readout"]).drop(columns=["role", "readout", "dose_unit"])
    answer = post(http, other, options={"roles": {"positive": "BzCl"}, "columns": {"readout": "cells"}, "dose_unit": "nM"}).json()
    pd.testing.assert_frame_equal(pd.DataFrame(answer["curves"]), pd.DataFrame(post(http, table).json()["curves"]))
    assert "no column of roles" in json.dumps(answer["flags"])
    assert "use one of negative" in post(http, other, options={"roles": {"killed": "BzCl"}}).text


def test_a_compound_of_known_potency_puts_a_table_in_doubt(http: httpx.Client, table: pd.DataFrame) -> None:
    name = str(table.loc[table["role"] == "treated", "treatment"].iloc[0])
    answer = post(http, table, options={"expected_ic50": {name: [1e-6, 1e-5]}}).json()
    assert [flag["rule"] for flag in answer["flags"] if flag["rule"].startswith("potency")] == ["potency_off"]
    assert not any(curve["status"] == "ok" for curve in answer["curves"])
    assert "must be two doses above 0" in post(http, table, options={"expected_ic50": {name: [5]}}).text


@pytest.mark.parametrize(("change", "options", "message"), [
    (lambda table: table.drop(columns="role"), {}, "no column 'role'"),
    (lambda table: table.assign(dose=table["dose"].astype(object).where(table["role"] != "treated", "ten")), {}, "'ten'"),
    (lambda table: table.iloc[:2], {"controls": "both"}, "control well"),
    (lambda table: table, {"fit": {"modle": "5pl"}}, "did you mean"),
    (lambda table: table, {"plate_format": 97}, "plate_format"),
    (lambda table: table, {"hit_score": "dss9"}, "hit_score must be one of dss_asym"),
    (lambda table: table, {"columns": {"dose": "Conc"}}, "in a request options.columns), but my plate.csv has: plate, well"),
    (lambda table: table.drop(columns="readout"), {}, "say which it is (--columns readout=..., in a request options.columns)"),
    (lambda table: table, {"exclusions": [{"plate": "P9", "well": "A01", "reason": "x"}]}, "cannot exclude well A01 of plate P9"),
])
def test_tables_that_are_no_use(http: httpx.Client, table: pd.DataFrame, change: object, options: dict, message: str) -> None:
    response = post(http, change(table), options=options)
    assert response.status_code == 400
    assert message in response.text


@pytest.mark.parametrize(("role", "told"), [("positive", "nobody knows what a dead well reads"), ("negative", "no viability and no IC50")])
def test_controls_that_some_plates_lack_are_told_to_be_used_on_none(http: httpx.Client, table: pd.DataFrame, role: str, told: str) -> None:
    second = table[table["role"] != role].assign(plate="P2")
    flags = post(http, pd.concat([table, second])).json()["flags"]
    (said,) = (flag["message"] for flag in flags if flag["rule"] == "controls_everywhere")
    assert told in said
    assert f"mark those of P2 in the layout (role {role})" in said
    assert "controls_everywhere" not in post(http, pd.concat([table, table.assign(plate="P2")])).text


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["dosewell", *map(str, arguments)])
    cli.main()


def test_the_command_works_without_a_service(tmp_path: Path, table: pd.DataFrame, grid: str, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "CTG_1.txt").write_text(grid)
    table.drop(columns="readout").rename(columns={"dose": "level"}).to_csv(tmp_path / "screen.csv", index=False)
    well, began = table.loc[table["role"] == "treated", "well"].iloc[0], datetime.now(UTC)
    run(monkeypatch, "curves", tmp_path / "screen.csv", "--readout", tmp_path / "CTG_1.txt", "--columns", "dose=level",
        "--exclude", f"P1:{well}=bubble", "--out", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "drug" in printed
    assert "Z′ 1.00: excellent" in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "wells.csv", "curves.csv", "quality.csv", "hits.csv", "report.html", "panel.pdf", "waterfall.pdf", "plates.pdf"}
    assert all((tmp_path / "out" / name).read_bytes()[:5] == b"%PDF-" for name in ("panel.pdf", "waterfall.pdf", "plates.pdf"))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert made_since(began, page)
    assert "screen.csv, CTG_1.txt" in page
    curves = pd.read_csv(tmp_path / "out" / "curves.csv")
    assert curves["n"].tolist() == [31]
    assert curves["ic50"].iloc[0] == pytest.approx(by_hand(table)["ic50"].iloc[0], rel=1e-3)
    assert "from before" not in printed
    table.to_csv(tmp_path / "other.csv", index=False)
    run(monkeypatch, "curves", tmp_path / "other.csv", "--out", tmp_path / "out", "--no-figures")   # they would pass for its own
    assert "NOT of this result, but there from before: panel.pdf, waterfall.pdf, plates.pdf" in capsys.readouterr().out
    pd.DataFrame({"treatment": "x", "dose": [1, 10, 100, 1e3, 1e4, 1e5], "inhibition": [1, 3, 20, 71, 95, 98]}).to_csv(tmp_path / "n.csv")
    run(monkeypatch, "fit", tmp_path / "n.csv", "--out", tmp_path / "out", "--no-figures")      # its curves are of another screen
    assert "but there from before: report.html, wells.csv, quality.csv, hits.csv, panel.pdf" in capsys.readouterr().out


def test_ic50s_of_two_samples_side_by_side(tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    for name, factor in (("parental", 1.0), ("resistant", 10.0)):
        table.assign(dose=table["dose"] * factor).to_csv(tmp_path / f"{name}.csv", index=False)
        run(monkeypatch, "curves", tmp_path / f"{name}.csv", "--out", tmp_path / name, "--no-figures")
    run(monkeypatch, "compare", tmp_path / "parental", tmp_path / "resistant" / "curves.csv", "--out", tmp_path / "potency.csv")
    assert "drug: 10-fold (" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "potency.csv")
    assert (found["fold"].round(3).tolist(), found["call"].tolist()) == ([10.0], ["higher"])
    curves = pd.read_csv(tmp_path / "parental" / "curves.csv")
    pd.concat([curves, curves.assign(treatment="further")]).to_csv(tmp_path / "wider.csv", index=False)
    run(monkeypatch, "compare", tmp_path / "wider.csv", tmp_path / "resistant", "--out", tmp_path / "wider-potency.csv")
    assert f"only in {tmp_path / 'wider.csv'}: further\n" in capsys.readouterr().out     # it was left out without a word
    with pytest.raises(SystemExit, match="is no table of curves; its columns are plate, well"):
        run(monkeypatch, "compare", tmp_path / "parental.csv", tmp_path / "resistant", "--out", tmp_path / "x.csv")
    with pytest.raises(SystemExit, match="nothing is not there; expected a CSV"):
        run(monkeypatch, "compare", tmp_path / "parental", tmp_path / "nothing", "--out", tmp_path / "x.csv")


def test_a_pipe_that_knows_few_characters_ends_nothing(tmp_path: Path, table: pd.DataFrame) -> None:
    """The prime of Z′ is not in cp1252, which pipes have on Windows: the command ended before it had written its files."""
    table.to_csv(tmp_path / "screen.csv", index=False)
    command = [sys.executable, "-m", "serving.cli", "curves", tmp_path / "screen.csv", "--out", tmp_path / "out", "--no-figures"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, capture_output=True, check=True)
    assert b"Z? 1.00: excellent" in done.stdout
    assert (tmp_path / "out" / "curves.csv").is_file()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--columns", "dose=Conc"], "'Conc' was named as the column of dose .*, but screen.csv has: plate, well"),
    (["--roles", "positive=BzCl"], "no well has the treatment 'BzCl'; treatments: drug"),
    (["--dose-unit", "furlong"], "dose_unit: must be one of nM"),
    (["--readout-name", "CTG", "--readout", "nowhere.txt"], "nowhere.txt"),
    (["--fit", '{"ic_level": 300}'], "ic_level")])
def test_the_command_says_what_is_wrong(tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, arguments: list[str],
                                        message: str) -> None:
    table.to_csv(tmp_path / "screen.csv", index=False)
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, "curves", tmp_path / "screen.csv", "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "message"), [
    ("{bad", "argument --fit: expected JSON, got '{bad'"), ("[1]", "expected a JSON object")])
def test_options_that_are_no_json_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str,
                                            message: str) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "curves", tmp_path / "screen.csv", "--out", tmp_path / "out", "--fit", text)
    assert message in capsys.readouterr().err


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there; set DOSEWELL_SHARED")
def test_a_published_screen_in_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """BT-40: 3 plates of 384 wells as iTReX has them, no column renamed. Its own scores, by another optimizer, within 3 of 50."""
    run(monkeypatch, "curves", SHARED / "bt40.csv", "--out", tmp_path, "--no-figures")
    printed = capsys.readouterr().out
    assert printed.count("plate ") >= 3
    curves = pd.read_csv(tmp_path / "curves.csv").set_index("treatment")
    expected = pd.read_csv(SHARED / "bt40_expected.csv").set_index("Drug.Name")["DSS_asym"]
    difference = (curves["dss_asym"] - expected).dropna().abs()
    assert (len(curves), len(difference)) == (76, 75)   # and staurosporine, the reference series
    assert difference.median() < 0.3
    assert difference.max() < 3


def test_options_keep_their_defaults() -> None:
    from serving.readouts import ReadoutOptions

    assert ReadoutOptions().fit == FitOptions()
