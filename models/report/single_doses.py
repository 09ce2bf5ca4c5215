"""Treatments at single doses in words, as a table and ranked in a drawing: plain values for the report, the page and the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from models.plates.dose_levels import one_dose
from models.report.inputs import ScoredTables, known
from models.report.svg import Frame, drawing, join, label, line, nice_ticks, tag
from models.report.words import NONE, count, dose_text, fixed
from models.single_doses import FALSE_CALLS, KEYS
from models.tables import DOSED_ROLES, combined

CALL_WORDS = {"hit": "hit", "effect": "effect", "growth": "more growth", "none": "no effect seen", "": "cannot say"}
CHIPS = {"hit": "hit", "effect": "effect", "growth": "growth", "none": "none", "": "unsure"}
_LOWEST, _HIGHEST = -50.0, 120.0    # percent inhibition that is drawn; what lies beyond sits at the edge
_LISTED = 2000                      # rows of a page; of more, those without a visible effect stand in the file only
_NAMED = 12                         # hits that are named in the drawing


@dataclass(frozen=True, kw_only=True)
class SingleDose:
    """One row of the table. chip: class of its coloured word; *_sort: numbers to sort by, None without; wells: its rows in the table of
    wells.
    """

    name: str
    dose: str
    dose_sort: float
    call: str
    chip: str
    why: str
    inhibition: str
    inhibition_sort: float | None
    low: float | None
    high: float | None
    limits: str
    q: str
    q_sort: float | None
    plate_z: str
    plate_z_sort: float | None
    b_score: str
    b_score_sort: float | None
    n: str
    wells: list[int]


def single_dose_rows(scored: ScoredTables, *, failed_gates: Sequence[str] = ()) -> list[SingleDose]:
    """Strongest inhibition first, what has none last; of very many, not all without a visible effect. failed_gates: of the model; with
    any, nothing can be said.
    """
    table = scored.single_doses.sort_values("inhibition", ascending=False, na_position="last", kind="stable")
    if table.empty:
        return []
    table = table[_listed(table["call"])]
    places = _places(scored.wells)
    return [_row(row, places.get((row["treatment"], float(row["dose"]), row["dose_unit"]), []), failed_gates)
            for row in table.to_dict("records")]


def _listed(calls: pd.Series) -> pd.Series:
    """Which rows a page has room for: all with a call, and so many of the others."""
    silent = calls == "none"
    return ~silent | (silent.cumsum() <= max(_LISTED - int((~silent).sum()), 0))


def single_dose_words(scored: ScoredTables, *, failed_gates: Sequence[str]) -> str:
    """ "12 hits among 352 treatments at single doses, 5 more with an effect."; empty without any."""
    table = scored.single_doses
    if table.empty:
        return ""
    calls = Counter(table["call"] if not failed_gates else [""] * len(table))
    treatments = table["treatment"].nunique()
    what = count(len(table), "treatment at a single dose", "treatments at single doses") if treatments == len(table) else (
        f"{len(table)} single doses of {count(treatments, 'treatment')}")
    if calls[""] == len(table):
        return f"None of the {what} can be judged." if len(table) > 1 else "The treatment at a single dose cannot be judged."
    said = [f"{calls['hit'] or 'no'} {'hit' if calls['hit'] == 1 else 'hits'} among {what}"]
    others = (("effect", "more with an effect"), ("growth", "with more growth than the controls"), ("", "cannot be judged"))
    said += [f"{calls[name]} {words}" for name, words in others if calls[name]]
    text = ", ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


def single_dose_key(scored: ScoredTables) -> str:
    """What the calls mean."""
    if scored.single_doses.empty:
        return ""
    level, unlisted = float(scored.single_doses["level"].iloc[0]), int((~_listed(scored.single_doses["call"])).sum())
    more = f" {unlisted:,} doses without a visible effect are not listed here; single_doses.csv has them." if unlisted else ""
    return (f"Treatments with fewer than four doses, which have no curve. Hit: the 95 % limits of the inhibition lie above {level:g} %. "
            f"Effect: beyond the scatter of wells and controls, but not surely above {level:g} %. Of all calls but “no effect seen”, "
            f"{100 * FALSE_CALLS:g} % are expected to be false: q corrects for the number of treatments. Robust z: how far the wells lie "
            f"from all treated wells of their plate, which needs no controls. B score: the same beside what their rows and columns there "
            f"share.{more}")


def call_chips(rows: Sequence[SingleDose]) -> list[tuple[str, str]]:
    """(chip, call) of those that occur, strongest first."""
    found = {row.call for row in rows}
    return [(CHIPS[call], words) for call, words in CALL_WORDS.items() if words in found]


def ranking(rows: Sequence[SingleDose], *, level: float) -> Markup:
    """All inhibitions with their limits, strongest first, coloured by call."""
    known = [row for row in rows if row.inhibition_sort is not None]
    if len(known) < 2:
        return Markup("")
    width, left, top, bottom = 900.0, 44.0, 14.0, 260.0
    frame = Frame(x_low=-0.5, x_high=len(known) - 0.5, y_low=_LOWEST, y_high=_HIGHEST, left=left, right=width - 8, top=top, bottom=bottom)
    grid = [join([line(left, frame.y(value), width - 8, frame.y(value), class_="grid"),
                  label(left - 5, frame.y(value) + 3.5, f"{value:g} %", anchor="end")]) for value in nice_ticks(_LOWEST, _HIGHEST, about=6)]
    marks = [_mark(row, frame, place) for place, row in reversed(list(enumerate(known)))]     # hits on top
    threshold = [line(left, frame.y(level), width - 8, frame.y(level), class_="limit"),
                 label(width - 10, frame.y(level) - 4, f"hit: limits above {level:g} %", class_="t strong", anchor="end")]
    hits = [row.name for row in known if row.chip == "hit"]
    named = f" {', '.join(hits[:_NAMED])}{' ...' if len(hits) > _NAMED else ''}." if hits else ""
    below = label((left + width) / 2, bottom + 14, f"{len(known)} treatments and doses, strongest first", anchor="middle")
    return drawing(width, bottom + 20, *grid, *threshold, *marks, below, class_="wide",
                   label=f"Inhibition of {len(known)} treatments at single doses with 95 % limits, strongest first; {len(hits)} are hits."
                         f"{named} The table has every value.")


def _mark(row: SingleDose, frame: Frame, place: int) -> Markup:
    assert row.inhibition_sort is not None     # those without are not drawn
    x, y = frame.x(place), frame.y(row.inhibition_sort)
    title = tag("title", f"{row.name} {row.dose}: {row.inhibition} inhibition ({row.limits}), {row.call}")
    limits = []
    if row.low is not None and row.high is not None:
        limits = [line(x, frame.y(row.low), x, frame.y(row.high), class_=f"span {row.chip}")]
    return join([*limits, tag("circle", title, cx=x, cy=y, r=3.0, class_=f"dot {row.chip}")])


def single_dose_line(row: SingleDose) -> str:
    """ "cmp7 1 µM: hit. Inhibition 74 % (60 to 87 %)", for a terminal."""
    limits = f" ({row.limits})" if row.limits else ""
    return f"{row.name} {row.dose}: {row.call}. Inhibition {row.inhibition}{limits}{f'; {row.why}' if row.why else ''}"


def _places(wells: pd.DataFrame) -> dict[tuple[str, float, str], list[int]]:
    own = (wells["role"].isin(DOSED_ROLES) & ~combined(wells)).to_numpy()
    found: dict[tuple[str, float, str], list[int]] = {}
    for place, (name, dose, unit) in zip(np.flatnonzero(own), wells.loc[own, KEYS].itertuples(index=False, name=None), strict=True):
        found.setdefault((name, one_dose(dose), unit), []).append(int(place))
    return found


def _row(row: Mapping[Any, Any], wells: list[int], failed_gates: Sequence[str]) -> SingleDose:
    call, why = row["call"], row["reason"]
    if failed_gates and call:
        call, why = "", "; ".join(filter(None, [f"the model did not pass its own checks ({', '.join(failed_gates)})", why]))
    lost = f", {row['n_left_out']} left out" if row["n_left_out"] else ""
    low, high = row["inhibition_low"], row["inhibition_high"]
    return SingleDose(
        name=row["treatment"], dose=dose_text(row["dose"], row["dose_unit"]), dose_sort=row["dose"], call=CALL_WORDS[call],
        chip=CHIPS[call], why=why, inhibition=_percent(row["inhibition"]), inhibition_sort=known(row["inhibition"]), low=known(low),
        high=known(high), limits="" if math.isnan(low) else f"{fixed(low, 0)} to {fixed(high, 0)} %",
        q=_share(row["q"]), q_sort=known(row["q"]), plate_z=fixed(row["plate_z"], 1), plate_z_sort=known(row["plate_z"]),
        b_score=fixed(row["b_score"], 1), b_score_sort=known(row["b_score"]),
        n=f"{row['n']}{lost}", wells=wells)


def _percent(value: float) -> str:
    return NONE if math.isnan(value) else f"{fixed(value, 0)}\u00a0%"


def _share(value: float) -> str:
    return NONE if math.isnan(value) else "< 0.001" if value < 0.001 else fixed(value, 3)
