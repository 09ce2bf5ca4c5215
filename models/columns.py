"""What a column contract is made of: names, kinds, units and meanings. models/tables.py has the contracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
