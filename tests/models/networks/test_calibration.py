"""Calibration: a known temperature is found, separable classes give a finite one, and what does not help is not kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from models.networks.calibration import (
    Calibration,
    calibration_error,
    calibration_metrics,
    cross_calibrated,
    fit_temperature,
    held_out_logits,
    log_loss,
    measure_calibration,
    reliability,
)


def predictions(count: int = 4000, *, temperature: float = 2.5, seed: int = 0) -> pd.DataFrame:
    """Classes drawn with the probability expit(logit / temperature)."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 4, count)
    target = (rng.random(count) < expit(logit / temperature)).astype(float)
    return pd.DataFrame({"target": target, "logit": 9.0, "logit_cv": logit, "prediction_cv": expit(logit), "part": "train",
                         "fold": np.arange(count) % 4})


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_the_temperature_that_made_the_data_is_found_and_mends_them(temperature: float) -> None:
    table = predictions(temperature=temperature)
    found = measure_calibration(table)
    assert found is not None
    assert found.temperature == pytest.approx(temperature, rel=0.08)
    assert found.loss_calibrated < found.loss == pytest.approx(log_loss(table["target"], table["logit_cv"]), abs=1e-6)
    before, after = (calibration_error(table["target"], p) for p in (expit(table["logit_cv"]), found.probability(table["logit_cv"])))
    assert after < 0.02 < before
    metrics = calibration_metrics(table)
    assert metrics["calibration_error_cv"] == pytest.approx(before)
    assert metrics["calibration_error_calibrated_cv"] < 0.02
    assert metrics["temperature"] == found.temperature


def test_calibrated_probabilities_keep_order_and_decisions() -> None:
    found = Calibration(temperature=0.5, images=10, loss=1.0, loss_calibrated=0.5)
    logits = np.linspace(-5, 5, 11)
    assert (np.diff(found.probability(logits)) > 0).all()
    assert ((found.probability(logits) > 0.5) == (logits > 0)).all()
    np.testing.assert_allclose(found.probability(logits), expit(2 * logits))


def test_classes_that_separate_completely_give_a_finite_temperature() -> None:
    target = np.repeat([1.0, 0.0], 16)
    temperature = fit_temperature(target, np.where(target > 0.5, 1.4, -1.4))
    assert expit(1.4 / temperature) == pytest.approx(17 / 18, abs=1e-3)     # Platt's target of 16 images


def test_what_does_not_help_is_not_kept() -> None:
    kept = [measure_calibration(predictions(60, temperature=1.0, seed=seed)) is not None for seed in range(40)]
    assert np.mean(kept) < 0.6      # chance alone sometimes helps a little
    helped = [measure_calibration(predictions(60, temperature=4.0, seed=seed)) is not None for seed in range(40)]
    assert all(helped)
    assert measure_calibration(predictions(9)) is None
    assert measure_calibration(predictions().assign(target=1.0)) is None
    assert calibration_metrics(predictions(9)) == {}


def test_temperatures_are_judged_on_folds_that_they_did_not_see() -> None:
    table = held_out_logits(predictions(400))
    own = table["fold"] == 2
    spoilt = table.assign(target=table["target"].where(~own, 1 - table["target"]))
    np.testing.assert_array_equal(cross_calibrated(spoilt)[own], cross_calibrated(table)[own])
    assert not np.array_equal(cross_calibrated(spoilt)[~own], cross_calibrated(table)[~own])


def test_without_cross_fitting_the_test_part_speaks() -> None:
    table = predictions().assign(logit_cv=np.nan, fold=-1)
    table["logit"] = predictions()["logit_cv"]
    table.loc[:999, "part"] = "test"
    assert len(held_out_logits(table)) == 1000
    assert "calibration_error_test" in calibration_metrics(table)
    assert measure_calibration(table.assign(part="train")) is None


def test_reliability_counts_every_prediction_once() -> None:
    bins = reliability([1, 0, 1, 1], [0.0, 0.05, 0.55, 1.0])
    assert bins["n"].tolist() == [2, 1, 1]
    assert bins["observed"].tolist() == [0.5, 1.0, 1.0]
    assert bins["predicted"].tolist() == pytest.approx([0.025, 0.55, 1.0])
    assert calibration_error([1, 0, 1, 1], [0.0, 0.05, 0.55, 1.0]) == pytest.approx((2 * 0.475 + 0.45) / 4)
