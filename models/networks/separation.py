"""How well two groups of wells can be told apart by one number."""

from __future__ import annotations

import math

import numpy as np


def separation(negative: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """(Z', SSMD) from means and standard deviations: 1 - 3 (s_p + s_n)/|m_p - m_n| and (m_n - m_p)/sqrt(s_p^2 + s_n^2), which
    is above 0 where the negative ones read more; in tables of plates (models.dose_response.assay_quality) it has the other sign.
    """
    if min(len(negative), len(positive)) < 2 or negative.mean() == positive.mean():
        return math.nan, math.nan
    gap, spreads = negative.mean() - positive.mean(), (negative.std(ddof=1), positive.std(ddof=1))
    root = math.hypot(*spreads)
    return float(1 - 3 * sum(spreads) / abs(gap)), float(gap / root) if root else math.nan
