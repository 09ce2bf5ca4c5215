"""Controls that do not stand for what they should: no plate with them passes without a word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.control_range import end_words, range_findings
from models.dose_response import call_hits, normalise_to_controls
from models.errors import Finding
from models.scoring import Exclusion, ScoredScreen
from tests.models.dose_response.test_odd_wells import constant, killing, plate, score, told

DRUGS = {f"drug {number}": killing(30.0 * (number + 1)) for number in range(4)}


def rules(scored: ScoredScreen) -> list[str]:
    return [finding.rule for finding in scored.findings if finding.rule.endswith(("_controls", "_sunken"))]


def test_treated_wells_above_the_negative_controls_are_told() -> None:
    scored = score(plate(DRUGS, negative=70.0))
    (finding,) = [one for one in scored.findings if one.rule == "above_controls"]
    assert (finding.plate, finding.severity) == ("P1", "warning")
    assert "the 4 treatments of plate P1 read 1" in finding.message
    assert "put untreated controls among the treated wells" in finding.message
    curves = told(scored)
    assert not curves["status"].eq("ok").any()
    assert curves["reason"].str.contains("and an IC50 comes out too high").all()
    assert curves["verdict"].eq("cannot say").all()     # effects come out too small: nothing there is surely no hit
    called = call_hits(scored.curves)
    assert not called["hit"].any()
    assert called["hit_reason"].str.startswith("undecided").all()
    assert rules(score(plate(DRUGS))) == []
    assert rules(score(plate({"glows": constant(170.0), "right": killing(10.0)}))) == []     # two treatments may both grow


@pytest.mark.parametrize(("kind", "meant"), [("negative", "100 %"), ("positive", "0 %")])
def test_a_single_control_that_is_left_makes_no_sure_curve(kind: str, meant: str) -> None:
    table = plate(DRUGS)
    controls = table.loc[table["role"] == kind, "well"]
    def left(count: int) -> ScoredScreen:
        return score(table, exclusions=tuple(Exclusion(plate="P1", well=str(well), reason="dust") for well in controls[count:]))
    (finding,) = [one for one in left(1).findings if one.rule == "control_alone"]
    assert (finding.plate, finding.well, finding.value) == ("P1", controls.iloc[0], kind)
    assert f"{meant} is what this one well reads" in finding.message
    curves = told(left(1))
    assert not curves["status"].eq("ok").any()
    assert curves["reason"].str.contains(f"how far off {meant} is nothing tells").all()
    assert not call_hits(left(1).curves)["hit"].any()
    assert "control_alone" not in [one.rule for one in left(2).findings]


def test_controls_that_live_better_than_untreated_wells_give_no_sure_ic50() -> None:
    """Negative controls without the solvent of the treated wells: all IC50s too low, and Z' excellent."""
    drugs = {f"drug {number}": killing(30.0 * (number + 1)) for number in range(4)} | {"inert": constant(100.0), "too": constant(100.0)}
    scored = score(plate(drugs, negative=130.0))
    (finding,) = [one for one in scored.findings if one.rule == "starts_sunken"]
    assert finding.plate == "P1"
    assert "of plate P1 read alike, 7" in finding.message
    assert "put controls with the solvent of the treated wells among them" in finding.message
    curves = told(scored)
    assert not curves["status"].eq("ok").any()
    assert curves["reason"].str.contains("what 100 % is is not known, and an IC50 comes out too low").all()
    assert not curves["verdict"].eq("hit").any()
    assert rules(score(plate(drugs))) == []
    potent = {f"drug {number}": killing(0.1 * 2 ** number) for number in range(8)}      # that act at the lowest dose, each as it does
    assert rules(score(plate(potent))) == rules(score(plate({name: constant(2.0) for name in potent}))) == []


def test_treated_wells_deader_than_the_positive_controls_are_told() -> None:
    table = plate(DRUGS | {"half": lambda dose: 0.5 * killing(50.0)(dose) + 50})     # this one stays above the positive controls
    table.loc[table["role"] == "positive", "readout"] += 50 * 30.0
    scored = score(table)
    (finding,) = [one for one in scored.findings if one.rule == "below_controls"]
    assert "are deader than its positive controls" in finding.message
    assert finding.plate == "P1"
    curves = told(scored)
    assert not curves["status"].eq("ok").any()
    assert curves["reason"].str.contains("what 0 % is is not known, and an IC50 comes out too low").all()


def test_positive_controls_that_leave_a_few_cells_are_told_by_all_dead_wells_together() -> None:
    """No single well lies far below them, and every IC50 is 1.4-fold too low."""
    table = plate({f"drug {number}": killing(0.3 * 4**number) for number in range(4)})
    assert rules(score(table)) == []
    table.loc[table["role"] == "positive", "readout"] += 50 * 18.0
    scored = score(table)
    (finding,) = [one for one in scored.findings if one.rule == "below_controls"]
    assert "are a little deader than its positive controls (viability -1" in finding.message
    assert not scored.curves["status"].eq("ok").any()


def test_a_classifier_whose_positive_controls_live_shows_it_by_its_logits() -> None:
    """Its probability stops at what it has learned to call dead, so that no viability lies below zero."""
    logit = pd.Series([2.0] * 8 + [-2.0] * 8 + [-3.2] * 4 + [1.9] * 4) + 0.1 * np.random.default_rng(1).standard_normal(24)
    wells = pd.DataFrame({"plate": "P1", "well": [f"A{number}" for number in range(24)], "excluded": False, "dose": 10.0, "logit": logit,
                          "role": ["negative"] * 8 + ["positive"] * 8 + ["treated"] * 8, "treatment": "drug", "treatment_2": "",
                          "probability": (1 / (1 + np.exp(-4 * logit)))})
    wells = normalise_to_controls(wells, value="probability")
    assert wells["viability"].min() > -0.01
    (finding,) = range_findings(wells, controls="both")
    assert (finding.rule, finding.plate) == ("below_controls", "P1")
    assert finding.message.startswith("4 treated wells of plate P1 are deader than its positive controls (viability -3")
    right = wells.assign(logit=wells["logit"].clip(lower=-2.1))
    assert range_findings(right, controls="both") == []


@pytest.mark.parametrize("last", [(1.0, 1.0, 0.5), (0.9, 0.75, 0.55)])
def test_a_solvent_that_kills_at_the_top_dose_makes_no_sure_ic50(last: tuple[float, ...]) -> None:
    """Drugs that do nothing seem to have an IC50 there, and that of others comes out too low."""
    drugs = {"strong": killing(1.0), "weak": killing(600.0)} | {f"inert {number}": constant(100.0) for number in range(4)}
    right = plate(drugs)
    assert rules(score(right)) == []
    wrong = right.copy()
    for dose, lives in zip(sorted(wrong["dose"].dropna().unique())[-3:], last, strict=True):
        here = wrong["dose"] == dose
        wrong.loc[here, "readout"] = 1000 + (wrong.loc[here, "readout"] - 1000) * lives
    scored = score(wrong)
    (finding,) = [one for one in scored.findings if one.rule == "ends_sunken"]
    assert "those that do best, 4 of 6, read alike there, 5" in finding.message
    curves = told(scored)
    assert curves.loc["strong", "verdict"] == "hit"
    doubtful = curves["reason"].str.contains("it may be the solvent that kills there")
    assert not (curves["ic50_relation"].eq("=") & ~doubtful).drop("strong").any()
    assert not curves["status"][doubtful].eq("ok").any()
    only = score(wrong[~wrong["treatment"].isin(["inert 2", "inert 3"])])     # two drugs may well act alike
    assert rules(only) == []


def test_a_curve_is_doubted_for_the_doses_at_which_its_own_plate_sinks() -> None:
    rows = [(treatment, plate, dose) for treatment, plate in (("a", "P1"), ("b", "P2")) for dose in (1.0, 10.0, 100.0, 1000.0)]
    wells = pd.DataFrame(rows, columns=["treatment", "plate", "dose"]).assign(role="treated", excluded=False)
    curves = pd.DataFrame({"treatment": ["a", "b"], "ic50": 50.0, "ic50_relation": "="})
    sinking = [Finding(rule="ends_sunken", severity="warning", message="", plate=plate, value=doses)
               for plate, doses in (("P1", "3"), ("P2", "1"))]
    assert end_words(curves, wells, sinking).ne("").tolist() == [True, False]


def test_of_controls_that_overlap_no_more_is_said() -> None:
    """Half of each kind exchanged: what treated wells read beside them, in percent, is no number."""
    table = plate(DRUGS)
    roles = table.groupby("role").cumcount() < 4
    table["role"] = table["role"].mask(roles, table["role"].replace({"negative": "positive", "positive": "negative"}))
    assert [one.rule for one in score(table).findings] == ["controls_overlap"]


def test_a_reader_at_its_end_gives_no_sure_ic50() -> None:
    table = plate({"a": killing(10.0), "b": killing(30.0), "inert": constant(100.0)})
    table["readout"] = table["readout"].clip(upper=1000 + 50 * 70.0)
    curves = told(score(table))
    assert not curves["status"].eq("ok").any()
    assert curves["reason"].str.contains("as at the end of a reader's range: what 100 % is is not known").all()
    assert curves.loc["a", "verdict"] == "cannot say"
    assert curves.loc["a", "IC50"].startswith("≈")


def test_equal_controls_alone_are_no_ceiling() -> None:
    """Read-outs without noise: negative controls are all alike, and no treated well reaches them."""
    table = plate({"a": killing(10.0)})
    table.loc[table["role"] == "negative", "readout"] = 1000 + 50 * 120.0
    scored = score(table)
    assert not scored.curves["reason"].str.contains("reader's range").any()
    assert np.isfinite(scored.curves["ic50"]).all()
    assert isinstance(scored.quality, pd.DataFrame)
