"""Images and plate archives: what goes in comes out, the same bytes each time, and nothing is believed unchecked."""

from __future__ import annotations

import errno
import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from models.errors import ImageError
from models.plates.image_limits import MAX_PIXELS
from models.plates.images import PlateArchive, WellImages, encode_tiff, member_name, write_plate
from models.plates.imageset import ImageArchive
from models.plates.pixels import decode_image
from models.plates.planes import open_planes

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
GREY16 = RNG.integers(0, 65535, (20, 30), dtype=np.uint16)
COLOUR = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def photo(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def archive_of(path: Path, members: dict[str, bytes], **options: object) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("pixels", [GREY8, GREY16, COLOUR], ids=["grey8", "grey16", "colour"])
def test_what_is_encoded_comes_back_and_the_bytes_repeat(pixels: np.ndarray) -> None:
    data = encode_tiff(pixels)
    np.testing.assert_array_equal(decode_image(data, "x.tif"), pixels)
    assert data == encode_tiff(pixels.copy())


@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
@pytest.mark.parametrize("pixels", [GREY8, GREY16], ids=["8", "16"])
def test_compressed_tiffs_are_read(pixels: np.ndarray, compression: str | None) -> None:
    np.testing.assert_array_equal(decode_image(tiff(pixels, compression=compression), "x.tif"), pixels)


def test_stacks_keep_their_planes() -> None:
    stack = np.stack([GREY16, GREY16 // 2, GREY16 // 4])
    np.testing.assert_array_equal(decode_image(tiff(stack, photometric="minisblack"), "x.tif"), stack)


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("pixels", [GREY8, GREY16, np.stack([GREY16, GREY16 // 2])], ids=["8", "16", "stack"])
def test_a_tiff_whose_zero_is_white_is_turned(pixels: np.ndarray, compression: str | None) -> None:
    data = tiff(np.iinfo(pixels.dtype).max - pixels, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(decode_image(data, "x.tif"), pixels)


def test_colour_tiffs_come_out_alike_however_they_are_stored() -> None:
    transparent = np.dstack([COLOUR, np.full(COLOUR.shape[:2], 255, np.uint8)])
    for data in (tiff(COLOUR, photometric="rgb"), tiff(transparent, photometric="rgb", extrasamples=["unassalpha"]),
                 tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate")):
        np.testing.assert_array_equal(decode_image(data, "x.tif"), COLOUR)


def test_png_and_jpeg_are_read_whatever_the_file_is_called() -> None:
    np.testing.assert_array_equal(decode_image(photo(GREY8, "PNG"), "x.tif"), GREY8)
    np.testing.assert_array_equal(decode_image(photo(COLOUR, "PNG"), "x.png"), COLOUR)
    assert decode_image(photo(GREY8, "JPEG"), "x.jpg").shape == GREY8.shape


@pytest.mark.parametrize(("data", "rule"), [
    (b"", "image_empty"), (b"hello", "image_unreadable"), (b"II*\0 rubbish", "image_unreadable"),
    (encode_tiff(GREY8)[:200], "image_unreadable"),
    (photo(GREY8, "PNG")[:60], "image_unreadable"), (tiff(GREY8.astype(np.float32)), "image_depth"),
    (tiff(GREY16.astype(np.int32)), "image_depth")])
def test_damaged_and_foreign_files_are_refused_by_name(data: bytes, rule: str) -> None:
    with pytest.raises(ImageError, match="B07_s1_c0_z0") as caught:
        decode_image(data, "B07_s1_c0_z0.tif")
    assert [(item.rule, item.well) for item in caught.value.findings] == [(rule, "B07")]


def test_a_small_file_that_declares_a_huge_image_is_refused_before_it_is_unpacked() -> None:
    data = bytearray(tiff(GREY8))
    width = height = 60_000
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as image:
        tags = {name: image.pages[0].tags[name] for name in ("ImageWidth", "ImageLength")}
        for tag, value in ((tags["ImageWidth"], width), (tags["ImageLength"], height)):
            struct.pack_into("<I" if tag.dtype == 4 else "<H", data, tag.valueoffset, value)
    assert width * height > MAX_PIXELS
    with pytest.raises(ImageError) as caught:
        decode_image(bytes(data), "A01_s1_c0_z0.tif")
    assert caught.value.findings[0].rule == "image_too_large"


def test_a_plate_gives_back_stacks_sites_and_wells_in_order(tmp_path: Path) -> None:
    path = tmp_path / "P1.zip"
    write_plate(path, [(member_name(well, site=site, plane=plane), GREY16 + plane)
                       for well in ("B02", "A01") for site in (2, 1) for plane in (1, 0)])
    with PlateArchive(path) as plate:
        assert plate.plate == "P1"
        assert list(plate.wells_and_sites()) == [("A01", 1), ("A01", 2), ("B02", 1), ("B02", 2)]
        np.testing.assert_array_equal(plate.read_stack("B02", site=2, channel=0), np.stack([GREY16, GREY16 + 1]))
        with pytest.raises(ImageError, match="no image of well C03"):
            plate.read_stack("C03", site=1, channel=0)


def test_planes_of_two_sizes_are_no_stack(tmp_path: Path) -> None:
    write_plate(tmp_path / "P1.zip", [(member_name("A01"), GREY8), (member_name("A01", plane=1), GREY8[:-1])])
    with PlateArchive(tmp_path / "P1.zip") as plate, pytest.raises(ImageError, match="differ in size") as caught:
        plate.read_stack("A01", site=1, channel=0)
    assert [(finding.rule, finding.well) for finding in caught.value.findings] == [("image_sizes", "A01")]


def test_plate_archives_repeat_byte_for_byte_and_never_half_appear(tmp_path: Path) -> None:
    images = [(member_name("A01"), GREY8), (member_name("A02"), COLOUR)]
    for name in ("one.zip", "two.zip"):
        write_plate(tmp_path / name, images)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()

    def broken() -> object:
        yield member_name("A01"), GREY8
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        write_plate(tmp_path / "three.zip", broken())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.zip", "two.zip"]


@pytest.mark.parametrize("name", [
    "../A01_s1_c0_z0.tif", "/tmp/A01_s1_c0_z0.tif", "folder/../../A01_s1_c0_z0.tif", "C:\\A01_s1_c0_z0.tif", "C:/A01_s1_c0_z0.tif",
    "..\\A01_s1_c0_z0.tif", "folder//../A01_s1_c0_z0.tif", "notes.txt", "A01.txt", "..DS_Store/../A01_s1_c0_z0.tif"])
def test_foreign_names_and_paths_are_refused(tmp_path: Path, name: str) -> None:
    path = archive_of(tmp_path / "P1.zip", {name: encode_tiff(GREY8)})
    with pytest.raises(ImageError) as caught:
        PlateArchive(path)
    assert caught.value.findings[0].rule == "archive_name"


@pytest.mark.parametrize("folder", ["", "P1/", "screen/P1/"])
def test_a_zip_of_a_folder_as_systems_make_it_is_read(tmp_path: Path, folder: str) -> None:
    images = {f"{folder}{name}": encode_tiff(GREY8) for name in (member_name("A01"), member_name("B02"), "C03_S1_C0_Z0.TIFF")}
    clutter = {f"__MACOSX/{folder}._{member_name('A01')}": b"x", f"{folder}.DS_Store": b"x", f"{folder}Thumbs.db": b"x"}
    with PlateArchive(archive_of(tmp_path / "P1.zip", images | clutter)) as archive:
        assert archive.members["well"].tolist() == ["A01", "B02", "C03"]
        assert np.array_equal(archive.read_stack("B02", site=1, channel=0)[0], GREY8)


def test_many_members_with_the_same_fault_are_one_finding(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        PlateArchive(archive_of(tmp_path / "P1.zip", {f"image{number}.tif": b"x" for number in range(1, 13)}))
    (finding,) = caught.value.findings
    assert finding.message.startswith("P1.zip: 12 members ('image1.tif', 'image2.tif', 'image3.tif' ...): each is not named <well>_s<site>")


def test_names_that_leave_a_question_are_one_finding_with_it(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        PlateArchive(archive_of(tmp_path / "P1.zip", {"A01_1.tif": tiff(GREY8), "A01_2.tif": tiff(GREY8)}))
    (finding,) = caught.value.findings
    assert finding.rule == "archive_name"
    assert "whether the number behind the well is a site (_s1), a channel (_w1) or a plane (_z1)" in finding.message


def test_an_image_of_usual_name_is_read_whatever_its_kind(tmp_path: Path) -> None:
    with PlateArchive(archive_of(tmp_path / "P1.zip", {"run-A1.png": photo(GREY8, "PNG"), "run-A2.tiff": tiff(GREY8)})) as archive:
        assert list(archive.wells_and_sites()) == [("A01", 1), ("A02", 1)]
        for well in ("A01", "A02"):
            assert np.array_equal(archive.read_stack(well, site=1, channel=0)[0], GREY8)


@pytest.mark.parametrize("image", [np.stack([GREY16, GREY16 // 2]), np.stack([COLOUR, COLOUR // 2])], ids=["grey", "colour"])
def test_the_pages_of_a_member_are_planes(tmp_path: Path, image: np.ndarray) -> None:
    path = archive_of(tmp_path / "P1.zip", {"A01.tif": tiff(image, photometric="rgb" if image.ndim == 4 else "minisblack")})
    with PlateArchive(path) as archive:
        assert np.array_equal(archive.read_stack("A01", site=1, channel=0), image)
    with open_planes(path, "A01.tif") as planes:
        assert np.array_equal(np.stack(list(planes)), image)


def test_links_and_bombs_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo(member_name("A01"))
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    bomb = archive_of(tmp_path / "bomb.zip", {member_name("A01"): bytes(20_000_000)}, compression=zipfile.ZIP_DEFLATED)
    for path, rule in ((tmp_path / "link.zip", "archive_link"), (bomb, "archive_size")):
        with pytest.raises(ImageError) as caught:
            PlateArchive(path)
        assert caught.value.findings[0].rule == rule


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "P1.zip").write_bytes(b"no zip at all")
    with pytest.raises(ImageError, match="not a readable zip"):
        PlateArchive(tmp_path / "P1.zip")


@pytest.mark.parametrize(("number", "blamed"), [(errno.EIO, OSError), (errno.ESTALE, OSError), (errno.EMFILE, OSError),
                                                (errno.EINVAL, ImageError), (errno.ENOENT, ImageError)])
def test_a_disk_that_cannot_be_read_is_not_told_as_a_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int,
                                                                     blamed: type[Exception]) -> None:
    """Whoever sent a good plate was told to zip it again. A damaged one has zipfile seek to places that are none (EINVAL)."""
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    name = member_name("A01")
    path = archive_of(tmp_path / "P1.zip", {name: encode_tiff(np.zeros((8, 8), np.uint8))})
    with PlateArchive(path) as plate, ImageArchive(path) as images:
        monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
        for archive in (plate, images):
            with pytest.raises(blamed):
                archive.read(name)
        monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", fail)
        for opening in (PlateArchive, ImageArchive):
            with pytest.raises(blamed):
                opening(path)


def test_well_images_keep_rows_and_pixels_together() -> None:
    wells = pd.DataFrame({"plate": "P1", "well": ["A01", "A02", "A03"], "site": 1})
    pixels = np.arange(3, dtype=np.float16).reshape(3, 1, 1, 1) * np.ones((1, 2, 4, 4), dtype=np.float16)
    images = WellImages(wells, pixels, ("gfp", "dna"))
    for chosen in (np.array([2, 0]), np.array([True, False, True])):
        part = images.take(chosen)
        assert len(part) == 2
        assert [f"A0{int(value) + 1}" for value in part.pixels[:, 0, 0, 0]] == part.wells["well"].tolist()
    with pytest.raises(ValueError, match="do not fit"):
        WellImages(wells, pixels, ("gfp",))
