"""Tables as CSV that a spreadsheet program takes for what they are: a treatment called "=1+1" is a name, not a formula to run.

CSV has no way to say that a cell is text, so such cells get an apostrophe before them (OWASP, "CSV injection"). Reading takes it away
again, so that a table that went out and comes in is the same. Numbers, negative ones too, and single signs stay as they are; JSON and
Parquet need none of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from models.whole_file import write_whole

STARTS = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")   # the wide ones are formulas in some languages
MARK = "'"


def to_csv(table: pd.DataFrame) -> str:
    """The table as CSV text, without an index. Lists of words, such as flags, are joined by spaces; a line breaks in one way only."""
    texts = {name: column.map(_cell) for name, column in table.items() if not pd.api.types.is_numeric_dtype(column)}
    return str(table.assign(**{str(name): column for name, column in texts.items()}).rename(columns=_cell)
               .to_csv(index=False, lineterminator="\n"))


def write_csv(table: pd.DataFrame, path: Path) -> Path:
    """Write the table as `to_csv` gives it, in UTF-8, whole or not at all: half a table would pass for one with fewer rows. Returns the
    path.
    """
    return write_whole(path, to_csv(table))


def as_meant(cell: str) -> str:
    """A cell of a CSV without the apostrophe that `to_csv` put before it."""
    return cell[1:] if cell.startswith(MARK) and _runs(cell[1:]) else cell


def _cell(value: object) -> object:
    if isinstance(value, list | tuple | np.ndarray):
        value = " ".join(map(str, value))
    if not isinstance(value, str):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")     # a carriage return alone would end the row
    return MARK + value if _runs(value) else value


def _runs(text: str) -> bool:
    """Whether a spreadsheet may take a text, or what is behind its apostrophes, for a formula."""
    bare = text.lstrip(MARK)
    return bare.startswith(STARTS) and len(bare) > 1 and not _is_number(bare)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text
