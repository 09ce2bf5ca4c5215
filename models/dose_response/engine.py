"""One model fitted to one batch: bounds, starts, solver, robust weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.dose_response.batches import Batch
from models.dose_response.curves import (
    HORMESIS,
    LEFT,
    LOG_ASYMMETRY,
    LOG_SLOPE,
    MIDPOINT,
    MODELS,
    RIGHT,
    Array,
    inhibition,
    mirror_signs,
)
from models.dose_response.options import FitOptions, Model
from models.dose_response.robust import fit_robust
from models.dose_response.solver import Problem, Solution, minimise
from models.dose_response.starts import Starts, find_starts

Bools = npt.NDArray[np.bool_]
SLOPES = (0.1, 10.0)
FIMM_SLOPES = (0.1, 2.5)
ASYMMETRIES = (0.05, 20.0)
MIDPOINT_MARGIN = 2.0              # decades beyond the tested doses
HORMESIS_DECADES = 100.0           # of doses, after which the bound of hormesis grows no more: no series has so many
PERCENT_LEFT, PERCENT_RIGHT = (-25.0, 25.0), (-50.0, 125.0)
FREE_RANGES = 10.0
START_COUNT, ROBUST_STARTS = 2, 6


@dataclass(frozen=True)
class BatchFit:
    """A model fitted to a batch: p (6, N) with x relative to the top dose, rss with replicate scatter, the problem that
    was solved (for the profiles), rising (N,), share explained by the best start (flat test), outliers (N,); scatter (N,):
    what stands for rss in the intervals of robust fits; beside: a larger model's fit, whose limits hold too."""

    model: Model
    p: Array
    rss: Array
    problem: Problem
    rising: Bools
    explained: Array
    outliers: npt.NDArray[np.intp]
    scatter: Array | None = None
    beside: BatchFit | None = None

    def take(self, rows: npt.NDArray[np.intp]) -> BatchFit:
        """The same fit for some of the curves."""
        return BatchFit(self.model, self.p[:, rows], self.rss[rows], self.problem.take(rows), self.rising[rows],
                        self.explained[rows], self.outliers[rows], None if self.scatter is None else self.scatter[rows],
                        None if self.beside is None else self.beside.take(rows))


def fit_batch(batch: Batch, *, model: Model, scale: str, options: FitOptions) -> BatchFit:
    """Least squares (or the robust loss) of `model` for every curve of the batch."""
    starts, low, high = _starts(batch, model=model, scale=scale, options=options)
    rising = starts.rising
    sign = mirror_signs(MODELS[model], rising=rising, scale=scale)
    problem = Problem(MODELS[model].shape, batch.x, batch.y, batch.weight, low, high, sign)
    if options.loss != "squares":
        return _robust(batch, problem, _vary(starts, model=model), starts=starts, model=model, options=options)
    best = _best_of(problem, _vary(starts, model=model))
    if MODELS[model].mirror:
        problem, best = _right_way_round(problem, best, rising=rising)
    rising = best.p[RIGHT] >= best.p[LEFT]
    return BatchFit(model, best.p, best.rss + batch.within, problem, rising, starts.explained,
                    np.zeros(len(rising), dtype=np.intp))


def _robust(batch: Batch, problem: Problem, tried: list[Array], *, starts: Starts, model: Model, options: FitOptions) -> BatchFit:
    """The robust fit; its problem keeps the final weights, for the profiles."""
    fit = fit_robust(problem, tried, loss=options.loss)
    rss = (problem.residuals(fit.p) ** 2).sum(axis=0)
    spare = batch.n - (problem.high > problem.low).sum(axis=0)
    return BatchFit(model, fit.p, rss, replace(problem, weight=fit.weight), fit.p[RIGHT] >= fit.p[LEFT], starts.explained,
                    fit.outliers, scatter=fit.scale**2 * spare)


def fit_4pl_within(batch: Batch, *, low: Array, high: Array) -> BatchFit:
    """Least squares of a 4PL within given bounds, each (6, N) as parameter_bounds gives them."""
    plateaus = low[LEFT:RIGHT + 1], high[LEFT:RIGHT + 1]
    starts = find_starts(batch.x, batch.y, batch.weight, bounds=plateaus, total=batch.total, count=START_COUNT)
    problem = Problem(MODELS["4pl"].shape, batch.x, batch.y, batch.weight, low, high, np.ones(len(batch.rows)))
    best = _best_of(problem, list(starts.p))
    return BatchFit("4pl", best.p, best.rss + batch.within, problem, best.p[RIGHT] >= best.p[LEFT], starts.explained,
                    np.zeros(len(batch.rows), dtype=np.intp))


def _right_way_round(problem: Problem, best: Solution, *, rising: Bools) -> tuple[Problem, Solution]:
    """A mirrored model whose fit turned the other way than its start is fitted again in that direction; if it turns back,
    the data have no direction and the curve is held at its mean level."""
    turned = np.flatnonzero((best.p[RIGHT] >= best.p[LEFT]) != rising)
    if not len(turned):
        return problem, best
    sign, p, rss = problem.sign.copy(), best.p.copy(), best.rss.copy()
    sign[turned] *= -1.0
    problem = replace(problem, sign=sign)
    again = minimise(problem.take(turned), best.p[:, turned])
    back = (again.p[RIGHT] >= again.p[LEFT]) == rising[turned]
    level = np.average(problem.y[:, turned], weights=problem.weight[:, turned], axis=0)
    flat = np.clip(level, problem.low[RIGHT, turned], problem.high[RIGHT, turned])
    again.p[:2, back] = flat[back]
    p[:, turned] = again.p
    rss[turned] = (problem.weight * problem.residuals(p) ** 2).sum(axis=0)[turned]
    return problem, Solution(p, rss)


def _vary(starts: Starts, *, model: Model) -> list[Array]:
    """The starts; for 5PL also with the asymmetry at a third and at three, EC50 kept."""
    varied = list(starts.p)
    if LOG_ASYMMETRY in MODELS[model].free:
        for s in (0.3, 3.0):
            start = starts.p[0].copy()
            start[LOG_ASYMMETRY] = np.log(s)
            start[MIDPOINT] += np.log10(2.0 ** (1.0 / s) - 1.0) / np.exp(start[LOG_SLOPE])
            varied.append(start)
    return varied


def _best_of(problem: Problem, starts: list[Array]) -> Solution:
    """Per curve the solution of the lowest sum of squares from all starts, the earlier one of equals; solved together."""
    size = problem.x.shape[1]
    together = minimise(problem.take(np.tile(np.arange(size), len(starts))), np.concatenate(starts, axis=1))
    best = Solution(together.p[:, :size], together.rss[:size])
    for first in range(size, size * len(starts), size):
        p, rss = together.p[:, first:first + size], together.rss[first:first + size]
        better = rss < best.rss * (1.0 - 1e-9)
        best = Solution(np.where(better, p, best.p), np.where(better, rss, best.rss))
    return best


def _starts(batch: Batch, *, model: Model, scale: str, options: FitOptions) -> tuple[Starts, Array, Array]:
    """Starts and bounds (6, N), in the direction that fits better where the bounds depend on it."""
    count = START_COUNT if options.loss == "squares" else ROBUST_STARTS

    def found(rising: bool) -> tuple[Starts, Array, Array]:
        low, high = parameter_bounds(batch, model=model, scale=scale, options=options, rising=rising)
        plateaus = low[LEFT:RIGHT + 1], high[LEFT:RIGHT + 1]
        starts = find_starts(batch.x, batch.y, batch.weight, bounds=plateaus, total=batch.total, count=count)
        return replace(starts, p=np.clip(starts.p, low, high)), low, high
    starts, low, high = found(True)
    if isinstance(options.bounds, str) and not (scale == "raw" and model in ("2pl", "3pl")):
        return starts, low, high
    other, other_low, other_high = found(False)
    up = starts.rss <= other.rss
    merged = Starts(np.where(up, starts.p, other.p), starts.explained, np.where(up, starts.rss, other.rss), up)
    return merged, np.where(up, low, other_low), np.where(up, high, other_high)


def parameter_bounds(batch: Batch, *, model: Model, scale: str, options: FitOptions, rising: bool) -> tuple[Array, Array]:
    """Low and high (6, N) of the parameters of curves.py for a response that rises or falls on `scale`."""
    size = len(batch.rows)
    low, high = np.zeros((6, size)), np.zeros((6, size))
    plateaus = _plateau_bounds(batch, model=model, scale=scale, options=options, rising=rising)
    for index, (bottom, top) in zip((LEFT, RIGHT), plateaus, strict=True):
        low[index], high[index] = bottom, top
    low[MIDPOINT], high[MIDPOINT] = batch.lowest - MIDPOINT_MARGIN, MIDPOINT_MARGIN
    slopes = FIMM_SLOPES if options.mode == "fimm" else SLOPES
    low[LOG_SLOPE], high[LOG_SLOPE] = np.log(slopes)[:, None]
    if LOG_ASYMMETRY in MODELS[model].free:
        low[LOG_ASYMMETRY], high[LOG_ASYMMETRY] = np.log(ASYMMETRIES)[:, None]
    if HORMESIS in MODELS[model].free:
        high[HORMESIS] = 20.0 * batch.response_range() * 10.0 ** np.minimum(-batch.lowest, HORMESIS_DECADES)
        low[HORMESIS] = -high[HORMESIS]
    return low, high


Pair = tuple[float | Array, float | Array]


def _plateau_bounds(batch: Batch, *, model: Model, scale: str, options: FitOptions, rising: bool) -> tuple[Pair, Pair]:
    """Bounds of the plateaus at dose 0 and at infinite dose, on the response's scale."""
    if options.mode == "fimm":
        return _fimm_plateaus(batch, scale)
    if not isinstance(options.bounds, str):
        bottom, top = options.bounds
        return (bottom, top) if rising else (top, bottom)
    if scale == "raw" or options.bounds == "free":
        margin = FREE_RANGES * batch.response_range()
        free: Pair = (batch.y.min(axis=0) - margin, batch.y.max(axis=0) + margin)
        pair = (free, free)
    else:
        pair = (_on_scale(PERCENT_LEFT, scale), _on_scale(PERCENT_RIGHT, scale))
    return _fixed_plateaus(pair, model=model, scale=scale, rising=rising)


def _fixed_plateaus(pair: tuple[Pair, Pair], *, model: Model, scale: str, rising: bool) -> tuple[Pair, Pair]:
    """2PL: 0 % and 100 % effect; 3PL: the control plateau at 0 % effect, on scale raw the bottom at 0."""
    if model not in ("2pl", "3pl"):
        return pair
    if scale == "raw":
        bottom: Pair = (0.0, 0.0)
        other: Pair = pair[1] if model == "3pl" else (1.0, 1.0)
        return (bottom, other) if rising else (other, bottom)
    left = _on_scale((0.0, 0.0), scale)
    return left, (pair[1] if model == "3pl" else _on_scale((100.0, 100.0), scale))


def _fimm_plateaus(batch: Batch, scale: str) -> tuple[Pair, Pair]:
    top = np.minimum(100.0, inhibition(batch.y, scale).max(axis=0))
    if scale == "fraction_viability":
        top = 1.0 - top / 100.0
    return _on_scale((0.0, 0.0), scale), (top, top)


def _on_scale(percent: tuple[float, float], scale: str) -> Pair:
    """A range of percent inhibition on the response's scale."""
    if scale != "fraction_viability":
        return percent
    return 1.0 - percent[1] / 100.0, 1.0 - percent[0] / 100.0
