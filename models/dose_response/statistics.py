"""The statistics that the papers report, by scipy, each with the paper that uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from models.errors import InputError


@dataclass(frozen=True)
class Significance:
    """A statistic with its degrees of freedom and two-sided p; NaN where it cannot be computed."""

    statistic: float
    df: float
    p: float
    n: int


@dataclass(frozen=True)
class Correlation:
    """Pearson's r and Spearman's rho of n pairs."""

    pearson: float
    spearman: float
    n: int


def paired_t(first: npt.ArrayLike, second: npt.ArrayLike) -> Significance:
    """Paired t test of measured and predicted IC50 (Cho et al. 2022, Table 2); pairs with a missing value are left out."""
    a, b = _pairs(first, second)
    if len(a) < 2:
        return Significance(np.nan, np.nan, np.nan, len(a))
    result = stats.ttest_rel(a, b)
    return Significance(float(result.statistic), float(result.df), float(result.pvalue), len(a))


def unpaired_t(first: npt.ArrayLike, second: npt.ArrayLike) -> Significance:
    """Student's unpaired t test, equal variances (Cho et al. 2022, Table 2); missing values are left out."""
    a, b = _finite(first), _finite(second)
    if min(len(a), len(b)) < 1 or len(a) + len(b) < 3:
        return Significance(np.nan, np.nan, np.nan, len(a) + len(b))
    result = stats.ttest_ind(a, b)
    return Significance(float(result.statistic), float(result.df), float(result.pvalue), len(a) + len(b))


def one_way_anova(groups: Sequence[npt.ArrayLike]) -> Significance:
    """One-way analysis of variance across groups (Hassan et al. 2022, across networks); df is that of the error.

    Raises InputError for fewer than two groups.
    """
    if len(groups) < 2:
        raise InputError(f"an analysis of variance compares at least 2 groups, got {len(groups)}")
    values = [_finite(group) for group in groups]
    n = sum(map(len, values))
    if min(map(len, values)) < 1 or n <= len(values):
        return Significance(np.nan, np.nan, np.nan, n)
    result = stats.f_oneway(*values)
    return Significance(float(result.statistic), float(n - len(values)), float(result.pvalue), n)


def correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> Correlation:
    """Pearson and Spearman correlation of duplicates, or of two read-outs (Berker et al. 2022, viability and DSS)."""
    a, b = _pairs(first, second)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Correlation(np.nan, np.nan, len(a))
    return Correlation(float(stats.pearsonr(a, b).statistic), float(stats.spearmanr(a, b).statistic), len(a))


def correlation_interval(r: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Confidence limits of Pearson's r of n independent pairs by Fisher's z; NaN where n < 4 or |r| = 1."""
    if n < 4 or not abs(r) < 1:
        return np.nan, np.nan
    half = float(stats.norm.ppf(0.5 + level / 2)) / np.sqrt(n - 3)
    return float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half))


def _finite(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=float).ravel()
    finite: npt.NDArray[np.float64] = array[np.isfinite(array)]
    return finite


def _pairs(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b = np.asarray(first, dtype=float).ravel(), np.asarray(second, dtype=float).ravel()
    if a.shape != b.shape:
        raise InputError(f"paired values must be equally many, got {len(a)} and {len(b)}")
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]
