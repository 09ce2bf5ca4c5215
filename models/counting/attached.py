"""Attached cells of a bright-field image -> labelled objects: cells lie flat while they live and round up when they die.

One threshold for both loses the flat ones, whose rims are several times fainter, so there are two rounds of the steps of Saini et al.: the
Sobel gradient, steep rims, holes filled, and watershed give the rounded cells; what they cover is left out, and local contrast, Otsu,
holes filled, and watershed give the flat ones. What touches is cut at its waists, the deepest first, until every piece is about convex and
no larger than a cell can be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from models.counting.segment import Image, Labels, areas_of, gradient, numbered_anew, odd, require

Mask = npt.NDArray[np.bool_]
_DEPTHS = (0.12, 0.09, 0.06, 0.04, 0.03, 0.02, 0.01)    # of a cell's diameter: how much narrower a waist must be than both halves
_GROUND = 1.2       # diameters: wider than the inside of a rounded cell
_MIRRORED = 1.5     # diameters added on every side, mirrored, so that the rims of cells cut by the border close


@dataclass(frozen=True, kw_only=True)
class AttachedOptions:
    """Scales of `segment_attached`. diameter px of a disc with a usual flat cell's area: all lengths and areas follow it. blur px (sd).

    floor: local contrast (standard deviation, in full scales) that an empty image has by its noise. dead_edge: in full scales per pixel,
    between the rims of flat and of rounded cells. smallest, largest: area over that of the disc. convex: area over that of the convex hull,
    from which on an object is one cell. shown: a cell cut by the border counts from this share of the median area of whole ones on; at a
    half, each cell of a dish counts in the one field where its centre lies. Defaults are those of benchmarks/counting.py, 224 px at 1.3 um.
    """

    diameter: float = 17.0
    blur: float = 0.8
    floor: float = 0.004
    dead_edge: float = 0.035
    smallest: float = 0.4
    largest: float = 2.6
    convex: float = 0.93
    shown: float = 0.5

    def __post_init__(self) -> None:
        for name in ("diameter", "floor", "dead_edge", "smallest"):
            require(getattr(self, name) > 0, f"{name} must be > 0, got {getattr(self, name)}")
        require(self.largest > self.smallest, f"largest must be above smallest, got {self.largest} and {self.smallest}")
        require(self.blur >= 0, f"blur must be 0 or more, got {self.blur}")
        for name in ("convex", "shown"):
            require(0 <= getattr(self, name) <= 1, f"{name} must lie in 0-1, got {getattr(self, name)}")

    @property
    def disc(self) -> float:
        """Area of a usual cell, px."""
        return float(np.pi * (self.diameter / 2) ** 2)


def segment_attached(image: Image, options: AttachedOptions | None = None) -> tuple[Labels, Mask]:
    """(labels, rounded): (H, W) int32, 0 = background, of an image (H, W) on 0-1; and per label from 1 on whether the cell is rounded."""
    options = options or AttachedOptions()
    margin = min(round(_MIRRORED * options.diameter), *(side - 1 for side in image.shape))
    smooth = ndimage.gaussian_filter(np.pad(image, margin, mode="reflect"), options.blur)
    round_ones = _rounded(smooth, options)
    flat_ones = _flat(smooth, round_ones > 0, options)
    labels = np.where(flat_ones, flat_ones + round_ones.max(), round_ones)
    inner = tuple(slice(margin, margin + side) for side in image.shape)
    return _shown_enough(labels[inner], np.arange(1, labels.max() + 1) <= round_ones.max(), options)


def _rounded(smooth: Image, options: AttachedOptions) -> Labels:
    """Cells with a steep rim all around: that rim and what it encloses, unless wider than a cell: the ground in a ring of cells."""
    steep = gradient(smooth) > options.dead_edge
    ground = ndimage.binary_opening(~steep, _disc(_GROUND * options.diameter / 2))
    holes = _holes(steep)
    enclosed = steep | ((holes > 0) & ~np.isin(holes, np.unique(holes[ground])))
    mask = ndimage.binary_opening(enclosed, _disc(0.15 * options.diameter))
    return cut_to_convex(mask, options, inside=mask & ~steep)


def _flat(smooth: Image, taken: Mask, options: AttachedOptions) -> Labels:
    """Cells with any rim or grain, outside of what rounded cells take. The contrast's window widens rims; the erosion takes that back."""
    from skimage.filters import threshold_otsu

    window = odd(0.2 * options.diameter)
    mean, square = (ndimage.uniform_filter(values, window, output=np.float64) for values in (smooth, smooth.astype(np.float64) ** 2))
    contrast = np.sqrt(np.maximum(square - mean**2, 0))
    taken = ndimage.binary_dilation(taken, _disc(0.18 * options.diameter))      # with the halo around them
    if taken.all():
        return np.zeros(smooth.shape, np.int32)
    logs = np.log(contrast + options.floor)
    seen = taken | (logs > max(threshold_otsu(logs[~taken]), np.log(2 * options.floor)))
    holes = _holes(seen)
    inner = (holes > 0) & (np.bincount(holes.ravel()) <= options.disc)[holes]       # larger ones are the ground in a ring of cells
    mask = ndimage.binary_erosion(seen | inner, _disc(0.12 * options.diameter), border_value=1) & ~taken
    return cut_to_convex(ndimage.binary_opening(mask, _disc(0.2 * options.diameter)), options)


def cut_to_convex(mask: Mask, options: AttachedOptions, *, inside: Mask | None = None) -> Labels:
    """Objects of at least the smallest area, and those that are not convex or too large cut by watershed on the distance to their outside.

    inside: where the distance is above 0 (default: in the whole mask); rims left out of it part the cells of a clump. Deep waists are cut
    before shallow ones, and no piece is below the smallest area.
    """
    from skimage.measure import regionprops

    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask if inside is None else inside), 0.04 * options.diameter)
    smallest, largest = options.smallest * options.disc, options.largest * options.disc
    found, _ = ndimage.label(mask)
    labels = numbered_anew(found, areas_of(found) >= smallest)
    single: set[int] = set()
    for depth in _DEPTHS:
        for region in regionprops(labels):
            if region.label in single:
                continue
            if region.area < 2 * smallest or (region.area <= largest and region.solidity >= options.convex):
                single.add(region.label)
                continue
            pieces = _cut(np.where(region.image, distance[region.slice], 0), region.image, depth * options.diameter, smallest)
            labels[region.slice][pieces > 1] = labels.max() + pieces[pieces > 1] - 1
    return labels


def _cut(distance: npt.NDArray[np.float64], mask: Mask, depth: float, smallest: float) -> Labels:
    """One object's pieces, from 1 on, at waists of at least `depth`; maxima whose piece would be too small have none."""
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    markers, count = ndimage.label(h_maxima(distance, depth) & mask, np.ones((3, 3)))
    if count < 2:
        return mask.astype(np.int32)
    pieces = watershed(-distance, markers, mask=mask)
    large = areas_of(pieces, count) >= smallest
    return np.asarray(watershed(-distance, numbered_anew(markers, large), mask=mask), dtype=np.int32)


def _shown_enough(labels: Labels, rounded: Mask, options: AttachedOptions) -> tuple[Labels, Mask]:
    """Without the cells of which the border leaves less than `shown`, numbered anew from 1."""
    areas = areas_of(labels, len(rounded))
    cut = np.isin(np.arange(1, len(rounded) + 1), np.concatenate([labels[[0, -1]].ravel(), labels[:, [0, -1]].ravel()]))
    least = np.ones(len(rounded))
    for state in (True, False):
        whole = areas[(rounded == state) & ~cut & (areas > 0)]
        least[(rounded == state) & cut] = options.shown * (np.median(whole) if len(whole) else options.disc)
    kept = areas >= least
    return numbered_anew(labels, kept), rounded[kept]


def _holes(mask: Mask) -> Labels:
    """Holes of a mask, numbered from 1; 0 elsewhere."""
    return np.asarray(ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)[0], dtype=np.int32)


def _disc(radius: float) -> Mask:
    from skimage.morphology import disk

    return np.asarray(disk(max(1, round(radius))), dtype=bool)
