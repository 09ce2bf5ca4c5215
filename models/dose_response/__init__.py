"""Dose-response curves: viability from controls, fitted curves, sensitivity scores, growth rates,
synergy, plate quality.

Needs numpy, scipy and pandas only; `models.dose_response.plots` needs matplotlib and is imported on its own.
"""

from models.dose_response.assay_quality import assay_quality
from models.dose_response.curves import curve_values, doses_at
from models.dose_response.fit import FittedArrays, fit_arrays, fit_curves
from models.dose_response.growth import gr_metrics
from models.dose_response.options import FitOptions
from models.dose_response.potency import compare_potency
from models.dose_response.score_limits import score_limits
from models.dose_response.selection import call_hits, selective_scores
from models.dose_response.sensitivity import score_curves
from models.dose_response.synergy import synergy
from models.dose_response.viability import normalise_to_controls, viability_limits

__all__ = ["FitOptions", "FittedArrays", "assay_quality", "call_hits", "compare_potency", "curve_values", "doses_at", "fit_arrays",
           "fit_curves", "gr_metrics", "normalise_to_controls", "score_curves", "score_limits", "selective_scores", "synergy",
           "viability_limits"]
