"""Pixels of TIFF, PNG and JPEG files. Nothing is believed before it is checked: declared sizes have caps."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import tifffile
from PIL import Image

from models.errors import InputError
from models.plates.image_limits import check_depth, image_error, refuse_chunks, refuse_expanding, refuse_large, refuse_scans, unreadable
from models.plates.tiff import TiffStack

TIFF_SUFFIXES = (".tif", ".tiff")
PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg")
IMAGE_SUFFIXES = TIFF_SUFFIXES + PHOTO_SUFFIXES
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def decode_image(data: bytes, name: str, *, at_least: int | None = None) -> np.ndarray:
    """Pixels of a TIFF, PNG or JPEG: (H, W), (Z, H, W) for a stack, or (H, W, 3) for colour; uint8 or uint16.

    at_least: a JPEG may come out 2, 4 or 8 times smaller as long as its sides have as many pixels; two to three times faster.
    Raises ImageError, naming `name`, for empty, truncated, oversized or foreign files.
    """
    if not data:
        raise image_error("image_empty", name, "has zero bytes; copy it again from the microscope")
    try:
        pixels = _decode_tiff(data, name) if data[:4] in TIFF_STARTS else _decode_photo(data, name, at_least)
    except InputError:
        raise
    except Exception as error:  # the decoders raise whatever their C libraries say; all of it means: not readable
        raise unreadable(name, error) from None
    check_depth(pixels.dtype, name)
    return pixels


def _decode_tiff(data: bytes, name: str) -> np.ndarray:
    global _before  # of whichever image came last, in any thread: it only saves time
    if _before is not None and (pixels := _before.pixels(data)) is not None:
        return pixels
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        stack = TiffStack(tiff, name, data=data)    # whose planes outlast one another, so that none need be copied
        pixels = stack[0] if len(stack) == 1 else np.stack(list(stack))
    _before = _Plain.of(data, pixels) or _before
    return pixels


@dataclass(frozen=True)
class _Plain:
    """A TIFF whose pixels lie in it as they are: where, and all its other bytes. A file with the same ones at the same places says the same
    of its pixels, and the images of a plate mostly do: asking tifffile once saves nine tenths of the time that a small image takes.
    """

    head: bytes
    tail: bytes
    size: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, data: bytes, pixels: np.ndarray) -> _Plain | None:
        """None where the pixels (H, W) or (H, W, 3) of the file had to be unpacked."""
        start = pixels.ctypes.data - np.frombuffer(data, np.uint8).ctypes.data
        end = start + pixels.nbytes
        if start < 0 or end > len(data) or not pixels.flags.c_contiguous or end - start < len(data) // 2:
            return None
        return cls(data[:start], data[end:], len(data), pixels.shape, pixels.dtype)

    def pixels(self, data: bytes) -> np.ndarray | None:
        """Pixels of another such file, part of it and not to be written to; None where it says anything else."""
        if len(data) != self.size or not data.startswith(self.head) or not data.endswith(self.tail):
            return None
        return np.frombuffer(data, self.dtype, math.prod(self.shape), len(self.head)).reshape(self.shape)


_before: _Plain | None = None


def _decode_photo(data: bytes, name: str, at_least: int | None) -> np.ndarray:
    if data.startswith(b"\x89PNG"):
        refuse_chunks(data, name)
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
        refuse_large(image.width * image.height, name)
        refuse_expanding(image.width * image.height * _bytes_of(image.mode), len(data), name)
        if image.format != "PNG":       # but "MPO", where a JPEG says that others follow
            refuse_scans(data, name)
        if at_least:
            image.draft(None, (at_least, at_least))     # the JPEG decoder leaves out the fine frequencies; PNG knows no draft
        if image.mode in ("1", "LA", "La"):
            return np.asarray(image.convert("L"))
        return np.asarray(image if image.mode in ("L", "RGB", "I;16") else image.convert("RGB"))


def _bytes_of(mode: str) -> int:
    """Bytes of a pixel, once it is decoded as uint8 or uint16."""
    return {"1": 1, "L": 1, "LA": 2, "I;16": 2, "P": 3, "RGB": 3}.get(mode, 4)
