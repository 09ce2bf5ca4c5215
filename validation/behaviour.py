"""How wells behave, before any model: by the read-out where there is one, else by simple properties of their images.

The functions here are numbers in, numbers out; `behaviour_rules` turns them into findings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from models.separation import MAD_TO_SD
from models.wells import PLATE_FORMATS, well_name

GREY_FEATURES = ("mean", "sd", "texture")
MIN_SHARE = 0.8     # of a plate's wells with cells that must have a signal
TURNS = {           # how a layout can lie wrong on its plate -> (row, column) from (row, column, last row, last column)
    "rotated by 180 degrees": lambda row, column, rows, columns: (rows - row, columns - column),
    "mirrored left to right": lambda row, column, rows, columns: (row, columns - column),
    "mirrored top to bottom": lambda row, column, rows, columns: (rows - row, column),
    "shifted by one row downwards": lambda row, column, rows, columns: (row + 1, column),
    "shifted by one row upwards": lambda row, column, rows, columns: (row - 1, column),
    "shifted by one column to the right": lambda row, column, rows, columns: (row, column + 1),
    "shifted by one column to the left": lambda row, column, rows, columns: (row, column - 1),
}


def plate_signals(wells: pd.DataFrame, images: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Signals of one plate's wells by source, "images" and "read-out", of those that (nearly) all wells with cells have.

    wells: layout rows of one plate. images: the inventory's rows of that plate's readable images. A table's index is well, its
    columns are signals, scaled by median and MAD of the wells with cells. Empty wells are there too if they have signals.
    """
    filled = set(wells["well"][wells["role"] != "empty"].tolist())
    tables = {"images": _image_signals(wells, images) if images is not None else pd.DataFrame(),
              "read-out": wells.set_index("well")[["readout"]].dropna() if "readout" in wells.columns else pd.DataFrame()}
    typical = {source: np.array([well in filled for well in table.index.tolist()], dtype=bool) for source, table in tables.items()}
    scaled = {source: _scaled(table, typical[source]) for source, table in tables.items()
              if typical[source].sum() >= max(1, MIN_SHARE * len(filled))}
    return {source: table for source, table in scaled.items() if table.shape[1]}


@dataclass(frozen=True)
class MeasuredPlate:
    """One plate's wells with signals. source: of the signals."""

    name: str
    wells: pd.DataFrame
    signals: pd.DataFrame
    source: str

    def controls(self, wells: pd.DataFrame | None = None) -> tuple[list[str], list[str]]:
        """(negative, positive) control wells that have a signal, by the plate's own or another layout."""
        table = self.wells if wells is None else wells
        measured = set(self.signals.index.tolist())
        roles = [(str(well), role) for well, role in zip(table["well"].tolist(), table["role"].tolist(), strict=True) if well in measured]
        negative, positive = ([well for well, role in roles if role == kind] for kind in ("negative", "positive"))
        return negative, positive

    @cached_property
    def apart(self) -> float:
        """How clearly its controls are apart (`balanced_accuracy`)."""
        return balanced_accuracy(self.signals, *self.controls())


def _image_signals(wells: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    images = images[images["well"].isin(wells["well"])]
    by_channel = {channel: _channel_signals(group) for channel, group in images.groupby("channel")}
    return pd.concat(by_channel, axis="columns").dropna() if by_channel else pd.DataFrame()


def _channel_signals(images: pd.DataFrame) -> pd.DataFrame:
    """Means over a well's images, each on a scale on which it varies evenly: logarithm of grey values, arsinh of skew, Fisher's z."""
    means = images.groupby("well")[[*GREY_FEATURES, "skew", "overlap"]].mean()
    scales = {**dict.fromkeys(GREY_FEATURES, np.log1p), "skew": np.arcsinh}
    signals = pd.DataFrame({name: scale(means[name].to_numpy()) for name, scale in scales.items()}, index=means.index)
    return signals if means["overlap"].isna().any() else signals.assign(overlap=np.arctanh(means["overlap"].clip(-0.999, 0.999)))


def _scaled(table: pd.DataFrame, typical: np.ndarray) -> pd.DataFrame:
    """(x - median) / (1.4826 MAD) of typical rows, (N,) bool, falling back on the standard deviation; what is constant in them goes."""
    values = table.to_numpy(dtype=float)
    centred = values - np.median(values[typical], axis=0)
    spread = MAD_TO_SD * np.median(np.abs(centred[typical]), axis=0)
    spread = np.where(spread > 0, spread, values[typical].std(axis=0))
    kept = spread > 0
    return pd.DataFrame(np.clip(centred[:, kept] / spread[kept], -20, 20), index=table.index, columns=table.columns[kept])


def control_way(signals: pd.DataFrame, negative: list[str], positive: list[str]) -> np.ndarray:
    """(K,) from the median of the negative control wells to that of the positive ones."""
    return np.asarray(_median_of(signals, positive) - _median_of(signals, negative))


def _median_of(signals: pd.DataFrame, wells: list[str]) -> np.ndarray:
    """(K,); NaN of no well."""
    values = _of(signals, wells)
    return np.asarray(np.median(values, axis=0)) if len(values) else np.full(values.shape[1], np.nan)


def _of(signals: pd.DataFrame, wells: list[str]) -> np.ndarray:
    """(wells, K)"""
    return np.asarray(signals.to_numpy(dtype=float)[signals.index.get_indexer(pd.Index(wells))])


def effect(signals: pd.DataFrame, negative: list[str], positive: list[str]) -> pd.Series:
    """Projection on the way from negative (0) to positive (1) control medians; NaN without both kinds."""
    direction = control_way(signals, negative, positive)
    length = float((direction**2).sum())
    found = (signals.to_numpy(dtype=float) - _median_of(signals, negative)) @ direction / length if length > 0 else np.nan
    return pd.Series(found, index=signals.index, dtype=float)


def robust_ssmd(high: pd.Series, low: pd.Series) -> float:
    """Strictly standardised mean difference of two groups, by medians and MADs, which up to a third of strange wells hardly move; NaN if
    neither group varies.
    """
    square = sum(MAD_TO_SD**2 * float((group - group.median()).abs().median()) ** 2 for group in (high, low))
    return (high.median() - low.median()) / square**0.5 if square else float("nan")


def balanced_accuracy(signals: pd.DataFrame, negative: list[str], positive: list[str]) -> float:
    """Of telling the controls apart by the nearer median of a kind, itself left out: 0-1, 0.5 by chance; NaN if < 3 of a kind."""
    if min(len(negative), len(positive)) < 3:
        return float("nan")
    values = {"negative": _of(signals, negative), "positive": _of(signals, positive)}
    shares = []
    for own, other in (("negative", "positive"), ("positive", "negative")):
        others = np.median(_without_each(values[own]), axis=1)
        away, across = (np.linalg.norm(values[own] - centre, axis=1) for centre in (others, np.median(values[other], axis=0)))
        shares.append(float(np.mean(away < across)))
    return float(np.mean(shares))


def _without_each(values: np.ndarray) -> np.ndarray:
    """(n, n - 1, K): the rows of values (n, K) without the first, without the second, ..."""
    rows = np.arange(len(values))
    return np.asarray(values[np.array([rows[rows != row] for row in rows])])


def turned(wells: pd.DataFrame, turn: str, plate_format: int) -> pd.DataFrame:
    """The layout rows under the names of the wells where they would stand if the layout lay on the plate turned like this.

    Rows that fall off the plate go; `row` and `column` stay as they were.
    """
    names = pd.Series(turned_names(wells, turn, plate_format), index=wells.index, dtype="str")
    return wells.assign(well=names)[(names != "").to_numpy()]


def turned_names(wells: pd.DataFrame, turn: str, plate_format: int) -> list[str]:
    """For each layout row the name of the well where it would stand; "" off the plate."""
    rows, columns = (size - 1 for size in PLATE_FORMATS[plate_format])
    places = TURNS[turn](wells["row"].to_numpy(), wells["column"].to_numpy(), rows, columns)
    return [well_name(row, column) if 0 <= row <= rows and 0 <= column <= columns else ""
            for row, column in zip(*(place.tolist() for place in places), strict=True)]


def rank_correlation(first: pd.Series, second: pd.Series) -> float:
    """Spearman's rho; NaN if one of them is constant."""
    if first.nunique() < 2 or second.nunique() < 2:
        return float("nan")
    return float(np.corrcoef(first.rank(), second.rank())[0, 1])
