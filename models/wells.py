"""Well names and plate formats."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from models.errors import InputError

PLATE_FORMATS: dict[int, tuple[int, int]] = {
    6: (2, 3), 12: (3, 4), 24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24), 1536: (32, 48)}
"""wells -> (rows, columns), the ANSI/SLAS formats."""
FORMAT_OF_SHAPE = {shape: wells for wells, shape in PLATE_FORMATS.items()}

MAX_NAMED = 16 * 1536    # wells that a text may name, over and over

USUAL_FORMATS = (96, 384, 1536)     # which a plate is taken for where nobody says it, the smallest first

_NAME = re.compile(r"^\s*([A-Za-z]{1,2})\s*0*([1-9]\d?)\s*$")


def row_letters(row: int) -> str:
    """Letters of a row counted from 0: 0 -> "A", 25 -> "Z", 26 -> "AA"."""
    return chr(65 + row) if row < 26 else chr(64 + row // 26) + chr(65 + row % 26)


@functools.lru_cache(maxsize=4096)     # two plates of the largest format
def parse_well(name: str) -> tuple[int, int]:
    """(row, column), both from 0, of "A1", "a01" or "AF48". Raises InputError for anything else."""
    match = _NAME.match(str(name))
    if match is None:
        raise InputError(f"'{name}' is not a well name; expected row letters and a column number, like A01 or AF48")
    row = 0
    for letter in match[1].upper():
        row = row * 26 + ord(letter) - 64
    return row - 1, int(match[2]) - 1


@functools.lru_cache(maxsize=4096)
def well_name(row: int, column: int) -> str:
    """The canonical name, "A01", of a row and column counted from 0."""
    return f"{row_letters(row)}{column + 1:02d}"


def canonical_well(name: str) -> str:
    """"a1" -> "A01". Raises InputError if `name` is no well name."""
    return well_name(*parse_well(name))


def joined_wells(rows: pd.Series, columns: pd.Series) -> pd.Series:
    """Texts of rows and columns as texts of wells: "B" and "3", or "2" and "3", are "B3". A number that is no row is left as it is."""
    letters = {text: row_letters(int(text) - 1) for text in rows.unique() if text.isdecimal() and 1 <= int(text) <= PLATE_FORMATS[1536][0]}
    return rows.map(lambda text: letters.get(text, text)).astype("str") + columns


def well_texts(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.Series:
    """The wells of a table's rows as written. columns: "well", or "row" and "column" -> column of the table."""
    return table[columns["well"]] if "well" in columns else joined_wells(table[columns["row"]], table[columns["column"]])


def well_or_text(text: str) -> str:
    """The canonical name of a well, or the text as it stands if it is no well name."""
    try:
        return canonical_well(text)
    except InputError:
        return text


def in_format(name: str, plate_format: int) -> bool:
    """Whether a plate of that many wells has the well `name`."""
    rows, columns = PLATE_FORMATS[plate_format]
    row, column = parse_well(name)
    return row < rows and column < columns


def has_well(plate_format: int, text: str) -> bool:
    """Whether the text names a well, and one that a plate of that many wells has."""
    try:
        return in_format(text, plate_format)
    except InputError:
        return False


def usual_format(names: Iterable[str]) -> int:
    """The smallest usual format that has all of these wells. What is no well, or one of no plate, does not make it large."""
    wells = {name for name in names if has_well(USUAL_FORMATS[-1], name)}
    return next(size for size in USUAL_FORMATS if all(in_format(well, size) for well in wells))


def wells_of(plate_format: int) -> Iterator[str]:
    """All well names of a plate, row by row."""
    rows, columns = PLATE_FORMATS[plate_format]
    return (well_name(row, column) for row in range(rows) for column in range(columns))


def parse_wells(text: str) -> list[str]:
    """Canonical names of the wells in "A1-H1, C12": names and rectangles, separated by commas; each once, in order.

    Raises InputError for anything else.
    """
    names: dict[str, None] = {}
    named = 0
    for part in text.split(","):
        first, dash, last = (side.strip() for side in part.partition("-"))
        (top, left), (bottom, right) = parse_well(first), parse_well(last if dash else first)
        named += (abs(bottom - top) + 1) * (abs(right - left) + 1)
        if named > MAX_NAMED:
            raise InputError(f"it names more than {MAX_NAMED:,} wells; a plate has 1536 at most")
        names |= {well_name(row, column): None for row in range(min(top, bottom), max(top, bottom) + 1)
                  for column in range(min(left, right), max(left, right) + 1)}
    return list(names)


def well_keys(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(plate, well) of each row."""
    return list(zip(table["plate"].tolist(), table["well"].tolist(), strict=True))


def site_medians(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """plate, well and the median over a well's rows of each of the columns, in the order in which wells come first."""
    kept = table[["plate", "well", *columns]]
    if not kept.duplicated(["plate", "well"]).any():    # of one site each: a row is its own median
        return kept.reset_index(drop=True)
    return kept.groupby(["plate", "well"], sort=False)[list(columns)].median().reset_index()


def add_row_column(table: pd.DataFrame) -> pd.DataFrame:
    """`table` with integer columns `row` and `column` (from 0) of its `well` names."""
    places = [parse_well(name) for name in table["well"]]
    return table.assign(row=[row for row, _ in places], column=[column for _, column in places])
