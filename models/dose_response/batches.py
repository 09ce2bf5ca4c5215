"""Wells in long form -> dense batches of curves that have equally many points, ready for the solver.

Replicates at one dose are replaced by their (weighted) mean with the sum of their weights as weight, and their scatter is kept
apart: for least squares that is exact, and 1e5 replicates cost what ten do. Robust losses need every response on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from models.dose_response.curves import NO_DOSE, Array
from models.errors import InputError

MIN_DOSES = 4
HUGE = 1e100            # responses beyond would overflow when squared; they count as infinite
_BATCH = 4096          # curves per batch: bounds memory, and fits the processor's cache
_POINTS = 2_000_000    # and points per batch
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Summary:
    """Per group (N,): what was given. Doses in the unit of the table; NaN without any dose above 0."""

    given: Ints
    n: Ints
    n_doses: Ints
    dose_min: Array
    dose_max: Array


@dataclass(frozen=True)
class Batch:
    """N curves of D points. x = log10(dose / highest dose), NO_DOSE for dose 0; y response; count = replicates; weight the same
    times their mean weight, where responses have weights (mean 1 over a curve).

    rows: index of the group; within: sum of squares of replicates about their mean; total: about the curve's mean;
    lowest: x of the lowest dose above 0; shift: log10 of the highest dose; n responses, levels distinct doses, 0 included.
    """

    rows: Ints
    x: Array
    y: Array
    weight: Array
    count: Array
    within: Array
    total: Array
    lowest: Array
    shift: Array
    n: Ints
    levels: Ints

    def take(self, keep: npt.NDArray[np.intp]) -> Batch:
        """The same batch with some of the curves."""
        return Batch(self.rows[keep], self.x[:, keep], self.y[:, keep], self.weight[:, keep], self.count[:, keep], self.within[keep],
                     self.total[keep], self.lowest[keep], self.shift[keep], self.n[keep], self.levels[keep])

    def mean(self) -> Array:
        """Mean response of each curve (N,)."""
        total: Array = (self.weight * self.y).sum(axis=0)
        return np.asarray(total / self.weight.sum(axis=0))

    def response_range(self) -> Array:
        """Highest minus lowest response (dose means) of each curve (N,)."""
        width: Array = self.y.max(axis=0) - self.y.min(axis=0)
        return width


@dataclass(frozen=True)
class Points:
    """Usable wells in canonical order: by group, dose, response; group, dose, response, weight (n,)."""

    group: Ints
    dose: Array
    response: Array
    weight: Array


def usable_points(group: Ints, dose: Array, response: Array, weight: Array | None = None) -> Points:
    """Wells with a response (finite, within +-HUGE) and a finite dose >= 0, sorted, so that no result depends on the order.

    weight: relative, of each well; scaled to mean 1 over the usable wells of a group. Raises InputError for one that is not > 0.
    """
    good = (np.abs(response) < HUGE) & np.isfinite(dose) & (dose >= 0)
    weight = np.ones(len(group)) if weight is None else weight
    if not (np.isfinite(weight[good]) & (weight[good] > 0)).all():
        raise InputError("weights of wells with a response must be finite and above 0")
    group, dose, response, weight = group[good], dose[good], response[good], weight[good]
    order = np.lexsort((weight, response, dose, group))
    group, weight = group[order], weight[order]
    if len(group):
        weight = weight * (np.bincount(group) / np.maximum(np.bincount(group, weights=weight), np.finfo(float).tiny))[group]
    return Points(group, dose[order], response[order], weight)


def mean_half_width(batch: Batch, *, level: float) -> Array:
    """Half-width (N,) of the confidence interval of the mean response, by the scatter of all wells about it."""
    degrees = np.maximum(batch.n - 1, 1)
    return np.asarray(special.stdtrit(degrees, (1 + level) / 2) * np.sqrt(batch.total / degrees / batch.n))


def summarise(group: Ints, points: Points, count: int) -> Summary:
    """Counts and dose range of `count` groups."""
    real = points.dose > 0
    g, dose = points.group[real], points.dose[real]
    new = np.ones(len(g), dtype=bool)
    new[1:] = (g[1:] != g[:-1]) | (dose[1:] != dose[:-1])
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, g, dose)
    np.maximum.at(high, g, dose)
    low[np.isinf(low)], high[np.isinf(high)] = np.nan, np.nan
    return Summary(np.bincount(group, minlength=count), np.bincount(points.group, minlength=count),
                   np.bincount(g[new], minlength=count), low, high)


def batches(points: Points, summary: Summary, *, pooled: bool) -> Iterator[Batch]:
    """Batches of all groups with at least MIN_DOSES doses; `pooled` replaces replicates by their mean."""
    if not len(points.group):
        return
    same = (points.group[1:] == points.group[:-1]) & (points.dose[1:] == points.dose[:-1])
    level_starts = np.concatenate([[0], np.flatnonzero(~same) + 1])
    starts = level_starts if pooled else np.arange(len(points.group))
    group = points.group[starts]
    count = np.diff(np.append(starts, len(points.group)))
    weight = np.add.reduceat(points.weight, starts)
    y = np.add.reduceat(points.weight * points.response, starts) / weight
    spread = points.response - np.repeat(y, count)
    within = np.bincount(points.group, weights=points.weight * spread**2, minlength=len(summary.n)).astype(float)
    levels: Ints = np.bincount(points.group[level_starts], minlength=len(summary.n))
    size = np.bincount(group, minlength=len(summary.n))
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    for d in np.unique(size[summary.n_doses >= MIN_DOSES]):
        rows = np.flatnonzero((size == d) & (summary.n_doses >= MIN_DOSES))
        for part in np.array_split(rows, -(-len(rows) // max(1, min(_BATCH, _POINTS // d)))):
            where = first[part] + np.arange(d)[:, None]
            yield _batch(part, points.dose[starts][where], y[where], (weight[where], count[where].astype(float)), within[part],
                         levels[part], summary)


def _batch(rows: Ints, dose: Array, y: Array, weight_and_count: tuple[Array, Array], within: Array, levels: Ints,
           summary: Summary) -> Batch:
    weight, count = weight_and_count
    shift = np.log10(summary.dose_max[rows])
    with np.errstate(divide="ignore"):
        x = np.where(dose > 0, np.round(np.log10(dose) - shift, 12), NO_DOSE)
    mean = (weight * y).sum(axis=0) / weight.sum(axis=0)
    total = (weight * (y - mean) ** 2).sum(axis=0) + within
    flat = total <= 1e-24 * (weight * y * y).sum(axis=0)        # rounding of a constant response
    lowest = np.round(np.log10(summary.dose_min[rows]) - shift, 12)
    return Batch(rows, x, y, weight, count, within, np.where(flat, 0.0, total), lowest, shift, summary.n[rows], levels)
