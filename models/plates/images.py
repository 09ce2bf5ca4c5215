"""Images of wells: the frozen `WellImages`, and plate archives (one stored zip per plate).

An archive holds members `<well>_s<site>_c<channel>_z<plane>.tif` (site from 1, channel and plane from 0), or of a usual name that leaves no
question (member_names.py), uncompressed, so that one well is read without touching the others. They may lie in folders, as in a zip of a
folder. Nothing is believed before it is checked: member names, declared sizes and pixel counts have caps, and symbolic links and paths that
lead outside are refused.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from models.errors import Finding, ImageError, InputError
from models.plates.image_limits import image_error
from models.plates.joined import JoinedPixels
from models.plates.member_names import Place, judge_name, places_of
from models.plates.pixels import decode_image
from models.plates.zips import UNPACKING_ERRORS, members_of, open_zip, read_member
from models.tables import IMAGE_QUALITY
from models.whole_file import whole_file

COLOURS = 3
Pixels = np.ndarray | JoinedPixels      # of one plate, or of several
_EPOCH = (1980, 1, 1, 0, 0, 0)  # members carry no clock, so that the same images give the same archive


@dataclass(frozen=True)
class WellImages:
    """Model-ready images. wells: one row per (plate, well, site), in the order of pixels; pixels: float16 (N, C, H, W), 0-1, not to be
    written to: channels that show one plane may share its memory.

    quality: ImageQuality of the images that they were made from; without rows where nobody measured it.
    """

    wells: pd.DataFrame
    pixels: Pixels
    channels: tuple[str, ...]
    quality: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=IMAGE_QUALITY.names()))

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or len(self.wells) != len(self.pixels) or self.pixels.shape[1] != len(self.channels):
            raise ValueError(f"pixels {self.pixels.shape} do not fit {len(self.wells)} wells and channels {self.channels}")

    def __len__(self) -> int:
        return len(self.pixels)

    def have_role(self, layout: pd.DataFrame, *roles: str) -> np.ndarray:
        """Which images are of wells that have one of these roles in the layout, (N,) bool."""
        wells = pd.MultiIndex.from_frame(layout.loc[layout["role"].isin(roles), ["plate", "well"]])
        return pd.MultiIndex.from_frame(self.wells[["plate", "well"]]).isin(wells)

    def take(self, rows: np.ndarray) -> WellImages:
        """The images of these rows (positions or a boolean mask), in their order, with the quality of their wells and sites."""
        wells = (self.wells.iloc[rows] if rows.dtype != bool else self.wells[rows]).reset_index(drop=True)
        key = ["plate", "well", "site"]
        own = self.quality.set_index(key).index.isin(wells.set_index(key).index) if len(self.quality) else np.empty(0, dtype=bool)
        return WellImages(wells, self.pixels[rows], self.channels, quality=self.quality[own].reset_index(drop=True))


def member_name(well: str, *, site: int = 1, channel: int = 0, plane: int = 0) -> str:
    """Name of one image inside a plate archive."""
    return f"{well}_s{site}_c{channel}_z{plane}.tif"


def encode_tiff(pixels: np.ndarray) -> bytes:
    """An uncompressed single-page TIFF without a clock or software tag, so that the same pixels give the same bytes."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="rgb" if pixels.ndim == 3 and pixels.shape[-1] == 3 else "minisblack",
                     software=False, metadata=None)
    return buffer.getvalue()


def write_plate(path: Path, images: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write (member name, pixels) pairs as a plate archive; the file appears whole or not at all."""
    write_archive(path, ((name, encode_tiff(pixels)) for name, pixels in images))


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, bytes) pairs as a zip, stored, without a clock; the file appears whole or not at all."""
    with whole_file(path) as making, zipfile.ZipFile(making, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)


def planes_of(pixels: np.ndarray) -> Sequence[np.ndarray]:
    """The planes, (H, W) or (H, W, 3), of an image as `decode_image` gives it: a multi-page TIFF is a stack of them."""
    return tuple(pixels) if pixels.ndim == 4 or (pixels.ndim == 3 and pixels.shape[-1] != COLOURS) else (pixels,)


def stack_of(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images of one well, site and channel, in order, as one stack (Z, H, W) or (Z, H, W, 3)."""
    planes = [plane for image in images for plane in planes_of(image)]
    return planes[0][None] if len(planes) == 1 else np.stack(planes)


class PlateArchive:
    """A plate's images. places: one for each, in file order; `members` is the same as a table.

    Raises ImageError with findings for members that have a foreign name, lead outside, are links, or of an unbelievable size.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.plate = path, path.stem
        self._zip = open_zip(path, plate=path.stem, judge_name=judge_name)
        try:
            self.places = places_of([info.filename for info in members_of(self._zip)])
        except InputError as error:
            self._zip.close()
            raise ImageError(f"{path.name} cannot be used", [Finding(
                rule="archive_name", severity="error", plate=path.stem, value=path.name, message=f"{path.name}: {error}")]) from None

    @cached_property
    def members(self) -> pd.DataFrame:
        """A row per image in file order: member, well, site, channel, plane."""
        return pd.DataFrame(self.places, columns=Place._fields)

    def read(self, member: str) -> np.ndarray:
        """Pixels of one member: (H, W), (H, W, 3), or (Z, H, W) where it holds a stack. Raises ImageError."""
        return decode_image(self.read_bytes(member), member)

    def read_bytes(self, member: str) -> bytes:
        """One member as it is in the archive. Raises ImageError."""
        try:
            return read_member(self._zip, member)
        except UNPACKING_ERRORS as error:
            raise image_error("image_unreadable", member, f"cannot be unpacked ({error})") from None

    def checksum(self, member: str) -> tuple[int, int]:
        """(CRC-32, bytes) of one member, as the archive's own directory states them and unpacking verifies."""
        info = self._zip.getinfo(member)
        return info.CRC, info.file_size

    def read_stack(self, well: str, *, site: int, channel: int) -> np.ndarray:
        """Planes of one well, site and channel in order: (Z, H, W) or (Z, H, W, 3). Raises ImageError."""
        chosen = self._stacks.get((well, site, channel))
        if chosen is None:
            raise ImageError(f"{self.path.name} has no image of well {well}, site {site}, channel {channel}")
        images = [self.read(member) for member in chosen]
        try:
            return stack_of(images)
        except ValueError:
            raise image_error("image_sizes", chosen[0], "and the other planes of its well, site and channel differ in size; a stack needs "
                              "planes of one size") from None

    @cached_property
    def _stacks(self) -> dict[tuple[str, int, int], list[str]]:
        """Members of each well, site and channel, by plane."""
        stacks: dict[tuple[str, int, int], list[str]] = {}
        for place in sorted(self.places, key=lambda place: place.plane):
            stacks.setdefault((place.well, place.site, place.channel), []).append(place.member)
        return stacks

    def wells_and_sites(self) -> Iterator[tuple[str, int]]:
        """(well, site) pairs in plate order."""
        return iter(sorted({(place.well, place.site) for place in self.places}))

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def __enter__(self) -> PlateArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
