"""What an image may claim of itself before anything is believed: sizes, pages, ways of packing.

A few kilobytes can declare gigabytes: black pixels packed a thousand to one, pages that share one strip, a JPEG inside a TIFF that is
larger than the TIFF says, metadata that speak of a billion planes. All of it is refused by what the file says, before it is decoded.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from tifffile import COMPRESSION

from models.errors import Finding, ImageError
from models.plates.member_names import well_in

MAX_PIXELS = 64_000_000         # per plane; 2048x2048 has 4 million
SMALL_BYTES = 16 * 2**20        # decoded: as much as a small file may always become
MAX_RATIO = 100                 # decoded to stored beyond that; noise of any camera keeps it below 10
MAX_PAGES = 10_000              # of a TIFF: 160 planes at 60 times
MAX_SCANS = 64                  # of a progressive JPEG, which has about 10; each costs a pass over all pixels
MAX_FRAMES = 1_000_000          # that metadata may speak of
MAX_DESCRIPTION = 8 * 2**20     # bytes of metadata: 10,000 planes have 3 MB of them
MAX_CHUNKS = 20_000             # of a PNG: 160 MB of pixels in the usual ones of 8 kB
MAX_TILES = 4_096               # of a JPEG 2000, times its parts: its decoder sets up each of them before it looks at any

_JPEG, _JPEG2000 = (COMPRESSION.JPEG,), (COMPRESSION.APERIO_JP2000_YCBC, COMPRESSION.APERIO_JP2000_RGB, COMPRESSION.JPEG2000)
_BOUNDED = (COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.DEFLATE, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.PACKBITS, COMPRESSION.ZSTD,
            COMPRESSION.LZMA)   # decoders that are told how much may come out
_STATING = frozenset((*_JPEG, *_JPEG2000))      # whose strips state their own size
_READ = _STATING.union(_BOUNDED)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}     # JPEG markers that state a size
_UNCLEAR = frozenset((0x00, 0x01, *range(0xD0, 0xDB), 0xFF))    # JPEG markers that have no length, or end what comes before a frame
_HEADER_BYTES = 2**16           # of a strip, in which its size must be stated


def image_error(rule: str, name: str, message: str) -> ImageError:
    """An ImageError with its finding, which knows the well where the name is that of an archive's member."""
    return ImageError(f"{name} {message}", [Finding(rule=rule, severity="error", well=well_in(Path(name).name), value=name,
                                                    message=f"image {name} {message}")])


def unreadable(name: str, error: Exception) -> ImageError:
    """The ImageError for whatever a decoder raised."""
    said = re.sub(r" ?<_io\.BytesIO object at \w+>", "", str(error))[:300] or "no reason is known"  # not Python's name of it, nobody's word
    return image_error("image_unreadable", name, f"cannot be read ({said}); it is damaged or not an image, copy it again")


def check_depth(dtype: np.dtype | None, name: str) -> np.dtype:
    """The dtype, if it is 8 or 16 bit without sign. Raises ImageError."""
    if dtype is None or dtype not in (np.uint8, np.uint16):
        raise image_error("image_depth", name, f"has {dtype} pixels; expected 8- or 16-bit unsigned integers")
    return dtype


def refuse_large(pixels: int, name: str) -> None:
    """Raise ImageError for a plane of more than MAX_PIXELS."""
    if pixels > MAX_PIXELS:
        raise image_error("image_too_large", name, f"declares {pixels:,} pixels; at most {MAX_PIXELS:,} are read")


def refuse_expanding(decoded: int, stored: int, name: str) -> None:
    """Raise ImageError for pixels that would take MAX_RATIO times the bytes that they are stored in, and more than SMALL_BYTES."""
    if decoded > max(SMALL_BYTES, MAX_RATIO * stored):
        raise image_error("image_bomb", name, f"declares {decoded:,} bytes of pixels in {stored:,} bytes; refused as a decompression bomb")


def refuse_scans(data: bytes, name: str) -> None:
    """Raise ImageError for a JPEG of more than MAX_SCANS scans. The marker cannot stand within a scan's data."""
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise image_error("image_bomb", name, f"is a JPEG of {data.count(bytes((0xFF, 0xDA))):,} scans; at most {MAX_SCANS} are read")


def refuse_chunks(data: bytes, name: str) -> None:
    """Raise ImageError for a PNG of more than MAX_CHUNKS chunks: empty ones cost its reader some microseconds each."""
    at, count = 8, 0
    while at + 8 <= len(data) and count <= MAX_CHUNKS:
        at, count = at + 12 + int.from_bytes(data[at:at + 4], "big"), count + 1
    if count > MAX_CHUNKS:
        raise image_error("image_bomb", name, f"is a PNG of more than {MAX_CHUNKS:,} chunks; save it again")


def refuse_pages(tiff: tifffile.TiffFile, name: str) -> None:
    """Raise ImageError for a TIFF of more than MAX_PAGES pages, before they are listed."""
    try:
        tiff.pages[MAX_PAGES]
    except IndexError:
        return
    raise image_error("image_pages", name, f"has more than {MAX_PAGES:,} pages; export a file for each site")


def refuse_claims(tiff: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage], name: str) -> None:
    """Raise ImageError for a TIFF whose pages are too large, share their bytes, would expand beyond reason, or are packed in a way whose
    decoder believes its input.
    """
    size = tiff.filehandle.size
    for page in pages:
        refuse_large(math.prod(page.shape), name)
        if page.compression not in _READ:
            raise image_error("image_packing", name, f"is packed as {_packing(page)}; save it uncompressed, or with LZW, "
                              "deflate, zstd or JPEG")
    claimed = sum(sum(page.databytecounts) for page in pages)
    if claimed > 2 * size:      # some writers round up
        _require_whole(pages, size)
        raise image_error("image_bomb", name, f"has {len(pages):,} page(s) that claim {claimed:,} bytes of a file of {size:,}; "
                          "refused as a decompression bomb")
    refuse_expanding(sum(page.nbytes for page in pages), size, name)
    for page in pages:
        if page.compression in _STATING:
            _check_segments(tiff, page, name)


def _require_whole(pages: Sequence[tifffile.TiffPage], size: int) -> None:
    """Raise ValueError for a file that was cut off, which claims more than it has without meaning harm."""
    end = max(offset + count for page in pages for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
    if end > size:
        raise ValueError(f"the file ends {end - size:,} bytes early")


def refuse_frames(tiff: tifffile.TiffFile, name: str) -> None:
    """Raise ImageError for OME metadata that speak of more than MAX_FRAMES frames: they are listed before any is read."""
    if len(said := tiff.pages.first.description) > MAX_DESCRIPTION:
        raise image_error("image_bomb", name, f"has {len(said):,} characters of metadata; at most {MAX_DESCRIPTION:,} are read")
    try:
        root = ElementTree.fromstring(said)     # noqa: S314  # expat itself limits entities; tifffile parses it too
    except ElementTree.ParseError:
        return      # tifffile takes it for a plain stack
    frames = sum(map(_frames, root.iter()))
    if not frames <= MAX_FRAMES:    # nor where they are no number
        raise image_error("image_bomb", name, f"has metadata of {frames:,.0f} planes; at most {MAX_FRAMES:,} are read")


def _frames(element: ElementTree.Element) -> float:
    """How many frames an element of OME-XML speaks of: sizes of pixels, counts of planes, steps of a further axis."""
    def number(name: str, default: float) -> float:
        try:
            return abs(float(element.attrib.get(name, default)))
        except ValueError:
            return default
    planes = number("SizeZ", 1) * number("SizeC", 1) * number("SizeT", 1)
    steps = (number("Start", 0) + number("End", 0)) / max(number("Step", 1), 1e-9)
    return planes * ("SizeX" in element.attrib) + steps + number("PlaneCount", 0) + number("NumPlanes", 0)


def _packing(page: tifffile.TiffPage) -> str:
    known = page.compression in COMPRESSION._value2member_map_
    return COMPRESSION(page.compression).name if known else f"number {page.compression}"


def _check_segments(tiff: tifffile.TiffFile, page: tifffile.TiffPage, name: str) -> None:
    """Each strip or tile states its own size, which the decoder believes: it must be that of the page."""
    height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    allowed = (height + 16) * (width + 16) * max(1, page.samplesperpixel)   # encoders pad to whole blocks
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        tiff.filehandle.seek(offset)
        data = tiff.filehandle.read(min(count, _HEADER_BYTES))
        stated = _jpeg_size(data) if page.compression in _JPEG else _jpeg2000_size(data)
        if stated is None or stated > allowed:
            raise image_error("image_bomb", name, f"holds a strip of {stated or 'an unknown number of'} pixels; its page says at most "
                              f"{allowed:,}")
        if page.compression in _JPEG and count > len(data):
            data += tiff.filehandle.read(count - len(data))
        refuse_scans(data, name)


def _jpeg_size(data: bytes) -> int | None:
    """Values of a JPEG by its frame header; None where there is none, or where something stands before it of which decoders think
    differently: bytes that fill, markers without a length.
    """
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while at + 10 <= len(data) and data[at] == 0xFF:
        if data[at + 1] in _UNCLEAR:
            return None
        if data[at + 1] in _FRAMES:
            height, width, parts = struct.unpack(">HHB", data[at + 5:at + 10])
            return int(height * width * parts) or None
        at += 2 + int.from_bytes(data[at + 2:at + 4], "big")
    return None


def _jpeg2000_size(data: bytes) -> int | None:
    """Values of a JPEG 2000 codestream by its header; None for anything else, and for one of more than MAX_TILES."""
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 42:
        return None
    width, height, left, top, tile_width, tile_height, tile_left, tile_top, parts = struct.unpack(">8IH", data[8:42])
    if not (width > left and height > top and parts and tile_width and tile_height):
        return None
    tiles = math.ceil((width - tile_left) / tile_width) * math.ceil((height - tile_top) / tile_height)
    return int((width - left) * (height - top) * parts) if tiles * parts <= MAX_TILES else None
