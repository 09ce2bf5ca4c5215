"""Count living and dead cells in microscopy images and grade them by ISO 10993-5.

    python -m pipelines.count_cells IMAGES ... --out counted [--attached] [--diameter 22] [--no-overlays]

IMAGES are files (TIFF, PNG, JPEG) or folders of them. Writes counts.csv (a row per image: living, dead, dead share and grade with their
95 % limits, verdict), cells.csv (a row per cell: box, area, state) and, per image, an overlay with living cells outlined blue and dead
ones red, by which to judge the count. An image that cannot be read, or in which no cell is found, keeps its row and says so in the
column `reason`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from models.counting import AttachedOptions, CellCount, CellOptions, count_cells, reactivity_grade
from models.counting.segment import grey
from models.errors import InputError
from models.plates.pixels import IMAGE_SUFFIXES, decode_image
from pipelines.command import run_command

COUNT_COLUMNS = ("image", "living", "dead", "dead_share", "share_low", "share_high", "grade", "word", "grade_low", "grade_high", "verdict",
                 "reason")
COLOURS = {"living": (0, 114, 178), "dead": (213, 94, 0)}
OTHER_SIZE = 1.25   # times as large as most images of a run, or as small, from which on an image is another field
Options = CellOptions | AttachedOptions


def find_images(paths: Iterable[Path]) -> dict[str, Path]:
    """The image files among `paths` and directly in those that are folders, in order of their names, by name; of several with the same
    name in different folders, by path from the folder that holds all. Raises InputError if there is none, or no such place.
    """
    paths = list(paths)
    if lost := [str(path) for path in paths if not path.exists()]:
        raise InputError(f"there is no {', '.join(lost)}; name images, or folders of them")
    found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.glob("*")))
             if file.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise InputError(f"no image found in {', '.join(map(str, paths))}; expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    found = list(dict.fromkeys(found))
    if len({file.name for file in found}) == len(found):
        return {file.name: file for file in found}
    base = os.path.commonpath([file.absolute().parent for file in found])
    return {file.absolute().relative_to(base).as_posix(): file for file in found}


def deeper_images(paths: Iterable[Path]) -> str:
    """What lies in folders of those folders and is not counted, in words; "" for nothing."""
    deeper = [file for path in paths for file in sorted(path.glob("*/**/*")) if file.suffix.lower() in IMAGE_SUFFIXES]
    return f"{len(deeper)} image(s) in folders of these folders are not counted, {deeper[0]} first; name those folders to count them" \
        if deeper else ""


def run(files: Iterable[tuple[str, Path]], options: Options, *, overlays: Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(counts, cells): a row per image, and a row per cell with the column `image` first.

    files: (name, path); overlays: folder for the images with their cells outlined, by the same names.
    """
    counts, cells, sides = [], [], list[float]()
    for name, counted, reason in _counted(files, options, overlays):
        counts.append(count_row(name, counted, reason))
        sides.append(np.nan if counted is None else float(np.sqrt(counted.labels.size)))
        if counted is not None:
            cells.append(counted.cells.assign(image=name))
    table = pd.concat(cells, ignore_index=True) if cells else pd.DataFrame(columns=["image"])
    whole = dict.fromkeys(("living", "dead", "grade", "grade_low", "grade_high"), "Int64")
    usual = float(np.nanmedian(sides)) if np.isfinite(sides).any() else np.nan
    for row, side in zip(counts, sides, strict=True):
        if not row["reason"] and abs(np.log(side / usual)) > np.log(OTHER_SIZE):
            row |= {"verdict": "cannot say", "reason": f"it is {side / usual:.2g} times as large as most of these images; if its cells are "
                                                       "too, count it by itself, with a --diameter that fits"}
    return pd.DataFrame(counts, columns=list(COUNT_COLUMNS)).astype(whole), table[["image", *(name for name in table if name != "image")]]


def _counted(files: Iterable[tuple[str, Path]], options: Options,
             overlays: Path | None) -> Iterator[tuple[str, CellCount | None, str]]:
    for name, file in files:
        try:
            pixels = decode_image(file.read_bytes(), file.name)
            counted = count_cells(pixels, options)
        except (InputError, OSError) as error:
            yield name, None, str(error).splitlines()[0]
            continue
        if overlays is not None:
            path = overlays / (name if file.suffix == ".png" else f"{name}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_overlay(grey(pixels), counted).save(path)
        yield name, counted, "" if len(counted) else "no cell found; is --diameter right for these images?"


def count_row(name: str, counted: CellCount | None, reason: str) -> dict[str, Any]:
    """One row of counts.csv; what cannot be said is empty."""
    if counted is None or not len(counted):
        return {"image": name, "living": 0 if counted is not None else None, "dead": 0 if counted is not None else None, "reason": reason}
    grade = counted.grade
    return {"image": name, "living": counted.living, "dead": counted.dead, "dead_share": round(grade.dead_share, 4),
            "share_low": round(grade.low, 4), "share_high": round(grade.high, 4), "grade": grade.grade, "word": grade.word,
            "grade_low": grade.lowest, "grade_high": grade.highest, "verdict": grade.verdict, "reason": reason}


def summary(counts: pd.DataFrame) -> str:
    """All images together, but for those with a reason: fields of one culture are graded with narrower limits than each for itself."""
    sound = counts[counts["reason"] == ""]
    living, dead = (int(sound[state].sum()) for state in ("living", "dead"))
    left = f", without {len(counts) - len(sound)} image(s) for the reasons given" if len(sound) < len(counts) else ""
    words = f"{living} living and {dead} dead cells{left}"
    if (sound["living"] + sound["dead"] > 0).sum() < 2:
        return words
    grade = reactivity_grade(dead, living)
    return (f"{words}; taken as one culture: dead share {grade.dead_share:.2f} ({grade.low:.2f}-{grade.high:.2f}), "
            f"grade {grade.grade} ({grade.lowest}-{grade.highest}), {grade.verdict}")


def draw_overlay(image: np.ndarray, counted: CellCount) -> Image.Image:
    """The image (H, W) on 0-1, stretched to its own range, with every cell outlined."""
    from skimage.segmentation import find_boundaries

    low, high = float(image.min()), float(image.max())
    picture = np.repeat(((image - low) / max(high - low, 1e-6) * 255).astype(np.uint8)[..., None], 3, axis=2)
    outlines = np.where(find_boundaries(counted.labels, mode="inner"), counted.labels, 0)
    for state, colour in COLOURS.items():
        picture[np.isin(outlines, counted.cells["cell"][counted.cells["state"] == state])] = colour
    return Image.fromarray(picture)


def options_of(arguments: argparse.Namespace) -> Options:
    """What the command line says, else the usual of suspended or of attached cells. Raises InputError for what does not fit."""
    said = {name: value for name in ("diameter", "longest", "floor", "dead_edge") if (value := getattr(arguments, name)) is not None}
    if arguments.attached and "longest" in said:
        raise InputError("--longest is for suspended cells; attached ones may be of any length: leave it out, or leave --attached out")
    return AttachedOptions(**said) if arguments.attached else CellOptions(**said)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path, help="images, or folders of them")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables and overlays")
    parser.add_argument("--attached", action="store_true", help="cells grow attached: flat while they live, round once they are dead")
    for name, text in (("diameter", "of a usual cell, pixels; attached: of a disc of its area"),
                       ("floor", "contrast that noise has: rim in full scales per pixel; attached: standard deviation in full scales"),
                       ("dead_edge", "between the rims of dead and living cells, full scales per pixel")):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float,
                            help=f"{text} (default: {getattr(CellOptions, name)}; attached: {getattr(AttachedOptions, name)})")
    parser.add_argument("--longest", type=float, help=f"longest side of a cell's box over the shortest (default: {CellOptions.longest})")
    parser.add_argument("--no-overlays", action="store_true", help="tables only")
    return parser


def main() -> None:
    """Command line."""
    arguments = _parser().parse_args()
    files, options = find_images(arguments.images), options_of(arguments)
    if told := deeper_images(arguments.images):
        print(told)
    overlays = None if arguments.no_overlays else arguments.out / "overlays"
    (overlays or arguments.out).mkdir(parents=True, exist_ok=True)
    counts, cells = run(tqdm(files.items(), unit="image", desc="count cells"), options, overlays=overlays)
    counts.to_csv(arguments.out / "counts.csv", index=False)
    cells.to_csv(arguments.out / "cells.csv", index=False)
    print(counts.astype(object).where(counts.notna(), "").to_string(index=False) if len(counts) <= 40 else f"{len(counts)} images counted")
    print(f"{summary(counts)}; tables and overlays in {arguments.out}")


if __name__ == "__main__":
    run_command(main)
