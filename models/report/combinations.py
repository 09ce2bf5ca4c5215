"""Pairs of treatments in words, and their dose pairs as a matrix of excesses: plain values for the report, the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.combinations import CombinationTables
from models.plates.dose_levels import one_dose
from models.report.colours import hex_of, is_dark, mixed
from models.report.inputs import Row, ScoredTables
from models.report.words import NONE, count, dose_text, fixed
from models.tables import DOSED_ROLES, combined

# ColorBrewer's PuOr: less than expected is purple, more is orange; told apart with every kind of colour blindness
_COLOURS = np.array([(84, 39, 136), (153, 142, 195), (216, 218, 235), (247, 247, 247), (254, 224, 182), (241, 163, 64), (179, 88, 6)],
                    dtype=float)
LEAST_SCALE = 20.0      # percent; so that noise is pale
CALL_WORDS = {"synergy": "synergy", "antagonism": "antagonism", "mixed": "depends on the doses", "none": "no evidence", "": "cannot say"}
_CHIPS = {"synergy": "hit", "antagonism": "bad", "mixed": "unsure", "none": "none", "": "unsure"}
_EVIDENCE = {"more": "more than expected", "less": "less than expected", "none": "within the noise", "": "cannot say"}
_MARKS = {"more": "▲", "less": "▼"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A dose pair. dose_2: of the second; text: its excess, or "?"; colour "" without one; mark: triangle where there is evidence; words:
    all that is known of it; columns: the same as cells of a table, under TABLE_HEADINGS; wells: their rows in the table of wells.
    """

    dose_2: str
    text: str
    colour: str
    dark: bool
    mark: str
    words: str
    columns: list[str]
    wells: list[int]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A dose of one treatment: the dose, and its effect alone."""

    dose: str
    alone: str


@dataclass(frozen=True, kw_only=True)
class PairView:
    """A pair of treatments. chip: class of its coloured word; cells: a row per dose of the first, a cell or None per dose of the second."""

    first: str
    second: str
    call: str
    chip: str
    why: str
    numbers: list[tuple[str, str]]
    rows: list[Axis]
    columns: list[Axis]
    cells: list[list[Cell | None]]


TABLE_HEADINGS = ("Together", "Expected", "Excess", "Limits", "HSA", "ZIP", "Loewe", "Wells", "Reading")


Places = Mapping[frozenset[tuple[str, float]], list[int]]
"""Two treatments with their doses -> rows in the table of wells."""


def pair_views(scored: ScoredTables, *, failed_gates: Sequence[str] = ()) -> list[PairView]:
    """Every pair, in the order of the table, all on one colour scale. failed_gates: of the model; with any, nothing can be said."""
    tables, scale = scored.combinations, colour_scale(scored.combinations)
    if tables.pairs.empty:
        return []
    places = _places(scored.wells)
    doses = dict(iter(tables.doses.groupby(["treatment", "treatment_2"], sort=False)))
    return [_view(row, doses[row["treatment"], row["treatment_2"]], places, scale=scale, failed_gates=failed_gates)
            for row in tables.pairs.to_dict("records")]


def pair_words(scored: ScoredTables, *, failed_gates: Sequence[str]) -> str:
    """ " 3 pairs of treatments: 1 synergy, 2 no evidence."; empty without any."""
    calls = ["" if failed_gates else call for call in scored.combinations.pairs["call"]]
    counted = ", ".join(f"{calls.count(call)} {words}" for call, words in CALL_WORDS.items() if call in calls)
    return f" {count(len(calls), 'pair')} of treatments: {counted}." if calls else ""


def colour_scale(tables: CombinationTables) -> float:
    """The excess, in percent, that has the strongest colour."""
    highest = tables.doses["excess"].abs().max()
    return LEAST_SCALE if math.isnan(highest) else max(LEAST_SCALE, 10 * math.ceil(highest / 10))


def legend_steps() -> list[str]:
    """Colours from the strongest "less" to the strongest "more"."""
    return [_colour(step / 10 - 1)[0] for step in range(21)]


def pair_line(pair: PairView) -> str:
    """ "A + B: synergy. Mean excess ...", for a terminal."""
    return f"{pair.first} + {pair.second}: {pair.call}. {pair.why}"


def _places(wells: pd.DataFrame) -> Places:
    found: dict[frozenset[tuple[str, float]], list[int]] = {}
    own = wells["role"].isin(DOSED_ROLES) & combined(wells)
    for row in np.flatnonzero(own):
        well = wells.iloc[row]
        found.setdefault(_doses(well), []).append(int(row))
    return found


def _doses(row: Row) -> frozenset[tuple[str, float]]:
    return frozenset((str(row[f"treatment{end}"]), one_dose(row[f"dose{end}"])) for end in ("", "_2"))


def _view(row: Mapping[Any, Any], doses: pd.DataFrame, places: Places, *, scale: float, failed_gates: Sequence[str]) -> PairView:
    call, why = row["call"], _why(row)
    if failed_gates and call:
        call, why = "", f"The model did not pass its own checks ({', '.join(failed_gates)}). {why}"
    sides = [doses.drop_duplicates(name).sort_values(name) for name in ("dose", "dose_2")]
    axes = [[Axis(dose=dose_text(value, unit), alone=f"alone {fixed(effect, 0)}\u00a0%" if wells else "not tested alone")
             for value, unit, effect, wells in zip(own[f"dose{end}"], own[f"dose_unit{end}"], own[f"inhibition_{place}"], own[f"n_{place}"],
                                                   strict=True)] for own, end, place in zip(sides, ("", "_2"), (1, 2), strict=True)]
    known = {(one["dose"], one["dose_2"]): _cell(one, scale, places.get(_doses(one), [])) for one in doses.to_dict("records")}
    cells = [[known.get((first, second)) for second in sides[1]["dose_2"]] for first in sides[0]["dose"]]
    return PairView(first=row["treatment"], second=row["treatment_2"], call=CALL_WORDS[call], chip=_CHIPS[call], why=why,
                    numbers=_numbers(row), rows=axes[0], columns=axes[1], cells=cells)


def _why(row: Mapping[Any, Any]) -> str:
    """What the numbers say, in a few sentences."""
    reason = f"{row['reason'][:1].upper()}{row['reason'][1:]}." if row["reason"] else ""
    if not row["n_judged"] or (not row["call"]):
        return reason
    mean = f"{signed(row['mean_excess'])} % on average over {count(row['n_judged'], 'dose pair')} ({limits(row, 'mean')})"
    if row["call"] == "none":
        said = [f"Effect above expectation: {mean}. That is within the noise of these wells: no evidence that the two help or hinder each "
                f"other. A mean excess below about {fixed(row['mean_high'] - row['mean_excess'], 0)} % would not have been seen."]
    else:
        said = [f"Effect above expectation: {mean}."]
        said += [f"Evidence of {word} than expected at {count(row[f'n_{word}'], 'dose pair')}; farthest at {_place(row, end)}: "
                 f"{signed(row[f'{end}_excess'])} % ({limits(row, end)})."
                 for word, end in (("more", "highest"), ("less", "lowest")) if row[f"n_{word}"]]
    return " ".join(filter(None, [*said, reason]))


def _place(row: Mapping[Any, Any], end: str) -> str:
    return f"{dose_text(row[f'{end}_dose'], row['dose_unit'])} + {dose_text(row[f'{end}_dose_2'], row['dose_unit_2'])}"


def signed(value: float) -> str:
    """ "+12.3", "−4.0"; a dash without a number."""
    return ("+" if value > 0 else "") + fixed(value, 1)


def limits(row: Mapping[Any, Any], name: str) -> str:
    """ "−4.4 to +5.3 %"; empty without limits."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if math.isnan(low) else f"{signed(low)} to {signed(high)} %"


def _numbers(row: Mapping[Any, Any]) -> list[tuple[str, str]]:
    left_out = f", {row['n_left_out']} left out" if row["n_left_out"] else ""
    noise = f"{fixed(row['noise'], 1)} % a well, from {row['noise_from']}" if row["noise_from"] else "cannot be told"
    return [("mean excess, Bliss", f"{signed(row['mean_excess'])} %"),
            *((f"mean excess, {called}", f"{signed(row[f'mean_{kind}'])} %") for kind, called in
              (("hsa", "HSA"), ("zip", "ZIP"), ("loewe", "Loewe")) if not math.isnan(row[f"mean_{kind}"])),
            ("noise", noise), ("wells of both", f"{row['n']}{left_out}")]


def _cell(row: Mapping[Any, Any], scale: float, own: list[int]) -> Cell:
    known = not math.isnan(row["excess"])
    colour, dark = _colour(row["excess"] / scale) if known else ("", False)
    lost = "".join(f", {row[name]} {word}" for name, word in (("n_left_out", "left out"), ("n_flagged", "flagged")) if row[name])
    wells, reading = f"{row['n']}{lost}", _EVIDENCE[row["evidence"]] + (f": {row['reason']}" if row["reason"] else "")
    doses = [dose_text(row[f"dose{end}"], row[f"dose_unit{end}"]) for end in ("", "_2")]
    place = f"{row['treatment']} {doses[0]} + {row['treatment_2']} {doses[1]}"
    measured = f"effect {fixed(row['inhibition'], 0)} %, expected {fixed(row['expected'], 0)} %, excess {signed(row['excess'])} %"
    between = f" ({limits(row, 'excess')})" if limits(row, "excess") else ""
    alone = f"alone {fixed(row['inhibition_1'], 0)} % (n = {row['n_1']}) and {fixed(row['inhibition_2'], 0)} % (n = {row['n_2']})"
    words = f"{place}: {measured if known else 'no excess'}{between}; {reading}; n = {wells}; {alone}"
    columns = [f"{fixed(row['inhibition'], 0)} %", f"{fixed(row['expected'], 0)} %", signed(row["excess"]), limits(row, "excess") or NONE,
               *(signed(row[f"excess_{kind}"]) for kind in ("hsa", "zip", "loewe")), wells, reading]
    text = f"{'+' if row['excess'] >= 0.5 else ''}{fixed(row['excess'], 0)}" if known else "?"
    return Cell(dose_2=doses[1], text=text, colour=colour, dark=dark, mark=_MARKS.get(row["evidence"], ""), words=words, wells=own,
                columns=[NONE if cell.startswith(NONE) else cell for cell in columns])


def _colour(part: float) -> tuple[str, bool]:
    """(colour of a value between -1 and 1, clipped; whether it wants light ink)."""
    rgb = mixed(_COLOURS, (part + 1) / 2)
    return hex_of(rgb), is_dark(rgb)
