"""Sentences that explain the page: what makes a hit, what the terms mean, what in-sample numbers are worth."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.errors import Finding
from models.plates.screen import Controls
from models.report.inputs import flag_list
from models.report.treatments import Summary
from models.report.words import count


def hit_rule(summary: Summary, *, controls: Controls, threshold: float, judged: bool | None) -> str:
    """What makes a hit on this page, of treatments that have curves. judged: the model has gate results on record; None: no model."""
    if not summary.treatments:
        return ""
    if summary.raw:
        return "Hits are not called: without negative controls on every plate there is no viability, so neither IC50 nor DSS."
    quality = "controls that separate" if controls == "both" else "no check of plate quality (the screen has no positive control)"
    if judged is None:
        return f"A hit has {summary.score} ≥ {threshold:g} by more than noise, a curve whose wells agree with it, and {quality}."
    return (f"A hit has {summary.score} ≥ {threshold:g} by more than noise and the model’s error, a curve whose wells agree with it, "
            f"{quality} and a model that passed its checks{'' if judged else ' (none is on record here)'}.")


def help_rows(summary: Summary, *, controls: Controls, limited: bool = False) -> list[tuple[str, str]]:
    """(term, meaning) of what the page shows. limited: the model gives intervals of wells."""
    anchored = controls == "both"
    zero = (", 0 % = median of the positive controls of the same plate" if anchored else
            " of the same plate, 0 % = a read-out of zero, because the screen has no positive control: dead wells may stay above 0 %, "
            "so that IC50s are too high; their lower limits allow for it, by the wells that read least")
    measured = [("EC50", "The dose at half of the fitted change of the read-out. It is not the dose that kills half of the cells.")
                ] if summary.raw else [
        ("Viability", f"100 % = median of the negative controls{zero}. It may lie outside 0 to 100."),
        (summary.half, f"The dose at which the fitted viability crosses {100 - summary.level:g} %. “> 10 µM” means: not reached at "
                       "10 µM, the highest dose tested."),
        (summary.score, "Drug sensitivity score: the area of the effect above 10 % over the tested doses. Higher means more effect "
                        "at lower doses."),
        ("AUC", "Area under the viability curve: 1 = no effect at any dose, 0 = full effect at every dose.")]
    if limited:
        measured.append(("Interval of a well", "Where the assay would read this one well, 95 times in 100, by how far the model was off "
                                               "on wells of its own screen that it had not seen. Another batch of cells may add to it."))
    if limited and not summary.raw:
        measured.append(("With the model’s error", f"The interval of the {summary.half} to go by: it holds the scatter of replicates and "
                                                   "controls, and the part of the model’s error that wells of one level share, as far as "
                                                   "its own training screen tells. The one without holds the scatter alone."))
    return [*measured, ("Slope, R²", "How steep the curve is, and how much of the scatter it explains. Slopes of different models are "
                                     "not comparable."),
            ("Cannot say", "A check failed or the data do not decide. It is not a “no”.")]


def scale_words(findings: Sequence[Finding]) -> str:
    """What stands beside the IC50s of a model that learned from controls only; empty for others."""
    if not any(finding.rule == "effect_scale" for finding in findings):
        return ""
    return ("These are not the IC50s of a metabolic assay, for the model learned from controls only. Compare treatments within this "
            "screen, and go by the limits “with the model’s error”.")


def training_words(wells: pd.DataFrame) -> str:
    """How many wells the model has learned from, for its numbers there flatter; empty if none is marked."""
    seen = sum("training_well" in flag_list(flags) for flags in wells["flags"])
    if not seen:
        return ""
    return (f"The model was trained on {count(seen, 'well')} of this screen, so its numbers there are in-sample: they look better than on "
            "new wells. The cross-fitted numbers under “Model and lineage” do not have this flaw.")
