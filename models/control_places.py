"""Do a plate's negative controls read the same wherever they lie? They should, so where they do not, other wells do not either: a drift
from one side to the other (dispensing, reading, seeding), or a border that dried or warmed.

Only as far as the controls reach: where all of them stand in one column, nothing is known of the others, which the rule `controls_spread`
of the layout says.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from models.dose_response.curves import Array
from models.errors import Finding
from models.plates.screen import Controls
from models.plates.wells import PLATE_FORMATS, parse_well, row_letters

RULE = "position_effect"
LEVEL = 0.001       # p up to which controls surely differ by their place; three looks at each plate
WORTH = 0.15        # of the assay's window, from which on that matters to an IC50
FEWEST, FEWEST_THERE = 6, 3     # negative controls that it takes, and at the border and inside


def place_findings(wells: pd.DataFrame, *, value: str, controls: Controls, plate_format: int) -> list[Finding]:
    """A warning for each plate whose negative controls surely read otherwise at one side, or at the border, than elsewhere.

    wells: WellScores, with `value`, the column of raw outputs. controls: what the screen declares; without positive ones the window reaches
    from the negative controls to 0.
    """
    read = wells[~wells["excluded"] & wells[value].notna() & wells["role"].isin(["negative", "positive"])]
    found = []
    for plate, own in read.groupby("plate", sort=False):
        negative = own[own["role"] == "negative"]
        if len(negative) < FEWEST:
            continue
        dead = own.loc[own["role"] == "positive", value] if controls == "both" else pd.Series([0.0])
        values = negative[value].to_numpy(dtype=float)
        window = abs(float(np.median(values)) - float(dead.median())) if len(dead) else 0.0
        if window > 0:
            found += [_finding(str(plate), words, by) for words, by in _differences(values / window, negative["well"], plate_format)]
    return found


def _differences(values: Array, wells: pd.Series, plate_format: int) -> Iterator[tuple[str, float]]:
    """(where to where, change in windows) of the axes along which, and of the border across which, the values (N,) surely differ."""
    row, column = np.array([parse_well(name) for name in wells], dtype=np.intp).T
    by, p = _line(column, values)
    if abs(by) >= WORTH and p < LEVEL:
        yield f"from column {column.min() + 1} to column {column.max() + 1}", by
    by, p = _line(row, values)
    if abs(by) >= WORTH and p < LEVEL:
        yield f"from row {row_letters(int(row.min()))} to row {row_letters(int(row.max()))}", by
    rows, columns = PLATE_FORMATS[plate_format]
    border = (row == 0) | (row == rows - 1) | (column == 0) | (column == columns - 1)
    if min(border.sum(), (~border).sum()) >= FEWEST_THERE:
        by = float(values[border].mean() - values[~border].mean())
        if abs(by) >= WORTH and stats.ttest_ind(values[border], values[~border], equal_var=False).pvalue < LEVEL:
            yield "from the inner wells to the border", by


def _line(at: npt.NDArray[np.intp], values: Array) -> tuple[float, float]:
    """(change over the range of `at`, p that there is none) by a straight line."""
    span = int(np.ptp(at))
    if not span:
        return 0.0, 1.0
    line = stats.linregress(at, values)
    return float(line.slope) * span, float(line.pvalue)


def _finding(plate: str, words: str, by: float) -> Finding:
    return Finding(rule=RULE, severity="warning", plate=plate, column="viability", value=f"{by:+.2f}", message=(
        f"the negative controls of plate {plate} {'rise' if by > 0 else 'fall'} by {100 * abs(by):.0f} % of the assay's window {words}: "
        "what a well reads depends on where it lies, so that effects are too small in one place and too large in another; look at seeding, "
        "dispensing and reading, and compare treatments that lie alike only"))
