"""Counts and names as messages for people have them."""

from __future__ import annotations

from collections.abc import Iterable

from models.errors import InputError
from models.wells import parse_well


def number(count: int, noun: str) -> str:
    """ "1 well", "2 wells"."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def have(count: int) -> str:
    """ "has" or "have"."""
    return "has" if count == 1 else "have"


def are(count: int) -> str:
    """ "is" or "are"."""
    return "is" if count == 1 else "are"


def some(names: Iterable[object], limit: int = 6) -> str:
    """The first few names of a list, and how many more there are."""
    each = list(dict.fromkeys(map(str, names)))
    return ", ".join(each[:limit]) + (f" and {len(each) - limit} more" if len(each) > limit else "")


def listed(wells: Iterable[object]) -> str:
    """Well names in plate order, as a finding's `well` holds several."""
    return ", ".join(sorted(set(map(str, wells)), key=_place))


def _place(well: str) -> tuple[int, int, str]:
    try:
        return (*parse_well(well), well)
    except InputError:
        return (-1, -1, well)
