"""How wells behave, before any model: by the read-out where there is one, else by simple properties of their images.

The functions here are numbers in, numbers out; `behaviour_rules` turns them into findings.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.plates.wells import PLATE_FORMATS, well_name

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
    filled = wells.loc[wells["role"] != "empty", "well"]
    tables = {"images": _image_signals(wells, images) if images is not None else pd.DataFrame(),
              "read-out": wells.set_index("well")[["readout"]].dropna() if "readout" in wells.columns else pd.DataFrame()}
    measured = {source: table for source, table in tables.items() if table.index.isin(filled).sum() >= max(1, MIN_SHARE * len(filled))}
    scaled = {source: _scaled(table, table[table.index.isin(filled)]) for source, table in measured.items()}
    return {source: table for source, table in scaled.items() if table.shape[1]}


def _image_signals(wells: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    images = images[images["well"].isin(wells["well"])]
    by_channel = {channel: _channel_signals(group) for channel, group in images.groupby("channel")}
    return pd.concat(by_channel, axis="columns").dropna() if by_channel else pd.DataFrame()


def _channel_signals(images: pd.DataFrame) -> pd.DataFrame:
    """Means over a well's images, each on a scale on which it varies evenly: logarithm of grey values, arsinh of skew, Fisher's z."""
    means = images.groupby("well")[[*GREY_FEATURES, "skew", "overlap"]].mean()
    scales = {**dict.fromkeys(GREY_FEATURES, np.log1p), "skew": np.arcsinh}
    signals = pd.DataFrame({name: scale(means[name]) for name, scale in scales.items()})
    return signals if means["overlap"].isna().any() else signals.assign(overlap=np.arctanh(means["overlap"].clip(-0.999, 0.999)))


def _scaled(table: pd.DataFrame, typical: pd.DataFrame) -> pd.DataFrame:
    """(x - median) / (1.4826 MAD) of typical wells, falling back on the standard deviation; what is constant in them goes."""
    centred = table - typical.median()
    spread = (centred.loc[typical.index].abs().median() * 1.4826)
    spread = spread.where(spread > 0, typical.std(ddof=0))
    return (centred / spread).loc[:, spread > 0].clip(-20, 20)


def effect(signals: pd.DataFrame, negative: list[str], positive: list[str]) -> pd.Series:
    """Projection on the way from negative (0) to positive (1) control medians; NaN without both kinds."""
    start, end = signals.loc[negative].median(), signals.loc[positive].median()
    way = end - start
    length = float((way**2).sum())
    return ((signals - start) @ way) / length if length > 0 else pd.Series(np.nan, index=signals.index)


def separation(signals: pd.DataFrame, negative: list[str], positive: list[str]) -> float:
    """Balanced share of control wells that stand nearer to their own kind's median when left out themselves; 0-1, NaN if < 3."""
    if min(len(negative), len(positive)) < 3:
        return float("nan")
    values = {kind: signals.loc[names].to_numpy() for kind, names in (("negative", negative), ("positive", positive))}
    shares = []
    for own, other in (("negative", "positive"), ("positive", "negative")):
        centre = np.median(values[other], axis=0)
        nearer = [np.linalg.norm(row - np.median(np.delete(values[own], place, axis=0), axis=0)) < np.linalg.norm(row - centre)
                  for place, row in enumerate(values[own])]
        shares.append(float(np.mean(nearer)))
    return float(np.mean(shares))


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
