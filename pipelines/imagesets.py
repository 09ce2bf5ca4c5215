"""Image sets on disk: data/<imageset>/imageset.yaml, images.csv, images.zip."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from models.errors import Finding, TableError
from models.plates.imageset import ImageSet, check_images
from models.plates.spreadsheets import read_table
from pipelines.screens import read_description, write_description

IMAGESET_FILE, IMAGES_TABLE, IMAGES_ARCHIVE = "imageset.yaml", "images.csv", "images.zip"
FILES = (IMAGESET_FILE, IMAGES_TABLE, IMAGES_ARCHIVE)
CLASSES = "classes.parquet"     # what the stage `score` makes of a set


def is_imageset(folder: Path) -> bool:
    """Whether data/<name> is an image set rather than a screen."""
    return (folder / IMAGESET_FILE).is_file()


def read_imageset(folder: Path) -> ImageSet:
    """The set that `folder`/imageset.yaml describes. Raises ScreenError if it is missing, no YAML, or has wrong fields."""
    return ImageSet.from_dict(read_description(folder / IMAGESET_FILE, what="image set", maker="add_imageset"))


def read_images(folder: Path, imageset: ImageSet) -> pd.DataFrame:
    """images.csv, checked. Raises TableError."""
    path = folder / IMAGES_TABLE
    if not path.is_file():
        raise TableError(f"{path} is missing", [Finding(rule="imageset_table", severity="error", value=IMAGES_TABLE,
                                                        message=f"{folder.name}/{IMAGES_TABLE} lists the images and their labels; add it")])
    return check_images(read_table(path), imageset)


def write_imageset(folder: Path, imageset: ImageSet, table: pd.DataFrame) -> None:
    """Write imageset.yaml and images.csv; `read_imageset` and `read_images` give them back."""
    write_description(folder / IMAGESET_FILE, imageset.to_dict())
    table.to_csv(folder / IMAGES_TABLE, index=False, lineterminator="\n")
