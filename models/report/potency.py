"""Two samples side by side as plain values: how many times less potent each treatment is on the second, in words, and what to draw."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from models.dose_response.potency import compare_potency
from models.report.inputs import Row, common_level, half_title, known, number, text
from models.report.words import NONE, count, half_dose, plain

CALL_WORDS = {"higher": "less potent", "lower": "more potent", "none": "no difference seen", "": "cannot say"}
CHIPS = {"higher": "less", "lower": "more", "none": "none", "": "unsure"}
_ORDER = ("higher", "lower", "none", "")


@dataclass(frozen=True, kw_only=True)
class Potency:
    """One treatment on both samples. kind: class of its coloured word; first, second: its IC50s; *_sort: numbers to sort by, None without;
    low, high: limits of the fold, None where open; relation: of the fold, "=", ">", "<" or "".
    """

    name: str
    kind: str
    why: str
    fold: str
    fold_sort: float | None
    limits: str
    low: float | None
    high: float | None
    relation: str
    q: str
    q_sort: float | None
    first: str
    first_sort: float | None
    second: str
    second_sort: float | None


def comparison(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What `compare_potency` finds for two tables of Curves, and the same for a page: headline, rows, kinds, and the treatments that only
    one of the two has (only_first, only_second), and what the doses on either are called (halves).
    """
    found = compare_potency(first, second)
    curves = [{text(row, "treatment"): row for row in table.to_dict("records")} for table in (first, second)]
    rows = [_row(row, *(table[text(row, "treatment")] for table in curves)) for row in found.to_dict("records")]
    rows.sort(key=lambda row: (list(CHIPS.values()).index(row.kind), -abs(math.log(row.fold_sort)) if row.fold_sort else 0.0))
    only = [[name for name in own if name not in other] for own, other in (curves, reversed(curves))]
    return found, {"headline": _headline(found), "rows": [asdict(row) for row in rows],
                   "kinds": [(CHIPS[call], CALL_WORDS[call]) for call in _ORDER], "only_first": only[0], "only_second": only[1],
                   "halves": [half_title(common_level(own)) for own in (first, second)]}


def fold_words(row: Row) -> str:
    """ "9.2-fold", ">40-fold", "cannot say"."""
    relation = text(row, "fold_relation")
    return f"{relation.replace('=', '')}{plain(number(row, 'fold'))}-fold" if relation else "cannot say"


def limit_words(row: Row) -> str:
    """ "6.9 to 12.4", "31 or more": the limits of a fold; empty where nothing can be said."""
    low, high = plain(number(row, "fold_low")), plain(number(row, "fold_high"))
    if not text(row, "fold_relation") or low == high == NONE:
        return ""
    return f"{low} or more" if high == NONE else f"{high} or less" if low == NONE else f"{low} to {high}"


def _row(row: Row, first: Row, second: Row) -> Potency:
    one, other = half_dose(first, "ic50"), half_dose(second, "ic50")
    return Potency(name=text(row, "treatment"), kind=CHIPS[text(row, "call")], why=text(row, "reason"), fold=fold_words(row),
                   fold_sort=known(number(row, "fold")), limits=limit_words(row), low=known(number(row, "fold_low")),
                   high=known(number(row, "fold_high")), relation=text(row, "fold_relation"), q=plain(number(row, "q"), 2),
                   q_sort=known(number(row, "q")), first=one.text, first_sort=known(one.sort), second=other.text,
                   second_sort=known(other.sort))


def _headline(found: pd.DataFrame) -> str:
    """How many treatments are less or more potent on the second sample."""
    if found.empty:
        return "The two have no treatment in common."
    calls = Counter(found["call"])
    verb = "is" if calls["higher"] == 1 else "are"
    less = f"{calls['higher'] or 'None'} of {count(len(found), 'treatment')} {verb} less potent on the second sample."
    return " ".join([less, *(f"{CALL_WORDS[call].capitalize()}: {calls[call]}." for call in _ORDER[1:] if calls[call])])
