"""Scores against control samples, and the call of hits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.dose_response.checks import require_columns
from models.dose_response.doubts import doubt_of_plate, only_the_dose_is_open, stands_for_nothing
from models.dose_response.score_limits import score_limits
from models.separation import MAD_TO_SD

HIT_THRESHOLD = 10.0          # DSS (Berker et al. 2022)


def selective_scores(scored: pd.DataFrame, controls: pd.DataFrame, *, by: str = "treatment", kind: str = "dss_asym") -> pd.DataFrame:
    """A copy of `scored` with `s_`, `z_`, `r_` + kind (sDSS, zDSS, rDSS) and `n_controls`.

    scored, controls: a row per treatment (and, for controls, per control sample), with the columns `by` and `kind`.
    s = DSS - mean of the controls; z = (DSS - mean) / (SD + 1); r = (DSS - median) / (1.4826 MAD + 1). NaN without
    controls (z also with one). Raises TableError when a column is missing.
    """
    require_columns(scored, [by, kind], what="selective scores cannot be computed")
    require_columns(controls, [by, kind], what="selective scores cannot be computed, in the controls")
    groups = controls.groupby(by)[kind]
    away = (controls[kind] - groups.transform("median")).abs().groupby(controls[by])
    mean, sd, median, count, mad = (scored[by].map(series).astype(float) for series in (
        groups.mean(), groups.std(), groups.median(), groups.count(), MAD_TO_SD * away.median()))
    return scored.assign(**{
        f"s_{kind}": scored[kind] - mean, f"z_{kind}": (scored[kind] - mean) / (sd + 1.0),
        f"r_{kind}": (scored[kind] - median) / (mad + 1.0), "n_controls": count.fillna(0).astype("int64")})


def call_hits(scored: pd.DataFrame, *, kind: str = "dss_asym", threshold: float = HIT_THRESHOLD) -> pd.DataFrame:
    """A copy of `scored` with `hit` (bool), `hit_reason`, and the limits of the score that it rests on, `{kind}_low` and `{kind}_high`.

    A hit has a score whose lower limit (score_limits: above it 9 times in 10) is at least `threshold`, of a curve that is fitted and not
    flat, or flat because the effect is beyond the IC level from the lowest dose on (ic50_relation "<"): a drug that kills at every dose
    tested is a hit without a slope. A weakly identified curve is a hit where it leaves open the dose, not the area above it
    (`only_the_dose_is_open`). Where noise alone may decide on which side of the threshold a score lies, of a flat curve too, or wells or
    plates are in doubt, the reason begins with "undecided". Raises TableError when a column is missing.
    """
    require_columns(scored, [kind, "status", "reason", "ic50_relation"], what="hits cannot be called")
    scored = score_limits(scored, kind=kind)
    score, low, high = (scored[name] for name in (kind, f"{kind}_low", f"{kind}_high"))
    fitted = scored["status"].isin(["ok", "weakly_identified"]) | ((scored["status"] == "flat") & (scored["ic50_relation"] == "<"))
    doubtful = (scored["status"] == "weakly_identified") & ~scored["reason"].map(only_the_dose_is_open).astype(bool)
    nothing = np.array([bool(doubt_of_plate(reason)) or stands_for_nothing(status, reason, relation) for status, reason, relation
                        in zip(scored["status"], scored["reason"], scored["ic50_relation"], strict=True)], dtype=bool)
    hit = fitted & (low >= threshold) & ~doubtful & ~nothing
    sides = np.where(score >= threshold, f"{kind} {threshold:g} or more", f"{kind} below {threshold:g}").astype(object)
    wanting = ((score >= threshold) & ~hit) | nothing
    noise = (low < threshold) & (high >= threshold)
    off = sum((scored[name].astype("float64").fillna(0.0) for name in ("model_error", "uncalibrated") if name in scored),
              start=pd.Series(0.0, scored.index)) > 0
    causes = np.where(off, "noise and the model's error", "noise")
    limits = [f"undecided: {kind} {value:.1f}, by {cause} alone on either side of {threshold:g} ({least:.1f} to {most:.1f})"
              for value, least, most, cause in zip(score, low, high, causes, strict=True)]
    bare = [f"undecided: {side}, and no well is to spare to tell its noise" for side in sides]
    words = np.select([score.isna(), noise, wanting & low.isna(), wanting], ["no score", limits, bare, "undecided: " + sides], sides)
    doubt = np.where(scored["status"] == "ok", "", " but " + scored["status"].astype(str) + ": " + scored["reason"].astype(str))
    return scored.assign(hit=hit.astype(bool), hit_reason=pd.Series(words, index=scored.index, dtype=object) + doubt)
