"""What a source folder gives for a screen: its wells as a checked Layout, and its image files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import Finding, InputError, ScreenError
from models.plates.layout import parse_layout
from models.plates.readers import Found, Source, read_source
from models.plates.readers.platemaps import find_treatments
from models.plates.readers.readouts import attach_readout, read_readouts
from models.plates.vocabulary import canonical_column
from models.tables import DOSED_ROLES, LAYOUT, check_table
from models.wells import add_row_column, joined_wells, parse_well, usual_format
from models.words import some
from pipelines.screens import read_screen_layout

CONTENTS = {"role": "str", "treatment": "str", "dose": "float64", "treatment_2": "str", "dose_2": "float64"}    # column -> dtype


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for. add: these plates beside those of the screen that is there; force: in their place.

    rows: "A-D" or "A,C-E", empty for all. facts: fields of screen.yaml; they win over what the source tells. readout: a plate reader's
    export, readout_name: which one of those in it. jpeg_size: JPEGs may come in smaller, not below so many pixels a side.
    """

    source: Source
    name: str
    out: Path = Path("data")
    convention: str = "auto"
    rows: str = ""
    dose_unit: str | None = None
    plate_format: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False
    add: bool = False
    readout: Path | None = None
    readout_name: str = ""
    jpeg_size: int | None = None


def find_source(request: Request) -> Found:
    """What the source holds, with the read-out that was named, and the facts that a person states over those of the instrument."""
    found = read_source(request.source, convention=request.convention)
    if request.readout is not None:
        found = attach_readout(found, read_readouts(request.readout), (request.readout,), name=request.readout_name)
    stated = {name: value for name, value in request.facts.items() if value is not None}
    treatments = find_treatments(request.source)
    inputs = (*found.inputs, *([treatments] if treatments is not None else []))
    return replace(found, facts={**found.facts, **stated}, inputs=inputs)


def parse_rows(text: str) -> set[int]:
    """Rows, from 0, of "A-D" or "a,C-E". Raises InputError for anything else."""
    rows: set[int] = set()
    for part in filter(None, text.replace(" ", "").split(",")):
        ends = part.split("-")
        if len(ends) > 2 or not all(end.isalpha() for end in ends):
            raise InputError(f"--rows {part}: expected rows like A-D, or A,C-E")
        low, high = (parse_well(f"{end}1")[0] for end in (ends[0], ends[-1]))
        if high < low:
            raise InputError(f"--rows {part}: the first row comes after the last")
        rows |= set(range(low, high + 1))
    return rows


def number_replicates(layout: pd.DataFrame, *, after: pd.DataFrame | None = None) -> pd.DataFrame:
    """The layout in plate order, wells of the same role, treatment and dose numbered from 1 in that order.

    Dosed wells count through all plates (duplicates on two plates are 1 and 2), and on from those of the layout `after`; controls within
    their plate.
    """
    places = add_row_column(layout)
    ordered = layout.loc[places.sort_values(["plate", "row", "column"], kind="stable").index].reset_index(drop=True)
    dosed, held = ordered["role"].isin(DOSED_ROLES), _contents(ordered)
    keys = [ordered["plate"].mask(dosed, ""), *(held[name] for name in CONTENTS)]
    number = ordered.groupby(keys, dropna=False, sort=False).cumcount() + 1
    if after is not None:
        last = _contents(after).assign(replicate=after["replicate"]).groupby(list(CONTENTS), dropna=False)["replicate"].max().reset_index()
        before = held.merge(last, on=list(CONTENTS), how="left")["replicate"]
        number += before.where(dosed, 0).fillna(0).astype(int)
    return ordered.assign(replicate=number)


def _contents(layout: pd.DataFrame) -> pd.DataFrame:
    """What the wells hold, told alike by layouts with columns of a second treatment and without."""
    second = {name: "" if kind == "str" else math.nan for name, kind in CONTENTS.items() if name not in layout}
    return layout.assign(**second)[list(CONTENTS)].astype(CONTENTS)


def _repeated(files: pd.DataFrame) -> list[Finding]:
    """Images that would be one: a finding about the folders that hold them where there are several, else one for each."""
    place = ["plate", "well", "site", "channel", "plane"]
    folders = dict.fromkeys(path.parent.name for path in files.loc[files.duplicated(place, keep=False), "path"])
    if len(folders) > 1:
        return [Finding(rule="image_repeated", severity="error", value=", ".join(folders), message=(
            f"images of the same wells lie in {len(folders)} folders ({some(folders)}), read as {_as_read(files.iloc[0])}. "
            "Say what a folder is by --pattern, such as '{plate}/*{well}*.tif' for plates, which the layout calls so or not at all "
            "(or {time}, {site}, {channel})"))]
    return [Finding(rule="image_repeated", severity="error", plate=file["plate"], well=file["well"], value=file["path"].name,
                    message=f"a second image of channel {file['channel']}, site {file['site']}, plane {file['plane']}")
            for file in files[files.duplicated(place)].to_dict("records")]


def _as_read(file: pd.Series) -> str:
    """How the name of an image was understood."""
    return f"plate {file['plate']}, well {file['well']} ({file['path'].name})"


def wanted_tables(request: Request, found: Found, target: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[Finding]]:
    """The checked Layout and the image files of the rows that are wanted, and the warnings."""
    layout, findings = _layout(request, found)
    files, findings = found.files, [*found.findings, *findings]
    if request.rows:
        rows = parse_rows(request.rows)
        files = files[[_row(well) in rows for well in files["well"]]]
        findings = [item for item in findings if _row(item.well) is None or _row(item.well) in rows]
        layout = layout[[_row(well) in rows for well in layout["well"]]].reset_index(drop=True)
    errors = [item for item in findings if item.severity == "error"]
    if errors:
        named = [item.column for item in errors if item.rule == "column_missing"]
        hint = f" (--columns {named[0]}=NAME names a column without changing the file)" if named else ""
        raise ScreenError(f"{request.source.folder.name}/ cannot be used as it is{hint}", errors)
    if layout.empty or files.empty:
        raise ScreenError(f"nothing is left of {len(found.raw_layout)} wells and {len(found.files)} images by --rows {request.rows}")
    if repeated := _repeated(files):
        raise ScreenError("several images for one place", repeated)
    checked = check_table(layout, LAYOUT, keys=("plate", "well"))
    stated = any(canonical_column(str(name))[0] == "replicate" for name in found.raw_layout.columns)
    if stated:
        return checked, files, findings
    return number_replicates(checked, after=read_screen_layout(target) if request.add else None), files, findings


def _layout(request: Request, found: Found) -> tuple[pd.DataFrame, list[Finding]]:
    parsed = parse_layout(found.raw_layout, plate_format=plate_format_of(request, found), default_plate=request.source.plate,
                          dose_unit=request.dose_unit)
    return parsed.layout, [item for item in parsed.findings if item.rule != "plate_default"]


def plate_format_of(request: Request, found: Found) -> int:
    """The plate format that was asked for, else the instrument's, else the smallest usual one that holds all wells."""
    if request.plate_format or found.facts.get("plate_format"):
        return int(request.plate_format or found.facts["plate_format"])
    columns = {canonical_column(str(name))[0]: str(name) for name in reversed(found.raw_layout.columns)}
    stated = joined_wells(found.raw_layout[columns["row"]], found.raw_layout[columns["column"]]) if {"row", "column"} <= set(columns) else \
        found.raw_layout.get(columns.get("well", ""), pd.Series(dtype="str"))
    return usual_format({*found.files["well"], *stated})


def _row(well: str) -> int | None:
    try:
        return parse_well(well)[0]
    except InputError:
        return None
