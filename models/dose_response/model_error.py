"""Limits of an IC50 that hold the error of the model that read the wells too, not only the scatter between replicates.

What errors of replicates have in common does not average out over them, and the interval of a curve, which rests on their scatter,
cannot see it. Two kinds of model, two kinds of such an error.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from scipy.special import ndtri

from models.dose_response.effect_scale import effect_band
from models.dose_response.fit import fit_curves
from models.dose_response.options import FitOptions
from models.dose_response.score_limits import SURE, mean_of_acting
from models.dose_response.viability import NORMAL_95

ENDS = (("low", -1.0), ("high", 1.0))


def limits_of_shared_error(curves: pd.DataFrame, wells: pd.DataFrame, options: FitOptions, *, shift: pd.Series,
                           weight: str = "") -> pd.DataFrame:
    """The curves with ic50_model_low, ic50_model_high and model_error, of a model that was trained on read-outs.

    The curve is fitted again with every well's viability lower by `shift` (the part of its half-width that replicates share), and higher:
    the lower limit is that of the lower curve, the upper that of the higher one. That the error has one sign at all doses is the worst
    case. model_error: the mean shift of the wells that act (`mean_of_acting`), as sure as limits of scores are.
    wells: columns treatment, dose, response (inhibition in percent) and `weight`.
    """
    sure = ndtri(SURE) / NORMAL_95
    error = mean_of_acting(100 * sure * shift, wells["response"], wells["treatment"])
    curves = curves.assign(model_error=curves["treatment"].map(error).astype("float64"))
    for end, side in ENDS:
        shifted = wells.assign(response=wells["response"] - side * 100 * shift)
        curves = _with_limit(curves, _fit(shifted, options, weight), end)
    return curves


def limits_of_effect_scale(curves: pd.DataFrame, wells: pd.DataFrame, options: FitOptions) -> pd.DataFrame:
    """The curves with ic50_model_low, ic50_model_high and uncalibrated (True), of a model that learned from controls alone.

    The lower limit is that of the dose at which the images have changed by the lower of `effect_band`, the upper one that of the upper. It
    is open (NaN) where the images never change so far, as with a drug that kills only a part of the cells: then no dose can be named.
    """
    for (end, _), level in zip(ENDS, effect_band(options.ic_level), strict=True):
        curves = _with_limit(curves, _fit(wells, replace(options, ic_level=level), ""), end)
    return curves.assign(uncalibrated=True)


def _fit(wells: pd.DataFrame, options: FitOptions, weight: str) -> pd.DataFrame:
    return fit_curves(wells, by=["treatment"], response="response", weight=weight, scale="percent_inhibition", options=options)


def _with_limit(curves: pd.DataFrame, other: pd.DataFrame, end: str) -> pd.DataFrame:
    """The limit at one end is the other curve's, never inside the curve's own interval; open where the other curve is censored there."""
    name = f"ic50_{end}"
    limit = other[name].where(other["ic50_relation"] != ("<" if end == "low" else ">"))
    both = pd.concat([limit, curves[name]], axis=1)
    outer = both.min(axis=1, skipna=False) if end == "low" else both.max(axis=1, skipna=False)
    return curves.assign(**{f"ic50_model_{end}": outer.where(curves["ic50_relation"].ne(""))})
