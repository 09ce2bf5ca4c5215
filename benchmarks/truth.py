"""What the product says of simulated screens beside what is true of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.dose_response import FitOptions, fit_curves, score_curves, score_limits

if TYPE_CHECKING:
    from models.plates.simulate.examples import Example
    from models.scoring import ScoredScreen


def held(low: pd.Series, value: pd.Series | float, high: pd.Series) -> pd.Series:
    """Whether limits hold a value; a side that is open (NaN) bounds nothing."""
    return (low.fillna(-np.inf) <= value) & (value <= high.fillna(np.inf))


def true_dss(truth: pd.DataFrame) -> pd.Series:
    """DSS_asym of the true curves, over the tested doses: a fit to 41 noise-free points of each."""
    points = truth.loc[truth.index.repeat(41)].reset_index(drop=True)
    share = np.tile(np.linspace(0, 1, 41), len(truth))
    points["dose"] = points["dose_min"] ** (1 - share) * points["dose_max"] ** share
    effect = 1 / (1 + (points["dose"] / points["midpoint"]) ** -points["slope"])
    points["viability"] = points["top"] - (points["top"] - points["bottom"]) * effect
    fitted = fit_curves(points, by="treatment", response="viability", scale="fraction_viability", options=FitOptions(interval="none"))
    return score_curves(fitted).set_index("treatment")["dss_asym"]


def curves_with_truth(scored: ScoredScreen, example: Example) -> pd.DataFrame:
    """Curves with the limits of their scores, ic50_true, ic50_relation_true and dss_asym_true."""
    true = example.true_curves()
    truth = true[["treatment", "ic50", "ic50_relation"]].assign(dss_asym=true["treatment"].map(true_dss(true)))
    return truth.merge(score_limits(scored.curves), on="treatment", suffixes=("_true", ""))


def named(curves: pd.DataFrame) -> pd.DataFrame:
    """Those whose IC50 lies within the doses, in truth and as scored."""
    return curves[(curves["ic50_relation_true"] == "=") & (curves["ic50_relation"] == "=")]
