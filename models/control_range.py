"""Do a plate's controls stand for what they should: untreated wells for 100 %, dead ones for 0 %?

Z' tells how far apart they are, not whether they are where they should be. The treated wells tell: they cannot all live better than
untreated ones, or be deader than dead.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from models.errors import Finding
from models.plates.screen import Controls
from models.tables import DOSED_ROLES, combined

HIGH, FEWEST = 1.2, 3       # median viability at the lowest doses, and treatments that it takes, for a doubt about negative controls
LOW, FEW_WELLS = 0.25, 3    # viability below zero, and wells of it, for a doubt about positive controls
SCATTER = 5.0               # SDs of the positive controls that such a well must lie below them as well
ABOVE, BELOW = "above_controls", "below_controls"       # rules of the findings


def range_findings(wells: pd.DataFrame, *, controls: Controls) -> list[Finding]:
    """A warning for each plate whose treated wells lie well above its negative controls, or below its positive ones.

    wells: WellScores. controls: what the screen declares.
    """
    read = ~wells["excluded"] & wells["viability"].notna() & (wells["dose"] > 0)
    dosed = wells[wells["role"].isin(DOSED_ROLES) & read & ~combined(wells)]
    viability = dosed["viability"].to_numpy(dtype=float)    # looked at first: on most plates nothing lies so far out
    return [*(_above(dosed) if (viability > HIGH).any() else ()),
            *(_below(dosed, wells) if controls == "both" and (viability < -LOW).sum() >= FEW_WELLS else ())]


def _above(dosed: pd.DataFrame) -> list[Finding]:
    lowest = dosed[dosed["dose"] == dosed.groupby(["plate", "treatment"])["dose"].transform("min")]
    medians = lowest.groupby(["plate", "treatment"], sort=False)["viability"].median().groupby(level="plate", sort=False)
    high = {str(plate): (len(own), float(own.median())) for plate, own in medians if len(own) >= FEWEST and own.median() > HIGH}
    return [Finding(rule=ABOVE, severity="warning", plate=plate, column="viability", value=f"{middle:.2f}", message=(
        f"at their lowest doses the {count} treatments of plate {plate} read {100 * middle:.0f} % of its negative controls in the middle: "
        "these do not stand for untreated wells (edge, solvent, drift over the plate?), so that all viabilities are too high, effects too "
        "small; put untreated controls among the treated wells")) for plate, (count, middle) in high.items()]


def _below(dosed: pd.DataFrame, wells: pd.DataFrame) -> list[Finding]:
    scatter = wells[wells["role"].eq("positive") & ~wells["excluded"]].groupby("plate")["viability"].std()
    limit = -(SCATTER * dosed["plate"].map(scatter).astype(float).fillna(0.0)).clip(lower=LOW)
    dead = dosed[dosed["viability"] < limit].groupby("plate", sort=False)["viability"].agg(["size", "median"])
    return [Finding(rule=BELOW, severity="warning", plate=str(plate), column="viability", value=f"{row['median']:.2f}", message=(
        f"{int(row['size'])} treated wells of plate {plate} are deader than its positive controls (viability "
        f"{100 * row['median']:.0f} % in the middle): these do not stand for dead cells, so that effects are too large and IC50s too low; "
        "take a control that kills them all, or a background")) for plate, row in dead[dead["size"] >= FEW_WELLS].iterrows()]


def at_ceiling(wells: pd.DataFrame, *, value: str) -> dict[str, str]:
    """plate -> what is wrong, of plates whose negative controls, half of them or more, read exactly the plate's highest value, and treated
    wells too: as a reader gives it that is at its end. value: the column of raw read-outs.
    """
    read = wells[~wells["excluded"] & wells[value].notna() & wells["role"].ne("empty")]
    top = read[value] == read.groupby("plate")[value].transform("max")
    words = {}
    for plate, own in read[top].groupby("plate", sort=False):
        negative, dosed = int(own["role"].eq("negative").sum()), int(own["role"].isin(DOSED_ROLES).sum())
        controls = int((read["plate"].eq(plate) & read["role"].eq("negative")).sum())
        if min(negative, dosed) >= FEW_WELLS and 2 * negative >= controls:
            words[str(plate)] = (f"{negative} negative controls and {dosed} treated wells of plate {plate} read exactly its highest value, "
                                 "as at the end of a reader's range: what 100 % is is not known, and an IC50 comes out too high")
    return words


def say_ceiling(curves: pd.DataFrame, wells: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """The curves; those with wells on such plates have the reason, and are weakly_identified where they were ok. words: of `at_ceiling`."""
    if not words or curves.empty:
        return curves
    used = wells[wells["role"].isin(DOSED_ROLES) & ~wells["excluded"] & ~combined(wells) & wells["plate"].isin(list(words))]
    reasons = {treatment: "; ".join(words[plate] for plate in dict.fromkeys(plates))
               for treatment, plates in used.groupby("treatment")["plate"]}
    said = curves["treatment"].map(lambda treatment: reasons.get(treatment, "")).astype(str)
    touched = said.ne("") & (curves["n"] > 0)
    reason = (said + "; " + curves["reason"]).str.removesuffix("; ")
    return curves.assign(reason=curves["reason"].mask(touched, reason),
                         status=curves["status"].mask(touched & curves["status"].eq("ok"), "weakly_identified"))
