"""The planes of a TIFF, one at a time: a stack in its pages (microscopes), or planes, channels and times as OME and ImageJ write them."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import numpy as np
import tifffile

from models.plates.image_limits import check_depth, image_error, refuse_claims, refuse_frames, refuse_pages
from models.plates.lazy_planes import Planes, Scratch

_PART = re.compile(r"^t(?P<time>\d+)c(?P<channel>\d+)$")
_UUID_FILE = re.compile(r"<UUID[^<>]*\bFileName\s*=\s*\"([^\"]+)\"")
_GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.PALETTE)


def part_name(*, time: int, channel: int) -> str:
    """The word for one channel at one time, both from 0, of a file that holds several: "t0c1"."""
    return f"t{time}c{channel}"


def parse_part(part: str) -> tuple[int, int]:
    """(time, channel) of "t0c1"; (0, 0) for ""."""
    match = _PART.match(part or "t0c0")
    if match is None:
        raise ValueError(f"'{part}' names no part of an image")
    return int(match["time"]), int(match["channel"])


@dataclass(frozen=True)
class TiffSizes:
    """How many planes, channels and times a TIFF holds, as OME or ImageJ wrote it; a plain stack has planes only."""

    planes: int
    channels: int
    times: int


class TiffStack(Planes):
    """The planes of one channel and time of an open TIFF: (H, W), or (H, W, 3) for colour.

    A plane is read when it is asked for, into `scratch`, which the next one uses again: copy it to keep it. data: the whole file, where
    it lies in memory; planes that stand in it as they are are then parts of it, not to be written to, and may be kept.
    Raises ImageError for a file without pages, with pages of several sizes, too large, or with channels or times and no `part`.
    """

    def __init__(self, tiff: tifffile.TiffFile, name: str, part: str = "", *, scratch: Scratch | None = None,
                 data: bytes | None = None) -> None:
        self._tiff, self._name, self._scratch, self._data = tiff, name, scratch or Scratch(), data
        if not len(tiff.pages):
            raise ValueError("no page in the file")
        pages = _planes_pages(tiff, name)
        self._page = pages[0]
        refuse_claims(tiff, pages, name)
        self._dtype = check_depth(self._page.dtype, name)
        self._offsets = _joined_planes(tiff, self._page) if len(pages) == 1 else []
        numbers = _numbers(tiff, name, part, len(self._offsets) or len(pages))
        self._pages = [] if self._offsets else [pages[number] for number in numbers]
        self._offsets = [self._offsets[number] for number in numbers] if self._offsets else []
        self._inside = self._page.ndim == 3 and not _is_colour(self._page)     # planes inside one page
        if self._inside:
            self._whole = np.concatenate([_brightness(page.asarray(), page) for page in self._pages])

    def __len__(self) -> int:
        return len(self._whole) if self._inside else len(self._offsets) or len(self._pages)

    def _plane(self, index: int) -> np.ndarray:
        if self._inside:
            return self._whole[index]
        if self._offsets:
            return _brightness(self._at(self._offsets[index]), self._page)
        page = self._pages[index]
        pixels = self._at(page.dataoffsets[0]) if _is_plain(page) else np.asarray(page.asarray())
        return _brightness(_colour_last(pixels, page), page)

    def _at(self, offset: int) -> np.ndarray:
        """Pixels that lie in the file as they are."""
        page = self._page
        found = self._bytes(offset, page.nbytes)
        if len(found) != page.nbytes:
            raise ValueError(f"the file ends {page.nbytes - len(found):,} bytes early")
        pixels = found.view(self._dtype.newbyteorder(self._tiff.byteorder)).reshape(page.shape)
        return pixels if pixels.dtype.isnative and pixels.flags.aligned else pixels.astype(self._dtype)

    def _bytes(self, offset: int, size: int) -> np.ndarray:
        """Bytes of the file, fewer where it ends."""
        if self._data is not None:
            return np.frombuffer(self._data, np.uint8)[offset:offset + size]
        found, file = self._scratch.take(size), self._tiff.filehandle
        file.seek(offset)
        return found[:file.readinto(found)]     # type: ignore[arg-type]  # any writable buffer will do


def tiff_sizes(tiff: tifffile.TiffFile) -> TiffSizes:
    """What the TIFF holds. Raises ValueError for an OME or ImageJ file with further axes, ImageError for one that claims too much."""
    lead = _lead(tiff, str(tiff.filehandle.name))
    return TiffSizes(*(lead.get(axis, 1) for axis in "ZCT"))


def _planes_pages(tiff: tifffile.TiffFile, name: str) -> list[tifffile.TiffPage]:
    """The pages at full size, all alike."""
    refuse_pages(tiff, name)
    if (missing := _next_page(tiff)) >= tiff.filehandle.size:
        raise ValueError(f"a page lies {missing - tiff.filehandle.size:,} bytes behind the end of the file")
    pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and not page.is_reduced]    # thumbnails are reduced
    shapes = sorted({page.shape for page in pages})
    if len(shapes) > 1:
        raise image_error("image_pages", name, f"holds pages of several sizes ({', '.join('x'.join(map(str, one)) for one in shapes)}); "
                          "export one stack of one size")
    return pages


def _next_page(tiff: tifffile.TiffFile) -> int:
    """Where the page after the last one is said to lie, 0 for nowhere: tifffile passes over pages that a shortened file has lost."""
    form, file, last = tiff.tiff, tiff.filehandle, tiff.pages[len(tiff.pages) - 1]
    file.seek(last.offset)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(last.offset + form.tagnosize + tags * form.tagsize)
    return int(struct.unpack(form.offsetformat, file.read(form.offsetsize))[0])


def _joined_planes(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> list[int]:
    """Offsets of the planes that lie behind a single page's (ImageJ's way beyond 4 GB), [] if there are none."""
    if not tiff.is_imagej or not _is_plain(page):
        return []
    series = tiff.series[0]
    count = series.size // int(np.prod(page.shape))
    return [] if series.dataoffset is None or count < 2 else [series.dataoffset + number * page.nbytes for number in range(count)]


def _numbers(tiff: tifffile.TiffFile, name: str, part: str, count: int) -> list[int]:
    """Which of the file's planes belong to the part, in order of z."""
    lead = _lead(tiff, name)
    several = [f"{lead[axis]} {word}" for axis, word in (("C", "channels"), ("T", "times")) if lead.get(axis, 1) > 1]
    if not part and several:
        raise image_error("image_axes", name, f"holds {' and '.join(several)}; a plate archive has an image for each: bring the file in "
                          "with `python -m pipelines.add_screen`, or export them one by one")
    if not lead or not part:
        return list(range(count))
    time, channel = parse_part(part)
    numbers = np.arange(count).reshape(tuple(lead.values()))
    places = tuple({"T": time, "C": channel}.get(axis, slice(None)) for axis in lead)
    return [int(number) for number in np.atleast_1d(numbers[places]).ravel()]


def _lead(tiff: tifffile.TiffFile, name: str) -> dict[str, int]:
    """axis (T, C, Z) -> length, in the file's order, of what OME and ImageJ wrote; {} for plain pages.

    An OME file that is one of a set speaks of the whole set, so that only its own pages count.
    """
    if not (tiff.is_ome or tiff.is_imagej):
        return {}
    if tiff.is_ome and len(set(_UUID_FILE.findall(tiff.pages.first.description))) > 1:
        return {}
    if tiff.is_ome:
        refuse_frames(tiff, name)
    series = tiff.series
    if tiff.is_ome and len(series) > 1:
        raise ValueError(f"it holds {len(series)} images (series); export a file for each site")
    own = tiff.pages.first.ndim
    lead = dict(list(zip(series[0].axes, series[0].shape, strict=True))[:series[0].ndim - own])
    unknown = [axis for axis, length in lead.items() if axis not in "TCZ" and length > 1]
    if unknown:
        raise ValueError(f"it has the axes {series[0].axes}; only times (T), channels (C) and planes (Z) are understood")
    return lead


def _is_plain(page: tifffile.TiffPage) -> bool:
    """Whether the pixels lie in the file as they are."""
    return bool(page.is_contiguous) and page.fillorder == 1 and page.dtype is not None and page.dtype.itemsize * 8 == page.bitspersample


def _is_colour(page: tifffile.TiffPage) -> bool:
    return page.samplesperpixel >= 3 and page.photometric not in _GREY


def _brightness(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Pixels whose high values are bright: a TIFF may say that its zero is white, which tifffile leaves as it is."""
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE:
        return pixels
    return np.subtract(pixels.dtype.type(2 ** page.bitspersample - 1), pixels)


def _colour_last(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Colour as (H, W, 3), however it was stored, without transparency; grey as it is."""
    if not _is_colour(page):
        return pixels
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
        pixels = np.moveaxis(pixels, -3, -1)
    return pixels[..., :3]
