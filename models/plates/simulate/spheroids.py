"""Spheroids of a patient sample under Hoechst: stacks of nuclei, compact and even when alive, scattered when dead.

What changes with viability v: spheroids shrink and loosen, their nuclei condense (smaller, brighter), break into pieces,
and dead nuclei lie loose around them. How much of each is the sample's own look.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from models.plates.simulate.faults import Fault, Spoil, shown_well, spoiler
from models.plates.simulate.stamps import Ellipses, draw, even_places, quantise, uneven_light
from models.plates.simulate.truth import well_rng, wells_of_plate

AREA = 96.0**2              # px^2 that counts refer to
COUNT_SD = 0.08             # well-to-well spread of the number of nuclei, relative


@dataclass(frozen=True, kw_only=True)
class SampleLook:
    """How a sample looks.

    spheroids in 96 x 96 px; nuclei in a spheroid; radius of a spheroid and nucleus_radius px; brightness of a nucleus
    and background in 16-bit grey values; shrink: loss of spheroid radius, condense: loss of nuclear radius, brighten:
    gain of nuclear brightness, loosen: scatter in spheroid radii, fragments: share of nuclei that break,
    detach: share that leaves the spheroid, wash: share of detached nuclei that are gone - each at viability 0.
    """

    name: str
    spheroids: float
    nuclei: float
    radius: float
    nucleus_radius: float
    brightness: float
    background: float
    shrink: float
    condense: float
    brighten: float
    loosen: float
    fragments: float
    detach: float
    wash: float


def sample_look(name: str) -> SampleLook:
    """The look of a sample, always the same for the same name and different from other names'."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))

    def between(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 3)

    return SampleLook(
        name=name, spheroids=between(4.5, 8), nuclei=between(22, 40), radius=between(10, 14),
        nucleus_radius=between(1.9, 2.7), brightness=between(5_000, 11_000), background=between(500, 1_400),
        shrink=between(0.2, 0.4), condense=between(0.25, 0.4), brighten=between(0.5, 1.1), loosen=between(0.3, 0.6),
        fragments=between(0.3, 0.7), detach=between(0.45, 0.75), wash=between(0.1, 0.4))


def simulate_spheroids(layout: pd.DataFrame, *, look: SampleLook, truth: pd.Series, planes: int = 3, size: int = 96, seed: int = 0,
                       plate: str, faults: Mapping[str, Fault] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """(well, stack) of one plate, in the order of the layout; stack uint16 (planes, size, size).

    truth: viability per row of the layout (same index), NaN for a well without cells. faults: well -> what is wrong with it.
    """
    viabilities, faults = dict(wells_of_plate(layout, truth, plate)), faults or {}
    for well in viabilities:
        shown, fault = shown_well(well, faults), faults.get(well)
        spoil = spoiler(fault, full_scale=65_535, signal=look.brightness, rng=well_rng(seed, plate, well, stream="fault"))
        yield well, _render_well(look, np.nan if fault and fault.kind == "empty" else viabilities[shown], planes=planes, size=size,
                                 rng=well_rng(seed, plate, shown, stream="spheroids"), spoil=spoil)


def spheroid_masks(layout: pd.DataFrame, *, look: SampleLook, truth: pd.Series, size: int = 96, seed: int = 0,
                   plate: str) -> Iterator[tuple[str, np.ndarray]]:
    """(well, where its nuclei are) of the plate that `simulate_spheroids` draws without faults; bool (size, size).

    A pixel belongs to a nucleus where the light of all depths exceeds a tenth of a living nucleus's brightness.
    """
    for well, viability in wells_of_plate(layout, truth, plate):
        mask = np.zeros((size, size), dtype=bool)
        if not np.isnan(viability):
            nuclei = _nuclei(look, viability, size, well_rng(seed, plate, well, stream="spheroids"))
            if len(nuclei.radius):
                mask = np.max([_in_focus_at(nuclei, depth, size) for depth in (-0.6, 0.0, 0.6)], axis=0) > 0.1 * look.brightness
        yield well, mask


@dataclass(frozen=True)
class _Nuclei:
    """place (n, 3): row, column, depth (-1 top to 1 bottom); radius (n,) px; light (n,) grey values."""

    place: np.ndarray
    radius: np.ndarray
    light: np.ndarray


def _render_well(look: SampleLook, viability: float, *, planes: int, size: int, rng: np.random.Generator, spoil: Spoil) -> np.ndarray:
    nuclei = None if np.isnan(viability) else _nuclei(look, viability, size, rng)
    light = uneven_light(size, rng, strength=0.06) * rng.normal(1, 0.03)
    blur = rng.uniform(0.4, 0.75)
    depths = np.linspace(-0.6, 0.6, planes) if planes > 1 else np.zeros(1)
    stack = spoil(np.stack([_plane(look, nuclei, float(depth), size=size, blur=blur) * light for depth in depths]))
    return np.stack([quantise(plane + rng.standard_normal(plane.shape) * np.sqrt(60.0**2 + 3 * plane), bits=16) for plane in stack])


def _plane(look: SampleLook, nuclei: _Nuclei | None, depth: float, *, size: int, blur: float) -> np.ndarray:
    """The light of the plane at `depth`, before the lamp's unevenness."""
    plane = np.full((size, size), look.background)
    if nuclei is not None and len(nuclei.radius):
        plane += _in_focus_at(nuclei, depth, size)
    return np.asarray(gaussian_filter(plane, blur))


def _nuclei(look: SampleLook, viability: float, size: int, rng: np.random.Generator) -> _Nuclei:
    """All nuclei of a well, those that broke replaced by their pieces."""
    death = 1 - viability
    place, loose = _places(look, death, size, rng)
    hurt = np.clip(np.where(loose, 0.5 + 0.5 * death, death) + rng.normal(0, 0.12, len(place)), 0, 1)
    radius = look.nucleus_radius * np.clip(rng.normal(1, 0.12, len(place)), 0.7, 1.4) * (1 - look.condense * hurt)
    light = look.brightness * np.clip(rng.normal(1, 0.15, len(place)), 0.5, 1.6) * (1 + look.brighten * hurt)
    broken = rng.random(len(place)) < look.fragments * hurt
    pieces = np.flatnonzero(broken).repeat(3)
    shift = rng.normal(0, 1, (len(pieces), 3)) * np.array([1, 1, 0.02]) * look.nucleus_radius
    return _Nuclei(np.concatenate([place[~broken], place[pieces] + shift]),
                   np.concatenate([radius[~broken], 0.45 * radius[pieces]]),
                   np.concatenate([light[~broken], 1.1 * light[pieces]]))


def _places(look: SampleLook, death: float, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 3) of nuclei, and which of them lie loose."""
    centre = even_places(round(look.spheroids * size * size / AREA), size=size, margin=0.3 * look.radius, jitter=0.2, rng=rng)
    count = np.maximum(3, np.rint(look.nuclei * rng.normal(1, 0.2, len(centre)) * rng.normal(1, COUNT_SD))).astype(int)
    spheroid = np.arange(len(centre)).repeat(count)
    radius = (look.radius * (count / look.nuclei) ** (1 / 3))[spheroid] * (1 - look.shrink * death)
    direction = rng.normal(size=(len(spheroid), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    reach = rng.uniform(0.05, 1, (len(spheroid), 1)) ** (1 / 2.6) + np.abs(rng.normal(0, look.loosen * death, (len(spheroid), 1)))
    ball = direction * reach
    place = np.column_stack([centre[spheroid] + ball[:, :2] * radius[:, None], np.clip(ball[:, 2], -1, 1)])
    loose = rng.random(len(place)) < look.detach * death
    place[loose] = np.column_stack([rng.uniform(0, size, (loose.sum(), 2)), rng.uniform(-0.7, 0.7, loose.sum())])
    kept = ~loose | (rng.random(len(place)) > look.wash)
    return place[kept], loose[kept]


def _in_focus_at(nuclei: _Nuclei, depth: float, size: int) -> np.ndarray:
    """Grey values that the nuclei add to the plane at `depth`: dimmer and wider the further they lie from it."""
    away = np.abs(nuclei.place[:, 2] - depth)
    radius = nuclei.radius * (1 + 0.9 * away)
    seen = nuclei.light * np.exp(-((away / 0.55) ** 2))
    return draw(Ellipses(nuclei.place[:, :2], np.column_stack([radius, radius]), np.zeros(len(radius))),
                lambda square, part: seen[part, None, None] * np.exp(-square * square), size=size)
