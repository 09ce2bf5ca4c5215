"""Limits of an IC50 that hold the scatter of the controls too.

Viability is measured from the medians of a plate's controls. What these are wrong by is the same for all wells of the plate, so that it
does not show in the scatter about the curve, and the interval of a fit cannot see it: with 4 controls of each kind and noise of 8 % of
their window, 95 % limits held the true IC50 of 65 of 80 simulated curves, and with the controls' error of 77.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t as student

from models.dose_response.curves import Array, doses_at
from models.dose_response.options import FitOptions
from models.dose_response.viability import MEDIAN_ERROR


def with_control_error(curves: pd.DataFrame, wells: pd.DataFrame, options: FitOptions, *, value: str, positive: bool) -> pd.DataFrame:
    """The curves with ic50_low and ic50_high moved outwards by what the medians of the controls may be wrong by.

    By that much (`_half_width`) the level that IC50 stands for may lie higher or lower; the doses at which the curve crosses these levels
    lie some way off the IC50, which is joined with the way to the curve's own limit as an independent error. A limit is open (NaN)
    where the curve does not reach such a level. Censored IC50s stay as they are.

    curves: on scale percent_inhibition, a row per treatment. wells: plate, role, treatment, `value`, `excluded`; those of `curves` and the
    controls. positive: whether positive controls are 0 %; else a read-out of 0 is.
    """
    own = wells.groupby("plate", sort=False)[list(wells.columns)]
    errors = pd.Series({plate: _half_width(group, value=value, positive=positive, options=options) for plate, group in own}, dtype=float)
    used = wells[~wells["excluded"] & wells[value].notna() & wells["treatment"].isin(curves["treatment"])]
    if used.empty:
        return curves
    shares = used.groupby("treatment")["plate"].value_counts(normalize=True).unstack().fillna(0.0)     # of a treatment's wells
    total = (shares**2).mul(errors.reindex(shares.columns) ** 2, axis="columns").sum(axis="columns")
    half = 100 * np.sqrt(curves["treatment"].map(total).fillna(0.0).to_numpy(dtype=float))
    crossings = np.sort(np.log10([doses_at(curves, level=options.ic_level + side * half) for side in (-1, 1)]), axis=0)  # NaN goes last
    stated, middle = curves["ic50_relation"].eq("=").to_numpy(), np.log10(curves["ic50"].to_numpy(dtype=float))
    crossings = np.where(crossings[:1] > middle, crossings[::-1], crossings)    # the only crossing lies above
    moved = {name: _joined(middle, np.log10(curves[name].to_numpy(dtype=float)), crossing, side=side)
             for name, crossing, side in (("ic50_low", crossings[0], -1), ("ic50_high", crossings[1], 1))}
    return curves.assign(**{name: np.where(stated & (half > 0), limits, curves[name]) for name, limits in moved.items()})


def _joined(middle: Array, limit: Array, crossing: Array, *, side: int) -> Array:
    """The dose as far from the middle as the ways to the limit and to the crossing together, all but the result in log10."""
    return np.asarray(10 ** (middle + side * np.hypot(limit - middle, crossing - middle)))


def _half_width(wells: pd.DataFrame, *, value: str, positive: bool, options: FitOptions) -> float:
    """What viability at the IC level of a plate may be wrong by, at the options' confidence; 0 where its controls have no scatter to tell.

    Standard errors of medians of k controls, 1.25 SD / sqrt(k), times Student's t of k - 1.
    """
    viability, square, level = 1 - options.ic_level / 100, 0.0, dict[str, float]()
    for role, share in (("negative", viability), ("positive", 1 - viability)) if positive else (("negative", viability),):
        values = wells.loc[wells["role"].eq(role) & ~wells["excluded"] & wells[value].notna(), value].to_numpy(dtype=float)
        if len(values) < 2:
            return 0.0
        error = MEDIAN_ERROR * float(values.std(ddof=1)) / np.sqrt(len(values)) * student.ppf((1 + options.level) / 2, len(values) - 1)
        level[role] = float(np.median(values))
        square += (share * error) ** 2
    window = abs(level["negative"] - level.get("positive", 0.0))
    return float(np.sqrt(square) / window) if window > 0 else 0.0
