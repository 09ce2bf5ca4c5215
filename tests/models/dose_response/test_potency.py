"""IC50s on two samples side by side: limits that hold the truth, calls that chance does not make, and what cannot be said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.dose_response import compare_potency, fit_curves
from models.errors import TableError

X = np.linspace(0.0, 4.0, 8)


def sample(log10_ic50: np.ndarray, *, seed: int, noise: float = 5.0) -> pd.DataFrame:
    """Curves of one treatment per IC50, in duplicate."""
    effect = np.repeat(100 / (1 + 10 ** (log10_ic50[:, None] - X)), 2, axis=1)
    y = effect + noise * np.random.default_rng(seed).standard_normal(effect.shape)
    names = np.repeat([f"drug {number}" for number in range(len(log10_ic50))], y.shape[1])
    return fit_curves(pd.DataFrame({"treatment": names, "dose": np.tile(np.repeat(10**X, 2), len(log10_ic50)), "y": y.ravel(),
                                    "dose_unit": "nM"}), by="treatment", response="y")


@pytest.mark.parametrize(("fold", "call"), [(1.0, "none"), (5.0, "higher"), (0.2, "lower")])
def test_limits_hold_the_ratio_and_chance_makes_no_calls(fold: float, call: str) -> None:
    middle = np.random.default_rng(1).uniform(1.3, 2.7, 100)
    found = compare_potency(sample(middle, seed=2), sample(middle + np.log10(fold), seed=3))
    assert 0.93 <= ((found["fold_low"] <= fold) & (found["fold_high"] >= fold)).mean() <= 1
    assert found["call"].eq(call).mean() >= 0.95
    assert found["call"].isin([call, "none"]).all()


def test_the_other_way_round_is_one_over_it() -> None:
    one, other = sample(np.array([1.5, 2.0]), seed=4), sample(np.array([2.5, 2.0]), seed=5)
    there, back = compare_potency(one, other), compare_potency(other, one)
    np.testing.assert_allclose(there["fold"], 1 / back["fold"])
    np.testing.assert_allclose(there["fold_low"], 1 / back["fold_high"])
    assert (there["call"].tolist(), back["call"].tolist()) == (["higher", "none"], ["lower", "none"])


def test_what_lies_beyond_the_doses_is_compared_by_its_limit_or_not() -> None:
    inside, beyond = sample(np.array([2.0, 9.0]), seed=6), sample(np.array([4.6, 9.0]), seed=7)
    found = compare_potency(inside, beyond)
    assert (found["fold_relation"].tolist(), found["call"].tolist()) == ([">", ""], ["higher", ""])
    assert found["fold"][0] == pytest.approx(beyond["ic50"][0] / inside["ic50"][0])
    assert np.isnan(found["fold_high"][0])
    assert found["reason"][1] == "both IC50s lie beyond the tested doses, on the same side"
    assert compare_potency(inside, beyond.assign(ic_level=30.0))["reason"][0] == "IC50 and IC30"
    assert compare_potency(inside, beyond.assign(dose_unit="ug/mL"))["reason"][0] == "doses in nM and in ug/mL"
    narrow, none = (compare_potency(inside, beyond.assign(level=level)) for level in (0.6, np.nan))
    assert narrow["reason"][0] == "the limits on the second sample are of 60 %; fit it again with level 0.95"
    assert none["reason"][0].startswith("the curve on the second sample has no limits")
    assert narrow["call"].tolist() == none["call"].tolist() == ["", ""]
    own_scale = compare_potency(inside.assign(uncalibrated=True), beyond)
    assert own_scale["reason"].str.startswith("the model of the first sample learned from controls only").all()
    assert own_scale["call"].eq("").all()
    doubtful = inside.assign(status="weakly_identified", reason="plates disagree beyond their noise")
    assert compare_potency(doubtful, beyond)["reason"].str.contains("on the first sample is in doubt: plates disagree").all()


def test_a_flat_curve_tells_how_far_its_ic50_is_away_where_its_wells_are_sure() -> None:
    """The plainest resistance: nothing happens up to the top dose. Not so where the wells scatter as far as the level."""
    inside, flat, noisy = sample(np.array([2.0]), seed=6), sample(np.array([9.0]), seed=7), sample(np.array([9.0]), seed=7, noise=60.0)
    assert (flat["status"][0], noisy["status"][0]) == ("flat", "flat")
    for second in (flat, _as_viability(flat)):
        found = compare_potency(inside, second).iloc[0]
        assert (found["fold_relation"], found["call"], found["reason"]) == (">", "higher", "")
        assert found["fold_low"] == pytest.approx(10**4 / inside["ic50_high"][0])
        back = compare_potency(second, inside).iloc[0]
        assert (back["fold_relation"], back["call"]) == ("<", "lower")
    unsure = compare_potency(inside, noisy).iloc[0]
    assert (unsure["call"], unsure["reason"]) == ("", "nothing tells how far the IC50 lies beyond the tested doses")


def _as_viability(curves: pd.DataFrame) -> pd.DataFrame:
    """The same curves on scale fraction_viability."""
    return curves.assign(scale="fraction_viability", bottom=1 - curves["top"] / 100, top=1 - curves["bottom"] / 100,
                         rmse=curves["rmse"] / 100, rmse_doses=curves["rmse_doses"] / 100)


def test_equal_samples_whose_ic50_lies_near_the_top_dose_are_not_told_apart_because_one_looks_flat() -> None:
    for noise in (10.0, 25.0):
        middle = np.linspace(3.5, 4.1, 150)
        found = compare_potency(sample(middle, seed=11, noise=noise), sample(middle, seed=12, noise=noise))
        assert found["call"].isin(["higher", "lower"]).mean() <= 0.05


@pytest.mark.parametrize("side", [0, 1])
def test_a_treatment_with_several_curves_is_not_compared_by_whichever_stands_last(side: int) -> None:
    samples = [sample(np.array([1.5, 2.0]), seed=8), sample(np.array([2.5, 2.0]), seed=9)]
    samples[side] = pd.concat([samples[side], sample(np.array([3.5]), seed=10)])
    with pytest.raises(TableError, match=f"in the {('first', 'second')[side]} curves: 1 with several curves, first 'drug 0' has 2 curves"):
        compare_potency(*samples)
