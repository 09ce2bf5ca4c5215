"""Bright-field wells of a cell line: living cells lie flat, dying ones shrink and round up, dead ones stay or float off.

What changes with viability v: the number of living cells (n v), their size, elongation, texture and halo, the number of
dead cells that stay, and debris. OD450 follows the living cells of the well: OD = blank + span * v * count factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from models.plates.simulate.faults import Fault, Spoil, shown_well, spoiler
from models.plates.simulate.stamps import Ellipses, draw, even_places, quantise, smooth_noise, uneven_light
from models.plates.simulate.truth import TrueCurve, well_rng, wells_of_plate

AREA = 128.0**2             # px^2 that `CellLine.cells` refers to
COUNT_SD = 0.05             # well-to-well spread of the number of cells, relative
OD_NOISE = (0.02, 0.025)    # spread of a read-out: absolute (OD), and relative to the signal


@dataclass(frozen=True, kw_only=True)
class CellLine:
    """How a line looks and reads.

    cells: in 128 x 128 px at viability 1; radius px; elongation: long / short axis; clumping 0-1; rim, body, halo,
    texture: grey values; dead_stay: share of dead cells that stay on the bottom; dead_grey: their core against the
    background; debris: specks in 128 x 128 px at viability 0; od_blank, od_span: OD450 without cells, and added by a
    full well; doxorubicin: true curve, doses in nM.
    """

    name: str
    cells: int
    radius: float
    elongation: float
    clumping: float
    rim: float
    body: float
    halo: float
    texture: float
    dead_stay: float
    dead_grey: float
    debris: int
    od_blank: float
    od_span: float
    doxorubicin: TrueCurve


CELL_LINES: dict[str, CellLine] = {line.name: line for line in (
    CellLine(name="A549", cells=78, radius=6.2, elongation=1.55, clumping=0.0, rim=-20, body=-6, halo=4, texture=5,
             dead_stay=0.75, dead_grey=-45, debris=25, od_blank=0.14, od_span=1.50,
             doxorubicin=TrueCurve(midpoint=1_200, slope=1.1, bottom=0.03)),
    CellLine(name="HEK293", cells=170, radius=4.2, elongation=1.12, clumping=0.75, rim=-34, body=-10, halo=26, texture=8,
             dead_stay=0.08, dead_grey=-30, debris=12, od_blank=0.10, od_span=0.85,
             doxorubicin=TrueCurve(midpoint=70, slope=1.3, bottom=0.02)),
    CellLine(name="NCI-H1975", cells=92, radius=5.0, elongation=2.7, clumping=0.15, rim=-36, body=9, halo=10, texture=3,
             dead_stay=0.40, dead_grey=38, debris=110, od_blank=0.20, od_span=1.45,
             doxorubicin=TrueCurve(midpoint=300, slope=0.9, bottom=0.04)),
)}

MIXED_LINES: dict[str, CellLine] = {line.name: line for line in (
    CellLine(name="mix-1", cells=100, radius=5.4, elongation=1.3, clumping=0.3, rim=-24, body=-4, halo=10, texture=6,
             dead_stay=0.55, dead_grey=-36, debris=45, od_blank=0.15, od_span=1.30,
             doxorubicin=TrueCurve(midpoint=500, slope=1.0, bottom=0.02)),
    CellLine(name="mix-2", cells=140, radius=4.6, elongation=1.7, clumping=0.0, rim=-18, body=-9, halo=6, texture=4,
             dead_stay=0.30, dead_grey=-50, debris=70, od_blank=0.12, od_span=1.60,
             doxorubicin=TrueCurve(midpoint=150, slope=1.2, bottom=0.02)),
    CellLine(name="mix-3", cells=70, radius=6.6, elongation=2.1, clumping=0.1, rim=-28, body=6, halo=5, texture=3,
             dead_stay=0.65, dead_grey=25, debris=90, od_blank=0.18, od_span=1.10,
             doxorubicin=TrueCurve(midpoint=2_000, slope=0.9, bottom=0.02)),
    CellLine(name="mix-4", cells=155, radius=4.4, elongation=1.15, clumping=0.55, rim=-30, body=-8, halo=20, texture=7,
             dead_stay=0.15, dead_grey=-34, debris=25, od_blank=0.10, od_span=1.00,
             doxorubicin=TrueCurve(midpoint=80, slope=1.4, bottom=0.02)),
)}


def simulate_brightfield(layout: pd.DataFrame, *, line: CellLine, truth: pd.Series, size: int = 128, seed: int = 0,
                         plate: str, faults: Mapping[str, Fault] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """(well, pixels) of one plate, in the order of the layout; pixels uint8 (size, size).

    truth: viability per row of the layout (same index), NaN for a well without cells. faults: well -> what is wrong with it.
    """
    viabilities, faults = dict(wells_of_plate(layout, truth, plate)), faults or {}
    for well in viabilities:
        shown, fault = shown_well(well, faults), faults.get(well)
        spoil = spoiler(fault, full_scale=255, signal=0, rng=well_rng(seed, plate, well, stream="fault"))
        yield well, _render_well(line, np.nan if fault and fault.kind == "empty" else viabilities[shown], size=size,
                                 count=_count_factor(seed, plate, shown), rng=well_rng(seed, plate, shown), spoil=spoil)


def brightfield_masks(layout: pd.DataFrame, *, line: CellLine, truth: pd.Series, size: int = 128, seed: int = 0,
                      plate: str) -> Iterator[tuple[str, np.ndarray]]:
    """(well, where its living and dead cells are, debris aside) of the plate that `simulate_brightfield` draws without faults.

    bool (size, size): pixels that a cell makes darker or brighter by more than 4 grey values, about twice the camera's noise.
    """
    for well, viability in wells_of_plate(layout, truth, plate):
        change = np.zeros((size, size))
        if not np.isnan(viability):
            rng, full = well_rng(seed, plate, well), line.cells * _count_factor(seed, plate, well) * size * size / AREA
            change = sum(_cell_light(line, full, viability, size, rng), start=change)
        yield well, np.abs(change) > 4


def simulate_readout(layout: pd.DataFrame, *, line: CellLine, truth: pd.Series, seed: int = 0) -> pd.Series:
    """OD450 (0-2, 4 digits) of each row of the layout, with the noise of seeding and of the reader."""
    values = []
    for plate, well, viability in zip(layout["plate"], layout["well"], truth.loc[layout.index], strict=True):
        signal = line.od_span * np.nan_to_num(viability) * _count_factor(seed, plate, well)
        absolute, relative = well_rng(seed, plate, well, stream="readout").normal(0, OD_NOISE)
        values.append(line.od_blank + signal * (1 + relative) + absolute)
    return pd.Series(np.round(np.clip(values, 0, 2), 4), index=layout.index, name="readout")


def _count_factor(seed: int, plate: str, well: str) -> float:
    """Cells seeded into this well against the mean; the image and the read-out share it."""
    return float(np.clip(well_rng(seed, plate, well, stream="count").normal(1, COUNT_SD), 0.8, 1.2))


def _render_well(line: CellLine, viability: float, *, size: int, count: float, rng: np.random.Generator, spoil: Spoil) -> np.ndarray:
    pixels = np.full((size, size), 148.0)
    if not np.isnan(viability):
        full = line.cells * count * size * size / AREA
        for light in _cell_light(line, full, viability, size, rng):
            pixels += light
        pixels += _debris(line.debris * (0.08 + 0.92 * (1 - viability)) * size * size / AREA, size, rng)
    pixels = gaussian_filter(pixels, rng.uniform(0.45, 0.8)) * uneven_light(size, rng, strength=0.05)
    pixels = spoil(pixels) * rng.normal(1, 0.012) + rng.normal(0, 2.2, pixels.shape)
    return quantise(pixels, bits=8)


def _cell_light(line: CellLine, full: float, viability: float, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What living and what dead cells add to the background; full: cells at viability 1."""
    return (_living(line, full * viability, viability, size, rng), _dead(line, full * (1 - viability) * line.dead_stay, size, rng))


def _cells(line: CellLine, count: float, size: int, rng: np.random.Generator) -> Ellipses:
    """Cells of the line's usual shape, about `count` inside the image."""
    centre = even_places(round(count), size=size, margin=2 * line.radius, jitter=0.22, rng=rng)
    if line.clumping:
        islands = even_places(max(2, round(9 * size * size / AREA)), size=size, margin=2 * line.radius, jitter=0.3, rng=rng)
        nearest = islands[cKDTree(islands).query(centre)[1]]
        centre = centre + 0.3 * line.clumping * (nearest - centre)
    elongation = np.maximum(1.02, rng.normal(line.elongation, 0.16 * line.elongation, len(centre)))
    radius = line.radius * np.clip(rng.normal(1, 0.1, len(centre)), 0.7, 1.4)
    axes = np.stack([radius * np.sqrt(elongation), radius / np.sqrt(elongation)], axis=-1)
    return Ellipses(centre, axes, rng.uniform(0, np.pi, len(centre)))


def _living(line: CellLine, count: float, viability: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Flat cells with a rim, a nucleus, grain inside and a faint halo; stress rounds and shrinks them."""
    grain = smooth_noise(size, rng, sigma=1.1)
    cells = _cells(line, count, size, rng)
    if not len(cells):
        return np.zeros((size, size))
    stress = np.clip(1 - viability + rng.normal(0, 0.1, len(cells)), 0, 1)[:, None]
    mean = cells.axes.mean(axis=1, keepdims=True)
    cells = Ellipses(cells.centre, (cells.axes + 0.55 * stress * (mean - cells.axes)) * (1 - 0.22 * stress), cells.angle)
    lift = (1 + 1.2 * stress)[:, :, None]

    def light(square: np.ndarray, part: slice) -> np.ndarray:
        halo = lift[part] * line.halo * _ring(square, 1.28, 0.2)
        return line.body * _plateau(square) + line.rim * _ring(square, 0.98, 0.16) + halo - 9 * np.exp(-square / 0.42**2)

    covered = draw(cells, lambda square, _: _plateau(square), size=size)
    return draw(cells, light, size=size) + line.texture * grain * np.minimum(covered, 1)


def _plateau(square: np.ndarray) -> np.ndarray:
    """1 inside the ellipse, falling steeply to 0 at its edge; of the squared distance."""
    return np.asarray(np.exp(-square * square * square))


def _ring(square: np.ndarray, radius: float, width: float) -> np.ndarray:
    """A Gaussian ring at `radius` times the ellipse."""
    away = (np.sqrt(square) - radius) / width
    return np.asarray(np.exp(-away * away))


def _dead(line: CellLine, count: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Small round bodies with a dark edge and a bright halo, some of them burst into pieces."""
    cells = _cells(line, count, size, rng)
    if not len(cells):
        return np.zeros((size, size))
    radius = np.sqrt(cells.axes.prod(axis=1, keepdims=True)) * rng.uniform(0.42, 0.66, (len(cells), 1))
    strength = rng.uniform(0.7, 1.2, (len(cells), 1, 1))

    def light(square: np.ndarray, part: slice) -> np.ndarray:
        body = line.dead_grey * np.exp(-square * square) - 40 * _ring(square, 1.0, 0.22) + 42 * _ring(square, 1.5, 0.26)
        return np.asarray(strength[part] * body)

    return draw(Ellipses(cells.centre, np.repeat(radius, 2, axis=1), cells.angle), light, size=size, reach=2.2)


def _debris(count: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Specks of a pixel or two, dark or bright."""
    number = rng.poisson(count)
    if not number:
        return np.zeros((size, size))
    radius = rng.uniform(0.6, 1.5, (number, 2))
    specks = Ellipses(rng.uniform(0, size, (number, 2)), radius, rng.uniform(0, np.pi, number))
    grey = rng.choice([-48.0, -30.0, 35.0], (number, 1, 1))
    return draw(specks, lambda square, part: np.exp(-square) * grey[part], size=size)
