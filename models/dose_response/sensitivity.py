"""Scores of a fitted curve: AUC and the drug sensitivity scores.

All are integrals over log10 dose between the lowest and highest tested dose: closed form for 2-4PL, Gauss-Legendre for the
other models, a trapezoid only where mode "itrex" imitates one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.dose_response.checks import require_columns
from models.dose_response.curves import HORMESIS, LEFT, LN10, LOG_SLOPE, MIDPOINT, MODELS, RIGHT, Array, curve_parameters, evaluate
from models.dose_response.options import Mode
from models.errors import InputError

KINDS = ("auc", "dss1", "dss2", "dss3", "dss_asym")
ADJUSTED = "dss_asym_adj"
THRESHOLD = 10.0          # percent inhibition that counts as activity (Yadav et al. 2014)
_NODES, _PANELS = 20, 16
_ITREX_POINTS = 200


def score_curves(curves: pd.DataFrame, *, kinds: Sequence[str] = KINDS, mode: Mode = "clean") -> pd.DataFrame:
    """A copy of `curves` with a column per kind; NaN where no curve was fitted.

    curves  the Curves table on scale percent_inhibition or fraction_viability (converted), as fit_curves gives it
    auc     mean viability over the tested log10 doses: 1 = no effect, 0 = all dead; not clipped
    dss1-3  Yadav et al. 2014. "clean": area of the curve above 10 % inhibition; "fimm": the original function's rules
            (bottom taken as 0, top at most 100, 0 when the midpoint reaches the top dose)
    dss_asym  iTReX: 50 Int max(0, y - A) dx / ((100 - A)(x2 - x0)), A = 0.1 max(100, min(110, upper plateau)); a
            falling curve counts as its value at the top dose
    dss_asym_adj  times max(0, r2), as in iTReX; only where it is asked for
    Raises InputError for an unknown kind or mode or scale raw (which has no 0 and 100 %), TableError for missing columns.
    """
    _check(curves, kinds, mode)
    scored = curves.copy()
    if not len(curves):
        return scored.assign(**{kind: pd.Series(dtype=float) for kind in kinds})
    known = np.flatnonzero(np.isfinite(curves["top"].to_numpy(dtype=float)))
    fitted = curves.iloc[known]
    p, sign = _as_inhibition(fitted)
    low, high = (np.log10(fitted[name].to_numpy(dtype=float)) for name in ("dose_min", "dose_max"))
    shapes = {name: model.shape for name, model in MODELS.items()}
    shape = np.array([shapes.get(name, "logistic") for name in fitted["model"]], dtype=object)
    area = _Area(shape, p, sign, low, high)
    for kind in kinds:
        values = np.full(len(curves), np.nan)
        values[known] = (_score(area, kind=kind, mode=mode) if kind != ADJUSTED else
                         _dss_asym(area, mode) * np.maximum(fitted["r2"].to_numpy(dtype=float), 0.0))
        scored[kind] = values
    return scored


@dataclass(frozen=True)
class _Area:
    """N curves in percent inhibition, and their integrals between log10 doses: shape (N,), parameters p (6, N), mirror sign (N,); low, high
    (N,): log10 of the lowest and the highest tested dose.
    """

    shape: npt.NDArray[np.object_]
    p: Array
    sign: Array
    low: Array
    high: Array

    @property
    def closed(self) -> npt.NDArray[np.bool_]:
        """Which integrals have a closed form, (N,)."""
        return np.asarray((self.shape == "logistic") & (self.p[HORMESIS] == 0.0))

    def values(self, x: Array) -> Array:
        """Inhibition at x (D, N) or (1, N)."""
        out: Array = np.empty((x.shape[0], len(self.sign)))
        for shape in set(self.shape):
            rows = np.flatnonzero(self.shape == shape)
            out[:, rows] = evaluate(shape, x[:, rows], self.p[:, rows], self.sign[rows])
        return out

    def integral(self, start: Array, end: Array) -> Array:
        """Int y dx; the logistic part by two softplus terms."""
        left, span, slope = self.p[LEFT], self.p[RIGHT] - self.p[LEFT], np.exp(self.p[LOG_SLOPE])
        terms = [np.logaddexp(0.0, LN10 * slope * (x - self.p[MIDPOINT])) for x in (start, end)]
        total: Array = left * (end - start) + span / (slope * LN10) * (terms[1] - terms[0])
        rest = np.flatnonzero(~self.closed)
        if len(rest):
            total[rest] = self.take(rest)._quadrature(start[rest], end[rest], floor=None)
        return total

    def above(self, floor: Array) -> tuple[Array, Array]:
        """Int max(0, y - floor) dx over the tested doses, and the length of the part above the floor."""
        slope = LN10 * np.exp(self.p[LOG_SLOPE])
        span = self.p[RIGHT] - self.p[LEFT]
        with np.errstate(divide="ignore", invalid="ignore"):
            q = (floor - self.p[LEFT]) / span
            cross = self.p[MIDPOINT] + (np.log(q) - np.log1p(-q)) / slope
        cross = np.where(self.p[LEFT] >= floor, -np.inf, np.where(self.p[RIGHT] <= floor, np.inf, cross))
        start = np.clip(cross, self.low, self.high)
        area = np.maximum(self.integral(start, self.high) - floor * (self.high - start), 0.0)
        length = self.high - start
        rest = np.flatnonzero(~self.closed)
        if len(rest):
            area[rest], length[rest] = self.take(rest)._above_numeric(floor[rest])
        return area, length

    def take(self, rows: npt.NDArray[np.intp]) -> _Area:
        """Some of the curves."""
        return _Area(self.shape[rows], self.p[:, rows], self.sign[rows], self.low[rows], self.high[rows])

    def _above_numeric(self, floor: Array) -> tuple[Array, Array]:
        """`above` of shapes without a closed form: between the sign changes of y - floor, found by scan and bisection."""
        grid = self.low + np.linspace(0.0, 1.0, 129)[:, None] * (self.high - self.low)
        sides = self.values(grid) > floor
        area, length = np.zeros(len(floor)), np.zeros(len(floor))
        edges = grid[1:].copy()
        change = sides[1:] != sides[:-1]
        a, b = grid[:-1].copy(), grid[1:].copy()
        for _ in range(45 if change.any() else 0):
            middle = 0.5 * (a + b)
            same = (self.values(middle) > floor) == sides[:-1]
            a, b = np.where(same, middle, a), np.where(same, b, middle)
        edges = np.where(change, 0.5 * (a + b), edges)
        for i in range(grid.shape[0] - 1):
            start = np.where(sides[i], grid[i], edges[i])
            end = np.where(sides[i + 1], grid[i + 1], edges[i])
            inside = sides[i] | sides[i + 1]
            part = self._quadrature(start, end, floor=floor, panels=1)
            area += np.where(inside, part, 0.0)
            length += np.where(inside, end - start, 0.0)
        return area, length

    def _quadrature(self, start: Array, end: Array, *, floor: Array | None, panels: int = _PANELS) -> Array:
        nodes, weights = np.polynomial.legendre.leggauss(_NODES if panels > 1 else 8)
        width = (end - start) / panels
        total = np.zeros(len(start))
        for i in range(panels):
            x = start + width * (i + 0.5 * (nodes[:, None] + 1.0))
            y = self.values(x) - (0.0 if floor is None else floor)
            total += 0.5 * width * (weights @ y)
        return total


def _check(curves: pd.DataFrame, kinds: Sequence[str], mode: str) -> None:
    for field, values, allowed in (("kinds", kinds, (*KINDS, ADJUSTED)), ("mode", [mode], get_args(Mode))):
        for value in values:
            if value not in allowed:
                raise InputError(f"{field} must be among {', '.join(allowed)}, got {value!r}")
    require_columns(curves, ["model", "scale", "direction", "bottom", "top", "log10_midpoint", "slope", "asymmetry", "hormesis",
                             "dose_min", "dose_max", *(["r2"] if ADJUSTED in kinds else [])], what="curves cannot be scored")
    if (curves["scale"] == "raw").any():
        raise InputError("curves on scale raw have no 0 % and 100 %: normalise the responses before scoring")


def _as_inhibition(curves: pd.DataFrame) -> tuple[Array, Array]:
    """Parameters and mirror signs in percent inhibition; curves that are constants get a harmless slope."""
    p, sign = curve_parameters(curves)
    viability = (curves["scale"] == "fraction_viability").to_numpy()
    p[:2] = np.where(viability, 100.0 * (1.0 - p[:2]), p[:2])
    p[HORMESIS] = np.where(viability, -100.0 * p[HORMESIS], p[HORMESIS])
    constant = np.isnan(p[MIDPOINT])
    p[2:, constant] = 0.0
    return p, sign


def _score(area: _Area, *, kind: str, mode: Mode) -> Array:
    width = area.high - area.low
    if kind == "auc":
        return 1.0 - area.integral(area.low, area.high) / width / 100.0
    if kind == "dss_asym":
        return _dss_asym(area, mode)
    return _dss_fimm(area, kind) if mode == "fimm" else _dss_clean(area, kind)


def _dss_clean(area: _Area, kind: str) -> Array:
    """Area of the curve (top at most 100) above 10 % inhibition, with the factors of DSS1-3 but none of their cliffs."""
    p = _held_if_falling(area)
    p[:2] = np.minimum(p[:2], 100.0)
    inside, length = replace(area, p=p).above(np.full(len(area.sign), THRESHOLD))
    width = area.high - area.low
    dss = 100.0 * inside / ((100.0 - THRESHOLD) * width)
    return _variant(dss, kind, top=np.maximum(p[LEFT], p[RIGHT]), part=length / width)


def _variant(dss1: Array, kind: str, *, top: Array, part: Array) -> Array:
    """DSS2 and DSS3 from DSS1, the upper plateau in percent and the active part of the dose range."""
    if kind == "dss1":
        return dss1
    log_top = np.log10(np.where(top > THRESHOLD, top, 10.0))
    return dss1 / log_top if kind == "dss2" else dss1 * 2.0 / log_top * part


def _dss_fimm(area: _Area, kind: str) -> Array:
    """The original function, rule by rule (Yadav et al. 2014)."""
    top = np.minimum(np.maximum(area.p[LEFT], area.p[RIGHT]), 100.0)
    slope, c = np.exp(area.p[LOG_SLOPE]), area.p[MIDPOINT]
    x0, x2 = area.low, area.high
    with np.errstate(divide="ignore", invalid="ignore"):
        x1 = c - np.log10(np.maximum(top - THRESHOLD, 1e-300) / THRESHOLD) / slope
    x1 = np.clip(x1, x0, x2)
    soft = [np.logaddexp(0.0, LN10 * slope * (x - c)) / LN10 for x in (x1, x2)]
    inside = top / slope * (soft[1] - soft[0]) - THRESHOLD * (x2 - x1)
    dss = 100.0 * inside / ((100.0 - THRESHOLD) * (x2 - x0))
    score = _variant(dss, kind, top=top, part=(x2 - x1) / (x2 - x0))
    limit = 50.0 if kind == "dss2" else 100.0
    zero = (top <= THRESHOLD) | (area.p[RIGHT] <= area.p[LEFT]) | (c >= x2) | ~((score >= 0) & (score <= limit))
    return np.where(zero, 0.0, score)


def _held_if_falling(area: _Area) -> Array:
    """Parameters with every curve whose inhibition falls replaced by its value at the top dose."""
    p = area.p.copy()
    falling = p[RIGHT] < p[LEFT]
    last = area.values(area.high[None])[0]
    p[:2, falling] = last[falling]
    p[HORMESIS, falling] = 0.0
    return p


def _dss_asym(area: _Area, mode: Mode) -> Array:
    floor = 0.1 * np.clip(np.maximum(area.p[LEFT], area.p[RIGHT]), 100.0, 110.0)
    held = replace(area, p=_held_if_falling(area))
    if mode == "itrex":
        x = area.low + np.linspace(0.0, 1.0, _ITREX_POINTS)[:, None] * (area.high - area.low)
        inside = np.trapezoid(np.maximum(held.values(x) - floor, 0.0), x, axis=0)
    else:
        inside, _ = held.above(floor)
    return np.asarray(50.0 * inside / ((100.0 - floor) * (area.high - area.low)))
