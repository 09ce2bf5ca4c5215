"""The everyday TIFF: one grey plane of 8 or 16 bit that lies in the file as it is, as cameras export it and plate archives hold it.

Its pixels take some microseconds to copy, and a parser of all TIFFs takes ten times as long. Whatever is not exactly that is left to
tifffile.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from models.plates.image_limits import MAX_PIXELS

_START = b"II*\0"                               # little-endian, not a BigTIFF
_ENTRY, _NUMBERS = struct.Struct("<HHII"), {3: 0xFFFF, 4: 0xFFFFFFFF}     # tag, type, count, value; types of whole numbers, and their bits
_WIDTH, _HEIGHT, _BITS, _OFFSET, _ROWS, _BYTES = 256, 257, 258, 273, 278, 279
_EXPECTED = {254: 0, 259: 1, 262: 1, 266: 1, 277: 1, 339: 1}     # subfile, compression, 0 is black, fill order, samples, their format
_OF_NO_ACCOUNT = (282, 283, 296, 305, 306)      # resolution, software, date


def read_plain(data: bytes) -> np.ndarray | None:
    """Pixels (H, W), uint8 or uint16, of such a TIFF; None for any other file, a damaged one too."""
    try:
        return _pixels(data, _tags(data)) if data[:4] == _START else None
    except (struct.error, KeyError):
        return None


def _tags(data: bytes) -> dict[int, int]:
    """The numbers of the file's only page by tag. Raises KeyError for further pages, repeated tags, and what is no single whole number."""
    at = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, at)[0]
    end = at + 2 + count * _ENTRY.size
    if struct.unpack_from("<I", data, end)[0]:
        raise KeyError("a further page")
    tags: dict[int, int] = {}
    for tag, kind, values, value in _ENTRY.iter_unpack(data[at + 2:end]):
        if tag in tags or (values != 1 and tag not in _OF_NO_ACCOUNT):
            raise KeyError(tag)
        tags[tag] = 0 if tag in _OF_NO_ACCOUNT else value & _NUMBERS[kind]
    return tags


def _pixels(data: bytes, tags: Mapping[int, int]) -> np.ndarray | None:
    width, height, bits, offset, size = (tags[name] for name in (_WIDTH, _HEIGHT, _BITS, _OFFSET, _BYTES))
    known = tags.keys() <= {_WIDTH, _HEIGHT, _BITS, _OFFSET, _ROWS, _BYTES, *_EXPECTED, *_OF_NO_ACCOUNT}
    as_expected = all(tags.get(tag, value) == value for tag, value in _EXPECTED.items()) and tags.get(_ROWS, height) >= height
    whole = bits in (8, 16) and size == width * height * bits // 8 and offset + size <= len(data)
    if not (known and as_expected and whole and 0 < width * height <= MAX_PIXELS):
        return None
    return np.frombuffer(data, f"<u{bits // 8}", width * height, offset).reshape(height, width).astype(f"u{bits // 8}")
