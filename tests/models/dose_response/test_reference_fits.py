"""Fits against the published results of R's drc, drda and dr4pl (certified values: SCIENCE.md section 3)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions, fit_curves
from models.tables import CURVES, check_table


def fit(table: pd.DataFrame, dose: str, response: str, *, by: str = "", scale: str = "raw", **options: object) -> pd.DataFrame:
    table = table.assign(treatment=table[by].astype(str) if by else "one")
    curves = fit_curves(table, by="treatment", dose=dose, response=response, scale=scale, options=FitOptions(**options))
    check_table(curves, CURVES)
    return curves


def test_ryegrass_equals_drc(reference: Path) -> None:
    row = fit(pd.read_csv(reference / "drc_ryegrass.csv"), "conc", "rootl").iloc[0]
    found = row[["slope", "bottom", "top", "ec50"]].astype(float)
    np.testing.assert_allclose(found, [2.98222, 0.48141, 7.79296, 3.05796], rtol=1e-4)
    np.testing.assert_allclose(row[["rss", "log_likelihood"]].astype(float), [5.400215, -16.15514], rtol=1e-6)
    np.testing.assert_allclose(row[["ec50_low", "ec50_high"]].astype(float), [2.6911, 3.4754], rtol=1e-3)
    assert row["status"] == "ok"
    assert row["direction"] == "falling"
    assert np.isnan(row["ic50"])


def test_ryegrass_5pl_reaches_drc(reference: Path) -> None:
    row = fit(pd.read_csv(reference / "drc_ryegrass.csv"), "conc", "rootl", model="5pl").iloc[0]
    assert row["rss"] == pytest.approx(5.27705, rel=1e-5)


CASES = [
    ("drc_S.alba.csv", "Dose", "DryMatter", "Herbicide", [62.048, 29.265], [4.537436, 3.810498]),
    ("drc_spinach.csv", "DOSE", "SLOPE", "CURVE", [1.79500, 0.94555, 1.37308, 0.197326, 0.210797], None),
    ("drc_secalonic.csv", "dose", "rootl", "", [0.080355], [0.2624036]),
    ("drc_lettuce.csv", "conc", "weight", "", None, [0.207075]),
    ("dr4pl_drc_error_2.csv", "Dose", "Response", "", None, [6653.875]),
    ("dr4pl_drc_error_3.csv", "Dose", "Response", "", None, [1.051797]),
]


@pytest.mark.parametrize(("name", "dose", "response", "by", "ec50", "rss"), CASES, ids=[case[0] for case in CASES])
def test_4pl_equals_reference(reference: Path, name: str, dose: str, response: str, by: str, ec50: list[float] | None,
                              rss: list[float] | None) -> None:
    curves = fit(pd.read_csv(reference / name), dose, response, by=by)
    if ec50:
        np.testing.assert_allclose(curves["ec50"], ec50, rtol=1e-4)
    if rss:
        np.testing.assert_allclose(curves["rss"], rss, rtol=1e-5)


def test_pc3_relative_and_absolute(reference: Path) -> None:
    table = pd.read_csv(io.StringIO((reference / "pc3.txt").read_text()), sep=r"\s+")
    row = fit(table, "CONC", "GIPROP", scale="fraction_viability", bounds="free").iloc[0]
    np.testing.assert_allclose(row[["ec50", "ic50", "rss"]].astype(float), [2.22485e-6, 2.69581e-6, 0.0155457], rtol=1e-4)
