"""Layouts of iTReX (XLSX, sheet Data: Plate, Row, Column, Sample, WellType, Treatment, Concentration, Replicate, AddOn, Readout)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from models.plates.layout import read_layout

UNUSED = ("Sample",)


def read_itrex_layout(path: Path, *, plate_format: int = 384) -> pd.DataFrame:
    """The Layout in an iTReX workbook: therapy -> treated, TRC and BzCl -> reference; concentrations are in nM.

    Raises TableError for a workbook that is not such a layout.
    """
    layout = read_layout(path, plate_format=plate_format)
    return layout.drop(columns=[name for name in UNUSED if name in layout.columns])
