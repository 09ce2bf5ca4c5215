"""What a client sends: which files a folder holds, and stacks of planes projected first, so that only what the model reads travels."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from models.errors import ImageError, InputError
from models.plates.images import PlateArchive, member_name, write_plate
from models.plates.pixels import IMAGE_SUFFIXES, PHOTO_SUFFIXES, TIFF_SUFFIXES
from models.plates.projections import Projection, parse_plane, project
from models.plates.screen import Channel, Screen
from models.words import some
from serving.progress import OnProgress, quietly

_COPY = 2**20
TOLD = 5        # files left aside that are named


def read_plates(path: Path) -> list[Path]:
    """The files to send: a zip itself, the zips in a folder, or the images of one plate in a folder; else its folders of images, each a
    plate. Raises InputError for none of them.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise InputError(f"there is no {path}; name a plate zip, a folder of plate zips, or a folder of one plate's images")
    zips = sorted(path.glob("*.zip"))
    found = zips or _plate_images(path) or [folder for folder in sorted(path.glob("*")) if folder.is_dir() and _plate_images(folder)]
    if not found:
        raise InputError(f"{path} holds neither plate zips nor images ({', '.join(IMAGE_SUFFIXES)})")
    return found


def read_images(path: Path) -> list[Path]:
    """The images to classify: a zip or an image itself, or those of a folder and of all in it. Raises InputError where there is none."""
    if path.is_file():
        return [path]
    if not path.exists():
        raise InputError(f"there is no {path}; name a zip, an image, or a folder of images")
    found = [file for file in _files_below(path) if file.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise InputError(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    return found


def left_aside(path: Path) -> str:
    """What `read_images` leaves of a folder, in words; "" for nothing."""
    others = [file.relative_to(path).as_posix() for file in _files_below(path) if file.suffix.lower() not in IMAGE_SUFFIXES]
    return f"left aside, for they are no {', '.join(IMAGE_SUFFIXES)} images: {some(others, TOLD)}" if others else ""


def sent_names(images: Sequence[Path]) -> list[str]:
    """The names of files; where several have the same one, their paths below the folder that holds all."""
    names = [image.name for image in images]
    if len(set(names)) == len(names):
        return names
    base = os.path.commonpath([image.absolute().parent for image in images])
    return [image.absolute().relative_to(base).as_posix() for image in images]


def _files_below(folder: Path) -> list[Path]:
    """Without what systems put beside a person's files."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and not any(
        part.startswith(".") or part == "__MACOSX" for part in file.relative_to(folder).parts))


SCREEN_NAMES = ("screen.yaml", "screen.yml", "screen.json")


def find_screen(images: Path, layout: Path) -> Path | None:
    """The description of a screen that lies with its images, in the folder around them, or with its layout; None where there is none."""
    folders = dict.fromkeys([images if images.is_dir() else images.parent, images.absolute().parent, layout.parent])
    return next((folder / name for folder in folders for name in SCREEN_NAMES if (folder / name).is_file()), None)


def _plate_images(folder: Path) -> list[Path]:
    """Its TIFFs; photos where there is none, since beside TIFFs they only illustrate."""
    return _images(folder, TIFF_SUFFIXES) or _images(folder, PHOTO_SUFFIXES)


def _images(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(item for item in folder.glob("*") if item.suffix.lower() in suffixes and not item.name.startswith("."))


@dataclass(frozen=True, kw_only=True)
class Package:
    """What is sent. files: plate archives; screen: as it describes them; said: what was done to them, in words ("" = nothing)."""

    files: tuple[Path, ...]
    screen: Screen
    said: str = ""


def pack(plates: Sequence[Path], screen: Screen, planes: Sequence[str], *, plate: str, into: Path,
         progress: OnProgress = quietly) -> Package:
    """The plates as they travel: an archive each, and stacks of planes projected to what the model reads.

    plates: of `read_plates`; planes: "channel:projection" of the model's card, none where it is not known, so that nothing is projected;
    plate: name of the plate that loose images are of; into: an empty folder for what is made.
    Planes travel at their full size, so that the service judges focus, noise and size of the images as it would have; its numbers
    differ from those of the whole stack only where the mean of the planes is rounded to whole grey values.
    """
    loose = [path for path in plates if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES]
    archives = [_zipped(path, _plate_images(path), into) if path.is_dir() else path for path in plates if path not in loose]
    archives += [_zipped(Path(plate), loose, into)] if loose else []
    wanted = _wanted(planes, screen)
    if not wanted or not any(map(_is_stacked, archives)):
        return Package(files=tuple(archives), screen=screen)
    (into / "projected").mkdir()
    files = tuple(_projected(archive, wanted, into / "projected", progress) for archive in archives)
    stains = {channel.name: channel.stain for channel in screen.channels}
    channels = tuple(Channel(name=f"{channel}_{projection}", stain=stains[channel]) for _, channel, projection in wanted)
    before, after = (sum(path.stat().st_size for path in paths) / 1e6 for paths in (archives, files))
    return Package(files=files, screen=replace(screen, channels=channels), said=(
        f"stacks were projected here to what the model reads ({', '.join(channel.name for channel in channels)}): "
        f"{before:,.1f} MB became {after:,.1f} MB"))


Wanted = tuple[int, str, Projection]
"""Number of a channel in the archives, its name, and a projection of it."""


def _wanted(planes: Sequence[str], screen: Screen) -> list[Wanted]:
    """The projections that the model reads, each once; [] where the screen has not its channels under their own names."""
    names = [channel.name for channel in screen.channels]
    found = dict.fromkeys((part.channel, part.projection) for part in map(parse_plane, planes))
    if not all(channel in names for channel, _ in found):
        return []
    return [(names.index(channel), channel, projection) for channel, projection in found]


def _zipped(plate: Path, images: Sequence[Path], into: Path) -> Path:
    """Loose images as the archive of a plate, without a clock, so that the same images are recognised as the same."""
    path = into / f"{plate.name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for image in images:
            with image.open("rb") as source, archive.open(zipfile.ZipInfo(image.name), "w", force_zip64=True) as member:
                shutil.copyfileobj(source, member, _COPY)
    return path


def _is_stacked(path: Path) -> bool:
    try:
        with PlateArchive(path) as archive:
            return bool(archive.members.duplicated(["well", "site", "channel"]).any())
    except ImageError:
        return False    # the service says what is wrong with it


def _projected(source: Path, wanted: Sequence[Wanted], into: Path, progress: OnProgress) -> Path:
    """The archive with one plane per well, site and wanted projection."""
    path = into / source.name
    with PlateArchive(source) as archive:
        places = list(archive.wells_and_sites())
        numbers = list(dict.fromkeys(number for number, _, _ in wanted))

        def images() -> Iterator[tuple[str, np.ndarray]]:
            for done, (well, site) in enumerate(places, start=1):
                stacks = {number: archive.read_stack(well, site=site, channel=number) for number in numbers}
                for place, (number, _, projection) in enumerate(wanted):
                    plane = np.rint(project(stacks[number], projection).astype(np.float32)).astype(stacks[number].dtype)
                    yield member_name(well, site=site, channel=place), plane
                progress(f"projecting {source.stem}", done, len(places))
        write_plate(path, images())
    return path


class Reported:
    """A file that is read by an upload and says how far it is. A fresh one for every attempt."""

    def __init__(self, file: IO[bytes], told: Callable[[int], object]) -> None:
        self._file, self._told = file, told

    def read(self, size: int = -1) -> bytes:
        """As a file's."""
        data = self._file.read(size)
        self._told(len(data))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file's."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As a file's."""
        return self._file.tell()
