"""Yokogawa CellVoyager (CV7000, CV8000): MeasurementData.mlf lists the images, MeasurementDetail.mrf and a .mes describe them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import Finding, InputError
from models.plates.readers.base import Found, Source, by_numbers, channel_words
from models.plates.readers.files import agreed, found_with_layout, last_timepoint, plate_names, with_planes
from models.plates.readers.xml_records import Record, xml_records
from models.wells import FORMAT_OF_SHAPE, well_name

INDEX_FILE, DETAIL_FILE = "MeasurementData.mlf", "MeasurementDetail.mrf"


class CellVoyagerConvention:
    """See the module."""

    name = "cellvoyager"

    def detect(self, source: Source) -> bool:
        """A MeasurementData.mlf in the folder or at most two below."""
        return source.folder.is_dir() and bool(_indexes(source.folder))

    def read(self, source: Source) -> Found:
        """The last time point's images. Raises InputError without images or layout."""
        indexes = _indexes(source.folder)
        if not indexes:
            raise InputError(f"{source.folder.name}/ holds no {INDEX_FILE}")
        names = plate_names([path.parent.resolve() for path in indexes], source)
        rows, findings = [], []
        for index in indexes:
            for row, problem in _records(index):
                row["plate"] = names[index.parent.resolve()]
                if problem:
                    failed = row["path"] == Path()
                    findings.append(Finding(rule="acquisition_failed" if failed else "image_missing", plate=row["plate"],
                                            severity="warning" if failed else "error", well=row["well"], value=row["path"].name,
                                            message=problem))
                else:
                    rows.append(row)
        if not rows:
            raise InputError(f"{INDEX_FILE} names no image that is there", findings)
        files, late = last_timepoint(pd.DataFrame(rows), source)
        details = _details(indexes[0].parent)
        _, differing = agreed({names[index.parent.resolve()]: _stated(_details(index.parent)) for index in indexes})
        labels, files = _channels(files, details)
        return found_with_layout(
            self.name, source, with_planes(files), channels=channel_words(labels), findings=(*findings, *late, *differing),
            inputs=(*indexes, *_described_by(indexes[0].parent)), facts=_facts(details), said=_said(details, labels))


def _indexes(folder: Path) -> list[Path]:
    return [path for pattern in ("", "*/", "*/*/") for path in sorted(folder.glob(pattern + INDEX_FILE))]


def _records(index: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, what is wrong with it or "") of each image. Raises InputError for a record without a place."""
    for _, record in xml_records(index, "MeasurementRecord"):
        if record.get("Type") not in ("IMG", "ERR"):
            continue
        path = index.parent / Path(record.get("", "").replace("\\", "/")).name
        try:
            row = {"well": well_name(int(record["Row"]) - 1, int(record["Column"]) - 1), "path": path,
                   "site": int(record.get("FieldIndex", "1")), "number": int(record.get("ZIndex", "1")),
                   "timepoint": int(record.get("TimePoint", "1")), "channel": f"ch{int(record.get('Ch', '1'))}",
                   "action": int(record.get("ActionIndex", "1"))}
        except (KeyError, ValueError) as error:
            raise InputError(f"{index.name} cannot be used", [Finding(
                rule="index_record", severity="error", value=path.name,
                message=f"{index.name}: record of '{path.name}' has no usable place ({error})")]) from None
        if record["Type"] == "ERR":
            yield {**row, "path": Path()}, f"the microscope noted an error in place of an image: {record.get('', '')[:80]}"
        else:
            yield row, "" if path.is_file() else f"image '{path.name}' stands in {index.name}, but is not there; copy it"


def _described_by(folder: Path) -> list[Path]:
    return [path for path in (folder / DETAIL_FILE, *sorted(folder.glob("*.mes"))[:1]) if path.is_file()]


def _details(folder: Path) -> dict[str, Record]:
    """element name + channel number -> record, of the .mrf and the .mes: "Channel1", "MeasurementDetail"."""
    details: dict[str, Record] = {}
    for path in _described_by(folder):
        details |= {tag + record.get("Ch", ""): record for tag, record in xml_records(path, "MeasurementChannel", "Channel")}
        details |= dict(xml_records(path, "MeasurementDetail"))
    return details


def _stated(details: dict[str, Record]) -> dict[str, Any]:
    """What a measurement says of its channels (ch1: its fluorophore), plate and camera."""
    return {f"ch{record['Ch']}": record.get("Fluorophore", "") for record in details.values() if "Ch" in record} | _facts(details)


def _channels(files: pd.DataFrame, details: dict[str, Record]) -> tuple[dict[str, str], pd.DataFrame]:
    """key -> label; a channel that several actions took (a projection and a stack) becomes one channel per action."""
    actions = files.groupby("channel")["action"].nunique()
    doubled = files["channel"].isin(actions.index[actions > 1])
    keys = files["channel"].where(~doubled, files["channel"] + "_a" + files["action"].astype("str"))
    ordered = sorted(keys.unique(), key=by_numbers)
    labels = {key: details.get("Channel" + key.partition("_")[0][2:], {}).get("Fluorophore", "") for key in ordered}
    return labels, files.assign(channel=keys)


def _facts(details: dict[str, Record]) -> dict[str, Any]:
    plate = details.get("MeasurementDetail", {})
    camera, light = (next((record for key, record in details.items() if key.startswith(tag)), {})
                     for tag in ("MeasurementChannel", "Channel"))
    facts: dict[str, Any] = {}
    try:
        facts["plate_format"] = FORMAT_OF_SHAPE.get((int(plate.get("RowCount", "0")), int(plate.get("ColumnCount", "0"))))
        facts["pixel_size_um"] = float(camera.get("HorizontalPixelDimension", "nan"))
        facts["magnification"] = float(light.get("Magnification", "nan"))
    except ValueError:
        pass    # a number that is none is as good as missing: facts can be given on the command line
    return {name: value for name, value in facts.items() if value is not None and value == value}


def _said(details: dict[str, Record], labels: dict[str, str]) -> tuple[str, ...]:
    lights = [f"{key}: {record.get('Target', '')} nm, {record.get('Acquisition', '')}" for key in labels
              if (record := details.get("Channel" + key.partition("_")[0][2:]))]
    return (f"light of {'; '.join(lights)}",) if lights else ()
