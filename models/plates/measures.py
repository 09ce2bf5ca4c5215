"""What can be measured of a well's image without knowing what is in it: noise, detail, background, saturation, evenness, large objects.

Numbers only; whether one of them is a reason to distrust a well is judged later, against the other wells (`models/plates/quality.py`).
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np

from models.plates.ranks import largest, lower_decile_of_rows, mean_square_of_smaller_half, median_of_rows
from models.separation import MAD_TO_SD

DETAIL_SCALES = (1, 2, 4, 8)    # px; SD of the Laplacian of Gaussian, each of one pixel on an image halved once more
SMOOTH = (7, 7)                 # px; the Gaussian of one pixel, cut at three
CHANCE = 10.0                   # over an image's side: its edges add 3 to the energy of noise alone, three SD of it are 7
BLOCKS = 8                      # blocks a side, over which the background is followed
MIN_LIT_SIDE = 8 * BLOCKS       # px; in smaller images single cells hide too much of the background to follow it
CONTRAST_FLOOR = 0.03           # of the contrast: a background below it counts as that, so that a black one divides by something
DEBRIS_SHARE = 0.005            # of the image: what is larger than that and brighter than all else is no cell
DEBRIS_SCALE = 1 / 100          # of the image's side: smaller objects are averaged away
COARSE = 2.0                    # px: a wider Gaussian runs on halved images, which it smooths alike and many times quicker
SMALLER_HALF = 0.14266          # mean square of a standard normal variable within its median absolute value, 0.6745
MIN_SIDE = 8                    # px; smaller images have no measures but size and saturation
SAMPLED_SIDE = 512              # px; of images larger each way, bands of rows tell fine detail
BANDS = 12                      # spread evenly from top to bottom
BAND_ROWS = 16                  # px; at 1080 px a side four times the pixels of an image of 224
BAND_MARGIN = 4                 # px above and below; Gaussian and Laplacian reach no further, so that no band has an edge of its own
STEPPED_SIDE = 1024             # px; of images of that size and more every n-th pixel each way tells percentiles, noise and evenness,
STEPS = 256                     # and every n-th row saturation, so that at least this many are left
HALVED_ROWS = 128               # that are averaged at a time

_own = threading.local()        # see _scratch

cv2.setNumThreads(1)            # wells are measured side by side; threads within each would mostly wait for one another, and spin meanwhile


def measure_stack(stack: np.ndarray, plane: np.ndarray) -> dict[str, Any]:
    """Measures of one site and channel of a well, columns of the contract ImageQuality from `height` on, the gradient as yet as `dim`
    (`with_gradients`).

    stack: pixels as they were read, (Z, H, W) or (Z, H, W, 3), uint8 or uint16; plane: (H, W), the projection to look at.
    """
    height, width = plane.shape
    brightest = int(stack.max())
    uniform = brightest == int(stack.min())
    dark = uniform and brightest < np.iinfo(stack.dtype).max    # all of one grey value, yet not at the camera's limit
    digest = hashlib.sha256(np.ascontiguousarray(stack).data)   # processors have instructions for it
    return {"height": height, "width": width, "planes": len(stack), "bits": 8 * stack.dtype.itemsize,
            "digest": "" if uniform else digest.hexdigest()[:16], "brightest": brightest,
            "saturated_share": 0.0 if dark else _share_at(brightest, stack[:, ::_step(plane)], width), **measure_plane(plane)}


def _share_at(value: int, rows: np.ndarray, width: int) -> float:
    """Share of pixels with this value in any plane, and any colour, of rows of a stack (Z, rows, W) or (Z, rows, W, 3)."""
    there = rows == value if rows.ndim < 4 else (rows == value).any(axis=-1)
    return np.count_nonzero(there if len(rows) == 1 else there.any(axis=0)) / (rows.shape[1] * width)


def measure_plane(plane: np.ndarray) -> dict[str, Any]:
    """noise, detail_*, background, contrast, dim, debris of an image (H, W) in its own grey values; NaN for tiny images.

    plane: uint8 or uint16 as it was read, or float, as means of planes or colours are.
    dim: what `with_gradients` makes the gradient of, low percentiles of BLOCKS x BLOCKS blocks; None for images below MIN_LIT_SIDE.
    """
    sample = _whole(np.ascontiguousarray(plane[(slice(None, None, _step(plane)),) * 2]))
    background, middle, bright = (float(value) for value in _percentiles(sample, (5, 50, 99.9)))
    if min(plane.shape) < MIN_SIDE:
        names = ("noise", *(f"detail_{scale}" for scale in DETAIL_SCALES))
        return {"background": background, "contrast": bright - background, **dict.fromkeys(names, np.nan), "dim": None, "debris": np.nan}
    noise, halved = noise_of(plane), _halvings(plane)
    dim = lower_decile_of_rows(_blocks(sample)) if min(sample.shape) >= MIN_LIT_SIDE else None
    return {"background": background, "contrast": bright - background, "noise": noise, **_details(halved, noise), "dim": dim,
            "debris": _debris(halved, middle, noise)}


def with_gradients(measured: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Measures of many images with `gradient`, how much the background rises across the image in units of itself, in the place of `dim`;
    NaN where that is None. All images at once, because the fit is many small steps.
    """
    lit = [place for place, one in enumerate(measured) if one["dim"] is not None]
    rises = np.full(len(measured), np.nan)
    if lit:
        rises[lit] = _rises(np.stack([measured[place]["dim"] for place in lit]))
    units = [max(one["background"] + CONTRAST_FLOOR * one["contrast"], 1e-9) for one in measured]
    return [{"gradient" if name == "dim" else name: rise / unit if name == "dim" else value for name, value in one.items()}
            for one, rise, unit in zip(measured, rises.tolist(), units, strict=True)]


def _whole(values: np.ndarray) -> np.ndarray:
    """Grey values as uint16, which are quicker to rank, where they are whole numbers."""
    if values.dtype.kind == "u":
        return values
    values = values.astype(np.float32, copy=False)
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.uint16)
    return whole if np.array_equal(whole, values) else values


def _percentiles(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """np.percentile of all values; whole numbers are counted, which takes a tenth of the time of sorting them."""
    if values.dtype.kind != "u":
        return np.percentile(values, shares)
    places, until = np.asarray(shares) / 100 * (values.size - 1), np.cumsum(grey_counts(values))
    below, above = (np.searchsorted(until, rank, side="right") for rank in (np.floor(places), np.ceil(places)))
    return np.asarray(below + (above - below) * (places % 1))


def grey_counts(values: np.ndarray) -> np.ndarray:
    """How often each grey value from 0 to the highest stands in values (H, W), uint8 or uint16; (levels,) float64."""
    levels = int(values.max()) + 1
    return np.asarray(cv2.calcHist([values], [0], None, [levels], [0, levels]), dtype=np.float64).ravel()


def mean_step(grey: np.ndarray) -> float:
    """Mean absolute difference of neighbours in a row, of an image (H, W), uint8, uint16 or float32; NaN of images one pixel wide."""
    right, left = grey[:, 1:], grey[:, :-1]
    return float(cv2.norm(right, left, cv2.NORM_L1) / right.size) if right.size else float("nan")


def _in_bands(plane: np.ndarray) -> bool:
    """Whether an image is so large that bands of it tell its detail."""
    return min(plane.shape) > SAMPLED_SIDE


def _step(plane: np.ndarray) -> int:
    """Every how many pixels an image is sampled."""
    return min(plane.shape) // STEPS if min(plane.shape) >= STEPPED_SIDE else 1


def noise_of(plane: np.ndarray) -> float:
    """SD of the camera's noise, in grey values: of the smaller half of all diagonal differences, where structure hardly shows.

    At least that of rounding to whole grey values, sqrt(1/12).
    """
    doubled = _diagonal_differences(plane, 2 * _step(plane))    # has twice the noise's SD
    return float(np.sqrt(max(mean_square_of_smaller_half(doubled) / 4 / SMALLER_HALF, 1 / 12)))


def _diagonal_differences(plane: np.ndarray, step: int) -> np.ndarray:
    """(upper left - upper right - lower left + lower right) of 2 x 2 pixels, of those that begin at every step-th row and column."""
    height, width = (length // 2 * 2 for length in plane.shape)
    if plane.dtype.kind == "u":     # exact in any order: whole rows first, which lie in memory one after another
        signed: Any = np.int16 if plane.dtype == np.uint8 else np.int32
        down = plane[0:height:step, :width].astype(signed)
        down -= plane[1:height:step, :width]
        return np.asarray(down[:, 0::step] - down[:, 1::step])
    corners = [plane[down:height:step, right:width:step].astype(np.float32) for down in (0, 1) for right in (0, 1)]
    return np.asarray(corners[0] - corners[1] - corners[2] + corners[3])


def _halvings(plane: np.ndarray) -> list[np.ndarray]:
    """The image (H, W), and means of 2 x 2 pixels of the one before as float32, down to MIN_SIDE. The image too is float32, good until the
    next call, unless bands of it are enough.
    """
    halved = [plane if _in_bands(plane) else _floating(plane)]
    while min(halved[-1].shape) >= 2 * MIN_SIDE:
        height, width = (length // 2 for length in halved[-1].shape)
        halved.append(np.empty((height, width), np.float32))
        for top in range(0, height, HALVED_ROWS):       # of a large image no floating-point copy, which would not stay in the cache
            part = halved[-2][2 * top:2 * min(top + HALVED_ROWS, height), :2 * width]
            cv2.resize(part if part.dtype == np.float32 else _floating(part), (width, len(part) // 2),
                       dst=halved[-1][top:top + HALVED_ROWS], interpolation=cv2.INTER_AREA)
    return halved


def _floating(plane: np.ndarray) -> np.ndarray:
    """An image (H, W) as float32, good until the next call."""
    floating = _scratch("plane", plane.shape)
    np.copyto(floating, plane)
    return floating


def _details(halved: list[np.ndarray], noise: float) -> dict[str, float]:
    """log2 of (energy of structure / energy of noise) at each scale: the mean square of the Laplacian of Gaussian, less what noise
    alone gives; not below what its edges and chance may add to the latter. NaN for scales that the image is too small for.

    A coarser scale is one pixel on an image halved more often: a quarter of the pixels each time, and the noise of means is known.
    """
    found = {f"detail_{scale}": float("nan") for scale in DETAIL_SCALES}
    for scale, plane in zip(DETAIL_SCALES, halved, strict=False):
        alone = (noise / scale) ** 2 * _noise_gain()
        energy, pixels = _curvature(plane)
        found[f"detail_{scale}"] = float(np.log2(max(energy / alone - 1, CHANCE / math.sqrt(pixels))))
    return found


def _curvature(plane: np.ndarray) -> tuple[float, int]:
    """(mean square of the Laplacian of Gaussian of an image (H, W), over how many pixels): all of them, of large images those of bands."""
    if not _in_bands(plane):
        return cv2.norm(_curved(plane), cv2.NORM_L2SQR) / plane.size, plane.size
    bands = _bands(plane)                                                       # (BANDS, rows, W)
    curved = _curved(bands.reshape(-1, bands.shape[-1])).reshape(bands.shape)   # filtered as one image, whose parts do not
    curved[:, :BAND_MARGIN] = curved[:, -BAND_MARGIN:] = 0                      # reach each other beyond their margins
    pixels = BANDS * BAND_ROWS * plane.shape[1]
    return cv2.norm(curved.reshape(-1, plane.shape[1]), cv2.NORM_L2SQR) / pixels, pixels


def _bands(plane: np.ndarray) -> np.ndarray:
    """BANDS bands of an image, with their margins, each in the middle of its part of the height: (BANDS, rows, W), good until the next."""
    rows, part = BAND_ROWS + 2 * BAND_MARGIN, len(plane) // BANDS
    bands, top = _scratch("bands", (BANDS, rows, plane.shape[1])), (part - rows) // 2
    np.copyto(bands, plane[:BANDS * part].reshape(BANDS, part, -1)[:, top:top + rows])
    return bands


def _curved(plane: np.ndarray) -> np.ndarray:
    """The Laplacian (of nearest neighbours) of an image (H, W) that was smoothed by a Gaussian of one pixel; good until the next call."""
    smooth, curved = _scratch("smooth", plane.shape), _scratch("curved", plane.shape)
    cv2.GaussianBlur(plane, SMOOTH, 1.0, dst=smooth, borderType=cv2.BORDER_REPLICATE)
    cv2.Laplacian(smooth, cv2.CV_32F, dst=curved, ksize=1, borderType=cv2.BORDER_REPLICATE)
    return curved


def _scratch(use: str, shape: tuple[int, ...]) -> np.ndarray:
    """A float32 image in memory that this thread uses again for the next of its kind: fresh memory costs as much as filtering into it."""
    size = math.prod(shape)
    if getattr(_own, use, np.empty(0)).size < size:
        setattr(_own, use, np.empty(size, np.float32))
    return np.asarray(getattr(_own, use)[:size].reshape(shape))


@cache
def _noise_gain() -> float:
    """`_curvature` of white noise of variance 1."""
    impulse = np.zeros((4 * max(SMOOTH) + 1,) * 2, np.float32)
    impulse[2 * max(SMOOTH), 2 * max(SMOOTH)] = 1
    return _curvature(impulse)[0] * impulse.size


def _blocks(plane: np.ndarray) -> np.ndarray:
    """The pixels of BLOCKS x BLOCKS blocks of an image, (blocks, pixels); what does not fit is cut, and a small image has fewer blocks."""
    side = min(BLOCKS, *plane.shape)
    height, width = (length // side for length in plane.shape)
    cut = plane[:side * height, :side * width].reshape(side, height, side, width)
    return np.asarray(cut.swapaxes(1, 2).reshape(side * side, height * width))


def _rises(dim: np.ndarray) -> np.ndarray:
    """How much the background of images rises from end to end, (N,) grey values, by low percentiles (N, side * side) of their blocks: a
    plane fitted from below (expectiles, 0.1) and without the far ones (Huber's weights), so that cells and dirt do not bend it.

    No call of linear algebra, whose last bits are another processor's choice: sums in a stated order, whatever the number of images.
    """
    side = round(dim.shape[-1] ** 0.5)
    down, right = (axis.reshape(-1, 1) for axis in np.meshgrid(*(np.linspace(-1, 1, side),) * 2, indexing="ij"))
    values = np.ascontiguousarray(dim.T)                                        # (blocks, N)
    weights = np.ones_like(values)
    for _ in range(20):
        total = _summed(weights)
        middle = [_summed(weights * axis) / total for axis in (down, right, values)]
        y, x, z = down - middle[0], right - middle[1], values - middle[2]
        yy, xx, yx, yz, xz = (_summed(weights * one * other) for one, other in ((y, y), (x, x), (y, x), (y, z), (x, z)))
        slopes = (yz * xx - xz * yx) / (yy * xx - yx * yx), (xz * yy - yz * yx) / (yy * xx - yx * yx)
        above = z - slopes[0] * y - slopes[1] * x
        away = np.abs(above)
        far = away / np.maximum(1.5 * MAD_TO_SD * median_of_rows(away.T).T, 1e-9)
        weights = np.where(above > 0, 0.1, 0.9) / np.maximum(1.0, far)
    return np.asarray(2 * np.sqrt(slopes[0] * slopes[0] + slopes[1] * slopes[1]))


def _summed(values: np.ndarray) -> np.ndarray:
    """Sums of columns (rows, N), in C order, row after row: (N,). A single column NumPy would sum in another order."""
    several = values if values.shape[1] > 1 else np.repeat(values, 2, axis=1)
    return np.asarray(np.add.reduce(several, axis=0)[:values.shape[1]])


def _debris(halved: list[np.ndarray], middle: float, noise: float) -> float:
    """log2 of the mean deviation from the image's median `middle`, in grey values, of the most deviating 0.5 % of pixels after small
    objects were averaged away; not below the noise.
    """
    wanted = max(1.0, DEBRIS_SCALE * min(halved[0].shape))
    times = max(0, math.ceil(math.log2(wanted / COARSE)))
    plane = halved[times]
    away = cv2.GaussianBlur(plane, (0, 0), wanted / 2**times, dst=_scratch("smooth", plane.shape), borderType=cv2.BORDER_REPLICATE)
    away = np.abs(np.subtract(away, np.float32(middle), out=away), out=away).ravel()
    most = largest(away, max(1, round(DEBRIS_SHARE * away.size)))
    return float(np.log2(max(math.fsum(most) / len(most), noise)))      # exact: processors leave the largest in an order of their own
