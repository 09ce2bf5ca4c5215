"""Does an image look like those that a model learned from? A network answers for anything: a photograph, noise, cells at another
magnification get a class as surely as cells do, and nothing in its output or its features says that they are no such cells.

So a card keeps how its training images look, as the network is fed them: brightness, range and skew of each plane, detail at each octave,
middle against border, likeness of colours. An image's `unlikeness` is its Mahalanobis distance from them, over a limit that leaves room
for one in a hundred images of groups that were left out. What it tells and what it misses: docs/image_sets.md. Pure numpy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.records import six_digits

Array = npt.NDArray[np.float64]

LEAST = 20          # images that say how a set looks
FOLDS = 5           # of whole groups, each left out once to see how far images of the same kind lie
ROOM = 1.1          # times the distance that one in a hundred of them exceeds: the limit
LEAST_SPREAD = 0.1  # SD that each descriptor is given beside its own: images taken alike are not strange for being saved as JPEG
SET_SHARE, SET_LEAST = 0.5, 8       # share of a set's images, and their number, from which on the set as a whole is another kind
_QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.98)
_SMALLEST = 6       # pixels a side of the coarsest octave
_FINEST = 64        # pixels a side that say how bright an image is
_DARK = 0.004       # one grey level of 8 bits: no range, and no difference, is smaller


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Of a training set. mean (K,), whitening (K, K): of its descriptors; limit: distance of unlikeness 1; usual: unlikeness that one in
    ten of its images exceeds, its group left out; images: how many there were.
    """

    mean: tuple[float, ...]
    whitening: tuple[tuple[float, ...], ...]
    limit: float
    usual: float
    images: int

    def unlikeness(self, pixels: npt.NDArray[np.floating]) -> Array:
        """(N,) of images (N, C, S, S): above 1 another kind."""
        return _distances(_described(pixels), np.asarray(self.mean), np.asarray(self.whitening)) / self.limit

    def is_other_kind(self, unlikeness: npt.ArrayLike) -> bool:
        """Whether images as a whole are another kind: most lie farther out than the usual ones, be none of them beyond the limit."""
        values = np.asarray(unlikeness, dtype=float)
        return len(values) >= SET_LEAST and float((values > self.usual).mean()) >= SET_SHARE


def looks_of(pixels: npt.NDArray[np.floating], groups: npt.ArrayLike) -> Looks | None:
    """From a training set's images (N, C, S, S) and their groups (N,); None where there are too few."""
    number = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    if len(pixels) < LEAST or number.max() + 1 < FOLDS:
        return None
    rows, fold = _described(pixels), number % FOLDS
    apart = np.concatenate([_distances(rows[fold == own], *_gaussian(rows[fold != own])) for own in range(FOLDS)])
    limit = six_digits(ROOM * float(np.quantile(apart, 0.99)))
    mean, whitening = _gaussian(rows)
    return Looks(mean=tuple(map(six_digits, mean)), whitening=tuple(tuple(map(six_digits, row)) for row in whitening), limit=limit,
                 usual=six_digits(float(np.quantile(apart, 0.9)) / limit), images=len(rows))


def fingerprint(image: npt.NDArray[np.floating]) -> str:
    """What tells an image as the network is fed it, (C, S, S), from all others, whatever its file is called."""
    return hashlib.sha256(np.ascontiguousarray(image, dtype=np.float16).tobytes()).hexdigest()[:16]


def _described(pixels: npt.NDArray[np.floating]) -> Array:
    return np.stack([describe(image) for image in pixels])


def describe(image: npt.NDArray[np.floating]) -> Array:
    """(K,) of an image (C, S, S) on 0-1; K depends on C and S alone."""
    values = image.astype(np.float32)
    grey = values.mean(axis=0)
    spread = float(grey.std()) + _DARK / 2
    step = -(-len(grey) // _FINEST)
    thin = values[:, ::step, ::step]
    found = [number for plane in thin for number in _tones(plane)]
    found += [_likeness(*thin[place - 1:place + 1]) for place in range(1, len(thin))]
    quarter = max(1, len(grey) // 4)
    found.append(float(grey[quarter:-quarter, quarter:-quarter].mean() - grey.mean()) / spread)
    while len(grey) >= _SMALLEST:
        edges = [np.abs(np.diff(grey, axis=axis)) for axis in (0, 1)]
        mean = float(np.mean([edge.mean() for edge in edges]))
        root = float(np.mean([np.sqrt((edge**2).mean()) for edge in edges]))
        found += [np.log(mean / spread + 1e-3), np.log(root / (mean + 1e-4) + 1e-3)]      # how much detail, and whether in few places
        half = len(grey) // 2
        grey = grey[:2 * half, :2 * half].reshape(half, 2, half, 2).mean(axis=(1, 3))
    return np.asarray(found, dtype=float)


def _tones(plane: npt.NDArray[np.float32]) -> tuple[float, ...]:
    """Middle, log range, and where the middle and the middle half lie in it."""
    low, lower, middle, upper, high = (float(value) for value in np.quantile(plane, _QUANTILES))
    whole = high - low + _DARK
    return middle, float(np.log(whole)), (middle - low) / whole, (upper - lower) / whole


def _likeness(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Correlation of two planes; 1 where one shows nothing."""
    if min(one.std(), other.std()) < _DARK / 4:
        return 1.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _gaussian(rows: Array) -> tuple[Array, Array]:
    """(mean (K,), W (K, K)) of rows (n, K): W'W is the inverse of their covariance, its correlations shrunk by K / (n + K), and each
    descriptor blurred by LEAST_SPREAD.
    """
    share = rows.shape[1] / (len(rows) + rows.shape[1])
    scale = np.sqrt(rows.var(axis=0) + LEAST_SPREAD**2)
    shrunk = (1 - share) * np.cov(rows / scale, rowvar=False)
    np.fill_diagonal(shrunk, 1)
    return rows.mean(axis=0), np.linalg.inv(np.linalg.cholesky(shrunk)) / scale


def _distances(rows: Array, mean: Array, whitening: Array) -> Array:
    """Root mean square whitened distances (n,) of rows (n, K)."""
    away = np.einsum("nk,jk->nj", rows - mean, whitening)      # not by BLAS, whose last bits depend on how many rows there are
    return np.asarray(np.sqrt((away**2).mean(axis=1)))
