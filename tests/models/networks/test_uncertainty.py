"""Intervals of wells hold what they promise on wells not seen, and widen where the model is worse; where nothing is known there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.networks.uncertainty import Uncertainty, held_out_wells, least_wells, measure_uncertainty, shared_variance, shared_variance_near


def predictions(count: int = 96, *, seed: int = 0, replicates: int = 8, shared: float = 0.0) -> pd.DataFrame:
    """Wells whose error grows from 0.02 at OD 0 to 0.2 at OD 1; shared: SD of an error that all wells of a dose have in common."""
    rng = np.random.default_rng(seed)
    dose = np.arange(count) // replicates
    predicted = rng.uniform(0, 1, count)
    common = rng.normal(0, shared, dose.max() + 1)[dose] if shared else 0.0
    target = predicted + rng.normal(0, 0.02 + 0.18 * predicted) + common
    return pd.DataFrame({"plate": "P1", "well": [f"w{index}" for index in range(count)], "unit": np.arange(count) % replicates,
                         "part": "train", "role": "treated", "treatment": "drug", "dose": dose + 1.0, "target": target,
                         "prediction": target, "prediction_cv": predicted})


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


@pytest.mark.parametrize(("count", "level"), [(40, 0.95), (39, 0.9), (24, 0.8)])
def test_half_widths_are_those_of_the_formula_well_by_well(count: int, level: float) -> None:
    """By loops: a well's own replicate set is left out of its scale, and of n wells the ceil((n + 1) level)-th counts."""
    table = predictions(count, replicates=4)
    x, residual = table["prediction_cv"].to_numpy(), (table["target"] - table["prediction_cv"]).abs().to_numpy()

    def scale(at: float, others: np.ndarray) -> float:
        near = np.exp(-0.5 * ((at - x[others]) / (0.1 * (x.max() - x.min()))) ** 2)
        return float((near @ residual[others] + 5 * residual[others].mean()) / (near.sum() + 5))

    scores = [residual[well] / scale(x[well], table["unit"].to_numpy() != table["unit"][well]) for well in range(count)]
    q = sorted(scores)[min(int(np.ceil(round((count + 1) * level, 9))), count) - 1]
    found = measure_uncertainty(table, level=level)
    assert found is not None
    widths = [q * scale(at, np.ones(count, bool)) for at in np.linspace(x.min(), x.max(), 33)]
    np.testing.assert_allclose(found.half_widths, widths, atol=2e-6)


def test_limits_have_the_unit_of_the_read_out() -> None:
    table = predictions()
    names = ["target", "prediction_cv"]
    fitted, tenfold = measure_uncertainty(table), measure_uncertainty(table.assign(**{name: 10 * table[name] for name in names}))
    assert fitted is not None
    assert tenfold is not None
    np.testing.assert_allclose(tenfold.half_widths, 10 * np.array(fitted.half_widths), rtol=1e-3)
    np.testing.assert_allclose(tenfold.shared_half_widths, 10 * np.array(fitted.shared_half_widths), rtol=1e-3)
    assert tenfold.shared == fitted.shared


def test_too_few_wells_give_none() -> None:
    assert least_wells(0.95) == 19
    assert measure_uncertainty(predictions(18)) is None
    assert measure_uncertainty(predictions(19)) is not None
    assert measure_uncertainty(predictions().assign(unit=1)) is None
    assert measure_uncertainty(predictions().assign(unit=[1, 2] * 48)) is None
    assert measure_uncertainty(predictions().assign(unit=[1, 2, 3] * 32)) is not None
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


@pytest.mark.parametrize("apart", [{"role": ["negative", "positive"]}, {"treatment_2": ["", "other"], "dose_2": [np.nan, 5.0]}])
def test_only_wells_that_hold_the_same_are_replicates(apart: dict[str, list[object]]) -> None:
    """The error of one half of the wells of a dose is the other's reversed: no mean over both would show it."""
    half = np.arange(4000) % 2
    table = predictions(4000).assign(**{name: np.array(values, dtype=object)[half] for name, values in apart.items()})
    table["prediction_cv"] = table["target"] + np.where(half, -0.3, 0.3) + np.random.default_rng(0).normal(0, 0.05, 4000)
    assert shared_variance(held_out_wells(table)) > 0.9


def test_what_wells_of_one_level_share_is_told_level_by_level() -> None:
    """All read right on average; but wells of OD 0-0.3 read 0.1 too high or too low, dose by dose."""
    rng = np.random.default_rng(0)
    dose = np.repeat(np.arange(100), 8)
    target = dose / 100 + rng.normal(0, 0.01, len(dose))
    off = np.where(dose < 30, rng.choice([-0.1, 0.1], 100)[dose], 0.0)
    table = predictions(len(dose)).assign(dose=dose, unit=np.arange(len(dose)) % 8, target=target,
                                          prediction_cv=target + off + rng.normal(0, 0.03, len(dose)))
    near = shared_variance_near(held_out_wells(table), np.array([0.1, 0.8]))
    assert near[0] == pytest.approx(0.1**2 / (0.1**2 + 0.03**2), abs=0.03)
    assert near[1] < 0.15
    fitted = measure_uncertainty(table)
    assert fitted is not None
    parts, wholes = fitted.shared_half_width([0.1, 0.8]), fitted.half_width([0.1, 0.8])
    assert parts[0] / wholes[0] > 0.9
    assert parts[1] == pytest.approx(wholes[1] * fitted.shared**0.5, rel=1e-2)      # no less than on average


def test_a_card_that_knows_the_mean_share_alone_is_read_by_it() -> None:
    plain = Uncertainty(level=0.95, outputs=(0.0, 1.0), half_widths=(0.1, 0.3), wells=40, coverage=0.95, shared=0.25)
    np.testing.assert_allclose(plain.shared_half_width([0.0, 0.5, 2.0]), [0.05, 0.1, 0.15])


def test_ingredients_are_checked() -> None:
    fitted = measure_uncertainty(predictions())
    assert fitted is not None
    for changes, words in (({"half_widths": fitted.half_widths[1:]}, "one for each"), ({"outputs": fitted.outputs[::-1]}, "must rise"),
                           ({"shared": 1.2}, "shared must lie in 0-1"),
                           ({"shared_half_widths": tuple(2 * width for width in fitted.half_widths)}, "must be a part of half_widths")):
        with pytest.raises(ValueError, match=words):
            replace(fitted, **changes)
