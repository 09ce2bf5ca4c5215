"""Weighted curves: weights are relative, count like repeated wells, and go where they mean something only."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions, fit_curves
from models.errors import InputError, TableError


def wells(seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    dose = np.repeat(np.logspace(0, 5, 8), 3)
    clean = 100 / (1 + 500 / dose)
    return pd.DataFrame({"drug": "a", "dose": dose, "response": clean + rng.normal(0, 4, len(dose)),
                         "precision": rng.uniform(0.2, 3, len(dose))})


def test_equal_weights_are_no_weights() -> None:
    table = wells()
    plain = fit_curves(table, by="drug", response="response")
    pd.testing.assert_frame_equal(fit_curves(table.assign(w=7.0), by="drug", response="response", weight="w"), plain)


def test_only_the_proportion_of_weights_counts() -> None:
    table = wells()
    first = fit_curves(table, by="drug", response="response", weight="precision")
    other = fit_curves(table.assign(precision=1e6 * table["precision"]), by="drug", response="response", weight="precision")
    pd.testing.assert_frame_equal(first, other)
    assert first["ic50"].iloc[0] != fit_curves(table, by="drug", response="response")["ic50"].iloc[0]
    assert first["n"].iloc[0] == len(table)


def test_a_weight_of_two_fits_like_a_well_given_twice() -> None:
    table = wells()
    double = table.index % 5 == 0
    weighted = fit_curves(table.assign(w=np.where(double, 2.0, 1.0)), by="drug", response="response", weight="w")
    repeated = fit_curves(pd.concat([table, table[double]]), by="drug", response="response")
    for name in ("ic50", "ec50", "slope", "bottom", "top"):
        assert weighted[name].iloc[0] == pytest.approx(repeated[name].iloc[0], rel=1e-5, abs=1e-4)


def test_a_well_of_little_weight_hardly_moves_the_curve() -> None:
    table = wells()
    spoilt = table.assign(response=table["response"].mask(table.index == 10, 100.0))
    good, bad, mended = (fit_curves(frame, by="drug", response="response", weight="w")["ic50"].iloc[0] for frame in (
        table.assign(w=1.0), spoilt.assign(w=1.0), spoilt.assign(w=np.where(table.index == 10, 1e-4, 1.0))))
    assert abs(np.log10(mended / good)) < 0.2 * abs(np.log10(bad / good))


def test_known_variances_give_better_midpoints() -> None:
    """Wells of which half are five times as noisy: weighting by the true variance halves the error, which nothing else could."""
    rng, errors = np.random.default_rng(0), []
    tables = []
    for drug in range(150):
        table = wells().assign(drug=drug)
        noisy = rng.random(len(table)) < 0.5
        tables.append(table.assign(response=100 / (1 + 500 / table["dose"]) + rng.normal(0, np.where(noisy, 15, 3)),
                                   precision=np.where(noisy, 1 / 225, 1 / 9)))
    for weight in ("", "precision"):
        curves = fit_curves(pd.concat(tables), by="drug", response="response", weight=weight, options=FitOptions(interval="none"))
        errors.append(np.log10(curves["ic50"] / 500).pow(2).mean() ** 0.5)
    assert errors[1] < 0.6 * errors[0]


def test_impossible_weights_are_refused() -> None:
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="weights of wells with a response must be finite and above 0"):
            fit_curves(wells().assign(w=bad), by="drug", response="response", weight="w")
    with pytest.raises(TableError, match="'w'"):
        fit_curves(wells(), by="drug", response="response", weight="w")
    for options in (FitOptions(loss="tukey"), FitOptions(mode="fimm")):
        with pytest.raises(InputError, match="weights go with loss squares and mode clean"):
            fit_curves(wells(), by="drug", response="response", weight="precision", options=options)
    with pytest.raises(InputError, match="weights interval go with loss squares"):
        FitOptions(weights="interval", loss="cauchy")
    assert len(fit_curves(wells().assign(response=np.nan, w=0.0), by="drug", response="response", weight="w")) == 1
