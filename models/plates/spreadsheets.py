"""Reading CSV and XLSX files as tables of text, whatever a spreadsheet program made of them.

Nothing is interpreted here: every cell comes back as the text that stood there, "" where nothing stood. What was
guessed or repaired on the way (encoding, title rows, merged cells) is said in `table.attrs["notes"]`.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import pandas as pd

from models.errors import TableError
from models.plates.safe_csv import as_meant
from models.plates.vocabulary import canonical_column
from models.plates.workbooks import MAX_BYTES, MAX_COLUMNS, MAX_ROWS, Rows, read_workbook, refusal

MAX_CELL = 1_000            # characters
MAX_LINE = 1_000_000        # the same of a row of text
OTHER_SHEETS = "only the first of"      # in a note on a workbook that has several
DELIMITERS = (",", ";", "\t", "|")

_OLE = b"\xd0\xcf\x11\xe0"  # old .xls, and password-protected .xlsx


def read_table(path: Path, *, max_rows: int = MAX_ROWS) -> pd.DataFrame:
    """The first sheet of an XLSX, or a CSV of any usual delimiter and encoding, as text (dtype str, "" for nothing).

    The header is the first row with more than one filled cell, or a later one that names wells and other columns of a layout.
    `attrs["notes"]`: what was guessed or repaired.
    Raises TableError for a file that is missing, empty, without rows, longer than `max_rows`, or not a table.
    """
    return table_of(_file_bytes(path), path.name, max_rows=max_rows)


def table_of(data: bytes, name: str, *, max_rows: int = MAX_ROWS) -> pd.DataFrame:
    """`read_table` of a file's content, such as a member of an archive. `name` stands in messages."""
    rows, notes = _xlsx_rows(data, name, max_rows) if data[:4] == b"PK\x03\x04" else _csv_rows(data, name, max_rows)
    rows = [row for row in rows if any(row)]
    _require_sane(rows, name)
    if not rows:
        raise refusal("table_empty", name, "has no filled cell; save the table again")
    titles = _title_rows(rows)
    if titles:
        notes.append(f"{name}: skipped {titles} title row(s) above the header")
    header, body = rows[titles], rows[titles + 1:]
    _require_unlike(header, name)
    if not body:
        raise refusal("table_header_only", name, f"has a header ({', '.join(filter(None, header))}) but no rows; "
                       "add one row per well")
    table = _framed(header, body, name)
    table.attrs["notes"] = tuple(notes)
    return table


def read_sheets(path: Path) -> list[tuple[str, Rows]]:
    """(sheet name, rows of text) of every sheet of an XLSX, or ("", rows) of a text file; nothing skipped, nothing interpreted.

    Raises TableError for a file that is missing, empty or not a table.
    """
    return sheets_of(_file_bytes(path), path.name)


def sheets_of(data: bytes, name: str) -> list[tuple[str, Rows]]:
    """`read_sheets` of a file's content, such as a member of an archive. `name` stands in messages."""
    if data[:4] == b"PK\x03\x04":
        return [(title, rows) for title, rows, _ in read_workbook(data, name, drawn=True)[0]]
    return [("", _csv_rows(data, name)[0])]


def _file_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise refusal("table_missing", path.name,
                       f"is not there; expected a CSV or XLSX file in {path.parent.name or '.'}/")
    if path.stat().st_size > MAX_BYTES:
        raise refusal("table_too_large", path.name,
                       f"has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read")
    data = path.read_bytes()
    if not data.strip():
        raise refusal("table_empty", path.name, "is empty; save the table again")
    if data[:4] == _OLE:
        raise refusal("table_unreadable", path.name,
                       "is an old or password-protected Excel file; save it as .xlsx or .csv")
    return data


def _too_long(name: str, max_rows: int) -> TableError:
    return refusal("table_too_large", name, f"has more than {max_rows:,} rows; give the table of fewer plates")


def _csv_rows(data: bytes, name: str, max_rows: int = MAX_ROWS) -> tuple[Rows, list[str]]:
    text, encoding = _decoded(data, name)
    if not text.strip("".join(DELIMITERS) + '"\r\n '):
        return [], []
    if max(text.count("\n"), text.count("\r")) > max_rows:
        raise _too_long(name, max_rows)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")    # no other character ends a row
    if max(map(len, lines)) > MAX_LINE:
        raise refusal("table_unreadable", name, f"has a line of {max(map(len, lines)):,} characters; it is no table")
    delimiter = max(DELIMITERS, key=lambda mark: _fitness(lines[:200], mark))
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [[cell.strip() for cell in _narrow(row, name)] for row in reader]
    except csv.Error as error:
        raise refusal("table_unreadable", name,
                       f"cannot be read as CSV ({error}); save it again as CSV UTF-8") from None
    said = [f"{name}: read as {encoding}, not UTF-8"] if not encoding.startswith("utf-8") else []
    return rows, said


def _narrow(row: list[str], name: str) -> list[str]:
    """The row without empty cells beyond MAX_COLUMNS. Raises TableError for filled ones, before more such rows are kept."""
    if any(row[MAX_COLUMNS:]):
        raise refusal("table_too_large", name, f"has a row of more than {MAX_COLUMNS:,} columns; save those of wells, treatments and "
                      "read-outs alone")
    return row[:MAX_COLUMNS]


def _decoded(data: bytes, name: str) -> tuple[str, str]:
    """The text and its encoding: by byte order mark, by zero bytes, UTF-8 if valid, else Windows Latin-1."""
    zeros = (data[:2000:2].count(0), data[1:2000:2].count(0))
    candidates: tuple[str, ...]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        candidates = ("utf-16",)
    elif max(zeros) > len(data[:2000]) // 4:
        candidates = ("utf-16-le",) if zeros[1] > zeros[0] else ("utf-16-be",)
    elif b"\0" in data[:2000]:
        raise refusal("table_unreadable", name, "is not a text table; expected CSV or XLSX")
    else:
        candidates = ("utf-8-sig", "cp1252", "latin-1")
    for encoding in candidates:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise refusal("table_unreadable", name, f"is not valid {candidates[0]} text; save it again as CSV UTF-8")


def _fitness(lines: list[str], delimiter: str) -> tuple[bool, int, float]:
    """How well a delimiter explains the lines: have most the commonest width, how wide, what share."""
    try:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if any(row))
    except csv.Error:
        return False, 0, 0.0
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    share = count / max(1, sum(widths.values()))
    return width > 1 and share >= 0.8, width, share


def _xlsx_rows(data: bytes, name: str, max_rows: int) -> tuple[Rows, list[str]]:
    [(title, rows, merged)], sheets = read_workbook(data, name, first_only=True)
    if len(rows) > max_rows:
        raise _too_long(name, max_rows)
    said = [f"{name}: {merged} merged cell(s) were filled with their value in every row"] if merged else []
    return rows, said if sheets < 2 else [*said, f"{name}: {OTHER_SHEETS} {sheets} sheets, '{title}', is read; move the table there"]


def _require_sane(rows: Rows, name: str) -> None:
    """Raise TableError for a table with a cell longer than MAX_CELL."""
    for place, row in enumerate(rows):
        if row and len(longest := max(row, key=len)) > MAX_CELL:
            raise refusal("table_unreadable", name, f"row {place + 1} has a cell of {len(longest):,} characters ({longest[:20]!r}...); "
                           f"at most {MAX_CELL:,} are read")


def _title_rows(rows: Rows) -> int:
    """How many rows stand above the header, such as titles and the headings of groups of columns."""
    several = [place for place, row in enumerate(rows[:20]) if sum(map(bool, row)) > 1]
    known = ({canonical_column(cell)[0] for cell in rows[place]} - {""} for place in several)
    of_wells = (place for place, names in zip(several, known, strict=True) if "well" in names and len(names) > 1)
    return next(of_wells, several[0] if several else 0)


def _require_unlike(header: list[str], name: str) -> None:
    """Raise TableError for columns of one name."""
    repeated = [text for text, count in Counter(filter(None, header)).items() if count > 1]
    if repeated:
        raise refusal("column_repeated", name,
                       f"has the column {', '.join(map(repr, repeated))} more than once; rename or remove one")


def _framed(header: list[str], body: Rows, name: str) -> pd.DataFrame:
    """Rows padded to the header's width; filled cells beyond it are an error, wholly empty unnamed columns go."""
    width = len(header)
    if long := next((row for row in body if any(row[width:])), None):
        raise refusal("table_ragged", name, (
            f"has more cells ({len(long)}) in the row '{' | '.join(long)[:80]}' than in its header ({width}: {' | '.join(header)[:80]}). "
            "One row of names has to stand above the wells, with one for each column: where it has two, or one name over several columns, "
            "join them. In a CSV a text with the delimiter in it needs quotes, and a decimal comma ';' between the columns"))
    padded = [row[:width] + [""] * (width - len(row)) for row in body]
    columns = {header[place] or f"column_{place + 1}": [as_meant(row[place]) for row in padded]
               for place in range(width) if header[place] or any(row[place] for row in padded)}
    return pd.DataFrame({key: pd.Series(values, dtype="str") for key, values in columns.items()})
