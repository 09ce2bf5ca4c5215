"""Starting points from a fixed grid of shapes, on which the plateaus have a closed form; the same grid carries the flat
test, because the best node's share of the total sum of squares is a scale-free measure of effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.dose_response.curves import LEFT, LN10, LOG_SLOPE, MIDPOINT, NO_DOSE, RIGHT, Array

SLOPES = (0.15, 0.35, 0.7, 1.5, 4.0)        # per mean distance of neighbouring doses, so that the grid scales with the design
MIDPOINTS = 17
OVERHANG = 0.7        # mean distances by which the grid reaches beyond the tested doses
_CHUNK = 512


@dataclass(frozen=True)
class Starts:
    """Best start of each curve first: parameters (starts, 6, N); share of the scatter that the best node explains (N,);
    rss (N,) of the best node up to a constant of the curve's own; rising (N,) its direction."""

    p: Array
    explained: Array
    rss: Array
    rising: npt.NDArray[np.bool_]


def grid_nodes(x: Array) -> tuple[Array, Array]:
    """Midpoints and slopes (K,) of the grid for the log10 doses x (D,) of one design."""
    real = x[x > NO_DOSE]
    step = (real.max() - real.min()) / (len(np.unique(real)) - 1)
    middles = np.linspace(real.min() - OVERHANG * step, real.max() + OVERHANG * step, MIDPOINTS)
    return np.repeat(middles, len(SLOPES)), np.tile(np.array(SLOPES) / step, MIDPOINTS)


def grid_shapes(x: Array) -> Array:
    """The logistic shapes of the grid's nodes at x: (K, D)."""
    middle, slope = grid_nodes(x)
    return 1.0 / (1.0 + np.exp(-np.clip(LN10 * slope[:, None] * (x[None] - middle[:, None]), -700.0, 700.0)))


def same_designs(x: Array, weight: Array) -> list[npt.NDArray[np.intp]]:
    """Columns of x and weight (D, N) grouped by equal design, in order of first appearance."""
    if (x == x[:, :1]).all() and (weight == weight[:, :1]).all():
        return [np.arange(x.shape[1])]
    table = np.ascontiguousarray(np.vstack([x, weight]).T + 0.0)
    keys = table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
    return [groups[i] for i in np.argsort(first)]


def find_starts(x: Array, y: Array, weight: Array, *, bounds: tuple[Array, Array], total: Array, count: int) -> Starts:
    """The `count` best separate nodes of every curve.

    x, y, weight: (D, N). bounds: (2, N) low and high of the two plateaus (dose 0, infinite dose). total: (N,) sum of
    squares about the mean, replicates' scatter included.
    """
    size = y.shape[1]
    p, explained, lowest = np.zeros((count, 6, size)), np.zeros(size), np.zeros(size)
    for group in same_designs(x, weight):
        shapes = grid_shapes(x[:, group[0]])
        nodes = grid_nodes(x[:, group[0]])
        for rows in np.array_split(group, -(-len(group) // _CHUNK)):
            fitted = _fit_plateaus(shapes, weight[:, rows[0]], y[:, rows], (bounds[0][:, rows], bounds[1][:, rows]))
            rss, plateaus, share = fitted
            explained[rows], lowest[rows] = share, rss.min(axis=0)
            for rank, best in enumerate(_separate_minima(rss, count)):
                columns = np.arange(len(rows))
                p[rank, LEFT, rows], p[rank, RIGHT, rows] = plateaus[0][best, columns], plateaus[1][best, columns]
                p[rank, MIDPOINT, rows], p[rank, LOG_SLOPE, rows] = nodes[0][best], np.log(nodes[1][best])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, explained / total, 0.0)
    return Starts(p, np.clip(share, 0.0, 1.0), lowest, p[0, RIGHT] >= p[0, LEFT])


def explained_sum(shapes: Array, weight: Array, y: Array) -> Array:
    """Sum of squares that the best node explains beyond the mean, plateaus unbounded: (N,) for y (D, N)."""
    centred = weight * (shapes - (shapes @ weight / weight.sum())[:, None])          # (K, D)
    norm = np.sqrt((centred * shapes).sum(axis=1))
    useful = norm > 1e-6 * norm.max()
    largest: Array = np.abs((centred[useful] / norm[useful, None]) @ y).max(axis=0)
    return largest**2


def _fit_plateaus(shapes: Array, weight: Array, y: Array, bounds: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array], Array]:
    """Per node and curve: residual sum of squares (up to the curve's own constant) and bounded plateaus, (K, N)."""
    low, high = bounds
    rest = 1.0 - shapes
    gg, hh, hg = (((weight * a * b).sum(axis=1))[:, None] for a, b in ((shapes, shapes), (rest, rest), (rest, shapes)))
    gy, hy = (shapes * weight) @ y, (rest * weight) @ y
    determinant = np.maximum(gg * hh - hg * hg, 1e-9 * gg * hh + 1e-300)
    left = np.clip((gg * hy - hg * gy) / determinant, low[0], high[0])
    right = np.clip((gy - hg * left) / np.maximum(gg, 1e-300), low[1], high[1])
    left = np.clip((hy - hg * right) / np.maximum(hh, 1e-300), low[0], high[0])
    rss = left * (hh * left - 2.0 * hy) + right * (gg * right - 2.0 * gy) + 2.0 * hg * left * right
    return rss, (left, right), explained_sum(shapes, weight, y)


def _separate_minima(rss: Array, count: int) -> list[npt.NDArray[np.intp]]:
    """Best node of each curve, then the best one well away from those before."""
    rss = np.ascontiguousarray(rss.T)                       # (N, K): argmin runs along memory
    chosen = [np.argmin(rss, axis=1)]
    middle, slope = np.divmod(np.arange(rss.shape[1]), len(SLOPES))
    near = (np.abs(middle[:, None] - middle) <= 2) & (np.abs(slope[:, None] - slope) <= 1)       # (K, K)
    for _ in range(count - 1):
        rss[near[chosen[-1]]] = np.inf
        chosen.append(np.argmin(rss, axis=1))
    return chosen
