"""What images a screen holds: one row per image, taken by reading every one of them once, with flat memory."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.errors import Finding, ImageError
from models.plates.images import PlateArchive, planes_of
from models.plates.measures import grey_counts, mean_step
from models.plates.pixels import TIFF_STARTS, decode_image

DTYPES: dict[str, Any] = {
    "plate": "str", "member": "str", "well": "str", "site": "int64", "channel": "int64", "plane": "int64",
    "height": "int64", "width": "int64", "bits": "int64", "colour": "bool", "darkest": "int64", "brightest": "int64",
    "kind": "str", "at_limit": "float64", "mean": "float64", "sd": "float64", "texture": "float64", "skew": "float64",
    "overlap": "float64", "checksum": "int64", "readable": "bool"}

TALL = 1024             # px; of images of that height and more every n-th row tells statistics,
SAMPLED_ROWS = 256      # so that at least this many do
SAMPLED_COLUMNS = 64    # and rows of the grid that tells how two channels overlap
THREADS = min(4, os.cpu_count() or 1)
SMALL_BYTES = 2**18     # of an image in its archive, on average: below, one thread looks at them all
KINDS = {**dict.fromkeys(TIFF_STARTS, "tiff"), b"\x89PNG": "png"}


@dataclass(frozen=True)
class Inventory:
    """images: row = image, columns of DTYPES: height, width in pixels; bits 8 or 16; darkest, brightest, mean, sd in grey values;
    kind tiff, png, jpeg or other, by its first bytes;
    at_limit the share of pixels at the highest possible value; texture the mean absolute difference of neighbouring
    pixels; skew the third standardised moment (few bright spots on dark ground: positive; 0 for uniform images); overlap the
    correlation of its grey values with those of the well's first channel at the same place, NaN for that channel itself;
    checksum that of the file. findings: archives and images that could not be read. plates: archives given.
    """

    images: pd.DataFrame
    findings: tuple[Finding, ...] = ()
    plates: tuple[str, ...] = ()

    @cached_property
    def readable(self) -> pd.DataFrame:
        """The images that could be read."""
        return self.images if self.images["readable"].all() else self.images[self.images["readable"]]


PlacePixels = Mapping[tuple[int, int], np.ndarray]
"""The readable images of a well and site, by (channel, plane)."""

OnPlace = Callable[[PlateArchive, str, int, PlacePixels], object]
"""Called with a well, a site and its images, in one of several threads; it must not raise."""

FEW_IMAGES = 16     # of a well and site, which are handed on together; larger stacks would be held in memory for that


def take_inventory(archives: Iterable[Path], *, on_place: OnPlace | None = None) -> Inventory:
    """Read each image of each plate archive once and keep its properties, not its pixels. Never raises for content.

    on_place: gets the pixels of each well and site of FEW_IMAGES at most, so that whoever needs them too need not read them again.
    """
    tables = [_table([])]       # a plate's rows become one as soon as it is read: as rows they take ten times as much memory
    findings: list[Finding] = []
    paths = sorted(archives)
    for path in paths:
        try:
            with PlateArchive(path) as archive:
                tables.append(_table(list(_images(archive, findings, on_place))))
        except ImageError as error:
            findings += [_of_plate(finding, path.stem) for finding in error.findings]
        except OSError:     # of the disk: the archive may be good
            raise
        except Exception as error:  # a damaged directory breaks zipfile in many ways; all mean: not readable
            findings.append(Finding(rule="archive_unreadable", severity="error", plate=path.stem, value=path.name,
                                    message=f"{path.name} is damaged{_in_brackets(error)}; zip the images again"))
    return Inventory(pd.concat(tables, ignore_index=True), tuple(findings), tuple(path.stem for path in paths))


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=dtype) for name, dtype in DTYPES.items()})


def _images(archive: PlateArchive, findings: list[Finding], on_place: OnPlace | None) -> Iterator[dict[str, Any]]:
    in_order = sorted(archive.places, key=lambda place: (place.well, place.site, place.plane, place.channel))  # a place's channels together
    images = [{"plate": archive.plate, **place._asdict(), "checksum": _checksum(archive, place.member)} for place in in_order]
    places = [list(group) for _, group in itertools.groupby(images, key=lambda image: (image["well"], image["site"]))]
    work = places if max(map(len, places), default=0) <= FEW_IMAGES else [[image] for image in images]
    place, first = None, None
    with _mapping(archive) as each:
        told = on_place if work is places else None
        for row, found in itertools.chain.from_iterable(each(lambda images: _look_at(archive, images, told), work)):
            findings += found
            here, sample = (row["well"], row["site"], row["plane"]), row.pop("sample", None)
            if here != place:
                place, first = here, sample
                row["overlap"] = np.nan
            else:
                row["overlap"] = _correlation(first, sample)
            yield row


@contextmanager
def _mapping(archive: PlateArchive) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map` in several threads, since decoding and numpy leave the interpreter free; in this one alone for small images, for which threads
    take longer to hand the interpreter over than they save.
    """
    sizes = [archive.checksum(place.member)[1] for place in archive.places]
    if not sizes or sum(sizes) < SMALL_BYTES * len(sizes):
        yield map
        return
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool.map


def _look_at(archive: PlateArchive, images: list[dict[str, Any]], on_place: OnPlace | None) -> list[tuple[dict[str, Any], list[Finding]]]:
    """The rows of some images, and what is wrong with each; images of one well and site, which are handed on."""
    pixels: dict[tuple[int, int], np.ndarray] = {}
    rows = [_look(archive, image, pixels) for image in images]
    if on_place is not None and len(pixels) == len(images):
        on_place(archive, images[0]["well"], int(images[0]["site"]), pixels)
    return rows


def _correlation(first: np.ndarray | None, second: np.ndarray | None) -> float:
    """Pearson's r of two samples of pixels; NaN if one is missing or constant, or their sizes differ."""
    if first is None or second is None or first.shape != second.shape:
        return float("nan")
    one, other = first - first.mean(), second - second.mean()
    size = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum() / size) if size > 0 else float("nan")


def _look(archive: PlateArchive, image: dict[str, Any], pixels: dict[tuple[int, int], np.ndarray]) -> tuple[
        dict[str, Any], list[Finding]]:
    """The inventory's row of one image, and what is wrong with the image; its pixels are put into `pixels`."""
    try:
        data = archive.read_bytes(image["member"])
        image = image | {"kind": _kind(data[:4])}
        read = decode_image(data, image["member"])
        pixels[image["channel"], image["plane"]] = read
        return image | _properties(read) | {"readable": True}, []
    except ImageError as error:
        found = [_of_plate(finding, archive.plate, image["well"]) for finding in error.findings]
    except OSError:     # as above
        raise
    except Exception as error:  # every decompressor raises errors of its own; all mean: not readable
        found = [Finding(rule="image_unreadable", severity="error", plate=archive.plate, well=image["well"], value=image["member"],
                         message=f"image {image['member']} cannot be unpacked{_in_brackets(error)}; it is damaged, copy it again")]
    return dict.fromkeys(DTYPES, 0) | {"kind": "other"} | image | {"readable": False}, found


def _in_brackets(error: Exception) -> str:
    """What a decompressor says was wrong, which some do not."""
    return f" ({error})" if str(error) else ""


def _checksum(archive: PlateArchive, member: str) -> int:
    """CRC-32 and size of an image as one number."""
    crc, size = archive.checksum(member)
    return int(struct.unpack("<q", struct.pack("<II", crc, size & 0xFFFFFFFF))[0])


def _kind(start: bytes) -> str:
    return KINDS.get(start, "jpeg" if start[:3] == b"\xff\xd8\xff" else "other")


def _properties(pixels: np.ndarray) -> dict[str, Any]:
    """pixels: (H, W), (H, W, 3), or a stack of either, (Z, ...). Of tall images every n-th row tells mean, sd, texture and skew.

    sample: float64 (n,), pixels of a grid, the same places in every image of that size.
    """
    colour = planes_of(pixels)[0].ndim == 3
    height, width = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    step = height // SAMPLED_ROWS if height >= TALL else 1
    grey = pixels[..., ::step, :, :].mean(axis=-1, dtype=np.float32) if colour else pixels[..., ::step, :]
    flat = grey.reshape(-1, width)
    limit, brightest = np.iinfo(pixels.dtype).max, pixels.max()
    mean, sd, skew = _moments(flat)
    down, across = (max(1, length // SAMPLED_COLUMNS) for length in grey.shape[-2:])
    return {"height": height, "width": width, "bits": 8 * pixels.dtype.itemsize, "colour": colour,
            "darkest": int(pixels.min()), "brightest": int(brightest),
            "at_limit": np.count_nonzero(pixels == limit) / pixels.size if brightest == limit else 0.0,
            "mean": mean, "sd": sd, "texture": mean_step(flat), "skew": skew,
            "sample": grey[..., ::down, ::across].astype(np.float64).ravel()}


def _moments(grey: np.ndarray) -> tuple[float, float, float]:
    """Mean, SD and skew (0 where all are alike) of an image (H, W). Whole numbers are counted where they have fewer levels than pixels."""
    if grey.dtype.kind == "u" and grey.max() < grey.size:
        counts = grey_counts(grey)
        values, share = np.arange(len(counts), dtype=np.float64), counts / grey.size
        mean = float(share @ values)
        away = values - mean
        variance, third = float(share @ (away * away)), float(share @ (away * away * away))
    else:
        grey = grey.astype(np.float32, copy=False)
        mean = float(grey.mean())
        away = grey - np.float32(mean)
        squares = away * away
        variance, third = float(squares.mean()), float(np.multiply(squares, away, out=away).mean())
    return mean, variance**0.5, third / variance**1.5 if variance > 0 else 0.0


def _of_plate(finding: Finding, plate: str, well: str = "") -> Finding:
    """The finding with its plate and well; the readers of single files do not know them."""
    return replace(finding, plate=finding.plate or plate, well=finding.well or well)
