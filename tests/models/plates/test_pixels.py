"""Planes of TIFFs however they are packed and ordered, one at a time; files of several channels and times are never mixed up."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from models.errors import ImageError
from models.plates.images import member_name, write_plate
from models.plates.lazy_planes import Scratch
from models.plates.pixels import decode_image
from models.plates.planes import open_planes
from models.plates.tiff import TiffStack, part_name

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (4, 32, 48), dtype=np.uint16)
HYPER = RNG.integers(0, 4000, (2, 3, 4, 16, 24), dtype=np.uint16)   # T, Z, C, Y, X


def read(path: Path, part: str = "") -> np.ndarray:
    with open_planes(path, part) as planes:
        return np.stack([plane.copy() for plane in planes])


def written(path: Path, pixels: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize("options", [
    {}, {"compression": "lzw"}, {"compression": "deflate", "predictor": True}, {"compression": "zstd"}, {"byteorder": ">"},
    {"bigtiff": True}, {"tile": (16, 16)}, {"tile": (16, 16), "compression": "lzw"}, {"rowsperstrip": 5}, {"contiguous": False},
    {"imagej": True, "metadata": {"axes": "ZYX"}}], ids=str)
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_stack_comes_out_plane_by_plane_however_it_is_packed(tmp_path: Path, options: dict[str, object], depth: type) -> None:
    stack = (STACK // 16).astype(depth)
    path = written(tmp_path / "x.tif", stack, photometric="minisblack", **options)
    np.testing.assert_array_equal(read(path), stack)
    np.testing.assert_array_equal(decode_image(path.read_bytes(), "x.tif"), stack)


def test_jpeg_inside_a_tiff_is_read_in_grey_and_colour(tmp_path: Path) -> None:
    yy, xx = np.mgrid[:64, :64]
    smooth = (yy + xx).astype(np.uint8)
    grey = read(written(tmp_path / "g.tif", smooth, photometric="minisblack", compression="jpeg"))
    colour = read(written(tmp_path / "c.tif", np.dstack([smooth, 255 - smooth, smooth]), photometric="rgb", compression="jpeg"))
    assert (grey.shape, colour.shape) == ((1, 64, 64), (1, 64, 64, 3))
    assert np.abs(grey[0].astype(int) - smooth).max() <= 4
    assert np.abs(colour[0].astype(int) - np.dstack([smooth, 255 - smooth, smooth])).max() <= 8


@pytest.mark.parametrize(("kind", "axes"), [("ome", "TZCYX"), ("ome", "CTZYX"), ("ome", "ZTCYX"), ("imagej", "TZCYX")])
def test_channels_and_times_of_a_file_are_parts_with_their_planes_in_order(tmp_path: Path, kind: str, axes: str) -> None:
    order = ["TZCYX".index(axis) for axis in axes]
    path = written(tmp_path / f"x.{kind}.tif", HYPER.transpose(order), metadata={"axes": axes}, **{kind: True})
    for time in range(2):
        for channel in range(4):
            np.testing.assert_array_equal(read(path, part_name(time=time, channel=channel)), HYPER[time, :, channel])
    with pytest.raises(ImageError, match="holds 4 channels and 2 times"):
        decode_image(path.read_bytes(), "x.tif")


def test_an_imagej_stack_behind_a_single_page_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tif", STACK, imagej=True, metadata={"axes": "ZYX"})
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        after = int(page.offset) + 2 + 12 * len(page.tags)     # the offset of the next page, as ImageJ leaves it beyond 4 GB
    data[after:after + 4] = bytes(4)
    path.write_bytes(bytes(data))
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
    np.testing.assert_array_equal(read(path), STACK)


def test_one_file_of_an_ome_set_counts_its_own_pages_only(tmp_path: Path) -> None:
    text = ('<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZCT" Type="uint16" SizeX="48" SizeY="32" SizeZ="1" SizeC="2" SizeT="1"><Channel ID="Channel:0:0"/>'
            '<Channel ID="Channel:0:1"/>'
            + "".join(f'<TiffData FirstC="{channel}" IFD="0"><UUID FileName="c{channel}.ome.tif">u{channel}</UUID></TiffData>'
                      for channel in range(2)) + "</Pixels></Image></OME>")
    paths = [written(tmp_path / f"c{channel}.ome.tif", STACK[channel], description=text, metadata=None) for channel in range(2)]
    for channel, path in enumerate(paths):
        np.testing.assert_array_equal(read(path), STACK[channel][None])


def test_pages_of_several_sizes_are_refused_but_thumbnails_are_none(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as tiff:
        tiff.write(STACK[0])
        tiff.write(STACK[0, :16, :16])
    with pytest.raises(ImageError, match="pages of several sizes"):
        read(tmp_path / "x.tif")
    with tifffile.TiffWriter(tmp_path / "y.tif") as tiff:
        tiff.write(STACK[0])
        tiff.write(STACK[0, ::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(read(tmp_path / "y.tif"), STACK[:1])


def test_a_truncated_plane_is_an_image_error_when_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tif", STACK, photometric="minisblack")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ImageError, match=r"x\.tif cannot be read"):
        read(path)
    for name, data in (("empty.tif", b""), ("none.tif", b"II*\0rubbish"), ("text.png", b"text")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=name.replace(".", r"\.")):
            read(tmp_path / name)
    with pytest.raises(ImageError, match="cannot be opened"):
        read(tmp_path / "gone.tif")


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("stack", [STACK[:1], STACK])
def test_an_image_in_memory_is_read_wherever_its_pixels_lie(byteorder: str, stack: np.ndarray) -> None:
    """Also at odd places, where 16-bit values cannot be used as they lie; and none if some are missing."""
    data = tiff_of(stack, byteorder)
    for shift in (0, 1):
        moved = moved_pixels(data, shift)
        found = decode_image(moved, "x.tif")
        np.testing.assert_array_equal(found, stack[0] if len(stack) == 1 else stack)
        assert found.flags.aligned
        assert found.dtype.isnative
        with pytest.raises(ImageError, match="bytes early"):
            decode_image(moved[:-1], "x.tif")


def test_a_file_is_read_by_its_own_bytes_whatever_came_before_it() -> None:
    """The images of a plate mostly differ in their pixels alone, which are then looked up where those of the one before lay."""
    first, second = tiff_of(STACK[:1], "<"), tiff_of(STACK[1:2], "<")
    white = second.replace(struct.pack("<HHIHH", 262, 3, 1, 1, 0), struct.pack("<HHIHH", 262, 3, 1, 0, 0))     # zero is white
    wide = tiff_of(STACK[1:2].reshape(1, 24, 64), "<")
    assert len({len(first), len(second), len(white), len(wide)}) == 1
    for data, expected in ((first, STACK[0]), (second, STACK[1]), (white, 65535 - STACK[1]), (second, STACK[1]),
                           (wide, STACK[1].reshape(24, 64)), (tiff_of(STACK[1:2], ">"), STACK[1]), (first, STACK[0])):
        np.testing.assert_array_equal(decode_image(data, "x.tif"), expected)
    with pytest.raises(ImageError, match="bytes early"):
        decode_image(first[:-1], "x.tif")
    with pytest.raises(ImageError, match=r"bytes early|expected 8- or 16-bit"):
        decode_image(first.replace(struct.pack("<HHIHH", 258, 3, 1, 16, 0), struct.pack("<HHIHH", 258, 3, 1, 32, 0)), "x.tif")


def test_alike_images_are_looked_up_without_asking_tifffile_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_image(tiff_of(STACK[:1], "<"), "x.tif")
    monkeypatch.setattr(tifffile, "TiffFile", None)
    np.testing.assert_array_equal(decode_image(tiff_of(STACK[1:2], "<"), "x.tif"), STACK[1])


def tiff_of(stack: np.ndarray, byteorder: str) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, stack, photometric="minisblack", byteorder=byteorder, metadata=None, software=False)
    return buffer.getvalue()


def moved_pixels(data: bytes, shift: int) -> bytes:
    """The same TIFF with its pixels behind all else, `shift` bytes from an even place."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        moved, order = bytearray(data + bytes(len(data) % 2 + shift)), tiff.byteorder
        for page in tiff.pages:
            tag, end = page.tags["StripOffsets"], len(moved)
            moved += data[tag.value[0]:tag.value[0] + page.nbytes]
            moved[tag.offset + 8:tag.offset + 12] = struct.pack(f"{order}I", end)
    return bytes(moved)


def test_memory_of_planes_is_shared_and_slices_are_copies() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, STACK, photometric="minisblack")
    buffer.seek(0)
    scratch = Scratch()
    with tifffile.TiffFile(buffer) as tiff:
        planes = TiffStack(tiff, "x.tif", scratch=scratch)
        first = planes[0]
        assert np.shares_memory(first, planes[1])
        np.testing.assert_array_equal(planes[1:3], STACK[1:3])
        np.testing.assert_array_equal(planes[-1], STACK[-1])
        with pytest.raises(IndexError):
            planes[4]


def test_members_of_archives_and_photos_are_planes_too(tmp_path: Path) -> None:
    write_plate(tmp_path / "P1.zip", [(member_name("A01"), STACK[0]), (member_name("A02"), STACK[1])])
    np.testing.assert_array_equal(read(tmp_path / "P1.zip", member_name("A02")), STACK[1:2])
    write_plate(tmp_path / "P1.zip", [(member_name("A02"), STACK[2])])
    np.testing.assert_array_equal(read(tmp_path / "P1.zip", member_name("A02")), STACK[2:3])
    Image.fromarray((STACK[0] // 16).astype(np.uint8)).convert("LA").save(tmp_path / "x.png")
    np.testing.assert_array_equal(read(tmp_path / "x.png")[0], STACK[0] // 16)
    Image.fromarray(np.full((640, 480), 77, np.uint8)).save(tmp_path / "x.jpg")
    with open_planes(tmp_path / "x.jpg", at_least=100) as planes:
        assert planes[0].shape == (160, 120)


@pytest.mark.parametrize(("name", "data"), [("x.png", b"none"), ("x.tif", b"II*\0none"), ("x.jpg", b"\xff\xd8\xff"), ("x.jp2", b"")])
def test_why_an_image_cannot_be_read_is_said_in_words_and_not_in_python_s(name: str, data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(data, name)
    assert not re.search(r"[A-Z]\w+Error\b|object at 0x", str(caught.value))
