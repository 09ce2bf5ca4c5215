"""From raw read-outs to viability, by the control wells of the same plate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from models.dose_response.checks import require_columns
from models.errors import InputError


def normalise_to_controls(wells: pd.DataFrame, *, value: str, positive: str | None = "positive",
                          negative: str = "negative", by: Sequence[str] = ("plate",),
                          centre: Literal["median", "mean"] = "median") -> pd.DataFrame:
    """A copy of `wells` with `viability` = (r - p) / (n - p): 1 = negative, 0 = positive control, not clipped.

    wells     row = well; reads `role`, `value` (any unit), the `by` columns (normalised within; default the plate) and,
              where present, `excluded` (an excluded well is no control, but gets its viability)
    positive  role of the 0 % wells; None: the assay has none and p = 0 (blank-corrected read-outs)
    centre    p and n are medians (robust) or means of their wells
    NaN where the read-out or a control is missing, or both controls are equal. Rows are kept, in order.
    Raises TableError when a column is missing, InputError for an unknown centre.
    """
    if centre not in ("median", "mean"):
        raise InputError(f"centre must be median or mean, got {centre!r}")
    keys = list(by)
    require_columns(wells, ["role", value, *keys], what="wells cannot be normalised")
    numbers = pd.to_numeric(wells[value], errors="coerce").astype("float64")
    n = _control_level(wells, numbers, role=negative, keys=keys, centre=centre)
    p = 0.0 if positive is None else _control_level(wells, numbers, role=positive, keys=keys, centre=centre)
    window = n - p
    return wells.assign(viability=((numbers - p) / window.where(window != 0)).replace([np.inf, -np.inf], np.nan))


MEDIAN_ERROR = 1.2533   # standard error of a median over that of the mean, sqrt(pi / 2), for Gaussian scatter


def viability_limits(wells: pd.DataFrame, *, value: str, positive: str | None = "positive", negative: str = "negative",
                     by: Sequence[str] = ("plate",)) -> pd.DataFrame:
    """A copy of `wells` with `viability_low` and `viability_high`, from the limits of the read-out by the controls of the same plate.

    wells: as `normalise_to_controls` returns them, with `{value}_low` and `{value}_high` beside `value`. Half-widths of the well (h)
    and of the medians of k controls (h_n and h_p, 1.25 / sqrt(k) of their wells' mean half-width) are joined as independent errors:
    viability v has sqrt(h^2 + (v h_n)^2 + ((1 - v) h_p)^2) / |n - p|. NaN where the viability is.
    """
    keys = list(by)
    require_columns(wells, ["role", "viability", value, f"{value}_low", f"{value}_high", *keys], what="viability has no limits")
    numbers = pd.to_numeric(wells[value], errors="coerce").astype("float64")
    half = (wells[f"{value}_high"] - wells[f"{value}_low"]).astype("float64") / 2
    viability = wells["viability"].astype("float64")
    window = _control_level(wells, numbers, role=negative, keys=keys, centre="median")
    square = half**2 + (viability * _control_error(wells, half, role=negative, keys=keys)) ** 2
    if positive is not None:
        window = window - _control_level(wells, numbers, role=positive, keys=keys, centre="median")
        square = square + ((1 - viability) * _control_error(wells, half, role=positive, keys=keys)) ** 2
    spread = np.sqrt(square) / window.abs().where(window != 0)
    return wells.assign(viability_low=viability - spread, viability_high=viability + spread)


def shared_error(wells: pd.DataFrame, *, value: str = "od") -> pd.Series:
    """Half-width (N,), in viability, of the part of a model's error that replicates have in common; 0 where the model knows none.

    wells: with `viability_low` and `viability_high` as `viability_limits` gives them, and `{value}_shared`, that half-width of the
    read-out, beside `{value}_low` and `{value}_high`.
    """
    if f"{value}_shared" not in wells or "viability_low" not in wells:
        return pd.Series(0.0, index=wells.index)
    part = wells[f"{value}_shared"] / (wells[f"{value}_high"] - wells[f"{value}_low"])
    return ((wells["viability_high"] - wells["viability_low"]) * part).fillna(0.0)


def _control_error(wells: pd.DataFrame, half: pd.Series, *, role: str, keys: list[str]) -> pd.Series:
    """Half-width of the median of the role's wells of the same group, for every well."""
    count = _control_level(wells, half.notna().astype(float), role=role, keys=keys, centre="sum")
    return MEDIAN_ERROR * _control_level(wells, half, role=role, keys=keys, centre="mean") / np.sqrt(count)


def _control_level(wells: pd.DataFrame, numbers: pd.Series, *, role: str, keys: list[str],
                   centre: Literal["median", "mean", "sum"]) -> pd.Series:
    """Centre (or sum) of the role's wells of the same group, for every well."""
    control = wells["role"].eq(role) & np.isfinite(numbers)
    if "excluded" in wells.columns:
        control &= ~wells["excluded"].fillna(False).astype(bool)
    groups = [wells[key] for key in keys]
    grouped = numbers.where(control).groupby(groups, dropna=False)
    return grouped.transform(centre)
