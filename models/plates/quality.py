"""Which wells have a bad image: out of focus, overexposed, without cells, dirty, unevenly lit, of another size, or a copy of another.

A drug may blur, thin out and dim a well by killing its cells. So no well is judged alone: its measures must lie outside of what the
plate's own controls show, living and dead, AND outside of what its peers show, the wells that got the same treatment at the same dose
(or the nearest ones), by more than a limit and by more than the plate's own scatter. A dead well resembles the positive controls, or
the other wells of its dose; a well with a bad image resembles neither.

`measure_stack` (models/plates/measures.py) makes the numbers where the images are read; the layout and the limits come in here only,
so that another limit needs no image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from models.errors import Finding
from models.plates.measures import CONTRAST_FLOOR, DETAIL_SCALES
from models.plates.peers import References, find_references
from models.plates.ranks import median
from models.separation import MAD_TO_SD
from models.tables import left_out
from models.wells import site_medians, well_keys

QualityFlag = Literal["out_of_focus", "empty_well", "saturated", "background", "debris", "uneven_light", "wrong_size", "wrong_depth",
                      "duplicate_image"]
QUALITY_FLAGS: tuple[str, ...] = get_args(QualityFlag)
MIN_DETAIL = 2.0        # log2 of the signal-to-noise ratio that a scale must have on a plate to tell sharp from blurred
SATURATED_FROM = 0.98   # of the screen's brightest grey value: an image that does not reach it is not saturated

MEASURED = ("brightest", "saturated_share", "background", "contrast", *(f"detail_{scale}" for scale in DETAIL_SCALES), "gradient", "debris")
MEANING: dict[str, str] = {
    "out_of_focus": "is out of focus: it lacks fine detail that controls and like-treated wells have",
    "empty_well": "shows next to nothing, where controls and like-treated wells show cells or their remains",
    "saturated": "is overexposed: pixels are at the camera's limit",
    "background": "has another background brightness than controls and like-treated wells",
    "debris": "holds objects that are larger and brighter, or darker, than anything in controls and like-treated wells",
    "uneven_light": "is lit unevenly, unlike controls and like-treated wells",
    "wrong_size": "has an image of another size or number of planes than the rest of the screen",
    "wrong_depth": "has an image of another bit depth than the rest of the screen",
    "duplicate_image": "has the very image of another well: one was copied over the other",
}

OUTSIDE = "out_of_distribution"     # set by scoring: the model's raw output lies outside of what it gave in training
LEAVING_FLAGS = (*QUALITY_FLAGS, OUTSIDE)
MIN_ALIKE = 2           # wells of the same treatment and dose that it takes to call the raw output of one odd
RULE = "by rule: "      # begins the reason of a well that no person left out

Side = Literal["low", "high"]


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """How far a well's image may stand apart: section `image_quality` of params.yaml, and a copy of it in a model's card.

    Each limit counts from the nearer of the plate's controls and the well's peers. docs/image_quality.md has the figures behind them.
    Raises ValueError, starting with the field's name, for a value out of range.
    """

    focus: float = 0.7          # log2 of (fine detail / detail twice as coarse) that is lost; more: out_of_focus
    empty: float = 3.0          # log2 of (detail / noise) that is lost; more: empty_well
    saturated: float = 0.01     # share of pixels at the brightest value; more: saturated
    background: float = 0.3     # log2 of the background's ratio, up or down; more: background
    debris: float = 0.4         # log2 of the ratio of the largest bright or dark objects; more: debris
    gradient: float = 0.2      # rise of the background across the image, relative to it; more: uneven_light
    scatter: float = 2.5        # times the plate's own scatter (1.4826 MAD) that each of these must exceed as well
    leave_out: tuple[str, ...] = LEAVING_FLAGS  # flags whose wells stay out of training and curves; the others only mark

    def __post_init__(self) -> None:
        for name in ("focus", "empty", "saturated", "background", "debris", "gradient", "scatter"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be > 0, got {getattr(self, name)}")
        if unknown := [flag for flag in self.leave_out if flag not in LEAVING_FLAGS]:
            raise ValueError(f"leave_out: '{unknown[0]}' is no flag of this kind; known: {', '.join(LEAVING_FLAGS)}")


@dataclass(frozen=True)
class JudgedWells:
    """flags: one list of words per row of the layout, in its order; findings: why, with the measured values."""

    flags: list[list[str]]
    findings: tuple[Finding, ...]


def judge_wells(quality: pd.DataFrame, layout: pd.DataFrame, limits: QualityLimits) -> JudgedWells:
    """Judge the images of a screen.

    quality: ImageQuality, all plates together; wells without a row, and wells of role empty, get no flag. layout: Layout.
    A well with several sites is judged by their median, as it is scored; a copied or ill-sized site is enough for those flags.
    """
    flags: list[list[str]] = [[] for _ in range(len(layout))]
    if quality.empty:
        return JudgedWells(flags, ())
    places = {key: place for place, key in enumerate(well_keys(layout))}
    findings = [finding for finding in (*_copies(quality), *_odd_sizes(quality), *_strange(quality, layout, limits))
                if (finding.plate, finding.well) in places]
    for finding in findings:
        own = flags[places[finding.plate, finding.well]]
        if finding.rule not in own:
            own.append(finding.rule)
    return JudgedWells(flags, tuple(findings))


def _strange(quality: pd.DataFrame, layout: pd.DataFrame, limits: QualityLimits) -> Iterator[Finding]:
    """Wells whose image stands apart from the plate's controls and from their peers, channel by channel."""
    with_cells = layout[layout["role"] != "empty"].drop(columns=list(MEASURED), errors="ignore")    # a layout may have its own
    for channel, rows in quality.groupby("channel", sort=False):
        wells = with_cells.merge(site_medians(rows, MEASURED), on=["plate", "well"])
        if wells.empty:
            continue
        references = find_references(wells, usable=~left_out(wells).to_numpy())
        for test in _tests(wells, references, limits):
            over = excess(test.values, references, side=test.side)
            least = np.maximum(test.limit, limits.scatter * scatter(test.values, references))
            for row in np.flatnonzero(over > least):
                well = wells.iloc[row]
                yield _finding(test.flag, str(well["plate"]), str(well["well"]), str(channel), f"{well[test.column]:.4g}")


@dataclass(frozen=True)
class _Test:
    """One measure, and the flag of wells beyond the references. values (N,); column: of ImageQuality, whose value is told."""

    flag: QualityFlag
    side: Side
    limit: float
    values: np.ndarray
    column: str


def _tests(wells: pd.DataFrame, references: References, limits: QualityLimits) -> Iterator[_Test]:
    detail = {scale: wells[f"detail_{scale}"].to_numpy(dtype=float) for scale in DETAIL_SCALES}
    for fine in _telling_scales(detail, references):
        yield _Test("out_of_focus", "low", limits.focus, detail[fine] - detail[2 * fine], f"detail_{fine}")
    yield _Test("empty_well", "low", limits.empty, detail[2], "detail_2")
    bright = wells["brightest"] >= SATURATED_FROM * wells["brightest"].max()
    yield _Test("saturated", "high", limits.saturated, wells["saturated_share"].where(bright, 0.0).to_numpy(dtype=float), "saturated_share")
    floor = CONTRAST_FLOOR * wells.groupby("plate")["contrast"].transform("median")
    background = np.log2((wells["background"] + floor).to_numpy(dtype=float).clip(min=1e-9))
    yield _Test("background", "low", limits.background, background, "background")
    yield _Test("background", "high", limits.background, background, "background")
    yield _Test("debris", "high", limits.debris, wells["debris"].to_numpy(dtype=float), "debris")
    yield _Test("uneven_light", "high", limits.gradient, wells["gradient"].to_numpy(dtype=float), "gradient")


def _telling_scales(detail: Mapping[int, np.ndarray], references: References) -> list[int]:
    """The finest scale at which the plates show more than noise, and the next: blur takes detail there first, and much blur takes
    so much that the next one tells it better. None where even coarse detail drowns in noise.
    """
    controls = np.concatenate([rows for kinds in references.controls.values() for rows in kinds] or [np.arange(len(detail[1]))])
    telling = [scale for scale in DETAIL_SCALES[:-1] if _median(detail[scale][controls]) >= MIN_DETAIL]
    return [scale for scale in DETAIL_SCALES[:-1] if telling and telling[0] <= scale <= 2 * telling[0]]


def _finding(flag: str, plate: str, well: str, channel: str, value: str) -> Finding:
    return Finding(rule=flag, severity="warning", plate=plate, well=well, column=channel, value=value,
                   message=f"well {well} {MEANING[flag]} (channel {channel}); look at its image, make it again, or leave the well out")


def excess(values: np.ndarray, references: References, *, side: Side) -> np.ndarray:
    """How far each value lies beyond the nearest of what the plate's controls and the well's peers show; (N,), NaN values give NaN.

    Peers of other plates are compared after the plates' own levels were made equal. Without controls the plate's median stands
    for them, without peers the controls alone decide.
    """
    sign = 1.0 if side == "high" else -1.0
    x = sign * values
    level, bound = np.full(len(x), np.nan), np.full(len(x), np.nan)
    for plate, rows in references.plates.items():
        kinds = references.controls[plate] or [rows]
        medians = [_median(x[kind]) for kind in kinds]
        level[rows], bound[rows] = medians[0], np.nanmax(medians) if not np.isnan(medians).all() else np.nan
    relative = x - level
    expected = references.peers_median(relative) + level
    return np.asarray(x - np.fmax(bound, expected))


def scatter(values: np.ndarray, references: References) -> np.ndarray:
    """How much like wells differ on each plate, (N,): 1.4826 MAD of the usable wells' differences to their peers' median."""
    away = values - references.peers_median(values)
    found = np.zeros(len(values))
    for rows in references.plates.values():
        known = away[rows[references.usable[rows]]]
        spread = MAD_TO_SD * _median(np.abs(known - _median(known)))
        found[rows] = 0.0 if np.isnan(spread) else spread
    return found


def _median(values: np.ndarray) -> float:
    return median(values[~np.isnan(values)])


def _copies(quality: pd.DataFrame) -> Iterator[Finding]:
    """Every well with an image that stands elsewhere too, byte for byte: nobody can tell which is the original."""
    copied = quality.duplicated(["channel", "digest"], keep=False) & (quality["digest"] != "")
    if not copied.any():
        return
    shown = quality[copied]
    for _, alike in shown.groupby(["channel", "digest"], sort=False):
        places = [f"{plate} {well}" for plate, well in zip(alike["plate"], alike["well"], strict=True)]
        for _, row in alike.iterrows():
            others = [place for place in dict.fromkeys(places) if place != f"{row['plate']} {row['well']}"]
            yield _finding("duplicate_image", str(row["plate"]), str(row["well"]), str(row["channel"]),
                           ", ".join(others[:3]) or "another site of the same well")


def _odd_sizes(quality: pd.DataFrame) -> Iterator[Finding]:
    for flag, names in (("wrong_size", ["height", "width", "planes"]), ("wrong_depth", ["bits"])):
        if all(quality[name].nunique() == 1 for name in names):
            continue
        for channel, rows in quality.groupby("channel", sort=False):
            sizes = list(rows[names].itertuples(index=False, name=None))
            usual = Counter(sizes).most_common(1)[0][0]
            for _, row in rows[[size != usual for size in sizes]].iterrows():
                yield _finding(flag, str(row["plate"]), str(row["well"]), str(channel), " x ".join(str(row[name]) for name in names))


def leave_out(wells: pd.DataFrame, limits: QualityLimits, *, raw: str = "logit") -> pd.DataFrame:
    """The wells with `excluded` and `exclusion_reason` as persons and rules want them.

    wells: Layout or WellScores with a column `flags`. A well that a person left out stays so, with their reason. A well that is not
    excluded but has a reason was looked at by a person, who keeps it. Of the others, those with a flag of `limits.leave_out` go.
    out_of_distribution counts only where the raw output (column `raw`) stands apart from the wells of the same treatment and dose, by
    more than `limits.scatter`, and these are not out as well: a drug may act more strongly than any control, and of wells that scatter
    about a limit only those on one side of it would go.
    """
    excluded = left_out(wells)
    reasons = wells["exclusion_reason"].astype("str") if "exclusion_reason" in wells else pd.Series("", index=wells.index, dtype="str")
    odd = np.array([OUTSIDE in flags for flags in wells["flags"]], dtype=bool)
    shared = ~_alone(wells, odd, wells[raw].to_numpy(dtype=float), usable=~excluded.to_numpy(), limits=limits) if odd.any() else odd
    causes = [[flag for flag in flags if flag in limits.leave_out and not (flag == OUTSIDE and spared)]
              for flags, spared in zip(wells["flags"], shared, strict=True)]
    by_rule = ~excluded & (reasons == "") & np.array([bool(found) for found in causes], dtype=bool)
    said = pd.Series([RULE + ", ".join(found) for found in causes], index=wells.index, dtype="str")
    return wells.assign(excluded=excluded | by_rule, exclusion_reason=reasons.mask(by_rule, said))


def _alone(wells: pd.DataFrame, odd: np.ndarray, values: np.ndarray, *, usable: np.ndarray, limits: QualityLimits) -> np.ndarray:
    """Which of the odd wells have at least two like-treated ones of the same dose, most of which are not odd, and stand apart from their
    peers by their values; (N,) bool.
    """
    references = find_references(wells, usable=usable)
    apart = np.abs(values - references.peers_median(values)) > limits.scatter * scatter(values, references)
    count = references.others_alike(np.ones(len(wells), dtype=bool))
    return odd & apart & (count >= MIN_ALIKE) & (references.others_alike(odd) < 0.5 * count)
