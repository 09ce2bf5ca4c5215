"""Which metrics a recipe's models can have, so that a gate on another one is refused where it is written, not when the model is trained."""

from __future__ import annotations

import difflib

from models.networks.evaluate import LEVEL_GAP
from models.networks.recipe import Recipe

_READOUT = ("r2", "r2_score", "slope", "intercept", "mean_difference", "sd_difference", "rmse")
_CONTROLS = ("accuracy", "auroc", "loss", "z_prime", "ssmd", "z_prime_logit", "ssmd_logit")
_CLASSES = ("accuracy", "sensitivity", "specificity", "precision", "f_score", "mcc", "kappa", "auroc", "loss")
_CALIBRATION = ("calibration_error", "calibration_error_calibrated", "loss_calibrated")


def possible_metrics(recipe: Recipe) -> tuple[str, ...]:
    """Names that stage `evaluate` may give: each metric of the recipe's target in each view that its split leaves (in_sample; validation,
    test; cv = cross-fitted), and those of the held-out wells as a whole.
    """
    split = recipe.split
    held_out = ["test"] * (split.test > 0) + ["cv"] * (split.folds > 0)
    views = ["in_sample", *["validation"] * (split.validation > 0 or split.validation_wells > 0), *held_out]
    names = _READOUT if recipe.is_regression else _CONTROLS if recipe.learns_controls else _CLASSES
    found = ["n_train", *(f"{name}_{view}" for name in names for view in views)]
    if recipe.is_regression:
        found += [f"log10_ec50_{name}" for name in ("measured", "predicted", "difference") if held_out]
        found += ["interval_coverage_cv", "interval_half_width"] * bool(held_out)
        found += LEVEL_GAP
    elif held_out:
        found += ["temperature", *(f"{name}_{held_out[-1]}" for name in _CALIBRATION)]
    return tuple(found)


def recipe_problem(recipe: Recipe) -> str:
    """What a recipe asks in vain, by its field: a gate that no model could pass, smoothed labels of a read-out; "" = nothing."""
    if recipe.is_regression and recipe.label_smoothing:
        return (f"label_smoothing must be 0 for target readout, got {recipe.label_smoothing:g}: a measured value has no classes to smooth "
                "between")
    possible = possible_metrics(recipe)
    for number, gate in enumerate(recipe.gates):
        if gate.metric not in possible:
            near = difflib.get_close_matches(gate.metric, possible, 1)
            return (f"gates[{number}].metric: '{gate.metric}' is no metric of a model with target {recipe.target} and this split"
                    f"{f', did you mean {near[0]!r}?' if near else ''}; possible: {', '.join(possible)}")
    return ""
