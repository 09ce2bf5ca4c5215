"""Bright-field images of L-929 fibroblasts under an extract (system S4, ISO 10993-5): spread living cells, round dead ones.

Every cell is known: place, size, and whether it is dead.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from models.plates.simulate.stamps import Ellipses, draw, even_places, quantise, smooth_noise, uneven_light

AREA = 224.0**2     # px^2 that the number of cells refers to


def draw_fibroblasts(*, dead_share: float, rng: np.random.Generator, size: int = 224) -> tuple[np.ndarray, pd.DataFrame]:
    """One image (size, size) uint8, and its cells with their centre inside it: row, column, radius (px), state {living, dead}.

    dead_share: chance of each cell to be dead; the true share is that of the table.
    """
    place = even_places(round(rng.uniform(42, 66) * size * size / AREA), size=size, margin=18, jitter=0.16, rng=rng)
    dead = rng.random(len(place)) < dead_share
    radius = np.where(dead, rng.uniform(5.6, 7.6, len(place)), rng.uniform(8.0, 10.5, len(place)))
    pixels = np.full((size, size), rng.normal(150, 6))
    pixels += _living(place[~dead], radius[~dead], size, rng) + _dead(place[dead], radius[dead], size, rng)
    pixels = gaussian_filter(pixels, rng.uniform(0.5, 0.9)) * uneven_light(size, rng, strength=0.05)
    cells = pd.DataFrame({"row": place[:, 0].round(2), "column": place[:, 1].round(2), "radius": radius.round(2),
                          "state": np.where(dead, "dead", "living")})
    inside = ((place >= 0) & (place < size)).all(axis=1)
    return quantise(pixels + rng.normal(0, 2.2, pixels.shape), bits=8), cells.iloc[np.flatnonzero(inside)].reset_index(drop=True)


def _living(place: np.ndarray, radius: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Flat spindles: a faint body with grain, a thin dark rim, a darker nucleus."""
    if not len(place):
        return np.zeros((size, size))
    elongation = np.clip(rng.normal(2.3, 0.35, len(place)), 1.5, 3.2)
    axes = radius[:, None] * np.stack([np.sqrt(elongation), 1 / np.sqrt(elongation)], axis=-1)
    cells = Ellipses(place, axes, rng.normal(rng.uniform(0, np.pi), 0.5, len(place)))

    def light(square: np.ndarray, part: slice) -> np.ndarray:
        away = (np.sqrt(square) - 1.0) / 0.16
        return np.asarray(-7 * np.exp(-square**3) - 22 * np.exp(-away * away) - 10 * np.exp(-square / 0.35**2))

    grain = smooth_noise(size, rng, sigma=1.2) * np.minimum(1, draw(cells, lambda square, _: np.exp(-square**3), size=size))
    return draw(cells, light, size=size) + 3.5 * grain


def _dead(place: np.ndarray, radius: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Round, dark bodies with a black rim and a bright halo."""
    if not len(place):
        return np.zeros((size, size))
    strength = rng.uniform(0.85, 1.15, (len(place), 1, 1))

    def light(square: np.ndarray, part: slice) -> np.ndarray:
        distance = np.sqrt(square)
        rim, halo = (distance - 1.0) / 0.17, (distance - 1.42) / 0.2
        return np.asarray(strength[part] * (-38 * np.exp(-square**2) - 48 * np.exp(-rim * rim) + 34 * np.exp(-halo * halo)))

    return draw(Ellipses(place, np.repeat(radius[:, None], 2, axis=1), np.zeros(len(place))), light, size=size, reach=2.1)
