"""Scores against control samples, and the call of hits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.dose_response.checks import require_columns

MAD_TO_SD = 1.4826
HIT_THRESHOLD = 10.0          # DSS (seeds/004)


def selective_scores(scored: pd.DataFrame, controls: pd.DataFrame, *, by: str = "treatment", kind: str = "dss_asym") -> pd.DataFrame:
    """A copy of `scored` with `s_`, `z_`, `r_` + kind (sDSS, zDSS, rDSS) and `n_controls`.

    scored, controls: a row per treatment (and, for controls, per control sample), with the columns `by` and `kind`.
    s = DSS - mean of the controls; z = (DSS - mean) / (SD + 1); r = (DSS - median) / (1.4826 MAD + 1). NaN without
    controls (z also with one). Raises TableError when a column is missing.
    """
    require_columns(scored, [by, kind], what="selective scores cannot be computed")
    require_columns(controls, [by, kind], what="selective scores cannot be computed, in the controls")
    groups = controls.groupby(by)[kind]
    mean, sd, median, count = (scored[by].map(series) for series in (groups.mean(), groups.std(), groups.median(), groups.count()))
    mad = scored[by].map(groups.apply(lambda values: MAD_TO_SD * float(np.nanmedian(np.abs(values - np.nanmedian(values))))
                                      if values.notna().any() else np.nan))
    return scored.assign(**{
        f"s_{kind}": scored[kind] - mean, f"z_{kind}": (scored[kind] - mean) / (sd + 1.0),
        f"r_{kind}": (scored[kind] - median) / (mad + 1.0), "n_controls": count.fillna(0).astype("int64")})


def call_hits(scored: pd.DataFrame, *, kind: str = "dss_asym", threshold: float = HIT_THRESHOLD) -> pd.DataFrame:
    """A copy of `scored` with `hit` (bool) and `hit_reason`.

    A hit has a score of at least `threshold` and a curve that is fitted and not flat, or flat because the effect is beyond the IC level
    from the lowest dose on (ic50_relation "<"): a drug that kills at every dose tested is a hit without a slope. A weakly identified
    curve can be a hit. The reason says either. Raises TableError when a column is missing.
    """
    require_columns(scored, [kind, "status", "reason", "ic50_relation"], what="hits cannot be called")
    strong = scored[kind] >= threshold
    fitted = scored["status"].isin(["ok", "weakly_identified"]) | ((scored["status"] == "flat") & (scored["ic50_relation"] == "<"))
    text = np.where(strong, f"{kind} {threshold:g} or more", f"{kind} below {threshold:g}").astype(object)
    text = np.where(scored[kind].isna(), "no score", text)
    doubt = np.where(scored["status"] == "ok", "", " but " + scored["status"].astype(str) + ": " + scored["reason"].astype(str))
    return scored.assign(hit=(strong & fitted).astype(bool), hit_reason=pd.Series(text, index=scored.index) + doubt)
