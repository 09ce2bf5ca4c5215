"""How good a model is: metrics from its predictions, in sample, held out and cross-fitted, and the gates over them.

Pure numpy and pandas: predictions in, numbers out. Names end in `_in_sample` (wells it was trained on, as papers publish),
`_validation` (the part of these that picked the epoch), `_test` (held out) or `_cv` (cross-fitted).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from models.networks.bundle import GateResult
from models.networks.phases import duplicate_sets
from models.networks.recipe import Gate
from models.separation import separation


def regression_metrics(measured: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """r2 (squared Pearson, as seeds of S1), r2_score (1 - SSE/SST), slope and intercept of predicted on measured, mean
    difference and its SD, rmse; NaN below three finite pairs, and where one of the two is constant.
    """
    kept = np.isfinite(measured) & np.isfinite(predicted)
    measured, predicted = measured[kept].astype(float), predicted[kept].astype(float)
    names = ("r2", "r2_score", "slope", "intercept", "mean_difference", "sd_difference", "rmse")
    if len(measured) < 3 or np.ptp(measured) == 0 or np.ptp(predicted) == 0:
        return dict.fromkeys(names, math.nan)
    (slope, intercept), difference = np.polyfit(measured, predicted, 1), predicted - measured
    pearson = np.corrcoef(measured, predicted)[0, 1]
    unexplained = np.sum(difference**2) / np.sum((measured - measured.mean()) ** 2)
    values = (pearson**2, 1 - unexplained, slope, intercept, difference.mean(), difference.std(ddof=1),
              np.sqrt(np.mean(difference**2)))
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def control_metrics(living: np.ndarray, probability: np.ndarray, logit: np.ndarray) -> dict[str, float]:
    """accuracy, auroc, loss, and z_prime and ssmd (means and SDs) on probability and, ending in _logit, on logit scale.

    living: 1 for negative (living) controls, 0 for positive ones. ssmd is above 0 where living wells read more (in tables of plates below).
    NaN where a class has fewer than two wells.
    """
    kept = np.isfinite(probability)
    living, probability, logit = living[kept] > 0.5, probability[kept], logit[kept]
    metrics = {"accuracy": float(np.mean((probability > 0.5) == living)) if len(living) else math.nan,
               "auroc": auroc(living, logit), "loss": _cross_entropy(living, logit)}
    for scale, values in (("", probability), ("_logit", logit)):
        metrics[f"z_prime{scale}"], metrics[f"ssmd{scale}"] = separation(values[living], values[~living])
    return metrics


def class_metrics(first: np.ndarray, probability: np.ndarray, logit: np.ndarray) -> dict[str, float]:
    """Metrics of a two-class model of labelled images (system S3, section 2.2.8), its first class being the positive one: accuracy,
    sensitivity, specificity, precision, f_score, mcc (Matthews' correlation; the paper's Eq. 13 is misprinted), kappa (Cohen), auroc, loss.

    first: 1 for images of the first class. NaN where a denominator is 0.
    """
    (tp, fn), (fp, tn) = confusion(first, probability).tolist()
    kept = np.isfinite(probability)
    first, logit = first[kept] > 0.5, logit[kept]
    count = tp + tn + fp + fn
    agreement = _ratio((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp), count * count)   # expected by chance
    accuracy = _ratio(tp + tn, count)
    root = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {"accuracy": accuracy, "sensitivity": _ratio(tp, tp + fn), "specificity": _ratio(tn, tn + fp), "precision": _ratio(tp, tp + fp),
            "f_score": _ratio(2 * tp, 2 * tp + fp + fn), "mcc": _ratio(tp * tn - fp * fn, root),
            "kappa": _ratio(accuracy - agreement, 1 - agreement), "auroc": auroc(first, logit), "loss": _cross_entropy(first, logit)}


def confusion(first: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Counts (2, 2): row = true class, column = class called, the first class before the second; without rows that have no prediction."""
    kept = np.isfinite(probability)
    true, called = first[kept] > 0.5, probability[kept] > 0.5
    return np.array([[np.sum(a & b) for b in (called, ~called)] for a in (true, ~true)])


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def auroc(living: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, by ranks; ties count half. NaN unless both classes are there."""
    positives, negatives = int(living.sum()), int((~living).sum())
    if not positives or not negatives:
        return math.nan
    ranks = pd.Series(score).rank().to_numpy()
    return float((ranks[living].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _cross_entropy(living: np.ndarray, logit: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, np.where(living, -logit, logit)))) if len(living) else math.nan


def model_metrics(predictions: pd.DataFrame, *, regression: bool) -> dict[str, float]:
    """All metrics of a predictions table (columns part, target, prediction, prediction_cv, logit, logit_cv), flat: those of read-outs,
    of an image set's classes (where there is a column `label`), or of a plate's controls.
    """
    parts = {part: predictions[predictions["part"] == part] for part in ("validation", "test")}
    views = {"in_sample": (predictions[predictions["part"] != "test"], ""), **{part: (rows, "") for part, rows in parts.items()},
             "cv": (predictions, "_cv")}
    of_classes = class_metrics if "label" in predictions else control_metrics
    metrics: dict[str, float] = {"n_train": float((predictions["part"] == "train").sum())}
    for view, (rows, suffix) in views.items():
        measured, predicted = rows["target"].to_numpy(float), rows[f"prediction{suffix}"].to_numpy(float)
        if not np.isfinite(predicted).any():
            continue
        found = (regression_metrics(measured, predicted) if regression
                 else of_classes(measured, predicted, rows[f"logit{suffix}"].to_numpy(float)))
        metrics |= {f"{name}_{view}": value for name, value in found.items()}
    return metrics


LEVEL_GAP = ("level_gap", "level_gap_low", "level_gap_high")


def level_gap(predictions: pd.DataFrame) -> dict[str, float]:
    """The widest gap between neighbouring levels of read-outs that the model learned from: level_gap_low and level_gap_high, in their unit,
    and level_gap, its share of the way from the lowest level to the highest. A level is the mean of the wells that hold the same, or of
    controls of one kind. Nothing of fewer than two levels.

    predictions: role, treatment, dose and what else wells hold, part, target.
    What lies in the gap is interpolated (benchmarks/training_doses.py).
    """
    taught = predictions[(predictions["part"] == "train") & predictions["target"].notna()]
    levels = np.sort(taught.groupby([taught["role"], duplicate_sets(taught)])["target"].mean().to_numpy(float))
    if len(levels) < 2 or levels[0] == levels[-1]:
        return {}
    widest = int(np.argmax(np.diff(levels)))
    low, high = float(levels[widest]), float(levels[widest + 1])
    return dict(zip(LEVEL_GAP, ((high - low) / float(levels[-1] - levels[0]), low, high), strict=True))


def judge_gates(metrics: Mapping[str, float], gates: Iterable[Gate]) -> tuple[GateResult, ...]:
    """Each gate against its metric; a metric that is missing or not a number fails, with that as the reason."""
    return tuple(_judge(metrics.get(gate.metric, math.nan), gate) for gate in gates)


def _judge(value: float, gate: Gate) -> GateResult:
    bounds = " and ".join(f"{side} {bound:g}" for side, bound in (("at least", gate.minimum), ("at most", gate.maximum))
                          if bound is not None)
    if not math.isfinite(value):
        return GateResult(metric=gate.metric, value=None, minimum=gate.minimum, maximum=gate.maximum, passed=False,
                          reason=f"{gate.metric} cannot be computed for this model; asked {bounds}")
    passed = (gate.minimum is None or value >= gate.minimum) and (gate.maximum is None or value <= gate.maximum)
    return GateResult(metric=gate.metric, value=float(value), minimum=gate.minimum, maximum=gate.maximum, passed=passed,
                      reason=f"{gate.metric} is {value:.4g}, asked {bounds}")
