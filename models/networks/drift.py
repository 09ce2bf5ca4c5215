"""Do the plates that a model scores still look like those that it learned from? By their controls, which should look alike everywhere.

Kept in the card (`Reference`): the raw output of the training's controls, held out where it was cross-fitted, and the features of its
negative control wells. Compared per plate (`plate_drift`):

    negative_shift, positive_shift  median of the plate's controls minus that of the training's, over the training's gap between both
    z_prime, z_prime_training       1 - 3 (s_p + s_n) / |m_p - m_n| of the raw output, here and there
    feature_distance                root mean square Mahalanobis distance of the plate's negative controls from the training's, over that
                                    of the training's own wells, each left out once: 1 = as in training

Features are seen through DIMENSIONS random directions (Gaussian, the same for all models: Johnson-Lindenstrauss), so that a card stays
small; their covariance is shrunk to a sphere by K / (n + K). Pure numpy and pandas.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.errors import Finding
from models.networks.separation import separation

Array = npt.NDArray[np.float64]

DIMENSIONS = 16
LEAST_WELLS = 8     # negative controls that a reference is made of
SHIFT = 0.25        # of the gap between the controls, from which a plate is warned of
DISTANCE = 3.0      # times that of the training's own wells
COLUMNS = ("plate", "negative_shift", "positive_shift", "z_prime", "z_prime_training", "feature_distance")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Controls of the training screen. value: the raw output that is compared, od or logit; negative, positive: its median over their
    wells (positive None where the assay has none); gap between both, or to 0; wells: negative ones; feature_mean (K,) and
    feature_whitening (K, K), lower triangle by rows: |(f - mean) W'| / sqrt(K) is a well's distance.
    """

    value: str
    negative: float
    positive: float | None
    gap: float
    z_prime: float | None
    wells: int
    feature_mean: tuple[float, ...]
    feature_whitening: tuple[tuple[float, ...], ...]

    def distance(self, features: npt.ArrayLike) -> Array:
        """Distances (N,) of features (N, F) from the training's negative controls; about 1 for wells like those."""
        away = projected(features) - np.asarray(self.feature_mean)
        whitening = np.zeros((len(self.feature_mean),) * 2)
        for row, values in enumerate(self.feature_whitening):
            whitening[row, :row + 1] = values
        return np.asarray(np.sqrt(((away @ whitening.T) ** 2).mean(axis=1)))


@functools.cache
def _directions(features: int) -> Array:
    """(F, K); by a generator whose numbers numpy has promised never to change."""
    return np.random.RandomState(0).standard_normal((features, DIMENSIONS)) / np.sqrt(features)


def projected(features: npt.ArrayLike) -> Array:
    """(N, F) -> (N, K)"""
    values = np.asarray(features, dtype=float)
    return np.asarray(values @ _directions(values.shape[1]))


def make_reference(features: npt.ArrayLike, predictions: pd.DataFrame, *, regression: bool) -> Reference | None:
    """From the features (N, F) of the training's negative control wells, and its predictions (models.networks.fitting.Fitted); None where
    there are fewer than LEAST_WELLS, or their outputs say nothing.
    """
    values = {role: _outputs(predictions, role, regression=regression) for role in ("negative", "positive")}
    rows = projected(features)
    negative = values["negative"]
    if min(len(rows), len(negative)) < LEAST_WELLS or not np.ptp(rows, axis=0).all():
        return None
    level, other = float(np.median(negative)), float(np.median(values["positive"])) if len(values["positive"]) else None
    gap = abs(level - (other or 0.0))
    if not gap > 0:
        return None
    own = float(np.sqrt(np.mean([_squares(np.delete(rows, row, axis=0), rows[row:row + 1])[0] for row in range(len(rows))])))
    mean, whitening = _gaussian(rows)
    z_prime = separation(negative, values["positive"])[0]
    return Reference(
        value="od" if regression else "logit", negative=_short(level), positive=None if other is None else _short(other), gap=_short(gap),
        z_prime=_short(z_prime) if np.isfinite(z_prime) else None, wells=len(rows), feature_mean=tuple(map(_short, mean)),
        feature_whitening=tuple(tuple(map(_short, row[:count + 1] / own)) for count, row in enumerate(whitening)))


def _outputs(predictions: pd.DataFrame, role: str, *, regression: bool) -> Array:
    """Raw outputs of a role's wells (median of sites), held out where there are such."""
    name = "prediction" if regression else "logit"
    chosen = predictions[predictions["role"] == role] if "role" in predictions else predictions.iloc[:0]
    raw = chosen[f"{name}_cv"].fillna(chosen[name])
    return raw.groupby([chosen["plate"], chosen["well"]]).median().dropna().to_numpy(float)


def _gaussian(rows: Array) -> tuple[Array, Array]:
    """(mean, W) of rows (n, K), where W'W is the inverse of their shrunk covariance; W is a lower triangle."""
    share = rows.shape[1] / (len(rows) + rows.shape[1])
    covariance = np.cov(rows, rowvar=False)
    shrunk = (1 - share) * covariance + share * np.trace(covariance) / rows.shape[1] * np.eye(rows.shape[1])
    return rows.mean(axis=0), np.linalg.inv(np.linalg.cholesky(shrunk))


def _squares(rows: Array, of: Array) -> Array:
    """Mean squares over K of the whitened distances of `of` (m, K) from rows (n, K)."""
    mean, whitening = _gaussian(rows)
    return np.asarray((((of - mean) @ whitening.T) ** 2).mean(axis=1))


def _short(value: float) -> float:
    """Six digits: what a card need not hold does not make its hash."""
    return float(f"{value:.6g}")


def plate_drift(wells: pd.DataFrame, reference: Reference | None) -> pd.DataFrame:
    """COLUMNS, one row per plate with negative controls. wells: plate, role, the raw output, feature_distance and `excluded`, whose wells
    do not count. NaN where a control is missing; no rows where the card has no reference.
    """
    if reference is None:
        return pd.DataFrame(columns=list(COLUMNS))
    kept = wells[~wells["excluded"].astype(bool) & wells[reference.value].notna()]
    plates = [(str(plate), group) for plate, group in kept.groupby("plate", sort=True) if (group["role"] == "negative").any()]
    return pd.DataFrame([_of_plate(plate, group, reference) for plate, group in plates], columns=list(COLUMNS))


def _of_plate(plate: str, wells: pd.DataFrame, reference: Reference) -> tuple[object, ...]:
    raw = {role: wells.loc[wells["role"] == role, reference.value].to_numpy(float) for role in ("negative", "positive")}
    shifts = [(np.median(raw[role]) - level) / reference.gap if level is not None and len(raw[role]) else np.nan
              for role, level in (("negative", reference.negative), ("positive", reference.positive))]
    distance = wells.loc[wells["role"] == "negative", "feature_distance"].to_numpy(float)
    known = np.nan if reference.z_prime is None else reference.z_prime
    return plate, *map(float, shifts), separation(raw["negative"], raw["positive"])[0], known, float(np.sqrt(np.mean(distance**2)))


def drift_findings(drift: pd.DataFrame, *, model: str) -> list[Finding]:
    """A warning for each plate whose controls are not what the model learned from."""
    found = []
    for row in drift.to_dict("records"):
        reasons = [_shift_words(role, row[f"{role}_shift"]) for role in ("negative", "positive") if abs(row[f"{role}_shift"]) > SHIFT]
        if row["feature_distance"] > DISTANCE:
            reasons.append(f"its negative controls look {row['feature_distance']:.1f} times as different from the training's as those do "
                           "from each other")
        if reasons:
            found.append(Finding(rule="drift", severity="warning", plate=str(row["plate"]), column="drift", value=model, message=(
                f"plate {row['plate']} differs from what {model} learned from: {' and '.join(reasons)}. Check stain, exposure, focus and "
                "cell density, and look at Z′; if plates stay so, train the model again with some of them")))
    return found


def _shift_words(role: str, shift: float) -> str:
    return f"its {role} controls lie {abs(shift):.0%} of the control window {'above' if shift > 0 else 'below'} those of the training"
