"""Fit dose-response curves: from a table of wells to the Curves table, and the array call below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.dose_response.batches import Batch, Summary, batches, summarise, usable_points
from models.dose_response.checks import MIXED_UNITS, dose_units, numbers_of, require_columns
from models.dose_response.choice import choose_models
from models.dose_response.curves import (
    HORMESIS,
    LEFT,
    LOG_ASYMMETRY,
    LOG_SLOPE,
    MIDPOINT,
    MODELS,
    RIGHT,
    Array,
    log10_dose_at_half,
)
from models.dose_response.describe import COLUMNS, TEXT, describe, empty_columns, withdraw
from models.dose_response.doubts import LEFT_OUT_WORDS
from models.dose_response.engine import fit_batch
from models.dose_response.options import DEFAULT_OPTIONS, FitOptions, check_scale
from models.errors import InputError

FRACTIONS = (0.3, 1.5)  # a table's largest response: from nothing but noise to no inhibition that anybody calls some, in percent


def fit_curves(table: pd.DataFrame, *, by: str | Sequence[str], dose: str = "dose", response: str, weight: str = "",
               scale: str = "percent_inhibition", options: FitOptions = DEFAULT_OPTIONS) -> pd.DataFrame:
    """A row per group of `by`, in the order of their first wells, with the columns of the Curves contract.

    table     row = well; reads the `by` columns, `dose` (>= 0; 0 = no drug, any unit), `response` (on `scale`), and, where
              present, `dose_unit` (carried; one per group) and `excluded` (True leaves the well out)
    weight    column of relative weights (1 / variance, > 0) of the responses; least squares in mode clean only. p_flat is calibrated
              for equal weights
    scale     percent_inhibition (0 = negative control, 100 = positive), fraction_viability (1 and 0), raw (only EC50)
    Wells without a usable response and dose are left out and counted in `reason`; no group is ever dropped, and a group
    that cannot be fitted says so in `status` and `reason`. Where all percentages of a table look like fractions, no curve is ok.
    Formulas: curves.py, intervals.py, flat_test.py.
    Raises TableError when a column is missing, InputError for an unknown scale or an impossible weight.
    """
    keys = [by] if isinstance(by, str) else list(by)
    check_scale(scale)
    if weight and (options.loss != "squares" or options.mode != "clean"):
        raise InputError(f"weights go with loss squares and mode clean, got {options.loss} and {options.mode}")
    if scale == "raw" and options.mode != "clean":
        raise InputError(f"mode {options.mode} needs a scale with 0 and 100 %, not raw")
    require_columns(table, [*keys, dose, response, *filter(None, [weight])], what="curves cannot be fitted")
    grouped = table.groupby(keys, sort=False, dropna=False)
    group = np.asarray(grouped.ngroup(), dtype=np.intp)
    result = table.loc[~pd.Series(group, index=table.index).duplicated().to_numpy(), keys].reset_index(drop=True)
    values = numbers_of(table, response)
    doses = pd.to_numeric(table[dose], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    units, mixed = dose_units(table, group, len(result))
    weights = pd.to_numeric(table[weight], errors="coerce").to_numpy(dtype=float, na_value=np.nan) if weight else None
    columns = fit_points(group, doses, values, weights, count=len(result), scale=scale, options=options)
    withdraw(columns, mixed)
    columns["status"][mixed], columns["reason"][mixed] = "failed", MIXED_UNITS
    found = {"dose_unit": pd.Series(units, dtype="str")} | {
        name: pd.Series(columns[name], dtype="str" if name in TEXT else None) for name in COLUMNS}
    return pd.DataFrame({name: result[name] for name in keys} | found)


def fit_points(group: npt.NDArray[np.intp], dose: Array, response: Array, weight: Array | None = None, *, count: int, scale: str,
               options: FitOptions) -> dict[str, npt.NDArray[Any]]:
    """The columns of `count` curves from wells in long form (group index, dose, response, and weight where they have one)."""
    points = usable_points(group, dose, response, weight)
    summary = summarise(group, points, count)
    columns = empty_columns(summary, scale=scale, options=options)
    for batch in batches(points, summary, pooled=options.loss == "squares" and options.mode != "itrex"):
        for part, fitted in choose_models(batch, scale=scale, options=options):
            for name, values in describe(part, fitted, scale=scale, options=options).items():
                columns[name][part.rows] = values
    for name in ("ec50", "ic50"):       # a tested dose to the last digit, so that others can compare it
        for relation, end in ((">", "dose_max"), ("<", "dose_min")):
            columns[name] = np.where(columns[f"{name}_relation"] == relation, columns[end], columns[name])
    _note_missing(columns, summary)
    if scale == "percent_inhibition" and FRACTIONS[0] <= np.abs(points.response).max(initial=0.0) <= FRACTIONS[1]:
        columns["status"][columns["status"] == "ok"] = "weakly_identified"
        for row in range(count):
            _note(columns, row, f"no response of the table is beyond {FRACTIONS[1]} %: if they are fractions, say so with the scale")
    return columns


@dataclass(frozen=True)
class FittedArrays:
    """Parameters of N curves, arrays (N,); NaN where fewer than 4 doses were usable. ec50 and 10^midpoint in dose units."""

    bottom: Array
    top: Array
    log10_midpoint: Array
    slope: Array
    asymmetry: Array
    hormesis: Array
    ec50: Array
    rss: Array
    rising: npt.NDArray[np.bool_]


def fit_arrays(doses: npt.ArrayLike, responses: npt.ArrayLike, *, scale: str = "percent_inhibition",
               options: FitOptions = DEFAULT_OPTIONS) -> FittedArrays:
    """The hot path: bare parameters of many curves, without tests, intervals and statuses.

    doses (D,) or (N, D), responses (N, D), NaN = missing. One model (not "auto"), mode clean.
    Raises InputError when the shapes do not fit or the options need a table.
    """
    check_scale(scale)
    y = np.atleast_2d(np.asarray(responses, dtype=float))
    x = np.asarray(doses, dtype=float)
    if x.shape not in (y.shape, y.shape[1:]):
        raise InputError(f"doses must have shape {y.shape} or {y.shape[1:]} like the responses, got {x.shape}")
    if options.model == "auto" or options.mode != "clean":
        raise InputError("fit_arrays takes one model in mode clean; use fit_curves for auto, fimm and itrex")
    group = np.repeat(np.arange(len(y)), y.shape[1])
    points = usable_points(group, np.broadcast_to(x, y.shape).ravel(), y.ravel())
    summary = summarise(group, points, len(y))
    out = {field.name: np.full(len(y), np.nan) for field in fields(FittedArrays)}
    out["rising"] = np.zeros(len(y), dtype=bool)
    for batch in batches(points, summary, pooled=options.loss == "squares"):
        _store(out, batch, scale=scale, options=options)
    return FittedArrays(**out)


def as_arrays(group: npt.NDArray[np.integer[Any]], dose: Array, response: Array) -> tuple[Array, Array]:
    """Doses and responses (N, D) of wells in long form, for `fit_arrays`; NaN where a row is short. group: their curve, 0 to N - 1."""
    order, size = np.argsort(group, kind="stable"), np.bincount(group)
    place = np.arange(len(group)) - np.repeat(np.cumsum(size) - size, size)
    doses, responses = np.ones((len(size), int(size.max()))), np.full((len(size), int(size.max())), np.nan)
    doses[group[order], place], responses[group[order], place] = dose[order], response[order]
    return doses, responses


def _store(out: dict[str, npt.NDArray[Any]], batch: Batch, *, scale: str, options: FitOptions) -> None:
    fit = fit_batch(batch, model=options.model, scale=scale, options=options)
    rows, p = batch.rows, fit.p
    half = log10_dose_at_half(MODELS[fit.model].shape, p, fit.problem.sign)
    out["bottom"][rows], out["top"][rows] = np.minimum(p[LEFT], p[RIGHT]), np.maximum(p[LEFT], p[RIGHT])
    out["log10_midpoint"][rows], out["slope"][rows] = p[MIDPOINT] + batch.shift, np.exp(p[LOG_SLOPE])
    out["asymmetry"][rows], out["hormesis"][rows] = np.exp(p[LOG_ASYMMETRY]), p[HORMESIS] / 10.0**batch.shift
    out["ec50"][rows], out["rss"][rows], out["rising"][rows] = 10.0 ** (half + batch.shift), fit.rss, fit.rising


def _note_missing(columns: dict[str, npt.NDArray[Any]], summary: Summary) -> None:
    """Says in the reason how many wells were left out."""
    left_out = summary.given - summary.n
    for row in np.flatnonzero(left_out):
        _note(columns, int(row), f"{left_out[row]} of {summary.given[row]} {LEFT_OUT_WORDS}")


def _note(columns: dict[str, npt.NDArray[Any]], row: int, note: str) -> None:
    columns["reason"][row] = "; ".join(filter(None, [columns["reason"][row], note]))
