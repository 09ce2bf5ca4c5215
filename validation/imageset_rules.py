"""Is an image set fit to learn from? Its table, its archive, and what would leak between the parts of a split.

The rules are told one by one, as those of plates are: `suites.validate_imageset` makes Data Docs of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from models.errors import Finding, InputError, Severity
from models.plates.images import COLOURS, planes_of
from models.plates.imageset import ImageArchive, ImageSet, check_images
from models.words import some
from validation.verdicts import Verdict

FOLDS = 4           # groups of each class that cross-fitting asks for
FEW_OF_CLASS = 0.1  # share of the labelled images below which a class is rare
TOLD = 5            # images named in one finding
_CONTENTS = ["path", "colours", "depth", "low", "high", "sha256"]


@dataclass(frozen=True)
class Contents:
    """What lies in images.zip: path, colours (1 grey, 3 RGB), depth (bits), low, high (grey values), sha256 of the pixels; findings on what
    cannot be read.
    """

    images: pd.DataFrame
    findings: tuple[Finding, ...] = ()


def take_contents(path: Path) -> Contents:
    """Read every image of an archive. What cannot be read is a finding, not an exception."""
    rows, findings = [], []
    try:
        archive = ImageArchive(path)
    except InputError as error:
        return Contents(pd.DataFrame(columns=_CONTENTS), error.findings)
    with archive:
        for name in archive.images():
            try:
                pixels = archive.read(name)
            except InputError as error:
                findings += list(error.findings)
                continue
            rows.append((name, COLOURS if planes_of(pixels)[0].ndim == 3 else 1, 8 * pixels.itemsize, int(pixels.min()), int(pixels.max()),
                         hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()))
    return Contents(pd.DataFrame(rows, columns=_CONTENTS), tuple(findings))


@dataclass(frozen=True)
class ImageSetEvidence:
    """What the rules look at. images: images.csv, checked (`models.plates.imageset.check_images`)."""

    imageset: ImageSet
    images: pd.DataFrame
    contents: Contents

    @cached_property
    def found(self) -> pd.DataFrame:
        """The images with what lies in the archive under their path; empty (NaN) where nothing that can be read does."""
        return self.images.merge(self.contents.images, on="path", how="left", validate="many_to_one")


@dataclass(frozen=True)
class ImageSetRule:
    """One thing that must hold. `title` says it as a sentence; `check` yields a finding for each place where it does not."""

    name: str
    title: str
    check: Callable[[ImageSetEvidence], Iterable[Finding]]
    subject: ClassVar[str] = "image set"

    def findings(self, evidence: ImageSetEvidence) -> Iterable[Finding]:
        """The rule's findings."""
        return self.check(evidence)


def gather_imageset(imageset: ImageSet, table: pd.DataFrame, contents: Contents) -> ImageSetEvidence:
    """What the rules look at. table: images.csv as read. Raises TableError, with a finding per place that is wrong."""
    return ImageSetEvidence(imageset, check_images(table, imageset), contents)


def imageset_verdict(evidence: ImageSetEvidence, found: Mapping[str, tuple[Finding, ...]]) -> Verdict:
    """The verdict from what each rule found; errors first."""
    images = evidence.images
    counts = {"images": len(images), "unlabelled": int((images["label"] == "").sum()), "groups": int(images["group"].nunique())}
    counts |= {f"images of class {label}": int((images["label"] == label).sum()) for label in evidence.imageset.classes}
    findings = sorted((finding for rule in RULES for finding in found[rule.name]), key=lambda finding: finding.severity)
    return Verdict(screen=evidence.imageset.name, findings=tuple(findings), counts=counts)


def _finding(rule: str, message: str, *, column: str = "", value: str = "", image: str = "", error: bool = True) -> Finding:
    severity: Severity = "error" if error else "warning"
    return Finding(rule=f"imageset_{rule}", severity=severity, message=message, column=column, value=value, well=image)


def _missing(evidence: ImageSetEvidence) -> Iterator[Finding]:
    """Images that the table names and the archive has not; those that it has but that cannot be read are told as such."""
    found, told = evidence.found, {finding.value for finding in evidence.contents.findings}
    for row in found[found["sha256"].isna() & ~found["path"].isin(told)].itertuples():
        yield _finding("path", f"image {row.image_id}: {row.path} is not in images.zip, or is no TIFF, PNG or JPEG; correct the path "
                               "or add the image", column="path", value=str(row.path), image=str(row.image_id))


def _classes(evidence: ImageSetEvidence) -> Iterator[Finding]:
    for label in evidence.imageset.classes:
        if not (evidence.images["label"] == label).any():
            yield _finding("class", f"no image has the label '{label}'; a model learns from both classes", column="label", value=label)


def _balance(evidence: ImageSetEvidence) -> Iterator[Finding]:
    counts = evidence.images["label"].value_counts().drop("", errors="ignore")
    labelled = int(counts.sum())
    for label, count in counts.items():
        if count < FEW_OF_CLASS * labelled:
            yield _finding("balance", f"only {count} of {labelled} labelled images are '{label}'; accuracy alone says little then, look at "
                                      "sensitivity and at Matthews' correlation", column="label", value=str(label), error=False)


def _groups(evidence: ImageSetEvidence) -> Iterator[Finding]:
    """Too few groups to hold some out; a split by group is then no split by image."""
    for label in evidence.imageset.classes:
        of_class = evidence.images[evidence.images["label"] == label]
        groups = of_class["group"].nunique()
        if len(of_class) and groups < FOLDS:
            yield _finding("groups", f"the {len(of_class)} images of '{label}' are of {groups} group(s); at least {FOLDS} are needed to "
                                     "cross-fit, since a group never straddles a split", column="group", value=label, error=groups < 2)


def _copies(evidence: ImageSetEvidence) -> Iterator[pd.DataFrame]:
    """Rows with the same pixels, set by set."""
    seen = evidence.found[evidence.found["sha256"].notna()]
    yield from (same for _, same in seen[seen.duplicated("sha256", keep=False)].groupby("sha256", sort=False))


def _contradict(same: pd.DataFrame) -> bool:
    return bool(same.loc[same["label"] != "", "label"].nunique() > 1)


def _contradictions(evidence: ImageSetEvidence) -> Iterator[Finding]:
    for same in filter(_contradict, _copies(evidence)):
        yield _finding("contradiction", f"images {some(same['image_id'], TOLD)} have the same pixels and different labels; keep the right "
                                        "one", column="label", image=str(same["image_id"].iloc[0]))


def _duplicates(evidence: ImageSetEvidence) -> Iterator[Finding]:
    """No two groups hold the same pixels, which would leak; copies whose labels differ are told by `_contradictions`."""
    for same in _copies(evidence):
        if same["group"].nunique() > 1 and not _contradict(same):
            yield _finding("duplicate", f"images {some(same['image_id'], TOLD)} have the same pixels in different groups, so that a model "
                                        "would be tested on what it learnt; remove the copies or give them one group", column="group",
                           image=str(same["image_id"].iloc[0]))


def _flat(evidence: ImageSetEvidence) -> Iterator[Finding]:
    found = evidence.found
    if len(flat := found[found["low"].notna() & (found["low"] == found["high"])]):
        yield _finding("flat", f"{len(flat)} image(s) have one grey value everywhere: {some(flat['image_id'], TOLD)}", error=False)


def _mixed(evidence: ImageSetEvidence) -> Iterator[Finding]:
    for column, words in (("colours", "grey and colour images"), ("depth", "8- and 16-bit images")):
        if evidence.contents.images[column].nunique() > 1:
            yield _finding("mixed", f"{words} are mixed; a model may learn the camera instead of the cells if the classes differ in it",
                           column=column, error=False)


def _unlisted(evidence: ImageSetEvidence) -> Iterator[Finding]:
    images, contents = evidence.images, evidence.contents
    known = set(images["path"]) | (set(images["mask_path"]) if "mask_path" in images else set())
    if len(unlisted := contents.images.loc[~contents.images["path"].isin(known), "path"]):
        yield _finding("unlisted", f"{len(unlisted)} image(s) of images.zip are not in images.csv and are left out: {some(unlisted, TOLD)}",
                       error=False)


RULES: tuple[ImageSetRule, ...] = (
    ImageSetRule("imageset_readable", "images.zip can be opened, and every image in it can be read",
                 lambda evidence: evidence.contents.findings),
    ImageSetRule("imageset_path", "Every image that images.csv names is in images.zip", _missing),
    ImageSetRule("imageset_class", "Both classes have labelled images", _classes),
    ImageSetRule("imageset_balance", "Neither class is rare", _balance),
    ImageSetRule("imageset_groups", "Both classes have enough groups to cross-fit", _groups),
    ImageSetRule("imageset_contradiction", "Images with the same pixels have the same label", _contradictions),
    ImageSetRule("imageset_duplicate", "Images with the same pixels are of one group, so that no copy is tested on what it taught",
                 _duplicates),
    ImageSetRule("imageset_flat", "No image has one grey value everywhere", _flat),
    ImageSetRule("imageset_mixed", "All images are of one kind: grey or colour, 8 or 16 bits", _mixed),
    ImageSetRule("imageset_unlisted", "Every image of images.zip is in images.csv", _unlisted),
)
