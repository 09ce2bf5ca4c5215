"""Opera Phenix and Operetta (Harmony): Images/Index.idx.xml where it came along, else the names r01c01f01p01-ch1sk1fk1fl1.tiff."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import Finding, InputError
from models.plates.readers.base import Found, Source, by_numbers, channel_words
from models.plates.readers.files import (
    agreed,
    found_with_layout,
    images_in,
    last_timepoint,
    plate_names,
    some_image,
    unmatched,
    with_planes,
)
from models.plates.readers.xml_records import Record, xml_records
from models.wells import FORMAT_OF_SHAPE, well_name

_NAME = re.compile(r"^r(?P<row>\d+)c(?P<column>\d+)f(?P<site>\d+)p(?P<plane>\d+)-ch(?P<channel>\d+)sk(?P<time>\d+)fk\d+fl\d+\.tiff?$",
                   re.IGNORECASE)
INDEX_FILES = ("Index.idx.xml", "Index.xml")
FACTS = ("plate_format", "magnification", "pixel_size_um")


class OperaPhenixConvention:
    """See the module."""

    name = "opera_phenix"

    def detect(self, source: Source) -> bool:
        """An index of Harmony, or images named as Harmony names them."""
        return source.folder.is_dir() and (bool(_indexes(source.folder)) or some_image(source.folder, _NAME))

    def read(self, source: Source) -> Found:
        """The last time point's images. Raises InputError without images or layout."""
        indexes = _indexes(source.folder)
        unread: tuple[Finding, ...] = ()
        stated: dict[str, dict[str, Any]] = {}
        if indexes:
            rows = [row for index in indexes for row in _indexed(index, stated.setdefault(_root(index).name, {}))]
        else:
            paths = images_in(source.folder)
            rows = [row for path in paths if (row := _named(path))]
            unread = unmatched(paths, (row["path"] for row in rows))
        if not rows:
            raise InputError(f"{source.folder.name}/ holds no image named like r01c01f01p01-ch1sk1fk1fl1.tiff")
        files, findings = _there(pd.DataFrame(rows).assign(
            plate=_plates([row["root"] for row in rows], source)), indexed=bool(indexes))
        files, late = last_timepoint(files, source)
        keys = sorted(files["channel"].unique(), key=by_numbers)
        known, differing = agreed(stated)
        return found_with_layout(
            self.name, source, with_planes(files), channels=channel_words({key: known.get(key, "") for key in keys}),
            said=(f"places from {indexes[0].name}" if indexes else "no Index.idx.xml: places from file names",), inputs=tuple(indexes),
            findings=(*unread, *findings, *late, *differing, *_measured_again(files["plate"].unique())),
            facts={name: known[name] for name in FACTS if name in known})


def _indexes(folder: Path) -> list[Path]:
    """One index per measurement: in the folder, in its Images, or in the Images of its measurements."""
    found: dict[Path, Path] = {}
    for pattern in ("", "Images/", "*/Images/", "*/"):
        for name in INDEX_FILES:
            for path in sorted(folder.glob(pattern + name)):
                found.setdefault(path.parent, path)
    return list(found.values())


def _indexed(index: Path, stated: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row per image of the index; what it says of plate, channels (ch1: its label) and camera goes into stated."""
    shape = {"PlateRows": 0, "PlateColumns": 0}
    for tag, record in xml_records(index, "Image", "Entry", "PlateRows", "PlateColumns"):
        if tag in ("PlateRows", "PlateColumns"):
            shape[tag] = int(record[""]) if record.get("", "").isdecimal() else 0
            continue
        if label := record.get("ChannelName", ""):
            stated.setdefault(f"ch{record.get('ChannelID', '')}", label)
        _camera_facts(record, stated)
        if tag == "Image" and "URL" in record:
            yield _place(record, index)
    stated["plate_format"] = FORMAT_OF_SHAPE.get((shape["PlateRows"], shape["PlateColumns"]))


def _place(record: Record, index: Path) -> dict[str, Any]:
    """Row of one Image record. Raises InputError, naming the image, where a place is missing or no number."""
    try:
        return {"root": _root(index), "well": well_name(int(record["Row"]) - 1, int(record["Col"]) - 1), "site": int(record["FieldID"]),
                "number": int(record.get("PlaneID", "1")), "channel": f"ch{int(record['ChannelID'])}",
                "timepoint": int(record.get("TimepointID", "0")), "path": index.parent / Path(record["URL"].replace("\\", "/")).name}
    except (KeyError, ValueError) as error:
        raise InputError(f"{index.name} cannot be used", [Finding(
            rule="index_record", severity="error", value=record.get("URL", ""),
            message=f"{index.name}: image {record.get('URL', '')!r} has no usable place ({error}); export it again")]) from None


def _camera_facts(record: Record, facts: dict[str, Any]) -> None:
    for name, column, scale in (("ObjectiveMagnification", "magnification", 1.0), ("ImageResolutionX", "pixel_size_um", 1e6)):
        if column not in facts and re.fullmatch(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", record.get(name, "")):
            facts[column] = float(f"{float(record[name]) * scale:.6g}")


def _named(path: Path) -> dict[str, Any] | None:
    match = _NAME.match(path.name)
    if match is None:
        return None
    return {"root": _root(path), "well": well_name(int(match["row"]) - 1, int(match["column"]) - 1), "site": int(match["site"]),
            "number": int(match["plane"]), "channel": f"ch{int(match['channel'])}", "timepoint": int(match["time"]) - 1, "path": path}


def _root(path: Path) -> Path:
    """The measurement's folder: above Images, if there is such a folder."""
    parent = path.resolve().parent
    return parent.parent if parent.name.lower() == "images" else parent


def _plates(roots: list[Path], source: Source) -> list[str]:
    """ "BR00116991__2020-11-05T19_51_35-Measurement1" is plate BR00116991, where there are several."""
    names = plate_names(roots, source)
    short = {root: name.partition("__")[0] for root, name in names.items()}
    return [short[root] if len(set(short.values())) == len(short) else names[root] for root in roots]


def _measured_again(plates: Iterable[str]) -> Iterator[Finding]:
    """A warning for each barcode of which several measurements came along: what is one plate would count as two."""
    alike: dict[str, list[str]] = {}
    for plate in plates:
        alike.setdefault(plate.partition("__")[0], []).append(plate)
    for barcode, several in alike.items():
        if len(several) > 1:
            yield Finding(rule="measured_again", severity="warning", plate=several[0], value=barcode, message=(
                f"{len(several)} measurements of plate {barcode} ({', '.join(several)}) count as plates of their own, and their wells as "
                "replicates; take away the folder that is not wanted"))


def _there(files: pd.DataFrame, *, indexed: bool) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """The files that exist, and a finding for each that the index names in vain."""
    if not indexed:
        return files, ()
    there = files["path"].map(Path.is_file)
    return files[there].reset_index(drop=True), tuple(
        Finding(rule="image_missing", severity="error", plate=row["plate"], well=row["well"], value=row["path"].name,
                message=f"image '{row['path'].name}' stands in the index, but is not there; copy it, or export the measurement again")
        for row in files[~there].to_dict("records"))
