"""Reading XLSX files as rows of text: merged cells filled, percentages as people read them; what would unpack to too much is refused."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from itertools import islice
from typing import Any

from models.errors import Finding, TableError
from models.plates.zips import PLAIN, declared_members, overlapping, read_member

MAX_BYTES = 100 * 2**20     # of the file, and of an XLSX when unpacked x 4
MAX_ROWS = 2_000_000        # 1,300 plates of 1536 wells
MAX_COLUMNS = 1_000
MAX_MEMBERS = 2_000         # of an XLSX, which is a zip
MOST_PLATE_COLUMNS = 48     # of the largest plate
MAX_GAP = 50_000            # empty rows between two that are not
MAX_SHEETS_BYTES, MAX_RATIO = 4 * 2**20, 50     # that a small XLSX may always become; unpacked to packed beyond. Usual is 5 to 15

_PERCENTAGE = re.compile(rb"numFmtId=['\"](?:9|10)['\"]|formatCode=['\"][^'\"]*%")     # 0% and 0.00% have numbers, others stand there
_MERGED = re.compile(rb'<mergeCell ref="([A-Z]+\d+:[A-Z]+\d+)"')

Rows = list[list[str]]


def refusal(rule: str, name: str, message: str) -> TableError:
    """The error of a file that is no table of use; `message` goes on after its name."""
    return TableError(f"{name} cannot be read as a table", [
        Finding(rule=rule, severity="error", value=name, message=f"{name} {message}")])


def read_workbook(data: bytes, name: str, *, first_only: bool = False, drawn: bool = False) -> tuple[list[tuple[str, Rows, int]], int]:
    """((title, rows, number of merged cells) of the sheets, how many there are). drawn: plates may be drawn in them, see `_fill_merged`."""
    import openpyxl  # a third of a second, and only XLSX needs it

    try:
        data = _unpacked(data, name)
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        if not book.worksheets:
            raise refusal("table_unreadable", name, "has no sheet with cells, only charts; save the table as a sheet, or as CSV")
        return [_sheet(sheet, data, name, drawn=drawn) for sheet in book.worksheets[:1 if first_only else None]], len(book.worksheets)
    except TableError:
        raise
    except Exception as error:  # openpyxl raises whatever broken XML makes of it: not readable
        raise refusal("table_unreadable", name, f"is not a readable XLSX ({error}); save it again") from None


def _unpacked(data: bytes, name: str) -> bytes:
    """The same XLSX with its XML stored as it is: openpyxl unpacks a part whole, however few bytes it says to have. Raises TableError for
    one that would unpack to more than a table can be.
    """
    honest = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist() if declared_members(io.BytesIO(data)) <= MAX_MEMBERS else []
        unpacked = sum(info.file_size for info in infos)
        if {info.compress_type for info in infos} - {*PLAIN}:
            raise ValueError("it is packed as no program packs a workbook")
        if not infos or unpacked > min(4 * MAX_BYTES, max(MAX_SHEETS_BYTES, MAX_RATIO * len(data))) or overlapping(infos):
            raise refusal("table_too_large", name, "unpacks to too many bytes; save the first sheet alone, or as CSV")
        with zipfile.ZipFile(honest, "w") as stored:
            for part in dict.fromkeys(archive.namelist()):
                if part.endswith((".xml", ".rels")):
                    stored.writestr(part, read_member(archive, part))
    return honest.getvalue()


def _rows_of(sheet: Any, name: str, *, percentages: bool) -> Iterator[list[str]]:
    """Rows of text, without the empty cells at their ends. Raises TableError for a sheet that is mostly nothing."""
    gap = 0
    for row in islice(_texts(sheet, percentages=percentages), MAX_ROWS):
        while row and not row[-1]:
            row.pop()
        gap = 0 if row else gap + 1
        if gap > MAX_GAP or len(row) > MAX_COLUMNS:
            raise refusal("table_too_large", name, f"has more than {MAX_GAP:,} empty rows, or rows of more than {MAX_COLUMNS:,} cells; "
                           "delete the empty rows and columns beside the table, or save it as CSV")
        yield row


def _texts(sheet: Any, *, percentages: bool) -> Iterator[list[str]]:
    """Rows of text. Where a cell's format is a percentage, which `percentages` says may be, the file has 0.05 for what all read as 5%."""
    if not percentages:     # cells with their formats take twice as long
        yield from ([_cell_text(cell) for cell in cells] for cells in sheet.iter_rows(values_only=True))
        return
    for cells in sheet.iter_rows():
        yield [f"{_cell_text(float(f'{100 * cell.value:.12g}'))}%" if "%" in str(cell.number_format) and isinstance(cell.value, int | float)
               else _cell_text(cell.value) for cell in cells]


def _sheet(sheet: Any, data: bytes, name: str, *, drawn: bool) -> tuple[str, Rows, int]:
    sheet.reset_dimensions()  # many programs write a wrong size into the file
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        xml = archive.read(str(vars(sheet)["_worksheet_path"]).lstrip("/"))     # openpyxl has no public name for it
        styles = archive.read("xl/styles.xml") if "xl/styles.xml" in archive.namelist() else b""
    rows = list(_rows_of(sheet, name, percentages=_PERCENTAGE.search(styles) is not None))
    merged = _merged_ranges(xml)
    copied = sum(max(0, min(bottom, len(rows)) - top) * (min(right - left, MOST_PLATE_COLUMNS) + 1 if drawn else 1)
                 for left, top, right, bottom in merged)
    if copied > MOST_PLATE_COLUMNS * len(rows):
        raise refusal("table_too_large", name, "has more merged cells than a plate has columns, one over the other; unmerge them, or save "
                       "the table as CSV")
    _fill_merged(rows, merged, drawn=drawn)
    return str(sheet.title), rows, len(merged)


def _cell_text(value: object) -> str:
    """3.0 -> "3": Excel knows no integers."""
    if value is None:
        return ""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return f"{value:.0f}" if whole else str(value).strip()


def _merged_ranges(xml: bytes) -> list[tuple[int, int, int, int]]:
    """(first column, first row, last column, last row), from 1. openpyxl drops them when it streams."""
    from openpyxl.utils import range_boundaries

    return [tuple(range_boundaries(match.decode())) for match in dict.fromkeys(_MERGED.findall(xml))]  # type: ignore[misc]  # four numbers each


def _fill_merged(rows: Rows, merged: list[tuple[int, int, int, int]], *, drawn: bool) -> None:
    """Copy each merged cell's value down its column. A cell merged across columns keeps its one place in a list, where it is a title; on a
    plate that is drawn it is the same treatment in several columns, and is copied into all of them.
    """
    for left, top, right, bottom in merged:
        if left > MAX_COLUMNS or top > len(rows) or left > len(rows[top - 1]):
            continue    # nothing stands in it
        value, last = rows[top - 1][left - 1], right if drawn and right - left < MOST_PLATE_COLUMNS else left
        for row in rows[top - 1:bottom]:
            row.extend([""] * (last - len(row)))
            row[left - 1:last] = [value] * (last - left + 1)
