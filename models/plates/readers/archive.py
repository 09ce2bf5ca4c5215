"""A folder in Dosewell's own form: images/<plate>.zip (or <plate>.zip) of members <well>_s<site>_c<channel>_z<plane>.tif.

As `python -m pipelines.project` writes it beside the microscope's storage; its screen.json names the channels and the acquisition.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import Finding, InputError
from models.plates.images import PlateArchive
from models.plates.member_names import judge_name
from models.plates.readers.base import Found, Source
from models.plates.readers.files import found_with_layout
from models.plates.zips import members_of
from models.words import some

SCREEN_JSON = "screen.json"
FACTS = ("sample", "kind", "assay", "organism", "magnification", "pixel_size_um", "camera", "plate_format")


class ArchiveConvention:
    """See the module."""

    name = "archive"

    def detect(self, source: Source) -> bool:
        """A zip in the folder, or in its folder images, begins with a member of such a name."""
        return source.folder.is_dir() and bool(_archives(source.folder))

    def read(self, source: Source) -> Found:
        """The members of all archives. Raises InputError (ImageError) for an archive that cannot be used."""
        archives = _archives(source.folder)
        if not archives:
            raise InputError(f"{source.folder.name}/ holds no <plate>.zip of images named <well>_s<site>_c<channel>_z<plane>.tif")
        tables = []
        for path in archives:
            with PlateArchive(path) as archive:
                members = archive.members.rename(columns={"member": "part"})
                tables.append(members.assign(plate=archive.plate, path=pd.Series([path] * len(members), dtype=object)))
        files = pd.concat(tables, ignore_index=True)
        stated = _stated(source.folder)
        labels = [str(item.get("name", "")) if isinstance(item, dict) else str(item) for item in stated.get("channels", [])]
        numbers = sorted(files["channel"].unique())
        names = {f"c{number}": labels[number] if number < len(labels) and labels[number] else f"c{number}" for number in numbers}
        inputs = (source.folder / SCREEN_JSON,) if stated else ()
        return found_with_layout(self.name, source, files.assign(channel="c" + files["channel"].astype("str")), channels=names,
                                 inputs=inputs, facts={name: stated[name] for name in FACTS if name in stated},
                                 said=(f"plate archives {some((path.name for path in archives), 4)}",))


def _archives(folder: Path) -> list[Path]:
    """Archives of images, those in the folder images first of all."""
    return next((found for place in (folder / "images", folder) if (found := [
        path for path in sorted(place.glob("*.zip")) if _is_archive(path)])), [])


def _is_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            first = next((info.filename for info in members_of(archive)), "")
    except (OSError, zipfile.BadZipFile):
        return False
    return bool(first) and not judge_name(first)


def _stated(folder: Path) -> dict[str, Any]:
    """screen.json, {} if there is none. Raises InputError for one that cannot be read."""
    path = folder / SCREEN_JSON
    if not path.is_file():
        return {}
    try:
        stated = json.loads(path.read_bytes())
        if not isinstance(stated, dict) or not isinstance(stated.get("channels", []), list):
            raise ValueError("expected a mapping, with a list of channels")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{SCREEN_JSON} cannot be used", [Finding(
            rule="screen_file", severity="error", value=SCREEN_JSON, message=f"{SCREEN_JSON}: {error}; write it again")]) from None
    return stated
