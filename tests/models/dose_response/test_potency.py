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
    own_scale = compare_potency(inside.assign(uncalibrated=True), beyond)
    assert own_scale["reason"].str.startswith("the model of the first sample learned from controls only").all()
    assert own_scale["call"].eq("").all()
    doubtful = inside.assign(status="weakly_identified", reason="plates disagree beyond their noise")
    assert compare_potency(doubtful, beyond)["reason"].str.contains("on the first sample is in doubt: plates disagree").all()


@pytest.mark.parametrize("side", [0, 1])
def test_a_treatment_with_several_curves_is_not_compared_by_whichever_stands_last(side: int) -> None:
    samples = [sample(np.array([1.5, 2.0]), seed=8), sample(np.array([2.5, 2.0]), seed=9)]
    samples[side] = pd.concat([samples[side], sample(np.array([3.5]), seed=10)])
    with pytest.raises(TableError, match=f"in the {('first', 'second')[side]} curves: 1 with several curves, first 'drug 0' has 2 curves"):
        compare_potency(*samples)
