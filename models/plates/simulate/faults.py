"""Wells that went wrong: out of focus, overexposed, without cells, dusty, copied, hazy, unevenly lit.

A fault acts on the light that reaches the camera, before its noise and rounding, because that is where it happens: a blurred image
keeps the full noise of the camera. `python -m benchmarks.image_quality` measures how many of these the quality rules find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

FaultKind = Literal["defocus", "overexposed", "empty", "dust", "duplicate", "haze", "gradient"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
RANGES: dict[FaultKind, tuple[float, float]] = {     # of `Fault.strength`
    "defocus": (2.0, 5.0),      # SD of the blur, px: from a third of a cell's radius to all of it
    "overexposed": (0.03, 0.2),  # share of pixels beyond the camera's range
    "empty": (0.0, 0.0),
    "dust": (1.0, 3.0),         # particles and fibres
    "duplicate": (0.0, 0.0),
    "haze": (0.5, 3.0),         # dark field: light added, in units of the background; bright field: the lamp dims to 1 / (1 + strength)
    "gradient": (0.3, 0.6),     # relative change of the light from the middle to the edge
}

Spoil = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with a well. strength: see RANGES; source: of a duplicate, the well whose image stands in its place."""

    kind: FaultKind
    strength: float = 0.0
    source: str = ""


def random_faults(wells: Sequence[str], *, kinds: Iterable[FaultKind], each: int, rng: np.random.Generator) -> dict[str, Fault]:
    """`each` wells of every kind, drawn from `wells` without repetition; sources of duplicates are wells without a fault."""
    kinds = tuple(kinds)
    drawn = [str(well) for well in rng.permutation(np.array(wells))]
    faulty, sound = drawn[:each * len(kinds)], drawn[each * len(kinds):]
    return {well: Fault(kind=kind, strength=float(rng.uniform(*RANGES[kind])), source=sound[place] if kind == "duplicate" else "")
            for place, (well, kind) in enumerate(zip(faulty, kinds * each, strict=True))}


def shown_well(well: str, faults: Mapping[str, Fault]) -> str:
    """The well whose image is found under the name of `well`."""
    return faults[well].source or well if well in faults else well


def spoiler(fault: Fault | None, *, full_scale: float, signal: float, rng: np.random.Generator) -> Spoil:
    """What the fault does to the light of a well, (H, W) or a stack (Z, H, W), in grey values.

    full_scale: the brightest grey value; signal: brightness of a stained cell, 0 for bright field, where dust is dark.
    Faults that are not in the light (empty, duplicate) leave it as it is.
    """
    if fault is None or fault.kind in ("empty", "duplicate"):
        return lambda light: light
    strength = fault.strength
    if fault.kind == "defocus":
        return lambda light: gaussian_filter(light, [0] * (light.ndim - 2) + [strength, strength], mode="nearest")
    if fault.kind == "overexposed":
        return lambda light: light * (full_scale / np.quantile(light, 1 - strength))
    if fault.kind == "haze":
        return lambda light: light + strength * np.median(light) if signal else light / (1 + strength)
    if fault.kind == "gradient":
        return lambda light: light * _slope(light.shape[-1], strength, rng)
    return lambda light: _dusted(light, round(strength), signal, rng)


def _slope(size: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    down, right = np.meshgrid(*(np.linspace(-1, 1, size),) * 2, indexing="ij")
    return np.asarray(1 + strength * (np.cos(angle) * down + np.sin(angle) * right))


def _dusted(light: np.ndarray, particles: int, signal: float, rng: np.random.Generator) -> np.ndarray:
    """Opaque specks in bright field; in fluorescence specks and fibres that outshine the cells, as dust and lint do."""
    for _ in range(particles):
        shape = _fibre(light.shape[-1], rng) if rng.random() < 0.4 else _speck(light.shape[-1], rng)
        mask = gaussian_filter(shape.astype(np.float64), rng.uniform(0.5, 1.5))
        light = light + mask * signal * rng.uniform(3, 8) if signal else light * (1 - mask * rng.uniform(0.45, 0.9))
    return light


def _speck(size: int, rng: np.random.Generator) -> np.ndarray:
    """A particle with a ragged outline, 3-7 % of the image across its radius."""
    row, column = rng.uniform(0.1, 0.9, 2) * size
    down, right = np.meshgrid(np.arange(size) - row, np.arange(size) - column, indexing="ij")
    angle, outline = np.arctan2(down, right), np.ones((size, size))
    for wave in range(2, 6):
        outline = outline + rng.uniform(0, 0.15) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return np.hypot(down, right) < rng.uniform(0.03, 0.07) * size * outline


def _fibre(size: int, rng: np.random.Generator) -> np.ndarray:
    """A bent fibre, 1-2 % of the image wide and 40-100 % long."""
    steps = int(rng.uniform(0.4, 1.0) * size)
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.06, steps))
    places = rng.uniform(0.2, 0.8, 2) * size + np.cumsum(np.stack([np.sin(angles), np.cos(angles)], axis=-1), axis=0)
    places = np.rint(places[((places >= 0) & (places <= size - 1)).all(axis=1)]).astype(int)
    drawn = np.zeros((size, size), dtype=bool)
    drawn[places[:, 0], places[:, 1]] = True
    return np.asarray(distance_transform_edt(~drawn) <= max(1.0, rng.uniform(0.01, 0.02) * size))
