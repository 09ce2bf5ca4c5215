"""Confidence intervals of log10 EC50 and log10 IC by profile likelihood, and by Wald on log dose as an option.

Profile: the doses at which the best fit that is forced through them is worse by F(level; 1, n - k) residual variances
(Bates and Watts 1988, section 6.1). A side that never gets so much worse within the bounds of the midpoint is open: NaN.

A logistic curve takes for granted what wells can hardly tell: that its two bends are alike. Where they need not be, the forced fit may
bend otherwise within bounds. The best fit and its residual variance stay those of the logistic curve, so that limits get wider. But a
trace follows one of several ways to bend: of four or five doses 4 in 100 limits, of eight or more 1 in 100, fall short of the farthest dose
that another way would reach, by 5 % of it in the median and seldom by more than 20 %; some of them are narrower than the logistic curve's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from models.dose_response.curves import (
    HORMESIS,
    LEFT,
    LN10,
    LOG_ASYMMETRY,
    LOG_SLOPE,
    MIDPOINT,
    RIGHT,
    Array,
    scaled_distance,
    shape_terms,
)
from models.dose_response.engine import MIDPOINT_MARGIN
from models.dose_response.solver import Gauge, Problem, minimise

ASYMMETRIES = (1 / 3, 3.0)      # exponents of the 5PL: what limits cost and hold by these bounds is in docs/curve_accuracy.md
_EXPANSIONS, _REFINEMENTS = 14, 14
_STEPS, _INNER = 40, 1e-7
_AT_BOUND = 1e-6
_TOLERANCE = 2e-4       # of the square root of the rise, relative to the threshold: log10 dose to about 1e-4 standard errors


@dataclass(frozen=True)
class Limits:
    """Lower and upper limit (N,) in x = log10 dose relative to the top dose; NaN = open."""

    low: Array
    high: Array


@dataclass(frozen=True)
class _Side:
    """Profiles to be traced: one row per curve and side. step < 0 searches downwards."""

    problem: Problem
    start: Array
    centre: Array
    step: Array
    edge: Array
    rss: Array
    rise: Array
    level: Array

    def take(self, keep: npt.NDArray[np.intp]) -> _Side:
        return _Side(self.problem.take(keep), self.start[:, keep], self.centre[keep], self.step[keep], self.edge[keep],
                     self.rss[keep], self.rise[keep], self.level[keep])


@dataclass(frozen=True)
class _End:
    """Ends of brackets: dose x (N,), f (N,) and the profile's parameters p (6, N) there."""

    x: Array
    f: Array
    p: Array

    def take(self, rows: npt.NDArray[np.intp]) -> _End:
        return _End(self.x[rows], self.f[rows], self.p[:, rows])

    def put(self, rows: npt.NDArray[np.intp], end: _End) -> None:
        self.x[rows], self.f[rows], self.p[:, rows] = end.x, end.f, end.p


def allowed_rise(*, rss: Array, n: npt.NDArray[np.intp], free: npt.NDArray[np.intp], level: float, least: float = 1.0) -> Array:
    """Rise of the residual sum of squares at a confidence limit; NaN without degrees of freedom. least: of them, that the F has."""
    spare = (n - free).astype(float)
    spare = np.where(spare > 0, spare, np.nan)
    rise: Array = rss / spare * special.fdtri(1, np.fmax(spare, least), level)
    return rise


def profile_limits(problem: Problem, p: Array, *, estimate: Array, rise: Array, lowest: Array, level: Array,
                   bends: Array | None) -> Limits:
    """Limits of the dose where the curve crosses `level` (N,), or of the EC50 where that is NaN.

    p (6, N): the fit; estimate (N,): log10 of its EC50 or IC, inf or -inf where the curve does not reach the level (then
    only the near side is searched, from the bound of the midpoint inwards), NaN where there is none (both sides stay open);
    rise (N,): allowed_rise; lowest (N,): x of the lowest dose; bends (N,): the sign (curves.mirror_signs) of 5PLs of any exponent in
    ASYMMETRIES that a logistic curve (without hormesis) may be as well.
    """
    size = p.shape[1]
    limits = np.full(2 * size, np.nan)
    usable = np.flatnonzero(~np.isnan(estimate) & np.isfinite(rise) & (rise > 0))
    if not len(usable):
        return Limits(limits[:size], limits[size:])
    edges = np.stack([lowest - MIDPOINT_MARGIN, np.full(size, MIDPOINT_MARGIN)])
    beyond = np.stack([estimate <= edges[0], estimate >= edges[1]])
    rows = np.concatenate([usable, usable])
    up = np.repeat([0, 1], len(usable))
    bounded = _keep_crossing(problem if bends is None else _with_asymmetry(problem, bends), p, level)
    spread = np.clip(_standard_steps(problem, p, rise)[rows], 1e-3, 0.5)
    side = _Side(bounded.take(rows), p[:, rows], np.clip(estimate, *edges)[rows], np.where(up == 0, -spread, spread),
                 edges[up, rows], _rss(problem, p)[rows], rise[rows], level[rows])
    wanted = np.flatnonzero(~beyond[up, rows])
    wanted = wanted[_allowed_at_start(side.take(wanted), beyond[1 - up, rows][wanted])]
    limits[(rows + up * size)[wanted]] = _limit(side.take(wanted))
    return Limits(limits[:size], limits[size:])


def _with_asymmetry(problem: Problem, sign: Array) -> Problem:
    """A logistic curve's problem with its asymmetry free within ASYMMETRIES; others, and those with hormesis, as they are."""
    if problem.shape != "logistic" or HORMESIS in problem.free():
        return problem
    low, high = problem.low.copy(), problem.high.copy()
    low[LOG_ASYMMETRY], high[LOG_ASYMMETRY] = np.log(ASYMMETRIES)[:, None]
    return replace(problem, shape="power", low=low, high=high, sign=sign)


def _allowed_at_start(side: _Side, beyond: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """False for a search that starts at a bound which the data already exclude."""
    allowed = np.ones(len(beyond), dtype=bool)
    rows = np.flatnonzero(beyond)
    if len(rows):
        here = side.take(rows)
        allowed[rows] = _profile(here, here.start, here.centre).f < 0
    return allowed


def _rss(problem: Problem, p: Array) -> Array:
    rss: Array = (problem.weight * problem.residuals(p) ** 2).sum(axis=0)
    return rss


def _keep_crossing(problem: Problem, p: Array, level: Array) -> Problem:
    """Bounds that keep the two plateaus on their sides of the level, where there is one."""
    up = p[RIGHT] >= p[LEFT]
    gap = 1e-6 * (np.abs(p[RIGHT] - p[LEFT]) + 1e-300)
    low, high = problem.low.copy(), problem.high.copy()
    for index, above in ((LEFT, ~up), (RIGHT, up)):
        low[index] = np.where(above, np.fmax(low[index], level + gap), low[index])
        high[index] = np.where(above, high[index], np.fmin(high[index], level - gap))
    low = np.minimum(low, high)
    return replace(problem, low=low, high=high)


def _standard_steps(problem: Problem, p: Array, rise: Array) -> Array:
    """First guess of the distance to a limit: sqrt(rise) over the sensitivity of the curve to its midpoint."""
    z = scaled_distance(problem.x, p)
    _, by_z, _ = shape_terms(problem.shape, z, p[LOG_ASYMMETRY], problem.sign)
    sensitivity = ((p[RIGHT] - p[LEFT]) * by_z * LN10 * np.exp(p[LOG_SLOPE])) ** 2
    information: Array = (problem.weight * sensitivity).sum(axis=0)
    with np.errstate(over="ignore"):
        return np.asarray(1.5 * np.sqrt(rise / np.maximum(information, 1e-200)))


def _limit(side: _Side) -> Array:
    """The limit of every row. One that the bound of the slope holds back is sought again without it: where the effect jumps between two
    doses, no place between them is excluded.
    """
    limit, slope = _trace(side)
    held = np.flatnonzero(np.isfinite(limit) & (slope > side.problem.high[LOG_SLOPE] - _AT_BOUND))
    if len(held):
        here = side.take(held)
        high = here.problem.high.copy()
        high[LOG_SLOPE] += LN10         # ten times as steep is a step, on any plate
        again, _ = _trace(replace(here, problem=replace(here.problem, high=high)))
        limit[held] = np.where(here.step > 0, np.maximum(limit[held], again), np.minimum(limit[held], again))
    return limit


def _trace(side: _Side) -> tuple[Array, Array]:
    """The limit of every row, and log slope there: walk outwards in growing steps until the rise is reached, then refine in the bracket."""
    size = len(side.centre)
    found = np.full(size, np.nan)
    inner = _End(side.centre.copy(), np.full(size, -1.0), side.start.copy())
    outer = _End(side.centre.copy(), np.full(size, -1.0), side.start.copy())
    walking = np.arange(size)
    for turn in range(_EXPANSIONS):
        here = side.take(walking)
        reach = here.centre + here.step * 2.0**turn
        last = here.step * (reach - here.edge) >= 0
        target = np.where(last, here.edge, reach)
        outer.put(walking, _profile(here, inner.p[:, walking], target))
        go_on = (outer.f[walking] < 0) & ~last
        walking = walking[go_on]
        inner.put(walking, outer.take(walking))
        if not len(walking):
            break
    closed = np.flatnonzero(outer.f >= 0)
    if len(closed):
        found[closed], outer.p[:, closed] = _refine(side.take(closed), inner.take(closed), outer.take(closed))
    return found, outer.p[LOG_SLOPE]


def _profile(side: _Side, p: Array, target: Array) -> _End:
    """Best parameters with the dose held at target, and f = sqrt(rise so far / allowed rise) - 1; NaN where no number is large or small
    enough for that curve, so that the limit is open.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        solution = minimise(side.problem, p, gauge=Gauge(target, side.level), max_iterations=_STEPS, tolerance=_INNER)
        return _End(target, np.sqrt(np.maximum(solution.rss - side.rss, 0.0) / side.rise) - 1.0, solution.p)


def _refine(side: _Side, inner: _End, outer: _End) -> tuple[Array, Array]:
    """Root of f between inner (f < 0) and outer (f >= 0) by the Illinois rule, all rows at once, and the parameters (6, N) there. Each step
    starts from parameters interpolated between the two ends."""
    root, at_root = outer.x.copy(), outer.p.copy()
    kept = np.zeros(len(root))              # which end the last step kept: -1 inner, 1 outer
    active = np.arange(len(root))
    for _ in range(_REFINEMENTS):
        a, b = inner.take(active), outer.take(active)
        part = -a.f / np.maximum(b.f - a.f, 1e-300)
        new = _profile(side.take(active), a.p + part * (b.p - a.p), a.x + part * (b.x - a.x))
        root[active], at_root[:, active] = np.where(np.isnan(new.f), np.nan, new.x), new.p
        below = new.f < 0
        for end, other, chosen, name in ((inner, outer, below, 1.0), (outer, inner, ~below, -1.0)):
            rows = active[chosen]
            end.put(rows, new.take(np.flatnonzero(chosen)))
            other.f[rows] *= np.where(kept[rows] == name, 0.5, 1.0)
            kept[rows] = name
        active = active[np.abs(new.f) > _TOLERANCE]
        if not len(active):
            break
    return root, at_root


def wald_limits(problem: Problem, p: Array, *, estimate: Array, rise: Array) -> Limits:
    """estimate -+ sqrt(rise) times the standard error of the midpoint per residual variance, on log10 dose."""
    z = scaled_distance(problem.x, p)
    g, by_z, by_s = shape_terms(problem.shape, z, p[LOG_ASYMMETRY], problem.sign)
    steep = (p[RIGHT] - p[LEFT]) * by_z
    rows = {LEFT: 1.0 - g, RIGHT: g, MIDPOINT: -steep * LN10 * np.exp(p[LOG_SLOPE]), LOG_SLOPE: steep * z}
    if by_s is not None:
        rows[LOG_ASYMMETRY] = (p[RIGHT] - p[LEFT]) * by_s
    free = [index for index in problem.free() if index in rows]
    jacobian = np.stack([rows[index] for index in free])                         # (P, D, N)
    normal = np.einsum("idn,dn,jdn->nij", jacobian, problem.weight, jacobian)
    covariance = np.linalg.pinv(normal, hermitian=True)
    at = free.index(MIDPOINT)
    half = np.sqrt(np.maximum(covariance[:, at, at], 0.0) * rise)
    return Limits(estimate - half, estimate + half)
