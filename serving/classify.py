"""POST /classify: images without a layout (systems S3-S5) -> class and probability, under the same guards as POST /score.

The same functions as the stage `score` calls for an image set, in pieces of a fixed number of images, so that memory stays flat.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from models.classifying import SURE, class_findings, classify_images, imageset_findings, require_classes, with_depths
from models.errors import Finding, ImageError, InputError
from models.networks.bundle import Card
from models.networks.predict import Predictor
from models.plates.images import planes_of
from models.plates.imageset import ImageArchive, ImageSet, prepare_images
from models.plates.pixels import IMAGE_SUFFIXES
from models.records import from_record, to_record
from models.registered import RegisteredVersion
from models.words import some
from serving.forms import Fields, Form, StoredFile, field_finding
from serving.plain import plain, records, to_json
from serving.scored import lineage_of
from serving.snapshot import Served
from serving.thumbnails import small_png
from serving.uploads import base_name, pack, read_mapping, repeated_names

CLASSIFY_FIELDS = Fields(files=("images",), texts=("model", "imageset", "options"), required=("images", "model", "imageset"))
PIECE = 256         # images that are in memory at a time: whole batches, so that a set of any size gives the same numbers
MAX_IMAGES = 20_000
MAX_SHOWN = 2**26   # pixels of all small images of an answer: 1,800 of the page's size; more images are shown smaller


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """What is asked besides. force: another sample than the model's, flagged; thumbnails: pixels of a small image of each row, 0 = none."""

    force: bool = False
    thumbnails: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.thumbnails <= 512:
            raise ValueError(f"thumbnails: must lie between 0 and 512 pixels, got {self.thumbnails}")


def classify_form(form: Form, folder: Path, served: Served, *, service_version: str) -> bytes:
    """The answer of POST /classify. Raises InputError (ImageError, SampleMismatch ...) with findings for unusable uploads and models."""
    card = served.card
    require_classes(card)
    options = from_record(ClassifyOptions, read_mapping(text, field="options") if (text := form.texts.get("options", "")).strip() else {},
                          path="options")
    fields = read_mapping(form.texts["imageset"], field="imageset")
    with ImageArchive(_archive_of(form.files["images"], folder)) as archive:
        table, left = _table_of(archive)
        imageset = read_imageset(fields, card, archive, table)
        findings = [*left, *imageset_findings(imageset, card, force=options.force)]
        predictor = served.predictor    # once: it may be let go and be loaded again meanwhile
        classes, pictures = _classified(archive, table, imageset, served.version, predictor, options)
    rows = records(classes)
    if options.thumbnails:
        rows = [{**row, "thumbnail": pictures[row["image_id"]]} for row in rows]
    return to_json({
        "images": rows, "flags": [finding.record() for finding in (*findings, *class_findings(classes, card))],
        "classes": list(card.classes), "sure": SURE, "calibration": plain(to_record(card.calibration)),
        "imageset": plain(imageset.to_dict()), "gates": plain(to_record(card.gates)),
        "lineage": lineage_of(served.version, precision=predictor.trunk.precision, service_version=service_version)})


def read_imageset(fields: Mapping[str, Any], card: Card, archive: ImageArchive, table: pd.DataFrame) -> ImageSet:
    """What a sender says of the images: fields of imageset.yaml, of which only `sample` must be there. Raises InputError.

    The classes are the model's; without a bit depth they have that of their pixels.
    """
    if not str(fields.get("sample", "")).strip():
        raise InputError("'imageset' names no sample", [field_finding(
            "imageset", f"say of which cell line, tissue or patient the images are, such as 'sample: {card.sample}'; a model is valid for "
                        "its own sample only")])
    given = fields.get("classes")
    if given is not None and list(map(str, given if isinstance(given, list) else [given])) != list(card.classes):
        raise InputError("'imageset' has other classes than the model", [field_finding(
            "imageset", f"model {card.name} tells {' from '.join(card.classes)} images; leave `classes` out, or choose another model",
            str(given))])
    depth = {} if "bit_depth" in fields else {"bit_depth": _bit_depth(archive, table)}
    words = {name: str(fields[name]) for name in ("name", "sample") if name in fields}
    return ImageSet.from_dict({"name": "images", **depth, **fields, **words, "classes": list(card.classes)})


def _bit_depth(archive: ImageArchive, table: pd.DataFrame) -> int:
    """Bits per pixel of the first image. Raises ImageError with all images that cannot be read if it cannot."""
    try:
        return 8 * archive.read(table["path"].iloc[0]).itemsize
    except ImageError:
        _require_readable(archive, table)
        raise


def _archive_of(files: Sequence[StoredFile], folder: Path) -> Path:
    """The upload as one archive: the zip that came, or one of the images that came by themselves."""
    names = [base_name(file.filename, "images") for file in files]
    if len(set(names)) < len(names):    # of several folders
        names = ["/".join(base_name(part, "images") for part in re.split(r"[/\\]", file.filename) if part) for file in files]
    zips = [name for name in names if name.lower().endswith(".zip")]
    if zips and len(files) > 1:
        raise InputError("the images cannot be used", [field_finding("images", "send one zip, or single images")])
    if zips:
        return files[0].path
    repeated = repeated_names(names, field="images")
    foreign = [field_finding("images", f"'{name}' is no image; send {', '.join(IMAGE_SUFFIXES)}, or one zip of them", name)
               for name in names if not name.lower().endswith(IMAGE_SUFFIXES)]
    if repeated or foreign:
        raise InputError("the images cannot be used", [*repeated, *foreign][:50])
    return pack(files, names, folder / "images.zip")


def _table_of(archive: ImageArchive) -> tuple[pd.DataFrame, list[Finding]]:
    """(image_id, path of every image by name; what lies in the archive and is no image). Raises ImageError where there is none."""
    images = archive.images()
    aside = sorted(set(archive.names) - set(images))
    if not images or len(images) > MAX_IMAGES:
        message = (f"it holds {len(images):,} images; at most {MAX_IMAGES:,} are classified at once" if images else
                   f"it holds no {', '.join(IMAGE_SUFFIXES)} image")
        raise ImageError("the images cannot be used", [field_finding("images", message)])
    stems = [PurePosixPath(name).stem for name in images]
    ids = stems if len(set(stems)) == len(stems) else images
    table = pd.DataFrame({"image_id": ids, "path": images}).sort_values("image_id", ignore_index=True)
    left = [Finding(rule="left_aside", severity="warning", column="images",
                    message=f"left aside, for they are no images: {some(aside, 5)}")] if aside else []
    return table, left


def _classified(archive: ImageArchive, table: pd.DataFrame, imageset: ImageSet, version: RegisteredVersion, predictor: Predictor,
                options: ClassifyOptions) -> tuple[pd.DataFrame, dict[str, str]]:
    """ImageClasses of the whole table, and image_id -> thumbnail as a data address."""
    spec, parts = predictor.card.recipe.input, []
    pictures: dict[str, str] = {}
    depths: dict[str, int] = {}
    brightest, size = 0.0, shown_size(options.thumbnails, images=len(table))
    for piece in _pieces(table):
        try:
            images = prepare_images(archive, piece, spec, name=imageset.name,
                                    on_pixels=lambda image, pixels: depths.update({image: 8 * pixels.itemsize}))
        except ImageError:
            _require_readable(archive, table)
            raise
        brightest = max(brightest, float(np.asarray(images.pixels).max()))
        labels = images.wells[["plate", "well"]].assign(label="")
        parts.append(classify_images(images, labels, predictor=predictor, model=version.name,
                                     version=str(version.version)))
        if options.thumbnails:
            pictures |= {image: _picture(archive.read(path), size)
                         for image, path in zip(piece["image_id"], piece["path"], strict=True)}
    if imageset.bit_depth > 8 and spec.intensity == "depth" and brightest * 65535 < 256:
        raise ImageError("the images cannot be used", [field_finding(
            "images", f"they have {imageset.bit_depth} bits and no grey value above 255, so that the model would see black: taken with 8 "
                      "bits and saved with more; export them with 8 bits")])
    return with_depths(pd.concat(parts, ignore_index=True), depths), pictures


def shown_size(asked: int, *, images: int) -> int:
    """Pixels a side of the small images, so that all together stay within MAX_SHOWN: they lie in memory until the answer is sent."""
    return min(asked, math.isqrt(MAX_SHOWN // images))


def _pieces(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    return (table.iloc[start:start + PIECE].reset_index(drop=True) for start in range(0, len(table), PIECE))


def _require_readable(archive: ImageArchive, table: pd.DataFrame) -> None:
    """Raises ImageError with a finding per image that cannot be read, so that they are mended in one go."""
    findings: list[Finding] = []
    for image, path in zip(table["image_id"], table["path"], strict=True):
        try:
            archive.read(path)
        except ImageError as error:
            findings += [replace(item, well=str(image)) for item in error.findings]
    if findings:
        raise ImageError(f"{len(findings)} of {len(table)} image(s) cannot be read, so nothing was classified", findings)


def _picture(pixels: np.ndarray, size: int) -> str:
    """A small image for a page; of a stack the middle plane."""
    planes = planes_of(pixels)
    return f"data:image/png;base64,{base64.b64encode(small_png(planes[len(planes) // 2], size=size)).decode()}"
