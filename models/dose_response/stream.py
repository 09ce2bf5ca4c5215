"""More curves than fit in memory: tables in, curves out, one piece at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import pandas as pd

from models.dose_response.checks import require_columns
from models.dose_response.fit import fit_curves
from models.dose_response.options import DEFAULT_OPTIONS, FitOptions


def stream_curves(tables: Iterable[pd.DataFrame], *, by: str | Sequence[str], dose: str = "dose", response: str,
                  scale: str = "percent_inhibition", options: FitOptions = DEFAULT_OPTIONS,
                  on_curves: Callable[[int], object] | None = None) -> Iterator[pd.DataFrame]:
    """Curves tables, one per piece, as fit_curves gives them; memory holds one piece at a time.

    tables: pieces of one long table (such as pd.read_csv(path, chunksize=500_000)) in which the wells of a group lie
    together; a group that straddles two pieces is fitted whole. on_curves: called with the number of curves just fitted
    (see progress_bar). Raises as fit_curves does.
    """
    keys = [by] if isinstance(by, str) else list(by)
    for wells in _whole_groups(tables, keys):
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


def progress_bar(total: int | None = None) -> Callable[[int], object]:
    """A callback for `on_curves` that draws a bar on the terminal (needs tqdm)."""
    from tqdm import tqdm

    return tqdm(total=total, unit="curve", unit_scale=True, disable=not sys.stderr.isatty()).update
