"""The page that a bench scientist reads: what is wrong, where on the plate, and what to do. Self-contained HTML.

Everything said has a number, which also stands in the wells that it is about. Plates on which wells behave otherwise than their layout
says are drawn a second time, coloured by what their wells look like.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import pandas as pd

from models.errors import Finding
from models.wells import PLATE_FORMATS, has_well, parse_well, row_letters
from models.words import number, some
from validation import imageset_rules
from validation.evidence import Evidence, merged
from validation.rules import RULES
from validation.verdicts import Verdict, file_of

MAX_PLATES = 24     # drawn on a page, those with findings first
MAX_PER_RULE = 40   # findings listed per rule
COLOURS = {"negative": "#4c9f70", "positive": "#c05746", "reference": "#8d6cab", "treated": "#5b8def", "untreated": "#9fc5a8",
           "empty": "#e6e9ee"}
MARKS = {"error": "#b3261e", "warning": "#e0a100"}
LOOKS = ("#2166ac", "#f2f2f2", "#b2182b")   # of wells that look unlike each other; readable without telling red from green
STYLE = """
:root{color-scheme:light}body{font:16px/1.5 system-ui,sans-serif;color:#1d2733;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin-top:2rem}h3{font-size:1rem;margin:1.2rem 0 .2rem}
.verdict{padding:.6rem 1rem;border-radius:6px;font-weight:600}.refused{background:#fbe9e7;color:#8c1d18}
.accepted{background:#e6f4ea;color:#19733a}ol,ul{list-style:none;padding-left:0;margin:.2rem 0}
li{margin:.35rem 0;padding-left:2.2rem;position:relative}.where{color:#5a6675;font-size:90%}li .where{display:block}
.mark{position:absolute;left:0;top:.1rem;min-width:1.5rem;height:1.5rem;border-radius:.75rem;font-size:.8rem;line-height:1.5rem;
text-align:center;font-weight:600;color:#fff;box-sizing:border-box;padding:0 .3rem}
.error{background:#b3261e}.warning{background:#e0a100;color:#1d2733}
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}
.key{display:inline-block;width:.8em;height:.8em;border-radius:50%;margin:0 .3em 0 .9em;vertical-align:-.05em}
.key:first-child{margin-left:0}
svg{max-width:100%;height:auto}.plates{display:flex;flex-wrap:wrap;gap:0 1.5rem}figure{margin:0}figcaption{font-size:90%;color:#5a6675}
"""

Numbered = Sequence[tuple[int, Finding]]
TOLD = ({rule.title: (rule.name, *rule.says) for rule in RULES}      # what stands over findings -> their names
        | {rule.title: (rule.name,) for rule in imageset_rules.RULES})


def screen_page(verdict: Verdict, evidence: Evidence | None = None, *, kind: str = "screen") -> str:
    """The page of a verdict. evidence: draws the plates; None where no layout could be read. kind: screen or image set. Same input,
    same bytes.
    """
    state = "accepted" if verdict.accepted else "refused"
    findings: Numbered = list(enumerate(sorted(merged(verdict.findings), key=lambda one: (one.severity, _place_of(one))), 1))
    errors, warnings = ([one for one in findings if one[1].severity == severity] for severity in ("error", "warning"))
    said = (f"Accepted{_with(warnings)}." if verdict.accepted else
            f"Refused: {number(len(errors), 'thing')} to put right before this {kind} can be used{_with(warnings)}.")
    counts = "".join(f"<tr><th>{html.escape(name)}</th><td>{count}</td></tr>" for name, count in verdict.counts.items())
    return ("<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
            f"<title>{html.escape(verdict.screen)}: {state}</title><style>{STYLE}</style></head>\n<body>"
            f"<h1>{kind.capitalize()} {html.escape(verdict.screen)}</h1>\n<p class='verdict {state}'>{said}</p>\n"
            + _listed("What to put right", errors) + _listed("Worth knowing", warnings)
            + (_plates(evidence, findings) if evidence is not None else "")
            + (f"<h2>What was read</h2>\n<table>{counts}</table>\n" if counts else "") + "</body></html>\n")


def _title(finding: Finding) -> str:
    """What must hold; for what no rule says, its name in words."""
    return next((title for title, names in TOLD.items() if finding.rule in names), finding.rule.replace("_", " ").capitalize())


def _place_of(finding: Finding) -> tuple[int, str]:
    """Findings of a kind stand together, in the order of the rules; what no rule says comes last."""
    title = _title(finding)
    return (list(TOLD).index(title) if title in TOLD else len(TOLD), title)


def _with(warnings: Numbered) -> str:
    return f", {number(len(warnings), 'thing')} worth knowing" if warnings else ""


def _listed(title: str, findings: Numbered) -> str:
    if not findings:
        return ""
    parts = [f"<h2>{title}</h2>\n"]
    for rule, group in groupby(findings, key=lambda one: _title(one[1])):
        found = list(group)
        parts.append(f"<h3>{html.escape(rule)}</h3>\n<ol>")
        parts += [f"<li><span class='mark {one.severity}'>{place}</span>{html.escape(one.message)} "
                  f"<span class='where'>{html.escape(_where(one))}</span></li>\n" for place, one in found[:MAX_PER_RULE]]
        parts.append((f"<li>... and {len(found) - MAX_PER_RULE} more of this kind</li>" if len(found) > MAX_PER_RULE else "") + "</ol>\n")
    return "".join(parts)


def _where(finding: Finding) -> str:
    wells = "wells" if len(finding.wells) > 1 else "well"
    places = (("file", file_of(finding)), ("plate", finding.plate), (wells, some(finding.wells, 24)), ("column", finding.column))
    return ", ".join(f"{name} {text}" for name, text in places if text)


def _plates(evidence: Evidence, findings: Numbered) -> str:
    layout = evidence.layout[evidence.layout["plate"] != ""]
    touched = {finding.plate for _, finding in findings if finding.plate}
    plates = sorted(layout["plate"].unique(), key=lambda plate: plate not in touched)
    roles = set(layout["role"])
    legend = "".join(f"<span class='key' style='background:{colour}'></span>{role}" for role, colour in COLOURS.items() if role in roles)
    marks = {finding.severity: MARKS[finding.severity] for _, finding in findings if finding.wells}
    rings = "".join(f"<span class='key' style='border:3px solid {colour}'></span>{name}" for name, colour in marks.items())
    drawn = "".join(_plate(evidence, plate, findings) for plate in plates[:MAX_PLATES])
    rest = f"<p>{len(plates) - MAX_PLATES} more plates are not drawn.</p>" if len(plates) > MAX_PLATES else ""
    told = " The numbers in the wells are those of the lists above." if marks else ""
    return f"<h2>Where</h2>\n<p class='where'>{legend}{rings}.{told}</p>\n{drawn}{rest}\n"


def _plate(evidence: Evidence, plate: str, findings: Numbered) -> str:
    """A plate as its layout says and, if it behaves otherwise, as it looks."""
    wells = evidence.layout[evidence.layout["plate"] == plate]
    here = [one for one in findings if one[1].plate == plate]
    plate_format = evidence.screen.plate_format
    maps = [("the layout", plate_map(wells, here, plate_format=plate_format))]
    odd = {rule.name for rule in RULES if rule.subject == "behaviour"} & {finding.rule for _, finding in here}
    if odd:
        maps += [(f"what its {source} {'look like' if source == 'images' else 'says'}: wells of one colour are alike",
                  plate_map(wells, here, plate_format=plate_format, colour=_looks(signals)))
                 for source, signals in evidence.signals.get(plate, {}).items()]
    figures = "".join(f"<figure>{drawing}" + (f"<figcaption>{caption}</figcaption>" if odd else "") + "</figure>"
                      for caption, drawing in maps)
    return f"<h3>Plate {html.escape(plate)}</h3>\n<div class='plates'>{figures}</div>\n"


def _looks(signals: pd.DataFrame) -> Callable[[str], str]:
    """Well -> colour by its place along the direction in which the plate's wells differ most."""
    values = (signals - signals.mean()).to_numpy(dtype="float64")
    along = values @ np.linalg.svd(values, full_matrices=False)[2][0]
    ranks = pd.Series(along, index=signals.index).rank(pct=True)
    return lambda well: _between(float(ranks[well])) if well in ranks.index else "#fff"


def _between(share: float) -> str:
    """A colour of LOOKS, 0 to 1."""
    start, end, at = (LOOKS[0], LOOKS[1], 2 * share) if share < 0.5 else (LOOKS[1], LOOKS[2], 2 * share - 1)
    parts = [(int(start[place:place + 2], 16), int(end[place:place + 2], 16)) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(low + at * (high - low)):02x}" for low, high in parts)


def plate_map(wells: pd.DataFrame, findings: Numbered, *, plate_format: int, colour: Callable[[str], str] | None = None) -> str:
    """One plate as SVG: a disc per well coloured by role (or by `colour` of its name), with a ring and the number of its worst finding.

    wells: layout rows of the plate.
    """
    rows, columns = PLATE_FORMATS[plate_format]
    size = 26 if columns <= 12 else 18 if columns <= 24 else 12
    about: dict[str, list[tuple[int, Finding]]] = {}
    for place, finding in findings:
        for well in finding.wells:
            about.setdefault(well, []).append((place, finding))
    labels = [f"<text x='{(column + 1.5) * size:g}' y='{size * 0.7:g}'>{column + 1}</text>" for column in range(columns)]
    labels += [f"<text x='{size * 0.5:g}' y='{(row + 1.65) * size:g}'>{row_letters(row)}</text>" for row in range(rows)]
    named = dict(iter(wells.groupby("well", sort=False)))
    discs = [_disc(well, size, named.get(well, wells[:0]), about.get(well, []), colour)
             for well in sorted({*wells["well"], *about}) if has_well(plate_format, well)]
    return (f"<svg viewBox='0 0 {(columns + 1) * size} {(rows + 1) * size}' "
            f"width='{(columns + 1) * size}' role='img' font-size='{size * 0.42:g}' text-anchor='middle' fill='#5a6675'>"
            f"{''.join(labels)}\n{''.join(discs)}</svg>\n")


def _disc(well: str, size: int, rows: pd.DataFrame, findings: Numbered, colour: Callable[[str], str] | None) -> str:
    row, column = parse_well(well)
    role = str(rows["role"].iloc[0]) if len(rows) else ""
    fill = colour(well) if colour else COLOURS.get(role, "#fff")
    across, down = (column + 1.5) * size, (row + 1.5) * size
    ring = label = ""
    if findings:
        place, worst = findings[0]      # errors come first
        ring = f" stroke='{MARKS[worst.severity]}' stroke-width='{size * 0.14:g}'"
        label = "" if size < 18 else (f"<text x='{across:g}' y='{down + size * 0.15:g}' fill='#fff' stroke='#1d2733' stroke-width='2.5' "
                                      f"paint-order='stroke'>{place}</text>")
    title = "\n".join([f"{well} {role} {_given(rows)}".strip(), *(f"{place}: {finding.message}" for place, finding in findings)])
    return (f"<g><title>{html.escape(title)}</title><circle cx='{across:g}' cy='{down:g}' r='{size * 0.38:g}' fill='{fill}'{ring}/>"
            f"{label}</g>\n")


def _given(rows: pd.DataFrame) -> str:
    """What the layout says was given to a well."""
    dose = rows["dose"].iloc[0] if len(rows) else float("nan")
    dosed = f"{dose:g} {rows['dose_unit'].iloc[0]}" if dose == dose else ""
    return " ".join(filter(None, (str(rows["treatment"].iloc[0]), dosed))) if len(rows) else ""
