"""The truth behind a simulated plate: one curve per treatment, one viability per well, one random stream per well."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.errors import Finding, TableError
from models.tables import DOSED_ROLES, combined


@dataclass(frozen=True, kw_only=True)
class TrueCurve:
    """Viability falls from 1 to `bottom` with half of that fall at dose `midpoint` (in the layout's unit), Hill `slope`.

    midpoint = inf: no effect at any dose.
    """

    midpoint: float
    slope: float = 1.2
    bottom: float = 0.0

    def __post_init__(self) -> None:
        if not (self.midpoint > 0 and self.slope > 0 and 0 <= self.bottom <= 1):
            raise ValueError(f"a true curve needs midpoint > 0, slope > 0 and 0 <= bottom <= 1, got {self}")

    def viability(self, dose: np.ndarray) -> np.ndarray:
        """Viability (0-1) at these doses (> 0, unit of midpoint)."""
        return self.bottom + (1 - self.bottom) / (1 + (np.asarray(dose, dtype=np.float64) / self.midpoint) ** self.slope)

    @property
    def ic50(self) -> float:
        """Dose where viability is 0.5; inf if it never falls so far."""
        if self.bottom >= 0.5:
            return float("inf")
        return float(self.midpoint * (0.5 / (0.5 - self.bottom)) ** (1 / self.slope))


Boosts = Mapping[tuple[str, str], float]
"""(first, second) treatment -> how many times more potent the first becomes by the full effect of the second, less one; 0, or none
given: the two are independent, and the living are those that survive each."""


def together(first: TrueCurve, second: TrueCurve, dose: float, dose_2: float, *, boost: float = 0.0) -> float:
    """True viability (0-1) of both drugs in one well."""
    survivors = float(second.viability(np.array(dose_2)))
    return survivors * float(first.viability(np.array(dose * (1 + boost * (1 - survivors)))))


def true_viability(layout: pd.DataFrame, curves: Mapping[str, TrueCurve], boosts: Boosts | None = None) -> pd.Series:
    """True viability of each row of a Layout (its index kept), rounded to 6 digits.

    negative and untreated: 1; positive: 0 (that is what the control defines); empty: NaN (no cells); treated and reference: the curve of
    its treatment at its dose, with a second treatment what survives both. Raises TableError for a treatment without a curve.
    """
    dosed, both = layout["role"].isin(DOSED_ROLES), combined(layout)
    needed = {*layout.loc[dosed, "treatment"], *(layout.loc[dosed & both, "treatment_2"] if both.any() else ())}
    missing = sorted(needed - set(curves))
    if missing:
        raise TableError("the simulation lacks a true curve", [
            Finding(rule="truth_missing", severity="error", column="treatment", value=name,
                    message=f"treatment '{name}' has no true curve; curves given: {', '.join(sorted(curves))}")
            for name in missing])
    fixed = {"negative": 1.0, "untreated": 1.0, "positive": 0.0, "empty": np.nan}
    values = [fixed[role] if role in fixed else float(curves[treatment].viability(np.array(dose)))
              for role, treatment, dose in zip(layout["role"], layout["treatment"], layout["dose"], strict=True)]
    for row in np.flatnonzero(dosed & both):
        first, second, dose, dose_2 = layout.iloc[row][["treatment", "treatment_2", "dose", "dose_2"]]
        values[row] = together(curves[first], curves[second], dose, dose_2, boost=(boosts or {}).get((first, second), 0.0))
    return pd.Series(np.round(values, 6), index=layout.index, name="viability", dtype="float64")


def curve_table(layout: pd.DataFrame, curves: Mapping[str, TrueCurve]) -> pd.DataFrame:
    """The true curves of a layout's dosed treatments, one row each, in order of appearance.

    Columns: treatment, dose_unit, midpoint, slope, top (1), bottom, ic50, ic50_relation (">" with the top dose where
    viability does not reach 0.5 within the tested doses, "<" with the lowest), dose_min, dose_max. Doses in dose_unit.
    """
    dosed = layout[layout["role"].isin(DOSED_ROLES) & ~combined(layout)]
    return pd.DataFrame([_curve_row(str(name), wells, curves[str(name)])
                         for name, wells in dosed.groupby("treatment", sort=False)])


def _curve_row(name: str, wells: pd.DataFrame, curve: TrueCurve) -> dict[str, object]:
    low, high = float(wells["dose"].min()), float(wells["dose"].max())
    relation = ">" if curve.ic50 > high else "<" if curve.ic50 < low else "="
    return {"treatment": name, "dose_unit": wells["dose_unit"].iloc[0], "midpoint": curve.midpoint, "slope": curve.slope,
            "top": 1.0, "bottom": curve.bottom, "ic50": {">": high, "<": low, "=": round(curve.ic50, 6)}[relation],
            "ic50_relation": relation, "dose_min": low, "dose_max": high}


def wells_of_plate(layout: pd.DataFrame, truth: pd.Series, plate: str) -> Iterator[tuple[str, float]]:
    """(well, true viability) of one plate's rows, in their order; `truth` has the layout's index."""
    chosen = layout[layout["plate"] == plate]
    return zip(map(str, chosen["well"]), map(float, truth.loc[chosen.index]), strict=True)


def well_rng(seed: int, plate: str, well: str, *, stream: str = "") -> np.random.Generator:
    """The random stream of one well; the same for the same (seed, plate, well, stream) whatever else is simulated."""
    return np.random.default_rng([seed, *(zlib.crc32(text.encode()) for text in (plate, well, stream))])
