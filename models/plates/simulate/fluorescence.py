"""Fluorescence images of HepG2 cells before and after a drug on nanocarriers (system S3): blue nuclei, green cytoplasm.

What treatment changes is small, as the paper says of its images: nuclei condense and brighten, some break into apoptotic bodies, the
cytoplasm shrinks, a few cells are gone. Dishes differ more than that in staining, density and focus, so that no single grey value tells.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from models.plates.simulate.stamps import Ellipses, draw, even_places, quantise, smooth_noise, uneven_light

AREA = 224.0**2     # px^2 that the number of cells refers to


def draw_fluorescence(*, treated: bool, dish: np.random.Generator, rng: np.random.Generator, size: int = 224) -> np.ndarray:
    """One image (size, size, 3) uint8. dish: what all images of a dish share (staining, density, focus); rng: of this image."""
    nuclear, cellular, density = (dish.normal(1, spread) for spread in (0.15, 0.18, 0.12))
    focus = 0.6 + abs(dish.normal(0, 0.35))
    effect = np.clip(rng.normal(0.8, 0.18), 0.3, 1.0) if treated else np.clip(rng.normal(0, 0.06), 0, 0.2)
    place = even_places(round(26 * density * (1 - 0.12 * effect) * size * size / AREA), size=size, margin=20, jitter=0.2, rng=rng)
    hurt = np.clip(effect + rng.normal(0, 0.2, len(place)), 0, 1)
    angle = rng.uniform(0, np.pi, len(place))
    body = 17 * (1 - 0.2 * hurt) * np.clip(rng.normal(1, 0.12, len(place)), 0.7, 1.4)
    green = _sum(place, body, 1.15 + 0.25 * rng.random(len(place)), angle, cellular * (80 + 25 * hurt), size, sharp=2)
    green *= 1 + 0.12 * smooth_noise(size, rng, sigma=1.5)
    blue = _nuclei(place, hurt, nuclear, angle, size, rng)
    glow = 6 + 4 * rng.random()
    planes = [0.12 * blue + 0.10 * green + glow, green + 0.1 * blue + glow, blue + 0.05 * green + 1.3 * glow]
    light = uneven_light(size, rng, strength=0.08)
    noisy = [gaussian_filter(plane, focus) * light for plane in planes]
    return np.stack([quantise(plane + rng.standard_normal(plane.shape) * np.sqrt(4 + 0.15 * plane), bits=8) for plane in noisy], axis=-1)


def _nuclei(place: np.ndarray, hurt: np.ndarray, stain: float, angle: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Whole nuclei, and those that broke as three small bright bodies each."""
    place = place + rng.normal(0, 1.5, place.shape)
    radius = 7.5 * (1 - 0.22 * hurt) * np.clip(rng.normal(1, 0.1, len(place)), 0.75, 1.3)
    light = stain * (105 + 55 * hurt) * np.clip(rng.normal(1, 0.12, len(place)), 0.6, 1.4)
    broken = rng.random(len(place)) < 0.3 * hurt
    pieces = np.flatnonzero(broken).repeat(3)
    whole = _sum(place[~broken], radius[~broken], 1.1 + 0.2 * rng.random((~broken).sum()), angle[~broken], light[~broken], size, sharp=3)
    shift = rng.normal(0, 4.0, (len(pieces), 2))
    bodies = _sum(place[pieces] + shift, 0.42 * radius[pieces], np.ones(len(pieces)), angle[pieces], 1.15 * light[pieces], size, sharp=2)
    return whole + bodies


def _sum(place: np.ndarray, radius: np.ndarray, elongation: np.ndarray, angle: np.ndarray, light: np.ndarray, size: int, *,
         sharp: int) -> np.ndarray:
    """Grey values of flat ellipses whose edge is the steeper the higher `sharp`."""
    if not len(place):
        return np.zeros((size, size))
    axes = radius[:, None] * np.stack([np.sqrt(elongation), 1 / np.sqrt(elongation)], axis=-1)
    return draw(Ellipses(place, axes, angle), lambda square, part: light[part, None, None] * np.exp(-square**sharp), size=size)
