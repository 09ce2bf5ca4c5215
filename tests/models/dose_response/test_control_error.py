"""Limits of an IC50 hold what the controls' medians are wrong by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions, fit_curves, normalise_to_controls, score_curves, score_limits
from models.dose_response.control_error import control_errors, with_control_error

DOSES = 10.0 ** np.arange(0, 4.5, 0.5)
IC50, OPTIONS = 100.0, FitOptions()


def plate(seed: int, *, controls: int, noise: float, ic50: float = IC50, name: str = "P1") -> pd.DataFrame:
    """Read-outs of 2.0 in living and 0.1 in dead cells, and of a treatment in triplicate; viability by the medians of the controls."""
    rng = np.random.default_rng(seed)
    rows = [(role, "", np.nan, level) for role, level in (("negative", 2.0), ("positive", 0.1)) for _ in range(controls)]
    rows += [("treated", "T", dose, 0.1 + 1.9 / (1 + (dose / ic50) ** 1.2)) for dose in DOSES for _ in range(3)]
    wells = pd.DataFrame(rows, columns=["role", "treatment", "dose", "readout"]).assign(plate=name, excluded=False)
    wells["readout"] += rng.normal(0, noise, len(wells))
    return normalise_to_controls(wells, value="readout")


def curves_of(wells: pd.DataFrame) -> Iterator[pd.Series]:
    """The curve with the limits of the fit alone, and with those that hold the controls' error too."""
    treated = wells[wells["role"] == "treated"].assign(response=lambda table: 100 * (1 - table["viability"]))
    curves = fit_curves(treated, by=["treatment"], response="response", scale="percent_inhibition", options=OPTIONS)
    yield curves.iloc[0]
    yield with_control_error(curves, wells, control_errors(wells, value="readout", positive=True), OPTIONS, value="readout").iloc[0]


def scores_of(wells: pd.DataFrame) -> Iterator[pd.Series]:
    """The same with dss_asym and its limits."""
    for curve in curves_of(wells):
        yield score_limits(score_curves(curve.to_frame().T.infer_objects(), kinds=["dss_asym"])).iloc[0]


def test_limits_hold_the_truth_as_often_as_they_say() -> None:
    held = np.array([[curve["ic50_low"] <= IC50 <= curve["ic50_high"] for curve in curves_of(plate(seed, controls=4, noise=0.15))]
                     for seed in range(80)])
    alone, both = held.mean(axis=0)
    assert alone < 0.9
    assert both > 0.93


def test_limits_of_scores_hold_the_truth_as_often_as_they_say() -> None:
    """Promised: 80 %. By the scatter of wells alone 4 controls of each kind held it in half of the cases."""
    true = next(scores_of(plate(0, controls=4, noise=0.0)))["dss_asym"]
    held = np.array([[row["dss_asym_low"] <= true <= row["dss_asym_high"] for row in scores_of(plate(seed, controls=4, noise=0.15))]
                     for seed in range(80)])
    alone, both = held.mean(axis=0)
    assert alone < 0.65
    assert 0.75 < both < 0.95


def test_an_error_of_controls_is_weighed_by_what_lives_and_what_is_dead() -> None:
    """Of a drug that has killed all from the first dose on, only the positive controls' error is left."""
    wells = plate(6, controls=6, noise=0.1, ic50=0.01)
    wells.loc[wells["role"] == "negative", "readout"] = [1.0, 1.5, 1.9, 2.1, 2.5, 3.0]
    _, wide = curves_of(wells)
    wells.loc[wells["role"] == "positive", "readout"] = 0.1
    _, none = curves_of(wells)
    assert wide["control_error"] > 1
    assert none["control_error"] < 0.2 * wide["control_error"]


def test_the_more_controls_the_narrower() -> None:
    widths = []
    for controls in (4, 16, 400):
        alone, both = curves_of(plate(3, controls=controls, noise=0.1))
        assert both["ic50"] == alone["ic50"]
        widths.append(np.log10(both["ic50_high"] / both["ic50_low"]) / np.log10(alone["ic50_high"] / alone["ic50_low"]))
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] == pytest.approx(1, abs=0.02)


def test_controls_without_scatter_and_censored_values_change_nothing() -> None:
    still = plate(1, controls=8, noise=0.05)
    still.loc[still["role"] != "treated", "readout"] = still["role"].map({"negative": 2.0, "positive": 0.1})
    for wells in (still, plate(1, controls=8, noise=0.05, ic50=1e6)):
        alone, both = curves_of(wells)
        pd.testing.assert_series_equal(both.drop("control_error"), alone)


def test_a_limit_is_open_where_the_curve_may_not_reach_the_level() -> None:
    wells = plate(2, controls=3, noise=0.01)
    wells.loc[wells["role"] == "treated", "viability"] = 0.46 + 0.54 * wells["viability"]     # stops at 54 % inhibition
    wells.loc[wells["role"] == "negative", "readout"] = [1.8, 2.0, 2.2]
    alone, both = curves_of(wells)
    assert alone["ic50_relation"] == both["ic50_relation"] == "="
    assert np.isfinite(alone["ic50_high"])
    assert np.isnan(both["ic50_high"])
    assert both["ic50_low"] < alone["ic50_low"]


def test_plates_share_the_error_of_their_controls() -> None:
    one, two = plate(4, controls=6, noise=0.12), plate(5, controls=6, noise=0.12, name="P2")
    widths = []
    for wells in (one, pd.concat([one, two], ignore_index=True)):
        alone, both = (np.log10(curve["ic50_high"] / curve["ic50_low"]) for curve in curves_of(wells))
        widths.append(np.sqrt(both**2 - alone**2))
    assert widths[1] < widths[0]
