"""From raw outputs of wells to effects: viability by the plate's own controls, and a curve per treatment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from models.dose_response import FitOptions, fit_curves, normalise_to_controls, score_curves, viability_limits
from models.dose_response.model_error import limits_of_effect_scale, limits_of_shared_error
from models.plates.screen import Controls
from models.tables import CURVES

CURVE_ROLES = ("treated", "reference")
LIMITS = ("viability_low", "viability_high")


def with_viability(wells: pd.DataFrame, *, controls: Controls, value: str) -> pd.DataFrame:
    """The wells with viability, made from the raw column `value`, and its limits where the raw output has some.

    controls: what the screen declares: both; negative: no read-out is 0 %; none: no viability.
    """
    limited = f"{value}_low" in wells
    if controls == "none":
        return wells.assign(viability=np.nan, **dict.fromkeys(LIMITS if limited else (), np.nan))
    positive = "positive" if controls == "both" else None
    normalised = normalise_to_controls(wells[~wells["excluded"]], value=value, positive=positive)
    viability = normalised["viability"].reindex(wells.index)
    if wells["excluded"].any():     # they are shown on the same scale, though they take no part in it
        anchors = wells[~wells["excluded"]].groupby(["plate", "role"])[value].median().unstack()
        left_out = wells["excluded"] & wells["plate"].isin(anchors.index)
        if left_out.any() and "negative" in anchors:
            full = wells["plate"].map(anchors["negative"])
            none = wells["plate"].map(anchors["positive"]) if positive and "positive" in anchors else 0.0
            viability = viability.where(~left_out, (wells[value] - none) / (full - none))
    wells = wells.assign(viability=viability)
    return viability_limits(wells, value=value, positive=positive) if limited else wells


def treatment_curves(wells: pd.DataFrame, options: FitOptions, *, controls: Controls, value: str) -> pd.DataFrame:
    """Curves of inhibition percent per treatment; of the raw read-out where the screen has no controls to compute viability by."""
    treated = wells[wells["role"].isin(CURVE_ROLES) & (wells["treatment"] != "")]
    usable = treated.assign(response=(100 * (1 - treated["viability"])).mask(treated["excluded"]))
    if usable.empty:
        return pd.DataFrame({name: pd.Series(dtype="object") for name in ("treatment", *CURVES.names())})
    if controls == "none" and value != "probability" and usable[value].notna().any():
        raw = usable.assign(response=usable[value].mask(usable["excluded"]))
        return fit_curves(raw, by=["treatment"], response="response", scale="raw", options=replace(options, bounds="free"))
    weight = ""
    if options.weights == "interval" and "viability_low" in usable:
        usable, weight = usable.assign(weight=(usable["viability_high"] - usable["viability_low"]) ** -2.0), "weight"
    curves = fit_curves(usable, by=["treatment"], response="response", weight=weight, scale="percent_inhibition", options=options)
    curves = score_curves(curves)
    if controls != "none":
        curves = _say_bare_plates(curves, usable, wells, controls=controls, value=value)
    return _with_model_limits(curves, usable, options, value=value, weight=weight)


def _say_bare_plates(curves: pd.DataFrame, usable: pd.DataFrame, wells: pd.DataFrame, *, controls: Controls, value: str) -> pd.DataFrame:
    """The curves; those whose wells have no viability because no control of their plates is left say so, in place of "0 doses"."""
    wanted = ("negative", "positive") if controls == "both" else ("negative",)
    there = wells[~wells["excluded"] & wells[value].notna()]
    bare = {plate: gone for plate in dict.fromkeys(wells["plate"])
            if (gone := [role for role in wanted if role not in set(there.loc[there["plate"] == plate, "role"])])}
    if not bare:
        return curves
    words = {plate: f"no {' and no '.join(gone)} control is left on plate {plate}" for plate, gone in bare.items()}
    said = {treatment: "; ".join(words[plate] for plate in dict.fromkeys(plates) if plate in words)
            for treatment, plates in usable[usable[value].notna() & ~usable["excluded"]].groupby("treatment")["plate"]}
    reasons = curves["treatment"].map(said).fillna("").where(curves["n"] == 0, "")
    return curves.assign(reason=curves["reason"].mask(reasons != "", reasons))


def _with_model_limits(curves: pd.DataFrame, usable: pd.DataFrame, options: FitOptions, *, value: str, weight: str) -> pd.DataFrame:
    """The curves with ic50_model_low and ic50_model_high, limits that hold the model's own error too, where something is known of it."""
    if options.interval == "none" or usable["viability"].isna().all():
        return curves
    if value == "probability":
        return limits_of_effect_scale(curves, usable, options)
    if "od_shared" not in usable or usable["viability_low"].isna().all():
        return curves
    shift = (usable["viability_high"] - usable["viability_low"]) * (usable["od_shared"] / (usable["od_high"] - usable["od_low"]))
    return limits_of_shared_error(curves, usable, options, shift=shift, weight=weight)
