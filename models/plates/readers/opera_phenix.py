"""Opera Phenix and Operetta (Harmony): Images/Index.idx.xml where it came along, else the names r01c01f01p01-ch1sk1fk1fl1.tiff."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import Finding, InputError
from models.plates.readers.base import Found, Source, channel_words
from models.plates.readers.files import found_with_layout, images_in, last_timepoint, plate_names, some_image, unmatched
from models.plates.readers.xml_records import Record, xml_records
from models.wells import FORMAT_OF_SHAPE, well_name

_NAME = re.compile(r"^r(?P<row>\d+)c(?P<column>\d+)f(?P<site>\d+)p(?P<plane>\d+)-ch(?P<channel>\d+)sk(?P<time>\d+)fk\d+fl\d+\.tiff?$",
                   re.IGNORECASE)
INDEX_FILES = ("Index.idx.xml", "Index.xml")


class OperaPhenixConvention:
    """See the module."""

    name = "opera_phenix"

    def detect(self, source: Source) -> bool:
        """An index of Harmony, or images named as Harmony names them."""
        return source.folder.is_dir() and (bool(_indexes(source.folder)) or some_image(source.folder, _NAME))

    def read(self, source: Source) -> Found:
        """The last time point's images. Raises InputError without images or layout."""
        indexes = _indexes(source.folder)
        facts: dict[str, Any] = {}
        labels: dict[str, str] = {}
        unread: tuple[Finding, ...] = ()
        if indexes:
            rows = [row for index in indexes for row in _indexed(index, facts, labels)]
        else:
            paths = images_in(source.folder)
            rows = [row for path in paths if (row := _named(path))]
            unread = unmatched(paths, (row["path"] for row in rows))
        if not rows:
            raise InputError(f"{source.folder.name}/ holds no image named like r01c01f01p01-ch1sk1fk1fl1.tiff")
        files, findings = _there(pd.DataFrame(rows).assign(
            plate=_plates([row["root"] for row in rows], source)), indexed=bool(indexes))
        files, late = last_timepoint(files, source)
        planes = files.groupby(["plate", "well", "site", "channel"])["number"].rank(method="dense").astype("int64") - 1
        keys = sorted(files["channel"].unique(), key=lambda key: int(key.removeprefix("ch")))
        return found_with_layout(
            self.name, source, files.assign(plane=planes), channels=channel_words({key: labels.get(key, "") for key in keys}),
            said=(f"places from {indexes[0].name}" if indexes else "no Index.idx.xml: places from file names",), inputs=tuple(indexes),
            findings=(*unread, *findings, *late), facts=facts)


def _indexes(folder: Path) -> list[Path]:
    """One index per measurement: in the folder, in its Images, or in the Images of its measurements."""
    found: dict[Path, Path] = {}
    for pattern in ("", "Images/", "*/Images/", "*/"):
        for name in INDEX_FILES:
            for path in sorted(folder.glob(pattern + name)):
                found.setdefault(path.parent, path)
    return list(found.values())


def _indexed(index: Path, facts: dict[str, Any], labels: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A row per image of the index; what it says of plate, channels and camera goes into facts and labels."""
    for tag, record in xml_records(index, "Image", "Entry", "PlateRows", "PlateColumns"):
        if tag in ("PlateRows", "PlateColumns"):
            facts[tag] = int(record.get("", "0")) if record.get("", "").isdecimal() else 0
            continue
        if label := record.get("ChannelName", ""):
            labels.setdefault(f"ch{record.get('ChannelID', '')}", label)
        _camera_facts(record, facts)
        if tag == "Image" and "URL" in record:
            yield _place(record, index)
    shape = (facts.pop("PlateRows", 0), facts.pop("PlateColumns", 0))
    if shape in FORMAT_OF_SHAPE:
        facts["plate_format"] = FORMAT_OF_SHAPE[shape]


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


def _there(files: pd.DataFrame, *, indexed: bool) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """The files that exist, and a finding for each that the index names in vain."""
    if not indexed:
        return files, ()
    there = files["path"].map(Path.is_file)
    return files[there].reset_index(drop=True), tuple(
        Finding(rule="image_missing", severity="error", plate=row["plate"], well=row["well"], value=row["path"].name,
                message=f"image '{row['path'].name}' stands in the index, but is not there; copy it, or export the measurement again")
        for row in files[~there].to_dict("records"))
