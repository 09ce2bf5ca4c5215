"""From raw read-outs to viability, by the control wells of the same plate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.dose_response.checks import require_columns
from models.errors import InputError
from models.tables import left_out


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


ALIKE = 0.1             # of viability: the width by which a model's errors are learnt too (models/networks/uncertainty.py)
STEP = 0.005            # of viability, in which limits are looked for
NORMAL_95 = 1.96        # standard deviations in the half-width of a model's error, which is of 95 %
MEDIAN_ERROR = 1.2533   # standard error of a median over that of the mean, sqrt(pi / 2), for Gaussian scatter


def viability_limits(wells: pd.DataFrame, *, value: str, positive: str | None = "positive") -> pd.DataFrame:
    """A copy of `wells` with `viability_low`, `viability_high` and `viability_shared`, by the controls of the same plate.

    wells: as `normalise_to_controls` returns them, with the limits `{value}_low` and `{value}_high` of the read-out and, where a part of
    its half-width is the same in all wells of one level, `{value}_shared`. positive: as there.

    Own errors of a well (half-width h) and of the medians of k controls (h_n and h_p: 1.25 / sqrt(k) of their wells') are independent:
    h^2 + (v h_n)^2 + ((1 - v) h_p)^2 at viability v, over (n - p)^2. What wells share no median makes smaller (`_shared_sides`).
    `viability_shared` is the farther of its two sides. NaN where the viability is.
    """
    keys = ["plate"]
    require_columns(wells, ["role", "viability", value, f"{value}_low", f"{value}_high", *keys], what="viability has no limits")
    numbers = pd.to_numeric(wells[value], errors="coerce").astype("float64")
    half = (wells[f"{value}_high"] - wells[f"{value}_low"]).astype("float64") / 2
    shared = wells[f"{value}_shared"].astype("float64") if f"{value}_shared" in wells else 0.0 * half
    alone = (half**2 - shared**2).clip(lower=0.0) ** 0.5
    v = wells["viability"].astype("float64")
    n = _control_level(wells, numbers, role="negative", keys=keys, centre="median")
    own = alone**2 + (v * _control_error(wells, alone, role="negative", keys=keys)) ** 2
    table = pd.DataFrame({"read": numbers, "shared": shared, "v": v, "n": n, "p": 0.0,
                          "s_n": _control_level(wells, shared, role="negative", keys=keys, centre="mean"), "s_p": 0.0})
    if positive is not None:
        table["p"] = _control_level(wells, numbers, role=positive, keys=keys, centre="median")
        table["s_p"] = _control_level(wells, shared, role=positive, keys=keys, centre="mean")
        own = own + ((1 - v) * _control_error(wells, alone, role=positive, keys=keys)) ** 2
    own = own / (table["n"] - table["p"]).where(lambda window: window != 0) ** 2
    plates = [_shared_sides(group) for _, group in table.groupby(wells["plate"], dropna=False)]
    sides = pd.concat(plates).loc[wells.index] if plates else _shared_sides(table)
    return wells.assign(viability_low=v - np.sqrt(own + sides["below"] ** 2), viability_high=v + np.sqrt(own + sides["above"] ** 2),
                        viability_shared=sides.max(axis=1, skipna=False))


def _shared_sides(wells: pd.DataFrame) -> pd.DataFrame:
    """How far the true viability may lie below and above that of each well of one plate, by the error that wells of one level share.

    wells: read (in the unit of the read-out), shared (half-width), v; n, p, s_n, s_p of the plate's controls.

    A well of true viability t is read with the half-width

        s^2 + (t s_n)^2 + ((1 - t) s_p)^2 - 2 t c(1 - t) s s_n - 2 (1 - t) c(t) s s_p

    squared and over (n - p)^2, s being that of its level; c(d) = exp(-(d / ALIKE)^2 / 2) is how much two levels d apart are off alike (the
    two controls are not). So a model that reads all dead wells too high leaves no doubt about dead wells, because positive controls are
    among them, and much about half-dead ones. The sides hold each t whose half-width reaches the well's reading (Neyman's construction):
    a half-dead well that is read as dead looks as sure as a dead one, until one asks what it may have been.
    """
    known = wells[wells[["read", "shared", "v", "n", "p", "s_n", "s_p"]].notna().all(axis=1)]
    sides = pd.DataFrame(np.nan, index=wells.index, columns=["below", "above"])
    if known.empty or not known["shared"].any():
        return sides.fillna(0.0).where(wells["v"].notna())
    n, p, s_n, s_p = (float(known[name].iloc[0]) for name in ("n", "p", "s_n", "s_p"))
    v = known["v"].to_numpy()
    t = np.linspace(v.min() - 1, v.max() + 1, round((np.ptp(v) + 2) / STEP) + 1)
    levels = known.sort_values("read")
    s = np.interp(p + t * (n - p), levels["read"], levels["shared"])

    def alike(distance: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return np.exp(-0.5 * (np.asarray(distance) / ALIKE) ** 2)

    square = s**2 + (t * s_n) ** 2 + ((1 - t) * s_p) ** 2 - 2 * t * alike(1 - t) * s * s_n - 2 * (1 - t) * alike(t) * s * s_p
    half = np.sqrt(square.clip(min=0.0)) / abs(n - p)       # rounding: it is a variance
    highest = np.interp(v, np.minimum.accumulate((t - half)[::-1])[::-1], t)
    lowest = np.maximum(np.interp(v, np.maximum.accumulate(t + half), t), np.minimum(v, 0.0))     # nothing is deader than dead
    sides.loc[known.index] = np.column_stack([v - lowest, highest - v]).clip(min=0.0)
    return sides


def shared_error(wells: pd.DataFrame) -> pd.Series:
    """Half-width (N,), in viability, of the part of a model's error that replicates have in common; 0 where the model knows none.

    wells: with `viability_shared` as `viability_limits` gives it.
    """
    return wells["viability_shared"].fillna(0.0) if "viability_shared" in wells else pd.Series(0.0, index=wells.index)


def _control_error(wells: pd.DataFrame, half: pd.Series, *, role: str, keys: list[str]) -> pd.Series:
    """Half-width of the median of the role's wells of the same group, for every well."""
    count = _control_level(wells, half.notna().astype(float), role=role, keys=keys, centre="sum")
    return MEDIAN_ERROR * _control_level(wells, half, role=role, keys=keys, centre="mean") / np.sqrt(count)


def _control_level(wells: pd.DataFrame, numbers: pd.Series, *, role: str, keys: list[str],
                   centre: Literal["median", "mean", "sum"]) -> pd.Series:
    """Centre (or sum) of the role's wells of the same group, for every well."""
    control = wells["role"].eq(role) & np.isfinite(numbers) & ~left_out(wells)
    return numbers.where(control).groupby([wells[key] for key in keys], dropna=False).transform(centre)
