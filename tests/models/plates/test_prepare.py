"""From archives to arrays: projections, areas, intensities, colours, and files of the same bytes."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ImageError
from models.plates.images import PlateArchive, WellImages, member_name, write_plate
from models.plates.prepare import InputSpec, Intensity, join_images, load_prepared, prepare_plate, save_prepared
from models.plates.projections import project, resize_area


def archive(folder: Path, images: dict[str, np.ndarray]) -> PlateArchive:
    write_plate(folder / "P1.zip", sorted(images.items()))
    return PlateArchive(folder / "P1.zip")


def test_projections_of_a_stack() -> None:
    stack = np.arange(4 * 2 * 3, dtype=np.uint16).reshape(4, 2, 3)
    np.testing.assert_array_equal(project(stack, "mip"), stack[3])
    np.testing.assert_array_equal(project(stack, "mid"), stack[2])
    np.testing.assert_array_equal(project(stack[:3], "mid"), stack[1])
    np.testing.assert_array_equal(project(stack, "mos"), stack.astype(float).mean(axis=0))
    one = stack[:1]
    assert all((project(one, name) == one[0]).all() for name in ("mip", "mid", "mos"))
    assert project(np.full((3, 1, 1), 65535, np.uint16), "mos") == 65535  # no overflow of 16 bits
    assert project(stack, "mip").dtype == stack.dtype


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(8, 20), st.integers(0, 1000))
def test_area_averaging_is_the_block_mean_and_keeps_the_mean(factor: int, size: int, seed: int) -> None:
    plane = np.random.default_rng(seed).uniform(0, 65535, (size * factor, size * factor)).astype(np.float32)
    expected = plane.reshape(size, factor, size, factor).mean(axis=(1, 3))
    found = resize_area(plane, size)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.mean() == pytest.approx(plane.mean(), rel=1e-5)


def test_any_ratio_keeps_constants_and_order() -> None:
    for height, width in ((50, 50), (37, 61), (10, 100)):
        np.testing.assert_allclose(resize_area(np.full((height, width), 77.0), 24), 77.0, rtol=1e-6)
        ramp = np.tile(np.arange(width, dtype=float), (height, 1))
        assert (np.diff(resize_area(ramp, 24), axis=1) >= 0).all()
    kept = np.random.default_rng(0).uniform(size=(24, 24)).astype(np.float32)
    np.testing.assert_array_equal(resize_area(kept, 24), kept)


def test_planes_come_in_the_order_that_the_recipe_names(tmp_path: Path) -> None:
    images = {member_name(well, site=site, channel=channel, plane=plane): np.full((16, 16), 10 * channel + plane, np.uint8)
              for well in ("B02", "A01") for site in (1, 2) for channel in (0, 1) for plane in (0, 1, 2)}
    images |= {member_name("A01", site=1, channel=1, plane=1): np.full((16, 16), 200, np.uint8)}
    told: list[str] = []
    spec = InputSpec(planes=("dna:mip", "gfp:mid", "dna:mos"), size=8)
    with archive(tmp_path, images) as plate:
        found = prepare_plate(plate, spec, channels=["gfp", "dna"], on_well=told.append)
    assert found.wells.to_dict("list") == {"plate": ["P1"] * 4, "well": ["A01", "A01", "B02", "B02"], "site": [1, 2, 1, 2]}
    assert told == ["A01", "A01", "B02", "B02"]
    assert (found.channels, found.pixels.dtype, found.pixels.shape) == (spec.planes, np.float16, (4, 3, 8, 8))
    assert found.pixels[0, :, 0, 0].astype(float) * 255 == pytest.approx([200, 1, (10 + 200 + 12) / 3], abs=0.1)
    assert found.pixels[1, :, 0, 0].astype(float) * 255 == pytest.approx([12, 1, 11], abs=0.1)


@pytest.mark.parametrize(("dtype", "full"), [(np.uint8, 255), (np.uint16, 65535)])
def test_depth_maps_full_scale_to_one(tmp_path: Path, dtype: type, full: int) -> None:
    images = {member_name("A01"): np.zeros((8, 8), dtype), member_name("A02"): np.full((8, 8), full, dtype)}
    with archive(tmp_path, images) as plate:
        found = prepare_plate(plate, InputSpec(size=8), channels=["brightfield"]).pixels
    assert (found[0].max(), found[1].min(), found[1].max()) == (0, 1, 1)


def test_each_image_is_scaled_by_its_own_depth(tmp_path: Path) -> None:
    images = {member_name("A01"): np.full((8, 8), 32768, np.uint16), member_name("A02"): np.full((8, 8), 51, np.uint8)}
    with archive(tmp_path, images) as plate:
        found = prepare_plate(plate, InputSpec(size=8), channels=["brightfield"]).pixels
    assert found[:, 0, 0, 0].astype(float) == pytest.approx([0.5, 0.2], abs=1e-3)


def test_plate_and_well_intensities(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    dim, bright = rng.integers(0, 100, (32, 32)).astype(np.uint8), rng.integers(100, 250, (32, 32)).astype(np.uint8)
    with archive(tmp_path, {member_name("A01"): dim, member_name("A02"): bright}) as plate:
        by_plate, by_well = (prepare_plate(plate, InputSpec(planes=("x:mid",), size=32, intensity=rule), channels=["x"]).pixels
                             for rule in ("plate", "well"))
    low, high = np.percentile(np.stack([dim, bright]), [0.1, 99.9])
    expected = np.clip((np.stack([dim, bright])[:, None] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(by_plate.astype(float), expected, atol=1e-3)
    assert by_plate[0].mean() < by_plate[1].mean()  # what differs between wells stays
    for image in by_well:
        assert (image.min(), image.max()) == (0, 1)
        assert image.astype(float).mean() == pytest.approx(0.5, abs=0.05)  # each well has its own scale


def test_a_flat_well_is_black_and_not_nan(tmp_path: Path) -> None:
    with archive(tmp_path, {member_name("A01"): np.full((8, 8), 9, np.uint16)}) as plate:
        for rule in ("plate", "well"):
            assert not prepare_plate(plate, InputSpec(size=8, intensity=rule), channels=["brightfield"]).pixels.any()


def test_colours_are_planes(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 30, 60, 90
    planes = ("bf.blue:mid", "bf.red:mip", "bf:mid", "bf.green:mos")
    with archive(tmp_path, {member_name("A01"): image}) as plate:
        found = prepare_plate(plate, InputSpec(planes=planes, size=8), channels=["bf"]).pixels
    assert found[0, :, 0, 0].astype(float) * 255 == pytest.approx([90, 30, 60, 60], abs=0.1)


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    with archive(tmp_path, {member_name("A01"): np.zeros((8, 8), np.uint8)}) as plate, pytest.raises(ImageError) as caught:
        prepare_plate(plate, InputSpec(planes=("hoechst:mip", "gfp:mid"), size=8), channels=["gfp"])
    assert [(finding.value, finding.plate) for finding in caught.value.findings] == [("hoechst", "P1")]
    assert "the screen has gfp" in str(caught.value)


@pytest.mark.parametrize(("field", "value", "message"), [
    ("planes", ("hoechst",), "planes must read channel:projection"), ("planes", ("hoechst:max",), "planes must read"),
    ("planes", (":mid",), "planes must read"), ("planes", ("bf.purple:mid",), "planes may name the colours red, green, blue"),
    ("size", 7, "size must lie between 8 and 4096"), ("size", 5000, "size must"), ("intensity", "full", "intensity must be one of"),
])
def test_a_spec_out_of_range_starts_with_its_field(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        InputSpec(**{field: value})


def make_images(count: int = 3, plate: str = "1E5", channels: tuple[str, ...] = ("a:mid", "b:mip"), *, size: int = 8) -> WellImages:
    rng = np.random.default_rng(0)
    wells = pd.DataFrame({"plate": [plate] * count, "well": [f"A{n + 1:02d}" for n in range(count)], "site": 1})
    return WellImages(wells, rng.uniform(size=(count, len(channels), size, size)).astype(np.float16), channels)


def test_saved_images_come_back_and_the_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    images, digests = make_images(), set()
    for number in range(30):  # a hash order that changes from file to file would show
        save_prepared(images, tmp_path / "x" / f"{number}.safetensors")
        digests.add(hashlib.sha256((tmp_path / "x" / f"{number}.safetensors").read_bytes()).hexdigest())
    assert len(digests) == 1
    back = load_prepared(tmp_path / "x" / "0.safetensors")
    pd.testing.assert_frame_equal(back.wells, images.wells.astype({"plate": "str", "well": "str"}))
    np.testing.assert_array_equal(back.pixels, images.pixels)
    assert (back.channels, back.pixels.dtype) == (images.channels, np.float16)


def test_a_plane_that_fills_all_channels_lies_in_memory_and_on_disk_once(tmp_path: Path) -> None:
    grey = {member_name(f"A{n:02d}", site=1, channel=0, plane=0): np.full((32, 32), n, np.uint8) for n in range(1, 9)}
    with archive(tmp_path, grey) as opened:
        images = prepare_plate(opened, InputSpec(planes=("bf:mid",) * 3, size=32), channels=["bf"])
    save_prepared(images, tmp_path / "P1.safetensors")
    back = load_prepared(tmp_path / "P1.safetensors")
    joined = join_images([images, back])
    for found in (images, back):
        assert found.pixels.shape[1:] == (3, 32, 32)
        assert np.asarray(found.pixels).strides[1] == 0
    assert joined.pixels[:8].strides[1] == joined.pixels[8:].strides[1] == 0
    np.testing.assert_array_equal(joined.pixels, np.concatenate([images.pixels, images.pixels]))
    assert (tmp_path / "P1.safetensors").stat().st_size < np.asarray(images.pixels).nbytes


def test_plates_join_in_order_and_only_alike() -> None:
    joined = join_images([make_images(2, "P2"), make_images(3, "P1")])
    assert joined.wells["plate"].tolist() == ["P2"] * 2 + ["P1"] * 3
    assert joined.wells.index.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(joined.pixels[2:], make_images(3, "P1").pixels)
    with pytest.raises(ImageError, match="one set of channels"):
        join_images([make_images(), make_images(channels=("a:mid", "c:mip"))])
    with pytest.raises(ImageError, match="one set of channels"):
        join_images([])


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("intensity", ["depth", "well"])
def test_a_plate_is_in_memory_once_as_the_network_reads_it(tmp_path: Path, intensity: Intensity) -> None:
    rng, spec = np.random.default_rng(0), InputSpec(planes=("x:mid", "y:mid"), size=96, intensity=intensity)
    images = {member_name(f"{row}{column:02d}", channel=channel): rng.integers(0, 4096, (96, 96)).astype(np.uint16)
              for row in "ABCDEFGH" for column in range(1, 13) for channel in (0, 1)}
    with archive(tmp_path, images) as plate:
        wanted = 96 * 2 * 96 * 96 * np.dtype(np.float16).itemsize
        assert peak_bytes(lambda: prepare_plate(plate, spec, channels=["x", "y"])) < 2 * wanted     # 3 with a list of what was averaged


def test_plates_that_lie_on_disk_are_joined_without_being_read_and_give_the_rows_that_are_asked_for(tmp_path: Path) -> None:
    for number, count in enumerate((3, 4, 5)):
        save_prepared(make_images(count, f"P{number}", size=256), tmp_path / f"P{number}.safetensors")
    whole = np.concatenate([load_prepared(path).pixels for path in sorted(tmp_path.glob("*.safetensors"))])

    def by_twos() -> None:
        joined = join_images(map(load_prepared, sorted(tmp_path.glob("*.safetensors")))).pixels
        assert all((joined[start:start + 2] == whole[start:start + 2]).all() for start in range(0, 12, 2))

    assert peak_bytes(by_twos) < whole.nbytes / 2
    plates = [load_prepared(path) for path in sorted(tmp_path.glob("*.safetensors"))]
    joined = join_images(plates).pixels
    for rows in (slice(None), slice(1, 3), slice(2, 9), slice(9, 2), slice(0, 12, 5), np.array([11, 0, 4, 4, -1]), np.array([], dtype=int),
                 np.arange(12) % 3 == 0, 7, -1, (5, 0), (slice(2, 8), slice(0, 1)), (np.array([8, 1]), 1)):
        np.testing.assert_array_equal(joined[rows], whole[rows])
    np.testing.assert_array_equal(np.stack(list(joined)), whole)
    assert np.shares_memory(joined[3:7], np.asarray(plates[1].pixels))      # a plate's rows are the plate's
