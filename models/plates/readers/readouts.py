"""What plate readers export: a grid of numbers (TXT, CSV, XLSX; NA for none), several of them, a long table, or a zip of such files."""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from models.errors import Finding, TableError
from models.plates.layout_cells import MISSING, OVERFLOW
from models.plates.readers.base import Found
from models.plates.readers.grids import Grid, find_grids
from models.plates.readers.platemaps import TABLE_SUFFIXES
from models.plates.spreadsheets import sheets_of, table_of
from models.plates.vocabulary import contract_columns, plain
from models.plates.workbooks import Rows
from models.plates.zips import PLAIN, UNPACKING_ERRORS, read_member
from models.wells import PLATE_FORMATS, row_letters, well_or_text, well_texts

COLUMNS = ("name", "plate", "well", "value")
MAX_MEMBERS, MAX_UNPACKED = 1_000, 32 * 2**20     # files, and bytes of them all: thousands of plates
MAX_NAME = 255      # characters, as on disks
MAX_SMALL, MAX_RATIO = 8 * 2**20, 50     # bytes that a small archive may always become; unpacked to packed beyond
_NUMBERED = re.compile(r"^(?P<name>.*?)[\W_]+(?:plate|p)?0*(?P<plate>\d+)$", re.IGNORECASE)
FORMATS = sorted(((columns, rows) for rows, columns in PLATE_FORMATS.values()), reverse=True)   # (columns, rows), the widest first
_VALUE_WORDS = ("value", "values", "raw", "rawdata", "result", "intensity", "ctg", "cellviability")


def read_readouts(*paths: Path) -> pd.DataFrame:
    """Rows (name, plate, well, value), all text as in the file; plate "" where nothing names it.

    A file's name is split into the read-out's name and the plate's number: "CTG_2.txt" is plate 2 of CTG. Raises TableError for a
    file that holds neither a grid nor a long table, and for more than MAX_UNPACKED bytes.
    """
    if missing := next((path for path in paths if not path.is_file()), None):
        raise _refusal("readout_missing", missing.name, "is not there")
    if (size := sum(path.stat().st_size for path in paths)) > MAX_UNPACKED:
        raise _refusal("table_too_large", paths[0].name, f"{'and the others have' if len(paths) > 1 else 'has'} {size:,} bytes; at most "
                       f"{MAX_UNPACKED:,} are read")
    tables = [_read(data, name) for path in paths for name, data in _members(path)]
    return pd.concat(tables, ignore_index=True)


def attach_readout(found: Found, readouts: pd.DataFrame, inputs: tuple[Path, ...], *, name: str = "") -> Found:
    """What was found, with the column `readout` in its layout. name: which read-out, where there are several.

    Plates are matched by name or number; a single one fits a single one, and unnamed ones are taken in order. Raises TableError where
    plates do not fit, several read-outs are there and none was named, or a well has two values.
    """
    chosen = _one_readout(readouts, name)
    layout = found.raw_layout
    columns = contract_columns(layout)
    plates = layout[columns["plate"]] if "plate" in columns else pd.Series("", index=layout.index, dtype="str")
    same = _plates(list(dict.fromkeys(chosen["plate"])), list(dict.fromkeys(plates)))
    values = {(same[plate], well): value for plate, well, value in _one_value(chosen, inputs[0].name).itertuples(index=False)}
    wells = well_texts(layout, columns)
    places = list(zip(plates, wells.map(well_or_text), strict=True))
    filled = sum(place in values for place in places)
    if not filled:
        raise _refusal("readout_wells", inputs[0].name, "has no well of the layout")
    rest = layout.drop(columns=columns["readout"]) if "readout" in columns else layout
    joined = rest.assign(readout=[values.get(place, "") for place in places])
    joined.attrs = dict(layout.attrs)
    label = str(chosen["name"].iloc[0])
    said = (f"read-out {label or inputs[0].name}: {filled} of {len(layout)} wells, {len(same)} plate(s)",
            *(f"read-out of plate '{one}' belongs to the layout's plate '{other}'" for one, other in same.items() if one and one != other))
    return replace(found, raw_layout=joined, inputs=(*found.inputs, *inputs), said=(*found.said, *said))


def _one_readout(readouts: pd.DataFrame, name: str) -> pd.DataFrame:
    names = list(dict.fromkeys(readouts["name"]))
    if name and name not in names:
        raise _refusal("readout_name", name, f"is not among the read-outs; found: {', '.join(names)}")
    if not name and len(names) > 1:
        raise _refusal("readout_name", names[0], f"is one of {len(names)} read-outs ({', '.join(names)}); choose with --readout-name, or "
                       "name files that are plates of one <read-out>_<plate>.txt")
    return readouts[readouts["name"] == (name or names[0])]


def _one_value(readouts: pd.DataFrame, file: str) -> pd.DataFrame:
    """Rows (plate, well, value), one per well. Raises TableError for a well with two values, as of two times of one plate."""
    rows = readouts[["plate", "well", "value"]].drop_duplicates()
    again = rows.duplicated(["plate", "well"])
    if again.any():
        plate, well = rows.loc[again, ["plate", "well"]].iloc[0]
        found = ", ".join(rows.loc[(rows["plate"] == plate) & (rows["well"] == well), "value"])
        raise _refusal("readout_repeated", file, f"has several values for {int(again.sum())} wells, first {well} of plate '{plate}': "
                       f"{found}; keep one per well (one time, one wavelength), and name the plate of each")
    return rows


def _plates(here: list[str], stated: list[str]) -> dict[str, str]:
    """read-out's plate -> layout's plate."""
    if set(here) <= set(stated):
        return {name: name for name in here}
    if len(here) == 1 and len(stated) == 1:
        return {here[0]: stated[0]}
    by_number = {re.sub(r"^\D*0*", "", name): name for name in stated if re.fullmatch(r"\D*\d+", name)}
    if all(name.lstrip("0") in by_number for name in here) and len(by_number) == len(stated):
        return {name: by_number[name.lstrip("0")] for name in here}
    endings = {name: [one for one in stated if re.search(rf"[\W_]P?0*{re.escape(name)}$", one, re.IGNORECASE)] for name in here if name}
    if len(endings) == len(here) and all(len(found) == 1 for found in endings.values()):
        return {name: found[0] for name, found in endings.items()}
    raise _refusal("readout_plates", ", ".join(here) or "the read-out",
                   f"are the read-out's plates, the layout has {', '.join(stated)}; name the files <read-out>_<plate>.txt")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of a table, or of each table in a zip that is no workbook."""
    data = path.read_bytes()
    if path.suffix.lower() != ".zip":
        yield path.name, data
        return
    try:
        yield from _unpacked(data, path.name)
    except UNPACKING_ERRORS as error:
        raise _refusal("readout_unreadable", path.name, f"is not a readable zip archive ({error}); zip the files again") from None


def _unpacked(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """The tables in a zip, by name. Raises TableError, or one of UNPACKING_ERRORS."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir() and PurePosixPath(info.filename).suffix.lower() in TABLE_SUFFIXES
                 and not stat.S_ISLNK(info.external_attr >> 16) and "__MACOSX" not in info.filename]
        unpacked = sum(info.file_size for info in infos)
        if not 0 < len(infos) <= MAX_MEMBERS or any(info.compress_type not in PLAIN or len(info.filename) > MAX_NAME for info in infos) \
                or unpacked > min(MAX_UNPACKED, max(MAX_SMALL, MAX_RATIO * len(data))):
            raise _refusal("readout_archive", name, f"holds {len(infos)} tables; expected 1 to {MAX_MEMBERS} of at most "
                           f"{MAX_UNPACKED // 2**20} MB together, packed with deflate")
        for info in sorted(infos, key=lambda item: item.filename):
            yield PurePosixPath(info.filename).name, read_member(archive, info)


def _read(data: bytes, file: str) -> pd.DataFrame:
    stem = PurePosixPath(file).stem
    match = _NUMBERED.match(stem)
    name, plate = (match["name"], match["plate"]) if match else (stem, "")
    grids = [grid for grid in find_grids([(sheet, _lettered(rows, file)) for sheet, rows in sheets_of(data, file)]) if len(grid.cells) > 2]
    if not grids:
        return _long(data, file, name, plate)
    if len(grids) == 1:
        return _rows(grids[0], file, name, grids[0].plate or plate)
    labels = [grid.plate or (grid.sheet if len({one.sheet for one in grids}) == len(grids) else "") for grid in grids]
    plates = labels if all(labels) and len(set(labels)) == len(labels) else [str(number + 1) for number in range(len(grids))]
    return pd.concat([_rows(grid, file, stem, plate) for grid, plate in zip(grids, plates, strict=True)], ignore_index=True)


def _lettered(rows: Rows, file: str) -> Rows:
    """SoftMax Pro writes a plate without letters, its first row beside the temperature: with them it is a grid as any other.

    Only plates that were read once: the several reads of a kinetic are left to be refused, and so are several wavelengths side by side.
    """
    if not rows or not rows[0] or not rows[0][0].startswith("##BLOCKS="):
        return rows
    lettered = [list(row) for row in rows]
    for top, row in enumerate(rows[:-1]):
        numbers = next((count for count, _ in FORMATS if rows[top + 1][2:2 + count] == [str(number + 1) for number in range(count)]), 0)
        if numbers and row[0] == "Plate:" and "Endpoint" in row:
            if any(rows[top + 1][2 + numbers:]):
                raise _refusal("readout_repeated", file, "has several wavelengths of a plate side by side; export the one that counts, or "
                               "what SoftMax Pro reduced them to")
            for down in range(dict(FORMATS)[numbers]):
                if top + 2 + down < len(lettered) and len(lettered[top + 2 + down]) > 1:
                    lettered[top + 2 + down][1] = row_letters(down)
    return lettered


def _rows(grid: Grid, file: str, name: str, plate: str) -> pd.DataFrame:
    """The cells of a grid; a text that is no number is refused with its well."""
    wrong = [(well, text) for well, text in grid.cells.items() if text.lower() not in (*MISSING, *OVERFLOW) and not _numeric(text)]
    if wrong:
        raise TableError(f"{file} is no read-out", [Finding(
            rule="number", severity="error", plate=plate, well=well, column="readout", value=text,
            message=f"{file}: '{text}' is not a number; expected a number, or NA") for well, text in wrong[:20]])
    return pd.DataFrame([(name, plate, well, text) for well, text in grid.cells.items()], columns=list(COLUMNS))


def _numeric(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?%?", text) is not None


def _long(data: bytes, file: str, name: str, plate: str) -> pd.DataFrame:
    """A table with a row per well: well (or row and column), value, maybe plate."""
    table = table_of(data, file)
    columns = contract_columns(table)
    value = columns.get("readout") or next((str(column) for column in table.columns if plain(str(column)) in _VALUE_WORDS), None)
    if value is None or not ("well" in columns or {"row", "column"} <= set(columns)):
        raise _refusal("readout_form", file, "holds neither a plate grid (numbers above, letters at the left) nor a table with columns "
                       f"well and readout; columns found: {', '.join(map(str, table.columns))}")
    wells = well_texts(table, columns)
    plates = table[columns["plate"]] if "plate" in columns else pd.Series(plate, index=table.index, dtype="str")
    return pd.DataFrame({"name": name, "plate": plates, "well": wells.map(well_or_text), "value": table[value]})


def _refusal(rule: str, name: str, message: str) -> TableError:
    return TableError(f"read-out: {name} {message}", [
        Finding(rule=rule, severity="error", column="readout", value=name, message=f"{name} {message}")])
