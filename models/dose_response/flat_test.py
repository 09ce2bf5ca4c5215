"""The test of "no effect at all", calibrated by simulation for the very design.

Statistic: the largest share of the total sum of squares that one shape of the starting grid explains (starts.py), plateaus
free. It is scale-free, so under Gaussian noise its distribution depends only on the doses and how often each was measured,
and 40,000 noise curves give it. F tests with any degrees of freedom are off by design here (0.01 to 0.17 at 0.05).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from models.dose_response.curves import NO_DOSE, Array
from models.dose_response.starts import explained_sum, grid_shapes, same_designs

SIMULATIONS = 40_000
_SEED = 20_240_501
_CHUNK = 4_000


def flat_p(x: Array, weight: Array, *, explained: Array, n: npt.NDArray[np.intp]) -> Array:
    """p (N,) of the share `explained` (N,) for designs x, weight (D, N) with n responses; 1 where nothing varies."""
    p = np.ones(len(explained))
    for group in same_designs(x, weight):
        null = null_shares(_key(x[:, group[0]], weight[:, group[0]]))
        above = len(null) - np.searchsorted(null, explained[group] * (1.0 - 1e-12), side="left")
        p[group] = (1.0 + above) / (1.0 + len(null))
    return np.where(explained > 0, p, 1.0)


def _key(x: Array, weight: Array) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """A design as a hashable key: distinct log10 doses rounded to 0.01, and their counts."""
    level, where = np.unique(np.where(x > NO_DOSE, np.round(x, 2), NO_DOSE), return_inverse=True)
    counts = np.bincount(where, weights=weight)
    return tuple(level.tolist()), tuple(counts.astype(int).tolist())


@lru_cache(maxsize=4096)
def null_shares(design: tuple[tuple[float, ...], tuple[int, ...]]) -> Array:
    """Sorted shares explained in SIMULATIONS curves of pure noise of this design. Deterministic."""
    x, weight = np.array(design[0]), np.array(design[1], dtype=float)
    shapes = grid_shapes(x)
    rng = np.random.default_rng(_SEED)
    extra = weight.sum() - len(weight)
    shares = np.empty(SIMULATIONS)
    for first in range(0, SIMULATIONS, _CHUNK):
        y = rng.standard_normal((len(x), _CHUNK)) / np.sqrt(weight)[:, None]
        within = rng.chisquare(extra, _CHUNK) if extra else 0.0
        mean = weight @ y / weight.sum()
        total = weight @ (y - mean) ** 2 + within
        shares[first:first + _CHUNK] = explained_sum(shapes, weight, y) / total
    return np.sort(shares)
