"""Size of structures: told from the spectra of simulated wells at another magnification, and not of other wells, light or camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import zoom

from models.networks.drift import Reference
from models.networks.structure import Structure, structure_of
from models.plates.projections import resize_area
from models.plates.simulate.brightfield import CELL_LINES, CellLine, simulate_brightfield
from models.records import from_record, to_record

LINE = CELL_LINES["A549"]
SAME = pytest.approx(1.0, rel=0.15)


def wells(*, line: CellLine = LINE, size: int = 128, seed: int = 1) -> list[np.ndarray]:
    """Eight living wells, as the camera takes them."""
    layout = pd.DataFrame({"plate": "P1", "well": [f"A{number:02d}" for number in range(1, 9)]})
    return [pixels for _, pixels in simulate_brightfield(layout, line=line, truth=pd.Series(1.0, layout.index), size=size, seed=seed,
                                                         plate="P1")]


def as_read(images: list[np.ndarray]) -> list[np.ndarray]:
    """As a network reads them."""
    return [(resize_area(pixels, 96) / 255).astype(np.float16) for pixels in images]


@pytest.fixture(scope="module")
def own() -> Structure:
    found = structure_of(as_read(wells()))
    assert found is not None
    return found


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """The middle quarter of a field, in as many pixels."""
    edge = len(pixels) // 4
    return zoom(pixels[edge:-edge, edge:-edge].astype(float), 2, order=1)


def test_half_and_twice_the_magnification_are_told_by_how_much(own: Structure) -> None:
    half = own.sizes(as_read([resize_area(pixels, 128) for pixels in wells(size=256, seed=2)]))     # four times the field in as many pixels
    twice = own.sizes(as_read([enlarged(pixels) for pixels in wells(seed=2)]))
    assert float(np.median(half)) == pytest.approx(0.5, rel=0.15)
    assert float(np.median(twice)) == pytest.approx(2.0, rel=0.15)
    binned = own.sizes(as_read([resize_area(pixels, 64) for pixels in wells(seed=2)]))
    assert float(np.median(binned)) == SAME     # fewer pixels of the same field look alike to the network


@pytest.mark.parametrize("images", [
    lambda: wells(seed=3), lambda: wells(line=replace(LINE, cells=round(0.6 * LINE.cells)), seed=3),
    lambda: wells(line=replace(LINE, cells=round(1.3 * LINE.cells)), seed=3),
    lambda: [0.7 * pixels for pixels in wells(seed=3)], lambda: [100 + 0.6 * (pixels - 100.0) for pixels in wells(seed=3)],
    lambda: [pixels + np.random.default_rng(number).normal(0, 5, pixels.shape) for number, pixels in enumerate(wells(seed=3))],
], ids=["other wells", "fewer cells", "more cells", "less light", "less contrast", "noisy camera"])
def test_other_plates_of_the_line_look_alike(own: Structure, images: Callable[[], list[np.ndarray]]) -> None:
    assert float(np.median(own.sizes(as_read(images())))) == SAME


def test_what_shows_nothing_has_no_size(own: Structure) -> None:
    blank = np.full((96, 96), 0.5, np.float16)
    assert np.isnan(own.sizes([blank])).all()
    assert structure_of([blank] * 8) is None
    assert structure_of([image[:16, :16] for image in as_read(wells())]) is None
    assert structure_of([]) is None


def test_a_card_from_before_this_was_kept_is_read(own: Structure) -> None:
    reference = Reference(value="od", negative=1.5, positive=None, gap=1.5, z_prime=None, wells=8, feature_mean=(), feature_whitening=(),
                          structure=own)
    record = to_record(reference)
    assert from_record(Reference, record, path="reference") == reference
    del record["structure"]
    assert from_record(Reference, record, path="reference").structure is None
