"""Do the plates that a curve is made of agree, as far as the noise within them can tell?

A curve pooled over plates takes every well for a repeat of the others. Where a drug acts at ten times the dose on one of two plates, the
pooled curve lies between them, holds for neither, and its limits, which rest on the scatter of wells, do not show it.

The test: each plate's mean residual about the pooled curve (plate_residuals.py), plate against plate, by Welch's test for unequal
variances.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from models.dose_response.curves import Array
from models.dose_response.doubts import APART, Row, with_changes
from models.dose_response.fit import fit_curves
from models.dose_response.options import FitOptions
from models.dose_response.plate_residuals import PlateResiduals
from models.dose_response.words import ic_name, stated

LEVEL = 0.01        # share of curves on plates that agree which are called in disagreement by chance
PERHAPS = 0.1       # up to this p, plates whose own midpoints are FOLD apart are told, without a verdict
FOLD = 3.0          # between the plates' own IC50s, from which on a pooled one stands for none of them: the minimum significant ratio up to
                    # which the Assay Guidance Manual takes an assay for reproducible (Eastwood et al. 2006, J Biomol Screen 11:253)
POINTS = 10.0       # between the plates' mean effects in percent: AUCs that differ by 0.1
_NAMED = 4          # plates whose own IC50s are told; of more, the lowest and the highest


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Plates of one treatment that differ by more than their noise.

    curves: Curves rows of the plates by themselves (columns treatment, plate, mean_effect ...); p: of the test; fold: at least so far apart
    are their midpoints, 1 where nothing says that they are; spread: between the highest and the lowest mean effect, in percent.
    """

    treatment: str
    p: float
    fold: float
    spread: float
    curves: pd.DataFrame

    @property
    def matters(self) -> bool:
        """Whether the plates are surely apart, and so far that a pooled value stands for none of them."""
        return self.p < LEVEL and (self.fold >= FOLD or self.spread >= POINTS)

    def least_affected(self) -> str:
        """The plate whose wells show the lowest mean effect."""
        return str(self.curves["plate"].iloc[int(self.curves["mean_effect"].argmin())])

    def most_affected(self) -> str:
        """The plate whose wells show the highest."""
        return str(self.curves["plate"].iloc[int(self.curves["mean_effect"].argmax())])


def disagreements(residuals: PlateResiduals, options: FitOptions) -> list[Disagreement]:
    """The treatments whose plates disagree at LEVEL, or perhaps do, in the order of their curves. Nothing can be said, and nothing is, of
    plates without a well to spare for their noise.
    """
    tested = _tested(residuals)
    doubtful = tested[tested["p"] < PERHAPS]
    if doubtful.empty:
        return []
    used = residuals.used[residuals.used["treatment"].isin(doubtful["treatment"])]
    own = _own_curves(used, options, scale=str(residuals.curves["scale"].iloc[0]))
    by_treatment = dict(iter(own.groupby("treatment", sort=False)))
    found = [_disagreement(row, by_treatment[row["treatment"]]) for _, row in doubtful.iterrows()]
    return [one for one in found if one.p < LEVEL or one.fold >= FOLD]


def _tested(residuals: PlateResiduals) -> pd.DataFrame:
    """treatment, p and spread of each curve."""
    curves, table = residuals.curves, residuals.plates
    place = dict(zip(curves["treatment"], range(len(curves)), strict=True))
    raw = str(curves["scale"].iloc[0]) == "raw"
    span = (curves["top"] - curves["bottom"]).abs().to_numpy() / 100 if raw else np.ones(len(curves))
    means, variances, df = (table[name].to_numpy(dtype=float) for name in ("mean", "variance", "df"))
    p, spread = np.ones(len(curves)), np.zeros(len(curves))
    for treatment, rows in table.groupby("treatment", sort=False).indices.items():
        at = place[treatment]
        p[at], spread[at] = welch_p(means[rows], variances[rows], df[rows]), np.ptp(means[rows]) / span[at]
    return pd.DataFrame({"treatment": curves["treatment"], "p": p, "spread": spread})


def welch_p(means: Array, variances: Array, df: Array) -> float:
    """p that means (J,) with variances that are known with `df` degrees of freedom are one (Welch 1951); 1 where nothing tells."""
    j = len(means)
    if j < 2 or not (np.isfinite(variances).all() and (variances > 0).all() and (df > 0).all()):
        return 1.0
    weight = 1.0 / variances
    share = weight / weight.sum()
    off = float((((1.0 - share) ** 2) / df).sum())
    between = float((weight * (means - share @ means) ** 2).sum()) / (j - 1)
    statistic = between / (1.0 + 2.0 * (j - 2) / (j**2 - 1.0) * off)
    return float(special.fdtrc(j - 1, (j**2 - 1.0) / (3.0 * off), statistic))


def _own_curves(used: pd.DataFrame, options: FitOptions, *, scale: str) -> pd.DataFrame:
    """Curves of each plate by itself, with mean_effect, the mean response of its wells."""
    own = fit_curves(used, by=["treatment", "plate"], response="response", scale=scale, options=replace(options, interval="none"))
    means = used.groupby(["treatment", "plate"], sort=False)["response"].mean().rename("mean_effect")
    return own.join(means, on=["treatment", "plate"])


def _disagreement(row: pd.Series, own: pd.DataFrame) -> Disagreement:
    name = "ec50" if (own["scale"] == "raw").all() else "ic50"
    value, relation = own[name].to_numpy(dtype=float), own[f"{name}_relation"]
    least = np.where(relation.isin(["=", ">"]), value, np.nan)       # midpoints are not below, and not above
    most = np.where(relation.isin(["=", "<"]), value, np.nan)
    known = np.isfinite(least).any() and np.isfinite(most).any()
    fold = max(float(np.nanmax(least) / np.nanmin(most)), 1.0) if known else 1.0
    return Disagreement(treatment=str(row["treatment"]), p=float(row["p"]), fold=fold, spread=float(row["spread"]), curves=own)


def with_disagreements(curves: pd.DataFrame, found: list[Disagreement]) -> pd.DataFrame:
    """The curves, those whose plates disagree saying so, with limits that hold the plates' own midpoints.

    Where that `matters`, the status is weakly_identified. A limit is open where a plate does not reach the level within its doses.
    """
    return with_changes(curves, {one.treatment: partial(_told, one) for one in found})


def _told(one: Disagreement, row: Row) -> Row:
    limits = {end: value for name in ("ec50", "ic50") if row[f"{name}_relation"] for end, value in _limits(row, one.curves, name).items()}
    return limits | {"reason": "; ".join(filter(None, [in_words(one), row["reason"]])),
                     "status": "weakly_identified" if one.matters else row["status"]}


def _limits(row: Row, own: pd.DataFrame, name: str) -> Row:
    """The limits of a midpoint, and those with the model's error where the row has them, moved out to the plates' own ones."""
    relations, values = own[f"{name}_relation"], own[name].to_numpy(dtype=float)
    stated = values[(relations == "=").to_numpy()]
    kinds = [kind for kind in (name, f"{name}_model") if f"{kind}_low" in row]
    return {f"{kind}_low": np.nan if (relations == "<").any() else np.min([row[f"{kind}_low"], *stated]) for kind in kinds} | {
        f"{kind}_high": np.nan if (relations == ">").any() else np.max([row[f"{kind}_high"], *stated]) for kind in kinds}


def in_words(one: Disagreement) -> str:
    """What the plates say, each by itself: the reason of the pooled curve."""
    raw = (one.curves["scale"] == "raw").all()
    called = "EC50" if raw else ic_name(one.curves["ic_level"].iloc[0])
    told = [(f"{_midpoint(row, 'ec50' if raw else 'ic50')} on {row['plate']}", row["mean_effect"]) for _, row in one.curves.iterrows()]
    told = told if len(told) <= _NAMED else [min(told, key=lambda pair: -pair[1]), max(told, key=lambda pair: -pair[1])]
    few = "" if len(told) == len(one.curves) else f" ({len(one.curves)} plates, the most and the least affected)"
    sure = APART if one.p < LEVEL else "plates may disagree, within their noise"
    return (f"{sure} (p {one.p:.1g}): {called} {', '.join(words for words, _ in told)}{few}")


def _midpoint(row: Any, name: str) -> str:
    if row[f"{name}_relation"] in ("=", ">", "<"):
        return stated(row[name], row[f"{name}_relation"], row["dose_unit"])
    return f"unknown (mean effect {row['mean_effect']:.3g}{'' if name == 'ec50' else ' %'})"
