"""Drawing many small ellipses at once, and what a microscope adds: blur, uneven light, noise.

All arithmetic is float64: rounding to 8 or 16 bits then gives the same bytes on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Ellipses:
    """n ellipses. centre (n, 2) as row, column; axes (n, 2) half lengths; angle (n,) radians. Pixels."""

    centre: np.ndarray
    axes: np.ndarray
    angle: np.ndarray

    def __len__(self) -> int:
        return len(self.centre)

    def take(self, chosen: np.ndarray) -> Ellipses:
        """The ellipses of a boolean mask."""
        return Ellipses(self.centre[chosen], self.axes[chosen], self.angle[chosen])


@dataclass(frozen=True)
class Patches:
    """Square patches around ellipses. distance (n, p, p): 1 on the ellipse; pixel (n, p, p): flat index on the canvas."""

    distance: np.ndarray
    pixel: np.ndarray
    size: int
    margin: int

    def draw(self, values: np.ndarray) -> np.ndarray:
        """Sum of `values` (n, p, p) on a canvas (size, size)."""
        side = self.size + 2 * self.margin
        canvas = np.bincount(self.pixel.ravel(), weights=values.ravel(), minlength=side * side).reshape(side, side)
        inner = slice(self.margin, self.margin + self.size)
        return np.asarray(canvas[inner, inner])


def patches(ellipses: Ellipses, *, size: int, reach: float = 1.9) -> Patches:
    """Patches that reach `reach` times the longest axis; centres outside the canvas (size, size) are drawn in part."""
    half = int(np.ceil(reach * ellipses.axes.max())) if len(ellipses) else 1
    margin = 2 * half + 2
    offset = np.arange(-half, half + 1)
    corner = np.clip(np.floor(ellipses.centre).astype(np.int64), -half - 1, size + half)
    rows = corner[:, 0, None, None] + offset[None, :, None]        # (n, p, 1)
    columns = corner[:, 1, None, None] + offset[None, None, :]     # (n, 1, p)
    down, right = rows - ellipses.centre[:, 0, None, None], columns - ellipses.centre[:, 1, None, None]
    cosine, sine = np.cos(ellipses.angle)[:, None, None], np.sin(ellipses.angle)[:, None, None]
    along, across = right * cosine + down * sine, down * cosine - right * sine
    distance = np.hypot(along / ellipses.axes[:, 0, None, None], across / ellipses.axes[:, 1, None, None])
    return Patches(distance, (rows + margin) * (size + 2 * margin) + columns + margin, size, margin)


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
