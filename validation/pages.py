"""The page that a bench scientist reads: what is wrong, where on the plate, and what to do. Self-contained HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import pandas as pd

from models.errors import Finding, InputError
from models.plates.wells import PLATE_FORMATS, parse_well, row_letters
from validation.evidence import Evidence, number, some
from validation.rules import RULES
from validation.verdicts import Verdict, file_of

MAX_PLATES = 24     # drawn on a page, those with findings first
MAX_PER_RULE = 40   # findings listed per rule
COLOURS = {"negative": "#4c9f70", "positive": "#c05746", "reference": "#8d6cab", "treated": "#5b8def", "untreated": "#9fc5a8",
           "empty": "#e6e9ee"}
MARKS = {"error": "#b3261e", "warning": "#e0a100"}
STYLE = """
:root{color-scheme:light}body{font:16px/1.5 system-ui,sans-serif;color:#1d2733;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin-top:2rem}h3{font-size:1rem;margin:1.2rem 0 .2rem}
.verdict{padding:.6rem 1rem;border-radius:6px;font-weight:600}.refused{background:#fbe9e7;color:#8c1d18}
.accepted{background:#e6f4ea;color:#19733a}
li{margin:.25rem 0}.where{color:#5a6675;font-size:90%}.error:before{content:"\\25CF";color:#b3261e;margin-right:.4em}
.warning:before{content:"\\25CF";color:#e0a100;margin-right:.4em}ul{list-style:none;padding-left:0}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}.key{display:inline-block;width:.8em;height:.8em;
border-radius:50%;margin:0 .3em 0 .9em;vertical-align:-.05em}svg{max-width:100%;height:auto}
"""


def screen_page(verdict: Verdict, evidence: Evidence | None = None) -> str:
    """The page of a verdict. evidence: draws the plates; None where no layout could be read. Same input, same bytes."""
    state = "accepted" if verdict.accepted else "refused"
    said = (f"Accepted{_with(verdict.warnings)}." if verdict.accepted else
            f"Refused: {number(len(verdict.errors), 'thing')} to put right before this screen can be used{_with(verdict.warnings)}.")
    counts = "".join(f"<tr><th>{html.escape(name)}</th><td>{number}</td></tr>" for name, number in verdict.counts.items())
    return ("<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
            f"<title>{html.escape(verdict.screen)}: {state}</title><style>{STYLE}</style></head>\n<body>"
            f"<h1>Screen {html.escape(verdict.screen)}</h1>\n<p class='verdict {state}'>{said}</p>\n"
            + _findings("What to put right", verdict.errors) + _findings("Worth knowing", verdict.warnings)
            + (_plates(evidence, verdict.findings) if evidence is not None else "")
            + (f"<h2>What was read</h2>\n<table>{counts}</table>\n" if counts else "") + "</body></html>\n")


def _with(warnings: Sequence[Finding]) -> str:
    return f", {number(len(warnings), 'thing')} worth knowing" if warnings else ""


def _findings(title: str, findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    titles = {rule.name: rule.title for rule in RULES}
    parts = [f"<h2>{title}</h2>\n"]
    for rule, group in groupby(sorted(findings, key=lambda one: one.rule), key=lambda one: one.rule):
        alike: dict[Finding, list[str]] = {}    # findings that differ in their well only -> wells
        for one in group:
            alike.setdefault(replace(one, well="", value=""), []).append(one.well)
        listed = list(alike.items())
        parts.append(f"<h3>{html.escape(titles.get(rule, rule.replace('_', ' ').capitalize()))}</h3>\n<ul>")
        parts += [f"<li class='{one.severity}'>{html.escape(one.message)} "
                  f"<span class='where'>{html.escape(_where(one, wells))}</span></li>\n" for one, wells in listed[:MAX_PER_RULE]]
        parts.append((f"<li>... and {len(listed) - MAX_PER_RULE} more of this kind</li>" if len(listed) > MAX_PER_RULE else "") + "</ul>\n")
    return "".join(parts)


def _where(finding: Finding, wells: Sequence[str]) -> str:
    places = (("file", file_of(finding)), ("plate", finding.plate), ("well", some(filter(None, wells), 24)), ("column", finding.column))
    return ", ".join(f"{name} {text}" for name, text in places if text)


def _plates(evidence: Evidence, findings: Iterable[Finding]) -> str:
    layout = evidence.layout[evidence.layout["plate"] != ""]
    touched = {finding.plate for finding in findings if finding.plate}
    plates = sorted(layout["plate"].unique(), key=lambda plate: plate not in touched)
    legend = "".join(f"<span class='key' style='background:{colour}'></span>{role}" for role, colour in COLOURS.items())
    rings = "".join(f"<span class='key' style='border:3px solid {colour}'></span>{name}" for name, colour in MARKS.items())
    drawn = "".join(plate_map(layout[layout["plate"] == plate], findings, plate_format=evidence.screen.plate_format)
                    for plate in plates[:MAX_PLATES])
    rest = f"<p>{len(plates) - MAX_PLATES} more plates are not drawn.</p>" if len(plates) > MAX_PLATES else ""
    return f"<h2>Where</h2>\n<p class='where'>{legend}{rings}</p>\n{drawn}{rest}\n"


def plate_map(wells: pd.DataFrame, findings: Iterable[Finding], *, plate_format: int) -> str:
    """One plate as SVG: a disc per well coloured by role, a ring for its worst finding. wells: layout rows of the plate."""
    plate = str(wells["plate"].iloc[0])
    rows, columns = PLATE_FORMATS[plate_format]
    size = 26 if columns <= 12 else 18 if columns <= 24 else 12
    about: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.plate == plate and finding.well:
            about.setdefault(finding.well, []).append(finding)
    labels = [f"<text x='{(column + 1.5) * size:g}' y='{size * 0.7:g}'>{column + 1}</text>" for column in range(columns)]
    labels += [f"<text x='{size * 0.5:g}' y='{(row + 1.65) * size:g}'>{row_letters(row)}</text>" for row in range(rows)]
    discs = [_disc(well, size, wells[wells["well"] == well], about.get(well, []))
             for well in sorted({*wells["well"], *about}) if _inside(well, rows, columns)]
    return (f"<h3>Plate {html.escape(plate)}</h3>\n<svg viewBox='0 0 {(columns + 1) * size} {(rows + 1) * size}' "
            f"width='{(columns + 1) * size}' role='img' font-size='{size * 0.42:g}' text-anchor='middle' fill='#5a6675'>"
            f"{''.join(labels)}\n{''.join(discs)}</svg>\n")


def _inside(well: str, rows: int, columns: int) -> bool:
    try:
        row, column = parse_well(well)
    except InputError:
        return False
    return row < rows and column < columns


def _disc(well: str, size: int, rows: pd.DataFrame, findings: Sequence[Finding]) -> str:
    row, column = parse_well(well)
    role = str(rows["role"].iloc[0]) if len(rows) else ""
    worst = min((finding.severity for finding in findings), default="")
    ring = f" stroke='{MARKS[worst]}' stroke-width='{size * 0.16:g}'" if worst else ""
    dose = rows["dose"].iloc[0] if len(rows) else float("nan")
    given = " ".join(filter(None, (str(rows["treatment"].iloc[0]), f"{dose:g} {rows['dose_unit'].iloc[0]}" if dose == dose else ""))
                     ) if len(rows) else ""
    title = "\n".join([f"{well} {role} {given}".strip(), *(finding.message for finding in findings)])
    place = f"cx='{(column + 1.5) * size:g}' cy='{(row + 1.5) * size:g}' r='{size * 0.38:g}'"
    return (f"<circle {place} fill='{COLOURS.get(role, '#fff')}'{ring}>"
            f"<title>{html.escape(title)}</title></circle>\n")
