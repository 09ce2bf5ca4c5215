"""The page: a scored screen as one self-contained HTML text, the same text for the same input."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit

import jinja2
import numpy as np
import pandas as pd

from models.networks.bundle import GateResult
from models.plates.screen import Controls, Screen
from models.report.combinations import TABLE_HEADINGS, colour_scale, legend_steps, pair_views
from models.report.explanations import help_rows, hit_rule, scale_words, training_words
from models.report.inputs import ReportOptions, ReportTables, ScoredTables, has_limits, is_raw, wells_by_curve
from models.report.plate_figures import colour_bar, control_strips, heat_values, letter_key
from models.report.sections import doubts, finding_groups, metric_rows, plate_views, read_first
from models.report.single_doses import call_chips, ranking, single_dose_key, single_dose_rows
from models.report.treatments import panels, score_waterfall, summarise, treatments, verdicts
from models.report.verdicts import GRADE_WORDS, KIND_WORDS, plate_qualities
from models.report.words import BAD_CONTROLS
from models.tables import MEASURED

_LINEAGE_WORDS = {"model": "model", "version": "version", "run_id": "run", "git_commit": "git commit", "data_md5": "data md5",
                  "bundle_sha256": "bundle sha256", "service_version": "service"}


@dataclass(frozen=True, kw_only=True)
class IndexEntry:
    """One line in the index of reports. details: of its plates, or of the classes called; kind: screen or image set."""

    file: str
    name: str
    sample: str
    model: str
    headline: str
    failed_gates: bool
    details: str
    kind: Literal["screen", "image set"] = "screen"


def render_report(scored: ScoredTables, *, screen: Screen, lineage: Mapping[str, str], metrics: Mapping[str, Any] | None = None,
                  gates: Sequence[GateResult] = (), links: Mapping[str, str] | None = None, options: ReportOptions | None = None) -> str:
    """One HTML page of a scored screen that works offline; equal inputs give equal bytes.

    lineage  model, version, run_id, git_commit, data_md5, bundle_sha256 ... as text; all are shown, missing ones as "not recorded"
    metrics  the model's evaluation, nested as it likes
    gates    of the model's card; a failed one turns every hit into "cannot say"
    links    words -> address (http, https or relative; others are left out)
    """
    scored, options = own_rows(scored, controls=screen.controls), options or ReportOptions()
    found, plates = verdicts(scored, controls=screen.controls, gates=gates, options=options)
    summary = summarise(scored, found=found, plates=plates, gates=gates, options=options)
    rows = treatments(scored, found=found, options=options)
    return page_template("page.html").render(
        screen=screen, summary=summary, rows=rows, panels=panels(scored, rows), options=options,
        kind_words=KIND_WORDS, grade_words=GRADE_WORDS,
        waterfall=score_waterfall(rows, score=summary.score, threshold=options.hit_threshold),
        plates=plate_views(scored, plates, plate_format=screen.plate_format), strips=control_strips(scored.wells, plates),
        doubts=doubts(scored.wells), training=training_words(scored.wells), scale=scale_words(scored.findings),
        findings=finding_groups(scored.findings), read_first=read_first(scored.findings),
        lineage=lineage_rows(lineage), metrics=metric_rows(metrics or {}), gates=gates, links=safe_links(links or {}),
        model=model_name(lineage), wells=len(scored.wells), limited=has_limits(scored.wells),
        help=help_rows(summary, controls=screen.controls, limited=has_limits(scored.wells)),
        hit_rule=hit_rule(summary, controls=screen.controls, threshold=options.hit_threshold, judged=is_judged(lineage, gates)),
        letters=letter_key(scored.wells), **_colour_legend(scored.wells), **_single_doses(scored, summary.failed_gates),
        **_combinations(scored, summary.failed_gates), **page_assets())


def _single_doses(scored: ScoredTables, failed_gates: Sequence[str]) -> dict[str, Any]:
    rows = single_dose_rows(scored, failed_gates=failed_gates)
    level = float(scored.single_doses["level"].iloc[0]) if rows else 0.0
    return {"single_doses": rows, "single_dose_key": single_dose_key(scored), "single_dose_ranking": ranking(rows, level=level),
            "single_dose_chips": call_chips(rows)}


def _combinations(scored: ScoredTables, failed_gates: Sequence[str]) -> dict[str, Any]:
    return {"pairs": pair_views(scored, failed_gates=failed_gates), "combination_headings": TABLE_HEADINGS,
            "combination_scale": f"{colour_scale(scored.combinations):g}", "combination_steps": legend_steps()}


def own_rows(scored: ScoredTables, *, controls: Controls) -> ReportTables:
    """The same tables with rows counted from 0, whatever they were cut out of. Curves of plates whose controls overlap, whose numbers
    `models.scoring` withholds, have the report's own status "bad_controls"; those of treatments with too few doses for a curve, which
    `single_doses` tells of, are left out.
    """
    wells, curves = scored.wells.reset_index(drop=True), scored.curves
    if len(scored.single_doses):
        curves = curves[~curves["treatment"].isin(scored.single_doses["treatment"])]
    curves = curves.reset_index(drop=True)
    graded = plate_qualities(scored.quality, list(dict.fromkeys(wells["plate"].astype(str))), controls=controls)
    bad = {plate.plate for plate in graded if plate.grade == "bad"} if controls == "both" and not is_raw(curves) else set()
    if bad:
        names = wells["plate"].astype(str).to_numpy()
        spoiled = np.array([not bad.isdisjoint(names[own]) for own in wells_by_curve(curves, wells)], dtype=bool)
        curves = curves.assign(status=curves["status"].mask(spoiled, BAD_CONTROLS))
    return ReportTables(wells=wells, curves=curves, quality=scored.quality.reset_index(drop=True), findings=tuple(scored.findings),
                        combinations=scored.combinations, single_doses=scored.single_doses)


def _colour_legend(wells: pd.DataFrame) -> dict[str, Any]:
    values, called, limits = heat_values(wells)
    return {"heat_called": called, "colour_bar": colour_bar(called, limits) if values.notna().any() else ""}


def index_entry(scored: ScoredTables, *, file: str, screen: Screen, lineage: Mapping[str, str], gates: Sequence[GateResult] = (),
                options: ReportOptions | None = None) -> IndexEntry:
    """The index line of a scored screen whose page is `file`."""
    scored, options = own_rows(scored, controls=screen.controls), options or ReportOptions()
    found, plates = verdicts(scored, controls=screen.controls, gates=gates, options=options)
    summary = summarise(scored, found=found, plates=plates, gates=gates, options=options)
    return IndexEntry(file=file, name=screen.name, sample=screen.sample, model=model_name(lineage), headline=summary.headline,
                      failed_gates=bool(summary.failed_gates), details=summary.plate_words)


def render_index(entries: Sequence[IndexEntry]) -> str:
    """The page that lists the reports."""
    kinds = [[entry for entry in entries if entry.kind == kind] for kind in ("screen", "image set")]
    return page_template("index.html").render(tables=list(filter(None, kinds)), **page_assets())


def model_name(lineage: Mapping[str, str]) -> str:
    """ "viability-A549 version 3", as far as it is known."""
    name, version = str(lineage.get("model", "")), str(lineage.get("version", ""))
    if name == MEASURED:
        return "measured read-outs"
    return f"{name or 'model not recorded'}{f' version {version}' if version else ''}"


def is_judged(lineage: Mapping[str, str], gates: Sequence[GateResult]) -> bool | None:
    """Whether gate results of the model are on record; None of measured read-outs, which no model made."""
    return None if lineage.get("model") == MEASURED else bool(gates)


def lineage_rows(lineage: Mapping[str, str]) -> list[tuple[str, str]]:
    """(what, value) of the lineage: what every answer must name first, then the rest."""
    known = [(called, str(lineage.get(key) or "not recorded")) for key, called in _LINEAGE_WORDS.items()
             if key in lineage or key != "service_version"]
    return known + [(key.replace("_", " "), str(value)) for key, value in lineage.items() if key not in _LINEAGE_WORDS]


def safe_links(links: Mapping[str, str]) -> list[tuple[str, str]]:
    """(words, address) of links to web or relative addresses; anything else (javascript:, data:) is left out."""
    return [(words, address) for words, address in links.items() if _is_safe(address)]


def _is_safe(address: str) -> bool:
    bare = "".join(character for character in address if character > " ")  # browsers ignore blanks within a scheme
    try:
        return bare != "" and urlsplit(bare).scheme.lower() in ("", "http", "https")
    except ValueError:
        return False


def _sort_value(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("models.report"), autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    environment.filters["sort_value"] = _sort_value
    return environment


def page_template(name: str) -> jinja2.Template:
    """A template of this package; what it shows is escaped."""
    return _environment().get_template(name)


@cache
def _source(name: str) -> str:
    loader = _environment().loader
    assert loader is not None  # set where the environment is made
    return loader.get_source(_environment(), name)[0].strip()


@cache
def page_assets() -> dict[str, Any]:
    """Style and script, put into the page; the policy lets that script run and nothing else, and fetches nothing."""
    script = _source("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"style": f"{_source('page.css')}\n{_source('shared.css')}", "script": script,
            "policy": f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; base-uri 'none'"}
