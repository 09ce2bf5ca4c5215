"""Do a plate's wells read the same wherever they lie? A drift from one side to the other (dispensing, reading, seeding, another cell line
in half of the wells), or a border that dried or warmed, shows in the negative controls as far as they reach, and in living treated wells
beside the curves of their treatments, as far as the replicates and doses of these lie apart. So does a row, a column or a quarter that
reads otherwise than the rest, on one plate (a clogged tip) or on all alike (a dispenser, a washer, a reader).

Where all controls stand in one column, and each treatment in one place, nothing is known: the rule `controls_spread` of the layout says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from models.dose_response.curves import Array, well_values
from models.dose_response.doubts import MISFIT_WORDS
from models.errors import Finding
from models.plates.screen import Controls
from models.tables import DOSED_ROLES, combined
from models.wells import PLATE_FORMATS, parse_well, row_letters

RULE = "position_effect"
LEVEL = 0.001       # p up to which wells surely differ by their place; three looks at each plate by controls, three by treated wells
WORTH, WORTH_BESIDE = 0.15, 0.1     # of the assay's window, from which on that matters to an IC50; beside curves, which follow some of it
SEVERE = 0.25       # of the window, between negative controls alone, from which on no curve of the plate is a sure one
FEWEST, FEWEST_THERE = 6, 3     # negative controls that it takes, and at the border and inside
FEWEST_TREATED = 24
FEWEST_IN_LINE = 4  # treatments with living wells in a row or column: one or two with odd curves are no row
MOST_PLATES = 0.75  # of those with wells in a line that must agree, for that to be the same everywhere
QUARTERS = 384      # wells of a plate from which on four plates of a quarter its size are stamped into it


def place_findings(wells: pd.DataFrame, curves: pd.DataFrame, *, value: str, controls: Controls, plate_format: int) -> list[Finding]:
    """A warning for each plate whose wells surely read otherwise at one side, or at the border, than elsewhere.

    wells: WellScores, with `value`, the column of raw outputs. curves: of their treatments. controls: what the screen declares; without
    positive ones the window reaches from the negative controls to 0.
    """
    wells = wells[~wells["excluded"] & wells[value].notna()]
    beside = _beside_curves(wells, curves)
    by_plate = dict(iter(beside.groupby("plate", sort=False)))
    found = []
    for plate, own in wells.groupby("plate", sort=False):
        told: set[str] = set()
        treated = by_plate.get(plate, beside[:0])
        for who, column, values, names, worth in (
                (f"negative controls of plate {plate}", value, *_living_controls(own, value=value, controls=controls), WORTH),
                (f"living treated wells of plate {plate}, beside their treatments' curves,", "viability", treated["off"].to_numpy(),
                 treated["well"], WORTH_BESIDE)):
            for axis, words, by in _differences(values, names, plate_format, worth=worth):
                if axis not in told:
                    found.append(_finding(str(plate), who, words, by, column=column))
                told.add(axis)
    return [*found, *_line_findings(beside[~beside["plate"].isin([one.plate for one in found])], plate_format)]


def place_words(findings: Iterable[Finding]) -> dict[str, str]:
    """plate -> why its curves are in doubt, of plates whose negative controls differ by SEVERE from place to place."""
    return {one.plate: f"what a well of plate {one.plate} reads depends on where it lies, by {100 * abs(float(one.value)):.0f} % of the "
                       "assay's window: an IC50 comes out too low in one place, too high in another"
            for one in findings if one.column != "viability" and abs(float(one.value)) >= SEVERE}


def _living_controls(own: pd.DataFrame, *, value: str, controls: Controls) -> tuple[Array, pd.Series]:
    """(raw outputs in windows of the assay, well names) of a plate's negative controls, none where they are few."""
    negative = own[own["role"] == "negative"]
    dead = own.loc[own["role"] == "positive", value] if controls == "both" else pd.Series([0.0])
    window = abs(float(negative[value].median()) - float(dead.median())) if len(negative) >= FEWEST and len(dead) else 0.0
    kept = negative if window > 0 else negative[:0]
    return kept[value].to_numpy(dtype=float) / (window or 1.0), kept["well"]


def _beside_curves(wells: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """plate, well and `off`, viability above their curve, of wells of one treatment that live by it; of plates with enough of them."""
    own = wells[wells["role"].isin(DOSED_ROLES) & wells["viability"].notna() & (wells["dose"] > 0) & ~combined(wells)]
    if len(curves):     # a series laid out the wrong way round tells of itself, not of its place
        through = curves["slope"].notna() & ~curves["reason"].str.contains(MISFIT_WORDS, regex=False)
        curves = curves[through & curves["scale"].eq("percent_inhibition")]
    fitted = curves.reset_index(drop=True)
    if not len(fitted):
        return own[:0].assign(off=0.0)
    own = own[own["treatment"].isin(fitted["treatment"])]
    row = own["treatment"].map(dict(zip(fitted["treatment"], range(len(fitted)), strict=True))).to_numpy(dtype=np.intp)
    expected = 1 - well_values(fitted, row, own["dose"].to_numpy(dtype=float)) / 100
    living = own.assign(off=own["viability"] - expected)[expected > 0.5]
    return living[living.groupby("plate")["well"].transform("size") >= FEWEST_TREATED]


def _differences(values: Array, wells: pd.Series, plate_format: int, *, worth: float) -> Iterator[tuple[str, str, float]]:
    """(axis, where to where, change in windows) of the axes along which, and of the border across which, the values (N,) surely differ."""
    if not len(values):
        return
    row, column = np.array([parse_well(name) for name in wells], dtype=np.intp).T
    by, p = _line(column, values)
    if abs(by) >= worth and p < LEVEL:
        yield "column", f"from column {column.min() + 1} to column {column.max() + 1}", by
    by, p = _line(row, values)
    if abs(by) >= worth and p < LEVEL:
        yield "row", f"from row {row_letters(int(row.min()))} to row {row_letters(int(row.max()))}", by
    rows, columns = PLATE_FORMATS[plate_format]
    border = (row == 0) | (row == rows - 1) | (column == 0) | (column == columns - 1)
    if min(border.sum(), (~border).sum()) >= FEWEST_THERE:
        by = float(values[border].mean() - values[~border].mean())
        if abs(by) >= worth and stats.ttest_ind(values[border], values[~border], equal_var=False).pvalue < LEVEL:
            yield "border", "from the inner wells to the border", by


def _line(at: npt.NDArray[np.intp], values: Array) -> tuple[float, float]:
    """(change over the range of `at`, p that there is none) by a straight line."""
    span = int(np.ptp(at))
    if not span:
        return 0.0, 1.0
    line = stats.linregress(at, values)
    return float(line.slope) * span, float(line.pvalue)


def _line_findings(beside: pd.DataFrame, plate_format: int) -> list[Finding]:
    """A warning for each line that surely reads otherwise, on all plates alike, or where there is none, on one of them."""
    plates = [(str(plate), own) for plate, own in beside.groupby("plate", sort=False)]
    together = [("", beside)] if len(plates) > 1 else []
    found: list[Finding] = []
    for plate, own in (*together, *plates):
        if plate and found and not found[0].plate:
            break
        for line, by, count in _odd_lines(own, plate_format, looks=len(plates) + len(together)):
            where = f"plate {plate}" if plate else f"all {len(plates)} plates alike"
            found.append(Finding(rule=RULE, severity="warning", plate=plate, column="viability", value=f"{by:+.2f}", message=(
                f"the living treated wells in {line} of {where} lie {100 * abs(by):.0f} % of the assay's window "
                f"{'above' if by > 0 else 'below'} the curves of their {count} treatments: look at tips, dispenser, washer and reader "
                "there, or, where one dose stands in the line, at how that was made; leave the wells out if they went wrong")))
    return found


def _odd_lines(beside: pd.DataFrame, plate_format: int, *, looks: int) -> Iterator[tuple[str, float, int]]:
    """(line, how far its wells lie off their curves, treatments in it) of the lines of which they surely do.

    Each treatment counts once in a line: its wells have the errors of one curve in common. looks: at so many plates p is allowed for.
    """
    row, column = np.array([parse_well(name) for name in beside["well"]], dtype=np.intp).reshape(-1, 2).T
    places = [[f"row {row_letters(at)}" for at in row.tolist()], [f"column {at + 1}" for at in column.tolist()]]
    if plate_format >= QUARTERS:
        places.append([f"every second row and column from {row_letters(y)}{x + 1:02d} on"
                       for y, x in zip((row % 2).tolist(), (column % 2).tolist(), strict=True)])
    looks *= sum(len(set(place)) for place in places)
    for place in (pd.Series(names, beside.index) for names in places):      # a Series: pandas writes an array out in words, to group by it
        means = beside.groupby([place, beside["treatment"]])["off"].mean()
        for line, off in means.groupby(level=0, sort=False):
            by, spread = float(off.mean()), float(means.std()) / np.sqrt(len(off))
            if (len(off) >= FEWEST_IN_LINE and abs(by) >= WORTH_BESIDE and 2 * looks * stats.t.sf(abs(by) / spread, len(means) - 1) < LEVEL
                    and _is_everywhere(beside[place == line], by)):
                yield str(line), by, len(off)


def _is_everywhere(line: pd.DataFrame, by: float) -> bool:
    """Whether the wells of a line lie off to the side of `by`, and half as far at least, on most of its plates."""
    return bool((line.groupby("plate")["off"].mean() * np.sign(by) >= abs(by) / 2).mean() >= MOST_PLATES)


def _finding(plate: str, who: str, words: str, by: float, *, column: str) -> Finding:
    return Finding(rule=RULE, severity="warning", plate=plate, column=column, value=f"{by:+.2f}", message=(
        f"the {who} {'rise' if by > 0 else 'fall'} by {100 * abs(by):.0f} % of the assay's window {words}: what a well reads depends on "
        "where it lies, so that effects are too small in one place and too large in another; look at seeding, dispensing and reading, and "
        "compare treatments that lie alike only"))
