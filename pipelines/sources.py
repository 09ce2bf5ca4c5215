"""What command lines share that read a source folder: its options, the Source that they make, and what a person knows of the data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from models.plates.readers import CONVENTIONS, Source
from models.plates.vocabulary import named_pairs
from models.wells import PLATE_FORMATS

FACTS = ("sample", "kind", "assay", "organism", "magnification", "pixel_size_um", "camera")


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """SOURCE and how to read it."""
    parser.add_argument("source", type=Path, help="folder of the images")
    parser.add_argument("--convention", default="auto", choices=["auto", *(item.name for item in CONVENTIONS)],
                        help="how the source names its files (default: found out)")
    parser.add_argument("--platemap", type=Path, help="layout (CSV or XLSX); default: the table in SOURCE that is one")
    parser.add_argument("--columns", type=pairs, default={}, help="our column=its column, e.g. well=Position,role=Type")
    parser.add_argument("--channels", type=pairs, default={}, help="channel=column of file names, or channel key, e.g. gfp=file_gfp,dna=w2")
    parser.add_argument("--pattern", default="", help="names of images, e.g. '{plate}/{well}_s{site}_w{channel}.tif'")
    parser.add_argument("--timepoint", type=int, help="which time point, as the source counts them (default: the last)")
    parser.add_argument("--plate", help="plate name where the source has none (default: name of SOURCE)")
    parser.add_argument("--plate-format", type=int, choices=sorted(PLATE_FORMATS), help="wells of a plate (default: what holds all)")


def add_fact_options(parser: argparse.ArgumentParser) -> None:
    """Fields of screen.yaml and imageset.yaml that a person knows."""
    parser.add_argument("--sample", help="cell line or patient sample")
    parser.add_argument("--kind", choices=["cell_line", "patient"], help="what the sample is")
    parser.add_argument("--assay", help="what was measured")
    parser.add_argument("--organism", help="such as human")
    parser.add_argument("--magnification", type=float, help="of the objective, such as 10")
    parser.add_argument("--pixel-size-um", type=float, help="side of a pixel in micrometres")
    parser.add_argument("--camera", help="as the lab calls it")


def source_of(arguments: argparse.Namespace, *, layout: bool = True) -> Source:
    """The source that the options name. layout: whether one is wanted."""
    return Source(folder=arguments.source, platemap=arguments.platemap, columns=arguments.columns, channels=arguments.channels,
                  plate=arguments.plate or arguments.source.resolve().name, pattern=arguments.pattern, timepoint=arguments.timepoint,
                  layout=layout)


def facts_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The facts that were stated."""
    return {name: value for name in FACTS if (value := getattr(arguments, name)) is not None}


def pairs(text: str) -> dict[str, str]:
    """ "well=Position,role=Type" as a mapping."""
    try:
        return named_pairs(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
