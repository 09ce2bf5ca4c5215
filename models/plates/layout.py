"""Layouts: what was pipetted into which well. Reading them from what labs keep, and writing them in one form.

`parse_layout` never raises for content: it returns a row for each row that came in, and says everything that it changed
(warnings) or could not understand (errors). Judging whether a well-formed layout makes sense is validation's task.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from models.errors import Finding, InputError, Severity, TableError
from models.plates.spreadsheets import OTHER_SHEETS, read_table
from models.plates.vocabulary import KNOWN_UNITS, MOLAR, canonical_column, canonical_role, canonical_unit
from models.plates.wells import PLATE_FORMATS, in_format, parse_well, row_letters, well_name
from models.tables import DOSED_ROLES, DOSELESS_ROLES, LAYOUT, ROLES, check_table

__all__ = ["ParsedLayout", "parse_layout", "read_layout", "read_table", "write_layout"]

MISSING = ("", "nan", "na", "n/a", "#n/a", "none", "null", "-", "--")
OVERFLOW = ("ovrflw", "overflow", "over", "sat", "saturated", "*****")  # what plate readers print above their range
_NUMBER = re.compile(r"^([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ%].*)?$")
_COMMA = re.compile(r"^[+-]?\d+,\d+(?:[eE][+-]?\d+)?$")
_THOUSANDS = re.compile(r"^[+-]?[1-9]\d{0,2}(,\d{3})+$")
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2})?$|^\d{1,2}[.\- ]+[A-Za-zä]{3,9}\.?([.\- ]\d{2,4})?$")
_BOOLS = {"true": True, "yes": True, "1": True, "x": True, "false": False, "no": False, "0": False, "": False}


@dataclass(frozen=True)
class ParsedLayout:
    """A layout in contract columns, and what was said while reading it; row for row the raw table, in its order.

    A cell that was not understood holds NaN or its own text and has an error finding of its plate, well and column.
    """

    layout: pd.DataFrame
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make the layout unusable."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


@dataclass
class _Parser:
    """The raw table under contract names, and the findings so far. Each step fills columns of `out`."""

    raw: pd.DataFrame
    out: pd.DataFrame
    plate_format: int
    header_units: dict[str, str]
    findings: list[Finding] = field(default_factory=list)
    texts: dict[str, pd.Series] = field(default_factory=dict)

    def text(self, name: str) -> pd.Series:
        """A raw column as stripped text, "" where it or its values are missing."""
        if name not in self.raw.columns:
            return self._nothing
        if name not in self.texts:
            known = zip(self.raw[name].tolist(), self.raw[name].notna().tolist(), strict=True)
            texts = [str(value).strip() if there else "" for value, there in known]
            self.texts[name] = pd.Series([text if text.lower() not in MISSING else "" for text in texts], self.raw.index, dtype="str")
        return self.texts[name]

    @cached_property
    def _nothing(self) -> pd.Series:
        """A column that the table lacks."""
        return pd.Series("", index=self.raw.index, dtype="str")

    def at(self, index: int, *, rule: str, column: str, value: object, message: str,
           severity: Severity = "error") -> None:
        """Note a finding about one cell."""
        place = {name: str(self.out.at[index, name]) for name in ("plate", "well") if name in self.out.columns}
        self.findings.append(Finding(rule=rule, severity=severity, column=column, value=str(value),
                                     message=message, **place))

    def each(self, wrong: pd.Series, column: str, *, rule: str, say: Callable[[str], str]) -> None:
        """Note an error for each marked row; `say` makes the message from the raw text."""
        if not wrong.any():
            return
        values = self.text(column)
        for index in self.raw.index[wrong.to_numpy(dtype=bool)]:
            self.at(index, rule=rule, column=column, value=values[index], message=say(values[index]))

    def once(self, changed: pd.Series, column: str, *, rule: str, say: Callable[[int, str], str]) -> None:
        """Note one warning for all marked rows; `say` makes the message from their number and the first raw text."""
        if changed.any():
            rows = self.raw.index[changed.to_numpy(dtype=bool)]
            value = self.text(column)[rows[0]]
            self.at(rows[0], rule=rule, column=column, value=value, severity="warning", message=say(len(rows), value))


def parse_layout(raw: pd.DataFrame, *, plate_format: int, default_plate: str = "plate1",
                 dose_unit: str | None = None) -> ParsedLayout:
    """A raw table of text (one row per well) as a Layout: columns, well names, roles, numbers and units made canonical.

    raw: as `read_table` gives it. plate_format: 6 to 1536 wells. default_plate: name where no plate column stands.
    dose_unit: unit where the table names none; None reads such doses as nM and says so.
    Never raises for content; see ParsedLayout.
    """
    findings = [Finding(rule="table_repaired", severity="warning", message=note) for note in raw.attrs.get("notes", ())]
    renamed, header_units, said = _canonical_columns(raw)
    parser = _Parser(renamed, pd.DataFrame(index=renamed.index), plate_format, header_units, [*findings, *said])
    _read_places(parser, default_plate)
    _read_roles(parser)
    zero = _read_dose(parser, "", dose_unit)
    if any(parser.text("treatment_2") + parser.text("dose_2")):
        _alone_at_dose_0(parser.out, zero, _read_dose(parser, "_2", dose_unit))
    _read_options(parser)
    _number_replicates(parser)
    extra = [name for name in renamed.columns if name not in LAYOUT.names() and name not in ("row", "column")]
    layout = parser.out[[name for name in LAYOUT.names() if name in parser.out.columns]].assign(
        **{name: renamed[name] for name in extra})
    return ParsedLayout(layout, tuple(parser.findings))


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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        ordered.to_csv(partial, index=False, lineterminator="\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _canonical_columns(raw: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str], list[Finding]]:
    """The table under contract names, the units that headers named, and findings on its columns."""
    names: dict[str, str] = {}
    units: dict[str, str] = {}
    findings = []
    for header in sorted(map(str, raw.columns), key=lambda header: header not in LAYOUT.names()):  # the contract's own names first
        name, unit = canonical_column(header)
        if name and name in names.values():
            first = next(old for old, new in names.items() if new == name)
            findings.append(Finding(rule="column_repeated", severity="error", column=name, value=header,
                                    message=f"columns '{first}' and '{header}' both mean {name}; remove or rename one"))
            continue
        if name:
            names[header] = name
            units |= {name: unit} if unit else {}
        else:
            findings.append(Finding(rule="column_unused", severity="warning", column=header,
                                    message=f"column '{header}' is not used; it is kept as it is"))
    renamed = raw.rename(columns=names).reset_index(drop=True)
    renamed.attrs = {}
    return renamed, units, findings + _missing_columns(renamed, raw)


def _missing_columns(renamed: pd.DataFrame, raw: pd.DataFrame) -> list[Finding]:
    found = ", ".join(map(str, raw.columns))
    other_sheets = next((note for note in raw.attrs.get("notes", ()) if OTHER_SHEETS in note), "")
    hint = f"; {other_sheets}" if other_sheets else "; is the delimiter one of , ; | or tab?" if len(raw.columns) == 1 else ""
    missing = [] if {"well"} <= set(renamed.columns) or {"row", "column"} <= set(renamed.columns) else ["well"]
    missing += [name for name in ("role", "treatment", "dose") if name not in renamed.columns]
    return [Finding(rule="column_missing", severity="error", column=name, message=(
        f"the layout has no column '{name}'; columns found: {found}{hint}. Add it, or rename the column that holds it"))
            for name in missing]


def _read_places(parser: _Parser, default_plate: str) -> None:
    """plate and well."""
    plates = parser.text("plate")
    if "plate" not in parser.raw.columns:
        parser.findings.append(Finding(
            rule="plate_default", severity="warning", column="plate", value=default_plate,
            message=f"the layout has no column 'plate'; all wells are taken as plate '{default_plate}'"))
    parser.out["plate"] = plates.where(plates != "", default_plate).astype("str")
    named = "well" in parser.raw.columns
    raw = parser.text("well") if named else parser.text("row") + parser.text("column")
    parser.raw["well"] = raw
    names = [_place(text) for text in raw]
    parser.out["well"] = pd.Series([name or text for name, text in zip(names, raw, strict=True)], dtype="str")
    bad = pd.Series([not name for name in names], raw.index)
    rows, columns = PLATE_FORMATS[parser.plate_format]
    outside = pd.Series([bool(name) and not in_format(name, parser.plate_format) for name in names], raw.index)
    parser.each(plates.str.contains(r"[/\\\x00-\x1f]|^\.", regex=True), "plate", rule="plate_name", say=lambda text:
                f"plate name '{text}' cannot be a file name; use letters, digits, blanks, - and _")
    if any(raw):
        parser.each(bad, "well", rule="well_name", say=lambda text:
                    f"'{text}' is not a well name; expected row letters and a column number, like A01 or AF48")
    parser.each(outside, "well", rule="well_format", say=lambda text:
                f"well {text} lies outside a {parser.plate_format}-well plate (rows A-{row_letters(rows - 1)}, "
                f"columns 1-{columns}); correct the well, or plate_format in screen.yaml")
    parser.once((parser.out["well"] != raw) & ~bad & named, "well", rule="well_renamed", say=lambda count, text:
                f"{count} well name(s) were written another way, such as '{text}' for '{_place(text)}'; read as meant")


def _place(text: str) -> str:
    try:
        return well_name(*parse_well(text))
    except InputError:
        return ""


def _read_roles(parser: _Parser) -> None:
    """role and treatment."""
    parser.out["treatment"] = parser.text("treatment")
    raw = parser.text("role")
    roles = raw.map({text: canonical_role(text) for text in raw.unique()}).astype("str")
    idle = (raw == "") & (parser.text("treatment") == "") & (parser.text("dose") == "")
    parser.out["role"] = roles.where(~idle, "empty").astype("str")
    if "role" not in parser.raw.columns:
        return
    parser.once(idle, "role", rule="role_default", say=lambda count, _:
                f"{count} well(s) without role, treatment and dose are taken as empty")
    parser.each((roles == "") & ~idle, "role", rule="role_unknown", say=lambda text:
                f"'{text}' is not a role; use one of {', '.join(ROLES)}")


def _read_dose(parser: _Parser, suffix: str, default_unit: str | None) -> pd.Series:
    """dose and dose_unit (or dose_2, dose_unit_2), molar doses in nM; returns which are stated as 0."""
    dose, unit = f"dose{suffix}", f"dose_unit{suffix}"
    if suffix:
        parser.out[f"treatment{suffix}"] = parser.text(f"treatment{suffix}")
    doses, cell_units = _numbers(parser, dose)
    stated = parser.text(unit).where(parser.text(unit) != "", cell_units).astype("str")
    if unit not in parser.raw.columns and not cell_units.any():
        known = parser.header_units.get(dose) or default_unit
        stated = pd.Series(known or "nM", index=doses.index, dtype="str")
        if not known and doses.gt(0).any():
            parser.findings.append(Finding(
                rule="unit_default", severity="warning", column=unit, value="nM",
                message=f"the layout names no {unit}; doses ({doses[doses > 0].min():g} to {doses.max():g}) are read as nM. Add a column "
                        f"{unit} if that is wrong"))
    units = stated.map({text: canonical_unit(text) for text in stated.unique()}).astype("str")
    parser.each((units == "") & (stated != ""), unit, rule="unit_unknown", say=lambda text:
                f"'{text}' is not a unit; use one of {', '.join(KNOWN_UNITS)}")
    parser.each((stated == "") & doses.gt(0) & ~parser.out["role"].isin(DOSELESS_ROLES), unit, rule="unit_missing", say=lambda _:
                f"the dose has no unit; fill in {unit} (one of {', '.join(KNOWN_UNITS)})")
    scaled = (doses * units.map(MOLAR).fillna(1.0).astype("float64")).map(lambda value: float(f"{value:.12g}"))
    parser.each(np.isinf(scaled), dose, rule="number", say=lambda value: _say_number(value, dose))
    scaled = scaled.mask(np.isinf(scaled), np.nan)
    zero = scaled.eq(0)
    doseless = parser.out["role"].isin(DOSELESS_ROLES) if not suffix else zero
    parser.once(doseless & scaled.gt(0), dose, rule="dose_of_control", say=lambda count, text:
                f"{count} negative, untreated or empty well(s) state a dose, such as {text}; it is not used as one")
    scaled = scaled.mask(doseless | (parser.out["role"].eq("positive") & scaled.eq(0)), np.nan)
    parser.out[dose] = scaled
    parser.out[unit] = units.mask(units.isin(tuple(MOLAR)), "nM").where(scaled.notna(), "").astype("str")
    return zero


def _alone_at_dose_0(wells: pd.DataFrame, zero: pd.Series, zero_2: pd.Series) -> None:
    """A matrix of two drugs with its edges: at dose 0 of one of them a well holds the other alone. zero, zero_2: doses stated as 0."""
    named = wells["role"].isin(DOSED_ROLES) & wells["treatment_2"].ne("")
    second = named & zero & wells["dose_2"].gt(0)
    for name in ("treatment", "dose", "dose_unit"):
        wells.loc[second, name] = wells.loc[second, f"{name}_2"]
    alone = second | (named & zero_2 & wells["dose"].gt(0))
    wells.loc[alone, ["treatment_2", "dose_unit_2"]] = ""
    wells.loc[alone, "dose_2"] = np.nan


def _numbers(parser: _Parser, column: str) -> tuple[pd.Series, pd.Series]:
    """The column as float64 and the units that stood in its cells; what is no number becomes NaN and an error."""
    text = parser.text(column)
    if any("," in value for value in text.tolist()):
        text = _with_points(parser, text, column)
    matches = [_NUMBER.match(value) for value in text.tolist()]
    matches = [match if match and _unit_fits(match[2], column) else None for match in matches]
    numbers = pd.Series([float(match[1]) if match else np.nan for match in matches], index=text.index, dtype="float64")
    units = pd.Series([(match[2] or "") if match else "" for match in matches], index=text.index, dtype="str")
    bad = (text != "") & (numbers.isna() | np.isinf(numbers))
    if column == "readout":
        over = text.str.lower().isin(OVERFLOW)
        parser.once(over, column, rule="readout_overflow", say=lambda count, value:
                    f"{count} read-out(s) are beyond the reader's range ('{value}'); taken as missing")
        bad &= ~over
    parser.each(bad, column, rule="number", say=lambda value: _say_number(value, column))
    return numbers.mask(bad, np.nan), units


def _unit_fits(unit: str | None, column: str) -> bool:
    """Whether a number with this unit behind it may stand in the column."""
    return not unit or (column.startswith("dose") and bool(canonical_unit(unit)))


def _with_points(parser: _Parser, text: pd.Series, column: str) -> pd.Series:
    """The column with decimal points for decimal commas, where it is plain that they are some."""
    commas = text.str.match(_COMMA)
    unclear = commas & text.str.match(_THOUSANDS)
    if not (commas & ~unclear).any() or text.str.contains(".", regex=False).any():
        return text
    parser.once(commas, column, rule="decimal_comma", say=lambda count, value:
                f"{count} value(s) of {column} have a decimal comma; {value} is read as {value.replace(',', '.')}")
    return text.where(~commas, text.str.replace(",", ".", regex=False)).astype("str")


def _say_number(value: str, column: str) -> str:
    way_out = ("write 1000 or 1.0, without a comma" if _THOUSANDS.match(value) else
               "a spreadsheet program made a date of it; format the column as text, and enter the values again" if _DATE.match(value) else
               "write it in digits with a decimal point, like 0.5")
    return f"'{value}' in column {column} is not a number; {way_out}"


def _read_options(parser: _Parser) -> None:
    """readout, excluded, exclusion_reason: only where the raw table has them."""
    if any(parser.text("readout")):
        parser.out["readout"], _ = _numbers(parser, "readout")
    if "excluded" in parser.raw.columns:
        flags = parser.text("excluded").str.lower().map(_BOOLS)
        parser.each(flags.isna(), "excluded", rule="flag", say=lambda text: f"'{text}' is neither true nor false")
        parser.out["excluded"] = flags.eq(True)
    if "exclusion_reason" in parser.raw.columns:
        parser.out["exclusion_reason"] = parser.text("exclusion_reason")


def _number_replicates(parser: _Parser) -> None:
    """replicate: as stated, else counted within plate, role, treatment and dose."""
    given, _ = _numbers(parser, "replicate")
    parser.each(given.notna() & ((given < 1) | (given % 1 != 0)), "replicate", rule="replicate", say=lambda text:
                f"replicate must be a whole number from 1, got '{text}'")
    keys = ("plate", "role", "treatment", "dose", "treatment_2", "dose_2")
    same = [name for name in keys if name in parser.out.columns]
    usable = given.where((given >= 1) & (given % 1 == 0))
    if usable.isna().any():
        usable = usable.fillna(parser.out.groupby(same, dropna=False, sort=False).cumcount() + 1)
    parser.out["replicate"] = usable.astype("int64")
