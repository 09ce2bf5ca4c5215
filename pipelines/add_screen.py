"""Bring a folder of images and its platemap into data/<name>/: screen.yaml, layout.csv, images/<plate>.zip.

    python -m pipelines.add_screen SOURCE --name my-screen [--platemap FILE] [--columns well=Position,role=Type]
        [--rows A-D] [--dose-unit uM] [--sample U2OS] [--channels gfp=file_gfp,dna=file_dna] [--readout FILE] [--add | --force]

Says what it recognised, refuses what cannot be used with findings, and leaves nothing half-written. The same source and
options again: nothing to do; a run that was cut off goes on where it stopped. docs/bring_your_plate.md has all conventions.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import Finding, InputError, ScreenError
from models.plates.images import PlateArchive
from models.plates.layout import parse_layout, write_layout
from models.plates.readers import Found, Source, read_source
from models.plates.readers.platemaps import TREATMENTS_FILE, find_treatments, read_treatments
from models.plates.readers.readouts import attach_readout, read_readouts
from models.plates.screen import Screen
from models.plates.vocabulary import canonical_column
from models.tables import DOSED_ROLES, LAYOUT, check_table
from models.wells import add_row_column, joined_wells, parse_well, usual_format
from models.words import some
from pipelines.command import run_command
from pipelines.exclude import decisions_kept
from pipelines.image_copy import NOTES, copy_images, file_digest, read_notes, source_digests, source_state, write_notes
from pipelines.more_plates import joined_screen, lost_with, require_new, write_joined
from pipelines.screen_words import next_steps, plate_maps, summary, without_partner
from pipelines.screens import (
    LAYOUT_FILE,
    bring_back,
    folder_of,
    plate_archives,
    read_screen,
    read_screen_layout,
    whole_folder,
    write_screen,
)
from pipelines.sources import add_fact_options, add_source_options, facts_of, source_of


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


def add_screen(request: Request, *, params: Path = Path("params.yaml"), progress: bool = True) -> list[str]:
    """Write the screen; returns lines that say what was recognised and done. params: read to suggest what comes next.

    Raises InputError, with findings, for a source that cannot be used or a screen of that name with other content.
    """
    target, root = folder_of(request.name, request.out), request.source.folder.resolve()
    bring_back(target)
    if request.add:
        request = replace(request, plate_format=read_screen(target).plate_format)
    found = _found(request)
    layout, files, warnings = _chosen(request, found, target)
    if target.exists() and not request.force:
        mark = _mark(request, found, source_digests(files, root=root, progress=progress))
        if mark in read_screen(target).source.split("; ") if request.add else mark == read_screen(target).source:
            return [f"{target}: already there, made from the same files and options",
                    *next_steps(read_screen(target), layout, params, planes=_planes(target))]
        if not request.add:
            raise ScreenError(f"{target} is already there with other content; choose another --name, --add to add these plates to it, or "
                              "--force to replace it")
        require_new(target, {*layout["plate"], *files["plate"]})
    layout, kept = (layout, []) if request.add else decisions_kept(layout, target)
    with whole_folder(target, key=_mark(request, found, {"": source_state(files)})[-16:]) as folder:
        copied = copy_images(folder, files, found.channels, root=root, jpeg_size=request.jpeg_size, before=target,
                             progress=progress)
        if copied.findings:
            raise ScreenError(f"{len(copied.findings)} image(s) cannot be used", copied.findings)
        screen = _describe(request, found, layout, depth=copied.depth, source=_mark(request, found, copied.digests))
        if request.add:
            screen = joined_screen(read_screen(target), screen, known=found.facts)
            write_joined(target, folder, layout, plate_format=screen.plate_format)
        else:
            kept += lost_with(target, screen, plates=copied.plates)
            write_layout(layout, folder / LAYOUT_FILE)
        write_screen(folder, screen)
        _write_treatments(request, folder)
        shutil.rmtree(folder / NOTES)
    write_notes(target, (read_notes(target) if request.add else {}) | copied.plates)
    return [*(f"convention {found.convention}: {line}" for line in found.said), *map(str, warnings), *kept, *without_partner(layout, files),
            *([f"{len(copied.resumed)} plate(s) had been copied by a run that was cut off"] if copied.resumed else []),
            *([f"{len(copied.same)} of {len(copied.plates)} plate(s) are as they were, and were not copied again"] if copied.same else []),
            *summary(layout, screen, shapes=copied.shapes, planes=copied.planes), *plate_maps(layout, files, screen.plate_format),
            f"{target}: {f'{len(copied.plates)} plate(s) added' if request.add else 'made'}",
            *next_steps(screen, layout, params, planes=copied.planes)]


def _write_treatments(request: Request, folder: Path) -> None:
    """treatments.csv of the source; treatments that the screen's own names already stay as they are there."""
    if (source := find_treatments(request.source)) is not None:
        place = folder / TREATMENTS_FILE
        tables = [*([read_treatments(place)] if place.is_file() else []), read_treatments(source)]
        pd.concat(tables).drop_duplicates("treatment").to_csv(place, index=False, lineterminator="\n")


def _found(request: Request) -> Found:
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
    dosed = ordered["role"].isin(DOSED_ROLES)
    same = ["role", "treatment", "dose", *(name for name in ("treatment_2", "dose_2") if name in ordered)]
    keys = [ordered["plate"].mask(dosed, "")] + [ordered[name] for name in same]
    number = ordered.groupby(keys, dropna=False, sort=False).cumcount() + 1
    if after is not None:
        last = after.reindex(columns=[*same, "replicate"]).groupby(same, dropna=False)["replicate"].max().reset_index()
        before = ordered[same].merge(last.astype(ordered[same].dtypes.to_dict()), on=same, how="left")["replicate"]
        number += before.where(dosed, 0).fillna(0).astype(int)
    return ordered.assign(replicate=number)


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


def _chosen(request: Request, found: Found, target: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[Finding]]:
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
    parsed = parse_layout(found.raw_layout, plate_format=_plate_format(request, found), default_plate=request.source.plate,
                          dose_unit=request.dose_unit)
    return parsed.layout, [item for item in parsed.findings if item.rule != "plate_default"]


def _plate_format(request: Request, found: Found) -> int:
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


def _mark(request: Request, found: Found, digests: Mapping[str, str]) -> str:
    """What the screen is made from: the source's name, and a sha256 over the options that matter, the tables, and the plates' digests."""
    source = request.source
    options: list[object] = [request.name, request.rows, request.dose_unit, request.plate_format, dict(request.facts), dict(source.columns),
                             list(found.channels), source.plate, found.convention]
    options += [part for part in (source.pattern, source.timepoint, request.readout_name, request.jpeg_size) if part]
    tables = [(path.name, file_digest(path)) for path in found.inputs]
    digest = hashlib.sha256(json.dumps([options, tables, sorted(digests.items())], sort_keys=True).encode()).hexdigest()
    return f"{source.folder.resolve().name} ({found.convention}), sha256 {digest[:16]}"


def _describe(request: Request, found: Found, layout: pd.DataFrame, *, depth: int, source: str) -> Screen:
    roles = set(layout["role"])
    kills = {name for name in layout.loc[layout["role"] == "positive", "treatment"] if name}
    values = {"name": request.name, "sample": request.name, "channels": list(found.channels), "bit_depth": depth,
              "plate_format": _plate_format(request, found), "source": source,
              "controls": "both" if {"negative", "positive"} <= roles else "negative" if "negative" in roles else "none",
              "positive_control": {"image": kills.pop()} if len(kills) == 1 else {}}
    return Screen.from_dict({**values, **found.facts, "plate_format": values["plate_format"]})


def _planes(folder: Path) -> int:
    """Of the deepest stack of the screen; pages of a file that came in count, as its name does not tell."""
    depth = 0
    for path in plate_archives(folder):
        with PlateArchive(path) as archive:
            depth = max(depth, int(archive.members["plane"].max()))
    return depth + 1


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.add_screen", description="Bring a plate into data/.")
    add_source_options(parser)
    parser.add_argument("--name", required=True, help="name of the screen: data/<name>")
    parser.add_argument("--readout", type=Path, help="a plate reader's export (grid, long table, zip): the layout's column readout")
    parser.add_argument("--readout-name", default="", help="which read-out of that file, where it holds several")
    parser.add_argument("--jpeg-size", type=int, help="decode JPEGs at a reduced size of at least this many pixels a side, which is faster")
    parser.add_argument("--rows", default="", help="only these plate rows, e.g. A-D")
    parser.add_argument("--dose-unit", help="unit of doses where the platemap names none (default: nM)")
    add_fact_options(parser)
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder of the screens (default: data)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="read to suggest a recipe (default: params.yaml)")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--add", action="store_true", help="add these plates to the screen of that name")
    there.add_argument("--force", action="store_true", help="replace a screen of that name; only what changed is copied")
    return parser.parse_args(argv)


def _request(arguments: argparse.Namespace) -> Request:
    return Request(source=source_of(arguments), name=arguments.name, out=arguments.out, convention=arguments.convention,
                   rows=arguments.rows, dose_unit=arguments.dose_unit, plate_format=arguments.plate_format, facts=facts_of(arguments),
                   force=arguments.force, add=arguments.add, readout=arguments.readout, readout_name=arguments.readout_name,
                   jpeg_size=arguments.jpeg_size)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, bring the screen in, say what was found and what comes next."""
    arguments = _arguments(argv)
    print(*add_screen(_request(arguments), params=arguments.params), sep="\n")


if __name__ == "__main__":
    run_command(main)
