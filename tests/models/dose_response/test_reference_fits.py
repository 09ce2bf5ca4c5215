"""Fits against the published results of R's drc, drda and dr4pl (values that those packages give)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions, doses_at, fit_curves
from models.errors import InputError
from models.tables import CURVES, check_table


def fit(table: pd.DataFrame, dose: str, response: str, *, by: str = "", scale: str = "raw", **options: object) -> pd.DataFrame:
    table = table.assign(treatment=table[by].astype(str) if by else "one")
    curves = fit_curves(table, by="treatment", dose=dose, response=response, scale=scale, options=FitOptions(**options))
    check_table(curves, CURVES)
    return curves


def test_ryegrass_equals_drc(reference: Path) -> None:
    row = fit(pd.read_csv(reference / "drc_ryegrass.csv"), "conc", "rootl", interval="profile").iloc[0]
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
        assert (curves["rss"] <= np.array(rss) * 1.001).all()


def test_pc3_relative_and_absolute(reference: Path) -> None:
    table = pd.read_csv(io.StringIO((reference / "pc3.txt").read_text()), sep=r"\s+")
    row = fit(table, "CONC", "GIPROP", scale="fraction_viability", bounds="free").iloc[0]
    np.testing.assert_allclose(row[["ec50", "ic50", "rss"]].astype(float), [2.22485e-6, 2.69581e-6, 0.0155457], rtol=1e-4)


def test_effective_doses_equal_drc(reference: Path) -> None:
    curves = fit(pd.read_csv(reference / "drc_ryegrass.csv"), "conc", "rootl")
    assert doses_at(curves, fraction=0.1)[0] == pytest.approx(1.46371, rel=1e-4)
    assert doses_at(curves, fraction=0.9)[0] == pytest.approx(6.38864, rel=1e-4)
    assert doses_at(curves, level=3.9)[0] == pytest.approx(3.19414, rel=1e-4)
    assert curves["aicc"][0] == pytest.approx(42.31029 + 2 * 5 * 6 / (24 - 6), abs=1e-4)
    with pytest.raises(InputError, match="either"):
        doses_at(curves)


def test_lettuce_brain_cousens(reference: Path) -> None:
    """RSS to drc's six digits; ED50 within 0.1 % of drc's 35.02, whose optimizer stops early on this flat valley."""
    row = fit(pd.read_csv(reference / "drc_lettuce.csv"), "conc", "weight", model="brain_cousens",
              bounds=((0.0, 0.0), (-10.0, 10.0))).iloc[0]
    assert row["rss"] == pytest.approx(0.124975, rel=1e-5)
    assert row["ec50"] == pytest.approx(35.02, rel=1e-3)
    assert row["hormesis"] > 0


def test_voropm2_equals_drda(reference: Path) -> None:
    table = pd.read_csv(reference / "drda_voropm2.csv").assign(dose=lambda frame: np.exp(frame["log_dose"]))
    four, five = (fit(table, "dose", "response", scale="fraction_viability", bounds="free", model=model).iloc[0]
                  for model in ("4pl", "5pl"))
    assert four["rss"] == pytest.approx(0.1053567, rel=1e-5)
    assert np.log(10) * four["log10_midpoint"] == pytest.approx(6.535548, rel=1e-5)
    assert five["rss"] <= 0.0773418 * 1.001


def test_dr4pl_hard_sets_are_flagged(reference: Path) -> None:
    for name in ("dr4pl_drc_error_2.csv", "dr4pl_drc_error_3.csv"):
        row = fit(pd.read_csv(reference / name), "Dose", "Response").iloc[0]
        assert row["status"] in ("weakly_identified", "flat")
        assert "no dependence on dose" in row["reason"] or "open" in row["reason"]
