"""The gate of this room's tables: are the columns there?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from models.errors import Finding, TableError


def require_columns(table: pd.DataFrame, names: Sequence[str], *, what: str) -> None:
    """Raise TableError, one finding per missing column, its message starting with `what`."""
    found = ", ".join(map(str, table.columns))
    missing = [Finding(rule="column_missing", severity="error", column=name,
                       message=f"the table has no column '{name}'; columns found: {found}")
               for name in names if name not in table.columns]
    if missing:
        raise TableError(f"{what}: columns are missing: " + ", ".join(f.column for f in missing), missing)
