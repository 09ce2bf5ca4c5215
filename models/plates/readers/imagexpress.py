"""ImageXpress (Molecular Devices, MetaXpress): <plate>/TimePoint_1/ZStep_1/<name>_B02_s1_w1.TIF beside an HTD file.

Also plates without HTD, with a date and a number as folders and a GUID behind the file's name. `_thumb` files are skipped. Projections
(the files above ZStep_1, or those in ZStep_0) are left out of a stack that has single planes, and used where there is nothing else.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pandas as pd
import tifffile

from models.errors import InputError
from models.plates.member_names import GUID
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
from models.plates.readers.xml_records import xml_text_records
from models.wells import FORMAT_OF_SHAPE, canonical_well

_NAME = re.compile(rf"_(?P<well>[A-Z]{{1,2}}\d{{2}})(?:_s(?P<site>\d+?))?(?:_w(?P<wave>\d+?))?(?:{GUID})?\.tiff?$", re.IGNORECASE)
_GUIDED = re.compile(rf"_[A-Z]{{1,2}}\d{{2}}(?:_s\d+?)?(?:_w\d+?)?(?:_thumb)?{GUID}\.tiff?$", re.IGNORECASE)
_THUMB = re.compile(rf"_thumb(?:{GUID})?\.tiff?$", re.IGNORECASE)
_TIME, _STEP = re.compile(r"^TimePoint_(\d+)$", re.IGNORECASE), re.compile(r"^ZStep_(\d+)$", re.IGNORECASE)
HTD_BYTES = 10**6


class ImageXpressConvention:
    """See the module."""

    name = "imagexpress"

    def detect(self, source: Source) -> bool:
        """An HTD file lies in the folder or a plate's, or files carry MetaXpress's GUID."""
        return source.folder.is_dir() and (bool(_htd_files(source.folder)) or some_image(source.folder, _GUIDED))

    def read(self, source: Source) -> Found:
        """The last time point's images. Raises InputError without images or layout."""
        paths = [path for path in images_in(source.folder) if not _THUMB.search(path.name)]
        rows = [row for path in paths if (row := _row(path))]
        if not rows:
            raise InputError(f"{source.folder.name}/ holds no image named like <name>_B02_s1_w1.TIF")
        names = plate_names((row["root"] for row in rows), source)
        files, late = last_timepoint(pd.DataFrame(rows).assign(plate=[names[row["root"]] for row in rows]), source)
        files, projected = _planes(files)
        stated, differing = agreed({path.parent.name: _header(path) for path in _htd_files(source.folder)})
        waves = {wave: stated.get(wave, "") for wave in sorted(files["channel"].unique(), key=by_numbers)}
        return found_with_layout(self.name, source, files, channels=channel_words(waves), inputs=_htd_files(source.folder)[:1],
                                 findings=(*unmatched(paths, (row["path"] for row in rows)), *late, *differing),
                                 said=(projected,) if projected else (),
                                 facts={**{name: stated[name] for name in ("plate_format",) if name in stated},
                                        **_camera_facts(files["path"].iloc[0])})


def _row(path: Path) -> dict[str, Any] | None:
    """Place of an image by its name and folders; step -1 stands for a file above the ZStep folders."""
    match = _NAME.search(path.name)
    if match is None:
        return None
    root, time, step = path.parent, 1, -1
    if found := _STEP.match(root.name):
        root, step = root.parent, int(found[1])
    if found := _TIME.match(root.name):
        root, time = root.parent, int(found[1])
    return {"root": root, "timepoint": time, "step": step, "well": canonical_well(match["well"]), "site": int(match["site"] or 1),
            "channel": f"w{match['wave'] or 1}", "path": path}


def _planes(files: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Planes counted from 0 in each stack; projections only where there are no single planes."""
    projection = files["step"] < 1
    stacked = (~projection).groupby([files[name] for name in ("plate", "well", "site", "channel")]).transform("any")
    kept = files[~(projection & stacked)]
    dropped = len(files) - len(kept)
    said = f"{dropped} projection(s) beside single planes are left out" if dropped else ""
    return with_planes(kept.reset_index(drop=True), by="step"), said


def _htd_files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.suffix.lower() == ".htd"))


def _header(path: Path) -> dict[str, Any]:
    """What an HTD file says: w1, w2 ... -> name of the wave ("DAPI"), plate_format -> wells."""
    if path.stat().st_size > HTD_BYTES:
        return {}
    rows = csv.reader(path.read_bytes().decode("latin-1").splitlines(), skipinitialspace=True)
    header = {row[0]: row[1].strip() for row in rows if len(row) > 1}
    stated: dict[str, Any] = {f"w{key.removeprefix('WaveName')}": name for key, name in header.items() if key.startswith("WaveName")}
    columns, lines = header.get("XWells", ""), header.get("YWells", "")
    if columns.isdecimal() and lines.isdecimal():
        stated["plate_format"] = FORMAT_OF_SHAPE.get((int(lines), int(columns)))
    return stated


def _camera_facts(path: Path) -> dict[str, Any]:
    """Magnification and pixel size from MetaXpress's own words in a TIFF; {} where there are none."""
    try:
        with tifffile.TiffFile(path) as tiff:
            text = tiff.pages.first.description
        said = {record.get("id", ""): record.get("value", "") for _, record in xml_text_records(text, path, "prop")}
    except (InputError, ValueError, OSError, IndexError):   # TiffFileError is a ValueError; a broken image is reported when it is read
        return {}
    magnification = re.match(r"\s*(\d+(?:\.\d+)?)\s*x", said.get("_MagSetting_", ""), re.IGNORECASE)
    size = said.get("spatial-calibration-x", "")
    known = said.get("spatial-calibration-units", "") in ("um", "µm") and re.fullmatch(r"\d+(\.\d+)?", size)
    return {**({"magnification": float(magnification[1])} if magnification else {}), **({"pixel_size_um": float(size)} if known else {})}
