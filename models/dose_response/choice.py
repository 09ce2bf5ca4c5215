"""Which model a curve is fitted by: the one asked for, or that of the lowest AICc."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from models.dose_response.batches import Batch
from models.dose_response.curves import Array
from models.dose_response.engine import BatchFit, fit_batch
from models.dose_response.itrex import fit_batch_itrex
from models.dose_response.options import FitOptions, Model

AUTO: tuple[Model, ...] = ("2pl", "3pl", "4pl", "5pl")
AUTO_RAW: tuple[Model, ...] = ("4pl", "5pl")


def choose_models(batch: Batch, *, scale: str, options: FitOptions) -> Iterator[tuple[Batch, BatchFit]]:
    """The batch with its fit; for model "auto" a part per model, by lowest AICc (fewest parameters on a tie).

    Limits of a chosen 2PL or 3PL take its plateaus as known, though the same wells chose it: the 4PL stands beside it.
    """
    if options.mode == "itrex":
        yield from fit_batch_itrex(batch, scale=scale)
        return
    if options.mode == "fimm" or options.model != "auto":
        model = "4pl" if options.mode == "fimm" else options.model
        yield batch, fit_batch(batch, model=model, scale=scale, options=options)
        return
    names = AUTO_RAW if scale == "raw" and isinstance(options.bounds, str) else AUTO
    fits = [fit_batch(batch, model=name, scale=scale, options=options) for name in names]
    scores = np.stack([aicc(batch, fit.rss, free_parameters(fit)) for fit in fits])
    scores = np.where(np.isnan(scores), np.inf, scores)
    best = np.argmin(scores - 1e-9 * np.arange(len(fits))[::-1, None], axis=0)
    for index in np.unique(best):
        rows = np.flatnonzero(best == index)
        beside = fits[names.index("4pl")] if index < names.index("4pl") else None
        yield batch.take(rows), replace(fits[index], beside=beside).take(rows)


def free_parameters(fit: BatchFit) -> npt.NDArray[np.intp]:
    """Number of free parameters of each curve, variance not counted."""
    count: npt.NDArray[np.intp] = (fit.problem.high > fit.problem.low).sum(axis=0)
    return count


def log_likelihood(rss: Array, n: npt.NDArray[np.intp]) -> Array:
    """Gaussian log likelihood at its maximum: -n/2 (ln(2 pi rss/n) + 1); NaN where the fit is exact."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rss > 0, -0.5 * n * (np.log(2.0 * np.pi * rss / n) + 1.0), np.nan)


def aicc(batch: Batch, rss: Array, free: npt.NDArray[np.intp]) -> Array:
    """Corrected Akaike criterion, the variance counted as a parameter; NaN where n is too small for it."""
    k = free + 1.0
    spare = batch.n - k - 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        value = -2.0 * log_likelihood(rss, batch.n) + 2.0 * k + 2.0 * k * (k + 1.0) / spare
    return np.where(spare > 0, value, np.nan)
