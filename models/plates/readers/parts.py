"""Files that hold several channels or times, as OME-TIFF and ImageJ's do: one row of the table of files per channel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import tifffile

from models.errors import Finding, InputError
from models.plates.pixels import TIFF_SUFFIXES
from models.plates.readers.base import Source, channel_words
from models.plates.readers.xml_records import xml_text_records
from models.plates.tiff import TiffSizes, part_name, tiff_sizes

_MICROMETRES = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """files: as FILE_COLUMNS, channel holding keys. channels: key -> name. facts: fields of screen.yaml that the files state."""

    files: pd.DataFrame
    channels: Mapping[str, str]
    said: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Look:
    """One file's sizes, names of its channels, and what its OME-XML says of the acquisition."""

    sizes: TiffSizes
    labels: tuple[str, ...]
    facts: Mapping[str, Any]


def split_parts(files: pd.DataFrame, channels: Mapping[str, str], source: Source) -> Parts:
    """The images with the column `part`; a file of several channels becomes a row per channel, at the time point that is wanted.

    files: FILE_COLUMNS (part may be missing), channel holding keys. channels: key -> name. The first file of a channel tells whether the
    others are looked into. Raises InputError for a time point that is not there.
    """
    if "part" in files:
        return Parts(files=files, channels=channels)
    looks = {key: look for key in channels if (look := _look(files.loc[files["channel"] == key, "path"]))}
    whole = files[~files["channel"].isin(looks)].assign(part="")
    if not looks:
        return Parts(files=whole, channels=channels)
    alone = len(channels) == 1
    split = pd.DataFrame([row for key, look in looks.items()
                          for row in _split(files[files["channel"] == key], key, look, source, alone=alone)])
    labels = {_key(key, number, alone=alone): label or (channels[key] if look.sizes.channels == 1 else "")
              for key, look in looks.items() for number, label in enumerate(look.labels)}
    names = {**{key: name for key, name in channels.items() if key not in looks}, **channel_words(labels)}
    first = next(iter(looks.values()))
    times = max(look.sizes.times for look in looks.values())
    late = (Finding(rule="timepoints", severity="warning", value=str(times), message=(
        f"{times} time points in a file (0 to {times - 1}); the last is used. Choose with --timepoint")),) \
        if times > 1 and source.timepoint is None else ()
    return Parts(files=pd.concat([whole, split], ignore_index=True), channels=names, findings=late, facts=first.facts,
                 said=(f"files of {first.sizes.channels} channel(s), {first.sizes.times} time(s) and {first.sizes.planes} plane(s)",))


def _split(files: pd.DataFrame, key: str, usual: _Look, source: Source, *, alone: bool) -> list[dict[str, Any]]:
    """A row per file and channel."""
    rows = []
    for row in files.to_dict("records"):
        look = _read(row["path"]) or usual
        time = look.sizes.times - 1 if source.timepoint is None else source.timepoint
        if not 0 <= time < look.sizes.times:
            raise InputError(f"no time point {time}; {row['path'].name} has 0 to {look.sizes.times - 1}")
        rows += [{**{str(name): value for name, value in row.items()}, "channel": _key(key, number, alone=alone),
                  "part": part_name(time=time, channel=number)} for number in range(look.sizes.channels)]
    return rows


def _key(key: str, number: int, *, alone: bool) -> str:
    return f"c{number}" if alone else f"{key}_c{number}"


def _look(paths: pd.Series) -> _Look | None:
    """What the first file of a channel holds, None where it is one channel at one time."""
    look = _read(paths.iloc[0]) if len(paths) else None
    return look if look and (look.sizes.channels > 1 or look.sizes.times > 1) else None


def _read(path: Path) -> _Look | None:
    """None for what is no TIFF of OME or ImageJ, or cannot be read: that is reported when its pixels are wanted."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return None
    try:
        with tifffile.TiffFile(path) as tiff:
            sizes, text = tiff_sizes(tiff), tiff.pages.first.description if tiff.is_ome else ""
    except Exception:   # tifffile raises whatever broken headers make of it
        return None
    labels = [record.get("Name", "") or record.get("Fluor", "") for record in _records(text, path, "Channel")][:sizes.channels]
    return _Look(sizes, tuple(labels + [""] * (sizes.channels - len(labels))), _ome_facts(text, path))


def _ome_facts(text: str, path: Path) -> dict[str, Any]:
    pixels, objective = (next(iter(_records(text, path, name)), {}) for name in ("Pixels", "Objective"))
    facts = {}
    for name, value, scale in (("pixel_size_um", pixels.get("PhysicalSizeX"), _MICROMETRES.get(pixels.get("PhysicalSizeXUnit", "µm"))),
                               ("magnification", objective.get("NominalMagnification"), 1.0)):
        if scale is not None and value is not None and re.fullmatch(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", value):
            facts[name] = float(f"{float(value) * scale:.6g}")
    return facts


def _records(text: str, path: Path, name: str) -> list[dict[str, str]]:
    try:
        return [record for _, record in xml_text_records(text, path, name)] if text else []
    except InputError:
        return []
