"""The curve models, and fitted curves evaluated and inverted.

Every model is one sum in x = log10 dose:

    y(x) = L + (H - L - f c) g(z) + f c,   z = ln(10) b (x - m),   c = 10^x

L is the plateau towards dose 0, H the one towards infinite dose, g a shape that rises from 0 to 1, f the hormesis of
Brain and Cousens (0 elsewhere). Shapes: logistic 1/(1+e^-z) (2-4PL, Brain-Cousens); its power s (5PL); exp(-e^-z)
(Weibull, Gompertz). A mirrored shape is 1 - g(-z).

Which side is mirrored: 5PL is often written as B + (T-B)/(1+10^(b(m-x)))^s with b < 0 when inhibition or a raw response
falls (drc's LL.5): those are mirrored. Viability is 1 - inhibition/100, so its falling curve is not (drda's logistic5);
the same wells give the same EC50 on both scales. Weibull 1 follows the same rule and Weibull 2 its opposite (drc's W1.4,
W2.4); Gompertz is never mirrored (drda's gompertz on log dose).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.dose_response.options import Model
from models.errors import InputError

Array = npt.NDArray[np.float64]
Shape = Literal["logistic", "power", "gompertz"]
LN10 = float(np.log(10.0))
NO_DOSE = -1e4          # log10 dose that stands for dose 0: every shape is at its plateau there
LEFT, RIGHT, MIDPOINT, LOG_SLOPE, LOG_ASYMMETRY, HORMESIS = range(6)   # rows of a parameter array (6, N)


@dataclass(frozen=True)
class CurveModel:
    """A model: its shape, what is free in it, and when its shape is mirrored (+1 falling, -1 rising, 0 never)."""

    shape: Shape
    free: tuple[int, ...]
    mirror: int = 0


MODELS: dict[Model, CurveModel] = {
    "2pl": CurveModel("logistic", (MIDPOINT, LOG_SLOPE)),
    "3pl": CurveModel("logistic", (LEFT, RIGHT, MIDPOINT, LOG_SLOPE)),
    "4pl": CurveModel("logistic", (LEFT, RIGHT, MIDPOINT, LOG_SLOPE)),
    "5pl": CurveModel("power", (LEFT, RIGHT, MIDPOINT, LOG_SLOPE, LOG_ASYMMETRY), mirror=1),
    "brain_cousens": CurveModel("logistic", (LEFT, RIGHT, MIDPOINT, LOG_SLOPE, HORMESIS)),
    "weibull1": CurveModel("gompertz", (LEFT, RIGHT, MIDPOINT, LOG_SLOPE), mirror=1),
    "weibull2": CurveModel("gompertz", (LEFT, RIGHT, MIDPOINT, LOG_SLOPE), mirror=-1),
    "gompertz": CurveModel("gompertz", (LEFT, RIGHT, MIDPOINT, LOG_SLOPE)),
}


def inhibition(responses: Array, scale: str) -> Array:
    """Responses as percent inhibition; on scale raw as they are."""
    return 100.0 * (1.0 - responses) if scale == "fraction_viability" else responses


def mirror_signs(model: CurveModel, *, rising: npt.NDArray[np.bool_], scale: str) -> Array:
    """+1 where the shape is g(z), -1 where it is 1 - g(-z); `rising` is the response's direction on `scale`."""
    if model.mirror == 0:
        return np.ones(rising.shape)
    natural = ~rising if scale == "fraction_viability" else rising
    return np.where(natural == (model.mirror > 0), 1.0, -1.0)


def shape_terms(shape: Shape, z: Array, log_s: Array, sign: Array) -> tuple[Array, Array, Array | None]:
    """The shape and its derivatives by z and by ln s, at z (D, N); log_s and sign (N,). None where s has no effect."""
    if shape == "logistic":
        g = 1.0 / (1.0 + np.exp(-z))
        return g, g * (1.0 - g), None
    u = np.clip(sign * z, -700.0, 700.0)
    if shape == "gompertz":
        e = np.exp(-u)
        g = np.exp(-e)
        slope, by_s = g * e, None
    else:
        e, s = np.exp(-u), np.exp(log_s)
        t = np.log1p(e)
        g = np.exp(-s * t)
        slope = s * g * (e / (1.0 + e))
        by_s = -sign * s * t * g
    return np.where(sign > 0, g, 1.0 - g), slope, by_s


def shape_inverse(shape: Shape, q: Array, log_s: Array, sign: Array) -> Array:
    """z at which the shape equals q, elementwise; -inf and inf at q = 0 and 1."""
    p = np.where(sign > 0, q, 1.0 - q)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if shape == "logistic":
            u = np.log(p) - np.log1p(-p)
        elif shape == "gompertz":
            u = -np.log(-np.log(p))
        else:
            u = -np.log(np.expm1(-np.log(p) / np.exp(log_s)))
    return np.asarray(sign * u, dtype=float)


def evaluate(shape: Shape, x: Array, p: Array, sign: Array) -> Array:
    """y at x (D, N) or (D, 1) for parameters p (6, N)."""
    z = scaled_distance(x, p)
    g, _, _ = shape_terms(shape, z, p[LOG_ASYMMETRY], sign)
    hormesis = p[HORMESIS] * np.power(10.0, x) if np.any(p[HORMESIS] != 0.0) else 0.0
    y: Array = p[LEFT] + (p[RIGHT] - p[LEFT] - hormesis) * g + hormesis
    return y


def scaled_distance(x: Array, p: Array) -> Array:
    """z = ln(10) b (x - m), kept where exp does not overflow."""
    z: Array = (LN10 * np.exp(p[LOG_SLOPE])) * (x - p[MIDPOINT])
    return np.minimum(np.maximum(z, -700.0, out=z), 700.0, out=z)     # np.clip in a third of its time


def log10_dose_at_half(shape: Shape, p: Array, sign: Array) -> Array:
    """log10 of the relative EC50: where the shape has gone half its way. For 5PL this is not the midpoint:
    x50 = m - log10(2^(1/s) - 1)/b. With hormesis: where the falling limb crosses the middle of the two plateaus."""
    half = np.full(p.shape[1], 0.5)
    x: Array = p[MIDPOINT] + shape_inverse(shape, half, p[LOG_ASYMMETRY], sign) / (LN10 * np.exp(p[LOG_SLOPE]))
    hormetic = p[HORMESIS] != 0.0
    if hormetic.any():
        level = 0.5 * (p[LEFT] + p[RIGHT])
        x = np.where(hormetic, _last_crossing(shape, level, p, sign), x)
    return x


def log10_dose_at(shape: Shape, level: Array, p: Array, sign: Array) -> Array:
    """log10 dose where the curve crosses `level` (N,); NaN where it lies outside the plateaus."""
    span = p[RIGHT] - p[LEFT]
    with np.errstate(divide="ignore", invalid="ignore"):
        q = (level - p[LEFT]) / span
    x = p[MIDPOINT] + shape_inverse(shape, q, p[LOG_ASYMMETRY], sign) / (LN10 * np.exp(p[LOG_SLOPE]))
    x = np.where((q > 0) & (q < 1), x, np.nan)
    hormetic = p[HORMESIS] != 0.0
    return np.where(hormetic, _last_crossing(shape, level, p, sign), x) if hormetic.any() else x


def _last_crossing(shape: Shape, level: Array, p: Array, sign: Array) -> Array:
    """Highest x within 8 decades of the midpoint where the curve crosses the level, by scan and bisection."""
    grid = p[MIDPOINT] + np.linspace(-8.0, 8.0, 321)[:, None]
    above = evaluate(shape, grid, p, sign) > level
    change = above[1:] != above[:-1]
    last = change.shape[0] - 1 - np.argmax(change[::-1], axis=0)
    columns = np.arange(p.shape[1])
    low, high, side = grid[last, columns], grid[last + 1, columns], above[last, columns]
    for _ in range(50):
        middle = 0.5 * (low + high)
        same = (evaluate(shape, middle[None], p, sign)[0] > level) == side
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return np.where(change.any(axis=0), 0.5 * (low + high), np.nan)


def curve_parameters(curves: pd.DataFrame) -> tuple[Array, Array]:
    """The rows of a Curves table as parameters (6, N) and mirror signs (N,); NaN where nothing was fitted."""
    bottom, top = (curves[name].to_numpy(dtype=float) for name in ("bottom", "top"))
    # bottom > top: an unbounded 5PL of mode itrex whose plateaus changed places; its formula is read as written
    falling = (curves["direction"] == "falling").to_numpy() != (bottom > top)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.stack([np.where(falling, top, bottom), np.where(falling, bottom, top),
                      curves["log10_midpoint"].to_numpy(dtype=float), np.log(curves["slope"].to_numpy(dtype=float)),
                      np.log(curves["asymmetry"].to_numpy(dtype=float)), curves["hormesis"].to_numpy(dtype=float)])
    sign = np.ones(len(curves))
    scales = curves["scale"].to_numpy(dtype=object)
    for name, rows in rows_by_model(curves):
        for scale in ("fraction_viability", "raw"):            # raw stands for percent_inhibition too
            chosen = rows[(scales[rows] == "fraction_viability") == (scale == "fraction_viability")]
            sign[chosen] = mirror_signs(MODELS[name], rising=~falling[chosen], scale=scale)
    return p, sign


def rows_by_model(curves: pd.DataFrame) -> list[tuple[Model, npt.NDArray[np.intp]]]:
    """Row numbers of each model that occurs; rows whose model was never chosen ("auto") are in none."""
    names = curves["model"].to_numpy(dtype=object)
    found = ((name, np.flatnonzero(names == name)) for name in MODELS)
    return [(name, rows) for name, rows in found if len(rows)]


def curve_values(curves: pd.DataFrame, dose: npt.ArrayLike) -> Array:
    """Fitted responses, (rows, doses), of Curves rows at the doses (dose_unit of each row; 0 = no drug).

    Rows that hold no fit (too_few_doses, failed) are NaN; a row whose data have no scatter is its constant.
    """
    doses = np.atleast_1d(np.asarray(dose, dtype=float))
    rows = np.arange(len(curves))
    return well_values(curves, np.repeat(rows, len(doses)), np.tile(doses, len(curves))).reshape(len(curves), len(doses))


def well_values(curves: pd.DataFrame, row: npt.NDArray[np.intp], dose: Array) -> Array:
    """Fitted responses (wells,) of wells that belong to these rows of Curves, at their doses; else as `curve_values`."""
    x = log10_or_none(dose)[None]                           # (1, wells)
    p, sign = curve_parameters(curves)
    constant = (p[LEFT] == p[RIGHT])
    p[MIDPOINT:LOG_SLOPE + 1, constant], p[LOG_ASYMMETRY:, constant] = 0.0, 0.0
    values = np.full(len(row), np.nan)
    for name, rows in rows_by_model(curves):
        here = np.flatnonzero(np.isin(row, rows))
        own = row[here]
        values[here] = evaluate(MODELS[name].shape, x[:, here], p[:, own], sign[own])[0]
    return values


def sensitivities(curves: pd.DataFrame, row: npt.NDArray[np.intp], dose: Array) -> Array:
    """Derivative of the fitted response of wells (wells,) by the midpoint of their curve, per log10 dose; 0 where nothing was fitted, and
    without what hormesis adds.
    """
    x = log10_or_none(dose)[None]
    p, sign = curve_parameters(curves)
    values = np.zeros(len(row))
    for name, rows in rows_by_model(curves):
        here = np.flatnonzero(np.isin(row, rows))
        own = p[:, row[here]]
        _, by_z, _ = shape_terms(MODELS[name].shape, scaled_distance(x[:, here], own), own[LOG_ASYMMETRY], sign[row[here]])
        values[here] = (-(own[RIGHT] - own[LEFT]) * by_z * LN10 * np.exp(own[LOG_SLOPE]))[0]
    return np.nan_to_num(values)


def log10_or_none(dose: Array) -> Array:
    """log10 of doses, with NO_DOSE for dose 0."""
    with np.errstate(divide="ignore"):
        return np.where(dose > 0, np.log10(np.where(dose > 0, dose, 1.0)), NO_DOSE)


def doses_at(curves: pd.DataFrame, *, level: float | Array | None = None, fraction: float | None = None) -> Array:
    """Doses (rows,) at which Curves rows reach a response: any IC or ED, uncensored, in the row's dose unit.

    level: a response on the row's scale, of all rows or one each (absolute: IC80 in percent is level 80). fraction: share of the way from
    the plateau at dose 0 to the other one (relative: ED10 is 0.1). Give one of the two. NaN where the curve never gets there.
    """
    if (level is None) == (fraction is None):
        raise InputError("doses_at takes either level or fraction")
    p, sign = curve_parameters(curves)
    target = np.full(len(curves), level) if fraction is None else p[LEFT] + fraction * (p[RIGHT] - p[LEFT])
    x = np.full(len(curves), np.nan)
    for name, rows in rows_by_model(curves):
        x[rows] = log10_dose_at(MODELS[name].shape, target[rows], p[:, rows], sign[rows])
    return np.asarray(10.0**x)
