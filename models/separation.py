"""How well two groups of wells can be told apart by one number."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Measure = Callable[[Array], float]
MAD_TO_SD = 1.4826     # SD of a normal variable over its median absolute deviation


def sd(values: Array) -> float:
    """Standard deviation of a sample."""
    return float(np.std(values, ddof=1))


def scaled_mad(values: Array) -> float:
    """Median absolute deviation, as large as the SD for a normal variable."""
    return float(MAD_TO_SD * np.median(np.abs(values - np.median(values))))


def separation(first: Array, second: Array, *, centre: Measure = np.mean, spread: Measure = sd) -> tuple[float, float]:
    """(Z', SSMD) from centres m and spreads s: 1 - 3 (s_1 + s_2)/|m_1 - m_2| (Zhang et al. 1999) and (m_1 - m_2)/sqrt(s_1^2 + s_2^2)
    (Zhang 2007), which is above 0 where the first read more; NaN with fewer than two wells of a kind, or where one divides by 0.
    """
    if min(len(first), len(second)) < 2:
        return math.nan, math.nan
    gap, spreads = centre(first) - centre(second), (spread(first), spread(second))
    root = float(np.hypot(*spreads))
    return float(1 - 3 * (sum(spreads) / abs(gap))) if gap else math.nan, float(gap / root) if root else math.nan
