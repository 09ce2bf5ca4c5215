"""Metrics against formulas worked out another way, and gates at their bounds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.networks.evaluate import (
    auroc,
    class_metrics,
    confusion,
    control_metrics,
    judge_gates,
    level_gap,
    model_metrics,
    regression_metrics,
)
from models.networks.recipe import Gate
from models.separation import separation


def pairs(seed: int = 0, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    measured = rng.uniform(0, 2, count)
    return measured, 0.8 * measured + 0.1 + rng.normal(0, 0.1, count)


def test_regression_metrics_against_matrices_and_scipy() -> None:
    measured, predicted = pairs()
    found = regression_metrics(measured, predicted)
    design = np.stack([np.ones_like(measured), measured], axis=1)
    intercept, slope = np.linalg.lstsq(design, predicted, rcond=None)[0]
    assert found["slope"] == pytest.approx(slope)
    assert found["intercept"] == pytest.approx(intercept)
    assert found["r2"] == pytest.approx(stats.pearsonr(measured, predicted).statistic ** 2)
    assert found["r2_score"] == pytest.approx(1 - ((predicted - measured) ** 2).sum() / (len(measured) * measured.var()))
    assert found["rmse"] ** 2 == pytest.approx(found["mean_difference"] ** 2 + found["sd_difference"] ** 2 * 39 / 40)
    assert found["mean_difference"] == pytest.approx(predicted.mean() - measured.mean())


def test_regression_laws() -> None:
    measured, predicted = pairs()
    perfect = regression_metrics(measured, measured)
    ideal = {"r2": 1, "r2_score": 1, "slope": 1, "intercept": 0, "mean_difference": 0, "rmse": 0}
    assert {name: perfect[name] for name in ideal} == pytest.approx(ideal)
    shifted, plain = regression_metrics(measured, predicted + 0.5), regression_metrics(measured, predicted)
    assert shifted["r2"] == pytest.approx(plain["r2"])  # blind to bias, unlike
    assert shifted["r2_score"] < plain["r2_score"] - 0.3
    assert shifted["mean_difference"] == pytest.approx(plain["mean_difference"] + 0.5)
    holed = regression_metrics(np.append(measured, [1.0, np.nan]), np.append(predicted, [np.nan, 1.0]))
    assert holed == pytest.approx(plain)
    for given_ in ((measured[:2], predicted[:2]), (np.ones(5), np.arange(5.0)), (np.arange(5.0), np.ones(5)), (np.array([]), np.array([]))):
        assert all(math.isnan(value) for value in regression_metrics(*given_).values())


@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=40))
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[bool, int]]) -> None:
    living, score = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], float)
    found = auroc(living, score)
    if living.all() or not living.any():
        assert math.isnan(found)
        return
    gaps = score[living][:, None] - score[~living][None]
    assert found == pytest.approx(((gaps > 0) + 0.5 * (gaps == 0)).mean())
    assert auroc(~living, -score) == pytest.approx(found)
    assert auroc(living, -score) == pytest.approx(1 - found)


def test_auroc_against_the_rank_sum_test() -> None:
    measured, _ = pairs(3)
    living = np.arange(40) % 3 == 0
    statistic = stats.mannwhitneyu(measured[living], measured[~living]).statistic
    assert auroc(living, measured) == pytest.approx(statistic / (living.sum() * (~living).sum()))


def test_z_prime_and_ssmd_by_hand() -> None:
    """Means 10 and 2, SDs 1 and 1: Z' = 1 - 6/8, SSMD = 8/sqrt 2."""
    z_prime, ssmd = separation(np.array([9.0, 10, 11]), np.array([1.0, 2, 3]))
    assert (z_prime, ssmd) == pytest.approx((0.25, 8 / math.sqrt(2)))
    turned = separation(np.array([1.0, 2, 3]), np.array([9.0, 10, 11]))
    assert turned == pytest.approx((0.25, -8 / math.sqrt(2)))
    scaled = separation(np.array([9.0, 10, 11]) * 7 + 3, np.array([1.0, 2, 3]) * 7 + 3)
    assert scaled == pytest.approx((z_prime, ssmd))
    assert separation(np.array([1.0, 1]), np.array([0.0, 0]))[0] == 1
    for negative, positive in (([1.0], [0.0, 0.1]), ([2.0, 2], [2.0, 2]), ([], [1.0, 2])):
        assert all(math.isnan(value) for value in separation(np.array(negative), np.array(positive)))
    assert separation(np.array([1.0, 2]), np.array([1.0, 2])) == pytest.approx((math.nan, 0), nan_ok=True)


def test_control_metrics() -> None:
    living = np.array([1.0, 1, 1, 0, 0, 0])
    logit = np.array([2.0, 0.2, -0.5, -2.0, -1.0, -3.0])     # 0.2 is a probability of 0.55
    probability = 1 / (1 + np.exp(-logit))
    found = control_metrics(living, probability, logit)
    assert found["accuracy"] == pytest.approx(5 / 6)
    assert found["auroc"] == 1
    assert found["loss"] == pytest.approx(-np.mean(np.log(np.where(living == 1, probability, 1 - probability))))
    assert (found["z_prime"], found["ssmd"]) == separation(probability[:3], probability[3:])
    assert (found["z_prime_logit"], found["ssmd_logit"]) == separation(logit[:3], logit[3:])
    holed = control_metrics(np.append(living, 1.0), np.append(probability, np.nan), np.append(logit, np.nan))
    assert holed == found
    assert all(math.isnan(value) for value in control_metrics(np.array([]), np.array([]), np.array([])).values())


def table(parts: list[str], *, cv: bool) -> pd.DataFrame:
    measured, predicted = pairs(1, len(parts))
    cross = predicted + 0.3 if cv else np.full(len(parts), np.nan)
    return pd.DataFrame({"part": parts, "target": measured, "prediction": predicted, "prediction_cv": cross,
                         "logit": np.nan, "logit_cv": np.nan})


def test_each_view_has_its_own_rows() -> None:
    rows = table(["train"] * 20 + ["validation"] * 5 + ["test"] * 15, cv=True)
    found = model_metrics(rows, regression=True)
    assert found["n_train"] == 20
    for view, chosen, column in (("in_sample", slice(0, 25), "prediction"), ("test", slice(25, 40), "prediction"),
                                 ("cv", slice(0, 40), "prediction_cv")):
        expected = regression_metrics(rows["target"][chosen].to_numpy(), rows[column][chosen].to_numpy())
        assert {name: found[f"{name}_{view}"] for name in expected} == expected


def test_views_without_rows_are_left_out() -> None:
    found = model_metrics(table(["train"] * 10, cv=False), regression=True)
    assert {name.removeprefix(name.rsplit("_", 1)[0]) for name in found if name.startswith("rmse")} == {"_sample"}


@pytest.mark.parametrize(("value", "gate", "passed"), [
    (0.9, Gate(metric="m", minimum=0.9), True), (0.8999, Gate(metric="m", minimum=0.9), False),
    (0.2, Gate(metric="m", maximum=0.2), True), (0.21, Gate(metric="m", maximum=0.2), False),
    (0.5, Gate(metric="m", minimum=0.4, maximum=0.6), True), (0.7, Gate(metric="m", minimum=0.4, maximum=0.6), False),
    (math.nan, Gate(metric="m", minimum=-1e9), False), (math.inf, Gate(metric="m", minimum=0), False)])
def test_gates_at_their_bounds(value: float, gate: Gate, passed: bool) -> None:
    (result,) = judge_gates({"m": value}, [gate])
    assert result.passed is passed
    assert (result.value is None) == (not math.isfinite(value))


def test_gates_say_why_in_words() -> None:
    results = judge_gates({"r2_cv": 0.91234}, [Gate(metric="r2_cv", minimum=0.95, maximum=1), Gate(metric="r2_tset", minimum=0.5)])
    assert [result.reason for result in results] == ["r2_cv is 0.9123, asked at least 0.95 and at most 1",
                                                     "r2_tset cannot be computed for this model; asked at least 0.5"]
    assert judge_gates({}, []) == ()


def test_the_confusion_matrix_counts_rows_with_a_prediction() -> None:
    first = np.array([1, 1, 1, 0, 0, 0, 1])
    probability = np.array([0.9, 0.4, 0.8, 0.2, 0.7, 0.5, np.nan])
    assert confusion(first, probability).tolist() == [[2, 1], [1, 2]]


def answers(tp: int, fn: int, fp: int, tn: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([1.0, 1.0, 0.0, 0.0], [tp, fn, fp, tn]), np.repeat([0.9, 0.2, 0.8, 0.1], [tp, fn, fp, tn])


@pytest.mark.parametrize(("counts", "published"), [     # accuracy, sensitivity, specificity, precision, F, MCC
    ((23, 3, 2, 12), (0.875, 0.884, 0.857, 0.920, 0.902, 0.73)), ((27, 2, 1, 11), (0.926, 0.931, 0.916, 0.964, 0.947, 0.829)),
    ((27, 0, 1, 13), (0.975, 1.00, 0.929, 0.964, 0.982, 0.946))])
def test_metrics_of_classes_are_those_of_table_1_of_hassan(counts: tuple[int, int, int, int], published: tuple[float, ...]) -> None:
    """Each row of the paper's table (ResNet18, InceptionV3, ResNet101) is that of a confusion matrix of 40 or 41 images, with the
    standard MCC: only its Eq. 13 is misprinted. It cuts digits off where we round."""
    first, probability = answers(*counts)
    found = class_metrics(first, probability, np.log(probability / (1 - probability)))
    shown = [found[name] for name in ("accuracy", "sensitivity", "specificity", "precision", "f_score", "mcc")]
    assert shown == pytest.approx(published, abs=0.0015)


@given(st.tuples(*[st.integers(1, 30)] * 4))
def test_metrics_of_classes_are_those_of_scikit_learn(counts: tuple[int, int, int, int]) -> None:
    from sklearn import metrics
    first, probability = answers(*counts)
    found, called = class_metrics(first, probability, np.log(probability / (1 - probability))), probability > 0.5
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(first, called))
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(first, called))
    assert found["f_score"] == pytest.approx(metrics.f1_score(first, called))
    assert found["specificity"] == pytest.approx(metrics.recall_score(1 - first, ~called))
    assert found["loss"] == pytest.approx(metrics.log_loss(first, probability))


def test_the_widest_gap_between_levels_that_were_learned_from() -> None:
    levels = {0.1: 1.6, 1.0: 1.5, 10.0: 0.6, 100.0: 0.2}
    rows = [{"role": "treated", "treatment": "drug", "dose": dose, "part": part, "target": value + 0.05 * side}
            for dose, value in levels.items() for side in (-1, 1) for part in ("train", "train")]
    held_out = [{"role": "treated", "treatment": "drug", "dose": 5.0, "part": "test", "target": 1.0}]
    rows += [{"role": "negative", "treatment": "", "dose": np.nan, "part": "train", "target": 1.62}]
    found = level_gap(pd.DataFrame(rows + held_out))
    assert found == pytest.approx({"level_gap": 0.9 / 1.42, "level_gap_low": 0.6, "level_gap_high": 1.5})
    assert level_gap(pd.DataFrame(rows[-1:])) == {}
    second = [{**rows[4], "treatment_2": "other", "dose_2": 5.0, "target": 0.9}]     # a level of its own, within the gap
    assert level_gap(pd.DataFrame(rows + second).fillna({"treatment_2": ""}))["level_gap_low"] == pytest.approx(0.9)
