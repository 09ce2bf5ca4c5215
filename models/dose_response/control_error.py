"""Limits of an IC50, and of a score, that hold the scatter of the controls too.

Viability is measured from the medians of a plate's controls. What these are wrong by is the same for all wells of the plate, so that it
does not show in the scatter about the curve, and the interval of a fit cannot see it: with 4 controls of each kind and noise of 8 % of
their window, 95 % limits held the true IC50 of 71 of 80 simulated curves, and with the controls' error of 79.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t as student

from models.dose_response.curves import Array, doses_at
from models.dose_response.options import FitOptions
from models.dose_response.score_limits import SURE, mean_of_acting
from models.dose_response.viability import MEDIAN_ERROR


def with_control_error(curves: pd.DataFrame, wells: pd.DataFrame, errors: pd.DataFrame, options: FitOptions, *, value: str) -> pd.DataFrame:
    """The curves with ic50_low and ic50_high moved outwards by what the medians of the controls may be wrong by, and with `control_error`,
    the half-width by which the responses that make the score may be off for it, as sure as limits of scores are (score_limits.py).

    By that much (`_half_widths`) the level that IC50 stands for may lie higher or lower; the doses at which the curve crosses these levels
    lie some way off the IC50, which is joined with the way to the curve's own limit as an independent error. A limit is open (NaN)
    where the curve does not reach such a level. Censored IC50s stay as they are.

    curves: on scale percent_inhibition, a row per treatment. wells: plate, role, treatment, viability, `value`, `excluded`; those of
    `curves`. errors: of `control_errors`.
    """
    used = wells[~wells["excluded"] & wells[value].notna() & wells["treatment"].isin(curves["treatment"])]
    if used.empty:
        return curves.assign(control_error=np.nan)
    shares = _Shares.of(used, treatments=pd.Index(curves["treatment"]), plates=errors.index)
    inhibition = 100 * (1 - used["viability"])
    acting = curves["treatment"].map(mean_of_acting(inhibition, inhibition, used["treatment"])).to_numpy(dtype=float)
    half = _half_widths(errors, shares, np.full(len(curves), float(options.ic_level)), level=options.level)
    crossings = np.sort(np.log10([doses_at(curves, level=options.ic_level + side * half) for side in (-1, 1)]), axis=0)  # NaN goes last
    stated, middle = curves["ic50_relation"].eq("=").to_numpy(), np.log10(curves["ic50"].to_numpy(dtype=float))
    crossings = np.where(crossings[:1] > middle, crossings[::-1], crossings)    # the only crossing lies above
    moved = {name: _joined(middle, np.log10(curves[name].to_numpy(dtype=float)), crossing, side=side)
             for name, crossing, side in (("ic50_low", crossings[0], -1), ("ic50_high", crossings[1], 1))}
    return curves.assign(control_error=_half_widths(errors, shares, acting, level=2 * SURE - 1),
                         **{name: np.where(stated & (half > 0), limits, curves[name]) for name, limits in moved.items()})


def _joined(middle: Array, limit: Array, crossing: Array, *, side: int) -> Array:
    """The dose as far from the middle as the ways to the limit and to the crossing together, all but the result in log10."""
    return np.asarray(10 ** (middle + side * np.hypot(limit - middle, crossing - middle)))


def control_errors(wells: pd.DataFrame, *, value: str, positive: bool) -> pd.DataFrame:
    """Standard errors of what viability is measured from, a row per plate (the index).

    Columns negative and positive: that of the median of k controls, 1.25 SD / sqrt(k), over the window between the two; sd_negative: SD of
    negative controls over it; df_negative, df_positive: k - 1. NaN, with df 0, below two controls or without a window; where `positive` is
    False, a read-out of 0 is 0 %, which has no error.
    """
    rows = {plate: _control_error(group, value=value, positive=positive) for plate, group in wells.groupby("plate", sort=False)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["negative", "positive", "sd_negative", "df_negative", "df_positive"])


def _control_error(wells: pd.DataFrame, *, value: str, positive: bool) -> tuple[float, float, float, int, int]:
    used = wells[~wells["excluded"] & wells[value].notna()]
    living, dead = (used.loc[used["role"].eq(role), value].to_numpy(dtype=float) for role in ("negative", "positive"))
    zero = (float(np.median(dead)) if len(dead) else np.nan) if positive else 0.0
    window = abs(float(np.median(living)) - zero) if len(living) else np.nan
    sd = [float(values.std(ddof=1)) / window if len(values) > 1 and window > 0 else np.nan for values in (living, dead)]
    errors = [MEDIAN_ERROR * spread / np.sqrt(len(values)) if len(values) else np.nan
              for spread, values in zip(sd, (living, dead), strict=True)]
    return errors[0], errors[1] if positive else 0.0, sd[0], max(len(living) - 1, 0), max(len(dead) - 1, 0) if positive else 0


@dataclass(frozen=True, kw_only=True)
class _Shares:
    """Which share of the wells of a treatment lies on which plate, a row per pair that has any: numbers of both, and the share."""

    treatment: npt.NDArray[np.intp]
    plate: npt.NDArray[np.intp]
    share: Array

    @classmethod
    def of(cls, used: pd.DataFrame, *, treatments: pd.Index, plates: pd.Index) -> _Shares:
        rows, columns = (index.get_indexer(pd.Index(used[name])).astype(np.int64)
                         for index, name in ((treatments, "treatment"), (plates, "plate")))
        pairs, counts = np.unique(rows * len(plates) + columns, return_counts=True)
        treatment, plate = np.divmod(pairs, len(plates))
        return cls(treatment=treatment, plate=plate, share=counts / np.bincount(treatment, weights=counts)[treatment])


def _half_widths(errors: pd.DataFrame, shares: _Shares, inhibition: Array, *, level: float) -> Array:
    """What an inhibition (N,) of treatments may be wrong by for the controls, both in percent, at a confidence level.

    errors: of `control_errors`. An error of the negative controls scales what lives, one of the positive controls what is dead: standard
    errors times Student's t of k - 1. Controls without scatter to tell count for nothing.
    """
    parts = []
    for role, part in (("negative", 100 - inhibition), ("positive", inhibition)):
        of_plates = errors[role].to_numpy() * student.ppf((1 + level) / 2, np.maximum(errors[f"df_{role}"].to_numpy(), 1))
        own = shares.share * np.nan_to_num(of_plates)[shares.plate]
        parts.append(part * np.sqrt(np.bincount(shares.treatment, weights=own**2, minlength=len(inhibition))))
    return np.hypot(*parts)
