"""The report in a few lines of plain text, for terminals: the same words as the page."""

from __future__ import annotations

import pandas as pd

from models.plates.screen import Screen
from models.report.inputs import ReportOptions, ScoredTables
from models.report.verdicts import plate_qualities
from models.report.words import half_dose, trusted

_HEADINGS = ("treatment", "IC50", "95 % interval or why not", "DSS_asym", "AUC", "status")


def render_text(scored: ScoredTables, *, screen: Screen, options: ReportOptions | None = None) -> str:
    """A line per plate (Z' in words), then a row per treatment in the order of the curves, weakest DSS last."""
    options = options or ReportOptions()
    curves = scored.curves
    if options.hit_score in curves:
        curves = curves.sort_values(options.hit_score, ascending=False, na_position="last", kind="stable")
    plates = list(dict.fromkeys(scored.wells["plate"]))
    quality = [f"plate {plate.plate}: {plate.words}" for plate in plate_qualities(scored.quality, plates, controls=screen.controls)]
    rows = [_row(row, options) for _, row in curves.iterrows()]
    widths = [max(len(line[column]) for line in (_HEADINGS, *rows)) for column in range(len(_HEADINGS))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in (_HEADINGS, *rows)]
    return "\n".join([*quality, "", table[0], "-" * len(table[0]), *table[1:]])


def _row(row: pd.Series, options: ReportOptions) -> tuple[str, ...]:
    half = "ic50" if row["scale"] != "raw" else "ec50"
    estimate = half_dose(row, half)
    return (str(row.get("treatment", "")), estimate.text, estimate.interval, trusted(row, options.hit_score, decimals=1),
            trusted(row, "auc", decimals=2), str(row["status"]).replace("_", " "))
