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


def _control_level(wells: pd.DataFrame, numbers: pd.Series, *, role: str, keys: list[str], centre: str) -> pd.Series:
    """Centre of the role's wells of the same group, for every well."""
    control = wells["role"].eq(role) & np.isfinite(numbers)
    if "excluded" in wells.columns:
        control &= ~wells["excluded"].fillna(False).astype(bool)
    groups = [wells[key] for key in keys]
    grouped = numbers.where(control).groupby(groups, dropna=False)
    return grouped.transform("median") if centre == "median" else grouped.transform("mean")
