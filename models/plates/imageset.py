"""Image sets: labelled images without a plate (systems S3-S5). What a set is, its table, its archive, and its model-ready arrays.

A set then travels as a plate does: as WellImages whose plate is the set and whose well is the image, with its labels in the place of a
layout. So splitting, training, cross-fitting and bundles are the same code for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from models.errors import Finding, ImageError, ScreenError, TableError
from models.plates.images import WellImages, stack_of
from models.plates.pixels import IMAGE_SUFFIXES, decode_image
from models.plates.prepare import InputSpec, one_colour, scaled
from models.plates.projections import parse_plane, project, resize_area
from models.plates.screen import Channel, SampleKind, refuse_names, refuse_values
from models.plates.zips import UNPACKING_ERRORS, members_of, open_zip, read_member
from models.tables import IMAGE_SET, check_table

CHANNEL = "image"   # the only channel of an image set: recipes name it as image:mid, or image.red:mid of a colour image


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """The fields of imageset.yaml.

    sample: cell line, tissue or patient; classes: the two labels, the first being the one whose probability a model gives; the other
    fields are those of a screen (magnification x, pixel_size_um micrometre per pixel, bit_depth bits per sample).
    """

    name: str
    sample: str
    classes: tuple[str, str]
    kind: SampleKind = "cell_line"
    assay: str = ""
    organism: str = "human"
    stain: str = ""
    magnification: float | None = None
    pixel_size_um: float | None = None
    camera: str = ""
    bit_depth: int = 8
    source: str = ""

    def __post_init__(self) -> None:
        refuse_values("imageset.yaml", f"image set '{self.name}'", (
            ("name", not self.name, "must not be empty"),
            ("sample", not self.sample, "must name the cell line, tissue or patient"),
            ("classes", len(self.classes) != 2 or len(set(self.classes)) != 2 or "" in self.classes,
             f"must be two different labels, the one to find first, got {list(self.classes)}"),
            ("kind", self.kind not in get_args(SampleKind), f"must be one of {get_args(SampleKind)}, got {self.kind!r}"),
            ("bit_depth", self.bit_depth not in (8, 10, 12, 14, 16), f"must be 8, 10, 12, 14 or 16, got {self.bit_depth!r}")))

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The only channel, as a screen would name it."""
        return (Channel(name=CHANNEL, stain=self.stain),)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageSet:
        """A set from the mapping in imageset.yaml. Raises ScreenError naming unknown, missing or wrong fields."""
        refuse_names("imageset.yaml", values, known=[item.name for item in fields(cls)], required=("name", "sample", "classes"))
        if not isinstance(values["classes"], list | tuple):
            raise ScreenError(f"imageset.yaml: classes must be a list of two labels, got {values['classes']!r}")
        return cls(**{**values, "classes": tuple(map(str, values["classes"]))})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML; `from_dict` reads them back."""
        return asdict(self) | {"classes": list(self.classes)}

    def acquisition(self) -> dict[str, Any]:
        """How it was imaged, under the names that a screen has."""
        return asdict(self) | {"channels": [asdict(channel) for channel in self.channels]}


def check_images(table: pd.DataFrame, imageset: ImageSet) -> pd.DataFrame:
    """images.csv as its contract has it: an image is a group of its own where no group is given; labels are the set's classes or empty.

    Raises TableError with a finding per place that is wrong.
    """
    filled = table.copy()
    filled = filled if "group" in filled else filled.assign(group="")
    if "image_id" in filled:
        filled["group"] = filled["group"].where(filled["group"].notna() & (filled["group"].astype(str) != ""), filled["image_id"])
    checked = check_table(filled, IMAGE_SET, keys=("image_id",))
    strange = checked[~checked["label"].isin(["", *imageset.classes])]
    if len(strange):
        raise TableError(f"images.csv has {len(strange)} label(s) that imageset.yaml does not name", [Finding(
            rule="imageset_label", severity="error", well=str(row.image_id), column="label", value=str(row.label),
            message=f"image {row.image_id} has the label '{row.label}'; imageset.yaml has the classes {', '.join(imageset.classes)} "
                    "(leave the label of an unlabelled image empty)") for row in strange.itertuples()])
    return checked


def as_layout(table: pd.DataFrame, imageset: ImageSet) -> pd.DataFrame:
    """Labels in the place of a layout: plate (the set), well (the image), label, group, target (1 first class, 0 second, NaN none)."""
    target = table["label"].map({imageset.classes[0]: 1.0, imageset.classes[1]: 0.0}).astype("float64")
    return pd.DataFrame({"plate": imageset.name, "well": table["image_id"], "label": table["label"], "group": table["group"],
                         "target": target}).astype({"plate": "str", "well": "str"}).reset_index(drop=True)


class ImageArchive:
    """images.zip. Raises ImageError for a file that is no zip, or with a finding per member that is a link, leads outside, or is
    unbelievably large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = open_zip(path, plate="")
        self.names = tuple(info.filename for info in members_of(self._zip))
        self._known = frozenset(self.names)

    def images(self) -> tuple[str, ...]:
        """Names of the members that are images, by their suffix."""
        return tuple(name for name in self.names if name.lower().endswith(IMAGE_SUFFIXES))

    def read(self, name: str) -> np.ndarray:
        """Pixels of a member: (H, W), (H, W, 3), or (Z, H, W) of a stack; uint8 or uint16. Raises ImageError."""
        if name not in self._known:
            raise ImageError(f"{self.path.name} has no {name}", [Finding(
                rule="imageset_path", severity="error", column="path", value=name,
                message=f"images.csv names {name}, which is not in {self.path.name}; correct the path or add the image")])
        try:
            data = read_member(self._zip, name)
        except UNPACKING_ERRORS as error:
            raise ImageError(f"{self.path.name}: {name} cannot be unpacked ({error})", [Finding(
                rule="image_unreadable", severity="error", value=name,
                message=f"{name} cannot be unpacked; zip the images again")]) from None
        return decode_image(data, name)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def __enter__(self) -> ImageArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def prepare_images(archive: ImageArchive, table: pd.DataFrame, spec: InputSpec, *, name: str,
                   on_image: Callable[[str], None] = lambda image: None,
                   on_pixels: Callable[[str, np.ndarray], None] = lambda image, pixels: None) -> WellImages:
    """Model-ready images of a set, in the order of its table; name: of the set, the plate of its rows. on_pixels: shown each image as read.

    Raises ImageError when an image cannot be read, or the recipe's input asks for what an image set has not.
    """
    pixels = []
    for image_id, path in zip(table["image_id"], table["path"], strict=True):
        read = archive.read(path)
        on_pixels(str(image_id), read)
        pixels.append(prepare_image(read, spec).astype(np.float16))      # at once: a set is held in memory
        on_image(str(image_id))
    wells = pd.DataFrame({"plate": name, "well": table["image_id"].to_numpy(), "site": 1}).astype({"plate": "str", "well": "str"})
    return WellImages(wells, np.stack(pixels), spec.planes)


def prepare_image(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """One image as a network is fed: (C, size, size) on 0-1, float32. pixels: as `ImageArchive.read` gives them.

    Raises ImageError when the input asks for another channel than "image", or for the intensities of a whole plate.
    """
    wanted = {parse_plane(plane).channel for plane in spec.planes} - {CHANNEL}
    if wanted or spec.intensity == "plate":
        column, value = ("planes", ", ".join(sorted(wanted))) if wanted else ("intensity", "plate")
        raise ImageError("this input does not fit an image set", [Finding(
            rule="channel_missing", severity="error", column=column, value=value,
            message=f"an image set has the channel '{CHANNEL}' and no plate; choose a recipe whose input has planes like {CHANNEL}:mid and "
                    "intensity depth or well")])
    stack = stack_of([pixels])
    parts = map(parse_plane, spec.planes)
    planes = np.stack([resize_area(project(one_colour(stack, part.colour), part.projection), spec.size) for part in parts])
    return next(scaled([planes], spec.intensity, [np.iinfo(pixels.dtype).max]))
