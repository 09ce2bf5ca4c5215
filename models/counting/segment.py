"""Images -> labelled objects: 0 is background, 1 .. n are cells or nuclei.

Suspended cells in bright field (system S4) are found by their edges, in the steps of Saini et al.: Sobel gradient, dilation, hole filling,
top-hat, Otsu, watershed on the distance transform. Nuclei, which are darker or brighter than everything else, are found by their intensity.
Attached cells: models/counting/attached.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from models.errors import InputError

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
_DILATION = 0.22    # of a cell's diameter: closes the gaps of its rim


@dataclass(frozen=True, kw_only=True)
class CellOptions:
    """Scales of `segment_relief`. diameter px of a usual cell: all lengths and areas follow it. blur px (standard deviation).

    floor: gradient, in full scales per pixel, at which contrast begins to count: Otsu divides log(gradient + floor), so that faint dead
    cells and bright living ones fall on the same side. smallest, largest: area over that of a disc of that diameter. longest: longest side
    of a cell's box over the shortest; fullest: area over that of its box (a disc has 0.79); solidity: area over that of the convex hull;
    these keep the ruling of a counting chamber out. dead_edge: in full scales per pixel, between the faint rims of dead cells, whose
    membrane is broken, and those of living ones. Defaults are those of benchmarks/counting.py, counting-chamber images of 225 px.
    """

    diameter: float = 22.0
    blur: float = 1.0
    floor: float = 0.01
    smallest: float = 0.3
    largest: float = 2.8
    longest: float = 2.0
    fullest: float = 0.95
    solidity: float = 0.8
    dead_edge: float = 0.065

    def __post_init__(self) -> None:
        for name in ("diameter", "floor", "smallest", "fullest", "dead_edge"):
            require(getattr(self, name) > 0, f"{name} must be > 0, got {getattr(self, name)}")
        require(self.blur >= 0, f"blur must be 0 or more, got {self.blur}")
        require(self.largest > self.smallest, f"largest must be above smallest, got {self.largest} and {self.smallest}")
        require(self.longest >= 1, f"longest must be 1 or more, got {self.longest}")
        require(0 <= self.solidity <= 1, f"solidity must lie in 0-1, got {self.solidity}")


@dataclass(frozen=True, kw_only=True)
class NucleusOptions:
    """Scales of `segment_nuclei`. blur px; depth px: how much narrower a waist must be than both halves to cut there; smallest: area px."""

    blur: float = 1.0
    depth: float = 0.4
    smallest: int = 20

    def __post_init__(self) -> None:
        require(self.blur >= 0 and self.depth > 0, f"blur must be 0 or more and depth > 0, got {self.blur} and {self.depth}")
        require(self.smallest >= 1, f"smallest must be 1 or more, got {self.smallest}")


def require(condition: bool, message: str) -> None:
    """Raises InputError unless the condition holds."""
    if not condition:
        raise InputError(message)


def grey(pixels: np.ndarray) -> Image:
    """(H, W) or (H, W, 3) of uint8, uint16 or 0-1 floats as (H, W) float32 on 0-1. Raises InputError for other shapes and types."""
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    require((pixels.ndim == 2 or colour) and pixels.size > 0, f"expected an image (H, W) or (H, W, 3), got shape {pixels.shape}")
    require(pixels.dtype.kind in "uf", f"expected unsigned integers, or floats on 0-1, got {pixels.dtype}")
    require(pixels.dtype.kind == "u" or 0 <= pixels.min() <= pixels.max() <= 1,
            f"expected floats on 0-1, got {pixels.min():g} to {pixels.max():g}; divide grey values by the largest that the camera has")
    scale = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    return np.asarray((pixels.mean(axis=2) if colour else pixels) / scale, dtype=np.float32)


def segment_relief(relief: Image, options: CellOptions) -> Labels:
    """Suspended cells, living and dead, of a bright-field image by its `edge_relief`: (H, W) int32, 0 = background."""
    from skimage.filters import threshold_otsu

    if np.ptp(relief) < options.floor:      # nothing but noise: Otsu would divide even that
        return np.zeros(relief.shape, np.int32)
    logs = np.log(relief + options.floor)
    core, grown = _square(0.32 * options.diameter), _square(_DILATION * options.diameter)
    mask = ndimage.binary_opening(ndimage.binary_fill_holes(logs > threshold_otsu(logs)), core)
    mask = ndimage.binary_erosion(mask, grown, border_value=1)     # takes the dilation back, so that boxes and areas are the cell's own
    return _cells_only(_divided(mask, depth=0.5), options)


def edge_relief(image: Image, options: CellOptions) -> Image:
    """Sobel gradient, dilated, its holes filled, and opened: each cell a plateau as high as its rim (H, W), in full scales per pixel.

    The opening drops what is narrower than two fifths of a cell (ruling, dust), the top-hat what is wider than one and a half cells.
    """
    smooth = ndimage.gaussian_filter(image, options.blur)
    dilated = ndimage.grey_dilation(gradient(smooth), size=odd(_DILATION * options.diameter))
    filled = ndimage.grey_opening(_holes_filled(dilated), size=odd(0.42 * options.diameter))
    return np.asarray(filled - ndimage.grey_opening(filled, size=odd(1.5 * options.diameter)), dtype=np.float32)


def gradient(image: Image) -> Image:
    """Magnitude of the Sobel gradient, in full scales per pixel."""
    return np.asarray(ndimage.generic_gradient_magnitude(image, ndimage.sobel) / 8)    # 8: the sum of a kernel's positive weights, twice


def _holes_filled(image: Image) -> Image:
    """Basins without a way to the border raised to their lowest rim (reconstruction by erosion)."""
    from skimage.morphology import reconstruction

    seed = np.full_like(image, image.max())
    seed[[0, -1], :], seed[:, [0, -1]] = image[[0, -1], :], image[:, [0, -1]]
    return np.asarray(reconstruction(seed, image, method="erosion"), dtype=np.float32)


def odd(length: float) -> int:
    """Pixels of a window with a centre, about as long as `length`."""
    return 2 * int(length / 2) + 1


def _square(length: float) -> npt.NDArray[np.bool_]:
    return np.ones((odd(length),) * 2, bool)


def _divided(mask: npt.NDArray[np.bool_], *, depth: float) -> Labels:
    """Touching objects cut at their waists: watershed on the distance to the background, from its maxima that rise by `depth` px."""
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1.0)
    markers, _ = ndimage.label(h_maxima(distance, depth), np.ones((3, 3)))
    return np.asarray(watershed(-distance, markers, mask=mask), dtype=np.int32)


def _cells_only(labels: Labels, options: CellOptions) -> Labels:
    """Objects of a cell's size and shape, numbered anew from 1."""
    from skimage.measure import regionprops

    disc = np.pi * (options.diameter / 2) ** 2
    kept = np.zeros(int(labels.max()), dtype=bool)
    for region in regionprops(labels):
        height, width = region.bbox[2] - region.bbox[0], region.bbox[3] - region.bbox[1]
        kept[region.label - 1] = (
            options.smallest * disc <= region.area <= options.largest * disc and max(height, width) <= options.longest * min(height, width)
            and region.area <= options.fullest * height * width and region.solidity >= options.solidity)
    return numbered_anew(labels, kept)


def segment_nuclei(image: Image, options: NucleusOptions | None = None) -> Labels:
    """Stained nuclei of an image (H, W) on 0-1, bright on dark or dark on bright, of any size: (H, W) int32, 0 = background.

    The threshold works on log intensity, where dim nuclei beside bright ones are not lost, and is followed by a local one, whose window
    is four nuclei wide; objects under a seventh of the median area are specks.
    """
    from skimage.filters import threshold_local, threshold_otsu

    options = options or NucleusOptions()
    bright = image if np.median(image) < 0.5 * (image.min() + image.max()) else 1 - image
    smooth = ndimage.gaussian_filter(bright, options.blur)
    if np.ptp(smooth) < 1e-3:
        return np.zeros(image.shape, np.int32)
    logs = np.log(smooth - smooth.min() + 0.02)
    mask = logs > threshold_otsu(logs)
    diameter = 2 * np.sqrt(np.median(areas_of(ndimage.label(mask)[0])) / np.pi)
    mask &= logs > threshold_local(logs, max(odd(4 * diameter), 31))
    mask = ndimage.binary_fill_holes(ndimage.binary_opening(mask))
    pieces, _ = ndimage.label(mask)
    mask = np.concatenate([[0], areas_of(pieces)])[pieces] >= options.smallest
    labels = _divided(mask, depth=options.depth)
    if not labels.any():
        return labels
    areas = areas_of(labels)
    return numbered_anew(labels, areas >= max(options.smallest, 0.15 * np.median(areas)))


def numbered_anew(labels: np.ndarray, kept: npt.NDArray[np.bool_]) -> Labels:
    """Labels of the objects that are kept, kept[n - 1] saying it of object n, as 1, 2, ...; 0 elsewhere."""
    return np.concatenate([[0], np.cumsum(kept) * kept]).astype(np.int32)[labels]


def areas_of(labels: np.ndarray, count: int = 0) -> npt.NDArray[np.int64]:
    """Pixels of each object from 1 on; of at least `count` objects, where the last ones may be gone."""
    return np.bincount(labels.ravel(), minlength=count + 1)[1:]
