"""A scored screen as plain values in the words of the report, for a page that draws it itself and lets a person work on it.

The same verdicts, words and limits as `render_report`: what the page shows and what the report says cannot differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from models.networks.bundle import GateResult
from models.plates.screen import Screen
from models.report.combinations import TABLE_HEADINGS, colour_scale, legend_steps, pair_views
from models.report.explanations import help_rows, hit_rule, scale_words, training_words
from models.report.inputs import (
    ReportOptions,
    Row,
    ScoredTables,
    doubtful_flags,
    effect_level,
    flag_list,
    half_name,
    has_limits,
    known,
    text,
)
from models.report.page import is_judged, lineage_rows, model_name, own_rows
from models.report.panels import Panel, dose_ticks, drawn_half, half_limits, panel_words, panels_of, response_ticks, response_title
from models.report.plate_figures import content_words, flag_letters, heat_values, legend_shades, letter_key, raw_words, shades
from models.report.sections import doubts, finding_groups, metric_rows, quality_numbers, read_first
from models.report.single_doses import call_chips, single_dose_key, single_dose_rows
from models.report.treatments import Treatment, summarise, treatments, verdicts
from models.report.verdicts import GRADE_WORDS, KIND_WORDS, PlateQuality
from models.report.words import fixed, flag_words, limit_words, plain, reason_words
from models.wells import PLATE_FORMATS, parse_well


def report_view(scored: ScoredTables, *, screen: Screen, lineage: Mapping[str, str], metrics: Mapping[str, Any] | None = None,
                gates: Sequence[GateResult] = ()) -> dict[str, Any]:
    """What a page needs, as JSON has it: no NaN, no tuples with meaning by place but points and ticks.

    summary, screen, plates (assay quality), wells (in order of `scored.wells`), colours, treatments (in the report's order; their
    points name wells by place in `wells`), findings, lineage, metrics, gates, help; single_doses, where a treatment has too few
    doses for a curve; combinations, where a well holds two. Arguments as in `render_report`.
    """
    scored, options = own_rows(scored, controls=screen.controls), ReportOptions()
    found, plates = verdicts(scored, controls=screen.controls, gates=gates, options=options)
    summary = summarise(scored, found=found, plates=plates, gates=gates, options=options)
    return {
        "summary": {"headline": summary.headline, "plate_words": summary.plate_words, "score": summary.score, "raw": summary.raw,
                    "half": summary.half, "failed_gates": summary.failed_gates,
                    "hit_threshold": options.hit_threshold, "model": model_name(lineage), "training": training_words(scored.wells),
                    "scale": scale_words(scored.findings), "read_first": read_first(scored.findings),
                    "hit_rule": hit_rule(summary, controls=screen.controls, threshold=options.hit_threshold,
                                         judged=is_judged(lineage, gates))},
        "screen": {**screen.to_dict(), "rows": PLATE_FORMATS[screen.plate_format][0], "columns": PLATE_FORMATS[screen.plate_format][1]},
        "plates": [_plate(plate) for plate in plates], **_wells(scored.wells),
        "treatments": _treatments(scored, treatments(scored, found=found, options=options)),
        "kinds": KIND_WORDS, "help": help_rows(summary, controls=screen.controls, limited=has_limits(scored.wells)),
        "doubts": [vars(doubt) for doubt in doubts(scored.wells)],
        "findings": [vars(group) for group in finding_groups(scored.findings)],
        "lineage": lineage_rows(lineage), "metrics": metric_rows(metrics or {}),
        "gates": [{"metric": gate.metric, "passed": gate.passed, "reason": gate.reason} for gate in gates],
        **_single_doses(scored, summary.failed_gates), **_combinations(scored, summary.failed_gates)}


def _single_doses(scored: ScoredTables, failed_gates: Sequence[str]) -> dict[str, Any]:
    """Treatments with too few doses for a curve, where there are some."""
    rows = single_dose_rows(scored, failed_gates=failed_gates)
    if not rows:
        return {}
    return {"single_doses": {"rows": [asdict(row) for row in rows], "key": single_dose_key(scored), "chips": call_chips(rows),
                             "level": float(scored.single_doses["level"].iloc[0])}}


def _combinations(scored: ScoredTables, failed_gates: Sequence[str]) -> dict[str, Any]:
    """Pairs of treatments, where a well holds two: their words and matrices, and the scale of their colours."""
    pairs = pair_views(scored, failed_gates=failed_gates)
    if not pairs:
        return {}
    return {"combinations": {"pairs": [asdict(pair) for pair in pairs], "headings": TABLE_HEADINGS,
                             "scale": colour_scale(scored.combinations), "steps": legend_steps()}}


def _plate(plate: PlateQuality) -> dict[str, Any]:
    return {"plate": plate.plate, "grade": plate.grade, "grade_words": GRADE_WORDS[plate.grade] if plate.grade != "unknown" else "no Z′",
            "words": plate.words, "numbers": quality_numbers(plate.row)}


def _wells(wells: pd.DataFrame) -> dict[str, Any]:
    """The wells with their colours, and the scale of the colours."""
    values, called, (low, high) = heat_values(wells)
    in_percent = (low, high) == (0.0, 100.0)
    legend = {"called": called, "low": "0 (dead)" if in_percent else plain(low), "high": "100 (alive)" if in_percent else plain(high),
              "steps": legend_shades()}
    shown = [_well(well, value, shade=shade, decimals=0 if in_percent else 2)
             for well, value, shade in zip(wells.to_dict("records"), values, shades(values, (low, high)), strict=True)]
    return {"colours": legend, "letters": letter_key(wells), "wells": shown}


def _well(well: Row, value: float, *, shade: tuple[str, bool] | None, decimals: int) -> dict[str, Any]:
    row, column = parse_well(text(well, "well"))
    colour, dark = shade or (None, False)
    return {"plate": text(well, "plate"), "well": text(well, "well"), "row": row, "column": column, "role": text(well, "role"),
            "content": content_words(well), "value": fixed(value, decimals), "limits": limit_words(well).strip(" ()"),
            "colour": colour, "dark": dark, "raw": raw_words(well),
            "flags": [flag_words(flag) for flag in flag_list(well.get("flags"))], "letters": flag_letters(well.get("flags")),
            "doubtful": bool(doubtful_flags(well.get("flags"))), "excluded": bool(well.get("excluded")),
            "reason": reason_words(text(well, "exclusion_reason"), excluded=bool(well.get("excluded")), by_rule="by a rule")}


def _treatments(scored: ScoredTables, rows: Iterable[Treatment]) -> list[dict[str, Any]]:
    panels = panels_of(scored.curves, scored.wells)
    return [{
        "name": row.name, "kind": row.verdict.kind, "why": row.verdict.reason, "half": row.half.text, "interval": row.half.interval,
        "half_sort": known(row.half.sort), "certain": row.half.certain, "score": row.score, "score_sort": known(row.score_value),
        "auc": row.auc, "auc_sort": known(row.auc_sort), "slope": row.slope, "slope_sort": known(row.slope_sort), "r2": row.r2,
        "r2_sort": known(row.r2_sort), "status": row.status_words, "ok": row.status == "ok", "reason": row.reason, "doses": row.doses,
        "unseen": row.unseen, "panel": _panel(row.name, panels[row.curve])}
        for row in rows]


def _panel(name: str, panel: Panel | None) -> dict[str, Any] | None:
    """The panel in data units: x in log10 dose. bars: interval of each well of the curve, where the model gives one."""
    if panel is None:
        return None
    frame, row = panel.frame, panel.row
    doses = [round(math.log10(dose), 4) for dose in panel.doses.tolist()]
    return {
        "words": panel_words(name, panel), "x": [frame.x_low, frame.x_high], "y": [frame.y_low, frame.y_high],
        "x_ticks": dose_ticks(frame, text(row, "dose_unit")),
        "y_ticks": [(tick, plain(tick)) for tick in response_ticks(frame, panel.scale)],
        "y_title": response_title(panel.scale, panel.measure), "half_line": known(100.0 - effect_level(row)),
        "line": [(round(math.log10(dose), 4), round(value, 3))
                 for dose, value in zip(panel.grid.tolist(), panel.fitted.tolist(), strict=True) if math.isfinite(value)],
        "points": [(dose, round(value, 3), well) for dose, value, well in zip(
            doses, panel.responses.tolist(), panel.wells.tolist(), strict=True) if math.isfinite(value)],
        "bars": [(dose, round(low, 3), round(high, 3))
                 for dose, (low, high), out in zip(doses, panel.limits.tolist(), panel.excluded, strict=True)
                 if math.isfinite(low) and math.isfinite(high) and not out],
        "mark": _mark(row)}


def _mark(row: Row) -> dict[str, Any] | None:
    """The half-effect dose and the interval to go by, in log10 dose; an open limit is None."""
    half = half_name(row)
    marked = drawn_half(row, half)
    if marked is None:
        return None
    value, relation = marked
    low, high = half_limits(row, half)
    return {"at": math.log10(value), "relation": relation, "low": _log(low), "high": _log(high)}


def _log(value: float) -> float | None:
    return math.log10(value) if value > 0 else None
