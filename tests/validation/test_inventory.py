"""What images there are, whatever form a file gives them in."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from models.plates.images import encode_tiff, member_name, write_archive
from validation.imageset_rules import take_contents
from validation.inventory import take_inventory


def test_a_stack_of_colour_planes_is_a_colour_image_of_its_planes_size(tmp_path: Path) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.random.default_rng(0).integers(0, 255, (2, 12, 16, 3)).astype(np.uint8), photometric="rgb")
    write_archive(tmp_path / "P1.zip", [("A01_s1_c0_z0.tif", file.getvalue())])
    (image,) = take_inventory([tmp_path / "P1.zip"]).images.to_dict("records")
    assert (image["height"], image["width"], image["colour"], image["readable"]) == (12, 16, True, True)
    assert take_contents(tmp_path / "P1.zip").images["colours"].tolist() == [3]


@pytest.mark.parametrize(("broken", "error", "message"), [
    ("decode_image", EOFError(), "image A01_s1_c0_z0.tif cannot be unpacked; it is damaged, copy it again"),
    ("decode_image", RuntimeError("bad block"), "image A01_s1_c0_z0.tif cannot be unpacked (bad block); it is damaged, copy it again"),
    ("PlateArchive", NotImplementedError("zip file version 9.9"), "P1.zip is damaged (zip file version 9.9); zip the images again"),
    ("PlateArchive", AssertionError(), "P1.zip is damaged; zip the images again")])
def test_damage_is_told_without_names_of_python_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception,
                                                        message: str) -> None:
    def fail(*_: object) -> None:
        raise error

    write_archive(tmp_path / "P1.zip", [("A01_s1_c0_z0.tif", encode_tiff(np.zeros((8, 8), np.uint8)))])
    monkeypatch.setattr(f"validation.inventory.{broken}", fail)
    assert [finding.message for finding in take_inventory([tmp_path / "P1.zip"]).findings] == [message]


@pytest.mark.parametrize("broken", ["PlateArchive", "PlateArchive.read_bytes"])
def test_a_disk_that_cannot_be_read_is_no_damage_of_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Its images may be good: nobody is told to zip them again."""
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    write_archive(tmp_path / "P1.zip", [("A01_s1_c0_z0.tif", encode_tiff(np.zeros((8, 8), np.uint8)))])
    monkeypatch.setattr(f"validation.inventory.{broken}", fail)
    with pytest.raises(OSError, match="Input/output error"):
        take_inventory([tmp_path / "P1.zip"])


def test_channels_overlap_with_the_first_of_their_own_place(tmp_path: Path) -> None:
    """Not with that of another well or plane: rules compare it well by well."""
    rng = np.random.default_rng(0)
    members = []
    for well in ("A01", "A02"):
        for plane in range(2):
            first = rng.integers(0, 200, (16, 16)).astype(np.uint8)
            members += [(member_name(well, channel=0, plane=plane), encode_tiff(first)),
                        (member_name(well, channel=1, plane=plane), encode_tiff(255 - first))]
    write_archive(tmp_path / "P1.zip", members)
    found = take_inventory([tmp_path / "P1.zip"]).images
    assert found.loc[found["channel"] == 0, "overlap"].isna().all()
    np.testing.assert_allclose(found.loc[found["channel"] == 1, "overlap"], -1)
