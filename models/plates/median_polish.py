"""What rows and columns of a plate share, taken away by medians (Tukey's median polish): a dry edge, a dispenser's blocked tip, a drift.

The B score of primary screens (Brideau et al. 2003, J Biomol Screen 8:634; Malo et al. 2006, Nature Biotechnology 24:167) is what is left
of a well, in 1.4826 MAD of what is left of all. Not counted there are as many of the smallest as rows and columns were fitted, which the
medians put near 0 (as in other robust fits; Holland and Welsch 1977, Commun Stat 6:813): with them 13 % of the wells of a 96-well plate on
which nothing acts had a score beyond 2, without them 5 %, as of a normal score.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.separation import MAD_TO_SD
from models.wells import parse_well

LEAST = 4           # wells in a row or column that tell its median from one of them
PLATE_WELLS = 20    # wells from which on a plate says what is usual on it
SWEEPS = 20         # at most; some plates swing to and fro by less than SETTLED
SETTLED = 1e-3      # of the MAD: no row or column is moved by more

Array = npt.NDArray[np.float64]


def b_scores(values: pd.Series, plates: pd.Series, wells: pd.Series) -> pd.Series:
    """The B score of each well, on the index of `values`. values: raw output, NaN for wells that take no part; plates, wells: their places.

    NaN too where it cannot be said: in rows and columns with fewer than LEAST wells, and on plates with fewer than PLATE_WELLS.
    """
    found = pd.Series(np.nan, values.index)
    for _, own in values.dropna().groupby(plates):
        row, column = np.array([parse_well(well) for well in wells.loc[own.index]]).T
        grid = np.full((row.max() + 1, column.max() + 1), np.nan)
        grid[row, column] = own
        found[own.index] = _scores(_filled(grid))[row, column]
    return found


def _filled(grid: Array) -> Array:
    """The grid with NaN in rows and columns that hold too few values; those that then do, too."""
    kept = grid.copy()
    while True:
        known = np.isfinite(kept)
        few = (known.sum(axis=1) < LEAST)[:, None] | (known.sum(axis=0) < LEAST)
        if not (known & few).any():
            return kept
        kept[few] = np.nan


def _scores(grid: Array) -> Array:
    """B scores of a grid (rows, columns) of values, NaN where none is known or nothing scatters."""
    if np.isfinite(grid).sum() < PLATE_WELLS:
        return np.full_like(grid, np.nan)
    left, known = _polished(grid), np.isfinite(grid)
    fitted = int(known.any(axis=0).sum() + known.any(axis=1).sum()) - 1
    spread = MAD_TO_SD * np.median(np.sort(np.abs(left[known]))[fitted:])
    return left / spread if spread > 0 else np.full_like(grid, np.nan)


def _polished(grid: Array) -> Array:
    """The grid without the medians of its rows and columns."""
    left = grid - np.nanmedian(grid)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)     # a row without a value has no median
        for _ in range(SWEEPS):
            rows = np.nanmedian(left, axis=1, keepdims=True)
            columns = np.nanmedian(left - rows, axis=0, keepdims=True)
            left = left - rows - columns
            if max(np.nanmax(np.abs(rows)), np.nanmax(np.abs(columns))) <= SETTLED * np.nanmedian(np.abs(left)):
                break
    return left
