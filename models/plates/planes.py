"""The planes of one image of a source, whatever it lies in: a TIFF, a part of one, a photo, a plate archive's member, an OME-Zarr image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile

from models.errors import ImageError, InputError
from models.plates.image_limits import image_error, unreadable
from models.plates.images import PlateArchive, planes_of
from models.plates.lazy_planes import Scratch
from models.plates.ome_zarr import ZarrStack
from models.plates.pixels import TIFF_STARTS, decode_image
from models.plates.tiff import TiffStack


@contextmanager
def open_planes(path: Path, part: str = "", *, at_least: int | None = None,
                scratch: Scratch | None = None) -> Iterator[Sequence[np.ndarray]]:
    """The planes of an image, in order: (H, W) or (H, W, 3), uint8 or uint16. A plane lasts until the next one is read.

    part: "" for all of the file, "t0c1" for one channel and time of a TIFF or OME-Zarr image, a member's name for a plate archive.
    at_least: see `decode_image`. scratch: memory that several images may share, one after the other.
    Raises ImageError, on opening or on reading a plane, for what is damaged, foreign or too large.
    """
    if path.is_dir():
        try:
            stack = ZarrStack(path, part)
        except ImageError:
            raise
        except InputError as error:
            raise ImageError(error.summary, error.findings) from None
        yield stack
    elif path.suffix.lower() == ".zip":
        yield planes_of(_archive(path, path.stat().st_mtime_ns, path.stat().st_size).read(part))
    elif _start(path) in TIFF_STARTS:
        with _tiff(path) as tiff:
            yield _stack(tiff, path.name, part, scratch)
    else:
        pixels = decode_image(path.read_bytes(), path.name, at_least=at_least)
        yield [pixels]


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise image_error("image_missing", path.name, f"cannot be opened ({error.strerror}); copy it again") from None


def _tiff(path: Path) -> tifffile.TiffFile:
    try:
        return tifffile.TiffFile(path)
    except Exception as error:  # tifffile raises whatever broken headers make of it
        raise unreadable(path.name, error) from None


def _stack(tiff: tifffile.TiffFile, name: str, part: str, scratch: Scratch | None) -> TiffStack:
    try:
        return TiffStack(tiff, name, part, scratch=scratch)
    except InputError:
        raise
    except Exception as error:  # as above
        raise unreadable(name, error) from None


@lru_cache(maxsize=2)
def _archive(path: Path, _changed: int, _size: int) -> PlateArchive:
    """An open archive: its directory is read once for all of its members, and again if the file has changed."""
    return PlateArchive(path)
