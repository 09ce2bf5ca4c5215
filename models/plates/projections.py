"""A stack of planes as one image: which projections there are, and how an image becomes small. The one place of this arithmetic.

mip = maximum over the planes; mid = the middle plane (number Z // 2, from 0); mos = mean of the stack, each pixel by itself.
Small images are averaged over areas (anti-aliased), after the projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
from PIL import Image

Projection = Literal["mip", "mid", "mos"]
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)

_ROWS = 64      # rows that are worked on at a time: a quarter of a megabyte of a 2048 x 2048 plane stays in the processor's cache
_AVERAGED = 2**18   # pixels that are averaged at a time: their floating-point copy takes 1 MB, and fewer would be many calls


class Plane(NamedTuple):
    """What one channel of a network is fed. colour: "red", "green" or "blue" of a colour image, "" for grey."""

    channel: str
    colour: str
    projection: Projection


def parse_plane(text: str) -> Plane:
    """The parts of "channel:projection" or "channel.colour:projection", as an InputSpec checked them."""
    source, _, projection = text.rpartition(":")
    channel, _, colour = source.partition(".")
    return Plane(channel, colour, projection)  # type: ignore[arg-type]  # checked in InputSpec


def project(stack: np.ndarray, projection: Projection) -> np.ndarray:
    """One plane (H, W) of a stack (Z, H, W): in the stack's own whole numbers, but for the mean (mos), which is float64."""
    if projection == "mid":
        return np.asarray(stack[len(stack) // 2])
    return np.asarray(stack.max(axis=0) if projection == "mip" else stack.mean(axis=0))


def resize_area(plane: np.ndarray, size: int) -> np.ndarray:
    """A plane (H, W) averaged over areas to (size, size), float32; anti-aliased for any ratio."""
    return _shrunk(plane.__getitem__, plane.shape, size)


def _shrunk(rows: Callable[[slice], np.ndarray], shape: tuple[int, ...], size: int) -> np.ndarray:
    """resize_area of the plane that `rows` gives slice by slice: each band across, then all of it down.

    The numbers do not depend on the bands, and no copy of a large plane is made in memory. Not left to one call: Pillow picks the order.
    """
    if shape == (size, size):
        return rows(slice(None)).astype(np.float32)
    height = max(1, _AVERAGED // shape[1])
    narrow = np.empty((shape[0], size), np.float32)
    for top in range(0, shape[0], height):
        band = rows(slice(top, top + height))
        narrow[top:top + height] = _boxed(band, (len(band), size))
    return _boxed(narrow, (size, size))


def _boxed(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A plane averaged over areas to another shape, float32."""
    return np.asarray(Image.fromarray(plane.astype(np.float32, copy=False)).resize(shape[::-1], Image.Resampling.BOX))


class StackProjector:
    """All projections of a stack whose planes come one at a time, each used once; equal to `project` and `resize_area` bit for bit.

    Memory does not grow with the number of planes (7 bytes a pixel of 8 bit, 8 of 16 bit), and the next stack of the same shape
    uses it again. Sums are exact: in 16 bit as long as they fit, which is four times as fast, then carried over to 32 bit.
    """

    def __init__(self) -> None:
        self._count = 0
        self._bound = 0     # no 16-bit sum is larger
        self._highest: np.ndarray = np.empty(0, np.uint16)

    def run(self, planes: Iterable[np.ndarray], *, count: int) -> None:
        """Take in the `count` planes of a stack: (H, W) or (H, W, 3) of uint8 or uint16.

        Raises ValueError for planes of several shapes or depths, or another number of them.
        """
        seen = 0
        for plane in planes:
            if not seen:
                self._start(plane)
            elif plane.shape != self._highest.shape or plane.dtype != self._highest.dtype:
                raise ValueError(f"plane {seen + 1} has {plane.shape} pixels of {plane.dtype}, the first {self._highest.shape} of "
                                 f"{self._highest.dtype}")
            if seen == count // 2:
                np.copyto(self._middle, plane)
            self._add(plane)
            seen += 1
        if seen != count or not count:
            raise ValueError(f"expected {count} planes, got {seen}")
        self._count = count

    def _start(self, plane: np.ndarray) -> None:
        if plane.shape != self._highest.shape or plane.dtype != self._highest.dtype:
            self._highest, self._middle = np.empty_like(plane), np.empty_like(plane)
            self._sum, self._carried = np.empty(plane.shape, np.uint16), np.empty(plane.shape, np.uint32)
        for array in (self._highest, self._sum, self._carried):
            array.fill(0)
        self._bound = 0

    def _add(self, plane: np.ndarray) -> None:
        brightest = int(plane.max())
        full = self._bound + brightest > np.iinfo(np.uint16).max
        self._bound = brightest if full else self._bound + brightest
        for top in range(0, len(plane), _ROWS):
            band = slice(top, top + _ROWS)
            np.maximum(self._highest[band], plane[band], out=self._highest[band])
            if full:
                np.add(self._carried[band], self._sum[band], out=self._carried[band])
                np.copyto(self._sum[band], plane[band])
            else:
                np.add(self._sum[band], plane[band], out=self._sum[band])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the planes that were taken in."""
        return self._highest.shape

    @property
    def dtype(self) -> np.dtype:
        """Depth of the planes that were taken in."""
        return self._highest.dtype

    def small(self, projection: Projection, size: int) -> np.ndarray:
        """A projection of the stack that was taken in, averaged over areas: (size, size) or (size, size, 3), float32."""
        shape = self._highest.shape
        if len(shape) == 2:
            return _shrunk(partial(self._rows, projection), shape, size)
        return np.stack([_shrunk(partial(self._colour, projection, part), shape[:2], size) for part in range(shape[2])], axis=-1)

    def _colour(self, projection: Projection, part: int, rows: slice) -> np.ndarray:
        return self._rows(projection, rows)[..., part]

    def _rows(self, projection: Projection, rows: slice) -> np.ndarray:
        if projection == "mos":
            return (self._carried[rows] + self._sum[rows]) / np.float64(self._count)
        return (self._highest if projection == "mip" else self._middle)[rows]
