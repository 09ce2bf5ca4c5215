"""Is an image set fit to learn from? Its table, its archive, and what would leak between the parts of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from models.errors import Finding, InputError, Severity
from models.plates.imageset import ImageArchive, ImageSet, check_images
from validation.verdicts import Verdict

FOLDS = 4           # groups of each class that cross-fitting asks for
FEW_OF_CLASS = 0.1  # share of the labelled images below which a class is rare
TOLD = 5            # images named in one finding


@dataclass(frozen=True)
class Contents:
    """What lies in images.zip: path, height, width, planes (1 grey, 3 colour), depth (bits), low, high (grey values), sha256 of the
    pixels; findings on what cannot be read.
    """

    images: pd.DataFrame
    findings: tuple[Finding, ...] = ()


def take_contents(path: Path) -> Contents:
    """Read every image of an archive. What cannot be read is a finding, not an exception."""
    rows, findings = [], []
    try:
        archive = ImageArchive(path)
    except InputError as error:
        return Contents(pd.DataFrame(columns=["path", "height", "width", "planes", "depth", "low", "high", "sha256"]), error.findings)
    with archive:
        for name in archive.images():
            try:
                pixels = archive.read(name)
            except InputError as error:
                findings += list(error.findings)
                continue
            height, width = pixels.shape[:2] if pixels.shape[-1] == 3 or pixels.ndim == 2 else pixels.shape[1:3]
            rows.append({"path": name, "height": height, "width": width, "planes": 3 if pixels.ndim == 3 and pixels.shape[-1] == 3 else 1,
                         "depth": 8 * pixels.itemsize, "low": int(pixels.min()), "high": int(pixels.max()),
                         "sha256": hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()})
    return Contents(pd.DataFrame(rows, columns=["path", "height", "width", "planes", "depth", "low", "high", "sha256"]), tuple(findings))


def judge_imageset(imageset: ImageSet, table: pd.DataFrame, contents: Contents) -> Verdict:
    """The verdict on a set. table: images.csv as read, unchecked."""
    try:
        images = check_images(table, imageset)
    except InputError as error:
        return Verdict(screen=imageset.name, findings=error.findings)
    found = images.merge(contents.images, on="path", how="left", validate="many_to_one")
    findings = [*contents.findings, *_missing(found, contents), *_classes(images, imageset), *_groups(images, imageset), *_twice(found),
                *_looks(found, contents), *_unlisted(images, contents)]
    labelled = images[images["label"] != ""]
    counts = {"images": len(images), "unlabelled": int((images["label"] == "").sum()), "groups": int(images["group"].nunique())}
    counts |= {f"images of class {label}": int((labelled["label"] == label).sum()) for label in imageset.classes}
    return Verdict(screen=imageset.name, findings=tuple(sorted(findings, key=lambda finding: finding.severity)), counts=counts)


def _finding(rule: str, message: str, *, column: str = "", value: str = "", image: str = "", error: bool = True) -> Finding:
    severity: Severity = "error" if error else "warning"
    return Finding(rule=f"imageset_{rule}", severity=severity, message=message, column=column, value=value, well=image)


def _names(values: pd.Series) -> str:
    more = f" and {len(values) - TOLD} more" if len(values) > TOLD else ""
    return ", ".join(map(str, values.head(TOLD))) + more


def _missing(found: pd.DataFrame, contents: Contents) -> Iterator[Finding]:
    """Images that the table names and the archive has not; those that it has but that cannot be read are told as such."""
    told = {finding.value for finding in contents.findings}
    for row in found[found["sha256"].isna() & ~found["path"].isin(told)].itertuples():
        yield _finding("path", f"image {row.image_id}: {row.path} is not in images.zip, or is no TIFF, PNG or JPEG; correct the path "
                               "or add the image", column="path", value=str(row.path), image=str(row.image_id))


def _classes(images: pd.DataFrame, imageset: ImageSet) -> Iterator[Finding]:
    counts = images["label"].value_counts()
    labelled = int(counts.drop("", errors="ignore").sum())
    for label in imageset.classes:
        count = int(counts.get(label, 0))
        if not count:
            yield _finding("class", f"no image has the label '{label}'; a model learns from both classes", column="label", value=label)
        elif count < FEW_OF_CLASS * labelled:
            yield _finding("balance", f"only {count} of {labelled} labelled images are '{label}'; accuracy alone says little then, look at "
                                      "sensitivity and at Matthews' correlation", column="label", value=label, error=False)


def _groups(images: pd.DataFrame, imageset: ImageSet) -> Iterator[Finding]:
    """Too few groups to hold some out; a split by group is then no split by image."""
    for label in imageset.classes:
        of_class = images[images["label"] == label]
        groups = of_class["group"].nunique()
        if len(of_class) and groups < FOLDS:
            yield _finding("groups", f"the {len(of_class)} images of '{label}' are of {groups} group(s); at least {FOLDS} are needed to "
                                     "cross-fit, since a group never straddles a split", column="group", value=label, error=groups < 2)


def _twice(found: pd.DataFrame) -> Iterator[Finding]:
    """The same pixels under several names: in different groups they would leak, with different labels they contradict each other."""
    seen = found[found["sha256"].notna()]
    for _, same in seen[seen.duplicated("sha256", keep=False)].groupby("sha256", sort=False):
        names = _names(same["image_id"])
        if same.loc[same["label"] != "", "label"].nunique() > 1:
            yield _finding("contradiction", f"images {names} have the same pixels and different labels; keep the right one",
                           column="label", image=str(same["image_id"].iloc[0]))
        elif same["group"].nunique() > 1:
            yield _finding("duplicate", f"images {names} have the same pixels in different groups, so that a model would be tested on what "
                                        "it learnt; remove the copies or give them one group", column="group",
                           image=str(same["image_id"].iloc[0]))


def _looks(found: pd.DataFrame, contents: Contents) -> Iterator[Finding]:
    if len(flat := found[found["low"].notna() & (found["low"] == found["high"])]):
        yield _finding("flat", f"{len(flat)} image(s) have one grey value everywhere: {_names(flat['image_id'])}", error=False)
    for column, words in (("planes", "grey and colour images"), ("depth", "8- and 16-bit images")):
        if contents.images[column].nunique() > 1:
            yield _finding("mixed", f"{words} are mixed; a model may learn the camera instead of the cells if the classes differ in it",
                           column=column, error=False)


def _unlisted(images: pd.DataFrame, contents: Contents) -> Iterator[Finding]:
    known = set(images["path"]) | (set(images["mask_path"]) if "mask_path" in images else set())
    if len(unlisted := contents.images.loc[~contents.images["path"].isin(known), "path"]):
        yield _finding("unlisted", f"{len(unlisted)} image(s) of images.zip are not in images.csv and are left out: {_names(unlisted)}",
                       error=False)
