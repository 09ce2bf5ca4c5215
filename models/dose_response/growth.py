"""Growth-rate inhibition (Hafner et al. 2016): drug effect on division, not on the end count.

GR = 2^(log2(x/x0) / log2(xc/x0)) - 1 with the counts of treated wells x, controls xc, and time zero x0: 1 = grows as the
control, 0 = no growth, below 0 = cells are lost. Curve: GR(c) = GRinf + (1 - GRinf)/(1 + (c/GEC50)^h), GRinf in [-1, 1],
GEC50 within two decades around the tested doses, h in 0.1-5; flat if an F test (2 and n - 2 degrees, as R's GRmetrics
counts them) cannot tell it from its mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from models.dose_response.batches import MIN_DOSES, Batch, Points, batches, mean_half_width, summarise, usable_points
from models.dose_response.checks import MIXED_UNITS, dose_units, numbers_of, require_columns
from models.dose_response.choice import free_parameters
from models.dose_response.curves import LEFT, LOG_SLOPE, MIDPOINT, RIGHT, Array
from models.dose_response.engine import BatchFit, fit_4pl_within, parameter_bounds
from models.dose_response.intervals import Limits, allowed_rise, profile_limits
from models.dose_response.options import FitOptions

SLOPES = (0.1, 5.0)
FLAT_LEVEL = 0.05
HALF = 0.5
LEVEL = 0.95            # of the limits of GR50
NUMBERS = ("gr50", "gr50_low", "gr50_high", "gr_max", "gr_inf", "gec50", "h", "gr_aoc", "r2", "p_flat", "dose_min", "dose_max")


def gr_values(count: npt.ArrayLike, count_control: npt.ArrayLike, count_time0: npt.ArrayLike) -> Array:
    """GR of cell counts, elementwise: -1 where the treated are all gone; NaN where a control is not positive or its
    count did not change.
    """
    x, xc, x0 = (np.asarray(values, dtype=float) for values in (count, count_control, count_time0))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gr = np.asarray(2.0 ** (np.log2(x / x0) / np.log2(xc / x0)) - 1.0)
    return np.where(np.isfinite(gr) & (x >= 0) & (xc > 0) & (x0 > 0), gr, np.nan)


def gr_metrics(table: pd.DataFrame, *, by: str | Sequence[str], dose: str, count: str, count_control: str,
               count_time0: str) -> pd.DataFrame:
    """A row per group of `by`, in the order of their first wells.

    table: row = well, with the dose (> 0) and three cell counts: treated, untreated at the end, at time zero; and, where present,
    `dose_unit` (carried; one per group) and `excluded` (True leaves the well out).
    Columns: gr50 and gr50_relation (=, > or < beyond the tested doses; empty where flat wells lie about GR 0.5, so that neither is known),
    gr50_low and gr50_high (95 % by profile likelihood, NaN = open), gr_max (the lower of the mean GR at the two highest
    doses), gr_inf, gec50, h (NaN when flat), gr_aoc (mean of 1 - GR over the tested log10 doses, trapezoid of dose means),
    r2, p_flat, n, n_doses, dose_min, dose_max, dose_unit, status {ok, flat, weakly_identified (GR50 with an open limit), too_few_doses,
    failed (several dose units)}, reason.
    Raises TableError when a column is missing.
    """
    keys = [by] if isinstance(by, str) else list(by)
    require_columns(table, [*keys, dose, count, count_control, count_time0], what="GR metrics cannot be computed")
    group = np.asarray(table.groupby(keys, sort=False, dropna=False).ngroup(), dtype=np.intp)
    result = table.loc[~pd.Series(group, index=table.index).duplicated().to_numpy(), keys].reset_index(drop=True)
    counts = (numbers_of(table, name) for name in (count, count_control, count_time0))
    doses = np.asarray(pd.to_numeric(table[dose], errors="coerce"), dtype=float)
    points = usable_points(group, np.where(doses > 0, doses, np.nan), gr_values(*counts))
    summary = summarise(group, points, len(result))
    for name in NUMBERS:
        result[name] = np.nan
    units, mixed = dose_units(table, group, len(result))
    result = result.assign(gr50_relation="", n=summary.n, n_doses=summary.n_doses, dose_min=summary.dose_min,
                           dose_max=summary.dose_max, dose_unit=units, status="too_few_doses",
                           reason=f"fewer than {MIN_DOSES} usable doses")
    for batch in batches(points, summary, pooled=True):
        for name, values in _metrics(batch).items():
            result.loc[batch.rows, name] = values
    _add_direct_metrics(result, points)
    result.loc[mixed, [*NUMBERS]] = np.nan
    result.loc[mixed, ["gr50_relation", "status", "reason"]] = "", "failed", MIXED_UNITS
    return result


def _metrics(batch: Batch) -> dict[str, npt.NDArray[np.object_] | Array]:
    low, high = parameter_bounds(batch, model="4pl", scale="raw", options=FitOptions(), rising=False)
    low[LEFT], high[LEFT], low[RIGHT], high[RIGHT] = 1.0, 1.0, -1.0, 1.0
    low[LOG_SLOPE], high[LOG_SLOPE] = np.log(SLOPES)[:, None]
    fit = fit_4pl_within(batch, low=low, high=high)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (batch.total - fit.rss) / 2.0 / (fit.rss / (batch.n - 2.0))
        r2 = np.where(batch.total > 0, 1.0 - fit.rss / batch.total, np.nan)
        odds = (1.0 - fit.p[RIGHT]) / (HALF - fit.p[RIGHT]) - 1.0
        x50 = np.where(odds > 0, fit.p[MIDPOINT] + np.log10(np.maximum(odds, 1e-300)) / np.exp(fit.p[LOG_SLOPE]), np.inf)
    p_flat = np.where(batch.total > 0, special.fdtrc(2, batch.n - 2, np.maximum(np.nan_to_num(ratio), 0.0)), 1.0)
    flat = ~(p_flat < FLAT_LEVEL)
    limits = _limits(batch, fit, np.where(flat, np.nan, x50))
    unclear = flat & (np.abs(batch.mean() - HALF) < mean_half_width(batch, level=LEVEL))
    x50 = np.where(unclear, np.nan, np.where(flat, np.where(batch.mean() > HALF, np.inf, -np.inf), x50))
    relation = np.where(unclear, "", np.where(x50 > 0, ">", np.where(x50 < batch.lowest, "<", "=")))
    dose50 = 10.0 ** (np.clip(x50, batch.lowest, 0.0) + batch.shift)
    weak = (relation == "=") & (fit.rss > 0) & (np.isnan(limits.low) | np.isnan(limits.high))
    reason = np.select([unclear, flat, weak, relation != "="], [
        "no effect on growth beyond noise, and the mean is about GR 0.5, so that nothing says on which side of the doses GR50 lies",
        "no effect on growth beyond noise", "the interval of GR50 is open", "GR50 outside the tested doses"], "")
    return {"gr50": dose50, "gr50_relation": relation.astype(object), "r2": r2, "p_flat": p_flat,
            "gr50_low": 10.0 ** (limits.low + batch.shift), "gr50_high": 10.0 ** (limits.high + batch.shift),
            "gr_inf": np.where(flat, np.nan, fit.p[RIGHT]), "gec50": np.where(flat, np.nan, 10.0 ** (fit.p[MIDPOINT] + batch.shift)),
            "h": np.where(flat, np.nan, np.exp(fit.p[LOG_SLOPE])),
            "status": np.where(flat, "flat", np.where(weak, "weakly_identified", "ok")).astype(object), "reason": reason.astype(object)}


def _limits(batch: Batch, fit: BatchFit, x50: Array) -> Limits:
    """Limits of log10 GR50; x50 (N,): the estimate, infinite where the curve does not reach GR 0.5, NaN for none."""
    rise = allowed_rise(rss=fit.rss, n=batch.n, free=free_parameters(fit), level=LEVEL)
    return profile_limits(fit.problem, fit.p, estimate=x50, rise=rise, lowest=batch.lowest, level=np.full(len(x50), HALF),
                          bends=np.ones(len(x50)))


def _add_direct_metrics(result: pd.DataFrame, points: Points) -> None:
    """GRmax and GR_AOC, which need no fit, from the dose means of every group with at least two doses."""
    means = pd.DataFrame({"group": points.group, "dose": points.dose, "gr": points.response}).groupby(["group", "dose"])["gr"].mean()
    group, x, gr = means.index.get_level_values("group"), np.log10(means.index.get_level_values("dose").to_numpy()), means.to_numpy()
    number, first, size = np.unique(group, return_index=True, return_counts=True)
    highest, area = (np.full(len(result), np.nan) for _ in range(2))
    for row, start, end in zip(number[size > 1], first[size > 1], (first + size)[size > 1], strict=True):
        highest[row] = gr[end - 2:end].min()
        area[row] = np.trapezoid(1.0 - gr[start:end], x[start:end]) / (x[end - 1] - x[start])
    result["gr_max"], result["gr_aoc"] = highest, area
