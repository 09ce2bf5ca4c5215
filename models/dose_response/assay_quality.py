"""Is a plate good enough? Figures from its control wells, plain and robust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.dose_response.checks import require_columns
from models.dose_response.curves import Array
from models.errors import InputError
from models.separation import scaled_mad, sd, separation
from models.tables import left_out
from models.wells import PLATE_FORMATS, parse_well

_UNIFORM_ROLES = ("negative", "positive", "untreated")       # wells of one role that should all read the same


@dataclass(frozen=True)
class PlateQuality:
    """One plate. m, s: centre and spread of the positive (p) and negative (n) control wells; window = |m_p - m_n|.

    z_prime           1 - 3 (s_p + s_n) / window, means and standard deviations (Zhang et al. 1999)
    z_prime_robust    the same with medians and 1.4826 x median absolute deviations
    z_prime_mad_mean  the same with medians and mean absolute deviations about the median (Berker et al. 2022)
    ssmd, ssmd_robust (m_p - m_n) / sqrt(s_p^2 + s_n^2) (Zhang 2007)
    signal_background higher over lower control mean;  signal_window (window - 3 (s_p + s_n)) / s of the higher control
    cv_negative, cv_positive   standard deviation / mean, a fraction
    edge_effect       outer ring minus inner wells of the same role (medians, roles weighted by wells), over the window
    row_trend, column_trend    change of the controls from the first to the last of their rows or columns (straight line
                      through the values about their role's median), over the window
    Without positive controls the window is |m_n|. NaN = not computable; `reason` says why, or what else
    the numbers do not know.
    """

    z_prime: float
    z_prime_robust: float
    z_prime_mad_mean: float
    ssmd: float
    ssmd_robust: float
    signal_background: float
    signal_window: float
    cv_negative: float
    cv_positive: float
    edge_effect: float
    row_trend: float
    column_trend: float
    n_negative: int
    n_positive: int
    reason: str


def assay_quality(wells: pd.DataFrame, *, value: str, by: Sequence[str] = ("plate",)) -> pd.DataFrame:
    """A row per plate (group of `by`, in order of appearance) with the columns of PlateQuality.

    wells: row = well; reads `role`, `value`, the `by` columns, and where present `well` (for edge and trends) and
    `excluded` (left out). Raises TableError when a column is missing.
    """
    keys = list(by)
    require_columns(wells, ["role", value, *keys], what="plate quality cannot be computed")
    numbers = pd.to_numeric(wells[value], errors="coerce").astype("float64")
    gone = left_out(wells)
    numbers = numbers.where(np.isfinite(numbers) & ~gone)
    records = []
    for name, rows in wells.groupby(keys, sort=False, dropna=False).indices.items():
        names = name if isinstance(name, tuple) else (name,)
        plate = wells.iloc[rows]
        place = well_positions(plate["well"]) if "well" in plate.columns else None
        quality = plate_quality(np.asarray(numbers.iloc[rows], dtype=float), plate["role"].to_numpy(dtype=object), place=place,
                                gone=gone.iloc[rows].to_numpy())
        records.append(dict(zip(keys, names, strict=True)) | asdict(quality))
    return pd.DataFrame(records, columns=[*keys, *PlateQuality.__dataclass_fields__])


def plate_quality(values: Array, roles: npt.NDArray[np.object_], *, place: tuple[Array, Array] | None = None,
                  gone: npt.NDArray[np.bool_] | None = None) -> PlateQuality:
    """Quality of one plate from the values and roles of its wells; place: row and column numbers from 0; gone: wells that
    were left out, NaN in `values`, which the reason counts where too few controls remain.
    """
    finite = np.isfinite(values)
    n, p = (values[finite & (roles == role)] for role in ("negative", "positive"))
    lost = {role: 0 if gone is None else int((gone & (roles == role)).sum()) for role in ("negative", "positive")}
    window = abs(np.mean(p) - np.mean(n)) if len(p) and len(n) else abs(np.mean(n)) if len(n) else np.nan
    pair = len(n) > 1 and len(p) > 1
    edge, row_trend, column_trend = _layout_effects(values, roles, place, window)
    mean_n, mean_p = (float(np.mean(v)) if len(v) > 1 else np.nan for v in (n, p))
    sd_n, sd_p = (sd(v) if len(v) > 1 else np.nan for v in (n, p))
    plain, robust = separation(p, n), separation(p, n, centre=np.median, spread=scaled_mad)     # SSMD of plates is m_p - m_n
    return PlateQuality(
        z_prime=plain[0], z_prime_robust=robust[0], z_prime_mad_mean=separation(p, n, centre=np.median, spread=_mean_deviation)[0],
        ssmd=plain[1], ssmd_robust=robust[1],
        signal_background=_over(max(mean_n, mean_p), min(mean_n, mean_p)) if pair else np.nan,
        signal_window=_over(window - 3 * (sd_p + sd_n), sd_n if mean_n > mean_p else sd_p) if pair else np.nan,
        cv_negative=_over(sd_n, mean_n), cv_positive=_over(sd_p, mean_p), edge_effect=edge, row_trend=row_trend,
        column_trend=column_trend, n_negative=len(n), n_positive=len(p), reason=_reason(n, p, lost))


def _mean_deviation(values: Array) -> float:
    return float(np.mean(np.abs(values - np.median(values))))


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole != 0 else np.nan


def _reason(n: Array, p: Array, lost: Mapping[str, int]) -> str:
    notes = [f"{len(values)} {role} control well{'' if len(values) == 1 else 's'}"
             + (f" ({lost[role]} left out)" if lost[role] else "") + ": at least 2 are needed"
             for role, values in (("negative", n), ("positive", p)) if len(values) < 2]
    if not notes and np.mean(n) == np.mean(p):
        notes.append("positive and negative controls read the same")
    flat = [] if notes else [role for role, values in (("negative", n), ("positive", p)) if np.ptp(values) == 0]
    if len(flat) == 2:
        notes.append("the controls have no scatter at all")
    elif flat:
        notes.append(f"all {flat[0]} controls read exactly the same, as at a floor or ceiling of the read-out: Z' knows the scatter of the "
                     "others only")
    return "; ".join(notes)


def well_positions(wells: pd.Series) -> tuple[Array, Array]:
    """Row and column numbers (N,) from 0 of well names; NaN where a name is no well."""
    row, column = np.array([_position(name) for name in wells], dtype=float).reshape(-1, 2).T
    return row, column


def _position(name: str) -> tuple[float, float]:
    try:
        return parse_well(name)
    except InputError:
        return np.nan, np.nan


def plate_shape(row: Array, column: Array) -> tuple[int, int]:
    """Rows and columns of the smallest plate that has these places (N,), or, where no plate is so large, of a grid that has them."""
    least = int(row.max(initial=0)) + 1, int(column.max(initial=0)) + 1
    return next((shape for shape in PLATE_FORMATS.values() if shape[0] >= least[0] and shape[1] >= least[1]), least)


def _layout_effects(values: Array, roles: npt.NDArray[np.object_], place: tuple[Array, Array] | None,
                    window: float) -> tuple[float, float, float]:
    """Edge effect, row trend and column trend, as fractions of the window."""
    if place is None or not window > 0:
        return np.nan, np.nan, np.nan
    row, column = place
    known = np.isfinite(row) & np.isfinite(column)
    if not known.any():
        return np.nan, np.nan, np.nan
    rows, columns = plate_shape(row[known], column[known])
    outer = (row == 0) | (row == rows - 1) | (column == 0) | (column == columns - 1)
    usable = known & np.isfinite(values)
    return (_edge(values, roles, outer, usable) / window, _trend(values, roles, row, usable) / window,
            _trend(values, roles, column, usable) / window)


def _edge(values: Array, roles: npt.NDArray[np.object_], outer: npt.NDArray[np.bool_], usable: npt.NDArray[np.bool_]) -> float:
    differences, weights = [], []
    for role in _UNIFORM_ROLES:
        ring, inner = (values[usable & (roles == role) & side] for side in (outer, ~outer))
        if len(ring) and len(inner):
            differences.append(np.median(ring) - np.median(inner))
            weights.append(min(len(ring), len(inner)))
    return float(np.average(differences, weights=weights)) if weights else np.nan


def _trend(values: Array, roles: npt.NDArray[np.object_], axis: Array, usable: npt.NDArray[np.bool_]) -> float:
    """Change over the range of the axis, by a straight line with one intercept per control role."""
    xy = sxx = 0.0
    span: list[float] = []
    for role in ("negative", "positive"):
        chosen = usable & (roles == role)
        if chosen.sum() > 1:
            x = axis[chosen] - axis[chosen].mean()
            xy, sxx = xy + float(x @ (values[chosen] - values[chosen].mean())), sxx + float(x @ x)
            span += [axis[chosen].min(), axis[chosen].max()]
    return xy / sxx * (max(span) - min(span)) if sxx > 0 else np.nan
