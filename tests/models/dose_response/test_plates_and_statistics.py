"""Normalisation, plate quality, and the statistics of the papers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from models.dose_response import assay_quality, normalise_to_controls
from models.dose_response.assay_quality import plate_shape
from models.dose_response.statistics import correlation, one_way_anova, paired_t, unpaired_t
from models.errors import InputError, TableError
from models.wells import PLATE_FORMATS


def plate(*, positive: int = 8, negative: int = 8, seed: int = 0, name: str = "1") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [(f"{letter}{column:02d}", "treated") for letter in "ABCDEFGH" for column in range(2, 12)]
    rows += [(f"{'ABCDEFGH'[i]}01", "negative") for i in range(negative)]
    rows += [(f"{'ABCDEFGH'[i]}12", "positive") for i in range(positive)]
    wells = pd.DataFrame(rows, columns=["well", "role"]).assign(plate=name)
    level = wells["role"].map({"negative": 1000.0, "positive": 100.0, "treated": 600.0})
    return wells.assign(signal=level + rng.normal(0, 20, len(wells)))


def test_viability_is_one_at_negative_and_zero_at_positive_controls_of_the_same_plate() -> None:
    wells = pd.concat([plate(), plate(name="2", seed=1).assign(signal=lambda t: t["signal"] * 3 + 50)], ignore_index=True)
    scored = normalise_to_controls(wells, value="signal")
    medians = scored.groupby(["plate", "role"])["viability"].median()
    for name in ("1", "2"):
        assert medians[name, "negative"] == pytest.approx(1)
        assert medians[name, "positive"] == pytest.approx(0, abs=1e-12)
        assert medians[name, "treated"] == pytest.approx(5 / 9, abs=0.02)
    assert scored["viability"].max() > 1
    assert (scored["well"] == wells["well"]).all()


def test_viability_does_not_depend_on_gain_and_offset() -> None:
    wells = plate()
    first = normalise_to_controls(wells, value="signal")["viability"]
    second = normalise_to_controls(wells.assign(signal=7 - 3 * wells["signal"]), value="signal")["viability"]
    np.testing.assert_allclose(first, second)


def test_means_and_no_positive_controls() -> None:
    wells = plate()
    mean = normalise_to_controls(wells, value="signal", centre="mean")
    assert mean.loc[mean["role"] == "negative", "viability"].mean() == pytest.approx(1)
    without = normalise_to_controls(wells, value="signal", positive=None)
    negative = wells.loc[wells["role"] == "negative", "signal"].median()
    np.testing.assert_allclose(without["viability"], wells["signal"] / negative)


def test_no_controls_or_equal_controls_give_nan() -> None:
    assert normalise_to_controls(plate(positive=0), value="signal")["viability"].isna().all()
    assert normalise_to_controls(plate().assign(signal=5.0), value="signal")["viability"].isna().all()


def test_excluded_control_is_no_control() -> None:
    wells = plate().assign(excluded=False)
    wells.loc[wells["well"] == "A01", ["signal", "excluded"]] = [1e9, True]
    scored = normalise_to_controls(wells, value="signal", centre="mean")
    assert scored.loc[(scored["role"] == "negative") & ~scored["excluded"], "viability"].mean() == pytest.approx(1)


def test_wrong_columns_and_centres_raise() -> None:
    with pytest.raises(TableError, match="signal"):
        normalise_to_controls(plate().drop(columns="signal"), value="signal")
    with pytest.raises(InputError, match="centre"):
        normalise_to_controls(plate(), value="signal", centre="mode")


def test_quality_follows_its_formulas() -> None:
    wells = plate()
    row = assay_quality(wells, value="signal").iloc[0]
    n, p = (wells.loc[wells["role"] == role, "signal"].to_numpy() for role in ("negative", "positive"))
    assert row["z_prime"] == pytest.approx(1 - 3 * (n.std(ddof=1) + p.std(ddof=1)) / abs(n.mean() - p.mean()))
    mads = [stats.median_abs_deviation(v) * 1.4826 for v in (n, p)]
    assert row["z_prime_robust"] == pytest.approx(1 - 3 * sum(mads) / abs(np.median(n) - np.median(p)))
    means = [np.abs(v - np.median(v)).mean() for v in (n, p)]
    assert row["z_prime_mad_mean"] == pytest.approx(1 - 3 * sum(means) / abs(np.median(n) - np.median(p)))
    assert row["ssmd"] == pytest.approx((p.mean() - n.mean()) / np.hypot(n.std(ddof=1), p.std(ddof=1)))
    assert row["signal_background"] == pytest.approx(n.mean() / p.mean())
    assert row["ssmd_robust"] == pytest.approx((np.median(p) - np.median(n)) / np.hypot(*mads))
    assert row["signal_window"] == pytest.approx((n.mean() - p.mean() - 3 * (n.std(ddof=1) + p.std(ddof=1))) / n.std(ddof=1))
    assert row["cv_negative"] == pytest.approx(n.std(ddof=1) / n.mean())
    assert row["cv_positive"] == pytest.approx(p.std(ddof=1) / p.mean())
    inverted = assay_quality(wells.assign(signal=1200 - wells["signal"]), value="signal").iloc[0]    # dead wells read more
    assert inverted["signal_window"] == pytest.approx((n.mean() - p.mean() - 3 * (n.std(ddof=1) + p.std(ddof=1))) / p.std(ddof=1))
    assert (inverted["z_prime"], inverted["ssmd"]) == (pytest.approx(row["z_prime"]), pytest.approx(-row["ssmd"]))
    assert (row["n_negative"], row["n_positive"], row["reason"]) == (8, 8, "")


def test_trends_and_edges_are_found_and_scaled_to_the_window() -> None:
    wells = plate(seed=2)
    row_number = wells["well"].str[0].map({letter: i for i, letter in enumerate("ABCDEFGH")})
    quality = assay_quality(wells.assign(signal=wells["signal"] + 90 * row_number / 7), value="signal").iloc[0]
    assert quality["row_trend"] == pytest.approx(0.1, abs=0.03)
    assert abs(quality["column_trend"]) < 0.03 or np.isnan(quality["column_trend"])    # each control fills one column
    inner = wells["well"].isin(["D05", "E06", "D07", "E08"])
    ring = wells.assign(role=wells["role"].mask(inner, "negative"), signal=wells["signal"].mask(inner, 800.0))
    wild = ring["signal"].mask(ring["well"] == "E08", 1e4).mask(ring["well"] == "A01", 1e-4)      # medians do not mind
    found = assay_quality(ring, value="signal")
    assert found.iloc[0]["edge_effect"] == pytest.approx(200 / 860, abs=0.04)
    one = ring.assign(role=ring["role"].mask(ring["well"] == "F06", "positive"), signal=ring["signal"].mask(ring["well"] == "F06", 100.0))
    weighed = assay_quality(one, value="signal").iloc[0]["edge_effect"]       # four negative wells inside say 200, a positive one 0
    assert weighed == pytest.approx(4 / 5 * 200 / 860, abs=0.03)
    window = np.ptp([wild[ring["role"] == role].mean() for role in ("negative", "positive")])
    assert assay_quality(ring.assign(signal=wild), value="signal").iloc[0]["edge_effect"] == pytest.approx(200 / window, abs=0.04)
    pd.testing.assert_frame_equal(assay_quality(ring.assign(well=ring["well"].str.lower()), value="signal"), found)


def test_a_plate_is_the_smallest_that_has_its_wells() -> None:
    for rows, columns in PLATE_FORMATS.values():
        row, column = (axis.ravel().astype(float) for axis in np.indices((rows, columns)))
        assert plate_shape(row, column) == (rows, columns)
        assert plate_shape(row[:1], column[-1:]) == next(shape for shape in PLATE_FORMATS.values() if shape[1] >= columns)
    assert plate_shape(np.array([99.0]), np.array([99.0])) == (100, 100)


def test_controls_that_were_left_out_are_counted_where_too_few_remain() -> None:
    wells = plate().assign(excluded=lambda table: (table["role"] == "positive") & (table["well"] != "A12") | (table["well"] == "C05"))
    row = assay_quality(wells, value="signal").iloc[0]
    assert row["reason"] == "1 positive control well (7 left out): at least 2 are needed"
    assert (row["n_negative"], row["n_positive"]) == (8, 1)


@pytest.mark.parametrize(("negative", "positive"), [(8, 1), (1, 8), (8, 0), (0, 0)])
def test_too_few_controls_are_not_computable(negative: int, positive: int) -> None:
    row = assay_quality(plate(negative=negative, positive=positive), value="signal").iloc[0]
    assert np.isnan(row[["z_prime", "z_prime_robust", "z_prime_mad_mean", "ssmd", "signal_background"]].astype(float)).all()
    assert "at least 2" in row["reason"]
    assert (row["n_negative"], row["n_positive"]) == (negative, positive)


def test_controls_without_scatter_or_window() -> None:
    wells = plate()
    constant = wells.assign(signal=wells["role"].map({"negative": 10.0, "positive": 1.0, "treated": 5.0}))
    row = assay_quality(constant, value="signal").iloc[0]
    assert row["z_prime"] == 1.0
    assert np.isnan(row["ssmd"])
    assert "no scatter" in row["reason"]
    floored = wells.assign(signal=wells["signal"].mask(wells["role"] == "positive", 0.46))    # as a network's floor gives all dead wells
    row = assay_quality(floored, value="signal").iloc[0]
    assert row["cv_positive"] == 0
    assert row["reason"].startswith("all positive controls read exactly the same")
    assert assay_quality(wells, value="signal").iloc[0]["reason"] == ""
    row = assay_quality(wells.assign(signal=3.0), value="signal").iloc[0]
    assert np.isnan(row["z_prime"])
    assert "read the same" in row["reason"]


def test_plates_are_rows_in_order() -> None:
    wells = pd.concat([plate(name="b"), plate(name="a")])
    assert assay_quality(wells, value="signal")["plate"].tolist() == ["b", "a"]
    assert len(assay_quality(wells.iloc[:0], value="signal")) == 0


def test_statistics_equal_scipy_and_leave_out_missing() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (2, 12))
    with_gap = np.append(b, np.nan)
    assert paired_t(np.append(a, 1.0), with_gap).p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert unpaired_t(a, with_gap).statistic == pytest.approx(stats.ttest_ind(a, b).statistic)
    assert one_way_anova([a, b, a + 1]).p == pytest.approx(stats.f_oneway(a, b, a + 1).pvalue)
    both = correlation(a, np.append(np.exp(a[:-1]), np.exp(a[-1])))
    assert both.spearman == pytest.approx(1)
    assert both.pearson == pytest.approx(stats.pearsonr(a, np.exp(a)).statistic)


def test_statistics_of_too_little_are_nan_not_numbers() -> None:
    assert np.isnan(paired_t([1.0], [2.0]).p)
    assert np.isnan(unpaired_t([1.0], [2.0]).p)
    assert np.isnan(correlation([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]).pearson)
    with pytest.raises(InputError, match="equally many"):
        paired_t([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="2 groups"):
        one_way_anova([[1.0]])
