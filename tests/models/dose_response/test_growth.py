"""GR metrics against R's GRmetrics, and by definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.dose_response import gr_metrics
from models.dose_response.growth import gr_values
from models.errors import TableError

KEYS = ["cell_line", "agent", "perturbation", "replicate", "time"]
COUNTS = {"count": "cell_count", "count_control": "cell_count__ctrl", "count_time0": "cell_count__time0"}


def test_gr_is_one_as_the_control_zero_without_growth_and_negative_when_cells_are_lost() -> None:
    np.testing.assert_allclose(gr_values([400.0, 100.0, 50.0], 400.0, 100.0), [1.0, 0.0, 2**-0.5 - 1])
    assert np.isnan(gr_values([400.0, np.nan, 10.0], [100.0, 400.0, 400.0], [100.0, 100.0, 0.0])).all()


def test_metrics_equal_grmetrics(reference: Path) -> None:
    wells = pd.read_csv(reference / "toy_example_input1.tsv", sep="\t")
    ours = gr_metrics(wells, by=KEYS, dose="concentration", **COUNTS)
    both = ours.merge(pd.read_csv(reference / "R_input1_GRmetrics.tsv", sep="\t"), on=KEYS, suffixes=("", "_r"))
    assert len(both) == 112
    assert (both["fit"].map({"sigmoid": "ok", "flat": "flat"}) == both["status"]).all()
    np.testing.assert_allclose(both[["gr_max", "gr_aoc"]], both[["GRmax", "GR_AOC"]], rtol=1e-9)
    sigmoid = both[both["fit"] == "sigmoid"]
    for ours_name, r_name in (("gr50", "GR50"), ("gec50", "GEC50"), ("h", "Hill"), ("gr_inf", "GRinf")):
        assert (sigmoid[ours_name] / sigmoid[r_name] - 1).abs().median() < 1e-4
    inside = sigmoid[sigmoid["gr50_relation"] == "="]
    assert (inside["gr50"] / inside["GR50"] - 1).abs().max() < 1e-3
    assert (both.loc[both["gr50_relation"] == ">", "GR50"] > both.loc[both["gr50_relation"] == ">", "dose_max"]).all()


def test_few_doses_end_in_a_status() -> None:
    wells = pd.DataFrame({"g": "a", "dose": [1.0, 10.0], "cell_count": [300.0, 200.0], "cell_count__ctrl": 400.0,
                          "cell_count__time0": 100.0})
    row = gr_metrics(wells, by="g", dose="dose", **COUNTS).iloc[0]
    assert row["status"] == "too_few_doses"
    assert np.isnan(row["gr50"])
    assert row["gr_max"] == pytest.approx(0.414213562)


def test_missing_columns_are_named() -> None:
    with pytest.raises(TableError, match="cell_count__ctrl"):
        gr_metrics(pd.DataFrame({"g": ["a"], "dose": [1.0], "cell_count": [1.0], "cell_count__time0": [1.0]}), by="g", dose="dose",
                   **COUNTS)
