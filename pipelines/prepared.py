"""Prepared screens and image sets as the stages after `prepare` read them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from models.errors import ScreenError
from models.plates.images import WellImages
from models.plates.imageset import ImageSet, as_layout
from models.plates.prepare import join_images, load_prepared
from models.plates.quality import QualityLimits, judge_wells, leave_out
from models.plates.screen import Screen
from pipelines.imagesets import is_imageset, read_images, read_imageset
from pipelines.screens import read_screen, read_screen_layout


@dataclass(frozen=True)
class PreparedScreen:
    """A screen's record, layout and model-ready images, and the md5 of the data that they were made from."""

    screen: Screen
    layout: pd.DataFrame
    images: WellImages
    data_md5: str


@dataclass(frozen=True)
class PreparedImageSet:
    """A prepared image set, with its labels in the place of the layout (`models.plates.imageset.as_layout`)."""

    screen: ImageSet
    layout: pd.DataFrame
    images: WellImages
    data_md5: str


def read_prepared(folder: Path, prepared: Path) -> PreparedScreen:
    """Read data/<screen> (screen.yaml, layout.csv) and artifacts/prepared/<screen>. Raises ScreenError if the latter is empty."""
    return PreparedScreen(read_screen(folder), read_screen_layout(folder), *_arrays(prepared))


def read_prepared_imageset(folder: Path, prepared: Path) -> PreparedImageSet:
    """Read data/<imageset> (imageset.yaml, images.csv) and artifacts/prepared/<imageset>. Raises ScreenError if the latter is empty."""
    imageset = read_imageset(folder)
    return PreparedImageSet(imageset, as_layout(read_images(folder, imageset), imageset), *_arrays(prepared))


def read_source(folder: Path, prepared: Path) -> PreparedScreen | PreparedImageSet:
    """Whichever of the two data/<name> is."""
    return read_prepared_imageset(folder, prepared) if is_imageset(folder) else read_prepared(folder, prepared)


def _arrays(prepared: Path) -> tuple[WellImages, str]:
    """Images of all plates, and the md5 of what they were made from."""
    plates = sorted(prepared.glob("*.safetensors"))
    if not plates:
        raise ScreenError(f"{prepared} holds no prepared plate; run `dvc repro` to make them")
    return join_images(map(load_prepared, plates)), json.loads((prepared / "source.json").read_text())["data_md5"]


def sound_wells(data: PreparedScreen, limits: QualityLimits) -> PreparedScreen:
    """The screen whose layout leaves out wells with a bad image, as far as no person keeps them. Rows stay, in their order."""
    flags = pd.Series(judge_wells(data.images.quality, data.layout, limits).flags, index=data.layout.index, dtype=object)
    return replace(data, layout=leave_out(data.layout.assign(flags=flags), limits).drop(columns="flags"))
