"""Images of wells: the frozen `WellImages`, and plate archives (one stored zip per plate).

An archive holds members `<well>_s<site>_c<channel>_z<plane>.tif` (site from 1, channel and plane from 0), uncompressed, so
that one well is read without touching the others. Nothing is believed before it is checked: member names, declared
sizes and pixel counts have caps, and symbolic links or paths in an archive are refused.
"""

from __future__ import annotations

import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from models.errors import Finding, ImageError
from models.plates.image_limits import MAX_PIXELS, MEMBER, image_error
from models.plates.pixels import IMAGE_SUFFIXES, TIFF_SUFFIXES, decode_image
from models.plates.wells import canonical_well
from models.tables import IMAGE_QUALITY

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "TIFF_SUFFIXES", "PlateArchive", "WellImages", "decode_image", "encode_tiff", "member_name",
           "write_plate"]

MAX_MEMBER_BYTES = 512 * 2**20  # per member, declared and read
MAX_MEMBERS = 400_000           # a 1536-well plate of 4 channels and 60 planes

UNPACKING_ERRORS = (zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError)
"""What zipfile raises for damaged, encrypted or exotically compressed members."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # members carry no clock, so that the same images give the same archive


@dataclass(frozen=True)
class WellImages:
    """Model-ready images. wells: one row per (plate, well, site), in the order of pixels; pixels: float16 (N, C, H, W), 0-1.

    quality: ImageQuality of the images that they were made from; without rows where nobody measured it.
    """

    wells: pd.DataFrame
    pixels: np.ndarray
    channels: tuple[str, ...]
    quality: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=IMAGE_QUALITY.names()))

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or len(self.wells) != len(self.pixels) or self.pixels.shape[1] != len(self.channels):
            raise ValueError(f"pixels {self.pixels.shape} do not fit {len(self.wells)} wells and channels {self.channels}")

    def __len__(self) -> int:
        return len(self.pixels)

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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, pixels in images:
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), encode_tiff(pixels))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class PlateArchive:
    """A plate's images. `members` is a table: member, well, site, channel, plane, in file order.

    Raises ImageError with a finding per member that has a foreign name, a path, a link, or an unbelievable size.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.plate = path, path.stem
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ImageError(f"{path} is not a readable zip archive ({error})", [
                Finding(rule="archive_unreadable", severity="error", plate=path.stem, value=str(path.name),
                        message=f"{path.name} is not a readable zip archive; zip the images again")]) from None
        self.members = self._checked_members()

    def _checked_members(self) -> pd.DataFrame:
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        findings = [finding for info in infos[:MAX_MEMBERS] if (finding := self._refusal(info))]
        if len(infos) > MAX_MEMBERS:
            findings.append(Finding(rule="archive_too_many", severity="error", plate=self.plate, value=str(len(infos)),
                                    message=f"{self.path.name} has {len(infos):,} members; at most {MAX_MEMBERS:,} are read"))
        if findings:
            raise ImageError(f"{self.path.name} cannot be used", findings)
        matches = [(info.filename, match) for info in infos if (match := MEMBER.match(info.filename))]
        return pd.DataFrame([{"member": name, "well": canonical_well(match["well"]), "site": int(match["site"]),
                              "channel": int(match["channel"]), "plane": int(match["plane"])} for name, match in matches],
                            columns=["member", "well", "site", "channel", "plane"])

    def _refusal(self, info: zipfile.ZipInfo) -> Finding | None:
        for rule, wrong, message in (
            ("archive_link", stat.S_ISLNK(info.external_attr >> 16), "is a symbolic link; put the image itself in"),
            ("archive_name", not MEMBER.match(info.filename),
             "is not named <well>_s<site>_c<channel>_z<plane>.tif; `python -m pipelines.add_screen` renames a folder"),
            ("archive_size", info.file_size > MAX_MEMBER_BYTES or info.file_size > 200 * max(info.compress_size, 5_000),
             f"declares {info.file_size:,} bytes from {info.compress_size:,}; refused as a zip bomb"),
        ):
            if wrong:
                return Finding(rule=rule, severity="error", plate=self.plate, value=info.filename,
                               message=f"{self.path.name}: member {info.filename!r} {message}")
        return None

    def read(self, member: str) -> np.ndarray:
        """Pixels of one member: (H, W) or (H, W, 3). Raises ImageError."""
        try:
            with self._zip.open(member) as stream:
                data = stream.read(MAX_MEMBER_BYTES + 1)
        except UNPACKING_ERRORS as error:
            raise image_error("image_unreadable", member, f"cannot be unpacked ({error})") from None
        return decode_image(data, member)

    def read_stack(self, well: str, *, site: int, channel: int) -> np.ndarray:
        """Planes of one well, site and channel in order: (Z, H, W) or (Z, H, W, 3). Raises ImageError."""
        chosen = self._stacks.get((well, site, channel))
        if chosen is None:
            raise ImageError(f"{self.path.name} has no image of well {well}, site {site}, channel {channel}")
        return np.stack([self.read(member) for member in chosen])

    @cached_property
    def _stacks(self) -> dict[tuple[str, int, int], list[str]]:
        """Members of each well, site and channel, by plane."""
        stacks: dict[tuple[str, int, int], list[str]] = {}
        for row in self.members.sort_values("plane", kind="stable").itertuples(index=False):
            stacks.setdefault((str(row.well), int(row.site), int(row.channel)), []).append(str(row.member))  # type: ignore[arg-type]
        return stacks

    def wells_and_sites(self) -> Iterator[tuple[str, int]]:
        """(well, site) pairs in plate order."""
        pairs = self.members[["well", "site"]].drop_duplicates().sort_values(["well", "site"])
        return ((str(well), int(site)) for well, site in pairs.itertuples(index=False))

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def __enter__(self) -> PlateArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
