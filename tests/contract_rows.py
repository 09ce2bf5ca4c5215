"""An example row of each table for each of the systems S1-S5 that has it."""

from __future__ import annotations

from typing import Any

LAYOUT_ROWS: dict[str, dict[str, Any]] = {
    "viability": {"plate": "A549-1", "well": "B03", "role": "treated", "treatment": "doxorubicin", "dose": 500.0, "dose_unit": "nM",
                  "replicate": 2, "readout": 1.21},
    "profile": {"plate": "BT-40-P1", "well": "C07", "role": "treated", "treatment": "trametinib", "dose": 25.0, "dose_unit": "nM",
                "replicate": 1, "excluded": False, "exclusion_reason": ""},
}

IMAGE_SET_ROWS: dict[str, dict[str, Any]] = {
    "treatment": {"image_id": "hepg2-017", "path": "treated/017.tif", "label": "treated", "group": "slide-3"},
    "toxicity": {"image_id": "l929-004", "path": "004.png", "label": "toxic", "group": "004", "mask_path": "masks/004.png"},
    "tumour": {"image_id": "liver-112", "path": "malignant/112.png", "label": "malignant", "group": "case-9"},
}

IMAGE_CLASS_ROWS: dict[str, dict[str, Any]] = {
    "treatment": {"image_id": "hepg2-017", "label": "treated", "class": "treated", "probability": 0.93, "logit": 2.6, "unlikeness": 0.6,
                  "flags": [], "model": "treatment-HepG2", "version": "1"},
    "toxicity": {"image_id": "l929-151", "label": "", "class": "nontoxic", "probability": 0.12, "logit": -2.0, "unlikeness": None,
                 "flags": [], "model": "toxicity-L-929", "version": "2"},
    "tumour": {"image_id": "liver-112", "label": "malignant", "class": "malignant", "probability": 0.71, "logit": 0.9,
               "unlikeness": 0.4, "flags": ["training_image"], "model": "tumour-liver", "version": "1"},
}

WELL_SCORE_ROWS: dict[str, dict[str, Any]] = {
    "viability": {"plate": "A549-1", "well": "B03", "role": "treated", "treatment": "doxorubicin", "dose": 500.0, "dose_unit": "nM",
                  "replicate": 2, "logit": None, "probability": None, "od": 1.18, "viability": 0.74, "flags": [],
                  "excluded": False, "model": "viability-A549", "version": "3"},
    "profile": {"plate": "BT-40-P1", "well": "C07", "role": "treated", "treatment": "trametinib", "dose": 25.0, "dose_unit": "nM",
                "replicate": 1, "logit": -0.31, "probability": 0.42, "od": None, "viability": 0.37, "flags": ["out_of_distribution"],
                "excluded": False, "model": "profile-BT-40_V3_DS1", "version": "2"},
}

CURVE_ROWS: dict[str, dict[str, Any]] = {
    "viability": {"dose_unit": "nM", "scale": "raw", "model": "4pl", "direction": "falling", "bottom": 0.21, "top": 1.46,
                  "log10_midpoint": 2.61, "slope": 1.1, "asymmetry": 1.0, "hormesis": 0.0, "ec50": 407.4, "ec50_low": 310.0,
                  "ec50_high": 540.0, "ec50_relation": "=", "ic50": None, "ic50_low": None, "ic50_high": None, "ic50_relation": "",
                  "ic_level": 50.0, "level": 0.95,
                  "rss": 0.12, "rmse": 0.04, "r2": 0.97, "log_likelihood": 150.2, "aicc": -289.4, "p_flat": 1e-12,
                  "p_lack_of_fit": 0.4, "rmse_doses": 0.04,
                  "n": 88, "n_doses": 11, "n_outliers": 0, "dose_min": 0.1, "dose_max": 1e5, "status": "ok",
                  "reason": ""},
    "profile": {"dose_unit": "nM", "scale": "percent_inhibition", "model": "4pl", "direction": "rising", "bottom": 0.0, "top": 38.0,
                "log10_midpoint": 2.0, "slope": 0.9, "asymmetry": 1.0, "hormesis": 0.0, "ec50": 100.0, "ec50_low": 30.0,
                "ec50_high": None, "ec50_relation": "=", "ic50": 10000.0, "ic50_low": None, "ic50_high": None, "ic50_relation": ">",
                "ic_level": 50.0, "level": 0.95,
                "rss": 210.0, "rmse": 5.9, "r2": 0.91, "log_likelihood": -29.0, "aicc": 80.0, "p_flat": 0.001,
                "p_lack_of_fit": 0.3, "rmse_doses": 6.5,
                "n": 10, "n_doses": 5, "n_outliers": 0, "dose_min": 1.0, "dose_max": 10000.0, "auc": 0.79,
                "dss1": 14.2, "dss2": 9.0, "dss3": 6.1, "dss_asym": 7.9, "status": "ok",
                "reason": "50 % inhibition lies beyond the highest dose"},
}

TREATMENT_ROWS: dict[str, dict[str, Any]] = {
    "profile": {"treatment": "trametinib", "abbreviation": "TRA", "class": "kinase inhibitor", "subclass": "MEK", "target": "MEK1/2"},
    "treatment": {"treatment": "doxorubicin nanocarrier", "abbreviation": "DOX-NC", "class": "nanocarrier",
                  "encapsulation_efficiency_percent": 87.0, "loading_capacity_percent": 11.5},
}

SINGLE_DOSE_ROWS: dict[str, dict[str, Any]] = {
    "viability": {"treatment": "doxorubicin", "dose": 1000.0, "dose_unit": "nM", "n": 2, "n_left_out": 0, "n_flagged": 0, "viability": 0.22,
                  "inhibition": 78.0, "inhibition_low": 68.4, "inhibition_high": 87.6, "p": 1.2e-24, "q": 1.4e-22, "plate_z": -9.6,
                  "b_score": -9.1, "level": 50.0, "call": "hit", "status": "ok", "reason": ""},
}

COMBINATION_ROWS: dict[str, dict[str, Any]] = {
    "viability": {"treatment": "doxorubicin", "treatment_2": "cisplatin", "dose": 500.0, "dose_unit": "nM", "dose_2": 2000.0,
                  "dose_unit_2": "nM", "n": 3, "n_left_out": 0, "n_flagged": 0, "n_1": 3, "n_2": 3, "viability": 0.21, "inhibition": 79.0,
                  "inhibition_1": 30.0, "inhibition_2": 25.0, "kind": "bliss", "expected": 47.5, "excess": 31.5, "excess_low": 16.0,
                  "excess_high": 47.0, "excess_hsa": 49.0, "excess_zip": 27.9, "excess_loewe": 30.2, "evidence": "more", "status": "ok",
                  "reason": ""},
}

COMBINATION_PAIR_ROWS: dict[str, dict[str, Any]] = {
    "viability": {"treatment": "doxorubicin", "treatment_2": "cisplatin", "dose_unit": "nM", "dose_unit_2": "nM", "kind": "bliss",
                  "n_dose_pairs": 25, "n_judged": 25, "n": 75, "n_left_out": 0, "n_flagged": 0, "mean_excess": 12.1, "mean_low": 7.9,
                  "mean_high": 16.3, "mean_hsa": 21.0, "mean_zip": 11.4, "mean_loewe": 12.6, "highest_excess": 31.5, "highest_low": 16.0,
                  "highest_high": 47.0, "highest_dose": 500.0, "highest_dose_2": 2000.0, "lowest_excess": -3.0, "lowest_low": -18.1,
                  "lowest_high": 12.1, "lowest_dose": 1.0, "lowest_dose_2": 50.0, "n_more": 7, "n_less": 0, "noise": 5.1, "noise_df": 70.0,
                  "noise_from": "replicates", "call": "synergy", "status": "ok", "reason": ""},
}
