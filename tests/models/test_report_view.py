"""The report as plain values: the page that draws it says what the report says, and its points lead back to the wells."""

from __future__ import annotations

import html
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.dose_response.curves import well_values
from models.errors import Finding
from models.report import ReportTables, panels, render_report, report_view
from tests.models.report_pages import CENSORED, LINEAGE, NAN, PASSED, SCREEN, TOO_FEW, make_tables, make_wells


def view_of(tables: ReportTables, **changes: object) -> dict:
    return report_view(tables, screen=SCREEN, lineage=LINEAGE, gates=PASSED, **changes)


@pytest.fixture
def tables() -> ReportTables:
    return make_tables({"treatment": "strong"}, {"treatment": "beyond", **CENSORED}, {"treatment": "short", **TOO_FEW})


def test_it_says_what_the_report_says(tables: ReportTables) -> None:
    view, page = view_of(tables), render_report(tables, screen=SCREEN, lineage=LINEAGE, gates=PASSED)
    text = html.unescape(page)
    assert [treatment["kind"] for treatment in view["treatments"]] == ["hit", "unsure", "none"]
    for treatment in view["treatments"]:
        assert treatment["half"] in text
        assert treatment["why"] in text
    for said in (view["summary"]["headline"], view["summary"]["hit_rule"], view["plates"][0]["words"], *(row[1] for row in view["help"])):
        assert said in text


def test_the_lines_of_all_curves_are_computed_at_once(tables: ReportTables, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, 9,200 curves took a minute."""
    asked: list[int] = []

    def counted(curves: pd.DataFrame, rows: np.ndarray, doses: np.ndarray) -> np.ndarray:
        asked.append(len(set(rows)))
        return well_values(curves, rows, doses)
    monkeypatch.setattr(panels, "well_values", counted)
    view_of(tables)
    assert asked == [2]     # the third has too few doses


def test_it_is_json_without_nan(tables: ReportTables) -> None:
    text = json.dumps(view_of(tables), allow_nan=False)
    assert json.loads(text)["treatments"][1]["half_sort"] is None       # the one with too few doses


def test_points_lead_to_the_wells_that_they_are(tables: ReportTables) -> None:
    view = view_of(tables)
    for treatment in view["treatments"]:
        assert len(treatment["panel"]["points"]) == 10
        for dose, value, number in treatment["panel"]["points"]:
            row, well = tables.wells.iloc[number], view["wells"][number]
            assert (well["plate"], well["well"]) == (row["plate"], row["well"])
            assert row["treatment"] == treatment["name"]
            assert math.isclose(dose, math.log10(row["dose"]), abs_tol=1e-3)
            assert math.isclose(value, 100 * row["viability"], abs_tol=1e-2)


def test_the_interval_drawn_is_the_one_to_go_by() -> None:
    """The page drew the one without the model's error."""
    tables = make_tables({})
    wide = replace(tables, curves=tables.curves.assign(ic50_model_low=10.0, ic50_model_high=2000.0))
    mark = view_of(wide)["treatments"][0]["panel"]["mark"]
    assert (mark["low"], mark["high"]) == pytest.approx((1.0, math.log10(2000)))


def test_beside_ic50s_of_a_model_that_learned_from_controls_stands_what_they_are_not(tables: ReportTables) -> None:
    """It stood far below them, among the findings."""
    assert view_of(tables)["summary"]["scale"] == ""
    told = replace(tables, findings=(Finding(rule="effect_scale", severity="warning", message="the model learned from controls only"),))
    words = view_of(told)["summary"]["scale"]
    assert "not the IC50s of a metabolic assay" in words
    page = render_report(told, screen=SCREEN, lineage=LINEAGE, gates=PASSED)
    assert page.index('id="treatments"') < page.index(words) < page.index('id="curves"')


def test_a_censored_half_dose_is_an_arrow_at_the_last_dose(tables: ReportTables) -> None:
    marks = {treatment["name"]: treatment["panel"]["mark"] for treatment in view_of(tables)["treatments"]}
    assert (marks["beyond"]["relation"], marks["beyond"]["at"], marks["beyond"]["high"]) == (">", 4.0, None)
    assert marks["strong"]["relation"] == "="
    assert marks["strong"]["low"] < marks["strong"]["at"] < marks["strong"]["high"]
    assert marks["short"] is None


def test_the_line_ends_where_the_doses_end(tables: ReportTables) -> None:
    by_name = {treatment["name"]: treatment["panel"] for treatment in view_of(tables)["treatments"]}
    doses = [dose for dose, _ in by_name["strong"]["line"]]
    assert (min(doses), max(doses)) == (0.0, 4.0)
    assert by_name["short"]["line"] == []


def test_wells_without_a_value_have_no_colour_and_excluded_ones_their_reason() -> None:
    wells = make_wells("drug")
    wells.loc[10, ["viability", "probability"]] = NAN
    wells["excluded"] = np.arange(len(wells)) == 12
    wells["exclusion_reason"] = np.where(wells["excluded"], "<b>bubble</b>", "")
    shown = view_of(make_tables({"treatment": "drug"}, wells=wells))["wells"]
    assert (shown[10]["colour"], shown[10]["value"]) == (None, "–")
    assert shown[12]["excluded"]
    assert shown[12]["reason"] == "<b>bubble</b>"      # the page sets it as text
    assert shown[0]["colour"] == "#fee838"             # alive
    assert shown[0]["dark"] is False
    assert shown[4]["dark"] is True                    # a dead control
