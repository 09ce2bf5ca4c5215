"""The report in a few lines of plain text, for terminals, and its treatments as a table, for spreadsheets: the same words as the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from models.networks.bundle import GateResult
from models.plates.screen import Screen
from models.report.combinations import pair_line, pair_views
from models.report.inputs import ReportOptions, ScoredTables, common_level, half_name, half_title, score_column
from models.report.page import own_rows
from models.report.single_doses import single_dose_line, single_dose_rows, single_dose_words
from models.report.treatments import treatments, verdicts
from models.report.verdicts import KIND_WORDS, plate_qualities
from models.report.words import half_dose, status_words, trusted

_LAST_HEADINGS = ("DSS_asym", "AUC", "status")


def render_text(scored: ScoredTables, *, screen: Screen, options: ReportOptions | None = None) -> str:
    """A line per plate (Z' in words), then a row per treatment in the order of the curves, weakest DSS last, then the single
    doses that do something or cannot be judged, then a line per pair of treatments that share wells.
    """
    scored, options = own_rows(scored, controls=screen.controls), options or ReportOptions()
    curves, headings = scored.curves, ("treatment", *_headings(scored.curves))
    if options.hit_score in curves:
        curves = curves.sort_values(options.hit_score, ascending=False, na_position="last", kind="stable")
    plates = list(dict.fromkeys(scored.wells["plate"]))
    quality = [f"plate {plate.plate}: {plate.words}" for plate in plate_qualities(scored.quality, plates, controls=screen.controls)]
    table = _aligned(headings, [_row(row, options) for _, row in curves.iterrows()])
    parts = [quality, table if len(curves) or scored.single_doses.empty else [], _single_doses(scored),
             [pair_line(pair) for pair in pair_views(scored)]]
    return "\n\n".join("\n".join(part) for part in parts if part)


def curve_lines(curves: pd.DataFrame, *, by: Sequence[str], score: str = "dss_asym") -> str:
    """The table of `render_text` alone, of curves that are named by several columns, in their order."""
    options = ReportOptions(hit_score=score)
    rows = [(*(str(row[name]) for name in by), *_row(row, options)[1:]) for _, row in curves.iterrows()]
    return "\n".join(_aligned((*by, *_headings(curves)), rows))


def _headings(curves: pd.DataFrame) -> tuple[str, ...]:
    """Those that follow the names: the dose's and its interval's say their levels, where the curves do."""
    level = 100 * curves["level"].iloc[0] if len(curves) and "level" in curves else float("nan")
    of_level = "" if math.isnan(level) else f"{level:g} % "
    return half_title(common_level(curves)), f"{of_level}interval or why not", *_LAST_HEADINGS


def _aligned(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(line[column]) for line in (headings, *rows)) for column in range(len(headings))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in (headings, *rows)]
    return [table[0], "-" * len(table[0]), *table[1:]]


def _single_doses(scored: ScoredTables) -> list[str]:
    """How many of which call, and a line for each that is more than "no effect seen"."""
    rows = single_dose_rows(scored)
    return [single_dose_words(scored, failed_gates=()), *(single_dose_line(row) for row in rows if row.chip != "none")] if rows else []


def _row(row: pd.Series, options: ReportOptions) -> tuple[str, ...]:
    estimate = half_dose(row, half_name(row))
    return (str(row.get("treatment", "")), estimate.text, estimate.interval, trusted(row, options.hit_score, decimals=1),
            trusted(row, "auc", decimals=2), status_words(row))


def treatment_table(scored: ScoredTables, *, screen: Screen, gates: Sequence[GateResult] = (),
                    options: ReportOptions | None = None) -> pd.DataFrame:
    """A row per treatment as people read it, in the page's order: verdict and why, IC50 with its unit and ">" where it is beyond the tested
    doses, interval or why there is none, hit score and AUC as numbers, how far the curve can be trusted, and what was tested.
    """
    scored, options = own_rows(scored, controls=screen.controls), options or ReportOptions()
    found, _ = verdicts(scored, controls=screen.controls, gates=gates, options=options)
    half = half_title(common_level(scored.curves))
    rows = [(row.name, KIND_WORDS[row.verdict.kind], row.verdict.reason, row.half.text, row.half.interval, round(row.score_value, 1),
             round(row.auc_sort, 2), row.status_words, row.reason, row.doses)
            for row in treatments(scored, found=found, options=options)]
    return pd.DataFrame(rows, columns=["treatment", "verdict", "because", half, f"interval of {half}, or why none",
                                       score_column(scored.curves, options.hit_score), "AUC", "curve", "curve: why", "tested"])
