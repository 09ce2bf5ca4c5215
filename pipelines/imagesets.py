"""Image sets on disk: data/<imageset>/imageset.yaml, images.csv, images.zip. The only place that reads and writes imageset.yaml."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import yaml

from models.errors import Finding, ScreenError, TableError
from models.plates.imageset import ImageSet, check_images
from models.plates.layout import read_table

IMAGESET_FILE, IMAGES_TABLE, IMAGES_ARCHIVE = "imageset.yaml", "images.csv", "images.zip"
FILES = (IMAGESET_FILE, IMAGES_TABLE, IMAGES_ARCHIVE)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # members carry no clock, so that the same images give the same archive


def is_imageset(folder: Path) -> bool:
    """Whether data/<name> is an image set rather than a screen."""
    return (folder / IMAGESET_FILE).is_file()


def read_imageset(folder: Path) -> ImageSet:
    """The set that `folder`/imageset.yaml describes. Raises ScreenError if it is missing, no YAML, or has wrong fields."""
    path = folder / IMAGESET_FILE
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _refusal(folder, "is missing; `python -m pipelines.add_imageset` makes an image set from a folder of images") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _refusal(folder, f"is no readable YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise _refusal(folder, f"must hold fields like 'name: {folder.name}', got {values!r}")
    return ImageSet.from_dict(values)


def read_images(folder: Path, imageset: ImageSet) -> pd.DataFrame:
    """images.csv, checked. Raises TableError."""
    path = folder / IMAGES_TABLE
    if not path.is_file():
        raise TableError(f"{path} is missing", [Finding(rule="imageset_table", severity="error", value=IMAGES_TABLE,
                                                        message=f"{folder.name}/{IMAGES_TABLE} lists the images and their labels; add it")])
    return check_images(read_table(path), imageset)


def write_imageset(folder: Path, imageset: ImageSet, table: pd.DataFrame) -> None:
    """Write imageset.yaml and images.csv; `read_imageset` and `read_images` give them back."""
    values = {name: value for name, value in imageset.to_dict().items() if value not in (None, "")}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    (folder / IMAGESET_FILE).write_text(text, encoding="utf-8", newline="\n")
    table.to_csv(folder / IMAGES_TABLE, index=False, lineterminator="\n")


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """(name, bytes) pairs as an archive, stored, without a clock; the file appears whole or not at all."""
    partial = path.with_suffix(".partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _refusal(folder: Path, message: str) -> ScreenError:
    return ScreenError(f"image set '{folder.name}' cannot be used", [
        Finding(rule="imageset_file", severity="error", value=f"{folder.name}/{IMAGESET_FILE}",
                message=f"{folder.name}/{IMAGESET_FILE} {message}")])
