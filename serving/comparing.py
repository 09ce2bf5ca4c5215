"""GET /jobs/{job}/against/{other}: IC50s of one job's sample over those of another's, as `dosewell compare` gives them."""

from __future__ import annotations

from typing import Any

from models.plates.safe_csv import to_csv
from models.report.potency import comparison
from models.report.sections import read_first
from serving.attachments import file_stem
from serving.job_records import Job
from serving.plain import records
from serving.results import Result


def comparison_answer(first: tuple[Job, Result], second: tuple[Job, Result]) -> dict[str, Any]:
    """The two jobs, the table and the page's words for it. Raises TableError where curves lack a column."""
    found, view = comparison(*(result.scored.tables.curves for _, result in (first, second)))
    return {"first": _side(*first), "second": _side(*second), "potencies": records(found), "view": view}


def comparison_csv(first: tuple[Job, Result], second: tuple[Job, Result]) -> tuple[bytes, str]:
    """(the table as `dosewell compare` writes it, a name for the file)."""
    found, _ = comparison(*(result.scored.tables.curves for _, result in (first, second)))
    return to_csv(found).encode(), f"{file_stem(second[0].screen)}-over-{file_stem(first[0].screen)}.csv"


def _side(job: Job, result: Result) -> dict[str, Any]:
    scored = result.scored
    failed = [f"The model did not pass its own checks ({gate.reason or gate.metric}); its IC50s are exploratory."
              for gate in scored.gates if not gate.passed]
    return {"job": job.id, "name": job.screen, "sample": job.sample, "model": scored.lineage["model"], "version": scored.lineage["version"],
            "revision": job.revision, "warnings": [*failed, *filter(None, [read_first(scored.tables.findings)])]}
