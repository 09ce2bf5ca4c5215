"""Pairs of treatments: truth is held by the limits, noise is no evidence, what cannot be said says why, and no well goes missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.combinations import combination_tables
from models.dose_response import FitOptions
from models.dose_response.excess import Effects, bliss_covariance, joint_half_widths, noise_of, pooled
from models.effects import with_viability
from models.networks.bundle import GateResult
from models.plates.screen import Controls, Screen
from models.plates.simulate.examples import COMBINED, Example
from models.plates.simulate.truth import together
from models.report import render_report, render_text, report_view
from models.scoring import Exclusion, ScoredScreen, ScoringOptions, refit_wells, score_measured
from models.tables import COMBINATION_PAIRS, COMBINATIONS, check_table

FIT = FitOptions(interval="none")
INDEPENDENT, SYNERGISTIC = COMBINED


@pytest.fixture(scope="module")
def layout(paired: Example) -> pd.DataFrame:
    return paired.full_layout()


@pytest.fixture(scope="module")
def scored(layout: pd.DataFrame, paired: Example) -> ScoredScreen:
    return score(layout, paired)


def score(layout: pd.DataFrame, paired: Example, *, controls: Controls = "both", **options: object) -> ScoredScreen:
    screen = replace(paired.screen(), controls=controls)
    return score_measured(layout, screen=screen, options=ScoringOptions(fit=FIT, **options))


def of(scored: ScoredScreen, pair: tuple[str, str]) -> tuple[pd.Series, pd.DataFrame]:
    """The pair's row, and its dose pairs."""
    found = scored.combinations
    chosen = found.pairs[(found.pairs["treatment"] == pair[0]) & (found.pairs["treatment_2"] == pair[1])]
    rows = found.doses[(found.doses["treatment"] == pair[0]) & (found.doses["treatment_2"] == pair[1])]
    assert len(chosen) == 1
    return chosen.iloc[0], rows.reset_index(drop=True)


def few(layout: pd.DataFrame) -> pd.DataFrame:
    """The synergistic pair's plate alone."""
    return layout[layout["plate"] == layout["plate"].iloc[-1]].reset_index(drop=True)


def test_synergy_is_found_and_independence_is_no_evidence(scored: ScoredScreen, paired: Example) -> None:
    assert of(scored, INDEPENDENT)[0]["call"] == "none"
    assert of(scored, SYNERGISTIC)[0]["call"] == "synergy"
    for pair in COMBINED:
        row, doses = of(scored, pair)
        first, second = (paired.curves[name] for name in pair)
        truth = np.array([100 * (first.viability(a) * second.viability(b) - together(first, second, a, b, boost=COMBINED[pair]))
                          for a, b in zip(doses["dose"], doses["dose_2"], strict=True)])
        assert ((doses["excess_low"] < truth) & (truth < doses["excess_high"])).all()     # jointly, as promised
        assert row["mean_low"] < truth.mean() < row["mean_high"]
        assert row["highest_excess"] == doses["excess"].max()
        assert (row["n_more"], row["n_less"]) == ((doses["evidence"] == "more").sum(), (doses["evidence"] == "less").sum())
    check_table(scored.combinations.doses, COMBINATIONS, keys=("treatment", "treatment_2", "dose", "dose_2"))
    check_table(scored.combinations.pairs, COMBINATION_PAIRS, keys=("treatment", "treatment_2"))


def test_every_well_of_two_is_counted_once(layout: pd.DataFrame, paired: Example) -> None:
    changed = layout.copy()
    both = changed.index[changed["treatment_2"] != ""]
    changed.loc[both[:7], "readout"] = np.nan
    scored = score(changed, paired, exclusions=[Exclusion(plate=changed.at[row, "plate"], well=changed.at[row, "well"], reason="bubble")
                                                 for row in both[40:45]])
    doses = scored.combinations.doses
    assert doses["n"].sum() + doses["n_left_out"].sum() == len(both)
    assert doses["n_left_out"].sum() == 12
    assert len(doses) == 50
    assert scored.combinations.pairs["n"].sum() == doses["n"].sum()


def test_means_are_those_of_the_wells(scored: ScoredScreen) -> None:
    wells = scored.wells
    _, doses = of(scored, SYNERGISTIC)
    row = doses.iloc[7]

    def effect(**values: object) -> float:
        chosen = np.logical_and.reduce([wells[name] == value for name, value in values.items()])
        return float(100 * (1 - wells.loc[chosen, "viability"].mean()))
    a = effect(treatment=row["treatment"], treatment_2="", dose=row["dose"])
    b = effect(treatment=row["treatment_2"], treatment_2="", dose=row["dose_2"])
    both = effect(treatment=row["treatment"], treatment_2=row["treatment_2"], dose=row["dose"], dose_2=row["dose_2"])
    assert (row["inhibition_1"], row["inhibition_2"], row["inhibition"]) == pytest.approx((a, b, both))
    assert row["excess"] == pytest.approx(both - (a + b - a * b / 100))
    assert row["excess_hsa"] == pytest.approx(both - max(a, b))


def test_a_well_that_is_left_out_does_not_count_and_refitting_says_so(scored: ScoredScreen, layout: pd.DataFrame, paired: Example) -> None:
    first, second = SYNERGISTIC
    alone = few(layout).query("treatment == @first and treatment_2 == ''")
    dose = alone["dose"].min()
    gone = [Exclusion(plate=row["plate"], well=row["well"], reason="dry") for _, row in alone[alone["dose"] == dose].iterrows()]
    refitted = refit_wells(scored.wells, screen=paired.screen(), exclusions=gone, fit=FIT)
    pair, doses = of(refitted, SYNERGISTIC)
    lost = doses["dose"] == dose
    assert doses.loc[lost, ["excess", "excess_low"]].isna().all(axis=None)
    assert set(doses.loc[lost, "status"]) == {"parts_missing"}
    assert doses.loc[lost, "reason"].str.contains(f"no well with {first} {dose:g} nM alone").all()
    before = of(scored, SYNERGISTIC)[1]
    pd.testing.assert_series_equal(doses.loc[~lost, "excess"], before.loc[~lost, "excess"])
    assert (pair["n_judged"], pair["n_dose_pairs"], pair["call"]) == (20, 25, "synergy")
    assert "5 of 25 dose pairs cannot be judged" in pair["reason"]
    assert second in of(scored, SYNERGISTIC)[0]["treatment_2"]
    pd.testing.assert_frame_equal(refit_wells(scored.wells, screen=paired.screen(), exclusions=(), fit=FIT).combinations.doses,
                                  scored.combinations.doses)


def test_one_wild_replicate_is_no_evidence(layout: pd.DataFrame, paired: Example) -> None:
    """Two wells of one dose pair that disagree carry their own scatter, whatever the rest of the plate does."""
    chosen = layout[(layout["treatment"] == INDEPENDENT[0]) & (layout["treatment_2"] == INDEPENDENT[1])]
    pair = chosen[(chosen["dose"] == chosen["dose"].min()) & (chosen["dose_2"] == chosen["dose_2"].min())]
    wild = layout.copy()
    wild.loc[pair.index[0], "readout"] = 0.15      # dead, its replicate alive
    row, doses = of(score(wild, paired), INDEPENDENT)
    assert doses.loc[0, "excess"] > 30
    assert doses.loc[0, "evidence"] == "none"
    assert row["call"] == "none"


def test_both_ways_to_name_a_pair_are_one_pair(scored: ScoredScreen, layout: pd.DataFrame, paired: Example) -> None:
    turned = layout.copy()
    both = turned.index[turned["treatment_2"] != ""][1::2]
    for name in ("treatment", "dose", "dose_unit"):
        turned.loc[both, [name, f"{name}_2"]] = turned.loc[both, [f"{name}_2", name]].to_numpy()
    pd.testing.assert_frame_equal(score(turned, paired).combinations.doses, scored.combinations.doses)


@pytest.mark.parametrize(("controls", "status", "words"), [
    ("none", "no_value", "no controls"), ("negative", "ok", "")])
def test_a_screen_without_controls_or_without_positive_ones(layout: pd.DataFrame, paired: Example, controls: Controls, status: str,
                                                            words: str) -> None:
    scored = score(layout, paired, controls=controls)
    row, doses = of(scored, SYNERGISTIC)
    assert row["status"] == status
    assert words in row["reason"]
    assert row["call"] == ("" if controls == "none" else "synergy")
    if controls == "negative":  # dead wells stay above 0 %: what looks like antagonism may be that
        assert not doses["evidence"].eq("less").any()


def test_antagonism_is_not_called_without_a_positive_control(layout: pd.DataFrame, paired: Example) -> None:
    plate = few(layout)
    both = plate["treatment_2"] != ""
    plate.loc[both, "readout"] = 1.3 + 0.02 * np.cos(np.arange(both.sum()))     # together they do nothing
    assert of(score(plate, paired), SYNERGISTIC)[0]["call"] == "antagonism"
    row, doses = of(score(plate, paired, controls="negative"), SYNERGISTIC)
    assert (row["call"], row["status"]) == ("", "no_positive")
    assert (doses["status"] == "no_positive").any()


def test_controls_that_overlap_and_uncalibrated_models_give_no_call(scored: ScoredScreen) -> None:
    wells = scored.wells
    words = {plate: f"controls of plate {plate} overlap" for plate in wells["plate"].unique()[:1]}
    tables = combination_tables(wells, words, controls="both", value="readout")
    spoiled, sound = tables.pairs.to_dict("records")
    assert (spoiled["status"], spoiled["call"], spoiled["reason"]) == ("bad_controls", "", next(iter(words.values())))
    assert np.isnan(spoiled["mean_excess"])
    rows = tables.doses[tables.doses["treatment"] == spoiled["treatment"]]
    assert rows[["expected", "excess", "excess_hsa", "excess_zip", "excess_loewe", "excess_low"]].isna().all(axis=None)
    assert rows["viability"].notna().all()
    assert (sound["status"], sound["call"]) == ("ok", "synergy")
    found = combination_tables(wells, {}, controls="both", value="probability").pairs
    assert set(found["status"]) == {"uncalibrated"}
    assert found["mean_excess"].notna().all()       # the numbers are there, the call is not
    assert found["mean_low"].isna().all()


def test_a_plate_whose_positive_controls_live_gets_no_excess(layout: pd.DataFrame, paired: Example) -> None:
    plate = few(layout)
    plate.loc[plate["role"] == "positive", "readout"] = np.linspace(0.8, 1.5, (plate["role"] == "positive").sum())
    row, doses = of(score(plate, paired), SYNERGISTIC)
    assert (row["status"], row["call"]) == ("bad_controls", "")
    assert "overlap" in row["reason"]
    assert doses["excess"].isna().all()


def test_a_plate_that_lost_its_controls_says_so(layout: pd.DataFrame, paired: Example) -> None:
    plate = few(layout)
    gone = [Exclusion(plate=row["plate"], well=row["well"], reason="dry") for _, row in plate[plate["role"] == "negative"].iterrows()]
    row, doses = of(score(plate, paired, exclusions=gone), SYNERGISTIC)
    assert (row["status"], row["call"], row["n_left_out"]) == ("no_value", "", 50)
    assert row["reason"] == f"the controls that are left on plate {plate['plate'].iloc[0]} give no viability"
    assert set(doses["reason"]) == {row["reason"]}


def test_without_replicates_and_controls_nothing_tells_the_noise(layout: pd.DataFrame, paired: Example) -> None:
    plate = few(layout)
    single = plate[(plate["replicate"] == 1)].copy()
    assert (single["role"] == "negative").sum() == 1
    row, doses = of(score(single, paired), SYNERGISTIC)
    assert (row["call"], row["status"], row["noise_from"]) == ("", "no_scatter", "")
    assert doses["excess"].notna().all()
    assert doses["excess_low"].isna().all()


def test_replicates_that_read_exactly_the_same_tell_no_noise(layout: pd.DataFrame, paired: Example) -> None:
    """As in a published matrix whose means stand in every replicate: limits without width would call every rounding error."""
    plate = few(layout)
    alike = plate.groupby(["role", "treatment", "dose", "treatment_2", "dose_2"], dropna=False)["readout"].transform("mean")
    row, doses = of(score(plate.assign(readout=alike.round(6)), paired), SYNERGISTIC)
    assert (row["call"], row["status"]) == ("", "no_scatter")
    assert doses["excess_low"].isna().all()


def test_a_drug_with_itself_is_told_by_loewe() -> None:
    """Steep curves of one drug under two names: far above Bliss, and nothing but the sum of two doses."""
    rng = np.random.default_rng(3)
    doses = [1.0, 2.0, 4.0, 8.0, 16.0]
    cells = [(a, b) for a in (0.0, *doses) for b in (0.0, *doses) if a + b] * 3
    rows = [{"role": "treated", "treatment": "A" if a else "B", "dose": a or b, "dose_unit": "nM", "treatment_2": "B" if a and b else "",
             "dose_2": b if a and b else np.nan, "dose_unit_2": "nM" if a and b else "", "readout": 1 / (1 + ((a + b) / 8) ** 4)}
            for a, b in cells]
    rows += [{"role": role, "treatment": "", "dose": np.nan, "dose_unit": "", "treatment_2": "", "dose_2": np.nan, "dose_unit_2": "",
              "readout": level} for role, level in (("negative", 1.0), ("positive", 0.0)) for _ in range(8)]
    table = pd.DataFrame(rows)
    table["readout"] += 0.02 * rng.standard_normal(len(table))
    table = table.assign(plate="P1", well=[f"{chr(65 + at // 24)}{at % 24 + 1:02d}" for at in range(len(table))], replicate=1)
    screen = Screen.from_dict({"name": "s", "sample": "X", "plate_format": 384})
    scored = score_measured(table, screen=screen, options=ScoringOptions(fit=FIT))
    row, _ = of(scored, ("A", "B"))
    assert row["call"] == "synergy"
    assert "not by Loewe" in row["reason"]
    assert "look so by Bliss" in row["reason"]


def test_flagged_wells_that_are_used_are_counted_and_said(scored: ScoredScreen) -> None:
    wells = scored.wells.copy()
    at = wells.index[wells["treatment_2"] == SYNERGISTIC[1]][0]
    wells.at[at, "flags"] = ["out_of_distribution"]
    found = combination_tables(wells, {}, controls="both", value="readout")
    row = found.pairs.set_index("treatment").loc[SYNERGISTIC[0]]
    assert row["n_flagged"] == found.doses["n_flagged"].sum() == 1
    assert "1 of its wells are flagged" in row["reason"]


def test_what_replicates_share_of_a_models_error_widens_the_limits(scored: ScoredScreen) -> None:
    wells = scored.wells
    wide = wells.assign(viability_shared=0.15)
    plain, wider = (combination_tables(table, {}, controls="both", value="readout").doses for table in (wells, wide))
    assert ((wider["excess_high"] - wider["excess_low"]) > (plain["excess_high"] - plain["excess_low"])).all()
    pd.testing.assert_series_equal(wider["excess"], plain["excess"])


# -- the limits themselves -------------------------------------------------------------------------------------------------


def test_the_covariance_is_that_of_simulated_plates() -> None:
    """Against 20,000 plates: scatter of wells, medians of controls that a plate has in common, and a model that is off on all of them."""
    rng, rounds = np.random.default_rng(1), 20_000
    mean = np.array([20.0, 50.0, 30.0, 65.0, 80.0])                    # a1 a2 b1 a1+b1 a2+b1
    plates = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, 1.0]])
    sd, controls = np.array([2.0, 3.0, 2.0, 2.5, 3.0]), np.array([[0.02, 0.01], [0.015, 0.01]])
    shared = np.array([1.0, 2.0, 1.0, 1.5, 2.0])
    together_at, first, second = np.array([3, 4]), np.array([0, 1]), np.array([2, 2])
    full, none = (rng.normal(0, controls[row], (rounds, 2)) for row in (0, 1))
    y = mean + np.hypot(sd, shared) * rng.standard_normal((rounds, 5)) + shared * rng.standard_normal((rounds, 1))
    y = y + (full @ plates.T) * (100 - mean) + (none @ plates.T) * mean
    excess = y[:, together_at] - (y[:, first] + y[:, second] - y[:, first] * y[:, second] / 100)
    found = bliss_covariance(Effects(mean, sd**2, plates, controls**2, shared), together_at, first, second)
    np.testing.assert_allclose(found, np.cov(excess.T), rtol=0.05, atol=0.05)
    half, mean_half = joint_half_widths(found, 1e9)
    held = (np.abs(excess - excess.mean(axis=0)) < half).all(axis=1) & (np.abs((excess - excess.mean(axis=0)).mean(axis=1)) < mean_half)
    assert 0.95 <= held.mean() < 0.985      # Bonferroni: a little more than promised


def test_noise_is_the_larger_scatter_with_the_better_known_degrees_of_freedom() -> None:
    values, groups = pd.Series([1.0, 3.0, 10.0, 14.0, 5.0]), pd.Series(list("aabbc"))
    assert pooled(values, [groups]) == (pytest.approx(np.sqrt((2 + 8) / 2)), 2)
    assert np.isnan(pooled(values.iloc[[0, 4]], [groups.iloc[[0, 4]]])[0])
    assert pooled(values.where(groups != "c"), [groups]) == pooled(values, [groups])     # a group without a value costs nothing
    noise = noise_of((2.0, 20.0), (3.0, 4.0))
    assert (noise.sd, noise.df, noise.source) == (3.0, 20.0, "negative controls")
    assert noise_of((np.nan, 0.0), (np.nan, 0.0)).source == ""


@pytest.mark.parametrize("spread", ["even", "of what lives"])
def test_independent_drugs_are_rarely_called(layout: pd.DataFrame, paired: Example, spread: str) -> None:
    """25 plates of the independent pair: at most 1 is called where 1 in 20 may be."""
    plate = layout[layout["plate"] == layout["plate"].iloc[0]].reset_index(drop=True).assign(excluded=False)
    truth = paired.truth().set_index(["plate", "well"])["viability"].reindex(pd.MultiIndex.from_frame(plate[["plate", "well"]])).to_numpy()
    called = 0
    for seed in range(25):
        noise = np.random.default_rng(seed).standard_normal(len(plate))
        readout = truth + noise * (0.05 if spread == "even" else 0.01 + 0.08 * truth)
        wells = with_viability(plate.assign(readout=readout, flags=[[] for _ in range(len(plate))]), controls="both", value="readout")
        found = combination_tables(wells, {}, controls="both", value="readout")
        called += found.pairs["call"].iloc[0] != "none"
    assert called <= 1


# -- what people see -------------------------------------------------------------------------------------------------------


def test_report_view_and_text_say_the_same(scored: ScoredScreen, paired: Example) -> None:
    lineage = {"model": "read-out"}
    page = render_report(scored, screen=paired.screen(), lineage=lineage)
    view = report_view(scored, screen=paired.screen(), lineage=lineage)["combinations"]
    text = render_text(scored, screen=paired.screen())
    assert [pair["call"] for pair in view["pairs"]] == ["no evidence", "synergy"]
    for pair in view["pairs"]:
        assert pair["why"] in page
        assert f"{pair['first']} + {pair['second']}: {pair['call']}. {pair['why']}" in text
        assert (len(pair["rows"]), len(pair["columns"])) == (5, 5)
        shown = [cell for line in pair["cells"] for cell in line]
        assert all(cell["words"] in page and cell["colour"] in page for cell in shown)
        assert sorted(well for cell in shown for well in cell["wells"]) == sorted(
            np.flatnonzero((scored.wells["treatment"] == pair["first"]) & (scored.wells["treatment_2"] == pair["second"])))
        assert sum(cell["mark"] == "▲" for cell in shown) == of(scored, (pair["first"], pair["second"]))[0]["n_more"]
    assert "no evidence that the two help or hinder each other" in page
    assert "2 pairs of treatments: 1 synergy, 1 no evidence." in page


def test_a_model_that_failed_its_checks_calls_nothing(scored: ScoredScreen, paired: Example) -> None:
    gates = [GateResult(metric="r2_cv", value=0.1, minimum=0.3, maximum=None, passed=False, reason="r2_cv is 0.1")]
    view = report_view(scored, screen=paired.screen(), lineage={}, gates=gates)
    pairs = view["combinations"]["pairs"]
    assert {pair["call"] for pair in pairs} == {"cannot say"}
    assert "did not pass its own checks" in pairs[1]["why"]
    assert "2 pairs of treatments: 2 cannot say." in view["summary"]["headline"]


def test_names_are_escaped_and_gaps_of_the_matrix_are_told(layout: pd.DataFrame, paired: Example) -> None:
    plate = few(layout).replace({SYNERGISTIC[0]: "<b>x</b>"})
    both = plate["treatment_2"] != ""
    corner = both & (plate["dose"] == plate.loc[both, "dose"].max()) & (plate["dose_2"] == plate.loc[both, "dose_2"].max())
    scored = score(plate[~corner], paired)
    page = render_report(scored, screen=paired.screen(), lineage={})
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "not tested" in page
    assert report_view(scored, screen=paired.screen(), lineage={})["combinations"]["pairs"][0]["cells"][4][4] is None


def test_without_combinations_nothing_is_added(layout: pd.DataFrame, paired: Example) -> None:
    single = layout[layout["treatment_2"] == ""].drop(columns=["treatment_2", "dose_2", "dose_unit_2"])
    scored = score(single, paired)
    assert scored.combinations.named() == {}
    check_table(scored.combinations.doses, COMBINATIONS)
    assert "combinations" not in report_view(scored, screen=paired.screen(), lineage={})
    page = render_report(scored, screen=paired.screen(), lineage={})
    assert 'id="combinations"' not in page
    assert "Bliss" not in page
