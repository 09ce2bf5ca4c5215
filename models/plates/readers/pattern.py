"""Images whose names alone tell plate, well, site, channel and plane: a pattern with named parts, or one of the usual forms.

A pattern is a template, "{plate}_{well}_s{site}_w{channel}.tif", or a regular expression with named groups,
"(?P<well>[A-P]\\d\\d)_f(?P<site>\\d+)". Parts: plate, well (or row and column), site (or field), channel, plane (or z), time.
It is matched against the path below SOURCE, so that folders may name the plate: "{plate}/{well}.tif".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import Finding, InputError
from models.plates.member_names import FIRST_ROWS, SUFFIX
from models.plates.readers.base import Found, Source, by_numbers, channel_word
from models.plates.readers.files import LOOK_AT, found_with_layout, images_in, last_timepoint, unmatched, with_planes
from models.wells import row_letters, well_or_text

PARTS = {"plate": r"[^/]+?", "well": r"[A-Za-z]{1,2}\d{1,2}", "row": r"(?:[A-Za-z]{1,2}|\d{1,2})", "column": r"\d{1,2}", "site": r"\d+",
         "field": r"\d+", "channel": r"[^/_]+?", "plane": r"\d+", "z": r"\d+", "time": r"\d+(?:[A-Za-z]_?(?:\d+|(?=\W|_|$)))*"}
_TIME = r"(?:[_-](?i:t)\d+)?"       # may stand between any two others
_PLACE = _TIME.join((
    r"(?P<well>(?:[A-Z]|A[A-F])0?\d{1,2})(?=(?:[^/]*?[_-](?i:t)(?P<time>\d+)(?=[_.-]))?)",
    r"(?:[_-](?:(?i:s|f|site|field)(?P<site>\d+)|(?P<bare>\d+)))?", r"(?:[_-](?i:z)(?P<plane>\d+))?",
    r"(?:[_-](?:(?i:w|ch?|channel)(?=\d))?(?P<channel>\d+|[A-Za-z]\w*?))?",        # cy5 is no channel y5
    r"(?:[_-](?i:z)(?P<z>\d+))?", SUFFIX))
USUAL = (   # of those that fit nine of ten images the one that tells most wells is taken, or the first of several
    r"(?:^|[_/])(?P<well>(?:[A-Z]|A[A-F])\d{2})_T(?P<time>\d+)F(?P<site>\d+)L\d+A\d+Z(?P<plane>\d+)C(?P<channel>\d+)" + SUFFIX,
    r"(?:^|/)(?P<channel>[A-Za-z]+\d*)-\d+-(?P<row>[A-Z]|A[A-F])-(?P<column>\d{2})" + SUFFIX,
    # Columbus, IN Cell, Incucyte
    r"(?:^|/)(?P<row>\d{3})(?P<column>\d{3})-(?P<site>\d+)-(?P<plane>\d{3})(?P<time>\d{3})(?P<channel>\d{3})" + SUFFIX,
    r"(?:^|/)(?P<row>[A-Z]|A[A-F]) - (?P<column>\d{1,2})"
    r"\((?:fld (?P<site>\d+) ?)?(?:wv (?P<channel>[^()]+?))?(?: z (?P<plane>\d+))?\)" + SUFFIX,
    r"(?:^|[_/])(?P<well>(?:[A-Z]|A[A-F])\d{1,2})_(?P<site>\d+)_(?P<time>(?:\d{4}y\d\dm)?\d\dd_?\d\dh\d\dm)" + SUFFIX,
    r"(?:^|[_/ -])" + _PLACE,
    r"^(?:.*[_/ -])?" + _PLACE,     # P1_A01.tif, H9_B03.tif: what comes first looks like a well
)
_TEMPLATE = re.compile(r"\{(\w+)\}")
FITTING = 0.9


class PatternConvention:
    """See the module."""

    name = "pattern"

    def detect(self, source: Source) -> bool:
        """A pattern is given, or the images' names have a usual form."""
        return bool(source.pattern) or (source.folder.is_dir() and _usual(source.folder) is not None)

    def read(self, source: Source) -> Found:
        """The images that match; the others are said. Raises InputError if the pattern is none, or none matches."""
        pattern = compile_pattern(source.pattern) if source.pattern else _usual(source.folder)
        paths = images_in(source.folder)
        if pattern is None:
            raise InputError(f"{source.folder.name}/: no usual form of names fits; give one with "
                             "--pattern '{well}_s{site}_w{channel}.tif'")
        root = source.folder.resolve()
        matches = {path: match for path in paths if (match := pattern.search(path.relative_to(root).as_posix()))}
        if not matches:
            shown = ", ".join(path.name for path in paths[:3]) or "no image at all"
            raise InputError(f"--pattern fits none of {len(paths)} images", [Finding(
                rule="pattern_unmatched", severity="error", value=source.pattern,
                message=f"pattern {pattern.pattern!r} fits no file; found: {shown}")])
        timed = any(match.groupdict().get("time") for match in matches.values())
        files, late = last_timepoint(pd.DataFrame([_row(path, match, source) for path, match in matches.items()]),
                                     source if timed else replace(source, timepoint=None))
        keys = sorted(files["channel"].unique(), key=by_numbers)
        found = found_with_layout(self.name, source, with_planes(files), channels={key: channel_word(key) or key for key in keys},
                                  findings=(*unmatched(paths, matches), *late, *_bare_sites(matches)), said=(_said(source, matches),))
        if source.timepoint is not None and not timed and not any(found.files["part"]):
            raise InputError(f"no time point {source.timepoint}; neither names nor files tell times. Put {{time}} into --pattern")
        return found


def _said(source: Source, matches: Mapping[Path, re.Match[str]]) -> str:
    path, match = next(iter(matches.items()))
    parts = ", ".join(f"{'site' if name == 'bare' else name} {text}" for name, text in match.groupdict().items() if text)
    return f"names {'by ' + source.pattern if source.pattern else 'of a usual form'}: {path.name} is {parts}"


def compile_pattern(text: str) -> re.Pattern[str]:
    """A template or regular expression as a regular expression. Raises InputError for one that cannot be used."""
    unknown = [name for name in _TEMPLATE.findall(text) if name not in PARTS] if "(?P<" not in text else []
    if unknown:
        raise InputError(f"--pattern: {{{unknown[0]}}} is no part; parts: {', '.join(PARTS)}")
    try:
        pattern = re.compile(text if "(?P<" in text else _from_template(text), re.IGNORECASE)
    except re.error as error:
        raise InputError(f"--pattern {text!r} is no regular expression ({error})") from None
    groups = set(pattern.groupindex)
    if groups - set(PARTS) or not ("well" in groups or {"row", "column"} <= groups):
        raise InputError(f"--pattern needs {{well}}, or {{row}} and {{column}}; parts: {', '.join(PARTS)}; "
                         f"got {', '.join(sorted(groups)) or 'none'}")
    return pattern


def _from_template(text: str) -> str:
    """The parts as groups, the rest as it stands; * is anything within a name; no well behind it begins within a word (run7_A01)."""
    pieces = _TEMPLATE.split(text)
    body = "".join(re.escape(piece).replace(r"\*", "[^/]*?") if place % 2 == 0 else f"(?P<{piece}>{PARTS[piece]})"
                   for place, piece in enumerate(pieces))
    return rf"(?:^|/){body}$".replace("[^/]*?(?P<well>", "[^/]*?(?<![A-Za-z0-9])(?P<well>")


def _usual(folder: Path) -> re.Pattern[str] | None:
    paths = images_in(folder)[:LOOK_AT]
    fitting: dict[re.Pattern[str], int] = {}
    for pattern in map(re.compile, USUAL if paths else ()):
        matches = [match for path in paths if (match := pattern.search(path.name))]
        if len(matches) >= FITTING * len(paths) and any(_first_rows(match) for match in matches):
            fitting[pattern] = len({match.group(*_groups(match)) for match in matches})
    return max(fitting, key=lambda pattern: fitting[pattern], default=None)


def _first_rows(match: re.Match[str]) -> bool:
    """Whether the well lies in FIRST_ROWS."""
    row = match[_groups(match)[0]]
    return int(row) <= FIRST_ROWS if row.isdecimal() else row.rstrip("0123456789") <= row_letters(FIRST_ROWS - 1)


def _groups(match: re.Match[str]) -> tuple[str, ...]:
    """The groups that tell the well."""
    return ("well",) if "well" in match.groupdict() else ("row", "column")


def _row(path: Path, match: re.Match[str], source: Source) -> dict[str, Any]:
    parts = {name: text for name, text in match.groupdict().items() if text}
    row = parts.get("row", "")
    well = parts.get("well") or (row_letters(int(row) - 1) if row.isdecimal() else row) + parts["column"]
    channel = parts.get("channel", "brightfield")
    return {"plate": parts.get("plate", source.plate), "well": well_or_text(well),
            "site": _number(parts, "site", "field", "bare", default=1), "number": _number(parts, "plane", "z", default=0),
            "channel": f"ch{int(channel)}" if channel.isdecimal() else channel, "timepoint": _time(parts.get("time", "1")), "path": path}


def _number(parts: Mapping[str, str], *names: str, default: int) -> int:
    """The number of the first part that is there. Raises InputError for a part of a person's own expression that is none."""
    name = next((name for name in names if name in parts), "")
    if name and not parts[name].isdecimal():
        raise InputError(f"--pattern: {name} '{parts[name]}' is not a number; let the group match digits only")
    return int(parts[name]) if name else default


def _time(text: str) -> int:
    """ "01d06h30m" -> 10630: times in the order of their numbers, of which those behind the first have two digits."""
    first, *rest = re.findall(r"\d+", text) or [""]
    if not first:
        raise InputError(f"--pattern: time '{text}' holds no number")
    return int("".join((first, *(part.zfill(2) for part in rest))))


def _bare_sites(matches: Mapping[Path, re.Match[str]]) -> tuple[Finding, ...]:
    """A warning where nothing but a number behind the well tells images apart: it may count channels or planes as well."""
    bare = {match["bare"]: path.name for path, match in matches.items() if match.groupdict().get("bare")}
    return (Finding(rule="site_assumed", severity="warning", value=next(iter(bare.values())), message=(
        f"the number behind the well ({' and '.join(list(bare.values())[:2])}) is taken as the site. If it counts channels or planes, say "
        "so with --pattern '{well}_{channel}.tif' or '{well}_{plane}.tif'")),) if len(bare) > 1 else ()
