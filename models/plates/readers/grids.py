"""Plates drawn as plates: blocks of cells with column numbers above and row letters at the left, as people and plate readers write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from models.plates.workbooks import Rows
from models.wells import row_letters, well_name

_LETTERS = {row_letters(row): row for row in range(32)}
_CORNERS = ("", "<>", "row", "well", "wells", "\\")   # what stands in the corner without meaning (Tecan writes <>)
_PLATE = re.compile(r"\b(?:plate|platte|plaque)(?:\s*+(?:no\.?|nr\.?|number|id)?\s*+[:#]?\s*+|[_-])"    # *+: a row of blanks is tried once
                    r"(?!(?:layout|map|plan|format|design|type|reader)\b)([\w-]+)", re.IGNORECASE)
_MAP = re.compile(r"^(?:plate|platten?)[\s_-]*(?:layout|map|plan|belegung)\b[\s:;,–-]*(?=\S)", re.IGNORECASE)  # of what, stands behind it
_HOLLOW = re.compile(r"\(\s*\)|\[\s*\]")     # what is left of "(plate 1)"


@dataclass(frozen=True)
class Grid:
    """One block. title: the text in its corner or right above it; plate: as the title names it; sheet: of the workbook."""

    title: str
    plate: str
    sheet: str
    cells: dict[str, str]   # well -> text


def find_grids(sheets: list[tuple[str, Rows]]) -> list[Grid]:
    """The grids of all sheets, from top to bottom and from left to right.

    A grid is a row of at least two numbers that count up by one, under which at least one row begins with letters that
    count up from any row letter; inner wells only are as good as whole plates.
    """
    return [grid for sheet, rows in sheets for grid in _grids_of(sheet, rows)]


def _grids_of(sheet: str, rows: Rows) -> Iterator[Grid]:
    taken: set[tuple[int, int]] = set()     # cells inside a grid: data that look like a header are none
    for top, row in enumerate(rows[:-1]):
        for left in range(len(row) - 2):
            numbers = _column_numbers(row, left) if (top, left) not in taken else []
            letters = _letters_below(rows, top, left) if numbers else []
            if letters:
                cells = {well_name(_LETTERS[letter], number - 1): _cell(rows[top + 1 + down], left + 1 + right)
                         for down, letter in enumerate(letters) for right, number in enumerate(numbers)}
                taken |= {(top + 1 + down, left + right) for down in range(len(letters)) for right in range(len(numbers) + 1)}
                yield Grid(*_title(rows, top, left, len(numbers)), sheet, cells)


def _column_numbers(row: list[str], left: int) -> list[int]:
    """The numbers right of the corner, [] if they are no header (or if the header begins further left)."""
    if row[left].isdecimal():
        return []
    numbers: list[int] = []
    for text in row[left + 1:]:
        if not text.isdecimal() or len(text) > 4 or not 1 <= int(text) <= 48 or (numbers and int(text) != numbers[-1] + 1):
            break
        numbers.append(int(text))
    return numbers if len(numbers) > 1 else []


def _letters_below(rows: Rows, top: int, left: int) -> list[str]:
    letters: list[str] = []
    for row in rows[top + 1:]:
        text = _cell(row, left).upper()
        if text not in _LETTERS or (letters and _LETTERS[text] != _LETTERS[letters[-1]] + 1):
            break
        letters.append(text)
    return letters


def _title(rows: Rows, top: int, left: int, width: int) -> tuple[str, str]:
    """(title, plate): the corner's text, else the one text in the nearest filled row above, plate names taken out."""
    corner = _cell(rows[top], left)
    text = _MAP.sub("", corner if corner.lower() not in _CORNERS else _text_above(rows, top, left, width))
    match = _PLATE.search(text)
    if match is None:
        return text, ""
    return _HOLLOW.sub("", text[:match.start()] + text[match.end():]).strip(" \t:;,-–"), match[1]


def _text_above(rows: Rows, top: int, left: int, width: int) -> str:
    for row in reversed(rows[max(0, top - 2):top]):
        filled = {text for text in row[left:left + width + 1] if text}      # a title may be merged over the block
        if filled:
            return filled.pop() if len(filled) == 1 else ""
    return ""


def _cell(row: list[str], column: int) -> str:
    return row[column] if column < len(row) else ""
