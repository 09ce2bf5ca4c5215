"""Figures hold what they should: points, curve, band, censoring, reason (their looks were judged by eye)."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

from models.dose_response import FitOptions, fit_curves, score_curves
from models.dose_response.bands import confidence_band
from models.dose_response.plots import plot_curve, plot_panel, plot_plate, plot_waterfall
from models.errors import TableError

DOSES = np.logspace(-3, 1, 8)
TOPS = {"strong": 100.0, "weak": 25.0, "none": 0.0}


@pytest.fixture(scope="module")
def wells() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    parts = [pd.DataFrame({"treatment": name, "dose": DOSES, "dose_unit": "nM", "y": top / (1 + 0.1 / DOSES) + rng.normal(0, 3, 8)})
             for name, top in TOPS.items()]
    return pd.concat([*parts, pd.DataFrame({"treatment": "few", "dose": DOSES[:2], "dose_unit": "nM", "y": 1.0})])


@pytest.fixture(scope="module")
def curves(wells: pd.DataFrame) -> pd.DataFrame:
    return score_curves(fit_curves(wells, by="treatment", response="y")).set_index("treatment", drop=False).rename_axis(None)


def test_a_curve_shows_points_band_and_ic50(curves: pd.DataFrame, wells: pd.DataFrame) -> None:
    axes = plot_curve(curves.loc["strong"], wells[wells["treatment"] == "strong"], dose="dose", response="y", title="strong")
    assert len(axes.lines[0].get_xdata()) == 8
    assert any(isinstance(artist, PolyCollection) for artist in axes.collections)
    assert axes.get_title(loc="left").startswith("strong\nIC50 = 0.")
    assert axes.get_xlabel() == "Dose (nM)"


def test_a_censored_ic50_shows_its_mark_and_reason(curves: pd.DataFrame, wells: pd.DataFrame) -> None:
    axes = plot_curve(curves.loc["weak"], wells[wells["treatment"] == "weak"], dose="dose", response="y")
    assert "IC50 > 10 nM" in axes.get_title(loc="left")
    assert "below the IC level" in axes.get_title(loc="left").replace("\n", " ")
    assert any(line.get_marker() == 9 for line in axes.lines)


def test_a_group_without_a_fit_still_shows_its_points(curves: pd.DataFrame, wells: pd.DataFrame) -> None:
    axes = plot_curve(curves.loc["few"], wells[wells["treatment"] == "few"], dose="dose", response="y")
    assert len(axes.lines) == 1
    assert "too few doses" in axes.get_title(loc="left")


def test_panel_waterfall_and_plate_are_drawn(curves: pd.DataFrame, wells: pd.DataFrame) -> None:
    panel = plot_panel(curves, wells, by="treatment", dose="dose", response="y", columns=3)
    assert sum(axes.get_visible() for axes in panel.axes) == 4
    waterfall = plot_waterfall(curves.assign(group=["a", "b", "a", "b"]), colour_by="group")
    labels = [label.get_text() for label in waterfall.axes[0].get_xticklabels()]
    assert labels[0] == "strong"
    plate = pd.DataFrame({"well": ["A01", "B02", "H12"], "v": [1.0, 0.5, np.nan], "role": ["negative", "treated", "positive"],
                          "excluded": [False, True, False]})
    figure = plot_plate(plate, value="v")
    assert figure.axes[0].images[0].get_array().shape == (8, 12)
    for drawn in (panel, waterfall, figure):
        file = io.BytesIO()
        drawn.savefig(file, format="png", dpi=40)
        assert file.tell() > 3000
    assert plot_panel(curves.iloc[:0], wells, by="treatment", dose="dose", response="y") is not None
    with pytest.raises(TableError, match="well"):
        plot_plate(wells, value="y")


def test_the_band_covers_the_true_curve() -> None:
    rng = np.random.default_rng(1)
    truth = 100 / (1 + 0.1 / DOSES)
    y = truth + rng.normal(0, 5, (200, 8))
    table = pd.DataFrame({"c": np.repeat(np.arange(200), 8), "dose": np.tile(DOSES, 200), "y": y.ravel()})
    fitted = fit_curves(table, by="c", response="y", options=FitOptions(interval="none"))
    inside = []
    for _, row in fitted.iterrows():
        low, high = confidence_band(row, DOSES, DOSES)
        inside.append((low <= truth) & (truth <= high))
    assert np.mean(inside) > 0.9
