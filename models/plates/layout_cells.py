"""The cells of a raw layout: text and numbers as people and spreadsheet programs write them, and what is said of those that are wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from models.errors import Finding, Severity
from models.plates.vocabulary import canonical_unit

MOST_TOLD = 2_000   # findings of a rule on a column: every well of the largest plate, but not a million of a table that is no layout
MISSING = ("", "nan", "na", "n/a", "#n/a", "none", "null", "-", "--")
OVERFLOW = ("ovrflw", "overflow", "over", "sat", "saturated", "*****")  # what plate readers print above their range
_NUMBER = re.compile(r"^([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ%].*)?$")
_UNIT = re.compile(r"(?<=\d)\s*(?![eE][+-]?\d)[A-Za-zµμ%].*$")    # behind a number
_COMMA = re.compile(r"^[+-]?\d+,\d+(?:[eE][+-]?\d+)?$")
_THOUSANDS = re.compile(r"^[+-]?[1-9]\d{0,2}(,\d{3})+$")
_POINT_THOUSANDS = re.compile(r"^[1-9]\d{0,2}\.\d{3}$")     # 1.000, as German and Spanish spreadsheets write a thousand
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2})?$|^\d{1,2}[.\- ]+[A-Za-zä]{3,9}\.?([.\- ]\d{2,4})?$")


@dataclass
class Cells:
    """The raw table under contract names, and the findings so far. Each step of the parser fills columns of `out`."""

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
        """Note an error for each marked row, up to MOST_TOLD and how many more there are; `say` makes the message from the raw text."""
        if not wrong.any():
            return
        values, rows = self.text(column), self.raw.index[wrong.to_numpy(dtype=bool)]
        for index in rows[:MOST_TOLD]:
            self.at(index, rule=rule, column=column, value=values[index], message=say(values[index]))
        if len(rows) > MOST_TOLD:
            self.at(rows[MOST_TOLD], rule=rule, column=column, value=values[rows[MOST_TOLD]],
                    message=f"{len(rows) - MOST_TOLD} more cells of column {column} have the same fault")

    def once(self, changed: pd.Series, column: str, *, rule: str, say: Callable[[int, str], str]) -> None:
        """Note one warning for all marked rows; `say` makes the message from their number and the first raw text."""
        if changed.any():
            rows = self.raw.index[changed.to_numpy(dtype=bool)]
            value = self.text(column)[rows[0]]
            self.at(rows[0], rule=rule, column=column, value=value, severity="warning", message=say(len(rows), value))


def numbers(cells: Cells, column: str) -> tuple[pd.Series, pd.Series]:
    """The column as float64 and the units that stood in its cells; what is no number becomes NaN and an error."""
    text = cells.text(column)
    if any("," in value for value in text.tolist()):
        text = _with_points(cells, text, column)
    matches = [_NUMBER.match(value) for value in text.tolist()]
    if column.startswith("dose"):
        text = _without_points_of_thousands(cells, text, column)
    matches = [match if match and _unit_fits(match[2], column) else None for match in matches]
    shares = column == "readout"    # 50% of them is a half
    values = pd.Series([float(match[1]) / (100 if shares and match[2] == "%" else 1) if match else np.nan for match in matches],
                       index=text.index, dtype="float64")
    units = pd.Series([(match[2] or "") if match else "" for match in matches], index=text.index, dtype="str")
    bad = (text != "") & (values.isna() | np.isinf(values))
    if column == "readout":
        over = text.str.lower().isin(OVERFLOW)
        cells.once(over, column, rule="readout_overflow", say=lambda count, value:
                    f"{count} read-out(s) are beyond the reader's range ('{value}'); taken as missing")
        bad &= ~over
    cells.each(bad, column, rule="number", say=lambda value: say_number(value, column))
    return values.mask(bad, np.nan), units


def _unit_fits(unit: str | None, column: str) -> bool:
    """Whether a number with this unit behind it may stand in the column."""
    return not unit or (column.startswith("dose") and bool(canonical_unit(unit))) or (column == "readout" and unit == "%")


def _with_points(cells: Cells, text: pd.Series, column: str) -> pd.Series:
    """The column with decimal points for decimal commas, where it is plain that they are some."""
    bare = _without_units(text)
    commas = bare.str.match(_COMMA)
    unclear = commas & bare.str.match(_THOUSANDS)
    if not (commas & ~unclear).any() or text.str.contains(".", regex=False).any():
        return text
    cells.once(commas, column, rule="decimal_comma", say=lambda count, value:
                f"{count} value(s) of {column} have a decimal comma; {value} is read as {value.replace(',', '.')}")
    return text.where(~commas, text.str.replace(",", ".", n=1, regex=False)).astype("str")


def _without_units(text: pd.Series) -> pd.Series:
    return text.str.replace(_UNIT, "", regex=True)


def _without_points_of_thousands(cells: Cells, text: pd.Series, column: str) -> pd.Series:
    """The column without those of its numbers that are 1.000 or 1, two readings of which neither is taken: an error each.

    They are, where no number has another kind of point, and some have none though a program that writes 1 as 1.000 gives all of them one.
    Where all have such a point and end with 0, 1.000 is read as 1, and a warning says so.
    """
    bare = _without_units(text)
    pointed, whole = bare.str.contains(".", regex=False), bare.str.fullmatch(r"[1-9]\d*")
    unclear = bare.str.match(_POINT_THOUSANDS)
    if (pointed & ~unclear).any() or not (unclear & bare.str.endswith("0")).any():
        return text
    if not whole.any():
        if bare[unclear].str.endswith("0").all():
            cells.once(unclear, column, rule="decimal_point", say=lambda count, value: (
                f"{count} value(s) of {column} have three digits behind a point; {value} is read as {float(_UNIT.sub('', value)):g}. "
                f"If the point marks thousands, write {value.replace('.', '')}"))
        return text
    cells.each(unclear, column, rule="number", say=lambda value: (
        f"'{value}' in column {column} may be {_UNIT.sub('', value).replace('.', '')} or {float(_UNIT.sub('', value)):g}, because other "
        "numbers there have no point; write it without a point, or all with the same digits behind it"))
    return text.mask(unclear, "").astype("str")


def say_number(value: str, column: str) -> str:
    """Why a text is no number, as far as it tells, and what to write instead."""
    way_out = ("write 1000 or 1.0, without a comma" if _THOUSANDS.match(_UNIT.sub("", value)) else
               "a spreadsheet program made a date of it; format the column as text, and enter the values again" if _DATE.match(value) else
               "write it in digits with a decimal point, like 0.5")
    return f"'{value}' in column {column} is not a number; {way_out}"
