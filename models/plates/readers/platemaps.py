"""Layouts as labs keep them: a long table (a row per well), or plates drawn as grids, one block per quantity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from models.errors import Finding, InputError, TableError
from models.plates.layout_cells import MISSING
from models.plates.readers.base import Source
from models.plates.readers.grids import Grid, find_grids
from models.plates.spreadsheets import read_sheets, read_table
from models.plates.vocabulary import canonical_column, canonical_role, contract_columns, header_unit, plain
from models.tables import ROLES, TREATMENTS, check_table
from models.wells import parse_well

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx")
TREATMENTS_FILE = "treatments.csv"
MAX_GRID_ROWS, MAX_GRID_BYTES = 20_000, 4 * 2**20     # hundreds of plates; a longer table is searched for no grids
MAX_SENT_ROWS, MAX_SENT_BYTES = 100_000, 20 * 2**20     # of a stranger's layout: more wells than an upload can hold images of
_OF_GRIDS = ("column_repeated", "table_ragged")         # what a grid is refused for where a row per well is expected
_ROLES_BY_NAME = ("negative", "positive", "untreated", "empty")   # roles that the name of a treatment can tell
_SHEET_WORDS = ("sheet", "tabelle", "data", "feuil", "hoja")       # names that programs give to sheets, and persons to the only one
_LAYOUT_WORDS = ("layout", "platelayout", "platemap", "map", "platte", "plate", "plan", "plattenplan", "belegung")


@dataclass(frozen=True, kw_only=True)
class Platemap:
    """raw_layout: text, a row per well, ready for parse_layout. said: how it was read. facts: fields of screen.yaml in it."""

    raw_layout: pd.DataFrame
    said: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def read_platemap(path: Path, *, columns: Mapping[str, str] | None = None) -> Platemap:
    """The layout in a CSV, TXT or XLSX file of either form. columns: contract column -> its column (or grid title) in the file.

    Raises TableError for a file that is neither.
    """
    drawn = _drawn(path)
    if drawn is not None:
        return replace(drawn, raw_layout=with_contract_names(drawn.raw_layout, columns or {}, path.name))
    listed = _without_sample(with_contract_names(read_table(path), columns or {}, path.name))
    layout, said = _with_roles(listed.raw_layout, listed=True)
    return replace(listed, raw_layout=layout, said=(*listed.said, *said))


def read_layout_table(path: Path, *, columns: Mapping[str, str] | None = None, roles: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The layout in an uploaded file: a table of text with a row per well, ready for parse_layout; `attrs["notes"]` says how it was read.

    columns: contract column -> its column in the file. roles: role -> the treatment whose wells have it, whatever else the file says.
    A table that names wells is taken as it stands; grids are looked for in others only, and in none that is longer than people draw plates.
    Raises TableError for a file that is no table, or lacks such a column or treatment.
    """
    table, drawn = _listed_or_drawn(path)
    named = with_contract_names(table, columns or {}, path.name)
    layout, said = _with_roles(named, listed=not drawn, named=roles or {})
    layout.attrs = {**named.attrs, "notes": (*named.attrs.get("notes", ()), *said)}
    return layout


def _listed_or_drawn(path: Path) -> tuple[pd.DataFrame, bool]:
    """The file's rows of wells, and whether they were drawn as plates."""
    if (size := path.stat().st_size) > MAX_SENT_BYTES:
        raise TableError(f"{path.name} cannot be read as a layout", [Finding(
            rule="table_too_large", severity="error", value=path.name,
            message=f"{path.name} has {size:,} bytes; at most {MAX_SENT_BYTES:,} are read: give the table of fewer plates")])
    try:
        table = read_table(path, max_rows=MAX_SENT_ROWS)
    except TableError as error:
        drawn = _drawn(path) if error.findings[0].rule in _OF_GRIDS and path.stat().st_size <= MAX_GRID_BYTES else None
        if drawn is None:
            raise
    else:
        drawn = None if _names_wells(table) or len(table) > MAX_GRID_ROWS else _drawn(path)
        if drawn is None:
            return table, False
    drawn.raw_layout.attrs["notes"] = drawn.said
    return drawn.raw_layout, True


def find_platemap(folder: Path) -> Path:
    """The one table in the folder that is a layout. Raises InputError if there is none or more than one."""
    usable = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in TABLE_SUFFIXES and _is_layout(path)]
    if len(usable) == 1:
        return usable[0]
    problem = f"{len(usable)} tables look like layouts ({', '.join(path.name for path in usable)})" if usable else \
        "no table in it has wells with a role, treatment or dose" + "".join(f"; {why}" for why in _unreadable(folder))
    raise InputError(f"{folder.name}/ has no single layout", [Finding(
        rule="platemap", severity="error", value=folder.name,
        message=f"{folder.name}/: {problem}; name the layout with --platemap FILE (CSV or XLSX, docs/bring_your_plate.md)")])


def _unreadable(folder: Path) -> Iterator[str]:
    """Why tables of the folder could not be read."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in TABLE_SUFFIXES:
            try:
                read_platemap(path)
            except TableError as error:
                yield error.findings[0].message


def find_treatments(source: Source) -> Path | None:
    """treatments.csv in the source's folder, or beside its platemap."""
    folders = [source.folder, *([source.platemap.parent] if source.platemap is not None else [])]
    return next((path for folder in folders if (path := folder / TREATMENTS_FILE).is_file()), None)


def read_treatments(path: Path) -> pd.DataFrame:
    """The Treatments table of a file. Raises TableError."""
    table = read_table(path)
    for column in TREATMENTS.columns:
        if column.kind == "float" and column.name in table:
            try:
                table[column.name] = pd.to_numeric(table[column.name].replace("", None))
            except ValueError as error:
                raise TableError(f"{path.name} cannot be used", [Finding(
                    rule="number", severity="error", column=column.name, message=f"{path.name}: {column.name}: {error}")]) from None
    return check_table(table, TREATMENTS, keys=("treatment",))


def _is_layout(path: Path) -> bool:
    if path.name.lower() == TREATMENTS_FILE:
        return False
    try:
        return _names_wells(read_platemap(path).raw_layout)
    except InputError:
        return False


def _names_wells(table: pd.DataFrame) -> bool:
    """Whether the columns say which well a row is of, and anything of what is in it."""
    names = set(contract_columns(table))
    return ("well" in names or {"row", "column"} <= names) and bool({"role", "treatment", "dose"} & names)


def _drawn(path: Path) -> Platemap | None:
    """The plates that are drawn in the file, if any are."""
    grids = [grid for grid in find_grids(read_sheets(path)) if len(grid.cells) > 2]
    return _from_grids(grids, path) if grids else None


def _from_grids(grids: list[Grid], path: Path) -> Platemap:
    """One row per plate and well, one column per quantity; header texts stay, so that units in them are understood."""
    tables: dict[str, dict[str, dict[str, str]]] = {}  # plate -> quantity -> well -> text
    named = len({grid.sheet for grid in grids}) > 1
    alone = sum(not canonical_column(grid.title or grid.sheet)[0] for grid in grids) == 1
    for grid in grids:
        quantity, plate = _meaning(grid, alone=alone, named=named)
        if not plate:
            plate = next((name for name in _counted(grids) if quantity not in tables.get(name, {})), "")
        if quantity in tables.setdefault(plate, {}):
            raise TableError(f"{path.name} is no usable layout", [Finding(
                rule="grid_repeated", severity="error", plate=plate, column=quantity, value=path.name,
                message=f"{path.name} has the block '{quantity}' twice for plate {plate}; write 'Plate 2: {quantity}' above it")])
        tables[plate][quantity] = grid.cells
    frames = [_plate_rows(plate, quantities, only=len(tables) == 1) for plate, quantities in tables.items()]
    layout = pd.concat(frames, ignore_index=True).fillna("").astype("str")
    quantities = [str(name) for name in layout.columns if name not in ("plate", "well")]
    layout, said = _with_roles(layout)
    return Platemap(raw_layout=layout, said=(
        f"platemap {path.name}: {len(grids)} plate grid(s) of {', '.join(quantities)} on {len(tables)} plate(s)", *said))


def _counted(grids: list[Grid]) -> list[str]:
    return [str(number) for number in range(1, len(grids) + 1)]


def _meaning(grid: Grid, *, alone: bool, named: bool) -> tuple[str, str]:
    """(quantity, plate) of a block; a sheet's name is the quantity where no title is, and the plate where one is. alone: whether all others
    say what they are, so that this one has the treatments.
    """
    name = plain(grid.sheet)
    sheet = "" if name in _LAYOUT_WORDS or name.rstrip("0123456789") in _SHEET_WORDS else grid.sheet
    if canonical_column(grid.title)[0] or not canonical_column(sheet)[0]:
        numeric = not grid.title and all(text.lower() in MISSING or _is_number(text) for text in grid.cells.values())
        quantity = grid.title or ("readout" if numeric else "treatment" if alone else sheet or "block")
        return quantity, grid.plate or (sheet if named else "")
    return sheet, grid.plate


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _plate_rows(plate: str, quantities: dict[str, dict[str, str]], *, only: bool) -> pd.DataFrame:
    wells = sorted({well for cells in quantities.values() for well in cells}, key=parse_well)
    table = pd.DataFrame({"well": wells, **{name: [cells.get(well, "") for well in wells] for name, cells in quantities.items()}})
    if not (only and plate == "1"):
        table.insert(0, "plate", plate)
    return table


def _with_roles(layout: pd.DataFrame, *, listed: bool = False, named: Mapping[str, str] = MappingProxyType({})) -> tuple[
        pd.DataFrame, tuple[str, ...]]:
    """A layout without roles gets them from the names of its treatments: DMSO is a negative control, dose 0 of anything too, an empty cell
    an empty well. One with a dose is not empty but lacks its treatment, which the rules then ask for.

    listed: a row per well, not drawn: there dose 0 of nothing is a negative control too, and a table that has none is left as it is.
    named: role -> the treatment whose wells have it. Raises TableError for a role or treatment that there is not.
    """
    names = contract_columns(layout)
    if "treatment" not in names or ("role" in names and not named):
        return layout, ()
    texts = {name: layout[names[name]].mask(layout[names[name]].str.lower().isin(MISSING), "") if name in names else
             pd.Series("", index=layout.index, dtype="str") for name in ("treatment", "treatment_2", "dose", "dose_2", "role")}
    chosen = _named_roles(texts["treatment"], named)
    if "role" in names:
        return layout.assign(**{names["role"]: chosen.where(chosen != "", texts["role"])}), ()
    dosed = (texts["dose"] + " " + texts["dose_2"]).str.contains("[1-9]")
    roles = [_role_by_name(*row, listed=listed) for row in zip(texts["treatment"], texts["treatment_2"], texts["dose"], dosed, strict=True)]
    found = chosen.where(chosen != "", pd.Series(roles, index=layout.index, dtype="str"))
    if listed and not found.eq("negative").any():
        return layout, ()
    counts = ", ".join(f"{count} {role}" for role, count in found.value_counts().items())
    form = "column" if listed else "block"
    return layout.assign(role=found), (
        f"no {form} of roles: they are read from the treatments' names (DMSO and dose 0 negative, blank empty, else treated: {counts}); "
        f"add a {form} 'role' if that is wrong",)


def _role_by_name(treatment: str, second: str, dose: str, dosed: bool, *, listed: bool) -> str:
    role = canonical_role(treatment)
    if role in _ROLES_BY_NAME:
        return role
    if not dosed and "0" in dose and (treatment or listed):
        return "negative"
    return "treated" if treatment or second or dosed else "empty"


def _named_roles(treatments: pd.Series, named: Mapping[str, str]) -> pd.Series:
    """The role that a person gave each well's treatment, or ""."""
    chosen = pd.Series("", index=treatments.index, dtype="str")
    for role, treatment in named.items():
        wells = treatments.str.casefold() == treatment.casefold()
        problem = (f"'{role}' is not a role; use one of {', '.join(ROLES)}" if role not in ROLES else "" if wells.any() else
                   f"no well has the treatment '{treatment}'; treatments: {', '.join(sorted(set(treatments) - {''}))[:200]}")
        if problem:
            raise TableError("the roles of treatments cannot be used", [Finding(
                rule="role_unknown", severity="error", column="role", value=treatment, message=problem)])
        chosen = chosen.mask(wells, role)
    return chosen


def with_contract_names(table: pd.DataFrame, columns: Mapping[str, str], file: str) -> pd.DataFrame:
    """The table with the columns that a person named (contract column -> column of the file) under their contract names.

    Raises TableError for a column that the table lacks.
    """
    missing = [(name, column) for name, column in columns.items() if column not in table.columns]
    if missing:
        name, column = missing[0]
        raise TableError(f"{file} has no column '{column}'", [Finding(
            rule="column_missing", severity="error", column=column,
            message=f"'{column}' was named as the column of {name} (--columns, in a request options.columns), but {file} has: "
                    f"{', '.join(map(str, table.columns))}")])
    taken = [name for name in columns if name in table.columns and name not in columns.values()]
    rest = [name for name in table.columns if name not in (*taken, *columns.values())]     # first is what counts where two mean the same
    renamed = table[[*columns.values(), *rest]].rename(columns={column: _with_unit(name, column) for name, column in columns.items()})
    renamed.attrs = {**table.attrs, "named": tuple(columns)}
    return renamed


def _with_unit(name: str, header: str) -> str:
    """The contract's name, with the unit that the file's own header gives a dose."""
    unit = header_unit(header) if name in ("dose", "dose_2") else ""
    return f"{name} [{unit}]" if unit else name


def _without_sample(table: pd.DataFrame) -> Platemap:
    """The column Sample of iTReX names the screen's sample, if it names one; an empty one says nothing."""
    column = next((name for name in table.columns if plain(str(name)) == "sample"), None)
    samples = set(table[column]) - set(MISSING) if column is not None else set()
    if column is None or len(samples) > 1 or canonical_column(str(column))[0]:
        return Platemap(raw_layout=table)
    rest = table.drop(columns=column)
    rest.attrs = dict(table.attrs)
    return Platemap(raw_layout=rest, facts={"sample": samples.pop()} if samples else {})
