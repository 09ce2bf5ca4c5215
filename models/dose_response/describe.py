"""From a fitted batch to the columns of the Curves table: censoring, tests, statuses and their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from models.dose_response.batches import MIN_DOSES, Batch, Summary, mean_half_width
from models.dose_response.choice import aicc, free_parameters, log_likelihood
from models.dose_response.curves import (
    HORMESIS,
    LEFT,
    LOG_ASYMMETRY,
    LOG_SLOPE,
    MIDPOINT,
    MODELS,
    RIGHT,
    Array,
    evaluate,
    inhibition,
    log10_dose_at,
    log10_dose_at_half,
    mirror_signs,
)
from models.dose_response.doubts import (
    ALONE_WORDS,
    BENT_LEVEL,
    BEYOND_DOSES_WORDS,
    BEYOND_WORDS,
    DEADER_WORDS,
    ELSEWHERE,
    ELSEWHERE_WORDS,
    FLAT_WORDS,
    LEAST_FREEDOM,
    LOOSE,
    MISFIT_WORDS,
    OPEN_DOSE_WORDS,
    SKIPPED_WORDS,
    STEEP,
    beyond_controls,
    means_cross,
    misfits,
    open_words,
    rests_on_one,
    skips,
)
from models.dose_response.engine import BatchFit
from models.dose_response.flat_test import flat_p
from models.dose_response.intervals import Limits, allowed_rise, profile_limits, wald_limits
from models.dose_response.options import FitOptions

Bools = npt.NDArray[np.bool_]
Note = tuple[Bools, str]
Columns = dict[str, npt.NDArray[Any]]
TEXT = ("scale", "model", "direction", "ec50_relation", "ic50_relation", "status", "reason")
COUNTS = ("n", "n_doses", "n_outliers")
COLUMNS = (
    "scale", "model", "direction", "bottom", "top", "log10_midpoint", "slope", "asymmetry", "hormesis",
    "ec50", "ec50_low", "ec50_high", "ec50_relation", "ic50", "ic50_low", "ic50_high", "ic50_relation", "ic_level", "level",
    "rss", "rmse", "r2", "log_likelihood", "aicc", "p_flat", "p_lack_of_fit", "rmse_doses", "n", "n_doses", "n_outliers",
    "dose_min", "dose_max", "status", "reason")


def empty_columns(summary: Summary, *, scale: str, options: FitOptions) -> Columns:
    """Columns of curves that are not fitted (yet): counts and dose range, status too_few_doses."""
    size = len(summary.n)
    columns: Columns = {name: np.full(size, np.nan) for name in COLUMNS}
    columns |= {name: np.full(size, "", dtype=object) for name in TEXT}
    columns["scale"][:], columns["model"][:], columns["ic_level"][:] = scale, options.model, options.ic_level
    columns["level"][:] = options.level if has_interval(options.model, options) else np.nan
    columns["n"], columns["n_doses"], columns["n_outliers"] = summary.n, summary.n_doses, np.zeros(size, dtype=np.int64)
    columns["dose_min"], columns["dose_max"] = summary.dose_min, summary.dose_max
    columns["status"][:] = "too_few_doses"
    columns["reason"] = np.array([f"{count} usable dose{'' if count == 1 else 's'}; a curve needs {MIN_DOSES}"
                                  for count in summary.n_doses], dtype=object)
    return columns


def has_interval(model: str, options: FitOptions) -> bool:
    """Whether limits are computed: asked for, and known for the model (Wald: not for hormesis)."""
    return options.interval != "none" and options.mode != "itrex" and (model, options.interval) != ("brain_cousens", "wald")


def describe(batch: Batch, fit: BatchFit, *, scale: str, options: FitOptions) -> Columns:
    """All columns of the batch's rows that depend on the fit."""
    columns = _parameter_columns(batch, fit, scale)
    columns |= _quality_columns(batch, fit)
    failed = ~np.isfinite(fit.rss)
    beyond, deader = (~failed & (scale != "raw") & side for side in beyond_controls(inhibition(batch.y, scale), batch.count))
    misfit = ~failed & ~beyond & ~deader & misfits(batch, fit.rss, columns["p_lack_of_fit"], scale=scale)
    bent = columns["p_lack_of_fit"] < BENT_LEVEL
    flat = ~failed & ~(columns["p_flat"] <= options.flat_level) & ~misfit & ~beyond
    potency, elsewhere = _potency_columns(batch, fit, flat, bent, scale=scale, options=options)
    columns |= potency
    falls = ~flat & _effect_falls(batch, scale=scale, level=options.ic_level)
    unclear = flat & _mean_at_level(batch, scale=scale, options=options)
    crossed = misfit & (columns["ic50_relation"] != "=") & _on_both_sides(batch, scale=scale, level=options.ic_level)
    _withhold(columns, "ic50", falls | unclear | crossed | (beyond & (columns["ic50_relation"] != "=")))
    _withhold(columns, "ec50", (falls & (columns["ec50_relation"] != "=")) | unclear | (flat & (scale == "raw")))
    doubts = [(falls, "the effect falls with dose, from above the IC level to below it: is the dilution series the wrong way round?"),
              (unclear, "the mean effect is at the IC level, so that nothing says on which side of the tested doses it is crossed"),
              (~failed & (scale != "raw") & _skips(batch, scale), SKIPPED_WORDS),
              (misfit, MISFIT_WORDS), (elsewhere & ~misfit, ELSEWHERE_WORDS), (beyond, BEYOND_WORDS), (deader, DEADER_WORDS),
              (~flat & ~misfit & ~beyond & rests_on_one(batch, fit), ALONE_WORDS), *_doubts(columns, batch, fit, flat, options)]
    _set_status(columns, doubts, flat=flat, failed=failed)
    return columns


def _parameter_columns(batch: Batch, fit: BatchFit, scale: str) -> Columns:
    p, size = fit.p, len(batch.rows)
    swapped = fit.problem.sign != mirror_signs(MODELS[fit.model], rising=fit.rising, scale=scale)    # see curves.py
    exact = batch.total == 0.0                       # no scatter at all: the curve is its constant
    low, high = np.minimum(p[LEFT], p[RIGHT]), np.maximum(p[LEFT], p[RIGHT])
    bottom, top = np.where(swapped, high, low), np.where(swapped, low, high)
    level = batch.mean()
    return {
        "model": np.full(size, fit.model, dtype=object),
        "direction": np.where(exact, "", np.where(fit.rising, "rising", "falling")).astype(object),
        "bottom": np.where(exact, level, bottom), "top": np.where(exact, level, top),
        "log10_midpoint": np.where(exact, np.nan, p[MIDPOINT] + batch.shift),
        "slope": np.where(exact, np.nan, np.exp(p[LOG_SLOPE])),
        "asymmetry": np.where(exact, np.nan, np.exp(p[LOG_ASYMMETRY])),
        "hormesis": np.where(exact, 0.0, p[HORMESIS] / 10.0**batch.shift),
        "n_outliers": fit.outliers,
    }


def _quality_columns(batch: Batch, fit: BatchFit) -> Columns:
    free = free_parameters(fit)
    rss = np.where(batch.total == 0.0, 0.0, fit.rss)
    spare = (batch.n - free).astype(float)
    misfit_df, pure_df = batch.levels - free, batch.n - batch.levels
    with np.errstate(divide="ignore", invalid="ignore"):
        rmse = np.sqrt(rss / np.where(spare > 0, spare, np.nan))
        r2 = np.where(batch.total > 0, 1.0 - rss / batch.total, np.nan)
        of_doses = np.maximum(rss - batch.within, 0.0) / misfit_df
        ratio = of_doses / (batch.within / pure_df)
    p_misfit, rmse_doses = np.full((2, len(rss)), np.nan)
    known = np.flatnonzero((misfit_df > 0) & (pure_df > 0) & (batch.within > 0))
    p_misfit[known], rmse_doses[known] = special.fdtrc(misfit_df[known], pure_df[known], ratio[known]), np.sqrt(of_doses[known])
    return {"rss": rss, "rmse": rmse, "r2": r2, "log_likelihood": log_likelihood(rss, batch.n),
            "aicc": aicc(batch, rss, free), "p_lack_of_fit": p_misfit, "rmse_doses": rmse_doses,
            "p_flat": flat_p(batch.x, batch.count, explained=np.where(batch.total > 0, fit.explained, 0.0))}


def _potency_columns(batch: Batch, fit: BatchFit, flat: Bools, bent: Bools, *, scale: str,
                     options: FitOptions) -> tuple[Columns, Bools]:
    """EC50 and IC with relations and limits, in dose units; and of which curves the doses' means cross the IC level far from the IC."""
    shape, sign = fit.problem.shape, fit.problem.sign
    half = log10_dose_at_half(shape, fit.p, sign)
    nothing, strong = np.full(len(half), np.nan), inhibition(batch.mean(), scale) >= options.ic_level
    relation = np.where(flat, np.where(strong, "<", ">"), np.where(half > 0, ">", np.where(half < batch.lowest, "<", "=")))
    columns = _dose_columns("ec50", half, np.where(flat | np.isfinite(half), relation, ""), batch)
    if scale == "raw":
        of_ec50, = _limits(batch, fit, [nothing], flat, bent, scale=scale, options=options)
        return columns | _limit_columns("ec50", of_ec50, batch) | {
            "ic50": nothing, "ic50_low": nothing, "ic50_high": nothing,
            "ic50_relation": np.full(len(half), "", dtype=object)}, np.zeros(len(half), dtype=bool)
    level = np.full(len(half), options.ic_level if scale == "percent_inhibition" else 1.0 - options.ic_level / 100.0)
    crossing = log10_dose_at(shape, level, fit.p, sign)
    at_low, at_top = (inhibition(evaluate(shape, x[None], fit.p, sign)[0], scale) for x in (batch.lowest, 0.0 * batch.lowest))
    relation = np.where(at_top < options.ic_level, ">", np.where(at_low >= options.ic_level, "<", "="))
    relation = np.where(flat, np.where(strong, "<", ">"), np.where(np.isnan(crossing) & (relation == "="), ">", relation))
    of_ec50, of_ic50 = _limits(batch, fit, [nothing, level], flat, bent, scale=scale, options=options)
    of_means = np.where(bent & (relation == "="), means_cross(batch, level, near=crossing), np.nan)
    of_ic50 = Limits(np.where(of_means < of_ic50.low, of_means, of_ic50.low), np.where(of_means > of_ic50.high, of_means, of_ic50.high))
    return (columns | _limit_columns("ec50", of_ec50, batch) | _dose_columns("ic50", crossing, relation, batch)
            | _limit_columns("ic50", of_ic50, batch)), np.asarray(np.abs(of_means - crossing) >= np.log10(ELSEWHERE))


def _skips(batch: Batch, scale: str) -> Bools:
    """Whether a dose seems to have been skipped, beyond the scatter of replicates."""
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.sqrt(batch.within / (batch.n - batch.levels)) * (100.0 if scale == "fraction_viability" else 1.0)
    return skips(inhibition(batch.y, scale), batch.count, noise)


def _effect_falls(batch: Batch, *, scale: str, level: float) -> Bools:
    """Whether the lower half of the doses acts beyond the IC level in the mean and the upper half does not: such an IC50 is not ">"."""
    if scale == "raw":
        return np.zeros(len(batch.rows), dtype=bool)
    effect, half = inhibition(batch.y, scale), len(batch.y) // 2
    return np.asarray((effect[:half].mean(axis=0) >= level) & (effect[-half:].mean(axis=0) < level))


def _on_both_sides(batch: Batch, *, scale: str, level: float) -> Bools:
    """Whether some dose acts beyond the IC level in the mean, and some does not."""
    effect = inhibition(batch.y, scale)
    return np.asarray((scale != "raw") & (effect.max(axis=0) >= level) & (effect.min(axis=0) < level))


def _mean_at_level(batch: Batch, *, scale: str, options: FitOptions) -> Bools:
    """Whether the confidence interval of the mean effect holds the IC level, so that a flat curve lies neither above nor below it."""
    if scale == "raw":
        return np.zeros(len(batch.rows), dtype=bool)
    half = mean_half_width(batch, level=options.level)
    away = np.abs(inhibition(batch.mean(), scale) - options.ic_level)
    return np.asarray(away < half * (100.0 if scale == "fraction_viability" else 1.0))


def _withhold(columns: Columns, dose: str, rows: Bools) -> None:
    """Take back an IC50 or EC50 (`dose`) and its limits."""
    columns[f"{dose}_relation"] = np.where(rows, "", columns[f"{dose}_relation"]).astype(object)
    columns |= {name: np.where(rows, np.nan, columns[name]) for name in (dose, f"{dose}_low", f"{dose}_high")}


def _estimate(batch: Batch, fit: BatchFit, level: Array, *, scale: str, options: FitOptions) -> Array:
    """log10 of the dose (N,) at a level, infinite where the curve does not reach it at any dose; the EC50 where the level is NaN."""
    shape, sign = fit.problem.shape, fit.problem.sign
    crossing = log10_dose_at(shape, level, fit.p, sign)
    at_top = inhibition(evaluate(shape, np.zeros((1, len(level))), fit.p, sign)[0], scale)
    reaches = fit.rising == (scale == "percent_inhibition")              # the effect grows with dose
    unreached = np.where(at_top < options.ic_level, np.inf, -np.inf)
    return np.where(np.isnan(level), log10_dose_at_half(shape, fit.p, sign), np.where(reaches & np.isnan(crossing), unreached, crossing))


def _limits(batch: Batch, fit: BatchFit, levels: Sequence[Array], flat: Bools, bent: Bools, *, scale: str,
            options: FitOptions) -> list[Limits]:
    """Limits of several doses of each curve, where it crosses its level (EC50: where that is NaN). They are traced together, because that
    takes hardly longer than one of them. Of bent curves each dose counts as one well: its replicates are off together.
    """
    own = _limits_of(batch, fit, levels, flat, bent, scale=scale, options=options)
    if fit.beside is None:
        return own
    others = _limits_of(batch, fit.beside, levels, flat, bent, scale=scale, options=options)
    return [Limits(np.minimum(one.low, other.low), np.maximum(one.high, other.high)) for one, other in zip(own, others, strict=True)]


def _limits_of(batch: Batch, fit: BatchFit, levels: Sequence[Array], flat: Bools, bent: Bools, *, scale: str,
               options: FitOptions) -> list[Limits]:
    size, nothing = len(flat), np.full(len(flat), np.nan)
    if not has_interval(fit.model, options):
        return [Limits(nothing, nothing) for _ in levels]
    free = free_parameters(fit)
    rise = allowed_rise(rss=fit.rss if fit.scatter is None else fit.scatter, n=batch.n, free=free, level=options.level)
    of_doses = allowed_rise(rss=fit.rss - batch.within, n=batch.levels, free=free, level=options.level, least=LEAST_FREEDOM)
    rise = np.where(bent, np.fmax(rise, of_doses), rise)
    estimates = [np.where(flat, np.nan, _estimate(batch, fit, level, scale=scale, options=options)) for level in levels]
    if options.interval == "wald":
        return [wald_limits(fit.problem, fit.p, estimate=estimate, rise=rise) for estimate in estimates]
    rows = np.tile(np.arange(size), len(estimates))
    bends = None if options.interval == "profile" else mirror_signs(MODELS["5pl"], rising=fit.rising, scale=scale)[rows]
    together = profile_limits(fit.problem.take(rows), fit.p[:, rows], estimate=np.concatenate(estimates), rise=rise[rows],
                              lowest=batch.lowest[rows], level=np.concatenate(levels), bends=bends)
    return [Limits(together.low[first:first + size], together.high[first:first + size]) for first in range(0, size * len(estimates), size)]


def _dose_columns(name: str, x: Array, relation: npt.NDArray[Any], batch: Batch) -> Columns:
    with np.errstate(over="ignore"):
        return {name: 10.0 ** (x + batch.shift), f"{name}_relation": relation.astype(object)}


def _limit_columns(name: str, limits: Limits, batch: Batch) -> Columns:
    """Limits in dose units, open (NaN) where they are beyond every number that a dose can be."""
    with np.errstate(over="ignore"):
        doses = {f"{name}_low": 10.0 ** (limits.low + batch.shift), f"{name}_high": 10.0 ** (limits.high + batch.shift)}
    return {limit: np.where((dose > 0) & (dose < np.inf), dose, np.nan) for limit, dose in doses.items()}


def _set_status(columns: Columns, doubts: list[Note], *, flat: Bools, failed: Bools) -> None:
    """Status and reason of every row; a failed row keeps no number."""
    weak = np.any([mask for mask, _ in doubts], axis=0)
    status = np.where(failed, "failed", np.where(flat, "flat", np.where(weak, "weakly_identified", "ok")))
    columns["status"] = status.astype(object)
    ic50 = columns["ic50_relation"]
    notes: list[Note] = [
        (failed, "responses too large or too small to fit"),
        (~failed & flat, FLAT_WORDS),
        *[(mask & ~failed & ~(flat & (text in OPEN_DOSE_WORDS)), text) for mask, text in doubts],     # of a flat curve all that is open
        *((~failed & (ic50 == relation), words) for relation, words in zip((">", "<"), BEYOND_DOSES_WORDS, strict=True))]
    columns["reason"] = np.array(["; ".join(text for mask, text in notes if mask[row]) for row in range(len(flat))], dtype=object)
    withdraw(columns, failed)


def withdraw(columns: Columns, rows: Bools) -> None:
    """Takes back every number of the rows but counts, doses and the levels asked for, and what is said of numbers."""
    for name, values in columns.items():
        if name in ("direction", "ec50_relation", "ic50_relation"):
            values[rows] = ""
        elif name not in (*TEXT, *COUNTS, "dose_min", "dose_max", "ic_level", "level"):
            columns[name] = np.where(rows, np.nan, values)


def _doubts(columns: Columns, batch: Batch, fit: BatchFit, flat: Bools, options: FitOptions) -> list[Note]:
    """Why a curve may be weakly identified."""
    p, low, high = fit.p, fit.problem.low, fit.problem.high
    at_bound = (high > low) & ((p <= low + 1e-9 * (high - low)) | (p >= high - 1e-9 * (high - low)))
    steep = (options.mode == "clean") & (p[LOG_SLOPE] > np.log(STEEP)) & (columns["ic50_relation"] == "=") & (
        columns["ic50_high"] / LOOSE <= columns["ic50_low"])     # between two doses, and no matter how steep
    half = log10_dose_at_half(fit.problem.shape, p, fit.problem.sign)
    open_ec50, open_ic50 = (np.isnan(columns[f"{name}_low"]) | np.isnan(columns[f"{name}_high"]) for name in ("ec50", "ic50"))
    asked = (fit.rss > 0) & ~flat & has_interval(fit.model, options)
    of_dose = (~((half <= 0) & (half >= batch.lowest)), at_bound[LOG_SLOPE] & ~steep, at_bound[MIDPOINT], at_bound[LEFT] | at_bound[RIGHT],
               at_bound[LOG_ASYMMETRY], asked & open_ec50, asked & open_ic50 & (columns["ic50_relation"] == "="))
    words = (*OPEN_DOSE_WORDS, open_words(options.ic_level))
    return [*zip(of_dose, words, strict=True), (batch.n <= free_parameters(fit), "no more responses than parameters")]
