"""The short way through everyday TIFFs gives tifffile's pixels, and leaves alone what is not exactly one of them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InputError
from models.plates.pixels import _decode_tiff
from models.plates.plain_tiff import read_plain


def written(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **{"metadata": None, "software": False, "photometric": "minisblack"} | options)
    return buffer.getvalue()


def grey(dtype: str = "uint8", shape: tuple[int, ...] = (20, 30)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("options", [{}, {"software": "a camera", "datetime": True}, {"resolution": (3000.0, 3000.0)}])
def test_everyday_files_are_read(dtype: str, options: dict[str, Any]) -> None:
    pixels = grey(dtype)
    found = read_plain(written(pixels, **options))
    assert found is not None
    assert found.dtype == pixels.dtype
    assert found.flags.writeable
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("data", [
    written(grey(), compression="zlib"), written(grey(), byteorder=">"), written(grey(), bigtiff=True), written(grey(), tile=(16, 16)),
    written(grey(), photometric="miniswhite"), written(grey(), rowsperstrip=7), written(grey(), description="of an unknown kind"),
    written(grey(shape=(4, 20, 30))), written(grey(shape=(20, 30, 3)), photometric="rgb"), written(grey().astype(np.int8)),
    written(grey().astype(np.float32)), written(grey(), imagej=True, metadata={}), b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"\x89PNG"])
def test_others_are_left_to_tifffile(data: bytes) -> None:
    assert read_plain(data) is None


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 161), st.integers(0, 255), st.integers(0, 40))
def test_whatever_a_header_says_the_pixels_are_those_of_tifffile(at: int, value: int, cut: int) -> None:
    whole = bytearray(written(grey(shape=(5, 7))))
    whole[at % len(whole)] = value
    data = bytes(whole[:len(whole) - cut])
    found = read_plain(data)
    if found is None:
        return
    try:
        expected = _decode_tiff(data, "A01_s1_c0_z0.tif")
    except (InputError, ValueError, KeyError) as error:
        pytest.fail(f"tifffile does not read it ({error})")
    np.testing.assert_array_equal(found, expected)
