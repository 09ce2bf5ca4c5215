"""What a column contract is made of (names, kinds, units and meanings), and how a table is checked against one. models/tables.py has the
contracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd

from models.errors import Finding, TableError

# texts as Python's: each call of pyarrow costs more than what it does with some hundred rows, so that a plate's tables and curves took a
# third longer; of 100,000 wells it is no quicker, nor smaller at the peak
pd.options.mode.string_storage = "python"

Kind = Literal["str", "float", "int", "bool", "list"]


@dataclass(frozen=True)
class Column:
    """One column: `kind` is its dtype, `unit` is "" for names and pure numbers."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    required: bool = True
    nullable: bool = True
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contract:
    """A table: what a row is, and its columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if the contract has none."""
        return next(column for column in self.columns if column.name == name)

    def names(self, *, required_only: bool = False) -> list[str]:
        """Column names in order, all or only the required ones."""
        return [column.name for column in self.columns if column.required or not required_only]


def key(name: str, meaning: str, kind: Kind = "str") -> Column:
    """A column that is there and never empty."""
    return Column(name, kind, meaning, nullable=False)


def number(name: str, meaning: str, unit: str = "", *, required: bool = True) -> Column:
    """A column of numbers, NaN where there is none."""
    return Column(name, "float", meaning, unit, required=required)


def option(name: str, kind: Kind, meaning: str, unit: str = "") -> Column:
    """A column that a table may lack."""
    return Column(name, kind, meaning, unit, required=False)


def check_table(table: pd.DataFrame, contract: Contract, *, keys: Sequence[str] = ()) -> pd.DataFrame:
    """A copy of `table` in contract order and dtypes, extra columns last; same rows in the same order.

    keys: columns whose combination must be unique, e.g. ("plate", "well").
    Raises TableError with one finding per column or row at fault: column missing, value missing where it must not be,
    value not allowed, value not of the kind, key repeated.
    """
    findings = [Finding(rule="column_missing", severity="error", column=name,
                        message=f"{contract.name} has no column '{name}'; columns found: {', '.join(map(str, table.columns))}")
                for name in contract.names(required_only=True) if name not in table.columns]
    columns: dict[str, pd.Series] = {}
    for column in contract.columns:
        if column.name in table.columns:
            columns[column.name], found = _checked_column(table, column)
            findings += found
    checked, extra = pd.DataFrame(columns, index=table.index), [name for name in table.columns if name not in columns]
    checked = pd.concat([checked, table[extra]], axis=1) if extra else checked
    if not findings and keys:
        findings += _repeated_keys(checked, contract, keys)
    if findings:
        raise TableError(f"{contract.name} breaks its contract in {len(findings)} place(s)", findings)
    return checked


def no_rows(contract: Contract) -> pd.DataFrame:
    """A table of the contract without rows."""
    return _no_rows(contract).copy()


@cache      # to make a table costs as much as to fit a curve, and most screens need several without rows
def _no_rows(contract: Contract) -> pd.DataFrame:
    return check_table(pd.DataFrame(columns=contract.names()), contract)


def _checked_column(table: pd.DataFrame, column: Column) -> tuple[pd.Series, list[Finding]]:
    values = table[column.name]
    converted, bad = _convert(values, column.kind)
    if not column.nullable and column.kind == "str":    # where it was missing it is empty by now
        bad = bad | (converted == "").to_numpy(dtype=bool)
    elif not column.nullable:
        bad = bad | converted.isna().to_numpy()
    if column.allowed:
        bad = bad | ~converted.isin(column.allowed).to_numpy()
    if not bad.any():
        return converted, []
    expected = f"one of {', '.join(filter(None, column.allowed))}" if column.allowed else f"a {column.kind}"
    plates, wells = (table[name][bad].astype(str) if name in table else [""] * int(bad.sum()) for name in ("plate", "well"))
    return converted, [Finding(
        rule="column_value", severity="error", column=column.name, value=str(value), plate=plate, well=well,
        message=f"'{column.name}' must be {expected}, got {value!r}") for value, plate, well in zip(
            values[bad], plates, wells, strict=True)]


def _convert(values: pd.Series, kind: Kind) -> tuple[pd.Series, np.ndarray]:
    """The values as the contract's dtype, and which of them could not be, (N,) bool. Most columns have it already."""
    fine = np.zeros(len(values), dtype=bool)
    if kind == "list":
        return values.astype(object), np.array([not isinstance(value, list | tuple) for value in values], dtype=bool)
    if kind == "str":
        return (values if values.dtype == "str" else values.astype("str").where(values.notna(), "").astype("str")).fillna(""), fine
    if kind == "bool":
        return (values.copy(), fine) if values.dtype == bool else _convert_words(values)
    if values.dtype.kind in "fiu":
        numbers, bad = values, fine
    else:
        numbers = pd.to_numeric(values, errors="coerce")
        bad = (numbers.isna() & values.notna() & (values.astype(str).str.strip() != "")).to_numpy(dtype=bool)
    if kind == "float" or numbers.dtype.kind in "iu":
        wanted = np.float64 if kind == "float" else np.int64
        return numbers if numbers.dtype == wanted else numbers.astype(wanted), bad
    bad = bad | (numbers.isna() | (numbers % 1 != 0)).to_numpy(dtype=bool)
    return numbers.where(~bad, 0).astype("int64"), bad


def _convert_words(values: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """Truth values as words or numbers."""
    known = values.map(lambda value: str(value).strip().lower()).map(
        {"true": True, "false": False, "1": True, "0": False, "nan": False, "none": False, "": False})
    return known.eq(True), known.isna().to_numpy()


def _repeated_keys(table: pd.DataFrame, contract: Contract, keys: Sequence[str]) -> list[Finding]:
    again = table.duplicated(list(keys), keep="first")
    return [] if not again.any() else [Finding(rule="key_repeated", severity="error", column=keys[-1], value=str(row[keys[-1]]),
                    plate=str(row.get("plate", "")), well=str(row.get("well", "")),
                    message=f"{contract.name} names {' '.join(str(row[key]) for key in keys)} more than once")
            for _, row in table[again].iterrows()]
