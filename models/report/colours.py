"""Colours of heat maps: between the stops of a scale, and which ink stands out on them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Stops = npt.NDArray[np.float64]
"""(S, 3): red, green and blue, 0-255, evenly spaced along a scale."""


def mixed(stops: Stops, parts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Red, green and blue (..., 3) at places from 0 to 1 of a scale, clipped."""
    places = np.asarray(parts, dtype=float) * (len(stops) - 1)
    return np.rint(np.stack([np.interp(places, np.arange(len(stops)), channel) for channel in stops.T], axis=-1)).astype(np.int64)


def hex_of(rgb: npt.NDArray[np.int64]) -> str:
    """ "#1a2b3c"."""
    red, green, blue = rgb
    return f"#{red:02x}{green:02x}{blue:02x}"


def is_dark(rgb: npt.NDArray[np.int64]) -> bool:
    """Whether light ink stands out better on it: relative luminance (WCAG 2) below 0.18, at which black and white do alike."""
    linear = np.where(rgb <= 10, rgb / 3294, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    return bool(linear @ (0.2126, 0.7152, 0.0722) < 0.18)
