"""Plates that a curve is pooled from: those that disagree are told, with their own IC50s, and those that agree are left in peace."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.dose_response_statistics import Plates, judged
from models.dose_response import FitOptions, fit_curves
from models.dose_response.between_plates import between_plates
from models.dose_response.curves import curve_values, well_values
from models.dose_response.plate_agreement import disagreements, in_words, welch_p, with_disagreements
from models.dose_response.plate_residuals import plate_residuals
from models.effects import disagreement_findings, plate_differences, treatment_curves, with_viability
from models.plates.screen import Screen
from models.report import render_report, render_text, treatment_table
from models.report.view import report_view
from models.scoring import Exclusion, ScoredScreen, ScoringOptions, refit_wells, score_measured
from models.wells import wells_of

SCREEN = Screen.from_dict({"name": "s", "sample": "X"})


def layout(kind: Plates, *, apart: float, seed: int = 1) -> pd.DataFrame:
    wells = kind.simulate(np.random.default_rng(seed), apart=apart)
    place = wells.groupby("plate").cumcount()
    return wells.drop(columns="excluded").assign(well=np.array(list(wells_of(384)))[place], replicate=1,
                                                 dose_unit=np.where(wells["dose"].notna(), "nM", ""))


def score(wells: pd.DataFrame, **options: object) -> ScoredScreen:
    return score_measured(wells, screen=SCREEN, options=ScoringOptions(**options))


@pytest.fixture(scope="module")
def tenfold() -> ScoredScreen:
    return score(layout(Plates(), apart=1.0))


def test_plates_tenfold_apart_are_told_wherever_a_person_looks(tenfold: ScoredScreen) -> None:
    for _, curve in tenfold.curves.iterrows():
        assert curve["status"] == "weakly_identified"
        assert curve["reason"].startswith("plates disagree beyond their noise (p ")
        assert " nM on P1, " in curve["reason"]
        assert curve["reason"].count("on P") == 2
        assert curve["ic50_low"] < 1.6 < 6.3 < curve["ic50_high"]     # both plates' IC50s, 1 and 10 nM, nearly
    told = [finding for finding in tenfold.findings if finding.rule == "plates_disagree"]
    assert [finding.value for finding in told] == [f"drug {drug}" for drug in range(4)]
    assert all("no one value stands for all of the plates" in finding.message for finding in told)
    table = treatment_table(tenfold, screen=SCREEN)
    assert set(table["verdict"]) == {"cannot say"}
    assert table["IC50"].str.startswith("≈").all()
    assert table["because"].str.contains("plates disagree beyond their noise").all()
    assert "weakly determined" in render_text(tenfold, screen=SCREEN)
    view = report_view(tenfold, screen=SCREEN, lineage={})
    assert {treatment["kind"] for treatment in view["treatments"]} == {"unsure"}
    assert any("plates disagree" in group["message"] for group in view["findings"])
    assert "plates disagree beyond their noise" in render_report(tenfold, screen=SCREEN, lineage={})


def test_leaving_the_plate_out_brings_the_number_back(tenfold: ScoredScreen) -> None:
    out = [Exclusion(plate="P2", well=well, reason="diluted wrongly") for well in
           tenfold.wells.loc[(tenfold.wells["plate"] == "P2") & (tenfold.wells["role"] == "treated"), "well"]]
    again = refit_wells(tenfold.wells, screen=SCREEN, exclusions=out, fit=FitOptions())
    assert set(again.curves["status"]) == {"ok"}
    assert again.curves["ic50"].between(0.5, 2).all()
    assert not [finding for finding in again.findings if finding.rule == "plates_disagree"]
    back = refit_wells(again.wells, screen=SCREEN, exclusions=[], fit=FitOptions())
    assert [finding.rule for finding in back.findings].count("plates_disagree") == 4


def test_plates_that_agree_leave_every_number_as_it_was_but_for_wider_limits() -> None:
    wells = layout(Plates(noise=3.0), apart=0.0)
    scored = score(wells)
    assert not [finding for finding in scored.findings if finding.rule in ("plates_disagree", "plates_scatter")]
    made = with_viability(scored.wells, controls="both", value="readout")
    alone = treatment_curves(made, FitOptions(), controls="both", value="readout")
    limits = ["ec50_low", "ec50_high", "ic50_low", "ic50_high"]
    pd.testing.assert_frame_equal(scored.curves.drop(columns=[*limits, "plates_error"]), alone.drop(columns=limits))
    assert ((scored.curves["ic50_low"] <= alone["ic50_low"]) & (scored.curves["ic50_high"] >= alone["ic50_high"])).all()
    assert (scored.curves["ic50_high"] / scored.curves["ic50_low"] < 1.6 * alone["ic50_high"] / alone["ic50_low"]).all()


def test_false_alarms_are_kept_and_a_tenfold_difference_is_found() -> None:
    for kind in (Plates(), Plates(plates=3, noise=10.0)):
        assert judged(kind, 25, apart=0.0)["apart"].mean() <= 0.04           # 1 of 100 promised; 100 curves
    for kind in (Plates(), Plates(doses=5), Plates(plates=3), Plates(controls=4)):
        assert judged(kind, 4, apart=1.0)["matters"].mean() >= 0.8


def test_small_differences_widen_the_limits_and_say_so() -> None:
    scored = score(layout(Plates(noise=1.5), apart=np.log10(1.8)))
    told = scored.curves[scored.curves["reason"].str.startswith("plates disagree beyond")]
    assert len(told) == 4
    assert set(told["status"]) == {"ok"}
    assert ((told["ic50_low"] < 1.1) & (told["ic50_high"] > 1.7)).all()
    assert all("the limits of the pooled value hold them all" in finding.message
               for finding in scored.findings if finding.rule == "plates_disagree")


def test_a_drug_that_acts_on_one_plate_only_is_no_flat_curve() -> None:
    wells = layout(Plates(noise=4.0), apart=5.0)
    scored = score(wells)
    assert set(scored.curves["status"]) == {"weakly_identified"}
    assert scored.curves["reason"].str.contains("> 100 nM on P2").all()
    assert scored.curves["ic50_high"].isna().all()


def test_many_treatments_are_told_in_one_warning_that_names_the_plate() -> None:
    wells = layout(Plates(), apart=1.0)
    twice = pd.concat([wells, wells[wells["role"] == "treated"].assign(
        treatment=lambda rows: rows["treatment"] + "b", well=lambda rows: rows["well"].str.replace("A", "N"))], ignore_index=True)
    made = with_viability(twice.assign(excluded=False), controls="both", value="readout")
    curves = treatment_curves(made, FitOptions(interval="none"), controls="both", value="readout")
    found, _ = plate_differences(curves, made, FitOptions(interval="none"), controls="both", value="readout")
    (finding,) = disagreement_findings(found, curves)
    assert "8 treatments act differently" in finding.message
    assert "the least affected plate is P2 for 8 of them; the most affected one P1 for 8" in finding.message
    assert disagreement_findings(found, curves.assign(status="failed")) == []


def test_raw_curves_and_plates_without_a_well_to_spare() -> None:
    wells = layout(Plates(noise=2.0), apart=1.0)
    raw = score_measured(wells, screen=Screen.from_dict({"name": "s", "sample": "X", "controls": "none"}))
    assert raw.curves["reason"].str.contains("plates disagree beyond their noise .* EC50 ", regex=True).all()
    bare = wells[wells["role"] == "treated"].groupby(["plate", "treatment"]).head(4).assign(excluded=False)     # no noise to be had
    bare = bare.assign(response=bare["readout"])
    curves = fit_curves(bare, by=["treatment"], response="response", scale="raw")
    residuals = plate_residuals(curves, bare, bare, value="readout", positive=False)
    assert residuals is not None
    assert disagreements(residuals, FitOptions()) == []
    assert between_plates(residuals, []) is None


def test_more_than_four_plates_are_told_by_their_extremes() -> None:
    scored = score(layout(Plates(plates=6, noise=3.0), apart=1.0))
    assert scored.curves["reason"].str.contains("(6 plates, the most and the least affected)", regex=False).all()
    assert scored.curves["reason"].str.contains("on P6").all()


def test_one_plate_or_no_curve_has_nothing_to_compare() -> None:
    wells = layout(Plates(), apart=0.0)
    made = with_viability(wells[wells["plate"] == "P1"].assign(excluded=False), controls="both", value="readout")
    curves = treatment_curves(made, FitOptions(), controls="both", value="readout")
    assert plate_differences(curves, made, FitOptions(), controls="both", value="readout") == ([], None)
    few = wells[(wells["role"] != "treated") | (wells["dose"] < 0.2)]
    assert set(score(few).curves["status"]) == {"too_few_doses"}


def test_welch_equals_scipys_for_two_means() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 7), rng.normal(1, 3, 12)
    expected = stats.ttest_ind(first, second, equal_var=False).pvalue
    means, variances = np.array([first.mean(), second.mean()]), np.array([first.var(ddof=1) / 7, second.var(ddof=1) / 12])
    assert welch_p(means, variances, np.array([6.0, 11.0])) == pytest.approx(expected, rel=1e-9)
    assert welch_p(means[:1], variances[:1], np.array([6.0])) == 1.0
    assert welch_p(means, np.array([np.nan, 1.0]), np.array([6.0, 11.0])) == 1.0


def test_values_of_wells_are_those_of_their_curves() -> None:
    wells = layout(Plates(), apart=0.0)
    wells = wells[wells["role"] == "treated"].assign(response=lambda rows: rows["readout"])
    curves = fit_curves(wells, by=["treatment"], response="response", scale="raw", options=FitOptions(model="auto"))
    doses = np.array([0.0, 0.3, 7.0])
    grid = curve_values(curves, doses)
    rows = np.array([3, 0, 1])
    np.testing.assert_array_equal(well_values(curves, rows, doses), grid[rows, [0, 1, 2]])


def test_the_table_given_is_not_changed(tenfold: ScoredScreen) -> None:
    before = tenfold.curves.copy()
    made = tenfold.wells
    found, _ = plate_differences(before, made, FitOptions(), controls="both", value="readout")
    assert "IC50" in in_words(found[0])
    assert "IC50" not in in_words(plate_differences(before, made, FitOptions(ic_level=30.0), controls="both", value="readout")[0][0])
    with_disagreements(tenfold.curves, found)
    pd.testing.assert_frame_equal(tenfold.curves, before)
    assert with_disagreements(before, []) is before
