"""The fit of iTReX (R package nplr), imitated, to reproduce published scores; not a better fit than mode "clean".

nplr minimises the sum of |r|^1.5 over 2PL to 5PL with R's quasi-Newton `nlm` and keeps the model of lowest loss, with no
bounds and no penalty. On most 5PL fits nlm stops at its limit of 100 iterations, so its path decides the result: BFGS with
a backtracking line search as described by Dennis and Schnabel (1983), algorithms A6.3.1 and A9.4.2.
Curves here are inhibition as a fraction; parameters (bottom, top, midpoint, slope, asymmetry), slope of either sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.dose_response.batches import Batch
from models.dose_response.curves import (
    LEFT,
    LOG_ASYMMETRY,
    LOG_SLOPE,
    MIDPOINT,
    MODELS,
    RIGHT,
    Array,
    mirror_signs,
)
from models.dose_response.engine import BatchFit
from models.dose_response.options import Model
from models.dose_response.solver import Problem
from models.dose_response.starts import find_starts

Function = Callable[[Array], float]
TOLERANCE, ITERATIONS, ARMIJO = 1e-6, 100, 1e-4
FORWARD, CENTRAL = 1e-6, 1e-4           # finite-difference steps: square and cube root of the function's 12 digits
MODEL_OF: dict[int, Model] = {2: "2pl", 3: "3pl", 4: "4pl", 5: "5pl"}
FREE = {2: (2, 3), 3: (1, 2, 3), 4: (0, 1, 2, 3), 5: (0, 1, 2, 3, 4)}


@dataclass(frozen=True)
class ItrexFit:
    """Number of parameters, parameters (5,) and loss of the chosen model."""

    size: int
    parameters: Array
    loss: float


def fit_batch_itrex(batch: Batch, *, scale: str) -> list[tuple[Batch, BatchFit]]:
    """The batch's curves in parts of one chosen model each (2PL to 5PL)."""
    inhibition = 1.0 - batch.y if scale == "fraction_viability" else batch.y / 100.0
    fits = [fit_itrex(batch.x[:, i] + batch.shift[i], inhibition[:, i]) for i in range(len(batch.rows))]
    sizes = np.array([fit.size for fit in fits])
    parameters = np.stack([fit.parameters for fit in fits], axis=1)
    return [_part(batch.take(rows), parameters[:, rows], size=size, scale=scale)
            for size in FREE if len(rows := np.flatnonzero(sizes == size))]


def _part(batch: Batch, parameters: Array, *, size: int, scale: str) -> tuple[Batch, BatchFit]:
    name: Model = MODEL_OF[size]
    bottom, top, middle, slope, asymmetry = parameters
    up = slope >= 0
    plateaus = np.stack([np.where(up, bottom, top), np.where(up, top, bottom)])
    plateaus = 1.0 - plateaus if scale == "fraction_viability" else 100.0 * plateaus
    p = np.vstack([plateaus, middle - batch.shift, np.log(np.maximum(np.abs(slope), 1e-12)), np.log(asymmetry), 0.0 * middle])
    free = np.isin(np.arange(6), [(LEFT, RIGHT, MIDPOINT, LOG_SLOPE, LOG_ASYMMETRY)[i] for i in FREE[size]])
    room = np.where(free, 1.0, 0.0)[:, None]              # no bounds: none may look as if it were reached
    sign = mirror_signs(MODELS[name], rising=up, scale="raw")
    problem = Problem(MODELS[name].shape, batch.x, batch.y, batch.weight, p - room, p + room, sign)
    starts = find_starts(batch.x, batch.y, batch.weight, bounds=(plateaus, plateaus), total=batch.total, count=1)
    return batch, BatchFit(name, p, (problem.residuals(p) ** 2).sum(axis=0), problem, plateaus[1] >= plateaus[0], starts.explained,
                           np.zeros(len(up), dtype=np.intp))


def fit_itrex(x: Array, y: Array) -> ItrexFit:
    """The fit of lowest loss among 2PL to 5PL; x log10 dose, y inhibition as a fraction, any order."""
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    best = None
    for size in FREE:
        start = start_values(x, y, size)
        found, loss = minimise(_loss_of(x, y, start, FREE[size]), start[list(FREE[size])])
        if best is None or loss < best.loss:
            best = ItrexFit(size, _fill(start, FREE[size], found), loss)
    assert best is not None
    return best


def curve(x: Array, parameters: Array) -> Array:
    """bottom + (top - bottom) / (1 + 10^(slope (midpoint - x)))^asymmetry."""
    bottom, top, middle, slope, asymmetry = parameters
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return np.asarray(bottom + (top - bottom) / (1.0 + 10.0 ** (slope * (middle - x))) ** asymmetry)


def start_values(x: Array, y: Array, size: int) -> Array:
    """nplr's starting values for a model of `size` parameters."""
    bottom = float(np.quantile(y, 0.05)) if size > 3 else 0.0
    top = float(np.quantile(y, 0.95)) if size > 2 else 1.0
    return np.array([bottom, top, 0.5 * (x.min() + x.max()), _start_slope(x, y), 1.0])


def _start_slope(x: Array, y: Array) -> float:
    """Slope of the logit of the responses, scaled to 0-1 and held within 0.05-0.95, on log10 dose."""
    if np.ptp(y) == 0:
        return 1.0
    share = np.clip((y - y.min()) / np.ptp(y), 0.05, 0.95)
    return float(np.polyfit(x, np.log(share / (1.0 - share)), 1)[0])


def _fill(start: Array, free: tuple[int, ...], values: Array) -> Array:
    full = start.copy()
    full[list(free)] = values
    return full


def _loss_of(x: Array, y: Array, start: Array, free: tuple[int, ...]) -> Function:
    def loss(values: Array) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            total = float((np.abs(y - curve(x, _fill(start, free, values))) ** 1.5).sum())
        return total if np.isfinite(total) else np.inf
    return loss


def minimise(f: Function, start: Array) -> tuple[Array, float]:
    """BFGS of Dennis and Schnabel with finite-difference gradients, as R's nlm runs it."""
    x, value = start.copy(), f(start)
    central = False
    g = _gradient(f, x, value, central=central)
    hessian = np.eye(len(x))
    if _relative_gradient(x, value, g) <= TOLERANCE:
        return x, value
    longest = max(1000.0 * float(np.linalg.norm(start)), 1000.0)
    for iteration in range(1, ITERATIONS + 1):
        moved = _line_search(f, x, value, g, _newton(hessian, g), longest)
        if moved is None and not central:
            central = True
            g = _gradient(f, x, value, central=True)
            moved = _line_search(f, x, value, g, _newton(hessian, g), longest)
        if moved is None:
            break
        new_x, new_value = moved
        new_g = _gradient(f, new_x, new_value, central=central)
        step = float(np.max(np.abs(new_x - x) / np.maximum(np.abs(new_x), 1.0)))
        if _relative_gradient(new_x, new_value, new_g) <= TOLERANCE or step <= TOLERANCE:
            return new_x, new_value
        hessian = _updated(hessian, new_x - x, new_g - g, first=iteration == 1, noise=_noise(g, new_g, central))
        x, value, g = new_x, new_value, new_g
    return x, value


def _newton(hessian: Array, g: Array) -> Array:
    return np.asarray(-np.linalg.solve(hessian, g), dtype=float)


def _gradient(f: Function, x: Array, value: float, *, central: bool) -> Array:
    g = np.empty(len(x))
    for i in range(len(x)):
        step = (CENTRAL if central else FORWARD) * max(abs(x[i]), 1.0)
        ahead = x.copy()
        ahead[i] += step
        if central:
            behind = x.copy()
            behind[i] -= step
            g[i] = (f(ahead) - f(behind)) / (2.0 * step)
        else:
            g[i] = (f(ahead) - value) / step
    return g


def _relative_gradient(x: Array, value: float, g: Array) -> float:
    return float(np.max(np.abs(g) * np.maximum(np.abs(x), 1.0)) / max(abs(value), 1.0))


def _noise(g: Array, new_g: Array, central: bool) -> Array:
    """Below these differences a gradient is noise and the Hessian is left alone."""
    return np.asarray((1e-12 if central else 1e-6) * np.maximum(np.abs(g), np.abs(new_g)))


def _updated(hessian: Array, s: Array, y: Array, *, first: bool, noise: Array) -> Array:
    """BFGS update; the first one scales the identity to the observed curvature."""
    curvature = float(s @ y)
    if curvature < 1.5e-8 * float(np.linalg.norm(s) * np.linalg.norm(y)):
        return hessian
    hs = hessian @ s
    if first:
        scale = curvature / float(s @ hs)
        hessian, hs = hessian * scale, hs * scale
    if (np.abs(y - hs) < noise).all():
        return hessian
    with np.errstate(over="ignore", invalid="ignore"):
        updated = hessian - np.outer(hs, hs) / float(s @ hs) + np.outer(y, y) / curvature
    return updated if np.isfinite(updated).all() else hessian


def _line_search(f: Function, x: Array, value: float, g: Array, p: Array, longest: float) -> tuple[Array, float] | None:
    """Backtracking: first quadratic, then cubic interpolation; None when no step lowers f enough."""
    length = float(np.linalg.norm(p))
    if length == 0.0:   # the loss is level here: responses that are all alike
        return None
    if length > longest:
        p = p * (longest / length)
    slope = float(g @ p)
    smallest = TOLERANCE / float(np.max(np.abs(p) / np.maximum(np.abs(x), 1.0)))
    t, last_t, last_value = 1.0, 0.0, 0.0
    while True:
        new_x = x + t * p
        new_value = f(new_x)
        if new_value <= value + slope * ARMIJO * t:
            return new_x, new_value
        if t < smallest or not np.isfinite(slope):
            return None
        if not np.isfinite(new_value):
            t *= 0.1
            continue
        trial = _interpolated(t, new_value - value - t * slope, last_t, last_value - value - last_t * slope, slope)
        last_t, last_value = t, new_value
        t = max(trial, 0.1 * t)


def _interpolated(t: float, rise: float, last_t: float, last_rise: float, slope: float) -> float:
    """The minimiser of the parabola (first backtrack) or cubic through the points tried, at most half the step."""
    if last_t == 0.0:
        return -t * t * slope / (2.0 * rise)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        a = (rise / t**2 - last_rise / last_t**2) / (t - last_t)
        b = (last_rise * t / last_t**2 - rise * last_t / t**2) / (t - last_t)
        inside = b * b - 3.0 * a * slope
    if a == 0.0 or not 0.0 <= inside < np.inf:      # losses too large to be cubed, too
        return 0.5 * t
    root = np.sqrt(inside) * (-1.0 if a < 0 else 1.0)
    trial = (-b + root) / (3.0 * a) if inside > b * b else (-b - root) / (3.0 * a)
    return min(float(trial), 0.5 * t)
