"""Bring a folder of labelled images into data/<name>/ as an image set: imageset.yaml, images.csv, images.zip.

    python -m pipelines.add_imageset SOURCE --name my-set                          labels are the names of SOURCE's sub-folders
    python -m pipelines.add_imageset SOURCE --name my-set --labels labels.csv      columns path, label and, if you have it, group
    python -m pipelines.add_imageset SOURCE --name my-set --boxes boxes.csv        a crop per box: image, label, xmin, ymin, xmax, ymax

Images of a group (a patient, a dish; the image that crops were cut from) never stand on both sides of a split: name it in the column
`group`, or by --group-pattern, whose first bracket is looked for in the path. Refuses what cannot be used, with findings, and leaves
nothing half-written. The same source and options again: nothing to do. docs/image_sets.md shows it on real images.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mode

import numpy as np
import pandas as pd
from tqdm import tqdm

from models.errors import Finding, InputError, ScreenError
from models.plates.images import encode_tiff, write_archive
from models.plates.imageset import ImageSet, check_images
from models.plates.pixels import decode_image
from pipelines.command import run_command
from pipelines.imageset_table import BOX, Request, find_images
from pipelines.imagesets import IMAGES_ARCHIVE, is_imageset, read_imageset, write_imageset
from pipelines.screens import folder_of, whole_folder
from pipelines.sources import add_fact_options, facts_of


def add_imageset(request: Request, *, progress: bool = True) -> list[str]:
    """Write the set; returns lines that say what was recognised and done.

    Raises InputError, with findings, for a source that cannot be used or a set of that name with other content.
    """
    target = folder_of(request.name, request.out)
    table, said = find_images(request)
    classes = _classes(request, table)
    mark = f"{request.source.resolve().name}, sha256 {_fingerprint(request, table)[:16]}"
    if target.exists() and not request.force:
        if is_imageset(target) and read_imageset(target).source == mark:
            return [f"{target}: already there, made from the same files and options"]
        raise ScreenError(f"{target} is already there with other content; choose another --name, or --force to replace it")
    seen: list[tuple[str, int]] = []
    with whole_folder(target) as folder:
        write_archive(folder / IMAGES_ARCHIVE, _members(request, table, seen, progress=progress))
        table, joined = join_copies(table, [digest for digest, _ in seen])
        imageset = ImageSet.from_dict({"name": request.name, "sample": request.name, "classes": list(classes),
                                       "bit_depth": 8 * mode(depth for _, depth in seen), **request.facts, "source": mark})
        checked = check_images(table[["image_id", "path", "label", "group"]], imageset)
        write_imageset(folder, imageset, checked)
    counts = checked["label"].replace("", "without a label").value_counts()
    return [*said, f"labels: {', '.join(f'{count} {label}' for label, count in counts.items())}",
            f"groups that a split keeps together: {checked['group'].nunique()}"
            + ("" if checked["group"].nunique() < len(checked) else " (every image its own; name groups if images belong together)"),
            *([f"{joined} image(s) are copies of images of other groups; these groups were made one"] if joined else []),
            f"a model's probability will be that of '{imageset.classes[0]}'", f"{target}: made, {len(checked)} images"]


def join_copies(table: pd.DataFrame, digests: list[str]) -> tuple[pd.DataFrame, int]:
    """The table with groups made one that hold the same image, so that no copy is tested on what it taught; and how many images are such
    copies. digests: of the pixels of each row.
    """
    first_group: dict[str, str] = {}
    parent = {group: group for group in table["group"]}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    copies = 0
    for group, digest in zip(table["group"], digests, strict=True):
        other = root(first_group.setdefault(digest, group))
        copies += first_group[digest] != group
        parent[root(group)] = other
    return table.assign(group=[root(group) for group in table["group"]]), copies


def _classes(request: Request, table: pd.DataFrame) -> tuple[str, ...]:
    """The two labels, the one to find first. Raises InputError where there are others, or one of them is nowhere."""
    found = tuple(sorted(set(table["label"]) - {""}))
    alike: dict[str, list[str]] = {}
    for label in found:
        alike.setdefault(" ".join(label.casefold().split()), []).append(label)
    if same := next((labels for labels in alike.values() if len(labels) > 1), None):
        raise InputError(f"the labels {' and '.join(map(repr, same))} differ by capitals or spaces only; if they are one class, write them "
                         "alike, else give the classes names that people can tell apart")
    if len(found) == 2 and set(request.classes or found) == set(found):
        return request.classes or found
    counts = ", ".join(f"{label} ({count})" for label, count in table["label"].value_counts().items() if label) or "none"
    told = f"{len(found)} label{'' if len(found) == 1 else 's'} found, a model tells two apart: {counts}"
    if request.classes:
        raise InputError(f"{told}. --classes names {', '.join(request.classes)}; it must name both as they are written there, and "
                         "rows with other labels must be corrected, taken out or left without a label")
    raise InputError(f"{told}. Rows with other labels must be corrected, taken out or left without a label"
                     + ("" if request.labels or request.boxes else "; without --labels a label is the name of the folder that an image "
                        "lies in, or of the topmost one"))


def _members(request: Request, table: pd.DataFrame, seen: list[tuple[str, int]], *, progress: bool) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every image in the order of the table, decoded once so that only images get in; crops as TIFF. `seen` gets the
    sha256 of the pixels of each, and their bytes per sample. Raises InputError with all that is wrong.
    """
    findings: list[Finding] = []
    with tqdm(total=len(table), desc=request.name, unit="image", disable=not progress, leave=False) as bar:
        for file, rows in table.groupby("file", sort=False):
            data = (request.source / str(file)).read_bytes()
            try:
                pixels = decode_image(data, str(file))
            except InputError as error:
                findings += list(error.findings)
                continue
            for row in rows.to_dict("records"):
                box = None if request.boxes is None else [row[name] for name in BOX]
                if box and (fault := box_fault(box, pixels, str(file))):
                    findings.append(Finding(rule="imageset_box", severity="error", column=",".join(BOX), value=str(file), message=fault))
                    continue
                image = pixels if box is None else crop(pixels, box, request.margin)
                seen.append((hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest(), image.itemsize))
                yield row["path"], data if box is None else encode_tiff(image)
                bar.update()
    if findings:
        raise ScreenError(f"{len(findings)} image(s) cannot be used", findings)


def box_fault(box: list[float], pixels: np.ndarray, name: str) -> str:
    """Why a box (xmin, ymin, xmax, ymax) cannot be one of this image, in words; "" for one that may reach over its border."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    shown = f"box ({', '.join(f'{value:g}' for value in box)})"
    if not (0 <= (left + right) / 2 <= width and 0 <= (top + bottom) / 2 <= height):
        fault = f"the middle of the {shown} lies outside of {name}"
    elif right - left > width or bottom - top > height:
        fault = f"the {shown} is larger than {name}"
    else:
        return ""
    return f"{fault}, which has {width}x{height} pixels; give boxes in pixels of the image as it is"


def crop(pixels: np.ndarray, box: list[float], margin: float) -> np.ndarray:
    """A square about the middle of a box (xmin, ymin, xmax, ymax), its side `margin` times the longer side; mirrored beyond the image."""
    left, top, right, bottom = box
    half = max(1, round(margin * max(right - left, bottom - top) / 2))
    row, column = round((top + bottom) / 2), round((left + right) / 2)
    padding = [(half, half), (half, half), *([(0, 0)] if pixels.ndim == 3 else [])]
    padded = np.pad(pixels, padding, mode="symmetric")
    row, column = min(max(row, 0), pixels.shape[0]), min(max(column, 0), pixels.shape[1])
    return np.ascontiguousarray(padded[row:row + 2 * half, column:column + 2 * half])


def _fingerprint(request: Request, table: pd.DataFrame) -> str:
    """sha256 of the files, labels and options."""
    options = [request.name, request.classes, request.margin, dict(request.facts), table.to_csv(index=False)]
    digest = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode())
    for file in dict.fromkeys(table["file"]):
        digest.update((request.source / file).read_bytes())
    return digest.hexdigest()


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.add_imageset", description="Bring a folder of labelled images into data/.")
    parser.add_argument("source", type=Path, help="folder of images; without --labels and --boxes its sub-folders are the labels")
    parser.add_argument("--name", required=True, help="of the image set: data/<name>")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder of the image sets (default: %(default)s)")
    parser.add_argument("--labels", type=Path, help="table with columns path, label and, if you have it, group (CSV or XLSX)")
    parser.add_argument("--boxes", type=Path, help="table with columns image, label, xmin, ymin, xmax, ymax: every box becomes an image")
    parser.add_argument("--margin", type=float, default=1.2, help="side of a crop over its box's longer side (default: 1.2)")
    parser.add_argument("--classes", default="", help="the two labels, the one to find first: toxic,nontoxic")
    parser.add_argument("--group-pattern", default="", help=r"regular expression whose first bracket is the group: '(patient\d+)_'")
    add_fact_options(parser)
    parser.add_argument("--stain", help="such as H&E")
    parser.add_argument("--force", action="store_true", help="replace a set of that name")
    arguments = parser.parse_args(argv)
    facts = facts_of(arguments) | ({"stain": arguments.stain} if arguments.stain is not None else {})
    print(*add_imageset(Request(
        source=arguments.source, name=arguments.name, out=arguments.out, labels=arguments.labels, boxes=arguments.boxes,
        classes=tuple(filter(None, (part.strip() for part in arguments.classes.split(",")))), group_pattern=arguments.group_pattern,
        margin=arguments.margin, facts=facts, force=arguments.force)), sep="\n")


if __name__ == "__main__":
    run_command(main)
