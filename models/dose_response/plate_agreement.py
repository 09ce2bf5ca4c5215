"""Do the plates that a curve is made of agree, as far as the noise within them can tell?

A curve pooled over plates takes every well for a repeat of the others. Where a drug acts at ten times the dose on one of two plates, the
pooled curve lies between them, holds for neither, and its limits, which rest on the scatter of wells, do not show it.

The test: each plate's mean residual about the pooled curve, plate against plate, by Welch's test for unequal variances. The variance of
such a mean holds the scatter of wells about their plate's own curve, and what the medians of the plate's controls may be wrong by, which
moves all its wells alike. No plate has to have a curve that is well determined by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from models.dose_response.control_error import control_errors
from models.dose_response.curves import Array, well_values
from models.dose_response.doubts import Row, with_changes
from models.dose_response.fit import as_arrays, fit_arrays, fit_curves
from models.dose_response.options import FitOptions
from models.dose_response.viability import MEDIAN_ERROR
from models.dose_response.words import dose_words

APART = "plates disagree beyond their noise"    # in the reason of a curve
LEVEL = 0.01        # share of curves on plates that agree which are called in disagreement by chance
PERHAPS = 0.1       # up to this p, plates whose own midpoints are FOLD apart are told, without a verdict
FOLD = 3.0          # between the plates' own IC50s, from which on a pooled one stands for none of them
POINTS = 10.0       # between the plates' mean effects in percent: AUCs that differ by 0.1
_NOISE = FitOptions(interval="none")
FEW = 4             # degrees of freedom below which the noise of a treatment's wells is not trusted alone
ENOUGH = 8          # degrees of freedom of all treatments together from which on they tell the noise of one
MIDDLE = 1.4        # SD of wells between the controls over that of negative controls, at most, where nothing else tells
_FREE = 4           # parameters of a plate's own curve
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


def disagreements(curves: pd.DataFrame, usable: pd.DataFrame, wells: pd.DataFrame, options: FitOptions, *, value: str,
                  positive: bool) -> list[Disagreement]:
    """The treatments whose plates disagree at LEVEL, or perhaps do, in the order of `curves`.

    curves: Curves by treatment. usable: the wells that they were fitted to, with plate, treatment, dose and response, on the scale of the
    curves. wells: with plate, role, `excluded` and `value`, the raw read-out, of which the controls are taken; positive: whether
    positive controls are 0 %. Nothing can be said, and nothing is, of plates without a well to spare for their noise.
    """
    used = usable[usable["response"].notna() & (usable["dose"] > 0)]
    plates = used.groupby("treatment")["plate"].nunique()
    many = curves["treatment"].isin(plates.index[plates > 1]) & curves["slope"].notna()
    if not many.any():
        return []
    curves = curves[many].reset_index(drop=True)
    used = used[used["treatment"].isin(curves["treatment"])]
    tested = _tested(curves, used, wells, value=value, positive=positive)
    doubtful = tested[tested["p"] < PERHAPS]
    if doubtful.empty:
        return []
    own = _own_curves(used[used["treatment"].isin(doubtful["treatment"])], options, scale=str(curves["scale"].iloc[0]))
    found = [_disagreement(row, own[own["treatment"] == row["treatment"]]) for _, row in doubtful.iterrows()]
    return [one for one in found if one.p < LEVEL or one.fold >= FOLD]


def _tested(curves: pd.DataFrame, used: pd.DataFrame, wells: pd.DataFrame, *, value: str, positive: bool) -> pd.DataFrame:
    """treatment, p and spread of each curve."""
    raw = str(curves["scale"].iloc[0]) == "raw"
    place = dict(zip(curves["treatment"], range(len(curves)), strict=True))
    row = used["treatment"].map(place).to_numpy(dtype=np.intp)
    residual = used["response"].to_numpy(dtype=float) - well_values(curves, row, used["dose"].to_numpy(dtype=float))
    groups = used.assign(residual=residual).groupby(["treatment", "plate"], sort=False)
    table = groups.agg(mean=("residual", "mean"), effect=("response", "mean"), n=("residual", "size")).reset_index()
    errors = pd.DataFrame() if raw else control_errors(wells, value=value, positive=positive)
    table = _with_variance(table.join(_noise(used, errors), on="treatment"), errors)
    span = (curves["top"] - curves["bottom"]).abs().to_numpy() / 100 if raw else np.ones(len(curves))
    means, variances, df = (table[name].to_numpy(dtype=float) for name in ("mean", "variance", "df"))
    p, spread = np.ones(len(curves)), np.zeros(len(curves))
    for treatment, rows in table.groupby("treatment", sort=False).indices.items():
        at = place[treatment]
        p[at], spread[at] = welch_p(means[rows], variances[rows], df[rows]), np.ptp(means[rows]) / span[at]
    return pd.DataFrame({"treatment": curves["treatment"], "p": p, "spread": spread})


def _noise(used: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """Variance of a well's response about its plate's own curve, by treatment (the index): noise, noise_df.

    Of few degrees of freedom it may come out low by chance: then it is drawn up to that of all treatments together, which counts like
    ENOUGH wells more; where they are few too, that of the negative controls stands for it, if larger.
    """
    rss, df = _about_own_curves(used)
    noise, few = rss / df.where(df > 0), df < FEW
    if df.sum() >= ENOUGH:
        usual = rss.sum() / df.sum()
        joined = ((rss + ENOUGH * usual) / (df + ENOUGH)).clip(lower=usual)
        return pd.DataFrame({"noise": noise.mask(few, joined), "noise_df": df.mask(few, df + ENOUGH)})
    if errors.empty:
        return pd.DataFrame({"noise": noise, "noise_df": df})
    places = used.drop_duplicates(["treatment", "plate"])[["treatment", "plate"]].join(errors, on="plate")
    square = (100 * MIDDLE * places["sd_negative"]) ** 2 * places["df_negative"]
    total = places.assign(square=square).dropna().groupby("treatment")[["square", "df_negative"]].sum().reindex(df.index)
    control = total["square"] / total["df_negative"]
    chosen = few & control.notna() & ~(noise > control)
    return pd.DataFrame({"noise": noise.mask(chosen, control), "noise_df": df.mask(chosen, total["df_negative"])})


def _about_own_curves(used: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Sum of squares of wells about a 4PL of their plate, and its degrees of freedom, by treatment; both 0 where no well is to spare."""
    grouped = used.groupby(["treatment", "plate"], sort=False)
    number = grouped.ngroup().to_numpy()
    dose, response = as_arrays(number, used["dose"].to_numpy(dtype=float), used["response"].to_numpy(dtype=float))
    rss, size = fit_arrays(dose, response, scale="raw", options=_NOISE).rss, np.bincount(number)
    spare = np.where(np.isfinite(rss), np.maximum(size - _FREE, 0), 0)
    treatment = used["treatment"].to_numpy(dtype=object)[np.unique(number, return_index=True)[1]]
    total = pd.DataFrame({"rss": np.where(spare > 0, rss, 0.0), "df": spare.astype(float)}).groupby(treatment, sort=False).sum()
    return total["rss"], total["df"]


def _with_variance(table: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """The plates with variance and df (Satterthwaite) of their mean residual: that of their wells, and of their controls' medians.

    Plates of a treatment share one estimate of noise, so each has its share of the degrees of freedom. Controls too few to tell their
    scatter are taken to scatter as the wells do.
    """
    wells = table["noise"] / table["n"]
    df = table["noise_df"] * table["n"] / table.groupby("treatment")["n"].transform("sum")
    parts = [(wells, df)]
    if not errors.empty:
        here = errors.reindex(table["plate"]).set_axis(table.index)
        for role, share in (("negative", 100 - table["effect"]), ("positive", table["effect"])):
            known = here[role].notna()
            error = here[role].where(known, MEDIAN_ERROR * np.sqrt(table["noise"]) / 100)
            parts.append(((share * error) ** 2, here[f"df_{role}"].where(known & (here[f"df_{role}"] > 0), df)))
    variance = sum(part for part, _ in parts)
    square = sum(part**2 / spare.where(spare > 0) for part, spare in parts)
    return table.assign(variance=variance, df=variance**2 / square)


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
    told = [(f"{_midpoint(row, 'ec50' if raw else 'ic50')} on {row['plate']}", row["mean_effect"]) for _, row in one.curves.iterrows()]
    told = told if len(told) <= _NAMED else [min(told, key=lambda pair: -pair[1]), max(told, key=lambda pair: -pair[1])]
    few = "" if len(told) == len(one.curves) else f" ({len(one.curves)} plates, the most and the least affected)"
    sure = APART if one.p < LEVEL else "plates may disagree, within their noise"
    return (f"{sure} (p {one.p:.1g}): {'EC50' if raw else 'IC50'} {', '.join(words for words, _ in told)}{few}")


def _midpoint(row: Any, name: str) -> str:
    if row[f"{name}_relation"] in ("=", ">", "<"):
        sign = "" if row[f"{name}_relation"] == "=" else f"{row[f'{name}_relation']} "
        return sign + dose_words(row[name], row["dose_unit"])
    return f"unknown (mean effect {row['mean_effect']:.3g}{'' if name == 'ec50' else ' %'})"
