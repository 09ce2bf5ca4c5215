"""Every odd input ends in a status, never in an exception or a silent number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions, curve_values, fit_arrays, fit_curves, score_curves
from models.dose_response.doubts import MISFIT_WORDS, only_the_dose_is_open
from models.errors import InputError, TableError
from models.tables import CURVES, check_table

DOSES = np.logspace(-3, 1, 10)
NOISE = np.random.default_rng(3).normal(0, 2, 10)


def effect(top: float = 100.0, ec50: float = 0.1) -> np.ndarray:
    return top / (1 + ec50 / DOSES) + NOISE


def fit_one(dose: np.ndarray, response: np.ndarray, *, scale: str = "percent_inhibition", **options: object) -> pd.Series:
    table = pd.DataFrame({"treatment": "a", "dose": dose, "response": response, "dose_unit": "nM"})
    curves = fit_curves(table, by="treatment", response="response", scale=scale, options=FitOptions(**options))
    check_table(curves, CURVES)
    assert len(curves) == 1
    if scale != "raw":
        score_curves(curves)
    curve_values(curves, DOSES)
    return curves.iloc[0]


def changed(at: int, value: float) -> np.ndarray:
    response = effect()
    response[at] = value
    return response


def test_exactly_flat() -> None:
    for level, relation, ic50 in ((0.0, ">", 10.0), (95.0, "<", 0.001)):
        row = fit_one(DOSES, np.full(10, level))
        assert (row["status"], row["ic50_relation"], row["ic50"], row["direction"]) == ("flat", relation, ic50, "")
        assert row["p_flat"] == 1.0
        assert (row["bottom"], row["top"], row["rss"]) == (level, level, 0.0)
        scored = score_curves(pd.DataFrame([row])).iloc[0]
        assert scored["auc"] == pytest.approx(1 - level / 100)
        assert scored["dss_asym"] == pytest.approx(max(0.0, 50 * (level - 10) / 90))


def test_no_effect_to_the_last_digit_is_a_curve_of_none_in_the_imitating_mode_too() -> None:
    """Its optimizer finds no direction that leads down."""
    dose = np.repeat(np.logspace(0, 1, 5), 2)
    row = fit_curves(pd.DataFrame({"treatment": "a", "dose": dose, "y": 0.0}), by="treatment", response="y",
                     options=FitOptions(mode="itrex")).iloc[0]
    assert (row["bottom"], row["top"]) == (0.0, 0.0)
    assert row["ic50_relation"] != "="


@pytest.mark.parametrize("level", [1.5, 20_000.0])     # an optical density, and a luminescence
def test_a_flat_read_out_lies_on_no_side_of_the_doses(level: float) -> None:
    row = fit_one(DOSES, level * (1 + NOISE / 100), scale="raw")
    assert (row["status"], row["ec50_relation"]) == ("flat", "")
    assert np.isnan(row["ec50"])


def test_percentages_that_are_fractions_make_no_curve_that_is_ok() -> None:
    row = fit_one(DOSES, effect() / 100)
    assert row["status"] == "weakly_identified"
    assert "if they are fractions, say so with the scale" in row["reason"]
    assert fit_one(DOSES, 1 - effect() / 100, scale="fraction_viability")["status"] == "ok"


def test_doses_that_are_no_numbers_are_told() -> None:
    table = pd.DataFrame({"treatment": "a", "dose": [str(dose).replace(".", ",") for dose in DOSES], "response": effect()})
    reason = fit_curves(table, by="treatment", response="response").iloc[0]["reason"]
    assert "without a usable response or dose" in reason


def test_all_missing() -> None:
    row = fit_one(DOSES, np.full(10, np.nan))
    assert row["status"] == "too_few_doses"
    assert (row["n"], row["n_doses"], row["ic50_relation"]) == (0, 0, "")
    assert "10 of 10 wells left out" in row["reason"]
    assert np.isnan(row[["ec50", "ic50", "top", "rss", "dose_max"]].astype(float)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_missing_or_infinite_is_left_out_and_said(value: float) -> None:
    row = fit_one(DOSES, changed(4, value))
    keep = np.arange(10) != 4
    other = fit_one(DOSES[keep], effect()[keep])
    assert row["ec50"] == pytest.approx(other["ec50"], rel=1e-9)
    assert (row["n"], row["status"]) == (9, "ok")
    assert "1 of 10 wells left out" in row["reason"]


def test_zero_dose_is_a_control() -> None:
    row = fit_one(np.append(0.0, DOSES), np.append(0.0, effect()))
    assert (row["n"], row["n_doses"], row["dose_min"]) == (11, 10, DOSES[0])
    assert row["ec50"] == pytest.approx(0.1, rel=0.2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_doses(count: int) -> None:
    row = fit_one(np.repeat(DOSES[:count], 4), np.arange(4.0 * count))
    assert (row["status"], row["n"], row["n_doses"]) == ("too_few_doses", 4 * count, count)
    assert np.isnan(row["ic50"])


def test_duplicate_rows_weigh_twice_and_unsorted_rows_do_not_matter() -> None:
    double = fit_one(np.tile(DOSES, 2), np.tile(effect(), 2))
    single = fit_one(DOSES, effect())
    assert double["ec50"] == pytest.approx(single["ec50"], rel=1e-6)
    assert double["rss"] == pytest.approx(2 * single["rss"])
    order = np.random.default_rng(0).permutation(10)
    pd.testing.assert_series_equal(fit_one(DOSES[order], effect()[order]), single)


def test_negative_responses_and_viability_above_one() -> None:
    row = fit_one(DOSES, effect() - 15)
    assert row["bottom"] < -10
    row = fit_one(DOSES, 1.2 - effect() / 100, scale="fraction_viability")
    assert row["top"] > 1.1
    assert row["direction"] == "falling"


def test_rising_viability_has_no_ic50() -> None:
    row = fit_one(DOSES, 0.9 + 0.4 * effect() / 100, scale="fraction_viability")
    assert (row["direction"], row["ic50_relation"], row["ic50"]) == ("rising", ">", 10.0)
    assert score_curves(pd.DataFrame([row])).iloc[0]["dss_asym"] == 0.0


def test_weak_effect_is_censored() -> None:
    row = fit_one(DOSES, effect(top=20.0) - 0.8 * NOISE)
    assert (row["status"], row["ic50_relation"], row["ic50"]) == ("ok", ">", 10.0)
    assert "below the IC level" in row["reason"]
    assert row["ec50"] == pytest.approx(0.1, rel=1.0)


@pytest.mark.parametrize("scale", ["percent_inhibition", "fraction_viability"])
def test_a_curve_that_never_reaches_the_level_still_says_where_its_dose_cannot_lie(scale: str) -> None:
    for response, relation in ((effect(top=45.0), ">"), (60 + 0.4 * effect(), "<")):
        row = fit_one(DOSES, response if scale == "percent_inhibition" else 1 - response / 100, scale=scale)
        assert row["ic50_relation"] == relation
        if relation == ">":
            assert 1 < row["ic50_low"] < row["ic50"]
            assert np.isnan(row["ic50_high"])
        else:
            assert row["ic50_low"] < row["ic50"] < row["ic50_high"] < 0.1
    barely = effect(top=48.0)
    row = fit_one(DOSES, barely if scale == "percent_inhibition" else 1 - barely / 100, scale=scale)
    assert (row["ic50_relation"], row["status"], row["reason"]) == ("=", "weakly_identified", "the interval of IC50 is open")


def test_an_open_interval_is_told_by_the_name_of_its_level() -> None:
    row = fit_one(DOSES, effect(top=24.0), ic_level=25)
    assert (row["ic50_relation"], row["status"]) == ("=", "weakly_identified")
    assert row["reason"] == "the interval of EC50 is open; the interval of IC25 is open"
    assert only_the_dose_is_open(row["reason"])     # as at 50 %: its score may still be a sure hit's
    assert not only_the_dose_is_open("the interval of IC25 is open; " + MISFIT_WORDS)


def test_strong_effect_from_the_lowest_dose_is_censored_below() -> None:
    row = fit_one(DOSES, effect(ec50=1e-5))
    assert (row["ic50_relation"], row["ic50"], row["ec50_relation"]) == ("<", DOSES[0], "<")


def test_one_outlier_is_flagged_by_robust_losses() -> None:
    for loss in ("tukey", "cauchy"):
        row = fit_one(DOSES, changed(2, 90.0), loss=loss)
        assert row["n_outliers"] == 1
        assert row["ec50"] == pytest.approx(0.1, rel=0.3)


def test_wide_dose_range_and_picomolar_doses() -> None:
    wide = np.logspace(-6, 6, 13)
    row = fit_one(wide, 100 / (1 + 1 / wide))
    assert row["ec50"] == pytest.approx(1.0, rel=1e-6)
    row = fit_one(DOSES * 1e-12, effect())
    assert row["ec50"] == pytest.approx(1e-12 * fit_one(DOSES, effect())["ec50"], rel=1e-6)


def test_many_replicates() -> None:
    dose = np.repeat(DOSES[[0, 3, 5, 7, 9]], 20_000)
    row = fit_one(dose, 100 / (1 + 0.1 / dose) + np.random.default_rng(0).normal(0, 10, len(dose)))
    assert row["n"] == 100_000
    assert row["ec50"] == pytest.approx(0.1, rel=0.02)
    assert row["p_lack_of_fit"] > 0.001


def test_huge_responses_end_in_a_status() -> None:
    row = fit_one(DOSES, effect() * 1e300)
    assert row["status"] == "too_few_doses"
    assert np.isnan(row["ic50"])
    assert "10 of 10 wells left out" in row["reason"]


def test_plateaus_that_rounding_makes_equal_warn_nobody() -> None:
    """Responses that differ in their ninth digit, about the level: where the curve is forced through a dose, its plateaus meet."""
    rng = np.random.default_rng(0)
    dose, curves = np.repeat(10.0 ** np.arange(6), 2), np.repeat(np.arange(400), 12)
    amplitude = 10.0 ** rng.uniform(-11, -5, (400, 1))
    response = 50.0 + amplitude * (1.0 / (1.0 + 10.0 ** rng.uniform(-1, 6, (400, 1)) / dose) - 0.5 + 0.1 * rng.normal(size=(400, 12)))
    table = pd.DataFrame({"curve": curves, "dose": np.tile(dose, 400), "response": response.ravel()})
    for interval in ("profile", "asymmetric"):
        found = fit_curves(table, by="curve", response="response", options=FitOptions(bounds="free", interval=interval))
        held = found[found["ic50_relation"] == "="]
        assert ((held["ic50_low"].isna() | (held["ic50_low"] <= held["ic50"])) & ~(held["ic50_high"] < held["ic50"])).all()


@pytest.mark.parametrize("options", [{"interval": "wald"}, {"model": "brain_cousens"}, {"model": "brain_cousens", "bounds": "free"},
                                     {"loss": "cauchy"}, {"loss": "tukey"}, {"mode": "fimm"}, {"mode": "itrex"}, {"model": "5pl"}])
def test_doses_and_responses_of_any_size_end_in_a_status(options: dict[str, Any]) -> None:
    """Doses over hundreds of decades, responses of 1e80 or all 1e30, an outlier of 1e90: no warning, no endless search (mode itrex), and
    what is beyond all numbers is open.
    """
    rng = np.random.default_rng(3)
    doses = (10.0 ** np.linspace(-300, 300, 7), 10.0 ** np.linspace(-30, 30, 7), 10.0 ** np.arange(7),
             np.array([1e-307, 1, 2, 3, 4, 5, 1e307]))
    effect = 100.0 / (1.0 + np.exp(3.0 - np.arange(7)))
    responses = (effect, effect * 1e78, np.full(7, 1e30), np.where(np.arange(7) == 2, 1e90, effect), effect.round(-2),
                 rng.normal(50, 1e-9, 7))
    pairs = [(dose, response) for dose in doses for response in responses]
    table = pd.DataFrame({"curve": np.repeat(np.arange(len(pairs)), 14), "dose": np.concatenate([np.tile(dose, 2) for dose, _ in pairs]),
                          "response": np.concatenate([np.tile(response, 2) for _, response in pairs])})
    found = fit_curves(table, by="curve", response="response", options=FitOptions(**options))
    assert set(found["status"]) <= {"ok", "flat", "weakly_identified", "failed"}
    limits = found[["ec50_low", "ec50_high", "ic50_low", "ic50_high", "ec50", "ic50"]].to_numpy()
    assert np.isnan(limits[~((limits > 0) & (limits < np.inf))]).all()
    assert found.loc[found["status"] == "ok", "ec50"].notna().all()


def test_empty_table() -> None:
    table = pd.DataFrame({"treatment": pd.Series(dtype=str), "dose": pd.Series(dtype=float), "response": pd.Series(dtype=float)})
    curves = fit_curves(table, by="treatment", response="response")
    assert len(curves) == 0
    check_table(curves, CURVES)
    assert list(score_curves(curves).columns[-5:]) == ["auc", "dss1", "dss2", "dss3", "dss_asym"]


def test_missing_columns_raise_and_are_named() -> None:
    with pytest.raises(TableError, match="dose, response"):
        fit_curves(pd.DataFrame({"treatment": ["a"]}), by="treatment", response="response")


def test_groups_keep_their_order_and_none_is_lost() -> None:
    table = pd.concat([pd.DataFrame({"plate": "2", "treatment": name, "dose": DOSES[:count], "response": effect()[:count]})
                       for name, count in (("z", 10), ("a", 2), (None, 10), ("m", 5))])
    curves = fit_curves(table, by=["plate", "treatment"], response="response")
    assert curves["treatment"].fillna("-").tolist() == ["z", "a", "-", "m"]
    assert curves["status"].tolist()[1] == "too_few_doses"


def test_mixed_dose_units_fail_the_group_only() -> None:
    table = pd.DataFrame({"treatment": ["a"] * 10 + ["b"] * 10, "dose": np.tile(DOSES, 2), "response": np.tile(effect(), 2),
                          "dose_unit": ["nM"] * 9 + ["uM"] + ["ug/mL"] * 10})
    curves = fit_curves(table, by="treatment", response="response")
    assert curves["status"].tolist() == ["failed", "ok"]
    assert curves["dose_unit"].tolist()[1] == "ug/mL"
    assert np.isnan(curves["ic50"][0])


def test_excluded_wells_are_left_out() -> None:
    table = pd.DataFrame({"treatment": "a", "dose": DOSES, "response": changed(3, 500.0), "excluded": np.arange(10) == 3})
    row = fit_curves(table, by="treatment", response="response").iloc[0]
    assert row["n"] == 9
    assert row["ec50"] == pytest.approx(0.1, rel=0.3)


def test_options_out_of_range_name_their_field() -> None:
    for field, value in (("model", "6pl"), ("loss", "mean"), ("level", 1.0), ("ic_level", 100.0), ("bounds", ((1, 0), (0, 1))),
                         ("bounds", 7)):
        with pytest.raises(InputError, match=field):
            FitOptions(**{field: value})
    with pytest.raises(InputError, match="scale"):
        fit_curves(pd.DataFrame(), by="a", response="b", scale="percent")


def test_arrays_equal_the_table() -> None:
    responses = np.stack([effect(), changed(4, np.nan), effect(top=60.0)])
    fitted = fit_arrays(DOSES, responses)
    table = pd.DataFrame({"c": np.repeat(np.arange(3), 10), "dose": np.tile(DOSES, 3), "y": responses.ravel()})
    curves = fit_curves(table, by="c", response="y", options=FitOptions(interval="none"))
    np.testing.assert_allclose(fitted.ec50, curves["ec50"], rtol=1e-9)
    np.testing.assert_allclose(fitted.top, curves["top"], rtol=1e-9)
    with pytest.raises(InputError, match="shape"):
        fit_arrays(DOSES[:3], responses)


@pytest.mark.parametrize("model", ["2pl", "3pl", "4pl", "5pl", "brain_cousens", "weibull1", "weibull2", "gompertz", "auto"])
@pytest.mark.parametrize("scale", ["percent_inhibition", "fraction_viability"])
def test_every_model_fits_a_sigmoid(model: str, scale: str) -> None:
    response = effect() if scale == "percent_inhibition" else 1 - effect() / 100
    row = fit_one(DOSES, response, scale=scale, model=model)
    assert row["ic50"] == pytest.approx(0.1, rel=0.4)
    assert row["ic50_relation"] == "="
    fitted = curve_values(pd.DataFrame([row]), [row["ic50"]])[0, 0]
    assert fitted == pytest.approx(50.0 if scale == "percent_inhibition" else 0.5, rel=1e-6)


@pytest.mark.parametrize("scale", ["percent_inhibition", "fraction_viability"])
def test_a_series_the_wrong_way_round_gets_no_dose_and_says_so(scale: str) -> None:
    doses = np.tile(10.0 ** np.arange(9), 3)
    effect = 100 / (1 + (doses / 1e4) ** 1.2) + np.random.default_rng(1).normal(0, 3, doses.size)      # falls from 100 to 0
    tables = {"back": effect, "forth": 100 - effect, "half": 50 + effect / 20, "ends": np.where(doses == 1e8, 20.0, 95.0)}
    table = pd.concat([pd.DataFrame({"treatment": name, "dose": doses, "y": y if scale == "percent_inhibition" else 1 - y / 100})
                       for name, y in tables.items()])
    curves = fit_curves(table, by=["treatment"], response="y", scale=scale).set_index("treatment")
    back = curves.loc["back"]
    assert (back["ic50_relation"], back["status"]) == ("", "weakly_identified")
    assert np.isnan([back["ic50"], back["ic50_low"], back["ic50_high"]]).all()
    assert "the effect falls with dose" in back["reason"]
    assert "stays below the IC level" not in back["reason"]
    assert curves.loc["forth", "ic50_relation"] == "="
    assert not curves.loc[["forth", "half", "ends"], "reason"].str.contains("falls with dose").any()    # one bad top dose is no turn


@pytest.mark.parametrize("scale", ["percent_inhibition", "fraction_viability"])
def test_a_flat_curve_about_the_level_lies_on_neither_side_of_it(scale: str) -> None:
    for level, relation in ((30.0, ">"), (49.5, ""), (50.5, ""), (70.0, "<")):
        response = level + NOISE - NOISE.mean()
        row = fit_one(DOSES, response if scale == "percent_inhibition" else 1 - response / 100, scale=scale)
        assert (row["status"], row["ic50_relation"], bool(np.isnan(row["ic50"]))) == ("flat", relation, not relation)
        assert ("the mean effect is at the IC level" in row["reason"]) is (not relation)


def test_a_censored_dose_is_the_tested_dose_to_the_last_digit() -> None:
    """3160.0000000000005 was above a top dose of 3160, so that nobody could compare the two."""
    wells = pd.DataFrame({"treatment": ["none", "kills"] * 16, "dose": np.repeat([0.3, 1, 3.16, 10, 31.6, 100, 316, 3160], 4),
                          "effect": np.tile([0.0, 100.0], 16) + np.tile([1.0, -1.0, -1.0, 1.0, 2.0, -2.0, -2.0, 2.0], 4)})
    found = fit_curves(wells, by="treatment", response="effect").set_index("treatment")
    assert found["ic50_relation"].tolist() == [">", "<"]
    assert found["ic50"].tolist() == found["ec50"].tolist() == [3160, 0.3]
