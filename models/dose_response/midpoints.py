"""Midpoints of measured and predicted read-outs, replicate set by replicate set (Cho et al. 2022, Table 2 and Figure 6)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.dose_response.checks import require_columns
from models.dose_response.fit import fit_curves
from models.dose_response.options import FitOptions
from models.dose_response.statistics import paired_t, unpaired_t

KEYS = ["treatment", "plate", "replicate"]     # of a replicate set
_OPTIONS = FitOptions(model="4pl", bounds="free", interval="none")


def set_midpoints(wells: pd.DataFrame, *, measured: str, predicted: str) -> pd.DataFrame:
    """A row per replicate set of a treatment, with a 4PL of its own on each of the two read-outs: treatment, plate, replicate, dose_unit,
    ec50_measured, ec50_predicted (NaN outside the tested doses, and for a flat or failed curve).

    wells: treated wells, with KEYS, dose, dose_unit and the read-outs on any scale (`ec50` is what the paper calls IC50).
    """
    require_columns(wells, [*KEYS, "dose", "dose_unit", measured, predicted], what="midpoints cannot be compared")
    found = {}
    for name, value in (("ec50_measured", measured), ("ec50_predicted", predicted)):
        curves = fit_curves(wells, by=KEYS, response=value, scale="raw", options=_OPTIONS)
        inside = (curves["ec50_relation"] == "=") & curves["status"].isin(["ok", "weakly_identified"])
        found[name] = curves["ec50"].where(inside)
    return curves[[*KEYS, "dose_unit"]].assign(**found)


def midpoint_tests(midpoints: pd.DataFrame) -> dict[str, float]:
    """Table 2 of the paper from `set_midpoints` of one treatment, in its dose unit: means and SDs of both, mean difference and its SD, and
    p of the unpaired and the paired t test, as published on doses, and (names ending in _log10) on log10 doses, whose errors are more
    alike. n: sets in which both have a midpoint; n_without: those in which one has none, which the tests leave out.
    """
    both = midpoints.dropna(subset=["ec50_measured", "ec50_predicted"])
    measured, predicted = (both[name].to_numpy(float) for name in ("ec50_measured", "ec50_predicted"))
    difference = predicted - measured
    logs = np.log10(measured), np.log10(predicted)
    return {"ec50_measured": _mean(measured), "ec50_measured_sd": _sd(measured), "ec50_predicted": _mean(predicted),
            "ec50_predicted_sd": _sd(predicted), "ec50_difference": _mean(difference), "ec50_difference_sd": _sd(difference),
            "p_unpaired": unpaired_t(measured, predicted).p, "p_paired": paired_t(measured, predicted).p,
            "p_unpaired_log10": unpaired_t(*logs).p, "p_paired_log10": paired_t(*logs).p,
            "log10_ec50_difference": _mean(logs[1] - logs[0]), "n": len(both), "n_without": len(midpoints) - len(both)}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
