"""Curves in single wells whose wells lie further apart than the controls scatter: an effect that comes and goes.

Where each dose stands in two wells, these tell scatter from effect (`misfits` of doubts.py). Where it stands in one, or no two wells have
quite the same dose, all that does not rise steadily is taken for noise, and a compound that kills at four doses of ten and not above them
is "no effect, IC50 above the top dose". The plate's negative controls know better what noise is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy import special

from models.dose_response.curves import Array, curve_values
from models.dose_response.doubts import BEYOND_DOSES_WORDS, FLAT_WORDS, MISFIT, MISFIT_LEVEL, SCATTERED_WORDS, Row, with_changes


def with_scattered_wells(curves: pd.DataFrame, wells: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """The curves; flat ones, and those with an IC50 beyond the doses that two wells or more contradict, are weakly identified and say so
    where their wells surely scatter more than negative controls. They have no such IC50, and flat ones no EC50.

    The well that lies furthest off is left aside: one that went wrong makes no such curve. curves: on scale percent_inhibition, a row per
    treatment; wells: plate, treatment, dose, response of each, NaN where it takes no part; errors: of `control_errors`.
    """
    changes: dict[str, Callable[[Row], Row]] = {}
    alone = curves[curves["p_lack_of_fit"].isna() & curves["status"].isin(["flat", "ok", "weakly_identified"])]
    alone = alone[alone["ic50_relation"].ne("=")]
    used = wells[wells["response"].notna() & wells["treatment"].isin(alone["treatment"])]
    of = dict(list(used.groupby("treatment", sort=False)))
    for place, row in alone.iterrows():
        own = of[row["treatment"]]
        effect, flat = own["response"].to_numpy(dtype=float), row["status"] == "flat"
        contradicted = bool(len(effect) > 2 and np.sort(effect)[1] < row["ic_level"] <= np.sort(effect)[-2])
        if not flat and not contradicted:
            continue
        curve = np.median(effect) if flat else curve_values(curves.loc[[place]], own["dose"].to_numpy(dtype=float))[0]
        if _scatters(effect - curve, errors.loc[own["plate"].unique()]):
            names = (["ec50"] if flat else []) + (["ic50"] if contradicted else [])
            changes[str(row["treatment"])] = partial(_doubted, names=names)
    return with_changes(curves, changes)


def _scatters(off: Array, noise: pd.DataFrame) -> bool:
    """Whether wells that lie `off` (percent inhibition) scatter surely and much more than the negative controls of their plates."""
    variance = np.sort(off**2)[:-1].mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        p = special.fdtrc(len(off) - 1, noise["df_negative"].min(), variance / (100 * noise["sd_negative"].max()) ** 2)
    return bool(np.sqrt(variance) >= MISFIT and p < MISFIT_LEVEL)


def _doubted(row: Row, *, names: list[str]) -> Row:
    """names: of the doses that are taken back."""
    dropped = (FLAT_WORDS, *(BEYOND_DOSES_WORDS if "ic50" in names else ()))
    return {"status": "weakly_identified",
            "reason": "; ".join([SCATTERED_WORDS, *(part for part in row["reason"].split("; ") if part and part not in dropped)]),
            **dict.fromkeys((f"{name}{end}" for name in names for end in ("", "_low", "_high")), np.nan),
            **{f"{name}_relation": "" for name in names}}
