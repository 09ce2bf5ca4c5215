"""Real images and weights, where they are at hand: DOSEWELL_SHARED and DOSEWELL_WEIGHTS say where."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from models.errors import DosewellError
from models.networks.backbones import starting_state
from models.networks.heads import Network, build_network
from models.networks.recipe import Recipe
from models.plates.imageset import ImageSet
from models.plates.layout import read_layout
from models.plates.readers import Source
from models.plates.screen import Screen
from pipelines.add_imageset import add_imageset
from pipelines.add_screen import add_screen
from pipelines.imageset_table import Request as ImagesetRequest
from pipelines.imagesets import read_images, read_imageset
from pipelines.screen_tables import Request
from pipelines.screens import read_screen

SHARED = Path(os.environ.get("DOSEWELL_SHARED", "../shared")) / "data"
IMAGENET = "mobilenet_v2_imagenet.safetensors"


def shared(name: str) -> Path:
    """A folder of reference data. Raises DosewellError where it is not."""
    if not (SHARED / name).is_dir():
        raise DosewellError(f"this needs the reference data {name}, which is not at {(SHARED / name).absolute()}: "
                            f"DOSEWELL_SHARED names the folder that has data/{name}")
    return SHARED / name


def have_imagenet() -> bool:
    """Whether MobileNetV2's weights are here."""
    return (Path(os.environ.get("DOSEWELL_WEIGHTS", "")) / IMAGENET).is_file()


def imagenet_network(recipe: Recipe) -> Network:
    """A network on MobileNetV2 with ImageNet's weights. Raises WeightsError where they are not."""
    network = build_network(recipe)
    network.trunk.load_state_dict(starting_state("mobilenet_v2", IMAGENET, seed=recipe.seed))
    return network


def bring_in(source: Path, folder: Path) -> tuple[Screen, pd.DataFrame, list[Path]]:
    """(screen, layout, archives) of a real plate's folder, brought in by `add_screen` as folder/real."""
    add_screen(Request(source=Source(folder=source, plate=source.name), name="real", out=folder), progress=False)
    place = folder / "real"
    screen = read_screen(place)
    return screen, read_layout(place / "layout.csv", plate_format=screen.plate_format), sorted((place / "images").glob("*.zip"))


def bring_in_cells(folder: Path) -> tuple[ImageSet, pd.DataFrame, Path]:
    """(image set, its images, where it lies): crops of living and dead cells in a counting chamber, each around a drawn box."""
    source = shared("livedead")
    add_imageset(ImagesetRequest(source=source / "images", boxes=source / "boxes.csv", name="livedead", out=folder, margin=1.6,
                                 classes=("dead", "living")), progress=False)
    imageset = read_imageset(folder / "livedead")
    return imageset, read_images(folder / "livedead", imageset), folder / "livedead"
