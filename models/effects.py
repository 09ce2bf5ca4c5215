"""From raw outputs of wells to effects: viability by the plate's own controls, and a curve per treatment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from models.dose_response import FitOptions, fit_curves, normalise_to_controls, score_curves, viability_limits
from models.dose_response.between_plates import BetweenPlates, between_plates
from models.dose_response.control_error import control_errors, with_control_error
from models.dose_response.model_error import limits_of_effect_scale, limits_of_shared_error
from models.dose_response.plate_agreement import Disagreement, disagreements, in_words
from models.dose_response.plate_residuals import plate_residuals
from models.dose_response.scattered_wells import with_scattered_wells
from models.dose_response.stray_wells import StrayWell, stray_wells
from models.dose_response.stray_wells import in_words as stray_words
from models.dose_response.unknown_zero import with_unknown_zero
from models.dose_response.viability import shared_error
from models.errors import Finding
from models.plates.screen import Controls
from models.tables import CURVES, DOSED_ROLES, combined
from models.words import some

DISAGREE = "plates_disagree"    # the rule of its findings
SCATTER = "plates_scatter"
STRAY = "stray_well"
SURELY, WORTH_SAYING = 0.01, 1.25   # p up to which, and SD of IC50s from plate to plate from which on, as a ratio, it is told
ONE_BY_ONE = 5                  # so many treatments are told each by itself
_NO_ONE_VALUE = ("no one value stands for all of the plates: look at their doses, controls and wells, and leave out the plate that went "
                 "wrong, or report them one by one")
LIMITS = ("viability_low", "viability_high", "viability_shared")


def with_viability(wells: pd.DataFrame, *, controls: Controls, value: str) -> pd.DataFrame:
    """The wells with viability, made from the raw column `value`, and its limits where the raw output has some.

    controls: what the screen declares: both; negative: no read-out is 0 %; none: no viability.
    """
    limited = f"{value}_low" in wells
    if controls == "none":
        return wells.assign(viability=np.nan, **dict.fromkeys(LIMITS if limited else (), np.nan))
    positive = "positive" if controls == "both" else None
    wells = normalise_to_controls(wells, value=value, positive=positive)
    return viability_limits(wells, value=value, positive=positive) if limited else wells


def treatment_curves(wells: pd.DataFrame, options: FitOptions, *, controls: Controls, value: str) -> pd.DataFrame:
    """Curves of inhibition percent per treatment; of the raw read-out where the screen has no controls to compute viability by.

    A treatment's curve is made of the wells that hold it alone; one that is in combinations only has none, and its reason says so.
    """
    usable, paired = curve_wells(wells, controls=controls, value=value)
    if usable.empty:
        return pd.DataFrame({name: pd.Series(dtype="object") for name in ("treatment", *CURVES.names())})
    if is_raw(usable, controls=controls, value=value):
        curves = fit_curves(usable, by=["treatment"], response="response", scale="raw", options=replace(options, bounds="free"))
        return _say_combined(curves, usable[paired])
    weight = ""
    if options.weights == "interval" and "viability_low" in usable:
        usable, weight = usable.assign(weight=(usable["viability_high"] - usable["viability_low"]) ** -2.0), "weight"
    curves = fit_curves(usable, by=["treatment"], response="response", weight=weight, scale="percent_inhibition", options=options)
    curves = _say_combined(score_curves(curves), usable[paired])
    if controls != "none":
        curves = _say_bare_plates(curves, usable, wells, controls=controls, value=value)
        if value != "probability":      # what a classifier's scale leaves open is far more
            errors = control_errors(wells, value=value, positive=controls == "both")
            if options.interval != "none":
                curves = with_control_error(curves, wells, errors, options, value=value)
            curves = with_scattered_wells(curves, usable, errors)
    curves = _with_model_limits(curves, usable, options, value=value, weight=weight)
    return with_unknown_zero(curves, usable, options) if controls == "negative" and options.interval != "none" else curves


def curve_wells(wells: pd.DataFrame, *, controls: Controls, value: str) -> tuple[pd.DataFrame, pd.Series]:
    """The wells of the curves with `response` on their scale, NaN where a well takes no part; and which of them hold a second treatment."""
    treated = wells[wells["role"].isin(DOSED_ROLES) & (wells["treatment"] != "")]
    paired = combined(treated)
    if paired.any():
        treated = treated[~paired | ~treated["treatment"].isin(treated.loc[~paired, "treatment"])]
        paired = combined(treated)
    response = treated[value] if is_raw(treated, controls=controls, value=value) else 100 * (1 - treated["viability"])
    return treated.assign(response=response.mask(treated["excluded"] | paired)), paired


def is_raw(treated: pd.DataFrame, *, controls: Controls, value: str) -> bool:
    """Whether curves are of the raw read-out, because the screen has no controls to compute viability by."""
    return controls == "none" and value != "probability" and bool(treated[value].notna().any())


def plate_differences(curves: pd.DataFrame, wells: pd.DataFrame, options: FitOptions, *, controls: Controls,
                      value: str) -> tuple[list[Disagreement], BetweenPlates | None]:
    """(the treatments whose plates differ by more than their noise, how far the midpoints of any lie apart from plate to plate).

    curves, wells: as `treatment_curves` gives and takes them.
    """
    if wells["plate"].nunique() < 2 or curves.empty:
        return [], None
    usable, _ = curve_wells(wells, controls=controls, value=value)
    if is_raw(usable, controls=controls, value=value):
        options = replace(options, bounds="free")
    residuals = plate_residuals(curves, usable, wells, value=value, positive=controls == "both")
    if residuals is None:
        return [], None
    apart = disagreements(residuals, options)
    return apart, between_plates(residuals, apart) if options.interval != "none" else None


def strays(curves: pd.DataFrame, wells: pd.DataFrame, options: FitOptions, *, controls: Controls, value: str) -> list[StrayWell]:
    """Single wells far off the curve that the others make; of curves of viability only."""
    if "dss_asym" not in curves or curves.empty:
        return []
    usable, _ = curve_wells(wells, controls=controls, value=value)
    return stray_wells(curves, usable, options)


def stray_findings(found: Sequence[StrayWell]) -> list[Finding]:
    """A warning for each well that drags its curve."""
    return [Finding(rule=STRAY, severity="warning", plate=one.plate, well=one.well, column="viability", value=one.treatment, message=(
        f"{one.treatment}: {stray_words(one)}; look at the well, and leave it out with a reason if it went wrong"))
        for one in found if one.drags]


def disagreement_findings(found: Sequence[Disagreement], curves: pd.DataFrame) -> list[Finding]:
    """Warnings of treatments whose plates disagree, beyond their noise or perhaps; not of those whose curves came to nothing.

    One each for a few; many are told in one, with the plates that stand out: a whole plate may have gone wrong.
    """
    judged = set(curves.loc[curves["status"] != "failed", "treatment"])
    found = [one for one in found if one.treatment in judged]
    matter = [one for one in found if one.matters]
    if len(matter) <= ONE_BY_ONE:
        return [Finding(rule=DISAGREE, severity="warning", column="ic50", value=one.treatment, message=(
            f"{one.treatment}: {in_words(one)}; {_NO_ONE_VALUE if one.matters else 'the limits of the pooled value hold them all'}"))
            for one in found]
    least, most = (Counter(side(one) for one in matter) for side in (Disagreement.least_affected, Disagreement.most_affected))
    sides = [f"the least affected plate is {plate} for {count} of them" for plate, count in least.most_common(1)]
    sides += [f"the most affected one {plate} for {count}" for plate, count in most.most_common(1)]
    return [Finding(rule=DISAGREE, severity="warning", column="ic50", value=str(len(matter)), message=(
        f"{len(matter)} treatments act differently on several plates, beyond the noise within them "
        f"({some((one.treatment for one in matter), ONE_BY_ONE)}; the reason of each curve has the IC50s): {'; '.join(sides)}; "
        f"{_NO_ONE_VALUE}"))]


def scatter_findings(between: BetweenPlates | None) -> list[Finding]:
    """A warning where midpoints surely lie apart from plate to plate, by more than anybody would wave through."""
    if between is None or between.p >= SURELY or between.fold < WORTH_SAYING:
        return []
    sure = f"p {between.p:.1g}" if between.p > 1e-6 else "p < 1e-6"
    return [Finding(rule=SCATTER, severity="warning", column="ic50", value=f"{between.fold:.2g}", message=(
        f"the IC50s of one treatment lie {between.fold:.2g}-fold apart (SD) from plate to plate, beyond the noise within plates "
        f"({between.treatments} treatments say so, {sure}): look at dilutions, seeding and hours of incubation. The limits of all IC50s "
        "hold it, those of treatments on a single plate too"))]


def _say_combined(curves: pd.DataFrame, paired: pd.DataFrame) -> pd.DataFrame:
    """The curves; those of treatments that are in combinations only say so, in place of "0 doses". paired: their wells."""
    if paired.empty:
        return curves
    said = {treatment: f"all its wells hold {' or '.join(dict.fromkeys(others))} too; a combination has no curve of its own"
            for treatment, others in paired.groupby("treatment")["treatment_2"]}
    reasons = curves["treatment"].map(said)
    return curves.assign(reason=curves["reason"].mask(reasons.notna(), reasons))


def weight_findings(wells: pd.DataFrame, options: FitOptions) -> list[Finding]:
    """A warning where weights were asked for that no well has. wells: as `with_viability` gives them."""
    if options.weights == "equal" or ("viability_low" in wells and wells["viability_low"].notna().any()):
        return []
    return [Finding(rule="weights_unused", severity="warning", column="viability_low", value=options.weights, message=(
        f"fit.weights: {options.weights} asks for weights by the intervals of viabilities, and no well has one (it was measured, has no "
        "controls, or the model gives none): all wells weigh the same. Leave weights out"))]


def combination_findings(wells: pd.DataFrame) -> list[Finding]:
    """A warning for each pair of treatments: what is made of its wells."""
    paired = wells[combined(wells)]
    if paired.empty:
        return []
    return [Finding(rule="combination_curves", severity="warning", column="treatment_2", value=f"{first} + {second}", message=(
        f"{len(group)} wells of {first} + {second} have viabilities and take no part in the curve of {first}, which is made of wells that "
        "hold it alone")) for (first, second), group in paired.groupby(["treatment", "treatment_2"], sort=False)]


def _say_bare_plates(curves: pd.DataFrame, usable: pd.DataFrame, wells: pd.DataFrame, *, controls: Controls, value: str) -> pd.DataFrame:
    """The curves; those whose wells have no viability, because no control of their plates is left or both kinds read the same, say so in
    place of "0 doses".
    """
    if (curves["n"] > 0).all():
        return curves
    wanted = ("negative", "positive") if controls == "both" else ("negative",)
    there = wells[~wells["excluded"] & wells[value].notna() & wells["role"].isin(wanted)]
    medians = there.pivot_table(index="plate", columns="role", values=value, aggfunc="median").reindex(
        index=list(dict.fromkeys(wells["plate"])), columns=list(wanted))
    words = {}
    for plate, own in medians[medians.isna().any(axis=1) | (medians.nunique(axis=1) < len(wanted))].iterrows():
        gone = [role for role in wanted if np.isnan(own[role])]
        words[str(plate)] = (f"no {' and no '.join(gone)} control is left on plate {plate}" if gone else
                             f"negative and positive controls of plate {plate} read the same")
    if not words:
        return curves
    reasons = words_of_plates(curves, usable[usable[value].notna() & ~usable["excluded"]], words).where(curves["n"] == 0, "")
    return curves.assign(reason=curves["reason"].mask(reasons != "", reasons))


def words_of_plates(curves: pd.DataFrame, wells: pd.DataFrame, words: Mapping[str, str]) -> pd.Series:
    """Of each curve what is said of the plates that its wells lie on, each once, "" for nothing. words: plate -> what is said of it."""
    told = wells[wells["plate"].isin(list(words))].groupby("treatment")["plate"]
    said = {str(treatment): "; ".join(words[plate] for plate in dict.fromkeys(plates)) for treatment, plates in told}
    return curves["treatment"].map(lambda treatment: said.get(treatment, "")).astype(str)


def on_curves(wells: pd.DataFrame) -> pd.Series:
    """Which wells are used by the curve of their treatment: (N,) bool."""
    return wells["role"].isin(DOSED_ROLES) & ~wells["excluded"] & ~combined(wells)


def _with_model_limits(curves: pd.DataFrame, usable: pd.DataFrame, options: FitOptions, *, value: str, weight: str) -> pd.DataFrame:
    """The curves with ic50_model_low and ic50_model_high, limits that hold the model's own error too, where something is known of it."""
    if options.interval == "none" or usable["viability"].isna().all():
        return curves
    if value == "probability":
        return limits_of_effect_scale(curves, usable, options)
    if "viability_shared" not in usable or usable["viability_shared"].isna().all():
        return curves
    return limits_of_shared_error(curves, usable, options, shift=shared_error(usable), weight=weight)
