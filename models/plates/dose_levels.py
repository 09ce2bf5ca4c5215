"""Doses that were meant to be one: acoustic and ink-jet dispensers report what each well got, 9.97, 10 and 10.02 nM of a nominal 10."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.tables import DOSED_ROLES

WIDEST = 1.1    # highest over lowest dose of a level: droplets of 2.5 nL make steps of a tenth where the least volume is ten of them
PLAIN = 3.0     # times the widest level (as logarithms) that levels lie apart at least; nearer, nobody knows which doses belong together


def one_dose(dose: float) -> float:
    """The dose to twelve digits: 0.1 uM and 100 nM are one, whatever multiplying made of the last digits."""
    return float(f"{dose:.12g}")


def with_one_dose_a_level(wells: pd.DataFrame) -> pd.DataFrame:
    """The wells with each treatment's doses of a level, in `dose` or `dose_2`, at their median to three digits.

    Curves count doses and compare the replicates of each, and the effects of two drugs are compared dose by dose.
    """
    parts = {}
    for name in (name for name in ("dose", "dose_2") if name in wells):
        columns = [name.replace("dose", "treatment"), name.replace("dose", "dose_unit"), name]
        dosed = wells["role"].isin(DOSED_ROLES) & wells[name].gt(0)
        parts[name] = wells.loc[dosed, columns].set_axis(["treatment", "unit", "dose"], axis=1)
    given = pd.concat(parts).sort_values(["treatment", "unit", "dose"])
    step = given["dose"] / given.groupby(["treatment", "unit"])["dose"].shift()
    close = given[given["treatment"].isin(given.loc[(step > 1) & (step <= WIDEST), "treatment"])]
    levels = close["dose"].copy()
    for rows in close.groupby(["treatment", "unit"]).indices.values():
        levels.iloc[rows] = _levels(levels.iloc[rows].to_numpy())
    changed = levels[levels != close["dose"]]
    return wells.assign(**{str(name): own.droplevel(0).combine_first(wells[name]) for name, own in changed.groupby(level=0)})


def _levels(dose: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The median of each dose's level to three digits, or the doses as they are, where levels are not plain."""
    doses, place = np.unique(dose, return_inverse=True)
    level = np.zeros(len(doses), dtype=int)
    first = doses[0]
    for here in range(1, len(doses)):
        level[here] = level[here - 1] + (doses[here] > WIDEST * first)
        first = doses[here] if level[here] > level[here - 1] else first
    starts = np.flatnonzero(np.diff(level, prepend=-1))
    lowest, highest = np.log(doses[starts]), np.log(doses[np.append(starts[1:], len(doses)) - 1])
    if len(starts) == len(doses) or (lowest[1:] - highest[:-1] < PLAIN * (highest - lowest).max()).any():
        return dose
    middle = np.array([float(f"{np.median(dose[level[place] == one]):.3g}") for one in range(len(starts))])
    return middle[level[place]]
