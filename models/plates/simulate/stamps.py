"""Drawing many small ellipses at once, and what a microscope adds: blur, uneven light, noise.

All arithmetic is float64: rounding to 8 or 16 bits then gives the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

CHUNK = 2_000       # ellipses drawn at once: bounds the memory of large images

Light = Callable[[np.ndarray, slice], np.ndarray]


@dataclass(frozen=True)
class Ellipses:
    """n ellipses. centre (n, 2) as row, column; axes (n, 2) half lengths; angle (n,) radians. Pixels."""

    centre: np.ndarray
    axes: np.ndarray
    angle: np.ndarray

    def __len__(self) -> int:
        return len(self.centre)


def draw(ellipses: Ellipses, light: Light, *, size: int, reach: float = 1.9) -> np.ndarray:
    """Sum over the ellipses of what `light` gives, on a canvas (size, size).

    light(square, part): grey values (m, p, p) of the ellipses `part` (a slice); square (m, p, p) is the squared distance
    from the centre, 1 on the ellipse. Patches reach `reach` times the longest axis; what lies outside the canvas is cut.
    """
    half = int(np.ceil(reach * ellipses.axes.max())) if len(ellipses) else 1
    margin = 2 * half + 2
    side = size + 2 * margin
    canvas = np.zeros(side * side)
    for start in range(0, len(ellipses), CHUNK):
        part = slice(start, start + CHUNK)
        square, pixel = _patches(ellipses, part, half=half, size=size)
        canvas += np.bincount(pixel.ravel(), weights=light(square, part).ravel(), minlength=side * side)
    return canvas.reshape(side, side)[margin:margin + size, margin:margin + size]


def _patches(ellipses: Ellipses, part: slice, *, half: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances and flat places on the canvas with its margin, both (m, p, p), of patches with p = 2 half + 1."""
    centre, axes, angle = ellipses.centre[part], ellipses.axes[part], ellipses.angle[part]
    offset, margin = np.arange(-half, half + 1), 2 * half + 2
    corner = np.clip(np.floor(centre).astype(np.int64), -half - 1, size + half)
    rows = corner[:, 0, None, None] + offset[None, :, None]        # (m, p, 1)
    columns = corner[:, 1, None, None] + offset[None, None, :]     # (m, 1, p)
    down, right = rows - centre[:, 0, None, None], columns - centre[:, 1, None, None]
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along = (right * cosine + down * sine) / axes[:, 0, None, None]
    across = (down * cosine - right * sine) / axes[:, 1, None, None]
    return along * along + across * across, (rows + margin) * (size + 2 * margin) + columns + margin


def even_places(count: int, *, size: float, margin: float, jitter: float, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) places over a square from -margin to size + margin, about `count` of them inside 0..size.

    Jittered grid: cells keep a distance, so counts vary less than by chance alone; jitter in grid steps.
    """
    total = round(count * ((size + 2 * margin) / size) ** 2)
    side = int(np.ceil(np.sqrt(max(total, 1))))
    step = (size + 2 * margin) / side
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2)
    chosen = np.sort(rng.permutation(len(grid))[:total])
    return np.asarray((grid[chosen] + 0.5 + rng.normal(0, jitter, (len(chosen), 2))) * step - margin)


def uneven_light(size: int, rng: np.random.Generator, *, strength: float) -> np.ndarray:
    """A factor near 1, (size, size): a slope in a random direction and a vignette, each up to `strength`."""
    down, right = np.meshgrid(*(np.linspace(-1, 1, size),) * 2, indexing="ij")
    slope = rng.uniform(-strength, strength, 2)
    return np.asarray(1 + slope[0] * down + slope[1] * right - rng.uniform(0, strength) * (down**2 + right**2) / 2)


def smooth_noise(size: int, rng: np.random.Generator, *, sigma: float) -> np.ndarray:
    """Noise of standard deviation near 1 whose grains are `sigma` pixels, (size, size)."""
    return np.asarray(gaussian_filter(rng.standard_normal((size, size)), sigma) * (2 * np.sqrt(np.pi) * sigma))


def quantise(pixels: np.ndarray, *, bits: int) -> np.ndarray:
    """Rounded and clipped to uint8 or uint16."""
    return np.asarray(np.clip(np.rint(pixels), 0, 2**bits - 1), dtype=np.uint8 if bits == 8 else np.uint16)
