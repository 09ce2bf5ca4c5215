"""Single doses: the truth lies in the limits, noise is called as rarely as it is said to be, and what cannot be said says why."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from models.dose_response import FitOptions
from models.networks.bundle import GateResult
from models.plates.screen import Controls, Screen
from models.report import render_report, render_text, report_view
from models.scoring import Exclusion, ScoredScreen, ScoringOptions, score_measured
from models.single_doses import single_doses
from models.tables import SINGLE_DOSES, check_table
from tests.conftest import primary_screen, tiny_layout

FIT = FitOptions(interval="none")
SCREEN = Screen(name="primary", sample="A549", plate_format=384, assay="ATP", controls="both")
EFFECTS = {"strong": 90.0, "half": 50.0, "some": 25.0, "growth": -25.0}


def score(layout: pd.DataFrame, *, controls: Controls = "both", **options: object) -> ScoredScreen:
    return score_measured(layout, screen=replace(SCREEN, controls=controls), options=ScoringOptions(fit=FIT, **options))


def rows(layout: pd.DataFrame, **options: object) -> pd.DataFrame:
    return score(layout, **options).single_doses.set_index("treatment")


@pytest.fixture(scope="module")
def screen() -> pd.DataFrame:
    return primary_screen(EFFECTS, inert=60)


def test_each_effect_gets_its_call(screen: pd.DataFrame) -> None:
    found = rows(screen)
    assert found.loc[list(EFFECTS), "call"].tolist() == ["hit", "effect", "effect", "growth"]
    assert (found.drop(list(EFFECTS))["call"] == "none").all()
    assert (found["status"] == "ok").all()
    assert (found["n"] == 2).all()
    assert found.loc["strong", "plate_z"] < -8
    check_table(found.reset_index(), SINGLE_DOSES, keys=("treatment", "dose"))


def test_limits_and_p_are_students_of_the_wells_and_the_controls_medians() -> None:
    """By hand: one plate, scatter known from the negative controls, no replicates."""
    layout = primary_screen({"drug": 40.0}, inert=0, plates=1)
    scored = score(layout)
    row = scored.single_doses.iloc[0]
    wells = scored.wells
    inhibition = 100 * (1 - wells["viability"])
    negative, positive = (inhibition[wells["role"] == role] for role in ("negative", "positive"))
    y, n = float(inhibition[wells["role"] == "treated"].iloc[0]), len(negative)
    medians = 1.2533**2 * np.array([negative.var() / n, positive.var() / len(positive)]) @ np.array([(1 - y / 100) ** 2, (y / 100) ** 2])
    error = np.sqrt(negative.var() + medians)
    assert row["inhibition"] == pytest.approx(y)
    assert row["inhibition_high"] - y == pytest.approx(stats.t.ppf(0.975, n - 1) * error)
    assert row["p"] == row["q"] == pytest.approx(2 * stats.t.sf(abs(y) / error, n - 1))


def test_noise_is_rarely_called_and_limits_hold_the_truth() -> None:
    """40 screens of 60 treatments that do nothing, two wells each: BH's promise is that at most 5 % of them have a call."""
    called, inside, total = 0, 0, 0
    for seed in range(40):
        found = rows(primary_screen({}, inert=60, seed=seed))
        called += bool((found["call"] != "none").any())
        inside += int(((found["inhibition_low"] <= 0) & (found["inhibition_high"] >= 0)).sum())
        total += len(found)
    assert called <= 5      # P(more than 5 of 40 at 5 %) = 1.4 %
    assert inside / total >= 0.94


def test_true_effects_lie_inside_their_limits() -> None:
    held = [bool((found.loc[name, "inhibition_low"] <= effect) & (effect <= found.loc[name, "inhibition_high"]))
            for seed in range(40) for found in [rows(primary_screen(EFFECTS, inert=20, seed=seed))] for name, effect in EFFECTS.items()]
    assert np.mean(held) >= 0.92


def test_controls_that_are_off_are_told_by_the_other_wells_of_the_plate(screen: pd.DataFrame) -> None:
    """All negative controls read a third too high, as in a dry edge column: everything looks like an effect."""
    layout = screen.assign(readout=screen["readout"].where(screen["role"] != "negative", screen["readout"] * 1.3))
    found = rows(layout)
    inert = found.drop(list(EFFECTS))
    assert (inert["call"] == "effect").mean() > 0.5
    told = inert.loc[inert["call"] == "effect", "reason"]
    assert told.str.contains("not from the other wells of its plate").mean() > 0.9
    assert found.loc["strong", "reason"] == ""


def test_without_controls_the_plate_orders_them(screen: pd.DataFrame) -> None:
    found = rows(screen[screen["role"] == "treated"].reset_index(drop=True), controls="none")
    assert set(found["status"]) == {"no_value"}
    assert set(found["call"]) == {""}
    assert found["reason"].str.contains("the screen has no controls").all()
    assert found["plate_z"].idxmin() == "strong"
    assert found["plate_z"].idxmax() == "growth"


def test_overlapping_controls_forbid_to_judge(screen: pd.DataFrame) -> None:
    layout = screen.assign(readout=screen["readout"].where(screen["role"] != "positive", screen["readout"] + 1.25))
    found = rows(layout)
    assert set(found["status"]) == {"bad_controls"}
    assert found["inhibition_low"].isna().all()
    assert found["reason"].str.startswith("controls of plate P1 overlap").all()


def test_wells_that_are_left_out_are_counted_and_take_no_part(screen: pd.DataFrame) -> None:
    own = screen[screen["treatment"] == "strong"]
    one, all_of_them = ([Exclusion(plate=row["plate"], well=row["well"], reason="dry") for _, row in part.iterrows()]
                        for part in (own.iloc[:1], own))
    assert rows(screen, exclusions=tuple(one)).loc["strong", ["n", "n_left_out", "call"]].tolist() == [1, 1, "hit"]
    gone = rows(screen, exclusions=tuple(all_of_them)).loc["strong"]
    assert gone[["n", "n_left_out", "status", "call"]].tolist() == [0, 2, "no_value", ""]
    assert "no well of it is used" in gone["reason"]


def test_one_control_and_no_replicates_tell_no_scatter() -> None:
    layout = primary_screen({"drug": 90.0}, inert=3, plates=1)
    first = layout[layout["role"].isin(("negative", "positive"))].groupby("role").head(1).index
    few = layout[~layout["role"].isin(("negative", "positive")) | layout.index.isin(first)].reset_index(drop=True)
    found = rows(few)
    assert set(found["status"]) == {"no_scatter"}
    assert found["reason"].str.contains("cannot be told from noise").all()


@pytest.mark.parametrize("controls", ["both", "negative"])
def test_a_screen_all_of_whose_doses_are_left_out_says_so(controls: Controls) -> None:
    layout = primary_screen({"drug": 90.0}, inert=3, plates=1)
    dosed = layout[layout["role"] == "treated"]
    found = rows(layout, controls=controls, exclusions=tuple(
        Exclusion(plate=plate, well=well, reason="dry") for plate, well in zip(dosed["plate"], dosed["well"], strict=True)))
    assert set(found["status"]) == {"no_value"}
    assert (found["n_left_out"] > 0).all()


def test_only_treatments_with_few_doses_are_told_of() -> None:
    curved = tiny_layout()
    assert score(curved).single_doses.empty
    alone = curved[curved["dose"].isna() | (curved["dose"] <= 100)].reset_index(drop=True)      # three doses of one treatment
    found = score(alone).single_doses
    assert found["dose"].tolist() == [1.0, 10.0, 100.0]
    assert set(found["status"]) == {"no_scatter"}       # its read-outs are exact
    view = report_view(score(alone), screen=SCREEN, lineage={})
    assert view["summary"]["headline"] == "None of the 3 single doses of 1 treatment can be judged."


def judged(wells: pd.DataFrame, *, value: str) -> pd.DataFrame:
    return single_doses(wells, {}, controls="both", value=value).set_index("treatment")


def test_a_classifier_of_controls_calls_effects_and_no_hits(screen: pd.DataFrame) -> None:
    wells = score(screen).wells
    found = judged(wells.assign(probability=wells["readout"]), value="probability")
    assert found.loc["strong", "call"] == "effect"
    assert "cannot be said" in found.loc["strong", "reason"]


def test_what_a_model_may_be_off_in_common_widens_the_limits(screen: pd.DataFrame) -> None:
    wells = score(screen).wells
    known = wells.assign(od=wells["readout"], viability_shared=0.15)
    before, after = judged(wells, value="readout"), judged(known, value="od")
    width = {name: found["inhibition_high"] - found["inhibition_low"] for name, found in (("before", before), ("after", after))}
    assert (width["after"] > width["before"] + 5).all()
    assert after.loc["some", "call"] == "none"


def test_without_positive_controls_the_upper_limits_hold_what_dead_wells_may_read(screen: pd.DataFrame,
                                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead wells read a fifth of living ones here, so that all effects are a fifth too small."""
    low, high = (screen.loc[screen["role"] == role, "readout"].median() for role in ("positive", "negative"))
    shown = screen.assign(readout=high * (0.2 + 0.8 * (screen["readout"] - low) / (high - low)))
    found = rows(shown, controls="negative")
    for name, truth in EFFECTS.items():
        assert found.loc[name, "inhibition"] == pytest.approx(0.8 * truth, abs=8)
        assert found.loc[name, "inhibition_high"] > truth
    monkeypatch.setattr("models.single_doses.dead_level", lambda wells: pd.Series(0.0, wells["plate"].unique()))
    certain = rows(shown, controls="negative")
    pd.testing.assert_frame_equal(found.drop(columns="inhibition_high"), certain.drop(columns="inhibition_high"))
    ratio = found["inhibition_high"] / certain["inhibition_high"]
    assert ratio["growth"] == 1
    assert 1 / ratio["strong"] == pytest.approx(1 - 0.25, abs=0.05)     # the strongest effect leaves 28 % of the read-out


def test_report_page_and_terminal_show_them_once(screen: pd.DataFrame) -> None:
    scored = score(screen)
    view = report_view(scored, screen=SCREEN, lineage={})
    assert view["summary"]["headline"] == ("1 hit among 64 treatments at single doses, 2 more with an effect, 1 with more growth than "
                                           "the controls.")
    assert view["treatments"] == []
    first = view["single_doses"]["rows"][0]
    assert (first["name"], first["dose"], first["call"]) == ("strong", "1 µM", "hit")
    assert {view["wells"][place]["content"] for place in first["wells"]} == {"strong 1 µM"}
    page = render_report(scored, screen=SCREEN, lineage={})
    assert "Ranking of single doses" in page
    assert 'id="curves"' not in page
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))     # "Skip to the treatments" led nowhere
    text = render_text(scored, screen=SCREEN)
    assert "strong 1 µM: hit. Inhibition" in text
    assert "inert" not in text


def test_a_page_has_room_for_all_calls_and_counts_the_others(screen: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.report.single_doses._LISTED", 10)
    view = report_view(score(screen), screen=SCREEN, lineage={})["single_doses"]
    assert {row["name"] for row in view["rows"]} > set(EFFECTS)
    assert len(view["rows"]) == 10
    assert "54 doses without a visible effect are not listed here" in view["key"]


def test_a_model_that_failed_its_gates_calls_nothing(screen: pd.DataFrame) -> None:
    failed = GateResult(metric="r2_cv", value=0.2, minimum=0.8, maximum=None, passed=False, reason="r2_cv 0.2 < 0.8")
    view = report_view(score(screen), screen=SCREEN, lineage={}, gates=[failed])
    assert "None of the 64 treatments at single doses can be judged." in view["summary"]["headline"]
    assert {row["call"] for row in view["single_doses"]["rows"]} == {"cannot say"}


def test_curves_and_single_doses_stand_side_by_side() -> None:
    single = primary_screen({"strong": 90.0}, inert=30)
    curved = tiny_layout(plate="P9").assign(readout=lambda table: table["readout"] * 1.0)
    scored = score(pd.concat([single, curved], ignore_index=True))
    view = report_view(scored, screen=SCREEN, lineage={})
    assert [row["name"] for row in view["treatments"]] == ["drug"]
    assert view["summary"]["headline"].startswith("drug: IC50")
    assert view["summary"]["headline"].endswith("1 hit among 31 treatments at single doses.")


def test_a_call_that_a_pattern_of_the_plate_may_have_made_says_so() -> None:
    """The first column dried out: its treatments look like effects, against the controls and against the plate."""
    layout = primary_screen(EFFECTS, inert=300)
    dry = (layout["role"] == "treated") & layout["well"].str.endswith("01")
    strong = layout["treatment"].isin(["strong"])
    found = rows(layout.assign(readout=layout["readout"] - 0.8 * (dry & ~strong)))
    names = layout.loc[dry & ~strong, "treatment"].unique()
    assert len(names) >= 8
    assert found.loc[names, "call"].isin(["hit", "effect"]).all()
    assert (found.loc[names, "plate_z"] < -2).all()
    assert found.loc[names, "b_score"].abs().max() < 2
    assert found.loc[names, "reason"].str.contains("a pattern of the plate, such as a dry edge").all()
    assert found.loc["strong", "b_score"] < -6
    assert found.loc["strong", "reason"] == ""
