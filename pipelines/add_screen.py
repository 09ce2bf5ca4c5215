"""Bring a folder of images and its platemap into data/<name>/: screen.yaml, layout.csv, images/<plate>.zip.

    python -m pipelines.add_screen SOURCE --name my-screen [--platemap FILE] [--columns well=Position,role=Type]
        [--rows A-D] [--dose-unit uM] [--sample U2OS] [--channels gfp=file_gfp,dna=file_dna] [--readout FILE]

Says what it recognised, refuses what cannot be used with findings, and leaves nothing half-written. The same source and
options again: nothing to do. docs/bring_your_plate.md shows it on a real plate, docs/conventions.md what folders and layouts are read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from models.errors import DosewellError, Finding, ImageError, InputError, ScreenError
from models.plates.images import decode_image, member_name, write_plate
from models.plates.layout import parse_layout, write_layout
from models.plates.readers import CONVENTIONS, Found, Source, read_source
from models.plates.readers.platemaps import TREATMENTS_FILE, find_treatments, read_treatments
from models.plates.readers.readouts import attach_readout, read_readouts
from models.plates.screen import Screen
from models.plates.vocabulary import canonical_column
from models.plates.wells import PLATE_FORMATS, add_row_column, in_format, parse_well
from models.tables import LAYOUT, check_table
from pipelines.params import Params
from pipelines.screens import read_screen, whole_folder, write_screen

USUAL_FORMATS = (96, 384, 1536)     # tried in this order when --plate-format is not given


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for.

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
    readout: Path | None = None
    readout_name: str = ""
    jpeg_size: int | None = None


@dataclass
class _Seen:
    """What the images turned out to be, gathered while they are copied."""

    shapes: set[tuple[int, ...]] = field(default_factory=set)
    depths: set[int] = field(default_factory=set)
    planes: int = 1
    findings: list[Finding] = field(default_factory=list)


def add_screen(request: Request, *, progress: bool = True) -> list[str]:
    """Write the screen; returns lines that say what was recognised and done.

    Raises InputError, with findings, for a source that cannot be used or a screen of that name with other content.
    """
    found = _found(request)
    target = request.out / request.name
    mark = f"{request.source.folder.resolve().name} ({found.convention}), sha256 {_fingerprint(request, found)[:16]}"
    if target.exists() and not request.force:
        if read_screen(target).source == mark:
            return [f"{target}: already there, made from the same files and options"]
        raise ScreenError(f"{target} is already there with other content; choose another --name, or --force to replace it")
    layout, files, warnings = _chosen(request, found)
    seen = _Seen()
    with whole_folder(target) as folder:
        _write_images(folder, files, found.channels, seen=seen, jpeg_size=request.jpeg_size, progress=progress)
        if seen.findings:
            raise ScreenError(f"{len(seen.findings)} image(s) cannot be used", seen.findings)
        screen = _describe(request, found, layout, depth=max(seen.depths), source=mark)
        write_layout(layout, folder / "layout.csv")
        write_screen(folder, screen)
        if (treatments := find_treatments(request.source)) is not None:
            read_treatments(treatments).to_csv(folder / TREATMENTS_FILE, index=False, lineterminator="\n")
    return [f"convention {found.convention}: {line}" for line in found.said] + [str(item) for item in warnings] + [
        *_summary(layout, screen, seen), f"{target}: made"]


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


def number_replicates(layout: pd.DataFrame) -> pd.DataFrame:
    """The layout in plate order, wells of the same role, treatment and dose numbered from 1 in that order.

    Dosed wells count through all plates (duplicates on two plates are 1 and 2), controls within their plate.
    """
    places = add_row_column(layout)
    ordered = layout.loc[places.sort_values(["plate", "row", "column"], kind="stable").index].reset_index(drop=True)
    dosed = ordered["role"].isin(("treated", "reference"))
    same = ["role", "treatment", "dose", *(name for name in ("treatment_2", "dose_2") if name in ordered)]
    keys = [ordered["plate"].mask(dosed, "")] + [ordered[name] for name in same]
    return ordered.assign(replicate=ordered.groupby(keys, dropna=False, sort=False).cumcount() + 1)


def _chosen(request: Request, found: Found) -> tuple[pd.DataFrame, pd.DataFrame, list[Finding]]:
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
        raise ScreenError(f"{request.source.folder.name}/ cannot be used as it is", errors)
    if layout.empty or files.empty:
        raise ScreenError(f"nothing is left of {len(found.raw_layout)} wells and {len(found.files)} images by --rows {request.rows}")
    repeated = files[files.duplicated(["plate", "well", "site", "channel", "plane"])]
    if len(repeated):
        raise ScreenError("several images for one place", [
            Finding(rule="image_repeated", severity="error", plate=file["plate"], well=file["well"], value=file["path"].name,
                    message=f"a second image of channel {file['channel']}, site {file['site']}, plane {file['plane']}")
            for file in repeated.to_dict("records")])
    checked = check_table(layout, LAYOUT, keys=("plate", "well"))
    stated = any(canonical_column(str(name))[0] == "replicate" for name in found.raw_layout.columns)
    return checked if stated else number_replicates(checked), files, findings


def _layout(request: Request, found: Found) -> tuple[pd.DataFrame, list[Finding]]:
    parsed = parse_layout(found.raw_layout, plate_format=_plate_format(request, found), default_plate=request.source.plate,
                          dose_unit=request.dose_unit)
    return parsed.layout, [item for item in parsed.findings if item.rule != "plate_default"]


def _plate_format(request: Request, found: Found) -> int:
    """As asked for, else as the instrument says, else the smallest usual format that holds all wells of images and layout."""
    if request.plate_format or found.facts.get("plate_format"):
        return int(request.plate_format or found.facts["plate_format"])
    columns = {canonical_column(str(name))[0]: str(name) for name in reversed(found.raw_layout.columns)}
    stated = found.raw_layout[columns["row"]] + found.raw_layout[columns["column"]] if {"row", "column"} <= set(columns) else \
        found.raw_layout.get(columns.get("well", ""), pd.Series(dtype="str"))
    wells = [well for well in {*found.files["well"], *stated} if _row(well) is not None]
    return next((size for size in USUAL_FORMATS if all(in_format(well, size) for well in wells)), USUAL_FORMATS[-1])


def _row(well: str) -> int | None:
    try:
        return parse_well(well)[0]
    except InputError:
        return None


def _fingerprint(request: Request, found: Found) -> str:
    """sha256 over the options that matter, the tables and every image, by content and relative name."""
    source = request.source
    options = [request.name, request.rows, request.dose_unit, request.plate_format, dict(request.facts), dict(source.columns),
               list(found.channels), source.plate, found.convention]
    options += [part for part in (source.pattern, source.timepoint, request.readout_name, request.jpeg_size) if part]
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for path in (*found.inputs, *sorted(set(found.files["path"]))):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _write_images(folder: Path, files: pd.DataFrame, channels: tuple[str, ...], *, seen: _Seen, jpeg_size: int | None,
                  progress: bool) -> None:
    with tqdm(total=len(files), desc="images", unit="image", disable=not progress, leave=False) as bar:
        for plate, chosen in files.groupby("plate"):
            ordered = add_row_column(chosen).assign(number=chosen["channel"].map(list(channels).index))
            ordered = ordered.sort_values(["row", "column", "site", "number", "plane"], kind="stable")
            write_plate(folder / "images" / f"{plate}.zip", _members(ordered, seen, bar, jpeg_size))


def _members(files: pd.DataFrame, seen: _Seen, bar: tqdm[Any], jpeg_size: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """(member name, pixels) of each plane; images that cannot be read become findings, so that all are named at once."""
    for file in files.to_dict("records"):
        bar.update()
        try:
            pixels = decode_image(file["path"].read_bytes(), file["path"].name, at_least=jpeg_size)
        except ImageError as error:
            seen.findings += [replace(item, plate=file["plate"], well=file["well"]) for item in error.findings]
            continue
        stack = pixels if pixels.ndim == 4 or (pixels.ndim == 3 and pixels.shape[-1] != 3) else pixels[None]
        seen.shapes.add(stack.shape[1:])
        seen.depths.add(stack.dtype.itemsize * 8)
        seen.planes = max(seen.planes, len(stack), file["plane"] + 1)
        for offset, plane in enumerate(stack):
            name = member_name(file["well"], site=file["site"], channel=file["number"], plane=file["plane"] + offset)
            yield name, plane


def _describe(request: Request, found: Found, layout: pd.DataFrame, *, depth: int, source: str) -> Screen:
    roles = set(layout["role"])
    kills = {name for name in layout.loc[layout["role"] == "positive", "treatment"] if name}
    values = {"name": request.name, "sample": request.name, "channels": list(found.channels), "bit_depth": depth,
              "plate_format": _plate_format(request, found), "source": source,
              "controls": "both" if {"negative", "positive"} <= roles else "negative" if "negative" in roles else "none",
              "positive_control": {"image": kills.pop()} if len(kills) == 1 else {}}
    return Screen.from_dict({**values, **found.facts, "plate_format": values["plate_format"]})


def _summary(layout: pd.DataFrame, screen: Screen, seen: _Seen) -> list[str]:
    """What the screen holds, in words."""
    roles = ", ".join(f"{count} {role}" for role, count in layout["role"].value_counts(sort=False).items())
    sizes = ", ".join("x".join(map(str, shape)) for shape in sorted(seen.shapes))
    lines = [f"{layout['plate'].nunique()} plate(s) of {screen.plate_format} wells; {len(layout)} wells: {roles}"]
    for name, wells in layout[layout["role"] == "treated"].groupby("treatment"):
        low, high, unit = wells["dose"].min(), wells["dose"].max(), wells["dose_unit"].iloc[0]
        lines.append(f"{name}: {wells['dose'].nunique()} doses {low:g}-{high:g} {unit}, {wells['replicate'].max()} replicates")
    lines.append(f"images: {sizes} pixels, {screen.bit_depth} bit, {seen.planes} plane(s), channels "
                 f"{', '.join(channel.name for channel in screen.channels)}")
    if screen.sample == screen.name:
        lines.append(f"warning: the sample is taken to be '{screen.sample}'; name the cell line or patient with --sample")
    return lines


def params_lines(screen: Screen, params_file: Path) -> list[str]:
    """What comes next: the command that lists a model of the screen, or the lines for an input where no recipe reads its channels."""
    names = [channel.name for channel in screen.channels]
    known = Params.read(params_file).recipes if params_file.is_file() else {}
    fitting = [name for name, recipe in known.items()
               if {plane.rpartition(":")[0].partition(".")[0] for plane in recipe.input.planes} <= set(names)]
    if fitting:
        return ["", f"Recipes that read its channels: {', '.join(fitting)}. To list a model of it in params.yaml:",
                f"python -m pipelines.add_model profile-{screen.name} --screen {screen.name} --recipe {fitting[-1]} --parent trunks/NAME"]
    planes, name = ", ".join(f'"{names[place % len(names)]}:mid"' for place in range(3)), f"{'_'.join(names)}_224"
    return ["", "No recipe reads its channels yet. Put into params.yaml, with a recipe that reads this input (docs/bring_your_plate.md):",
            "screens:", f"  {screen.name}: {{input: {name}}}",
            "inputs:", f"  {name}: {{planes: [{planes}], size: 224, intensity: {'depth' if screen.bit_depth == 8 else 'plate'}}}"]


def _pairs(text: str) -> dict[str, str]:
    """ "well=Position,role=Type" as a mapping."""
    pairs = [part.partition("=") for part in filter(None, text.split(","))]
    if any(not (name.strip() and value.strip()) for name, _, value in pairs):
        raise argparse.ArgumentTypeError(f"expected name=value,name=value, got {text!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.add_screen", description="Bring a plate into data/.")
    parser.add_argument("source", type=Path, help="folder of the images")
    parser.add_argument("--name", required=True, help="name of the screen: data/<name>")
    parser.add_argument("--convention", default="auto", choices=["auto", *(item.name for item in CONVENTIONS)])
    parser.add_argument("--platemap", type=Path, help="layout (CSV or XLSX); default: the table in SOURCE that names images")
    parser.add_argument("--columns", type=_pairs, default={}, help="our column=its column, e.g. well=Position,role=Type")
    parser.add_argument("--channels", type=_pairs, default={}, help="channel=column of file names, e.g. gfp=file_gfp,dna=file_dna")
    parser.add_argument("--pattern", default="", help="names of images, e.g. '{plate}/{well}_s{site}_w{channel}.tif'")
    parser.add_argument("--timepoint", type=int, help="which time point, as the source counts them (default: the last)")
    parser.add_argument("--readout", type=Path, help="a plate reader's export (grid, long table, zip): the layout's column readout")
    parser.add_argument("--readout-name", default="", help="which read-out of that file, where it holds several")
    parser.add_argument("--jpeg-size", type=int, help="JPEGs may be decoded smaller, not below so many pixels a side: faster")
    parser.add_argument("--rows", default="", help="only these plate rows, e.g. A-D")
    parser.add_argument("--plate", help="plate name where the platemap has none (default: name of SOURCE)")
    parser.add_argument("--dose-unit", help="unit of doses where the platemap names none (default: nM)")
    parser.add_argument("--plate-format", type=int, choices=sorted(PLATE_FORMATS), help="wells of a plate (default: what holds all)")
    parser.add_argument("--sample", help="cell line or patient sample")
    parser.add_argument("--kind", choices=["cell_line", "patient"])
    parser.add_argument("--assay", help="what was measured")
    parser.add_argument("--organism")
    parser.add_argument("--magnification", type=float)
    parser.add_argument("--pixel-size-um", type=float)
    parser.add_argument("--camera")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder of the screens (default: data)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="read to suggest a recipe (default: params.yaml)")
    parser.add_argument("--force", action="store_true", help="replace a screen of that name")
    return parser.parse_args(argv)


def _request(arguments: argparse.Namespace) -> Request:
    source = Source(folder=arguments.source, platemap=arguments.platemap, columns=arguments.columns, channels=arguments.channels,
                    plate=arguments.plate or arguments.source.resolve().name, pattern=arguments.pattern, timepoint=arguments.timepoint)
    facts = {name: value for name in ("sample", "kind", "assay", "organism", "magnification", "pixel_size_um", "camera")
             if (value := getattr(arguments, name)) is not None}
    return Request(source=source, name=arguments.name, out=arguments.out, convention=arguments.convention, rows=arguments.rows,
                   dose_unit=arguments.dose_unit, plate_format=arguments.plate_format, facts=facts, force=arguments.force,
                   readout=arguments.readout, readout_name=arguments.readout_name, jpeg_size=arguments.jpeg_size)


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, bring the screen in, say what was found and what comes next."""
    arguments = _arguments(argv)
    try:
        print(*add_screen(_request(arguments)), sep="\n")
        print(*params_lines(read_screen(arguments.out / arguments.name), arguments.params), sep="\n")
    except DosewellError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
