"""What the report says: of hits, doubts and censored numbers, of plates that must not be used, and of what cannot be computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.dose_response.doubts import LEFT_OUT_WORDS
from models.errors import Finding
from models.networks.bundle import GateResult
from models.report import ReportOptions, ReportTables, render_report, render_text, report_view, treatment_table
from models.report.inputs import curve_names, wells_by_curve
from models.scoring import score_measured
from tests.conftest import tiny_layout
from tests.models.oracle import SCREEN
from tests.models.report_pages import (
    CENSORED,
    CURVE,
    GATE,
    LINEAGE,
    NAN,
    NO_FIT,
    PASSED,
    QUALITY,
    TOO_FEW,
    Page,
    make_tables,
    make_wells,
    render,
    rows_of,
)


def test_a_clear_effect_on_a_good_plate_is_a_hit_with_its_reason() -> None:
    row = rows_of(render(make_tables({}, {"treatment": "other"}, {"treatment": "third"}, {"treatment": "weak", **CENSORED})))
    assert "hit DSS_asym 24.0 ≥ 10, curve ok, controls ok 100 nM 60 to 170 nM 24.0 0.50 1.00 0.98 ok" in row["drug"]
    assert "no hit DSS_asym 2.0 is below 10 > 10 µM beyond the tested doses" in row["weak"]


def test_a_score_at_the_threshold_is_a_hit_if_noise_cannot_have_put_it_there() -> None:
    def row(**changes: object) -> str:
        return rows_of(render(make_tables(changes)))["drug"]

    assert "drug hit DSS_asym 10.0 ≥ 10" in row(dss_asym=10.0, rmse=0.0, bottom=30.0, top=30.0)
    assert "hit DSS_asym 11.5 ≥ 10" in row(dss_asym=11.5)
    assert "cannot say DSS_asym 10.5 would be a hit, but within its noise it may lie on either side (9.1 to 11.9)" in row(dss_asym=10.5)
    assert "cannot say DSS_asym 9.5 is below 10, but within its noise it may lie on either side" in row(dss_asym=9.5)
    assert "no hit DSS_asym 8.0 is below 10" in row(dss_asym=8.0)


def test_a_score_of_plates_that_disagree_is_no_no() -> None:
    reason = "plates disagree beyond their noise (p 1e-06): IC50 1 nM on P1, > 10 nM on P2"
    row = rows_of(render(make_tables({"dss_asym": 6.0, "status": "weakly_identified", "reason": reason})))["drug"]
    assert f"cannot say DSS_asym 6.0 is below 10, but {reason}" in row


def test_the_headline_counts_hits_and_doubts() -> None:
    page = Page(render(make_tables({}, {"treatment": "b"}, {"treatment": "c", **CENSORED}, {"treatment": "d", **TOO_FEW})))
    assert "2 hits among 4 treatments. 1 cannot be judged." in page.text
    assert "1 plate, excellent" in page.text


def test_few_treatments_are_named_at_the_top() -> None:
    assert "drug: IC50 100 nM (60 to 170 nM)." in Page(render(make_tables({}))).text


@pytest.mark.parametrize(("curve", "said", "never"), [
    (TOO_FEW, "cannot say: too few doses", "100 nM"),
    ({**NO_FIT, "status": "failed", "ic50_relation": ""}, "cannot say: the fit failed", "100 nM"),
    ({"status": "weakly_identified", "reason": "slope at its bound", "dss_asym": 24.0}, "≈ 100 nM", "<strong>100 nM"),
    ({"ic50_high": NAN}, "≈ 100 nM", "<strong>100 nM"),
    (CENSORED, "&gt; 10 µM", "<strong>10 µM"),
    ({**CENSORED, "ic50": 1.0, "ic50_relation": "<"}, "&lt; 1 nM", "<strong>1 nM"),
])
def test_a_number_is_never_shown_as_certain_when_it_is_not(curve: dict[str, object], said: str, never: str) -> None:
    table = render(make_tables(curve)).split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    assert said in table
    assert never not in table


@pytest.mark.parametrize(("curve", "quality", "gates", "reason"), [
    ({"status": "weakly_identified", "reason": "no more responses than parameters"}, {}, PASSED,
     "a hit, but the curve is weakly determined (no more"),
    ({"status": "weakly_identified", "reason": "slope at its bound; well B03 drags it"}, {}, PASSED, "but the curve is weakly determined"),
    ({"status": "weakly_identified", "reason": "slope at its bound", "dss_asym": 10.5}, {}, PASSED, "determined (slope at its bound)"),
    ({}, {"z_prime": -0.2}, PASSED, "drug cannot say controls overlap (Z′ below 0)"),
    ({"dss_asym": 1.0}, {"z_prime": -0.2}, PASSED, "drug cannot say controls overlap (Z′ below 0)"),
    ({}, {"z_prime": NAN, "n_positive": 1}, PASSED, "would be a hit, but the quality of plate P1 cannot be computed"),
    ({}, {}, (replace(GATE, passed=False, reason="too low"),), "the model did not pass its own checks (z_prime_cv)"),
])
def test_a_failed_check_makes_a_hit_a_cannot_say(curve: dict[str, object], quality: dict[str, object], gates: tuple[GateResult, ...],
                                                 reason: str) -> None:
    row = rows_of(render(make_tables(curve, quality=quality), gates=gates))["drug"]
    assert row.startswith("drug cannot say")
    assert reason in row


def test_a_sure_score_of_an_unsure_dose_is_a_hit() -> None:
    """A drug that kills from the second dose on: whatever its IC50, it kills."""
    weak = {"status": "weakly_identified", "reason": "a plateau at its bound; 1 of 12 " + LEFT_OUT_WORDS}
    row = rows_of(render(make_tables(weak)))["drug"]
    assert row.startswith("drug hit DSS_asym 24.0 ≥ 10, surely so, though the dose is weakly determined (a plateau at its bound")
    assert "≈ 100 nM" in row


def test_a_treatment_that_kills_at_every_dose_is_not_said_to_do_nothing() -> None:
    flat = {"status": "flat", "ic50": 1.0, "ic50_relation": "<", "dss_asym": 48.0, "reason": "no dependence on dose beyond noise"}
    row = treatment_table(make_tables(flat), screen=SCREEN, gates=PASSED).iloc[0]
    assert row["verdict"] == "cannot say"
    assert "would be a hit, but it acts so at every dose" in row["because"]
    assert "test lower doses" in row["because"]
    assert "no dependence" not in row["because"]


@pytest.mark.parametrize("curve", [{}, CENSORED, {**CENSORED, "status": "flat"}])
def test_no_number_of_a_plate_that_must_not_be_used_is_shown(curve: dict[str, object]) -> None:
    """Half of the treatment's wells are on a good plate, half on one whose controls overlap."""
    wells = pd.concat([make_wells("drug", plate=plate) for plate in ("P1", "P2")], ignore_index=True)
    bad = pd.DataFrame([QUALITY, QUALITY | {"plate": "P2", "z_prime": -5.3}])
    tables = replace(make_tables(curve, wells=wells), quality=bad)
    row = treatment_table(tables, screen=SCREEN, gates=PASSED).iloc[0]
    assert (row["verdict"], row["IC50"], row["curve"]) == ("cannot say", "cannot say: controls overlap (Z′ below 0)", "not judged")
    assert np.isnan(row["dss_asym"])
    assert np.isnan(row["AUC"])
    said = render_text(tables, screen=SCREEN)
    assert "cannot say: controls overlap" in said
    assert "µM" not in said
    shown = report_view(tables, screen=SCREEN, lineage=LINEAGE)["treatments"][0]
    assert (shown["half"], shown["interval"], shown["score"], shown["panel"]["mark"]) == (row["IC50"], "", "–", None)


def test_controls_that_the_model_learned_from_do_not_make_a_plate_excellent_without_a_word() -> None:
    tables = make_tables({})
    assert "1 plate, excellent" in Page(render(tables)).text
    assert "learned from" not in Page(render(tables)).text
    control = tables.wells.index[tables.wells["role"] == "positive"][0]
    tables.wells.at[control, "flags"] = ["training_well"]
    text = Page(render(tables)).text
    assert "1 plate, excellent, but by wells that the model learned from" in text
    assert "Z′ 0.70: excellent, but by wells that the model learned from" in text


def test_a_plate_that_must_not_be_used_is_said_at_the_top() -> None:
    page = Page(render(make_tables({}, quality={"z_prime": -0.4})))
    assert "Do not use plate P1." in page.text
    assert "Do not rely on it." in page.text


def raw_tables() -> ReportTables:
    curve = {"scale": "raw", "bottom": 0.2, "top": 1.6, "direction": "falling", "ic50": NAN, "ic50_relation": "", "dss_asym": NAN,
             "auc": NAN}
    tables = make_tables(curve, quality={"z_prime": NAN, "z_prime_robust": NAN, "n_positive": 0, "reason": "no positive control wells"})
    wells = tables.wells[tables.wells["role"] != "positive"]
    return replace(tables, wells=wells.assign(od=1.6 * wells["viability"], viability=NAN, probability=NAN))


def test_a_raw_screen_shows_ec50_and_says_why_there_is_no_z_prime() -> None:
    source = render(raw_tables(), screen=replace(SCREEN, controls="negative"))
    page = Page(source)
    assert "drug: EC50 100 nM (60 to 170 nM)." in page.text
    assert "Z′ cannot be computed because the plate has no positive control (at least 2 wells are needed)" in page.text
    assert "Hits are not called" in page.text
    assert "EC50 100 nM" in page.text
    assert "IC50" not in source.split('id="treatments"', 1)[1]
    assert 'class="bar' not in source.split("<h2", 1)[1]


def test_measured_wells_without_controls_are_drawn() -> None:
    measured = score_measured(tiny_layout(), screen=replace(SCREEN, controls="none"))
    source = render(measured, screen=replace(SCREEN, controls="none"))
    assert "no value to draw" not in source
    assert "not drawn" not in source
    assert "read-out" in source.split('id="treatments"', 1)[1]


def test_a_hit_of_a_screen_without_positive_control_says_so() -> None:
    tables = make_tables({}, quality={"z_prime": NAN, "n_positive": 0})
    assert "plate quality unknown (no positive control)" in rows_of(render(tables, screen=replace(SCREEN, controls="negative")))["drug"]


def test_nothing_computable_is_a_page_with_reasons() -> None:
    tables = make_tables(TOO_FEW, quality={"z_prime": NAN, "n_negative": 0, "n_positive": 0})
    wells = tables.wells.assign(viability=NAN, probability=NAN)
    findings = (Finding(rule="controls", severity="error", message="no controls", plate="P1"),)
    page = Page(render(replace(tables, wells=wells, findings=findings)))
    assert "no value to draw" in page.text
    assert "no negative control and no positive control" in page.text
    assert "error no controls (P1)" in page.text


def test_a_screen_without_curves_or_wells_is_still_a_page() -> None:
    tables = ReportTables(wells=make_wells().iloc[:0], curves=pd.DataFrame({name: [] for name in CURVE}), quality=pd.DataFrame())
    assert "No treatment could be fitted." in Page(render(tables)).text


def test_findings_that_differ_only_in_the_well_are_one() -> None:
    findings = tuple(Finding(rule="no_image", severity="warning", plate="P1", well=well, message=f"well {well} has no image")
                     for well in ("A01", "A02"))
    assert "warning each of the wells has no image (P1 A01, P1 A02)" in Page(render(replace(make_tables({}), findings=findings))).text
    assert "warning well A01 has no image (P1)" in Page(render(replace(make_tables({}), findings=findings[:1]))).text   # a whole sentence


def test_treatments_in_words_for_a_spreadsheet() -> None:
    tables = make_tables({"treatment": "weak", **CENSORED}, {"treatment": "strong"}, {"treatment": "few", **TOO_FEW})
    table = treatment_table(tables, screen=SCREEN, gates=PASSED).set_index("treatment")
    assert list(table.index) == ["strong", "few", "weak"]
    assert table["verdict"].tolist() == ["hit", "cannot say", "no hit"]
    assert table["IC50"].tolist() == ["100 nM", "cannot say: too few doses", "> 10 µM"]
    assert table["dss_asym"].tolist()[0] == 24.0
    assert table.loc["few", "curve: why"] == "2 usable doses; a curve needs 4"


def test_a_dose_of_another_level_is_never_called_ic50() -> None:
    """Asked for IC25, report, page and tables in words said IC50 of it."""
    asked = {"ic_level": 25.0}
    tables = make_tables(asked, {"treatment": "weak", **CENSORED, **asked})
    page, view = Page(render(tables)), report_view(tables, screen=SCREEN, lineage=LINEAGE, gates=PASSED)
    shown = [page.text, render_text(tables, screen=SCREEN), str(list(treatment_table(tables, screen=SCREEN))), str(view)]
    assert ["IC50" in words for words in shown] == [False] * 4
    assert ["IC25" in words for words in shown] == [True] * 4
    assert "crosses 75 %" in page.text
    assert (view["summary"]["half"], view["treatments"][0]["panel"]["half_line"]) == ("IC25", 75.0)


def test_a_curve_that_was_asked_for_no_interval_has_none_rather_than_an_open_one() -> None:
    tables = make_tables({"ic50_low": NAN, "ic50_high": NAN})
    narrow = render_text(replace(tables, curves=tables.curves.assign(level=0.8)), screen=SCREEN)
    assert "80 % interval" in narrow
    assert "interval open on both sides" in narrow
    assert "≈ 100 nM  no interval" in render_text(replace(tables, curves=tables.curves.assign(level=NAN)), screen=SCREEN)


def test_lineage_metrics_and_gates_are_shown() -> None:
    text = Page(render(make_tables({}), metrics={"r2": {"cv": 0.912345, "loss": None}})).text
    for words in ("model profile-PAT_7", "version 3", "run run-1", "git commit c0ffee", "data md5 abc.dir", "bundle sha256 feed",
                  "r2 / cv 0.9123", "passed z prime cv: z_prime_cv is 0.7"):
        assert words in text
    assert "run not recorded" in Page(render_report(make_tables({}), screen=SCREEN, lineage={})).text


def test_curves_by_plate_take_only_their_own_wells() -> None:
    wells = pd.concat([make_wells("drug"), make_wells("drug", plate="P2")], ignore_index=True)
    curves = pd.DataFrame([CURVE, CURVE]).assign(plate=["P2", "P1"])
    assert curve_names(curves, wells) == ["drug · plate P2", "drug · plate P1"]
    assert [set(wells["plate"].iloc[own]) for own in wells_by_curve(curves, wells)] == [{"P2"}, {"P1"}]


def test_wells_cut_out_of_a_larger_table_are_drawn() -> None:
    wells = pd.concat([make_wells("drug"), make_wells("drug", plate="P2")])      # repeated index
    assert render(make_tables({}, wells=wells)) == render(make_tables({}, wells=wells.reset_index(drop=True)))


def test_another_score_and_threshold_decide_when_asked() -> None:
    options = ReportOptions(hit_score="dss2", hit_threshold=30)
    assert "no hit DSS2 20.0 is below 30" in rows_of(render(make_tables({}), options=options))["drug"]
    with pytest.raises(ValueError, match="hit_score"):
        ReportOptions(hit_score="dss9")
    with pytest.raises(ValueError, match="hit_threshold"):
        ReportOptions(hit_threshold=-1)
