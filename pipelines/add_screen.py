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
from dataclasses import replace
from pathlib import Path

import pandas as pd

from models.errors import ScreenError
from models.plates.images import PlateArchive
from models.plates.layout import write_layout
from models.plates.readers import Found
from models.plates.readers.platemaps import TREATMENTS_FILE, find_treatments, read_treatments
from models.plates.screen import Screen
from pipelines.command import run_command
from pipelines.exclude import decisions_kept
from pipelines.image_copy import NOTES, Copied, copy_images, file_digest, read_notes, source_digests, source_state, write_notes
from pipelines.more_plates import joined_screen, lost_with, require_new, require_units, write_joined
from pipelines.screen_tables import Request, find_source, plate_format_of, wanted_tables
from pipelines.screen_words import next_steps, plate_maps, summary, without_partner
from pipelines.screens import LAYOUT_FILE, bring_back, folder_of, plate_archives, read_screen, whole_folder, write_screen
from pipelines.sources import add_fact_options, add_source_options, facts_of, source_of


def add_screen(request: Request, *, params: Path = Path("params.yaml"), progress: bool = True) -> list[str]:
    """Write the screen; returns lines that say what was recognised and done. params: read to suggest what comes next.

    Raises InputError, with findings, for a source that cannot be used or a screen of that name with other content.
    """
    target, root = folder_of(request.name, request.out), request.source.folder.resolve()
    bring_back(target)
    if request.add:
        request = replace(request, plate_format=read_screen(target).plate_format)
    found = find_source(request)
    layout, files, warnings = wanted_tables(request, found, target)
    if target.exists() and not request.force:
        if _is_made_from(request, target, _mark(request, found, source_digests(files, root=root, progress=progress))):
            return [f"{target}: already there, made from the same files and options",
                    *next_steps(read_screen(target), layout, params, planes=_planes(target))]
        if not request.add:
            raise ScreenError(f"{target} is already there with other content; choose another --name, --add to add these plates to it, or "
                              "--force to replace it")
        require_new(target, {*layout["plate"], *files["plate"]})
        require_units(target, layout)
    layout, kept = (layout, []) if request.add else decisions_kept(layout, target)
    with whole_folder(target, key=_mark(request, found, {"": source_state(files)})[-16:]) as folder:
        copied = copy_images(folder, files, found.channels, root=root, jpeg_size=request.jpeg_size, before=target,
                             progress=progress)
        if copied.findings:
            raise ScreenError(f"{len(copied.findings)} image(s) cannot be used", copied.findings)
        screen = _write_tables(request, found, layout, copied, folder=folder, target=target)
        kept += [] if request.add else lost_with(target, screen, plates=copied.plates)
    write_notes(target, (read_notes(target) if request.add else {}) | copied.plates)
    return [*(f"convention {found.convention}: {line}" for line in found.said), *map(str, warnings), *kept, *without_partner(layout, files),
            *_copied_words(copied),
            *summary(layout, screen, shapes=copied.shapes, planes=copied.planes, sample_given="sample" in found.facts),
            *plate_maps(layout, files, screen.plate_format),
            f"{target}: {f'{len(copied.plates)} plate(s) added' if request.add else 'made'}",
            *next_steps(screen, layout, params, planes=copied.planes)]


def _is_made_from(request: Request, target: Path, mark: str) -> bool:
    """Whether the screen that is there holds what would be brought in."""
    source = read_screen(target).source
    return mark in source.split("; ") if request.add else mark == source


def _write_tables(request: Request, found: Found, layout: pd.DataFrame, copied: Copied, *, folder: Path, target: Path) -> Screen:
    """Beside the images in the folder all else that takes the place of the target; the screen as it is then."""
    screen = _describe(request, found, layout, depth=copied.depth, source=_mark(request, found, copied.digests))
    if request.add:
        screen = joined_screen(read_screen(target), screen, known=found.facts)
        write_joined(target, folder, layout, plate_format=screen.plate_format)
    else:
        write_layout(layout, folder / LAYOUT_FILE)
    write_screen(folder, screen)
    _write_treatments(request, folder)
    shutil.rmtree(folder / NOTES)
    return screen


def _copied_words(copied: Copied) -> list[str]:
    resumed, same = len(copied.resumed), len(copied.same)
    return [*([f"{resumed} plate(s) had been copied by a run that was cut off"] if resumed else []),
            *([f"{same} of {len(copied.plates)} plate(s) are as they were, and were not copied again"] if same else [])]


def _write_treatments(request: Request, folder: Path) -> None:
    """treatments.csv of the source; treatments that the screen's own names already stay as they are there."""
    if (source := find_treatments(request.source)) is not None:
        place = folder / TREATMENTS_FILE
        tables = [*([read_treatments(place)] if place.is_file() else []), read_treatments(source)]
        pd.concat(tables).drop_duplicates("treatment").to_csv(place, index=False, lineterminator="\n")


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
              "plate_format": plate_format_of(request, found), "source": source,
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
