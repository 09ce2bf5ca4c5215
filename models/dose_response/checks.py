"""The gate of this room's tables: are the columns there, and which of their numbers count?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.errors import Finding, TableError
from models.tables import left_out

MIXED_UNITS = "several dose units in one group"


def require_columns(table: pd.DataFrame, names: Sequence[str], *, what: str) -> None:
    """Raise TableError, one finding per missing column, its message starting with `what`."""
    found = ", ".join(map(str, table.columns))
    missing = [Finding(rule="column_missing", severity="error", column=name,
                       message=f"the table has no column '{name}'; columns found: {found}")
               for name in names if name not in table.columns]
    if missing:
        raise TableError(f"{what}: columns are missing: " + ", ".join(f.column for f in missing), missing)


def numbers_of(table: pd.DataFrame, column: str) -> npt.NDArray[np.float64]:
    """The numbers (rows,) of a column; NaN where there is none, or where a column `excluded` leaves the well out."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    return np.where(left_out(table).to_numpy(), np.nan, values)


def dose_units(table: pd.DataFrame, group: npt.NDArray[np.intp], count: int) -> tuple[list[str], npt.NDArray[np.bool_]]:
    """The unit of each group by the column `dose_unit` ("" without one), and which groups mix several."""
    units, mixed = [""] * count, np.zeros(count, dtype=bool)
    if "dose_unit" not in table.columns:
        return units, mixed
    names = table["dose_unit"].fillna("").astype(str).to_numpy(dtype=object)
    for row, unit in dict.fromkeys(zip(group.tolist(), names.tolist(), strict=True)):
        mixed[row] |= bool(unit and units[row])
        units[row] = units[row] or unit
    return units, mixed
