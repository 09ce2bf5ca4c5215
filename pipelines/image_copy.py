"""Images of a source into plate archives: a plane in memory at a time, a plate after the other, and on from where a killed run stopped."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

import models.plates
from models.errors import Finding, ImageError
from models.kept import link_file, maker
from models.plates.images import member_name, write_plate
from models.plates.planes import open_planes
from models.wells import add_row_column
from models.whole_file import whole_file

NOTES = ".copied"   # folder of what is known about the plates that are done; gone when the screen is
CODE = (Path(models.plates.__path__[0]), Path(__file__))     # what decides on the content of a copy
_BLOCK = 2**20


@dataclass(frozen=True)
class PlateCopy:
    """What a plate's images turned out to be: shapes of planes, bits a sample, planes of the deepest stack, sha256 of the files. state:
    what the copy was made of and how; archive: what it holds, by `archive_digest`.
    """

    shapes: tuple[tuple[int, ...], ...]
    depths: tuple[int, ...]
    planes: int
    digest: str
    state: str
    archive: str

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> PlateCopy:
        """What `asdict` gave, by way of JSON."""
        return cls(**{**values, "shapes": tuple(map(tuple, values["shapes"])), "depths": tuple(values["depths"])})


@dataclass
class Copied:
    """What all images turned out to be. resumed: plates that an earlier run had done; same: those of the screen that is replaced.
    findings: images that cannot be used.
    """

    plates: dict[str, PlateCopy] = field(default_factory=dict)
    same: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of planes, sorted."""
        return sorted({shape for plate in self.plates.values() for shape in plate.shapes})

    @property
    def depth(self) -> int:
        """Bits a sample."""
        return max(depth for plate in self.plates.values() for depth in plate.depths)

    @property
    def planes(self) -> int:
        """Planes of the deepest stack."""
        return max(plate.planes for plate in self.plates.values())

    @property
    def digests(self) -> dict[str, str]:
        """plate -> sha256 of its files."""
        return {name: plate.digest for name, plate in self.plates.items()}


def copy_images(folder: Path, files: pd.DataFrame, channels: tuple[str, ...], *, root: Path, jpeg_size: int | None,
                before: Path, progress: bool) -> Copied:
    """Write images/<plate>.zip for every plate of the files (FILE_COLUMNS); plates that are there with their note are left alone.

    root: the source's folder, below which files are known by their place. before: a screen whose archives are taken, by hard links, where
    they still hold what was copied of the same files. Images that cannot be read become findings, so that all are named at once; a plate
    with one gets no archive.
    """
    copied, known = Copied(), read_notes(before)
    (folder / NOTES).mkdir(exist_ok=True)
    with tqdm(total=len(files), desc="images", unit="image", disable=not progress, leave=False) as bar:
        for name, chosen in files.groupby("plate"):
            plate = str(name)
            note, archive = folder / NOTES / f"{plate}.json", folder / "images" / f"{plate}.zip"
            ordered = add_row_column(chosen).assign(number=chosen["channel"].map(list(channels).index))
            ordered = ordered.sort_values(["row", "column", "site", "number", "plane"], kind="stable")
            state = _copy_state(ordered, jpeg_size)
            if note.is_file():
                copied.plates[plate] = PlateCopy.from_record(json.loads(note.read_text(encoding="utf-8")))
                copied.resumed.append(plate)
            elif plate in known and known[plate].state == state and (
                    archive_digest(before / "images" / archive.name) == known[plate].archive):
                link_file(before / "images" / archive.name, archive)
                copied.plates[plate] = known[plate]
                copied.same.append(plate)
            else:
                work = _PlateWork(root, copied.findings, bar, jpeg_size)
                write_plate(archive, work.members(ordered.to_dict("records")))
                if not copied.findings:
                    copied.plates[plate] = work.result(state=state, archive=archive_digest(archive))
                    _write_note(note, copied.plates[plate])
                continue
            bar.update(len(chosen))
    return copied


def notes_of(screen: Path) -> Path:
    """Where the notes on a screen's archives lie: beside it, for they are about this machine's files."""
    return screen.with_name(f".{screen.name}.copied.json")


def read_notes(screen: Path) -> dict[str, PlateCopy]:
    """plate -> how its archive was made, as far as it is known here."""
    path = notes_of(screen)
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {plate: PlateCopy.from_record(values) for plate, values in found.items()}


def write_notes(screen: Path, plates: Mapping[str, PlateCopy]) -> None:
    """What `read_notes` gives back."""
    with whole_file(notes_of(screen)) as making:
        making.write_text(json.dumps({plate: asdict(copy) for plate, copy in plates.items()}) + "\n", encoding="utf-8")


def archive_digest(path: Path) -> str:
    """sha256 of what a plate archive says that it holds, member by member (name, size, CRC-32), without reading them; "" for none."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        return hashlib.sha256(repr([(info.filename, info.file_size, info.CRC) for info in archive.infolist()]).encode()).hexdigest()


def source_digests(files: pd.DataFrame, *, root: Path, progress: bool) -> dict[str, str]:
    """plate -> sha256 over its files, by content and place, as `copy_images` finds it."""
    with tqdm(total=len(files), desc="compare", unit="image", disable=not progress, leave=False) as bar:
        return {str(plate): _digest(_hashed(chosen["path"], root, bar, len(chosen))) for plate, chosen in files.groupby("plate")}


def source_state(files: pd.DataFrame) -> str:
    """sha256 over names, sizes and times of change: tells whether work that was cut off may go on, without reading the images."""
    digest = hashlib.sha256()
    for path in sorted(set(files["path"])):
        for part in _contents(path):
            state = part.stat()
            digest.update(f"{part}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file, or of all files below a folder (an OME-Zarr image) with their places."""
    digest = hashlib.sha256()
    for part in _contents(path):
        if part != path:
            digest.update(part.relative_to(path).as_posix().encode() + b"\0")
        with part.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


@dataclass
class _PlateWork:
    """A plate while it is copied."""

    root: Path
    findings: list[Finding]
    bar: tqdm[Any]
    jpeg_size: int | None
    hashes: dict[str, str] = field(default_factory=dict)
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    depths: set[int] = field(default_factory=set)
    planes: int = 1

    def members(self, files: Iterable[Mapping[Hashable, Any]]) -> Iterator[tuple[str, np.ndarray]]:
        """(member name, pixels) of each plane, in order of the files."""
        for file in files:
            self.bar.update()
            try:
                place = _place(file["path"], self.root)
                if place not in self.hashes:    # right before the pixels are read: the disk is read once
                    self.hashes[place] = file_digest(file["path"])
                yield from self._planes(file)
            except ImageError as error:
                self.findings += [replace(item, plate=file["plate"], well=file["well"]) for item in error.findings]

    def _planes(self, file: Mapping[Hashable, Any]) -> Iterator[tuple[str, np.ndarray]]:
        with open_planes(file["path"], file["part"], at_least=self.jpeg_size) as stack:
            for offset, plane in enumerate(stack):
                self.shapes.add(plane.shape)
                self.depths.add(plane.dtype.itemsize * 8)
                number = file["plane"] + offset
                self.planes = max(self.planes, number + 1)
                yield member_name(file["well"], site=file["site"], channel=file["number"], plane=number), plane

    def result(self, *, state: str, archive: str) -> PlateCopy:
        return PlateCopy(tuple(sorted(self.shapes)), tuple(sorted(self.depths)), self.planes, _digest(self.hashes), state, archive)


def _copy_state(files: pd.DataFrame, jpeg_size: int | None) -> str:
    """What a plate's archive is made of, without reading it: files and which image each part is, the option, and the code."""
    images = files[["well", "site", "number", "plane", "path", "part"]].to_csv(index=False)
    return hashlib.sha256(repr((source_state(files), images, jpeg_size, maker(*CODE))).encode()).hexdigest()


def _hashed(paths: pd.Series, root: Path, bar: tqdm[Any], count: int) -> dict[str, str]:
    hashes = {_place(path, root): file_digest(path) for path in sorted(set(paths))}
    bar.update(count)
    return hashes


def _digest(hashes: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()


def _place(path: Path, root: Path) -> str:
    """The path below the root; its name, if it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _contents(path: Path) -> list[Path]:
    return [part for part in sorted(path.rglob("*")) if part.is_file()] if path.is_dir() else [path]


def _write_note(path: Path, plate: PlateCopy) -> None:
    with whole_file(path) as making:
        making.write_text(json.dumps(asdict(plate)), encoding="utf-8")
