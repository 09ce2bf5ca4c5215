"""The streamed projections are the plain ones bit for bit, and small images are the averages of areas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.plates.projections import PROJECTIONS, StackProjector, project, resize_area

RNG = np.random.default_rng(0)


def plain_small(plane: np.ndarray, size: int) -> np.ndarray:
    """The definition: one resize of the whole plane."""
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize((size, size), Image.Resampling.BOX))


@settings(max_examples=40)
@given(st.tuples(st.integers(1, 9), st.integers(1, 200), st.integers(1, 90)), st.integers(1, 80), st.sampled_from([np.uint8, np.uint16]),
       st.sampled_from([40, 4095, 65535]))
def test_streamed_and_plain_projections_are_equal_bit_for_bit(shape: tuple[int, ...], size: int, depth: type, top: int) -> None:
    stack = RNG.integers(0, min(top, np.iinfo(depth).max), shape, endpoint=True).astype(depth)
    projector = StackProjector()
    projector.run(iter(stack), count=len(stack))
    for kind in PROJECTIONS:
        np.testing.assert_array_equal(projector.small(kind, size), resize_area(project(stack, kind), size))


@settings(max_examples=20)
@given(st.tuples(st.integers(1, 200), st.integers(1, 90)), st.integers(1, 80), st.sampled_from([1, 700, 2**18]))
def test_bands_change_no_average(shape: tuple[int, int], size: int, pixels: int) -> None:
    plane = RNG.integers(0, 65535, shape).astype(np.uint16)
    whole = resize_area(plane, size)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("models.plates.projections._AVERAGED", pixels)
        np.testing.assert_array_equal(resize_area(plane, size), whole)
    np.testing.assert_allclose(whole, plain_small(plane, size), rtol=1e-6)


def test_sums_beyond_16_and_24_bits_stay_exact() -> None:
    stack = np.full((300, 8, 8), 65535, np.uint16)
    stack[0] = 65534
    projector = StackProjector()
    projector.run(stack, count=300)
    np.testing.assert_array_equal(projector.small("mos", 8), np.float32((299 * 65535 + 65534) / 300))


def test_a_projector_forgets_the_stack_before() -> None:
    projector, bright, dark = StackProjector(), np.full((3, 8, 8), 9000, np.uint16), np.ones((2, 8, 8), np.uint16)
    for stack in (bright, dark, dark[:, :4].astype(np.uint8), dark):
        projector.run(stack, count=len(stack))
        assert {float(projector.small(kind, 4).max()) for kind in PROJECTIONS} == {float(stack.max())}
    assert (projector.shape, projector.dtype) == ((8, 8), np.uint16)


def test_the_middle_of_an_even_stack_is_the_plane_after_the_half() -> None:
    projector = StackProjector()
    projector.run(np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((4, 8, 8), np.uint8), count=4)
    assert (projector.small("mid", 8)[0, 0], projector.small("mip", 8)[0, 0], projector.small("mos", 8)[0, 0]) == (2, 3, 1.5)


def test_colours_are_projected_each_by_itself() -> None:
    stack = RNG.integers(0, 255, (3, 40, 30, 3), dtype=np.uint8)
    projector = StackProjector()
    projector.run(stack, count=3)
    for kind in PROJECTIONS:
        expected = np.stack([plain_small(project(stack[..., part], kind), 12) for part in range(3)], axis=-1)
        np.testing.assert_allclose(projector.small(kind, 12), expected, rtol=1e-6)


@pytest.mark.parametrize(("planes", "count", "words"), [
    ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], 2, "plane 2 has"),
    ([np.zeros((4, 4), np.uint8)], 2, "expected 2 planes, got 1"),
    ([np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16)], 2, "plane 2 has"), ([], 0, "expected 0 planes")])
def test_what_is_no_stack_is_said(planes: list[np.ndarray], count: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StackProjector().run(planes, count=count)


def test_small_images_keep_the_mean_and_constants() -> None:
    plane = RNG.integers(0, 4000, (256, 128)).astype(np.uint16)
    assert resize_area(plane, 32).mean() == pytest.approx(plane.mean(), rel=1e-6)
    np.testing.assert_array_equal(resize_area(np.full((70, 90), 5, np.uint16), 32), 5)
    np.testing.assert_array_equal(resize_area(plane[:32, :32], 32), plane[:32, :32])
