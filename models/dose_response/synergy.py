"""Two drugs together: is the effect more than expected? All on percent inhibition.

Expected effect of doses (a, b) with single effects y1(a), y2(b):
  bliss  y1 + y2 - y1 y2 / 100             (independent action)
  hsa    max(y1, y2)                       (highest single agent)
  loewe  y that solves a/D1(y) + b/D2(y) = 1, D the doses that give y alone; a drug that cannot reach y adds nothing
  zip    Bliss of the two FITTED single curves; the observed effect is smoothed too: the mean of two 4PL curves through
         the row and the column of the well, each starting from the other drug's fitted effect (Yadav et al. 2015)
Bliss and HSA use the measured single effects (means of replicates), Loewe and ZIP fitted 4PL curves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.dose_response.batches import MIN_DOSES, batches, summarise, usable_points
from models.dose_response.checks import numbers_of, require_columns
from models.dose_response.curves import LEFT, RIGHT, Array, evaluate, log10_dose_at, log10_or_none
from models.dose_response.engine import BatchFit, fit_4pl_within, parameter_bounds
from models.dose_response.options import FitOptions
from models.errors import InputError

Kind = Literal["bliss", "hsa", "loewe", "zip"]
Curve = Callable[[Array], Array]
MEASURED = ("bliss", "hsa")


@dataclass(frozen=True)
class SingleCurve:
    """A fitted 4PL of one drug: percent inhibition at doses, and the dose that gives an effect."""

    fit: BatchFit
    shift: float

    def effect(self, dose: Array) -> Array:
        """Percent inhibition at doses (any shape (n,), 0 allowed)."""
        x = log10_or_none(dose) - np.where(dose > 0, self.shift, 0.0)
        return evaluate(self.fit.problem.shape, x[:, None], self.fit.p, self.fit.problem.sign)[:, 0]

    def dose(self, effect: Array) -> Array:
        """Dose that gives the effect alone; 0 below the curve, inf above it."""
        low, high = sorted((float(self.fit.p[LEFT, 0]), float(self.fit.p[RIGHT, 0])))
        many = np.repeat(self.fit.p, len(effect), axis=1)
        x = log10_dose_at(self.fit.problem.shape, effect, many, np.ones(len(effect)))
        return np.where(effect <= low, 0.0, np.where(effect >= high, np.inf, 10.0 ** (x + self.shift)))


def synergy(table: pd.DataFrame, *, dose_1: str, dose_2: str, response: str, kind: Kind = "bliss") -> pd.DataFrame:
    """A row per well, in order: dose_1, dose_2, response, expected, fitted (zip only), excess, reason.

    table   row = well of ONE combination, single-drug wells (other dose 0) included; response in percent inhibition; wells that a
            column `excluded` leaves out count as without a response
    excess  response (zip: fitted response) minus expected, in percent inhibition; > 0 synergy, < 0 antagonism; 0 by
            definition where a dose is 0. NaN where it cannot be computed, and `reason` says why
    Raises TableError for missing columns, InputError for an unknown kind.
    """
    if kind not in get_args(Kind):
        raise InputError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    require_columns(table, [dose_1, dose_2, response], what="synergy cannot be computed")
    a, b = (np.asarray(pd.to_numeric(table[name], errors="coerce"), dtype=float) for name in (dose_1, dose_2))
    y = numbers_of(table, response)
    both = (a > 0) & (b > 0)
    cell = _cell_means(a, b, y)
    smooth = cell.copy()
    if kind in MEASURED:
        expected, reason = _measured(a, b, cell, kind), "a single-drug well of the same dose is missing"
    else:
        expected, smooth, reason = _fitted(a, b, y, kind)
    expected = np.where(both, expected, cell)
    observed = np.where(both, smooth, y) if kind == "zip" else y
    excess = np.where(both, observed, y) - expected
    result = pd.DataFrame({"dose_1": a, "dose_2": b, "response": y, "expected": expected}, index=table.index)
    if kind == "zip":
        result["fitted"] = observed
    result["excess"] = excess
    result["reason"] = np.where(np.isfinite(excess), "", np.where(np.isfinite(y), reason, "no response"))
    return result


def _cell_means(a: Array, b: Array, y: Array) -> Array:
    """Mean response of the wells with the same two doses, for every well."""
    frame = pd.DataFrame({"a": a, "b": b, "y": np.where(np.isfinite(y), y, np.nan)})
    return np.asarray(frame.groupby(["a", "b"], dropna=False)["y"].transform("mean"), dtype=float)


def _measured(a: Array, b: Array, cell: Array, kind: Kind) -> Array:
    first = pd.Series(cell[b == 0], index=a[b == 0]).groupby(level=0).mean()
    second = pd.Series(cell[a == 0], index=b[a == 0]).groupby(level=0).mean()
    y1, y2 = (np.asarray(single.reindex(dose), dtype=float) for single, dose in ((first, a), (second, b)))
    return np.asarray(y1 + y2 - y1 * y2 / 100.0 if kind == "bliss" else np.maximum(y1, y2))


def _fitted(a: Array, b: Array, y: Array, kind: Kind) -> tuple[Array, Array, str]:
    nothing = np.full(len(y), np.nan)
    curves = fit_single(a[b == 0], y[b == 0]), fit_single(b[a == 0], y[a == 0])
    if curves[0] is None or curves[1] is None:
        return nothing, nothing, f"a single drug has fewer than {MIN_DOSES} doses above 0"
    first, second = curves[0], curves[1]
    if kind == "loewe":
        return _loewe(a, b, first, second), y, "no response"
    expected, smooth = zip_surfaces(a, b, y, effects=(first.effect, second.effect))
    return expected, smooth, f"a row or column of the matrix has fewer than {MIN_DOSES} doses"


def fit_single(dose: Array, response: Array, *, start: float | None = None) -> SingleCurve | None:
    """4PL through one drug's doses (0 included), its effect at dose 0 held at `start` if given; None below 4 doses."""
    points = usable_points(np.zeros(len(dose), dtype=np.intp), dose, response)
    for batch in batches(points, summarise(points.group, points, 1), pooled=True):
        low, high = parameter_bounds(batch, model="4pl", scale="raw", options=FitOptions(), rising=True)
        if start is not None:
            low[LEFT], high[LEFT] = start, start
        return SingleCurve(fit_4pl_within(batch, low=low, high=high), float(batch.shift[0]))
    return None


def zip_surfaces(a: Array, b: Array, y: Array, *, effects: tuple[Curve, Curve]) -> tuple[Array, Array]:
    """Expected and smoothed effects (n,) of the wells with both drugs, from the two single-drug curves."""
    single = effects[0](a), effects[1](b)
    expected = single[0] + single[1] - single[0] * single[1] / 100.0
    smooth = [_along(a, b, y, single[1]), _along(b, a, y, single[0])]
    return expected, 0.5 * (smooth[0] + smooth[1])


def _along(varied: Array, held: Array, y: Array, base: Array) -> Array:
    """Effects smoothed along the varied drug at each dose of the held one, starting from the held one's effect."""
    out = np.full(len(y), np.nan)
    for dose in np.unique(held[held > 0]):
        wells = (held == dose) & (varied > 0)
        curve = fit_single(varied[wells], y[wells], start=float(base[wells][0])) if wells.any() else None
        if curve is not None:
            out[wells] = curve.effect(varied[wells])
    return out


def _loewe(a: Array, b: Array, first: SingleCurve, second: SingleCurve) -> Array:
    """Effect of additivity by bisection; the load a/D1 + b/D2 falls as the effect grows."""
    ends = [float(v) for curve in (first, second) for v in curve.fit.p[:2, 0]]
    low, high = np.full(len(a), min(ends)), np.full(len(a), max(ends))
    for _ in range(60):
        middle = 0.5 * (low + high)
        with np.errstate(divide="ignore", invalid="ignore"):
            load = _share(a, first.dose(middle)) + _share(b, second.dose(middle))
        low, high = np.where(load > 1.0, middle, low), np.where(load > 1.0, high, middle)
    return np.asarray(0.5 * (low + high))


def _share(dose: Array, needed: Array) -> npt.NDArray[np.float64]:
    return np.where(dose == 0, 0.0, dose / needed)
