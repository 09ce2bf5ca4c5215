"""Curves of responses that somebody has normalised already, and of counted cells: long tables that name no wells, roles or controls.

The command `fit` is made of it. What plates and controls tell of a curve is not known here; of a table with wells, `readouts` knows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from models.dose_response import FitOptions, call_hits, fit_curves, gr_metrics, score_curves
from models.errors import Finding, InputError, TableError
from models.plates.layout import parse_layout
from models.plates.readers.platemaps import with_contract_names
from models.plates.spreadsheets import read_table
from models.plates.vocabulary import CONDITION_WORDS, SAMPLE_WORDS, canonical_column, plain
from models.tables import DOSED_ROLES
from models.wells import PLATE_FORMATS, well_name
from models.words import are, number
from serving.readouts import panels, write_pages

VIABILITY = ("viability", "relativeviability", "percentviability", "viabilitypercent", "survival", "relcellcount", "relativecellcount")
INHIBITION = ("inhibition", "percentinhibition", "inhibitionpercent")
COUNTS = ("cellcount", "cellcountctrl", "cellcounttime0")     # of GRmetrics: treated, control at the end, at the start
LARGEST_FRACTION = 3.0      # a table none of whose responses is beyond it is one of fractions, not of percent
FORMAT = max(PLATE_FORMATS)


@dataclass(frozen=True, kw_only=True)
class Responses:
    """A table that was understood. wells: by, dose, dose_unit, viability (1 = no effect), and three counts where there are some; rows kept.

    by: what names a curve. said: how it was read.
    """

    wells: pd.DataFrame
    by: tuple[str, ...]
    counts: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    said: tuple[str, ...] = ()


def read_responses(path: Path, *, by: Sequence[str] = (), columns: Mapping[str, str] | None = None, dose_unit: str = "") -> Responses:
    """A row per treatment, dose and replicate: its dose and viability, inhibition, or cell counts as R's GRmetrics names them.

    by: columns that name a curve beside treatment; () = those of cell lines, patients, times. columns: treatment, dose, dose_unit,
    viability or inhibition -> their column in the file. Raises TableError for a table that is no use.
    """
    raw = with_contract_names(read_table(path), columns or {}, path.name)
    counts = [_named(raw, (word,)) for word in COUNTS]
    viability, inhibition = _named(raw, VIABILITY), _named(raw, INHIBITION)
    if not viability and not inhibition and not all(counts):
        raise _refusal(raw, "no column holds a response: viability or inhibition, or all of cell_count, cell_count__ctrl and "
                            "cell_count__time0. Name it with --columns viability=...; for measured values with controls: dosewell curves")
    keys = _keys(raw, by)
    layout, findings = _parsed(raw.drop(columns=keys), viability or inhibition or counts[0], dose_unit)
    wells = layout[["treatment", "dose", "dose_unit"]].assign(**{key: raw[key] for key in keys})
    if viability or inhibition:
        percent = bool(layout["readout"].abs().max() > LARGEST_FRACTION)
        if not percent and re.search("%|percent", viability or inhibition, re.IGNORECASE):
            raise _refusal(raw, f"column '{viability or inhibition}' says percent, and no value in it is beyond {LARGEST_FRACTION:g}: are "
                                "they fractions of 1? Then call it viability or inhibition", rule="readout_form")
        share = layout["readout"] / (100.0 if percent else 1.0)
        wells["viability"] = share if viability else 1.0 - share
        kind, unit = "viability" if viability else "inhibition", "percent" if percent else "fractions of 1"
        said = f"{viability or inhibition}: read as {kind} in {unit}"
    if all(counts):
        wells[counts] = raw[counts].apply(pd.to_numeric, errors="coerce")
        said = "cell counts: viability is the count over that of the control"
        wells["viability"] = wells[counts[0]] / wells[counts[1]]
    used = layout["role"].isin(DOSED_ROLES) & ~layout.get("excluded", pd.Series(False, index=layout.index))
    out = int((~used).sum())
    left = f"; {number(out, 'row')} of controls or left out {are(out)} not fitted" if out else ""
    names = (*keys, "treatment")
    return Responses(wells=wells[used].reset_index(drop=True), by=names, counts=tuple(counts) if all(counts) else (), findings=findings,
                     said=(f"{said}; a curve for each {', '.join(names)}{left}",))


def fit_responses(responses: Responses, options: FitOptions, *, score: str = "dss_asym",
                  threshold: float = 10.0) -> dict[str, pd.DataFrame]:
    """curves (Curves with scores and `hit`) and, of counted cells, gr (GR50 and its kin), a row per group in the order of the rows.

    Raises InputError for weights by intervals, which such responses have none of.
    """
    if options.weights != "equal":
        raise InputError(f"fit.weights: {options.weights} asks for weights by the intervals that a model gives wells that it scores; "
                         "responses that are normalised already have none. Leave weights out")
    scored = score_curves(fit_curves(responses.wells, by=list(responses.by), response="viability", scale="fraction_viability",
                                     options=options), mode=options.mode)
    tables = {"curves": call_hits(scored, kind=score, threshold=threshold)}
    if responses.counts:
        count, control, start = responses.counts
        tables["gr"] = gr_metrics(responses.wells, by=list(responses.by), dose="dose", count=count, count_control=control,
                                  count_time0=start)
    return tables


def draw_responses(responses: Responses, curves: pd.DataFrame, out: Path, *, score: str = "dss_asym",
                   threshold: float = 10.0) -> list[Path]:
    """panel.pdf and waterfall.pdf, each curve named by all that tells it from others; returns their paths."""
    from models.dose_response.plots import plot_waterfall

    fitted, wells = (table.assign(curve=table[list(responses.by)].astype(str).agg(" ".join, axis=1)) for table in (curves, responses.wells))
    return [write_pages(panels(fitted, wells, by="curve", response="viability"), out / "panel.pdf"),
            write_pages([plot_waterfall(fitted, name="curve", score=score, threshold=threshold)], out / "waterfall.pdf")]


def _named(raw: pd.DataFrame, words: Sequence[str]) -> str:
    """The column that is called so, in any spelling and with or without a unit behind it, or ""."""
    return next((str(name) for name in raw.columns if plain(re.sub(r"[\[(].*[\])]|%", "", str(name))) in words), "")


def _keys(raw: pd.DataFrame, by: Sequence[str]) -> list[str]:
    if missing := [name for name in by if name not in raw]:
        raise _refusal(raw, f"no column '{missing[0]}'")
    of_conditions = [str(name) for name in raw.columns if plain(str(name)) in (*CONDITION_WORDS, *SAMPLE_WORDS)]
    return [name for name in by or of_conditions if name != "treatment"]


def _parsed(raw: pd.DataFrame, response: str, dose_unit: str) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """The rows as the parser of layouts understands treatments, doses, units and numbers, as if each stood in a well."""
    own = {name for name in raw.columns if canonical_column(str(name))[0] in ("plate", "well", "row", "column", "readout")}
    rows, columns = range(len(raw)), PLATE_FORMATS[FORMAT][1]
    table = raw.drop(columns=[name for name in own if name != response]).rename(columns={response: "readout"}).assign(
        plate=[str(row // FORMAT) for row in rows],
        well=[well_name(row % FORMAT // columns, row % columns) for row in rows])
    if not any(canonical_column(str(name))[0] == "role" for name in table.columns):
        table["role"] = "treated"
    parsed = parse_layout(table, plate_format=FORMAT, dose_unit=dose_unit or None)
    findings = tuple(replace(one, plate="", well="") for one in parsed.findings if one.rule != "column_unused")
    if errors := [one for one in findings if one.severity == "error"]:
        raise TableError("the table cannot be fitted", errors)
    return parsed.layout, findings


def _refusal(raw: pd.DataFrame, problem: str, *, rule: str = "column_missing") -> TableError:
    return TableError("the table cannot be fitted", [Finding(
        rule=rule, severity="error", message=f"{problem}. Columns found: {', '.join(map(str, raw.columns))}")])
