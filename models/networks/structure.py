"""How large are the structures in an image? Told by its spectrum, whatever light, stain and noise do to it.

The same cells at half the magnification have the same spectrum, an octave higher. So an image's spectrum, as shares of energy in bands of
a quarter of an octave less the noise, is moved along that of the training's negative controls until both are most alike: the way is their
size, in images as the network sees them. Neither the number of cells nor brightness or contrast moves a spectrum much; blur does a
little. Pure numpy and scipy.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BANDS = 4           # an octave
LOWEST = 3.0        # waves a side: slower ones are uneven light
FEWEST = 8          # bands that tell a size: images of 24 px a side
NOISE = 0.55        # waves a pixel, from which on there is nothing but noise: the corners of the spectrum
REACH, STEP = 1.5, 1 / 32       # octaves: the largest way that is looked at, and how finely
LIMIT, ERRORS = 1.25, 3.0       # times as large or as small, and standard errors, from both of which on structures are of another size


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Structures of the training's negative controls. spectrum: the median over their images of the root of each band's share of energy;
    spread: SD of the sizes of single images against all others, in octaves.
    """

    spectrum: tuple[float, ...]
    spread: float

    def sizes(self, images: Iterable[npt.ArrayLike]) -> Array:
        """How many times as large the structures of images (S, S) are as the training's, (N,); NaN of images that show nothing."""
        return np.asarray(2.0 ** -_ways(np.asarray(self.spectrum), np.stack([spectrum_of(image) for image in images])))

    def limit(self, wells: int) -> float:
        """How many times as large, or as small, the median of so many wells must be to be told."""
        return max(LIMIT, float(2 ** (ERRORS * self.spread / np.sqrt(wells))))


def structure_of(images: Iterable[npt.ArrayLike]) -> Structure | None:
    """From images (S, S) of the training's negative controls; None where they are too small, or fewer than three show anything."""
    found = [spectrum for spectrum in map(spectrum_of, images) if np.isfinite(spectrum).all()]
    if len(found) < 3 or len(found[0]) < FEWEST:
        return None
    spectra = np.stack(found)
    ways = [_ways(np.median(np.delete(spectra, row, axis=0), axis=0), spectra[row:row + 1])[0] for row in range(len(spectra))]
    return Structure(spectrum=tuple(float(f"{value:.4g}") for value in np.median(spectra, axis=0)),
                     spread=float(f"{np.std(ways, ddof=1):.4g}"))


def spectrum_of(image: npt.ArrayLike) -> Array:
    """(B,) roots of the shares of energy in the bands of an image (S, S), the noise taken off; NaN where nothing is left."""
    import scipy.fft  # here: the rules read cards, and do without it

    values = np.asarray(image, dtype=np.float32)
    window, place, weight, lower = _grid(len(values))
    if not np.ptp(values):
        return np.full(len(lower), np.nan)
    power = np.abs(scipy.fft.rfft2((values - np.average(values, weights=window)) * window)) ** 2
    density = np.bincount(place, power.ravel() * weight) / np.bincount(place, weight)
    energy = np.maximum(density[1:len(lower) + 1] - density[-1], 0) * lower**2
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(energy / energy.sum()))


@functools.cache
def _grid(size: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp], Array, Array]:
    """(window (S, S), band of each frequency and its weight (S * (S // 2 + 1),), lower edges of the bands (B,)): band 0 lies below LOWEST,
    1 to B are those of a spectrum, then comes what lies above them, and noise.
    """
    across = np.arange(size // 2 + 1)
    waves = np.hypot(np.fft.fftfreq(size)[:, None] * size, across)
    edges = LOWEST * 2 ** (np.arange(int(BANDS * np.log2(max(size / 2 / LOWEST, 1)) + 1e-9) + 1) / BANDS)
    place = np.digitize(waves, [*edges, NOISE * size])
    weight = np.broadcast_to(np.where((across == 0) | (2 * across == size), 1.0, 2.0), waves.shape)    # half of a spectrum is left out
    slope = np.hanning(size + 2)[1:-1]
    return np.outer(slope, slope).astype(np.float32), place.ravel(), weight.ravel(), edges[:-1]


def _ways(spectrum: Array, spectra: Array) -> Array:
    """Octaves (N,) by which spectra (N, B) lie above one (B,), by the cosine between them; NaN stays NaN. At least half of the bands must
    lie on one another.
    """
    bands, ways = np.arange(len(spectrum)), np.arange(-REACH, REACH + STEP / 2, STEP)
    source = bands - BANDS * ways[:, None]                          # (M, B): which band of the one comes to lie here
    inside = (source >= 0) & (source <= bands[-1])
    moved = np.where(inside, np.interp(source, bands, spectrum), 0)
    alike = spectra @ moved.T / np.sqrt(np.maximum(spectra**2 @ inside.T * (moved**2).sum(axis=1), 1e-12))     # (N, M)
    best = np.argmax(np.where(2 * inside.sum(axis=1) >= len(bands), alike, -1), axis=1)
    return np.where(np.isfinite(spectra).all(axis=1), ways[best], np.nan)
