"""Many small least-squares fits at once: a bounded Levenberg-Marquardt on arrays whose last axis is the curve.

Parameter rows are those of curves.py. A gauge ties one parameter (the midpoint; with hormesis, the hormesis) to the others
so that a chosen dose (EC50 or an absolute IC) stays where it is told to be: that is how profile likelihoods are traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.dose_response.curves import (
    HORMESIS,
    LEFT,
    LN10,
    LOG_ASYMMETRY,
    LOG_SLOPE,
    MIDPOINT,
    RIGHT,
    Array,
    Shape,
    evaluate,
    scaled_distance,
    shape_inverse,
    shape_terms,
)

TOLERANCE = 1e-12     # squared cosine between residuals and any free direction; relative fall of the sum of squares
MAX_ITERATIONS = 200
_NOTHING = 1e-280     # of J'WJ, up to which a parameter moves nothing: a root of less is 0, and divides


@dataclass(frozen=True)
class Problem:
    """N curves of D points: x, y, weight (D, N); bounds low, high (6, N), equal where a parameter is fixed."""

    shape: Shape
    x: Array
    y: Array
    weight: Array
    low: Array
    high: Array
    sign: Array

    def take(self, rows: npt.NDArray[np.intp]) -> Problem:
        """The same problem for some of the curves (indices may repeat)."""
        return replace(self, x=self.x[:, rows], y=self.y[:, rows], weight=self.weight[:, rows], low=self.low[:, rows],
                       high=self.high[:, rows], sign=self.sign[rows])

    def residuals(self, p: Array) -> Array:
        """y minus the curve of parameters p (6, N): (D, N)."""
        return self.y - evaluate(self.shape, self.x, p, self.sign)

    def tied(self) -> int:
        """The parameter that a gauge sets."""
        return HORMESIS if (self.high[HORMESIS] > self.low[HORMESIS]).any() else MIDPOINT

    def free(self) -> list[int]:
        """Parameters that are free in any curve."""
        return np.flatnonzero((self.high > self.low).any(axis=1)).tolist()


@dataclass(frozen=True)
class Gauge:
    """Holds the dose where the curve crosses `level` (N,), or its EC50 where that is NaN, at log10 dose `target` (N,)."""

    target: Array
    level: Array

    def take(self, rows: npt.NDArray[np.intp]) -> Gauge:
        """The gauge of some of the curves."""
        return Gauge(self.target[rows], self.level[rows])


@dataclass(frozen=True)
class Solution:
    """Parameters (6, N) and weighted residual sum of squares (N,)."""

    p: Array
    rss: Array


@dataclass
class _State:
    """Where the curves stand: parameters, residuals, Jacobian rows by parameter, damping."""

    p: Array
    residual: Array
    jacobian: list[Array]
    rss: Array
    damping: Array

    def take(self, keep: npt.NDArray[np.intp]) -> _State:
        return _State(self.p[:, keep], self.residual[:, keep], [rows[:, keep] for rows in self.jacobian], self.rss[keep],
                      self.damping[keep])


def minimise(problem: Problem, start: Array, *, gauge: Gauge | None = None, max_iterations: int = MAX_ITERATIONS,
             tolerance: float = TOLERANCE) -> Solution:
    """The bounded least-squares minimum next to `start` (6, N). Deterministic; each curve ends on its own."""
    if not start.shape[1]:
        return Solution(start.copy(), np.zeros(0))
    free = [index for index in problem.free() if gauge is None or index != problem.tied()]
    best_p, best_rss = start.copy(), np.full(start.shape[1], np.inf)
    active = np.arange(start.shape[1])
    state = _evaluate(problem, np.clip(start, problem.low, problem.high), free, gauge)
    for _ in range(max_iterations):
        state, done = _step(problem, state, free, gauge, tolerance)
        if done.any():
            ended, keep = np.flatnonzero(done), np.flatnonzero(~done)
            best_p[:, active[ended]], best_rss[active[ended]] = state.p[:, ended], state.rss[ended]
            active = active[keep]
            if not len(active):
                return Solution(best_p, best_rss)
            problem, state, gauge = problem.take(keep), state.take(keep), gauge and gauge.take(keep)
    best_p[:, active], best_rss[active] = state.p, state.rss
    return Solution(best_p, best_rss)


def _evaluate(problem: Problem, p: Array, free: Sequence[int], gauge: Gauge | None) -> _State:
    """Residuals and the Jacobian of the free parameters at p; with a gauge, p's midpoint is set by it."""
    ties: dict[int, Array] = {}
    tied = problem.tied()
    if gauge is not None:
        p, ties = (_tie_hormesis if tied == HORMESIS else _tie)(problem, p, gauge)
    z = scaled_distance(problem.x, p)
    g, by_z, by_s = shape_terms(problem.shape, z, p[LOG_ASYMMETRY], problem.sign)
    span = p[RIGHT] - p[LEFT]
    value = p[LEFT] + span * g
    rows: dict[int, Array] = {LEFT: 1.0 - g, RIGHT: g}
    if HORMESIS in (*free, tied):
        dose = np.power(10.0, problem.x)
        rows[HORMESIS] = dose * (1.0 - g)
        value = value + p[HORMESIS] * rows[HORMESIS]
        span = span - p[HORMESIS] * dose
    steep = span * by_z
    rows[MIDPOINT] = steep * (-LN10 * np.exp(p[LOG_SLOPE]))
    rows[LOG_SLOPE] = steep * z
    if by_s is not None:
        rows[LOG_ASYMMETRY] = span * by_s
    jacobian = [rows[index] + rows[tied] * ties[index] if index in ties else rows[index] for index in free]
    residual = problem.y - value
    return _State(p, residual, jacobian, (problem.weight * residual * residual).sum(axis=0), np.full(p.shape[1], 1e-3))


def _tie(problem: Problem, p: Array, gauge: Gauge) -> tuple[Array, dict[int, Array]]:
    """p with the midpoint that keeps the gauge, and the midpoint's derivatives by the other parameters."""
    slope, halfway = LN10 * np.exp(p[LOG_SLOPE]), np.isnan(gauge.level)
    span = p[RIGHT] - p[LEFT]
    span = np.where(halfway | (span == 0.0), 1.0, span)     # plateaus that rounding makes equal: where they are crossed says nothing
    q = np.where(halfway, 0.5, np.minimum(np.maximum((gauge.level - p[LEFT]) / span, 1e-9), 1 - 1e-9))
    u = shape_inverse(problem.shape, q, p[LOG_ASYMMETRY], problem.sign)
    _, by_z, by_s = shape_terms(problem.shape, u[None], p[LOG_ASYMMETRY], problem.sign)
    p = p.copy()
    p[MIDPOINT] = gauge.target - u / slope
    ties = {LOG_SLOPE: u / slope}
    if by_s is not None:
        ties[LOG_ASYMMETRY] = by_s[0] / (by_z[0] * slope)
    if not halfway.all():
        by_q = np.where(halfway, 0.0, -1.0 / (slope * by_z[0]))
        ties[LEFT], ties[RIGHT] = by_q * (q - 1.0) / span, by_q * -q / span
    return p, ties


def _tie_hormesis(problem: Problem, p: Array, gauge: Gauge) -> tuple[Array, dict[int, Array]]:
    """p with the hormesis that brings the curve to its level (or the middle of its plateaus) at the gauge's dose."""
    slope = LN10 * np.exp(p[LOG_SLOPE])
    z = np.clip(slope * (gauge.target - p[MIDPOINT]), -700.0, 30.0)
    g = 1.0 / (1.0 + np.exp(-z))
    halfway = np.isnan(gauge.level)
    share, level = np.where(halfway, 0.5, 0.0), np.where(halfway, 0.5 * (p[LEFT] + p[RIGHT]), gauge.level)
    reach = np.power(10.0, gauge.target) * (1.0 - g)
    p = p.copy()
    p[HORMESIS] = (level - p[LEFT] - (p[RIGHT] - p[LEFT]) * g) / reach
    by_g = (level - p[RIGHT]) / (reach * (1.0 - g))
    return p, {LEFT: (share - 1.0 + g) / reach, RIGHT: (share - g) / reach, MIDPOINT: -by_g * g * (1.0 - g) * slope,
               LOG_SLOPE: by_g * g * (1.0 - g) * z}


def _step(problem: Problem, state: _State, free: Sequence[int], gauge: Gauge | None,
          tolerance: float) -> tuple[_State, npt.NDArray[np.bool_]]:
    """One damped step of every curve, kept where it lowers the sum of squares; which curves have arrived."""
    normal, gradient = _normal_equations(problem, state, free)
    diagonal = np.array([normal[i][i] for i in range(len(free))])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        cosine = np.where(diagonal > 0, gradient**2 / (diagonal * state.rss), 0.0)
    arrived = ~(cosine > tolerance).any(axis=0)
    step = _solve(normal, gradient, diagonal, state.damping)
    trial_p, rows = state.p.copy(), np.asarray(free)
    trial_p[rows] = np.minimum(np.maximum(trial_p[rows] + step, problem.low[rows]), problem.high[rows])
    trial = _evaluate(problem, trial_p, free, gauge)
    better = trial.rss < state.rss
    fall = np.where(better, state.rss - trial.rss, 0.0)
    small = fall <= tolerance * state.rss
    done = arrived | (small & better) | (~better & (state.damping > 1e7))
    merged = _merge(state, trial, better)
    merged.damping = np.where(better, np.maximum(state.damping * 0.2, 1e-12), state.damping * 10.0)
    return merged, done


def _merge(old: _State, new: _State, better: npt.NDArray[np.bool_]) -> _State:
    if better.all():
        return new
    return _State(np.where(better, new.p, old.p), np.where(better, new.residual, old.residual),
                  [np.where(better, a, b) for a, b in zip(new.jacobian, old.jacobian, strict=True)],
                  np.where(better, new.rss, old.rss), old.damping)


def _normal_equations(problem: Problem, state: _State, free: Sequence[int]) -> tuple[list[list[Array]], Array]:
    """J'WJ (lower triangle) and J'Wr; a parameter pressed against its bound is frozen for this step."""
    weighted = [problem.weight * one for one in state.jacobian]
    gradient = np.array([(one * state.residual).sum(axis=0) for one in weighted])
    rows = np.asarray(free)
    p, low, high = state.p[rows], problem.low[rows], problem.high[rows]
    frozen = ((p <= low) & (gradient < 0)) | ((p >= high) & (gradient > 0))
    normal = [[(weighted[i] * state.jacobian[j]).sum(axis=0) for j in range(i + 1)] for i in range(len(free))]
    if frozen.any():
        gradient[frozen] = 0.0
        loose = (~frozen).astype(float)
        normal = [[value * (loose[i] * loose[j]) for j, value in enumerate(row)] for i, row in enumerate(normal)]
    return normal, gradient


def _solve(normal: list[list[Array]], gradient: Array, diagonal: Array, damping: Array) -> Array:
    """(J'WJ + damping diag) step = J'Wr by an unrolled Cholesky factorisation over the curves."""
    size = len(gradient)
    floor = np.where(diagonal > _NOTHING, diagonal * (1.0 + damping), 1.0)
    lower: list[list[Array]] = []
    for i in range(size):
        row: list[Array] = []
        for j in range(i):
            row.append(_less(normal[i][j], row[:j], lower[j]) / lower[j][j])
        row.append(np.sqrt(np.maximum(_less(floor[i], row, row), 1e-14 * floor[i])))
        lower.append(row)
    forward: list[Array] = []
    for i in range(size):
        forward.append(_less(gradient[i], forward, lower[i]) / lower[i][i])
    step: list[Array] = []      # from the last parameter to the first
    for i in reversed(range(size)):
        step.append(_less(forward[i], step[::-1], [lower[k][i] for k in range(i + 1, size)]) / lower[i][i])
    return np.array(step[::-1])


def _less(value: Array, left: Sequence[Array], right: Sequence[Array]) -> Array:
    """The value minus the sum of the products of `left` with as many of `right`."""
    if not left:
        return value
    total = left[0] * right[0]
    for one, other in zip(left[1:], right[1:], strict=False):
        total = total + one * other
    return value - total
