"""What the numbers of a model do not say, by its kind and by what it has learned from."""

from __future__ import annotations

import math

from models.errors import Finding
from models.networks.bundle import Card
from models.networks.evaluate import LEVEL_GAP

WIDE_GAP = 0.3      # of the range of read-outs; eleven levels evenly spread leave a tenth, those of a dilution series a quarter


def scope_findings(card: Card) -> list[Finding]:
    """What the numbers of this kind of model do not say, so that nobody reads more confidence into them than there is."""
    if card.recipe.learns_controls:
        return [Finding(rule="effect_scale", severity="warning", column="viability", value=card.name,
                        message="the model learned from controls only: its viability orders wells between the two controls, but values "
                                "between them are not calibrated, so curves are steeper and midpoints can lie at lower doses than a "
                                "metabolic assay's. Compare treatments within this screen; do not quote these IC50s as metabolic ones: the "
                                "limits \"with the model's error\" say how far a metabolic IC50 may lie from them. "
                                "Wells have no interval: how far off they are cannot be said, because nothing was measured between the "
                                "controls")]
    error = card.metrics.get("log10_ec50_difference", math.nan)
    known = f" (on its own training screen, cross-fitted, the midpoint was off by {10**error:.2g}-fold)" if math.isfinite(error) else ""
    limits = ("; the limits \"with the model's error\" hold what that error was on its training screen, not what another batch of cells "
              "or another microscope adds" if card.uncertainty is not None else "")
    return [Finding(rule="interval_scope", severity="warning", column="ic50", value=card.name,
                    message=f"confidence intervals hold the scatter of replicates and controls, not the model's own error{known}{limits}"),
            *_gap_findings(card)]


def _gap_findings(card: Card) -> list[Finding]:
    """A warning where a model of read-outs has learned from none over a good part of their range."""
    share, low, high = (card.metrics.get(name, math.nan) for name in LEVEL_GAP)
    if not share >= WIDE_GAP:
        return []
    return [Finding(rule="level_gap", severity="warning", column="viability", value=card.name, message=(
        f"model {card.name} has learned from no well that reads between {low:.2f} and {high:.2f} ({share:.0%} of its range): what "
        "reads so is interpolated, and IC50s with it; look at the limits \"with the model's error\". A training plate "
        "with doses in between would tell"))]
