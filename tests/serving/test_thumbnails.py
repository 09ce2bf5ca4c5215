"""Thumbnails: one plane of a well, on the plate's own grey scale."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from models.plates.images import write_plate
from serving.thumbnails import SIZE, small_png, thumbnail


def pixels(data: bytes | None) -> np.ndarray:
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """A01 dark, A02 bright, A03 a stack whose middle plane is bright, A04 in colour with a dark second site; 300 x 200 pixels, 16 bits."""
    def flat(value: int) -> np.ndarray:
        return np.full((200, 300), value, np.uint16)
    colour = np.zeros((200, 300, 3), np.uint16)
    colour[..., 0] = 4000
    write_plate(tmp_path / "P1.zip", [
        ("A01_s1_c0_z0.tif", flat(1000)), ("A02_s1_c0_z0.tif", flat(4000)), ("A02_s1_c1_z0.tif", flat(7)),
        *((f"A03_s1_c0_z{plane}.tif", flat(value)) for plane, value in enumerate((1000, 4000, 1000))),
        ("A04_s1_c0_z0.tif", colour), ("A04_s2_c0_z0.tif", flat(1000))])
    return tmp_path / "P1.zip"


def test_a_dark_well_is_dark_beside_a_bright_one(plate: Path) -> None:
    dark, bright = pixels(thumbnail(plate, "A01")), pixels(thumbnail(plate, "a2"))
    assert dark.shape == bright.shape == (round(SIZE * 200 / 300), SIZE)
    assert dark.dtype == np.uint8
    assert dark.max() < 128 < bright.min()


def test_the_middle_plane_of_the_first_site_is_shown(plate: Path) -> None:
    assert pixels(thumbnail(plate, "A03")).min() > 128
    colour = pixels(thumbnail(plate, "A04"))
    assert colour.shape[-1] == 3
    assert colour[0, 0, 0] > colour[0, 0, 1]


def test_a_well_or_channel_that_is_not_there_is_none(plate: Path) -> None:
    assert thumbnail(plate, "H12") is None
    assert thumbnail(plate, "A01", channel=1) is None
    assert pixels(thumbnail(plate, "A02", channel=1)).shape[-1] == SIZE


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_an_image_of_one_grey_value_looks_as_bright_as_it_is(kind: type[np.unsignedinteger]) -> None:
    black, white = (pixels(small_png(np.full((20, 30), value, kind))) for value in (0, np.iinfo(kind).max))
    assert (black.max(), white.min()) == (0, 255)


def test_names_that_are_no_wells_are_refused(plate: Path) -> None:
    with pytest.raises(InputError, match="well name"):
        thumbnail(plate, "../../etc/passwd")
