"""Layouts: what was pipetted into which well. Reading them from what labs keep, and writing them in one form.

`parse_layout` never raises for content: it returns a row for each row that came in, and says everything that it changed
(warnings) or could not understand (errors). Judging whether a well-formed layout makes sense is validation's task.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from models.errors import Finding, InputError, TableError
from models.plates.layout_cells import Cells, numbers
from models.plates.layout_doses import alone_at_dose_0, pool_doses, read_dose
from models.plates.spreadsheets import OTHER_SHEETS, read_table
from models.plates.vocabulary import UNCLEAR_ROLES, canonical_column, canonical_role, plain
from models.tables import DOSED_ROLES, LAYOUT, ROLES, check_table
from models.wells import PLATE_FORMATS, canonical_well, has_well, joined_wells, row_letters
from models.whole_file import whole_file

MOST_UNUSED = 10        # columns that are told one by one: a profile has thousands of features
_APART = re.compile(r"^([A-Za-z]{1,2})\s*[-_:]\s*(\d+)$")
MOST_REPLICATES = 1_000_000
UNNAMED = "plate1"      # a plate that nothing names
_BOOLS = {"true": True, "yes": True, "1": True, "x": True, "false": False, "no": False, "0": False, "": False}


@dataclass(frozen=True)
class ParsedLayout:
    """A layout in contract columns, and what was said while reading it; row for row the raw table, in its order.

    A cell that was not understood holds NaN or its own text and has an error finding of its plate, well and column; of thousands with the
    same fault the first ones, and how many more there are.
    """

    layout: pd.DataFrame
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make the layout unusable."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def only_plate(plates: Sequence[str]) -> str:
    """What a layout without plates is a layout of: the one plate that there is, else UNNAMED."""
    return plates[0] if len(plates) == 1 else UNNAMED


def parse_layout(raw: pd.DataFrame, *, plate_format: int, default_plate: str = UNNAMED,
                 dose_unit: str | None = None) -> ParsedLayout:
    """A raw table of text (one row per well) as a Layout: columns, well names, roles, numbers and units made canonical.

    raw: as `read_table` gives it. plate_format: 6 to 1536 wells. default_plate: name where no plate column stands.
    dose_unit: unit where the table names none; None reads such doses as nM and says so.
    Never raises for content; see ParsedLayout.
    """
    findings = [Finding(rule="table_repaired", severity="warning", message=note) for note in raw.attrs.get("notes", ())]
    renamed, header_units, said = _canonical_columns(raw)
    cells = Cells(renamed, pd.DataFrame(index=renamed.index), plate_format, header_units, [*findings, *said])
    _read_places(cells, default_plate)
    _read_roles(cells)
    zero = read_dose(cells, "", dose_unit)
    if any(cells.text("treatment_2") + cells.text("dose_2")):
        alone_at_dose_0(cells.out, zero, read_dose(cells, "_2", dose_unit))
    pool_doses(cells)
    _read_options(cells)
    _number_replicates(cells)
    extra = [name for name in renamed.columns if name not in LAYOUT.names() and name not in ("row", "column")]
    layout = cells.out[[name for name in LAYOUT.names() if name in cells.out.columns]].assign(
        **{name: renamed[name] for name in extra})
    return ParsedLayout(layout, tuple(cells.findings))


def read_layout(path: Path, *, plate_format: int) -> pd.DataFrame:
    """The Layout in a CSV or XLSX file. Raises TableError, with all findings, where anything is wrong with it."""
    parsed = parse_layout(read_table(path), plate_format=plate_format)
    if parsed.errors:
        raise TableError(f"{path.name} is no usable layout", parsed.errors)
    return check_table(parsed.layout, LAYOUT, keys=("plate", "well"))


def write_layout(layout: pd.DataFrame, path: Path) -> None:
    """Write a Layout as CSV, contract columns first; the same layout gives the same bytes, and no half file appears."""
    known = [name for name in LAYOUT.names() if name in layout.columns]
    ordered = layout[known + [name for name in layout.columns if name not in known]].copy()
    for name in ordered.select_dtypes("bool").columns:
        ordered[name] = ordered[name].map({True: "true", False: "false"})
    with whole_file(path) as making:
        ordered.to_csv(making, index=False, lineterminator="\n", encoding="utf-8")


def _canonical_columns(raw: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str], list[Finding]]:
    """The table under contract names, the units that headers named, and findings on its columns."""
    names: dict[str, str] = {}
    units: dict[str, str] = {}
    findings, unused = [], []
    for header in sorted(map(str, raw.columns), key=lambda header: header not in LAYOUT.names()):  # the contract's own names first
        name, unit = canonical_column(header)
        if name and name in names.values() and name in raw.attrs.get("named", ()):
            name = ""       # a person said which column it is
        if name and name in names.values():
            first = next(old for old, new in names.items() if new == name)
            findings.append(Finding(rule="column_repeated", severity="error", column=name, value=header,
                                    message=f"columns '{first}' and '{header}' both mean {name}; remove or rename one"))
            continue
        if name:
            names[header] = name
            units |= {name: unit} if unit else {}
        else:
            unused.append(header)
    told = unused[:MOST_UNUSED] if len(unused) > MOST_UNUSED + 1 else unused
    findings += [Finding(rule="column_unused", severity="warning", column=header,
                         message=f"column '{header}' is not used; it is kept as it is") for header in told]
    if rest := len(unused) - len(told):
        findings.append(Finding(rule="column_unused", severity="warning",
                                message=f"{rest} more columns are not used; they are kept as they are"))
    renamed = raw.rename(columns=names).reset_index(drop=True)
    renamed.attrs = {}
    return renamed, units, findings + _missing_columns(renamed, raw)


def _missing_columns(renamed: pd.DataFrame, raw: pd.DataFrame) -> list[Finding]:
    found = ", ".join(map(str, raw.columns))
    other_sheets = next((note for note in raw.attrs.get("notes", ()) if OTHER_SHEETS in note), "")
    hint = f"; {other_sheets}" if other_sheets else " (is the delimiter one of , ; | or tab?)" if len(raw.columns) == 1 else ""
    missing = [] if "well" in renamed.columns or {"row", "column"} <= set(renamed.columns) else ["well"]
    missing += [name for name in ("role", "treatment", "dose") if name not in renamed.columns]
    return [Finding(rule="column_missing", severity="error", column=name, message=(
        f"the layout has no column '{name}'; columns found: {found}{hint}. Add it, or rename the column that holds it"
        + ("; without it the wells of dose 0, and those whose treatment is called DMSO or vehicle, are the negative controls, and there "
           "are none here" if name == "role" and "treatment" in renamed else "")
        + ("; a plate reader's own file goes beside a layout (--readout, field readout)" if name == "treatment" and "readout" in renamed
           else "")))
            for name in missing]


def _read_places(cells: Cells, default_plate: str) -> None:
    """plate and well."""
    plates = cells.text("plate")
    if "plate" not in cells.raw.columns:
        cells.findings.append(Finding(
            rule="plate_default", severity="warning", column="plate", value=default_plate,
            message=f"the layout has no column 'plate'; all wells are taken as plate '{default_plate}'"))
    cells.out["plate"] = plates.where(plates != "", default_plate).astype("str")
    named = "well" in cells.raw.columns
    raw = cells.text("well") if named else joined_wells(cells.text("row"), cells.text("column"))
    cells.raw["well"] = raw
    names = [_place(text) for text in raw]
    cells.out["well"] = pd.Series([name or text for name, text in zip(names, raw, strict=True)], dtype="str")
    bad = pd.Series([not name for name in names], raw.index)
    rows, columns = PLATE_FORMATS[cells.plate_format]
    outside = pd.Series([bool(name) and not has_well(cells.plate_format, name) for name in names], raw.index)
    cells.each(plates.str.contains(r"[/\\\x00-\x1f]|^\.", regex=True), "plate", rule="plate_name", say=lambda text:
                f"plate name '{text}' cannot be a file name; use letters, digits, blanks, - and _")
    if any(raw):
        cells.each(bad, "well", rule="well_name", say=lambda text:
                    (f"'{text}' is not a well name; expected row letters and a column number, like A01 or AF48" if text else
                     "a row names no well; fill it in, or take rows of units, means and remarks out of the table"))
    cells.each(outside, "well", rule="well_format", say=lambda text:
                f"well {text} lies outside a {cells.plate_format}-well plate (rows A-{row_letters(rows - 1)}, "
                f"columns 1-{columns}); correct the well, or the plate's format (plate_format in screen.yaml)")
    cells.once((cells.out["well"] != raw) & ~bad & named, "well", rule="well_renamed", say=lambda count, text:
                f"{count} well name(s) were written another way, such as '{text}' for '{_place(text)}'; read as meant")


def _place(text: str) -> str:
    """The well that a cell names, also as some microscopes write it: "A - 1", "A-01", "A:1"."""
    try:
        return canonical_well(_APART.sub(r"\1\2", text))
    except InputError:
        return ""


def _read_roles(cells: Cells) -> None:
    """role and treatment."""
    cells.out["treatment"] = cells.text("treatment")
    raw = cells.text("role")
    roles = raw.map({text: canonical_role(text) for text in raw.unique()}).astype("str")
    idle = (raw == "") & (cells.text("treatment") == "") & (cells.text("dose") == "")
    untold = (raw == "") & _named_with_dose(cells, roles)
    roles = roles.mask(untold, "treated")
    cells.out["role"] = roles.where(~idle, "empty").astype("str")
    if "role" not in cells.raw.columns:
        return
    cells.once(untold, "role", rule="role_default", say=lambda count, _:
                f"{count} well(s) without role are taken as treated, because they have a treatment and a dose")
    cells.once(idle, "role", rule="role_default", say=lambda count, _:
                f"{count} well(s) without role, treatment and dose are taken as empty")
    cells.each((roles == "") & ~idle, "role", rule="role_unknown", say=lambda text:
                f"'{text}' is not a role; use one of {', '.join(ROLES)}" if plain(text) not in UNCLEAR_ROLES else
                f"'{text}' stands for wells without cells in one lab and for untreated cells in another; write empty or untreated")


def _named_with_dose(cells: Cells, roles: pd.Series) -> pd.Series:
    """Wells with a dose of a treatment that is no control's, in a table that names its negative controls: as platemaps of JUMP have them,
    whose column of controls is empty elsewhere.
    """
    treatment = cells.text("treatment")
    controls = set(treatment[~roles.isin(("", *DOSED_ROLES))]) | {""}
    dosed = cells.text("dose").str.contains("[1-9]")
    return ~treatment.isin(controls) & dosed if roles.eq("negative").any() else dosed & False


def _read_options(cells: Cells) -> None:
    """readout, excluded, exclusion_reason: only where the raw table has them."""
    if any(cells.text("readout")):
        cells.out["readout"], _ = numbers(cells, "readout")
    if "excluded" in cells.raw.columns:
        flags = cells.text("excluded").str.lower().map(_BOOLS)
        cells.each(flags.isna(), "excluded", rule="flag", say=lambda text: f"'{text}' is neither true nor false")
        cells.out["excluded"] = flags.eq(True)
    if "exclusion_reason" in cells.raw.columns:
        cells.out["exclusion_reason"] = cells.text("exclusion_reason")


def _number_replicates(cells: Cells) -> None:
    """replicate: as stated, else counted within plate, role, treatment and dose, on from the highest that is stated there."""
    given, _ = numbers(cells, "replicate")
    whole = (given >= 1) & (given <= MOST_REPLICATES) & (given % 1 == 0)
    cells.each(given.notna() & ~whole, "replicate", rule="replicate", say=lambda text:
                f"replicate must be a whole number from 1 to {MOST_REPLICATES:,}, got '{text}'")
    keys = ("plate", "role", "treatment", "dose", "treatment_2", "dose_2")
    same = [name for name in keys if name in cells.out.columns]
    usable = given.where(whole)
    unstated = usable.isna()
    if unstated.any():
        alike = cells.out.assign(highest=usable, order=unstated).groupby(same, dropna=False, sort=False)
        usable = usable.fillna(alike["highest"].transform("max").fillna(0) + alike["order"].cumsum())
    cells.out["replicate"] = usable.astype("int64")
