"""Intervals of wells hold what they promise on wells not seen, and widen where the model is worse; where nothing is known there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.networks.uncertainty import Uncertainty, held_out_wells, least_wells, measure_uncertainty, shared_variance


def predictions(count: int = 96, *, seed: int = 0, replicates: int = 8, shared: float = 0.0) -> pd.DataFrame:
    """Wells whose error grows from 0.02 at OD 0 to 0.2 at OD 1; shared: SD of an error that all wells of a dose have in common."""
    rng = np.random.default_rng(seed)
    dose = np.arange(count) // replicates
    predicted = rng.uniform(0, 1, count)
    common = rng.normal(0, shared, dose.max() + 1)[dose] if shared else 0.0
    target = predicted + rng.normal(0, 0.02 + 0.18 * predicted) + common
    return pd.DataFrame({"plate": "P1", "well": [f"w{index}" for index in range(count)], "unit": np.arange(count) % replicates,
                         "part": "train", "treatment": "drug", "dose": dose + 1.0, "target": target, "prediction": target,
                         "prediction_cv": predicted})


def coverage(uncertainty: Uncertainty, table: pd.DataFrame) -> float:
    return float(((table["target"] - table["prediction_cv"]).abs() <= uncertainty.half_width(table["prediction_cv"])).mean())


def test_new_wells_lie_inside_as_often_as_said() -> None:
    """Conformal prediction holds on average over training screens; single ones of 96 wells scatter about it."""
    found = [coverage(fitted, predictions(2000, seed=1000 + seed)) for seed in range(40)
             if (fitted := measure_uncertainty(predictions(seed=seed)))]
    assert len(found) == 40
    assert 0.94 < np.mean(found) < 0.975
    assert min(found) > 0.87


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_other_levels_are_kept_too(level: float) -> None:
    found = [coverage(fitted, predictions(2000, seed=1000 + seed)) for seed in range(20)
             if (fitted := measure_uncertainty(predictions(seed=seed), level=level))]
    assert np.mean(found) == pytest.approx(level, abs=0.03)


def test_intervals_are_wide_where_the_model_is_worse() -> None:
    fitted = measure_uncertainty(predictions(400))
    assert fitted is not None
    low, high = fitted.half_width([0.05, 0.95])
    assert high > 3 * low
    assert fitted.coverage == pytest.approx(0.95, abs=0.03)
    assert fitted.wells == 400
    assert fitted.half_width([5.0]) == fitted.half_widths[-1]   # beyond what was seen: that of the nearest


def test_limits_have_the_unit_of_the_read_out() -> None:
    table = predictions()
    names = ["target", "prediction_cv"]
    fitted, tenfold = measure_uncertainty(table), measure_uncertainty(table.assign(**{name: 10 * table[name] for name in names}))
    assert fitted is not None
    assert tenfold is not None
    np.testing.assert_allclose(tenfold.half_widths, 10 * np.array(fitted.half_widths), rtol=1e-3)
    assert tenfold.shared == fitted.shared


def test_too_few_wells_give_none() -> None:
    assert least_wells(0.95) == 19
    assert measure_uncertainty(predictions(18)) is None
    assert measure_uncertainty(predictions(19)) is not None
    assert measure_uncertainty(predictions().assign(unit=1)) is None
    assert measure_uncertainty(predictions().assign(prediction_cv=np.nan)) is None


def test_only_predictions_of_wells_not_learnt_from_count() -> None:
    table = predictions().assign(prediction_cv=np.nan)
    table.loc[:23, "part"] = "test"
    assert len(held_out_wells(table)) == 24
    sites = pd.concat([predictions(), predictions().assign(prediction_cv=9.0), predictions()], ignore_index=True)
    median = held_out_wells(sites)["predicted"]
    pd.testing.assert_series_equal(median, predictions()["prediction_cv"], check_names=False)


def test_what_replicates_share_is_told_from_their_scatter() -> None:
    scatter, both = (held_out_wells(predictions(4000, shared=shared)) for shared in (0.0, 0.3))
    assert shared_variance(scatter) < 0.02
    own = ((scatter["predicted"] - scatter["target"]) ** 2).mean()
    assert shared_variance(both) == pytest.approx(0.09 / (0.09 + own), abs=0.05)
    assert shared_variance(scatter.assign(dose=np.arange(len(scatter), dtype=float))) == 1.0     # nothing repeated: nothing known
    assert shared_variance(scatter.assign(predicted=scatter["target"] + 0.2)) == 1.0


def test_ingredients_are_checked() -> None:
    fitted = measure_uncertainty(predictions())
    assert fitted is not None
    for changes, words in (({"half_widths": fitted.half_widths[1:]}, "one for each"), ({"outputs": fitted.outputs[::-1]}, "must rise"),
                           ({"shared": 1.2}, "shared must lie in 0-1")):
        with pytest.raises(ValueError, match=words):
            replace(fitted, **changes)
