"""More curves than fit in memory: tables in, curves out, one piece at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.dose_response.checks import require_columns
from models.dose_response.fit import fit_curves
from models.dose_response.options import DEFAULT_OPTIONS, FitOptions
from models.errors import Finding, TableError


def stream_curves(tables: Iterable[pd.DataFrame], *, by: str | Sequence[str], dose: str = "dose", response: str,
                  scale: str = "percent_inhibition", options: FitOptions = DEFAULT_OPTIONS,
                  on_curves: Callable[[int], object] | None = None) -> Iterator[pd.DataFrame]:
    """Curves tables, one per piece, as fit_curves gives them; memory holds one piece at a time.

    tables: pieces of one long table (such as pd.read_csv(path, chunksize=500_000)) in which the wells of a group lie
    together; a group that straddles two pieces is fitted whole. on_curves: called with the number of curves just fitted
    (see progress_bar). Raises as fit_curves does, and TableError where wells of a group come after it was fitted.
    """
    keys, fitted = [by] if isinstance(by, str) else list(by), np.empty(0, dtype=np.uint64)
    for wells in _whole_groups(tables, keys):
        fitted = _with_new(fitted, wells[keys].drop_duplicates())
        curves = fit_curves(wells, by=keys, dose=dose, response=response, scale=scale, options=options)
        if on_curves is not None:
            on_curves(len(curves))
        yield curves


def _whole_groups(tables: Iterable[pd.DataFrame], keys: list[str]) -> Iterator[pd.DataFrame]:
    """The wells of all tables, cut where a group ends: the last group of a table waits for the next one."""
    held = pd.DataFrame()
    for table in tables:
        require_columns(table, keys, what="curves cannot be fitted")
        wells = pd.concat([held, table], ignore_index=True) if len(held) else table.reset_index(drop=True)
        group = wells.groupby(keys, sort=False, dropna=False).ngroup()
        last = group == group.iloc[-1] if len(group) else group.astype(bool)
        held, ready = wells[last], wells[~last]
        if len(ready):
            yield ready
    if len(held):
        yield held


def _with_new(fitted: npt.NDArray[np.uint64], groups: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """Hashes of the groups that were fitted, 8 bytes each, and of these. Raises TableError where one was."""
    marks = pd.util.hash_pandas_object(groups.apply(_as_key), index=False).to_numpy(dtype=np.uint64)
    again = groups[np.isin(marks, fitted)]
    if len(again):
        named = ", ".join(f"{column} '{value}'" for column, value in again.iloc[0].items())
        raise TableError("the wells of a curve do not lie together", [Finding(
            rule="rows_apart", severity="error", column=", ".join(map(str, groups.columns)), value=str(again.iloc[0, 0]),
            message=f"further wells of {named} come after that curve was fitted, so that it would be fitted twice, by a part of its wells "
                    f"each; sort the table by {', '.join(map(str, groups.columns))} first")])
    return np.concatenate([fitted, marks])


def _as_key(column: pd.Series) -> pd.Series:
    """The same for all pieces: numbers of one may be whole, and of the next not."""
    return column.astype("float64") if pd.api.types.is_numeric_dtype(column) else column.astype("str")


def progress_bar(total: int | None = None) -> Callable[[int], object]:
    """A callback for `on_curves` that draws a bar on the terminal (needs tqdm)."""
    from tqdm import tqdm

    return tqdm(total=total, unit="curve", unit_scale=True, disable=not sys.stderr.isatty()).update
