"""Where an image of a plate archive belongs, by its name: <well>_s<site>_c<channel>_z<plane>.tif, or a usual name that leaves no question.

Usual names are those of one image a well ("A01.tif", "run7-A1.png") and those whose numbers are marked: "A01_s2_w1.tif" (ImageXpress, with
or without its GUID), "run_A01_T0001F002L01A01Z01C01.tif" (CellVoyager), "r01c01f02p01-ch1sk1fk1fl1.tiff" (Opera Phenix),
"Channel1-01-A-01.tif", "001001-2-001001001.tif" (Columbus), "A - 01(fld 2 wv UV - DAPI).tif" (IN Cell, one channel),
"V_A1_2_00d06h00m.tif" (Incucyte). Their channels count from 0 or from 1 and are a screen's channels in its order. What needs a person's
answer is refused, with the question.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from models.errors import InputError
from models.wells import canonical_well, parse_well, row_letters

_N = r"\d{1,6}"    # longer numbers count nothing that a plate has
MEMBER = re.compile(rf"^(?:[^/]+/)*(?P<well>[A-Z]{{1,2}}\d{{1,2}})_s(?P<site>{_N})_c(?P<channel>{_N})_z(?P<plane>{_N})\.tiff?$",
                    re.IGNORECASE)
"""Name of an image in a plate archive; it may lie in folders, as in a zip of a folder."""

FORM = "<well>_s<site>_c<channel>_z<plane>.tif, like B03_s1_c0_z0.tif"
_WAY_OUT = "rename it, or have `python -m pipelines.add_screen` read the microscope's own names"
SUFFIX = r"(?i:\.(?:tiff?|png|jpe?g))$"
_WELL = r"(?P<well>(?:[A-Z]|A[A-F])\d{1,2})"
GUID = r"(?i:[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12})"     # of MetaXpress, behind a file's name
_FORMS = tuple(re.compile(text + SUFFIX, re.IGNORECASE) for text in (
    rf"^(?P<lead>(?:.*_)?){_WELL}_T(?P<time>\d+)F(?P<site>{_N})L\d+A\d+Z(?P<plane>{_N})C(?P<channel>{_N})",
    rf"^(?P<lead>(?:.*/)?)r(?P<row>{_N})c(?P<column>\d+)f(?P<site>{_N})p(?P<plane>{_N})-ch(?P<channel>{_N})sk(?P<time>\d+)fk\d+fl\d+",
    rf"^(?P<lead>(?:.*/)?)(?P<row>\d{{3}})(?P<column>\d{{3}})-(?P<site>{_N})-(?P<plane>\d{{3}})(?P<time>\d{{3}})(?P<channel>\d{{3}})",
    rf"^(?P<lead>(?:.*/)?)(?P<row>[A-Z]|A[A-F]) - (?P<column>\d{{1,2}})"
    rf"\((?:fld (?P<site>{_N}) ?)?(?P<rest>wv [^()]+?)?(?: z (?P<plane>{_N}))?\)",
    rf"^(?P<lead>(?:.*[_/])?){_WELL}_(?P<site>{_N})_(?P<time>(?:\d{{4}}y\d\dm)?\d\dd_?\d\dh\d\dm)",
    rf"^(?P<lead>(?:.*/)?[A-Z]+)(?P<channel>{_N})-\d+-(?P<row>[A-Z]|A[A-F])-(?P<column>\d\d)",
    rf"^(?P<lead>(?:.*?[/_ -])??){_WELL}(?:[_-](?:s|f|site|field)(?P<site>{_N}))?(?:[_-]z(?P<plane>{_N}))?"
    rf"(?:[_-](?:w|ch?|channel)(?P<channel>{_N}?))?(?:[_-]z(?P<z>{_N}))?(?:{GUID})?",
    rf"^(?P<lead>(?:[^/]*/)*){_WELL}(?P<rest>[_ -].+)",     # the rest says nothing where it is the same for all
))
_BARE = re.compile(r"[_ -]\d+")
_LONGEST = 300      # of a usual name, with its folders
FIRST_ROWS = 16    # A to P; names with rows beyond only count something else, such as planes (Z05) or times (T01)
_SHOWN = 3


class Place(NamedTuple):
    """An image of an archive, and where it belongs: site from 1, channel and plane from 0."""

    member: str
    well: str
    site: int
    channel: int
    plane: int


def well_in(name: str) -> str:
    """The well that an image's name tells of, "" for none."""
    match = MEMBER.match(name) or _usual(name)
    return _well(match) if match else ""


def judge_name(name: str) -> str:
    """What is wrong with a name by itself, "" for nothing."""
    return "" if MEMBER.match(name) or _usual(name) else f"is not named {FORM}, and by no usual name that tells its well; {_WAY_OUT}"


def places_of(names: Sequence[str]) -> list[Place]:
    """The places of images whose names `judge_name` finds nothing wrong with, in their order. Raises InputError with the question that the
    names leave open, for all of them together.
    """
    places = [Place(name, canonical_well(match["well"]), int(match["site"]), int(match["channel"]), int(match["plane"]))
              for name in names if (match := MEMBER.match(name))]
    if len(places) == len(names):
        return places
    matches = [match for name in names if (match := _usual(name))]
    return _usual_places(matches)


def _usual(name: str) -> re.Match[str] | None:
    for form in _FORMS if len(name) <= _LONGEST else ():
        if (match := form.match(name)) and _well(match):
            return match
    return None


def _well(match: re.Match[str]) -> str:
    """ "A01", "" where the match tells of no well that a plate has."""
    parts = match.groupdict()
    row = parts.get("row", "")
    try:
        return canonical_well(parts.get("well") or f"{row_letters(int(row) - 1) if row.isdecimal() else row}{parts['column']}")
    except InputError:
        return ""


def _usual_places(matches: Sequence[re.Match[str]]) -> list[Place]:
    _require_one_form(matches)
    channels = _channels([match.groupdict().get("channel") for match in matches], matches[0].string)
    places = [Place(match.string, _well(match), int(_part(match, "site") or 1), channel, int(_part(match, "plane", "z") or 0))
              for match, channel in zip(matches, channels, strict=True)]
    if all(parse_well(place.well)[0] >= FIRST_ROWS for place in places):
        raise InputError(f"names such as {places[0].member!r} lie in no row from A to P, and may count something else than wells; write "
                         f"the wells: {FORM}")
    count = Counter(place[1:] for place in places)
    if twice := [place for place in places if count[place[1:]] > 1]:
        raise InputError(f"{_shown(place.member for place in twice if place[1:] == twice[0][1:])} would be the same image of well "
                         f"{twice[0].well}; write into their names what tells them apart: {FORM}")
    return places


def _require_one_form(matches: Sequence[re.Match[str]]) -> None:
    """Raise InputError for names of several forms, plates, times or endings: what these mean is for a person to say."""
    for group, question in (("lead", "begin differently: are they of several plates? Send a zip for each, named after its plate"),
                            ("time", "are of several times; send the images of one")):
        several = dict.fromkeys(match.groupdict().get(group) or "" for match in matches)
        if len(several) > 1:
            raise InputError(f"names such as {_one_of_each(matches, group)} {question}")
    if len({match.re for match in matches}) > 1 or len({match.groupdict().get("rest") for match in matches}) > 1:
        odd = [match.string for match in matches if "rest" in match.groupdict()] or [match.string for match in matches]
        raise InputError(f"names such as {_shown(odd)} do not say {_unsaid(matches)}; write it as in {FORM}, or have `python -m "
                         "pipelines.add_screen` bring the images in, whose --pattern and --channels say it")


def _unsaid(matches: Sequence[re.Match[str]]) -> str:
    rests = {rest for match in matches if (rest := match.groupdict().get("rest"))}
    return ("whether the number behind the well is a site (_s1), a channel (_w1) or a plane (_z1)"
            if rests and all(map(_BARE.fullmatch, rests)) else "in one way for all which site, channel and plane they are")


def _channels(stated: Sequence[str | None], example: str) -> list[int]:
    """Channel numbers from 0. Raises InputError where they begin elsewhere, or stand in some names only."""
    numbers = {int(text) for text in stated if text}
    if not numbers and None in stated:
        return [0] * len(stated)
    first = min(numbers)
    if None in stated or first > 1 or numbers != set(range(first, first + len(numbers))):
        raise InputError(f"names such as {example!r} number the channels {', '.join(map(str, sorted(numbers)))}"
                         f"{', or not at all' if None in stated else ''}; which of the screen's channels are they? Write them from _c0 on, "
                         f"in the order of the screen's channels: {FORM}")
    return [int(text or 0) - first for text in stated]


def _part(match: re.Match[str], *names: str) -> str | None:
    return next((text for name in names if (text := match.groupdict().get(name))), None)


def _one_of_each(matches: Sequence[re.Match[str]], group: str) -> str:
    return _shown({match.groupdict().get(group) or "": match.string for match in reversed(matches)}.values())


def _shown(names: Iterable[str]) -> str:
    return " and ".join(map(repr, list(dict.fromkeys(names))[:_SHOWN]))
