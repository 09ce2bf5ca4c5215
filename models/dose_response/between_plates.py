"""Limits of midpoints, and of scores, that hold what happens from plate to plate.

Wells of several plates are fitted as repeats of each other, so that the limits of the pooled curve speak of these plates alone. Where a
treatment's IC50s wander from plate to plate by more than the noise within them (dilution, seeding density, hours of incubation), two
plates that happen to lie close together make limits outside of which the drug's own IC50 lies. One treatment on two plates cannot tell
how far they wander; all treatments of a screen together can.

A meta-analysis with random effects over plates (DerSimonian and Laird 1986, moments), one variance for all treatments: that of the shifts
of plates' curves from the pooled one, less what the noise explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2
from scipy.stats import t as student

from models.dose_response.curves import Array
from models.dose_response.plate_agreement import Disagreement
from models.dose_response.plate_residuals import PlateResiduals
from models.dose_response.score_limits import SURE

ENOUGH = 3          # degrees of freedom from which on the treatments together say how far plates lie apart
UNSURE = 0.5        # log10 dose: SD of a plate's shift, above which it tells nothing
RARE = 0.1          # share of treatments up to which those whose plates are surely apart went wrong by themselves


@dataclass(frozen=True, kw_only=True)
class BetweenPlates:
    """How far the midpoints of one treatment lie apart from plate to plate, beyond the noise within plates.

    sd: of log10 dose; df: degrees of freedom that it was told by; p: that there is nothing but noise; treatments: how many told it.
    plates: by treatment, how many plates of equally many wells its own are worth.
    """

    sd: float
    df: float
    p: float
    treatments: int
    plates: dict[str, float]

    @property
    def fold(self) -> float:
        """The SD as a ratio of doses."""
        return float(10**self.sd)


def between_plates(residuals: PlateResiduals, apart: Sequence[Disagreement]) -> BetweenPlates | None:
    """None where the treatments are too few to tell, or nothing lies between plates but noise.

    apart: treatments whose plates disagree. The few in a screen that surely do are told each by itself, and say nothing of the others.
    """
    table = residuals.plates
    wrong = {one.treatment for one in apart if one.matters}
    table = table[~table["treatment"].isin(wrong)] if len(wrong) <= RARE * len(residuals.curves) else table
    told = table[(table["shift_variance"] > 0) & (table["shift_variance"] < UNSURE**2) & table["shift"].notna()]
    told = told[told.groupby("treatment")["plate"].transform("size") > 1]
    if told.empty:
        return None
    weight = 1.0 / told["shift_variance"]
    sums = pd.DataFrame({"k": 1.0, "w": weight, "w2": weight**2, "wx": weight * told["shift"], "wxx": weight * told["shift"] ** 2}
                        ).groupby(told["treatment"]).sum()
    spread, spare = (sums["wxx"] - sums["wx"] ** 2 / sums["w"]).sum(), sums["k"] - 1
    share = sums["w"] - sums["w2"] / sums["w"]
    df = float(share.sum() ** 2 / (share**2 / spare).sum())
    variance = float((spread - spare.sum()) / share.sum())
    if df < ENOUGH or variance <= 0:
        return None
    n, treatment = residuals.plates["n"], residuals.plates["treatment"]
    plates = n.groupby(treatment).sum() ** 2 / (n**2).groupby(treatment).sum()
    return BetweenPlates(sd=variance**0.5, df=df, p=float(chi2.sf(spread, spare.sum())), treatments=len(sums),
                         plates={str(name): float(number) for name, number in plates.items()})


def with_between_plates(curves: pd.DataFrame, between: BetweenPlates | None, *, level: float) -> pd.DataFrame:
    """The curves, their limits moved outwards by what lies between plates, at the confidence `level`; of treatments on one plate too, whose
    plate may lie as far off as any. Censored midpoints and open limits stay as they are. `plates_error` is the half-width
    (log10 dose) that limits of scores hold (score_limits.py).
    """
    if between is None:
        return curves
    error = between.sd / np.sqrt(curves["treatment"].map(between.plates).fillna(1.0).to_numpy(dtype=float))
    way = error * student.ppf((1 + level) / 2, between.df)
    moved: dict[str, Array] = {}
    for name in ("ec50", "ic50"):
        stated, middle = curves[f"{name}_relation"].eq("=").to_numpy(), np.log10(curves[name].to_numpy(dtype=float))
        for kind in (kind for kind in (name, f"{name}_model") if f"{kind}_low" in curves):
            for end, side in (("low", -1), ("high", 1)):
                limit = np.log10(curves[f"{kind}_{end}"].to_numpy(dtype=float))
                outer = 10 ** (middle + side * np.hypot(limit - middle, way))
                moved[f"{kind}_{end}"] = np.where(stated, outer, curves[f"{kind}_{end}"])
    return curves.assign(plates_error=error * student.ppf(SURE, between.df), **moved)
