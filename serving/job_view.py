"""The result of a job for the page: the report's words and drawings, what was changed by hand, and what an adapted model rests on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from models.report import report_view
from serving.results import Result


def job_view(result: Result) -> dict[str, Any]:
    """The report's view with `adapted` (words, or ""), `quality_cv` (a row per plate, where a model was adapted) and `changes`: wells left
    out or taken back, the latest first.
    """
    scored, adapted = result.scored, result.adapted or {}
    view = report_view(scored.tables, screen=scored.screen, lineage=scored.lineage, gates=scored.gates, metrics=adapted.get("metrics"))
    return {**view, "adapted": adapted.get("words", ""), "quality_cv": adapted.get("quality_cv", []),
            "changes": [asdict(change) for change in reversed(result.changes)]}
