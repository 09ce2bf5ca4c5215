"""Do the plates that a model scores still look like those that it learned from? By their controls, which should look alike everywhere.

A model that was adapted to the very plates that it scores would find itself in them; there its parent is asked (models/scoring.py).

Kept in the card (`Reference`): the raw output of the training's controls, held out where it was cross-fitted, and the features of its
negative control wells. Compared per plate (`plate_drift`):

    model                           whose training they are compared with
    negative_shift, positive_shift  median of the plate's controls minus that of the training's, over the training's gap between both
    z_prime, z_prime_training       1 - 3 (s_p + s_n) / |m_p - m_n| of the raw output, here and there
    feature_distance                root mean square Mahalanobis distance of the plate's negative controls from the training's, over that
                                    of the training's own wells, each left out once: 1 = as in training
    structure_size                  how many times as large the structures in the plate's negative controls are as in the training's
                                    (structure.py), median of wells; structure_limit: the factor from which a plate is warned of

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
from models.networks.structure import Structure
from models.plates.images import WellImages
from models.records import six_digits
from models.separation import separation

Array = npt.NDArray[np.float64]

DIMENSIONS = 16
LEAST_WELLS = 8     # negative controls that a reference is made of
SHIFT = 0.25        # of the gap between the controls, from which a plate is warned of
DISTANCE = 3.0      # times that of the training's own wells
COLUMNS = ("plate", "model", "negative_shift", "positive_shift", "z_prime", "z_prime_training", "feature_distance", "structure_size",
           "structure_limit")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Controls of the training screen. value: the raw output that is compared, od or logit; negative, positive: its median over their
    wells (positive None where the assay has none); gap between both, or to 0; wells: negative ones; feature_mean (K,) and
    feature_whitening (K, K), lower triangle by rows: |(f - mean) W'| / sqrt(K) is a well's distance; structure: of the negative ones'
    images, None where they are too small, or of a model that was trained before this was kept.
    """

    value: str
    negative: float
    positive: float | None
    gap: float
    z_prime: float | None
    wells: int
    feature_mean: tuple[float, ...]
    feature_whitening: tuple[tuple[float, ...], ...]
    structure: Structure | None = None

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
        value="od" if regression else "logit", negative=six_digits(level), positive=None if other is None else six_digits(other),
        gap=six_digits(gap), z_prime=six_digits(z_prime) if np.isfinite(z_prime) else None, wells=len(rows),
        feature_mean=tuple(map(six_digits, mean)),
        feature_whitening=tuple(tuple(map(six_digits, row[:count + 1] / own)) for count, row in enumerate(whitening)))


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


def with_structure_sizes(raw: pd.DataFrame, images: WellImages, layout: pd.DataFrame, reference: Reference | None) -> pd.DataFrame:
    """A predictor's answer for images, in their order, with `structure_size` of the negative controls; NaN of others, which no one asks
    for, and of all where the card knows none.
    """
    sizes = np.full(len(raw), np.nan)
    if reference is not None and reference.structure is not None:
        rows = np.flatnonzero(images.have_role(layout, "negative"))
        if len(rows):
            sizes[rows] = reference.structure.sizes(images.pixels[row, 0] for row in rows)
    return raw.assign(structure_size=sizes)


def plate_drift(wells: pd.DataFrame, reference: Reference | None, *, model: str = "") -> pd.DataFrame:
    """COLUMNS, one row per plate with negative controls. wells: plate, role, the raw output, feature_distance, structure_size where there
    is one, and `excluded`, whose wells do not count; model: whose reference it is. NaN where a control is missing; no rows where the card
    has no reference.
    """
    if reference is None:
        return pd.DataFrame(columns=list(COLUMNS))
    kept = wells[~wells["excluded"] & wells[reference.value].notna()]
    plates = [(str(plate), group) for plate, group in kept.groupby("plate", sort=True) if (group["role"] == "negative").any()]
    return pd.DataFrame([(plate, model, *_of_plate(group, reference)) for plate, group in plates], columns=list(COLUMNS))


def _of_plate(wells: pd.DataFrame, reference: Reference) -> tuple[float, ...]:
    raw = {role: wells.loc[wells["role"] == role, reference.value].to_numpy(float) for role in ("negative", "positive")}
    shifts = [(np.median(raw[role]) - level) / reference.gap if level is not None and len(raw[role]) else np.nan
              for role, level in (("negative", reference.negative), ("positive", reference.positive))]
    negative = wells[wells["role"] == "negative"]
    distance = negative["feature_distance"].to_numpy(float)
    known = np.nan if reference.z_prime is None else reference.z_prime
    return (*map(float, shifts), separation(raw["negative"], raw["positive"])[0], known, float(np.sqrt(np.mean(distance**2))),
            *_size(negative, reference.structure))


def _size(negative: pd.DataFrame, known: Structure | None) -> tuple[float, float]:
    """structure_size and structure_limit of a plate's negative controls."""
    sizes = negative["structure_size"].dropna().to_numpy(float) if known is not None else np.empty(0)
    if known is None or not len(sizes):
        return np.nan, np.nan
    return float(np.median(sizes)), known.limit(len(sizes))


def drift_findings(drift: pd.DataFrame) -> list[Finding]:
    """A warning for each plate whose controls are not what its model learned from."""
    found = []
    for row in drift.to_dict("records"):
        reasons = [_shift_words(role, row[f"{role}_shift"]) for role in ("negative", "positive") if abs(row[f"{role}_shift"]) > SHIFT]
        if row["feature_distance"] > DISTANCE:
            reasons.append(f"its negative controls look {row['feature_distance']:.1f} times as different from the training's as those do "
                           "from each other")
        if reasons:
            found.append(Finding(rule="drift", severity="warning", plate=str(row["plate"]), column="drift", value=row["model"], message=(
                f"plate {row['plate']} differs from what {row['model']} learned from: {' and '.join(reasons)}. Check stain, exposure, "
                "focus and cell density, and look at Z′; if plates stay so, train the model again with some of them")))
    return found


def size_words(drift: pd.DataFrame) -> dict[str, str]:
    """plate -> what is wrong with the size of what its negative controls show."""
    from models.dose_response.doubts import OTHER_SIZE_WORDS  # here: the rules read cards, and do without scipy

    return {str(row["plate"]): f"structures in the negative controls of plate {row['plate']} look {row['structure_size']:.2g} "
                               f"{OTHER_SIZE_WORDS} (alike: {1 / row['structure_limit']:.2f} to {row['structure_limit']:.2f})"
            for row in drift.to_dict("records")
            if pd.notna(row["structure_size"]) and abs(np.log(row["structure_size"])) > np.log(row["structure_limit"])}


def size_findings(drift: pd.DataFrame, *, model: str) -> list[Finding]:
    """A warning for each plate whose negative controls show smaller or larger structures than was learned from, by the model itself or, in
    other words, by its parent.
    """
    asked = "was another objective, binning or field used than for {}'s plates, or is the plate out of focus?"
    own = "Its numbers may be wrong by far: image it as those plates were, or train a model on plates like it"
    adapted = "{} has learned from these controls all the same: judge it by its cross-fitted quality, and image plates as the parent's were"
    asked_of = dict(zip(drift["plate"], drift["model"], strict=True))
    found = []
    for plate, words in size_words(drift).items():
        whose = str(asked_of[plate])
        told, so = (f"{words}:", own) if whose == model else (f"{words} of {whose}:", adapted.format(model))
        found.append(Finding(rule="structure_size", severity="warning", plate=plate, column="drift", value=whose,
                             message=f"{told} {asked.format(whose)} {so}"))
    return found


def alive_words(drift: pd.DataFrame) -> dict[str, str]:
    """plate -> what is wrong with its positive controls, of plates on which they look alive to what learned from dead ones."""
    from models.dose_response.doubts import TOO_LOW_WORDS  # here: the rules read cards, and do without scipy

    return {str(row["plate"]): f"the positive controls of plate {row['plate']} look {row['positive_shift']:.0%} alive to {row['model']}: "
                               f"what 0 % is is not known, and {TOO_LOW_WORDS}"
            for row in drift.to_dict("records") if pd.notna(row["positive_shift"]) and row["positive_shift"] > SHIFT}


def _shift_words(role: str, shift: float) -> str:
    alive = " (did they kill all cells?)" if role == "positive" and shift > 0 else ""
    side = "above" if shift > 0 else "below"
    return f"its {role} controls lie {abs(shift):.0%} of the control window {side} those of the training{alive}"
