"""How far the excess of two drugs over independent action can be trusted: limits from the plate's own noise.

Errors that take part: the scatter of wells (of the two drugs together and of each alone, whose wells serve a whole row or column of the
matrix), the medians of the controls, which all wells of a plate have in common, and what a model's error adds that replicates share.
All are propagated to first order through Bliss' formula e = y - (a + b - a b / 100), in percent inhibition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from models.dose_response.curves import Array
from models.dose_response.viability import MEDIAN_ERROR

Ints = npt.NDArray[np.intp]
Source = Literal["replicates", "negative controls", ""]

LEVEL = 0.95    # with which all limits of a pair of drugs hold together
EXACT = 1e-9    # percent inhibition: wells that agree to that were copied, and tell no scatter


@dataclass(frozen=True)
class Noise:
    """Scatter of one well: standard deviation in percent inhibition, degrees of freedom, and where it is from. NaN: cannot be told."""

    sd: float
    df: float
    source: Source


@dataclass(frozen=True)
class Effects:
    """G groups of wells alike. mean (G,) percent inhibition; variance (G,) of that mean; plates (G, P): share of its wells on each plate;
    controls (2, P): variance of the median of each plate's negative and positive controls, in units of (viability)^2; shared (G,): standard
    deviation of the part of a model's error that a group's wells have in common, in percent inhibition.
    """

    mean: Array
    variance: Array
    plates: Array
    controls: Array
    shared: Array


def pooled(values: pd.Series, groups: list[pd.Series]) -> tuple[float, float]:
    """(standard deviation, degrees of freedom) of values about the means of their groups; NaN and 0 without two of a group."""
    grouped = values.groupby(groups, dropna=False)
    deviations = (values - grouped.transform("mean")).dropna()
    df = float(len(deviations) - (grouped.count() > 0).sum())
    return (float(np.sqrt((deviations**2).sum() / df)), df) if df > 0 else (float("nan"), 0.0)


def noise_of(replicates: tuple[float, float], controls: tuple[float, float]) -> Noise:
    """The larger scatter of the two, each as (standard deviation, degrees of freedom), so that neither hides the other.

    The degrees of freedom are those of the better known one: by itself it would give limits that hold, and these are no narrower.
    """
    sources: tuple[Source, Source] = ("replicates", "negative controls")
    known = [(sd, df, source) for (sd, df), source in zip((replicates, controls), sources, strict=True) if sd == sd]
    if not any(sd > EXACT for sd, _, _ in known):
        return Noise(float("nan"), 0.0, "")
    sd, _, source = max(known)
    return Noise(sd, max(df for _, df, _ in known), source)


def median_variance(sd: Array, n: Array) -> Array:
    """Variance of the median of n wells that scatter by sd, any shape; NaN without wells."""
    return np.asarray((MEDIAN_ERROR * sd) ** 2 / np.where(n > 0, n, np.nan))


def mean_variance(groups: pd.DataFrame, noise: Noise) -> pd.Series:
    """Variance of the mean of each group of wells alike. groups: `var` and `count` of them, var NaN of one well alone.

    A group that scatters more than the rest is believed; that one which scatters less is better than the rest is not.
    """
    return groups["var"].fillna(0.0).clip(lower=noise.sd**2) / groups["count"]


def bliss_covariance(effects: Effects, together: Ints, first: Ints, second: Ints) -> Array:
    """Covariance (K, K) of the excesses of K dose pairs. together, first, second (K,): their groups, of both drugs and of each alone."""
    rows = np.arange(len(together))
    slope = np.zeros((len(together), len(effects.mean)))    # (K, G) of each excess, by each group's mean
    slope[rows, together] = 1.0
    slope[rows, first] -= 1.0 - effects.mean[second] / 100.0
    slope[rows, second] -= 1.0 - effects.mean[first] / 100.0
    # an error of the negative controls' median scales what lives, one of the positive controls' what is dead
    mean = effects.mean[:, None]
    tilt = np.concatenate([(100.0 - mean) * effects.plates, mean * effects.plates], axis=1)     # (G, 2 P)
    by_controls = slope @ tilt      # (K, 2 P)
    # a model may be off on each group in its own way, or on all of them in the same; nobody knows, so both count
    off = slope @ effects.shared    # (K,)
    own = effects.variance + effects.shared**2
    return np.asarray((slope * own) @ slope.T + (by_controls * effects.controls.ravel()) @ by_controls.T + np.outer(off, off))


def joint_half_widths(covariance: Array, df: float) -> tuple[Array, float]:
    """(half-widths (K,) of the excesses' limits, that of their mean): all K + 1 hold together with LEVEL (Bonferroni, Student's t)."""
    count = len(covariance)
    factor = float(stats.t.ppf(1.0 - (1.0 - LEVEL) / (2 * (count + 1)), df))
    return factor * np.sqrt(np.diag(covariance)), factor * float(np.sqrt(covariance.sum())) / max(count, 1)
