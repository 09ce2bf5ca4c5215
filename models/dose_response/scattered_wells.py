"""Flat curves in single wells whose wells lie further apart than the controls scatter: an effect that comes and goes.

Where each dose stands in two wells, these tell scatter from effect (`misfits` of doubts.py). Where it stands in one, the flat test takes
all that does not rise steadily for noise, and a compound that kills at four doses of ten and not above them is "no effect, IC50 above the
top dose". The plate's negative controls know better what noise is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import special

from models.dose_response.curves import Array
from models.dose_response.doubts import BEYOND_DOSES_WORDS, FLAT_WORDS, MISFIT, MISFIT_LEVEL, SCATTERED_WORDS, Row, with_changes


def with_scattered_wells(curves: pd.DataFrame, wells: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """The curves; flat ones whose wells surely scatter more than negative controls are weakly identified and say so, without an EC50, and
    without an IC50 that some of their wells contradict.

    The well that lies furthest off is left aside: one that went wrong makes no such curve. curves: on scale percent_inhibition, a row per
    treatment; wells: plate, treatment, response of each, NaN where it takes no part; errors: of `control_errors`.
    """
    flat = curves.loc[(curves["status"] == "flat") & curves["p_lack_of_fit"].isna(), "treatment"]
    used = wells[wells["treatment"].isin(flat) & wells["response"].notna()]
    changes: dict[str, Callable[[Row], Row]] = {}
    for name, own in used.groupby("treatment"):
        noise = errors.loc[own["plate"].unique()]
        effect = own["response"].to_numpy(dtype=float)
        off = np.sort((effect - np.median(effect)) ** 2)[:-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            p = special.fdtrc(len(off), noise["df_negative"].min(), off.mean() / (100 * noise["sd_negative"].max()) ** 2)
        if np.sqrt(off.mean()) >= MISFIT and p < MISFIT_LEVEL:
            changes[str(name)] = _doubted(effect)
    return with_changes(curves, changes)


def _doubted(effect: Array) -> Callable[[Row], Row]:
    def change(row: Row) -> Row:
        both = bool(effect.min() < row["ic_level"] <= effect.max())
        dropped = (FLAT_WORDS, *(BEYOND_DOSES_WORDS if both else ()))
        names = ("ec50", "ic50") if both else ("ec50",)
        return {"status": "weakly_identified",
                "reason": "; ".join([SCATTERED_WORDS, *(part for part in row["reason"].split("; ") if part not in dropped)]),
                **dict.fromkeys((f"{name}{end}" for name in names for end in ("", "_low", "_high")), np.nan),
                **{f"{name}_relation": "" for name in names}}
    return change
