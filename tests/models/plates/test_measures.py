"""Measures of an image: each recovers what was put in, and none but its own is moved by gain, noise or what the image shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from models.columns import Column
from models.plates.measures import (
    BAND_MARGIN,
    BAND_ROWS,
    BANDS,
    DETAIL_SCALES,
    _curvature,
    _curved,
    _details,
    _halvings,
    measure_plane,
    measure_stack,
    noise_of,
    with_gradients,
)
from models.tables import IMAGE_QUALITY

GOLDEN = json.loads((Path(__file__).parent / "golden" / "measures.json").read_text())
SIZE = 128


def cells(rng: np.random.Generator, *, count: int = 60, radius: float = 4.0, height: float = 80.0, size: int = SIZE) -> np.ndarray:
    """Discs with soft edges on a black ground."""
    down, right = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    image = np.zeros((size, size))
    for row, column in rng.uniform(0, size, (count, 2)):
        image = np.maximum(image, height / (1 + np.exp(3 * (np.hypot(down - row, right - column) - radius))))
    return image


def shot(light: np.ndarray, rng: np.random.Generator, *, noise: float = 2.0, background: float = 100.0) -> np.ndarray:
    return np.rint(light + background + rng.normal(0, noise, light.shape)).clip(0, 65535).astype(np.uint16)


def gradient_of(plane: np.ndarray) -> float:
    return float(with_gradients([measure_plane(plane)])[0]["gradient"])


@pytest.mark.parametrize("noise", [1.0, 3.0, 30.0])
@pytest.mark.parametrize("count", [0, 15, 40])
def test_noise_is_that_of_the_camera_as_long_as_half_of_the_image_is_quiet(noise: float, count: int) -> None:
    rng = np.random.default_rng(1)
    found = noise_of(shot(cells(rng, count=count), rng, noise=noise, background=500).astype(np.float32))
    assert found == pytest.approx(np.hypot(noise, 12**-0.5), rel=0.06 if not count else 0.35)


def test_an_image_without_noise_has_that_of_rounding() -> None:
    assert noise_of(np.full((32, 32), 7, np.float32)) == pytest.approx(12**-0.5)


def test_noise_alone_has_no_detail_and_structure_has() -> None:
    rng = np.random.default_rng(2)
    empty, full = (measure_plane(shot(cells(rng, count=count), rng)) for count in (0, 60))
    for scale in (1, 2, 4):
        assert empty[f"detail_{scale}"] < 0.5
        assert full[f"detail_{scale}"] > 4


@settings(max_examples=30)
@given(blur=st.floats(1.5, 5), count=st.integers(5, 150), radius=st.floats(2, 8), seed=st.integers(0, 50))
def test_blur_takes_fine_detail_before_coarse(blur: float, count: int, radius: float, seed: int) -> None:
    """Whatever stands in the image: many cells or few, large or small."""
    rng = np.random.default_rng(seed)
    light = cells(rng, count=count, radius=radius, size=64)

    def sharpness(image: np.ndarray) -> float:
        found = measure_plane(shot(image, rng, noise=0.5))
        return min(found["detail_1"] - found["detail_2"], found["detail_2"] - found["detail_4"])
    assert sharpness(light) - sharpness(gaussian_filter(light, blur)) > 0.5


@settings(max_examples=15)
@given(gain=st.floats(3, 100), offset=st.floats(0, 5000))
def test_a_brighter_lamp_changes_no_measure_of_structure(gain: float, offset: float) -> None:
    """Noise and light scale alike: the ratios stay, and lengths on a log scale move by the gain."""
    rng = np.random.default_rng(3)
    plane = cells(rng, count=30, size=64) + rng.normal(0, 1.0, (64, 64))
    one, other = measure_plane(10 * plane), measure_plane(10 * gain * plane + offset)
    for name in ("detail_1", "detail_2", "detail_4"):
        assert other[name] == pytest.approx(one[name], abs=0.02)
    assert other["debris"] - one["debris"] == pytest.approx(np.log2(gain), abs=0.02)
    assert other["contrast"] == pytest.approx(gain * one["contrast"], rel=0.01)
    assert other["background"] == pytest.approx(gain * one["background"] + offset, rel=0.01, abs=0.5)


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("count", [0, 40, 90])
def test_the_gradient_is_the_light_s_own_not_the_cells(slope: float, count: int) -> None:
    rng = np.random.default_rng(4)
    lamp = 1 + slope * np.linspace(-1, 1, SIZE)[:, None]
    plane = shot((cells(rng, count=count, height=300) + 400) * lamp, rng, background=0)
    assert gradient_of(plane) == pytest.approx(2 * slope, rel=0.3, abs=0.05)


@pytest.mark.parametrize("company", [1, 2, 40])
def test_an_image_s_gradient_is_its_own_whatever_the_company(company: int) -> None:
    rng = np.random.default_rng(company)
    measured = [measure_plane(shot(np.full((128, 128), 20.0 * number), rng)) for number in range(company + 1)]
    assert with_gradients(measured)[0] == with_gradients(measured[:1])[0]


def test_debris_is_larger_than_many_small_things() -> None:
    rng = np.random.default_rng(5)
    light = cells(rng, count=100, radius=1.5)
    dust = light + cells(rng, count=1, radius=9, height=200)
    dark = light - 0.9 * cells(rng, count=1, radius=9, height=100)
    plain = measure_plane(shot(light, rng))["debris"]
    for spoilt in (dust, dark):
        assert measure_plane(shot(spoilt, rng))["debris"] > plain + 0.5


@pytest.mark.parametrize("times", [2, 4, 8])
def test_large_objects_weigh_the_same_however_many_pixels_the_camera_has(times: int) -> None:
    """Wide Gaussians run on halved images."""
    rng = np.random.default_rng(9)
    light = shot(cells(rng, count=40, radius=6) + cells(rng, count=1, radius=12, height=200), rng)
    large = np.kron(light, np.ones((times, times), np.uint16))
    assert measure_plane(large)["debris"] == pytest.approx(measure_plane(light)["debris"], abs=0.05)


def test_a_coarser_scale_is_a_finer_one_of_the_halved_image() -> None:
    rng = np.random.default_rng(10)
    halved = _halvings(shot(cells(rng), rng))
    whole, half = _details(halved, 2.0), _details(halved[1:], 1.0)
    assert [half[f"detail_{scale}"] for scale in (1, 2, 4)] == [whole[f"detail_{2 * scale}"] for scale in (1, 2, 4)]


@pytest.mark.parametrize(("dtype", "limit"), [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 4095)])
def test_saturation_is_the_share_at_the_brightest_value_in_any_plane(dtype: type, limit: int) -> None:
    """A camera of 12 bit in a 16-bit file saturates at 4095."""
    stack = np.tile(np.arange(100).reshape(10, 10), (3, 1, 1)).astype(dtype)
    stack[0, 0, :5] = stack[2, 0, 5:] = limit
    found = measure_stack(stack, stack.max(axis=0).astype(np.float32))
    assert (found["saturated_share"], found["brightest"], found["planes"]) == (0.1, limit, 3)
    assert found["bits"] == 8 * np.dtype(dtype).itemsize


def test_a_black_image_is_not_saturated_and_has_no_fingerprint_but_a_white_one_is() -> None:
    for value, share in ((0, 0.0), (17, 0.0), (255, 1.0)):
        stack = np.full((1, 16, 16), value, np.uint8)
        found = measure_stack(stack, stack[0].astype(np.float32))
        assert (found["saturated_share"], found["digest"]) == (share, "")


def test_the_fingerprint_is_that_of_all_planes_and_pixels() -> None:
    stack = np.random.default_rng(6).integers(0, 255, (2, 16, 16)).astype(np.uint8)
    other = stack.copy()
    other[1, 15, 15] ^= 1
    first, again, changed = (measure_stack(item, item[0].astype(np.float32))["digest"] for item in (stack, stack[:, ::1].copy(), other))
    assert first == again != changed


@pytest.mark.parametrize("shape", [(1, 1), (7, 30), (8, 8), (9, 33), (31, 64), (64, 70)])
def test_small_and_odd_images_have_what_can_be_measured(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(7).normal(100, 5, shape).astype(np.float32)
    found = measure_plane(plane)
    assert np.isfinite([found["background"], found["contrast"]]).all()
    assert np.isfinite(found["debris"]) == (min(shape) >= 8)
    assert np.isfinite(gradient_of(plane)) == (min(shape) >= 64)
    known = [np.isfinite(found[f"detail_{scale}"]) for scale in DETAIL_SCALES]
    assert known == sorted(known, reverse=True)


def test_colour_stacks_and_the_contract() -> None:
    stack = np.random.default_rng(8).integers(0, 200, (2, 20, 24, 3)).astype(np.uint8)
    found = with_gradients([measure_stack(stack, stack.mean(axis=-1)[0])])[0]
    measured: list[Column] = [column for column in IMAGE_QUALITY.columns if column.name not in ("plate", "well", "site", "channel")]
    assert list(found) == [column.name for column in measured if column.name in found]
    assert set(found) == {column.name for column in measured}
    assert (found["height"], found["width"]) == (20, 24)


@settings(max_examples=30)
@given(side=st.integers(8, 90), dtype=st.sampled_from(["uint8", "uint16"]), seed=st.integers(0, 50))
def test_an_image_as_it_was_read_measures_as_in_floating_point(side: int, dtype: str, seed: int) -> None:
    """Whole numbers are counted, sorted by digits and subtracted as such; the numbers are the same."""
    plane = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (side, side + 5), dtype=dtype)
    whole, floating = measure_plane(plane), measure_plane(plane.astype(np.float32) + np.float32(0.25))
    assert whole["noise"] == pytest.approx(floating["noise"], rel=1e-5)
    assert whole["contrast"] == pytest.approx(floating["contrast"], rel=1e-5)
    assert whole["background"] == pytest.approx(floating["background"] - 0.25, rel=1e-5)
    same = measure_plane(plane.astype(np.float32))
    blocks = whole.pop("dim"), same.pop("dim")
    assert whole == pytest.approx(same, rel=1e-5, nan_ok=True)
    assert [one is None for one in blocks] == [side < 64] * 2
    if side >= 64:
        np.testing.assert_allclose(*blocks)


@settings(max_examples=30)
@given(side=st.integers(8, 90), depth=st.sampled_from([3, 200, 60_000]), mean_of=st.sampled_from([1, 3]), seed=st.integers(0, 50))
def test_ranks_are_counted_as_they_are_sorted(side: int, depth: int, mean_of: int, seed: int) -> None:
    """Of whole numbers, as planes are, and of means."""
    rng = np.random.default_rng(seed)
    plane = rng.integers(0, depth, (mean_of, side, side + 3)).mean(axis=0).astype(np.float32)
    low, bright = np.percentile(plane, (5, 99.9))
    found = measure_plane(plane)
    assert (found["background"], found["contrast"]) == (pytest.approx(low, rel=1e-6), pytest.approx(bright - low, rel=1e-5, abs=1e-6))
    if found["dim"] is not None:
        size, wide = side // 8, (side + 3) // 8
        blocks = [plane[size * row:size * (row + 1), wide * column:wide * (column + 1)] for row in range(8) for column in range(8)]
        assert found["dim"] == pytest.approx([np.percentile(block, 10) for block in blocks], rel=1e-6)


def grains(shape: tuple[int, int], *, bits: int, seed: int) -> np.ndarray:
    """Squares of 16 pixels and noise, in whole numbers."""
    rng = np.random.default_rng(seed)
    squares = np.kron(rng.integers(0, 100, (shape[0] // 16 + 1, shape[1] // 16 + 1)), np.ones((16, 16), int))[:shape[0], :shape[1]]
    grey = squares + rng.integers(0, 30, shape)
    return grey.astype(np.uint8) if bits == 8 else 37 * grey.astype(np.uint16)


@pytest.mark.parametrize(("shape", "bits"), [((96, 96), 8), ((224, 224), 8), ((224, 224), 16), ((512, 512), 8), ((400, 900), 16)])
@pytest.mark.parametrize("projection", ["mid", "mos"])
def test_images_of_up_to_512_pixels_measure_what_they_always_did(shape: tuple[int, int], bits: int, projection: str) -> None:
    """golden/measures.json holds what version 0.1.0 said before large images were sampled; limits in cards rest on such numbers. What is
    counted is the same to the last bit, what is filtered or fitted depends on the processor's instructions in its last digits.
    """
    stack = np.stack([grains(shape, bits=bits, seed=seed) for seed in (1, 2)])
    found = with_gradients([measure_stack(stack, stack[1] if projection == "mid" else stack.mean(axis=0))])[0]
    stored = GOLDEN[f"{shape[0]}x{shape[1]} {bits} bit {projection}"]
    fitted = {"gradient", "debris", *(f"detail_{scale}" for scale in DETAIL_SCALES)}
    assert set(found) == set(stored)
    assert {name: value for name, value in found.items() if name not in fitted} == {
        name: value for name, value in stored.items() if name not in fitted}
    assert [found[name] for name in sorted(fitted)] == pytest.approx([stored[name] for name in sorted(fitted)], rel=1e-6)


@pytest.mark.parametrize("shape", [(513, 600), (640, 640), (1080, 1080), (1500, 700)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_the_detail_of_a_large_image_is_that_of_bands_without_edges_of_their_own(shape: tuple[int, int], dtype: type) -> None:
    plane = grains(shape, bits=8, seed=3).astype(dtype)
    curved, part = _curved(plane.astype(np.float32)).astype(float), shape[0] // BANDS
    first = (part - BAND_ROWS - 2 * BAND_MARGIN) // 2 + BAND_MARGIN
    bands = np.concatenate([curved[number * part + first:][:BAND_ROWS] for number in range(BANDS)])
    assert _curvature(plane) == (pytest.approx((bands**2).mean(), rel=1e-5), bands.size)


def test_a_large_image_measures_about_what_all_of_its_pixels_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a third of the closest limit, 0.2, and a seventh of that of focus, 0.7."""
    rng = np.random.default_rng(12)
    light = 2e3 * gaussian_filter((rng.random((1080, 1080)) < 1e-2).astype(float), 1.2) + 30 * np.linspace(0, 1, 1080)
    stack = shot(light, rng)[None]
    sampled = with_gradients([measure_stack(stack, stack[0])])[0]
    monkeypatch.setattr("models.plates.measures.SAMPLED_SIDE", 2000)
    monkeypatch.setattr("models.plates.measures.STEPPED_SIDE", 2000)
    whole = with_gradients([measure_stack(stack, stack[0])])[0]
    assert sampled["detail_1"] != whole["detail_1"]
    for name in ("gradient", "debris", "detail_4"):
        assert sampled[name] == pytest.approx(whole[name], abs=0.07), name
    assert sampled["detail_1"] - sampled["detail_2"] == pytest.approx(whole["detail_1"] - whole["detail_2"], abs=0.1)
    assert [sampled[name] for name in ("noise", "background", "contrast")] == pytest.approx(
        [whole[name] for name in ("noise", "background", "contrast")], rel=0.05)
    assert [sampled[name] for name in ("digest", "brightest")] == [whole[name] for name in ("digest", "brightest")]


@pytest.mark.parametrize("colour", [(), (3,)])
def test_saturation_of_a_large_stack_is_that_of_its_rows(colour: tuple[int, ...]) -> None:
    stack = np.random.default_rng(13).integers(0, 200, (2, 1080, 1100, *colour)).astype(np.uint8)
    stack[0, :54, :550] = stack[1, 1026:, 550:] = 255       # a twentieth of the rows, half of each
    share = measure_stack(stack, stack.mean(axis=-1)[1] if colour else stack[1])["saturated_share"]
    assert share == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("shape", [(1080, 1080), (1081, 1333), (600, 515)])
def test_a_large_image_is_halved_in_parts_like_in_one_go(shape: tuple[int, int]) -> None:
    plane = grains(shape, bits=16, seed=4)
    height, width = shape[0] // 2, shape[1] // 2
    means = plane[:2 * height, :2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(_halvings(plane)[1], means)
