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
    assert ((both["fit"] == "flat") == (both["status"] == "flat")).all()
    np.testing.assert_allclose(both[["gr_max", "gr_aoc"]], both[["GRmax", "GR_AOC"]], rtol=1e-9)
    sigmoid = both[both["fit"] == "sigmoid"]
    for ours_name, r_name in (("gr50", "GR50"), ("gec50", "GEC50"), ("h", "Hill"), ("gr_inf", "GRinf")):
        assert (sigmoid[ours_name] / sigmoid[r_name] - 1).abs().median() < 1e-4
    np.testing.assert_allclose(both["p_flat"].quantile([0.1, 0.5, 0.9]), both["pval"].quantile([0.1, 0.5, 0.9]), rtol=1e-3)
    inside = sigmoid[sigmoid["gr50_relation"] == "="]
    assert (inside["gr50"] / inside["GR50"] - 1).abs().max() < 1e-3
    assert (both.loc[both["gr50_relation"] == ">", "GR50"] > both.loc[both["gr50_relation"] == ">", "dose_max"]).all()


def simulated(*, divisions: float, noise: float, curves: int = 200, middle: float = 1.5) -> tuple[pd.DataFrame, float]:
    """Curves of 8 doses twice, and their true GR50."""
    rng = np.random.default_rng(0)
    curve, x, _ = (axis.ravel() for axis in np.meshgrid(np.arange(curves), np.linspace(0, 3, 8), [1, 2], indexing="ij"))
    gr = -0.2 + 1.2 / (1 + 10 ** (1.2 * (x - middle)))
    error = np.exp(noise * rng.normal(size=(3, len(x))) * [[1], [0.3], [0.3]])
    cells = np.stack([2 ** (divisions * np.log2(gr + 1)), 2**divisions + 0 * x, 1 + 0 * x]) * error
    counts = dict(zip(COUNTS.values(), cells, strict=True))
    return pd.DataFrame({"curve": curve, "dose": 10**x, **counts}), float(10 ** (middle + np.log10(0.5 / 0.7) / 1.2))


def test_limits_hold_gr50_and_cells_that_hardly_divide_get_no_censored_one() -> None:
    wells, true = simulated(divisions=2.0, noise=0.08)
    found = gr_metrics(wells, by="curve", dose="dose", **COUNTS)
    assert ((found["gr50_low"] <= true) & (true <= found["gr50_high"])).mean() > 0.92
    wells, true = simulated(divisions=0.15, noise=0.15)        # counts of one division in seven say next to nothing
    found = gr_metrics(wells, by="curve", dose="dose", **COUNTS)
    assert found["gr50_relation"].isin(["<", ">"]).mean() < 0.05    # "<" for a drug that acts in the middle of its doses
    assert found.loc[found["gr50_relation"] == "", "gr50"].isna().all()
    assert found.loc[found["gr50_relation"] == "", "reason"].str.contains("on which side of the doses").all()


@pytest.mark.parametrize(("middle", "status", "relation", "reason"), [
    (1.5, "ok", "=", ""), (3.18, "weakly_identified", "=", "the interval of GR50 is open"),
    (3.7, "ok", ">", "GR50 outside the tested doses")])
def test_gr50_near_the_top_dose_is_weak_and_beyond_it_censored(middle: float, status: str, relation: str, reason: str) -> None:
    wells, true = simulated(divisions=2.0, noise=0.06, curves=1, middle=middle)
    row = gr_metrics(wells, by="curve", dose="dose", **COUNTS).iloc[0]
    assert (row["status"], row["gr50_relation"], row["reason"]) == (status, relation, reason)
    assert row["gr50"] == (pytest.approx(true, rel=0.3) if relation == "=" else row["dose_max"])
    assert row["gr50_low"] < true
    assert middle > 2 or true / 1.3 < row["gr50_low"] < true < row["gr50_high"] < 1.3 * true
    assert np.isnan(row["gr50_high"]) == (status == "weakly_identified" or relation == ">")


def test_wells_left_out_do_not_count_and_units_are_not_mixed() -> None:
    wells, _ = simulated(divisions=2.0, noise=0.05, curves=2)
    out = wells["dose"] > 400
    left_out = gr_metrics(wells.assign(excluded=out), by="curve", dose="dose", **COUNTS)
    pd.testing.assert_frame_equal(left_out, gr_metrics(wells[~out], by="curve", dose="dose", **COUNTS))
    mixed = gr_metrics(wells.assign(dose_unit=np.where(wells["curve"].eq(0) & out, "uM", "nM")), by="curve", dose="dose", **COUNTS)
    assert mixed["status"].tolist() == ["failed", "ok"]
    assert mixed["gr50"].isna().tolist() == [True, False]


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
