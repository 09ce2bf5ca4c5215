"""Robust losses by iteratively reweighted least squares (Huber and Ronchetti 2009, chapter 7).

First an absolute-loss fit from several starts, which one gross outlier cannot bend; its residuals give the scale (median of
the absolute residuals without the smallest k, k free parameters, over 0.6745); then Cauchy (tuning 2.385) or Tukey (4.685)
at that fixed scale, or the sum of |r|^1.5, which needs none. A response further than 4.685 scales off is an outlier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.dose_response.curves import Array
from models.dose_response.options import Loss
from models.dose_response.solver import Problem, minimise

CAUCHY, TUKEY, NORMAL_MAD = 2.385, 4.685, 0.6745
_ROUNDS, _STEPS = 25, 4
_FAR = 1e100              # residual scales: a point so far away has no weight whatever it is
_FLOOR = 1e-6             # of the response range: residuals below this count as this in |r|^-1


@dataclass(frozen=True)
class RobustFit:
    """Parameters (6, N), final weights (D, N), residual scale (N,) and number of outliers (N,)."""

    p: Array
    weight: Array
    scale: Array
    outliers: npt.NDArray[np.intp]


def fit_robust(problem: Problem, starts: list[Array], *, loss: Loss) -> RobustFit:
    """The robust fit of every curve; one response per point (weights 1)."""
    floor = _FLOOR * (problem.y.max(axis=0) - problem.y.min(axis=0)) + 1e-300
    p = _least_absolute(problem, starts, floor)
    scale = np.maximum(_scale(problem, p), floor)
    weight = np.ones_like(problem.weight)
    for _ in range(_ROUNDS):
        weight = _weights(problem.residuals(p), loss=loss, scale=scale, floor=floor)
        p = minimise(replace(problem, weight=weight), p, max_iterations=_STEPS).p
    outliers = (np.abs(problem.residuals(p)) > TUKEY * scale).sum(axis=0)
    return RobustFit(p, weight, scale, outliers)


def _least_absolute(problem: Problem, starts: list[Array], floor: Array) -> Array:
    """The lowest sum of absolute residuals over the starts."""
    best, lowest = starts[0], np.full(len(floor), np.inf)
    for p in starts:
        for _ in range(_ROUNDS):
            weight = 1.0 / np.maximum(np.abs(problem.residuals(p)), 100.0 * floor)
            p = minimise(replace(problem, weight=weight), p, max_iterations=_STEPS).p
        loss = np.abs(problem.residuals(p)).sum(axis=0)
        best, lowest = np.where(loss < lowest, p, best), np.minimum(loss, lowest)
    return best


def _scale(problem: Problem, p: Array) -> Array:
    size = np.abs(problem.residuals(p))
    free = len(problem.free())
    kept = np.sort(size, axis=0)[min(free, len(size) - 1):]
    return np.asarray(np.median(kept, axis=0) / NORMAL_MAD)


def _weights(residual: Array, *, loss: Loss, scale: Array, floor: Array) -> Array:
    if loss == "power1.5":
        return np.asarray(np.maximum(np.abs(residual), floor) ** -0.5)
    if loss == "cauchy":
        return np.asarray(1.0 / (1.0 + np.minimum(np.abs(residual) / (CAUCHY * scale), _FAR) ** 2))
    return np.asarray(np.maximum(1.0 - np.minimum(np.abs(residual) / (TUKEY * scale), 1.0) ** 2, 1e-4) ** 2)
