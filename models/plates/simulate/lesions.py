"""Sections of liver with one lesion, as a scanner shows them in the arterial phase (system S5).

Benign ones (cysts) are dark, round, even and sharply bounded; malignant ones take up contrast agent unevenly, mostly brighter than the
liver with a dark core, are lobed, fade at their rim, and have small satellites.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from models.plates.simulate.stamps import quantise, smooth_noise, uneven_light

TINT = np.array([1.0, 0.97, 0.93])      # the colour map of the exported pictures


def draw_lesion(*, malignant: bool, patient: np.random.Generator, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """One image (size, size, 3) uint8. patient: what a patient's images share (brightness and grain of the liver); rng: of this one."""
    liver, coarse = patient.normal(112, 12), patient.uniform(1.6, 2.8)
    centre, radius = rng.uniform(0.34, 0.66, 2) * size, rng.uniform(0.15, 0.25) * size
    lobed, uneven, fading = (rng.uniform(0.10, 0.22), rng.uniform(9, 18), rng.uniform(2.0, 3.5)) if malignant else (
        rng.uniform(0.0, 0.05), rng.uniform(1, 5), rng.uniform(0.8, 1.8))
    distance = _distance(centre, radius, lobed, size, rng)
    inside = 1 / (1 + np.exp((distance - 1) * radius / fading))
    contrast = rng.choice([1, -0.4], p=[0.9, 0.1]) * rng.uniform(30, 60) if malignant else -rng.uniform(30, 60)
    core = -1.3 * contrast * np.exp(-((distance / rng.uniform(0.3, 0.55)) ** 4)) if malignant else 0.0
    lesion = inside * (contrast + core + uneven * smooth_noise(size, rng, sigma=3.5))
    pixels = liver + 5 * smooth_noise(size, rng, sigma=coarse) + lesion
    for _ in range(rng.poisson(1.6) if malignant else 0):
        spot = centre + rng.normal(0, 1.9 * radius, 2)
        pixels = pixels + contrast * np.exp(-_distance(spot, rng.uniform(0.12, 0.28) * radius, 0.0, size, rng) ** 4)
    pixels = _with_vessels(pixels, size, rng) * uneven_light(size, rng, strength=0.06)
    pixels = gaussian_filter(pixels, 0.6) + rng.normal(0, 2.5, pixels.shape)
    return quantise(pixels[..., None] * TINT, bits=8)


def _distance(centre: np.ndarray, radius: float, lobed: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Distance of every pixel from the centre in radii of an outline with lobes, (size, size)."""
    down, right = np.meshgrid(np.arange(size) - centre[0], np.arange(size) - centre[1], indexing="ij")
    angle = np.arctan2(down, right)
    outline = 1 + sum(lobed * rng.normal(0, 0.7) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi)) for wave in (2, 3, 4, 5, 6))
    return np.asarray(np.hypot(down, right) / (radius * np.clip(outline, 0.45, 1.8)))


def _with_vessels(pixels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A few bright vessels across the liver, in both classes."""
    for _ in range(rng.integers(2, 5)):
        start, angle, bend = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi), rng.normal(0, 0.02)
        steps = np.arange(0, rng.uniform(0.3, 0.7) * size, 0.5)
        path = start + np.cumsum(0.5 * np.stack([np.sin(angle + bend * steps), np.cos(angle + bend * steps)], axis=1), axis=0)
        rows, columns = np.rint(path).astype(int).T
        seen = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        line = np.zeros((size, size))
        line[rows[seen], columns[seen]] = 1
        pixels = pixels + 26 * np.minimum(1, 5 * gaussian_filter(line, rng.uniform(1.0, 1.6)))
    return pixels
