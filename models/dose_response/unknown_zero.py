"""What a screen without positive controls leaves open: how much of the living wells' read-out a dead well still gives.

Its viability counts from a read-out of zero. Where dead wells read more than that (the medium, the plastic, dead cells that stay), it is
too high everywhere, IC50s are too high, and scores too low. The wells that read least say how much that may be: if these are dead, all
that lies below them is background.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.dose_response.curves import doses_at
from models.dose_response.options import FitOptions

BACKGROUND = 0.25   # of what living wells read: where even the strongest effect leaves more, that is no dead well


def dead_level(wells: pd.DataFrame) -> pd.Series:
    """The viability that dead wells may read on each plate (the index): that of the dose of the strongest effect, 0 to BACKGROUND.

    wells: plate, treatment, dose, viability of those that are used.
    """
    return wells.groupby(["plate", "treatment", "dose"])["viability"].median().groupby("plate").min().clip(0.0, BACKGROUND)


def with_unknown_zero(curves: pd.DataFrame, wells: pd.DataFrame, options: FitOptions) -> pd.DataFrame:
    """The curves with `zero_at`, the viability that dead wells may read, and the lower limits of IC50 moved down to where IC50 lies then.

    If dead wells read q, the IC at level L is where the curve crosses L (1 - q), and limits move down with it, by as many times: nothing
    makes q and what else they hold cancel. A limit that is open (NaN) stays so, but for an IC beyond the doses that may then lie within.
    curves: on scale percent_inhibition, a row per treatment; wells: plate, treatment, dose, viability, excluded; those of the curves.
    """
    used = wells[~wells["excluded"] & wells["viability"].notna()]
    if used.empty:
        return curves.assign(zero_at=np.nan)
    zero = used["plate"].map(dead_level(used)).groupby(used["treatment"]).mean()        # of several plates each by its wells
    q = curves["treatment"].map(zero).astype("float64")
    level = np.asarray(options.ic_level * (1 - q.fillna(0.0)), dtype=np.float64)
    crossing = np.log10(doses_at(curves, level=level))
    middle = np.log10(curves["ic50"].to_numpy(dtype=float))
    moved = (curves["ic50_relation"].isin(["=", ">"]) & (q > 0)).to_numpy() & (crossing < middle)
    factor = np.where(moved, 10 ** (crossing - middle), 1.0)
    beyond = moved & curves["ic50_relation"].eq(">").to_numpy()     # by itself it never gets there, and so has no limit
    return curves.assign(zero_at=q, **{name: (curves[name] * factor).where(~(beyond & curves[name].isna()), 10**crossing)
                                       for name in ("ic50_low", "ic50_model_low") if name in curves})
