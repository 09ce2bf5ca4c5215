"""Do a classifier's probabilities mean what they say? Reliability, expected calibration error, and one temperature that mends them.

All on predictions of wells or images that were not learnt from. The temperature T divides the logit (Guo et al. 2017, Proc. ICML 70:1321):
it changes no order and no decision at 0.5. It is fitted to Platt's targets, (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) (Platt 1999), so that
classes that separate completely do not make it 0, and kept only if it lowers the log loss of folds that it was not fitted on.

A model trained with label smoothing is unsure on purpose; viabilities of control classifiers are made from its own probabilities, never
from calibrated ones, which would push wells between the controls to either end. Pure numpy and pandas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]

BINS = 10
FEWEST = 10                     # predictions below which nothing is said
LOG_RANGE = np.log([0.02, 50.0])    # of the temperature
_GROUPS = 5                     # of rows without folds


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Kept in the card. temperature: divides logits; images: how many predictions it rests on; loss, loss_calibrated: their log loss
    before, and with temperatures that were fitted without the fold judged.
    """

    temperature: float
    images: int
    loss: float
    loss_calibrated: float

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be > 0, got {self.temperature}")

    def probability(self, logit: npt.ArrayLike) -> Array:
        """Calibrated probabilities of logits (N,)."""
        return _sigmoid(np.asarray(logit, dtype=float) / self.temperature)


def held_out_logits(predictions: pd.DataFrame) -> pd.DataFrame:
    """target (1 or 0), logit and fold of rows that were predicted without having been learnt from: cross-fitted, else the test part."""
    logit = predictions["logit_cv"].fillna(predictions["logit"].where(predictions["part"] == "test"))
    fold = predictions["fold"] if "fold" in predictions and predictions["logit_cv"].notna().any() else np.arange(len(predictions)) % _GROUPS
    table = pd.DataFrame({"target": (predictions["target"] > 0.5).astype(float), "logit": logit, "fold": fold})
    return table[logit.notna()].reset_index(drop=True)


def measure_calibration(predictions: pd.DataFrame) -> Calibration | None:
    """The temperature of a predictions table (models.networks.fitting); None where it makes no held-out fold's loss lower on the whole,
    or where the rows are too few or of one class.
    """
    table = held_out_logits(predictions)
    if len(table) < FEWEST or table["target"].nunique() < 2:
        return None
    before, after = log_loss(table["target"], table["logit"]), log_loss(table["target"], cross_calibrated(table))
    if not after < before:
        return None
    return Calibration(temperature=round(fit_temperature(table["target"], table["logit"]), 4), images=len(table), loss=round(before, 6),
                       loss_calibrated=round(after, 6))


def cross_calibrated(table: pd.DataFrame) -> Array:
    """Logits (N,) divided by temperatures that were fitted to the other folds; as they are where those hold one class only."""
    logits = table["logit"].to_numpy(dtype=float, copy=True)
    for fold in table["fold"].unique():
        own, rest = table["fold"] == fold, table[table["fold"] != fold]
        if rest["target"].nunique() == 2:
            logits[own] /= fit_temperature(rest["target"], rest["logit"])
    return logits


def fit_temperature(target: npt.ArrayLike, logit: npt.ArrayLike) -> float:
    """The temperature of least cross-entropy with Platt's targets, by golden section on its logarithm."""
    positive, logits = np.asarray(target) > 0.5, np.asarray(logit, dtype=float)
    counts = positive.sum(), (~positive).sum()
    wanted = np.where(positive, (counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2))

    def loss(log_temperature: float) -> float:
        return log_loss(wanted, logits / np.exp(log_temperature))

    low, high = LOG_RANGE
    share = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:        # the loss has one minimum: it is convex in 1/T
        left, right = high - share * (high - low), low + share * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return float(np.exp((low + high) / 2))


def log_loss(target: npt.ArrayLike, logit: npt.ArrayLike) -> float:
    """Mean cross-entropy of logits with targets in 0-1."""
    t, z = np.asarray(target, dtype=float), np.asarray(logit, dtype=float)
    return float(np.mean(np.logaddexp(0, z) - t * z))


def reliability(target: npt.ArrayLike, probability: npt.ArrayLike) -> pd.DataFrame:
    """A row per tenth of 0-1 that holds predictions: low, high, n, predicted (mean probability), observed (share of class 1)."""
    t, p = np.asarray(target, dtype=float), np.asarray(probability, dtype=float)
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    rows = [{"low": b / BINS, "high": (b + 1) / BINS, "n": int((place == b).sum()), "predicted": p[place == b].mean(),
             "observed": t[place == b].mean()} for b in np.unique(place)]
    return pd.DataFrame(rows, columns=["low", "high", "n", "predicted", "observed"])


def calibration_error(target: npt.ArrayLike, probability: npt.ArrayLike) -> float:
    """Expected calibration error: mean |observed - predicted| over the bins of `reliability`, weighted by their predictions."""
    bins = reliability(target, probability)
    return float(np.average((bins["observed"] - bins["predicted"]).abs(), weights=bins["n"]))


def calibration_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """calibration_error_cv and, where a temperature helps, temperature, calibration_error_calibrated_cv and loss_calibrated_cv.

    The suffix is _test where there are no cross-fitted predictions. Nothing where there are too few held-out predictions.
    """
    table = held_out_logits(predictions)
    if len(table) < FEWEST:
        return {}
    view = "cv" if predictions["logit_cv"].notna().any() else "test"
    metrics = {f"calibration_error_{view}": calibration_error(table["target"], _sigmoid(table["logit"]))}
    found = measure_calibration(predictions)
    if found is not None:
        metrics |= {"temperature": found.temperature, f"loss_calibrated_{view}": found.loss_calibrated,
                    f"calibration_error_calibrated_{view}": calibration_error(table["target"], _sigmoid(cross_calibrated(table)))}
    return metrics


def _sigmoid(logit: npt.ArrayLike) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(logit, dtype=float))))
