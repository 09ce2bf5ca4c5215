"""Do a plate's controls stand for what they should: untreated wells for 100 %, dead ones for 0 %?

Z' tells how far apart they are, not whether they are where they should be. The treated wells tell: they cannot all live better than
untreated ones, or be deader than dead, nor lose the same share of their cells to doses of which twice as much or more does no more. And
where not one treatment of many spares the cells at its top dose, and those that spare most read alike, that dose holds something that
kills beside the drugs: its solvent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from models.dose_response import normalise_to_controls
from models.dose_response.doubts import TOO_HIGH_WORDS, TOO_LOW_WORDS
from models.effects import on_curves, words_of_plates
from models.errors import Finding
from models.plates.screen import Controls
from models.tables import DOSED_ROLES, combined

HIGH, FEWEST = 1.2, 3       # median viability at the lowest doses, and treatments that it takes, for a doubt about negative controls
SUNKEN, STEADY = (0.2, 0.85), 0.1   # viability of steady starts that is neither alive nor dead; what two doses of one differ by at most
STARTS, DOSES, LEVEL = 5, 4, 0.001  # treatments that it takes, doses of each, and p up to which they surely differ from the controls
LOW, FEW_WELLS = 0.25, 3    # viability below zero, and wells of it, for a doubt about positive controls
LITTLE, DEAD, DEAD_WELLS = 0.1, 0.25, 8     # viability below zero of the middle of all dead wells; what is taken as one; how many it takes
SCATTER, LOGITS = 5.0, 3.0  # SDs of the positive controls that such a well must lie below them as well; on the logits of a classifier
ENDS, END_SHARE, END_DOSES = 4, 1 / 3, 3    # treatments, and their share, that spare most and read alike; highest doses looked at
ABOVE, BELOW, ALONE = "above_controls", "below_controls", "control_alone"     # rules of the findings
ALL_SUNKEN, ALL_SINK = "starts_sunken", "ends_sunken"
MEANT = {"negative": "100 %", "positive": "0 %"}    # by the median of a kind of control


def range_findings(wells: pd.DataFrame, *, controls: Controls) -> list[Finding]:
    """A warning for each plate whose treated wells lie well above its negative controls, or below its positive ones, or whose treatments
    start alike below its negative controls, or end so at their top dose, or that has a single control of a kind left.

    wells: WellScores. controls: what the screen declares.
    """
    read = ~wells["excluded"] & wells["viability"].notna() & (wells["dose"] > 0)
    dosed = wells[wells["role"].isin(DOSED_ROLES) & read & ~combined(wells)]
    viability = dosed["viability"].to_numpy(dtype=float)    # looked at first: on most plates nothing lies so far out
    doses = dosed.groupby(["plate", "treatment"])["dose"]   # once for all: to group takes longer than to rank
    dosed = dosed.assign(rank=doses.rank(method="dense"), count=doses.transform("nunique"))
    return [*(_above(dosed) if (viability > HIGH).any() else ()), *_sunken(dosed, wells), *_sinking(dosed),
            *_alone(wells, controls), *(_below(wells, dosed.index) if controls == "both" else ())]


def _alone(wells: pd.DataFrame, controls: Controls) -> list[Finding]:
    """Where one well says what a kind of control reads: its own error has no measure, and no limit allows for it."""
    kinds = {"both": tuple(MEANT), "negative": ("negative",), "none": ()}[controls]
    used = wells[wells["role"].isin(kinds) & ~wells["excluded"] & wells["viability"].notna()]
    return [Finding(rule=ALONE, severity="warning", plate=plate, well=well, column="role", value=kind, message=(
        f"well {well} is the only {kind} control that is left on plate {plate}: {MEANT[kind]} is what this one well reads, and how far off "
        "that is nothing tells; take control wells back that were left out for no good reason, or leave the plate out"))
        for plate, kind, well in used.loc[~used.duplicated(["plate", "role"], keep=False), ["plate", "role", "well"]].to_numpy(dtype=str)]


def _above(dosed: pd.DataFrame) -> list[Finding]:
    lowest = dosed[dosed["rank"] == 1]
    medians = lowest.groupby(["plate", "treatment"], sort=False)["viability"].median().groupby(level="plate", sort=False)
    high = {str(plate): (len(own), float(own.median())) for plate, own in medians if len(own) >= FEWEST and own.median() > HIGH}
    return [Finding(rule=ABOVE, severity="warning", plate=plate, column="viability", value=f"{middle:.2f}", message=(
        f"at their lowest doses the {count} treatments of plate {plate} read {100 * middle:.0f} % of its negative controls in the middle: "
        "these do not stand for untreated wells (edge, solvent, drift over the plate?), so that all viabilities are too high, effects too "
        "small; put untreated controls among the treated wells")) for plate, (count, middle) in high.items()]


def _sunken(dosed: pd.DataFrame, wells: pd.DataFrame) -> list[Finding]:
    """Where half of the treatments or more read the same at their two lowest doses, and as each other, and that is neither 0 nor 100 %."""
    living = wells[wells["role"].eq("negative") & ~wells["excluded"] & wells["viability"].notna()]
    found = []
    for plate, starts in dosed[(dosed["rank"] <= 2) & (dosed["count"] >= DOSES)].groupby("plate", sort=False):
        means = starts.groupby(["treatment", "rank"])["viability"].mean().unstack()
        if len(means) < STARTS:
            continue
        steady = means[(means.max(axis=1) - means.min(axis=1)) <= STEADY].mean(axis=1)
        middle = float(steady.median())
        alike = steady.index[(steady - middle).abs() <= STEADY]
        if 2 * len(alike) < len(means) or not SUNKEN[0] < middle < SUNKEN[1]:
            continue
        low, controls = starts.loc[starts["treatment"].isin(alike), "viability"], living.loc[living["plate"] == plate, "viability"]
        if stats.ttest_ind(low, controls).pvalue < LEVEL:
            found.append(Finding(rule=ALL_SUNKEN, severity="warning", plate=str(plate), column="viability", value=f"{middle:.2f}", message=(
                f"at their two lowest doses {len(alike)} of {len(means)} treatments of plate {plate} read alike, {100 * middle:.0f} % of "
                "its negative controls: either all act so at doses far below the others, or these controls read more than untreated wells "
                "do (without the solvent, another volume, another place?), so that effects are too large and IC50s too low; put controls "
                "with the solvent of the treated wells among them")))
    return found


def _sinking(dosed: pd.DataFrame) -> list[Finding]:
    """Where no treatment lives at its top dose, and those that live best there, a third at least, read alike, as they did one dose below,
    and lived at their lower doses. value: how many of the highest doses they do not live at.
    """
    from_top = (dosed["count"] - dosed["rank"] + 1).clip(upper=END_DOSES + 1)
    found = []
    for plate, own in dosed.assign(rank=from_top)[dosed["count"] >= END_DOSES + 1].groupby("plate", sort=False):
        means = own.groupby(["treatment", "rank"])["viability"].mean().unstack()
        needed = max(ENDS, math.ceil(END_SHARE * len(means)))
        if len(means) < max(needed, STARTS):
            continue
        top, lived = means[1.0], means[END_DOSES + 1.0] >= SUNKEN[1]
        level = float(top.nlargest(needed).median())
        alike = means[((top - level).abs() <= STEADY) & lived & ((means[2.0] - means.loc[lived, 2.0].median()).abs() <= STEADY)]
        if len(alike) < needed or (top > level + STEADY).any() or not SUNKEN[0] < level < SUNKEN[1]:
            continue
        sunken = int((alike.median() < SUNKEN[1]).loc[1.0:END_DOSES].sum())
        found.append(Finding(rule=ALL_SINK, severity="warning", plate=str(plate), column="viability", value=str(sunken), message=(
            f"no treatment of plate {plate} lives at its top dose as untreated wells do: those that do best, {len(alike)} of {len(means)}, "
            f"read alike there, {100 * level:.0f} % of the negative controls, after they lived at lower doses. Either all of them begin to "
            "act there, or it is the solvent, of which the top dose holds most: IC50s near the top dose come out too low; give all wells, "
            "controls too, as much solvent as the top dose")))
    return found


def plate_words(findings: Iterable[Finding]) -> dict[str, str]:
    """plate -> why its curves are in doubt, of plates whose treatments start above or below the negative controls, whose treated wells
    lie below the positive ones, or that have one control of a kind left.
    """
    words = {ABOVE: f"what 100 % is is not known, and {TOO_HIGH_WORDS}", ALL_SUNKEN: f"what 100 % is is not known, and {TOO_LOW_WORDS}"}
    said = {one.plate: f"at their lowest doses treatments of plate {one.plate} read {100 * float(one.value):.0f} % of its negative "
                       f"controls: {words[one.rule]}" for one in findings if one.rule in words}
    below = {one.plate: f"treated wells of plate {one.plate} are deader than its positive controls: what 0 % is is not known, and "
                        f"{TOO_LOW_WORDS}" for one in findings if one.rule == BELOW}
    alone = {one.plate: f"a single {one.value} control is left on plate {one.plate}: how far off {MEANT[one.value]} is nothing tells"
             for one in findings if one.rule == ALONE}
    return alone | below | said


def end_words(curves: pd.DataFrame, wells: pd.DataFrame, findings: Iterable[Finding]) -> pd.Series:
    """Why a curve is in doubt whose IC50 lies among the doses at which all treatments of one of its plates sink; "" for the others."""
    sunken = {one.plate: int(one.value) for one in findings if one.rule == ALL_SINK}
    if not sunken or curves.empty:
        return pd.Series("", index=curves.index, dtype=str)
    words = {plate: f"the IC50 lies at doses at which no treatment of plate {plate} lives: it may be the solvent that kills there"
             for plate in sunken}
    used = wells[on_curves(wells)]
    said = words_of_plates(curves, used, words)
    doses = {name: np.sort(own.unique())[::-1] for name, own in used.groupby("treatment")["dose"]}
    most = used["plate"].map(sunken).groupby(used["treatment"]).max()       # of a treatment's own plates, NaN where none sinks
    reached = [bool(text) and relation == "=" and ic50 > doses[name][min(int(most[name]), len(doses[name]) - 1)]
               for text, name, ic50, relation in zip(said, curves["treatment"], curves["ic50"], curves["ic50_relation"], strict=True)]
    return said.where(pd.Series(reached, index=curves.index, dtype=bool), "")


def _below(wells: pd.DataFrame, dosed: pd.Index) -> list[Finding]:
    """By viability; by the logits where a classifier read the wells, whose probabilities stop at what it has learned to call dead. Told of
    plates with single wells far below, and of such whose dead wells lie a little below, but all of them: of logits only the former, for how
    dead a dead well looks to a classifier differs from drug to drug.
    """
    logits = bool(wells["probability"].notna().any())
    seen = normalise_to_controls(wells, value="logit") if logits else wells
    if (seen.loc[dosed, "viability"].to_numpy(dtype=float) < -LITTLE).sum() < FEW_WELLS:
        return []
    controls = seen[seen["role"].eq("positive") & ~seen["excluded"] & seen["viability"].notna()].groupby("plate")["viability"]
    found = []
    for plate, own in seen.loc[dosed].groupby("plate", sort=False):
        dead = controls.get_group(plate) if plate in controls.groups else pd.Series(dtype=float)
        scatter = (LOGITS if logits else SCATTER) * float(np.nan_to_num(dead.std()))
        far, all_dead = own[own["viability"] < -max(LOW, scatter)], own[own["viability"] < DEAD]
        if len(far) >= FEW_WELLS:
            found.append(_below_finding(str(plate), far["viability"], "", logits=logits))
        elif not logits and _lie_a_little_below(all_dead, dead):
            found.append(_below_finding(str(plate), all_dead["viability"], "a little ", logits=False))
    return found


def _lie_a_little_below(wells: pd.DataFrame, controls: pd.Series) -> bool:
    """Whether dead wells of several treatments lie below the positive controls in the middle, surely."""
    if len(wells) < DEAD_WELLS or len(controls) < 2 or wells["treatment"].nunique() < FEWEST or wells["viability"].median() > -LITTLE:
        return False
    return bool(stats.ttest_ind(wells["viability"], controls, equal_var=False).pvalue < LEVEL)


def _below_finding(plate: str, viability: pd.Series, how: str, *, logits: bool) -> Finding:
    middle = float(viability.median())
    return Finding(rule=BELOW, severity="warning", plate=plate, column="viability", value=f"{middle:.2f}", message=(
        f"{len(viability)} treated wells of plate {plate} are {how}deader than its positive controls (viability {100 * middle:.0f} %"
        f"{' by the logits' if logits else ''} in the middle): these do not stand for dead cells, so that effects are too large and IC50s "
        "too low; take a control that kills them all, or a background"))


def at_ceiling(wells: pd.DataFrame, *, value: str) -> dict[str, str]:
    """plate -> what is wrong, of plates whose negative controls, half of them or more, read exactly the plate's highest value, and treated
    wells too: as a reader gives it that is at its end. value: the column of raw read-outs.
    """
    read = wells[~wells["excluded"] & wells[value].notna() & wells["role"].ne("empty")]
    top = read[value] == read.groupby("plate")[value].transform("max")
    of_plate = read.loc[read["role"].eq("negative"), "plate"].value_counts()
    words = {}
    for plate, own in read[top].groupby("plate", sort=False):
        negative, dosed = int(own["role"].eq("negative").sum()), int(own["role"].isin(DOSED_ROLES).sum())
        controls = int(of_plate.get(plate, 0))
        if min(negative, dosed) >= FEW_WELLS and 2 * negative >= controls:
            words[str(plate)] = (f"{negative} negative controls and {dosed} treated wells of plate {plate} read exactly its highest value, "
                                 f"as at the end of a reader's range: what 100 % is is not known, and {TOO_HIGH_WORDS}")
    return words


def say_plates(curves: pd.DataFrame, wells: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """The curves; those with wells on the plates of `words` have its reason, and are weakly_identified where they were ok."""
    return say_curves(curves, words_of_plates(curves, wells[on_curves(wells)], words)) if words and len(curves) else curves


def say_curves(curves: pd.DataFrame, said: pd.Series) -> pd.DataFrame:
    """The curves, each with what is `said` of it as its reason, and weakly_identified where it was ok; "" leaves it as it is."""
    touched = said.ne("") & (curves["n"] > 0)
    reason = (said + "; " + curves["reason"]).str.removesuffix("; ")
    return curves.assign(reason=curves["reason"].mask(touched, reason),
                         status=curves["status"].mask(touched & curves["status"].eq("ok"), "weakly_identified"))
