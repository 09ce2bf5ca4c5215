"""Counted cells of an image, each with its place, size and state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from models.counting.attached import AttachedOptions, segment_attached
from models.counting.grades import Grade, reactivity_grade
from models.counting.segment import CellOptions, Image, Labels, NucleusOptions, edge_relief, gradient, grey, segment_nuclei, segment_relief
from models.errors import InputError
from models.plates.measures import DETAIL_SCALES, measure_plane

STRUCTURE = 1.0     # log2 of structure's energy over noise's, at the clearest scale: noise alone has -0.3 at most (96 pixels a side),
                    # 850 images of cells and nuclei 1.8 and more
COLUMNS = ("cell", "state", "x_min", "y_min", "x_max", "y_max", "area", "edge")


@dataclass(frozen=True)
class CellCount:
    """cells: a row per cell: cell (its label from 1), state {living, dead, ""}, its box x_min, y_min, x_max, y_max (px, upper ones not
    included), area (px), edge (how steeply its rim rises, full scales per pixel; NaN for nuclei). labels (H, W): 0 = background.
    """

    cells: pd.DataFrame
    labels: Labels

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def dead(self) -> int:
        """Number of dead cells."""
        return int((self.cells["state"] == "dead").sum())

    @property
    def living(self) -> int:
        """Number of living cells."""
        return int((self.cells["state"] == "living").sum())

    @property
    def grade(self) -> Grade:
        """Reactivity grade of ISO 10993-5. Raises InputError for an image without cells."""
        return reactivity_grade(self.dead, self.living)


def count_cells(pixels: np.ndarray, options: CellOptions | AttachedOptions | None = None) -> CellCount:
    """Living and dead cells of a bright-field image, (H, W) or (H, W, 3), uint8, uint16 or 0-1. Raises InputError for anything else,
    and for an image in which cells would be made out of noise.

    Suspended cells (CellOptions, the default) are dead where their rims are faint, attached ones (AttachedOptions) where they are round.
    """
    options = options or CellOptions()
    image = grey(pixels)
    if isinstance(options, AttachedOptions):
        labels, dead = segment_attached(image, options)
        edge = _highest(gradient(ndimage.gaussian_filter(image, options.blur)), labels)
    else:
        relief = edge_relief(image, options)
        labels = segment_relief(relief, options)
        edge = _highest(relief, labels)
        dead = edge < options.dead_edge
    if labels.any() and not stands_out(image):
        raise InputError("nothing in the image stands out from its noise, so no cell can be told from it; was there light, and focus?")
    return CellCount(_boxes(labels).assign(edge=edge, state=np.where(dead, "dead", "living")), labels)


def count_nuclei(pixels: np.ndarray, options: NucleusOptions | None = None) -> CellCount:
    """Stained nuclei of an image as above; their state is ""."""
    image = grey(pixels)
    labels = segment_nuclei(image, options)
    return CellCount(_boxes(labels), labels)


def stands_out(image: Image) -> bool:
    """Whether an image (H, W) on 0-1 shows anything but noise, at any of the scales of `models.plates.measures`."""
    measured = measure_plane(image * np.float32(np.iinfo(np.uint16).max))
    clearest = np.nanmax([-np.inf, *(measured[f"detail_{scale}"] for scale in DETAIL_SCALES)])
    return bool(clearest >= STRUCTURE)


def _highest(values: np.ndarray, labels: Labels) -> npt.NDArray[np.float64]:
    """The largest value within each object from 1 on."""
    count = int(labels.max())
    return np.asarray(ndimage.maximum(values, labels, np.arange(1, count + 1)) if count else [], dtype=np.float64)


def _boxes(labels: Labels) -> pd.DataFrame:
    areas = np.bincount(labels.ravel())
    rows = [(number, "", columns.start, rows.start, columns.stop, rows.stop, areas[number], np.nan)
            for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1)]
    whole = {name: "int64" for name in COLUMNS if name not in ("state", "edge")}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({**whole, "state": "str", "edge": "float64"})
