"""Count living and dead cells in microscopy images and grade them by ISO 10993-5.

    python -m pipelines.count_cells IMAGES ... --out counted [--diameter 22] [--dead-rim steep] [--no-overlays]

IMAGES are files (TIFF, PNG, JPEG) or folders of them. Writes counts.csv (a row per image: living, dead, dead share, grade, toxic),
cells.csv (a row per cell: box, area, state) and, per image, an overlay with living cells boxed blue and dead ones red, by which to judge
the count. An image that cannot be read, or in which no cell is found, keeps its row and says so in the column `reason`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw
from tqdm import tqdm

from models.counting import CellCount, CellOptions, count_cells
from models.counting.segment import grey
from models.errors import InputError
from models.plates.images import IMAGE_SUFFIXES, decode_image
from pipelines.command import run_command

COUNT_COLUMNS = ("image", "living", "dead", "dead_share", "grade", "word", "toxic", "reason")
COLOURS = {"living": (0, 114, 178), "dead": (213, 94, 0)}


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The image files among `paths` and directly in those that are folders, in order of their names. Raises InputError if there is none."""
    found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.glob("*")))
             if file.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise InputError(f"no image found in {', '.join(map(str, paths))}; expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    return found


def run(files: Iterable[Path], options: CellOptions, *, overlays: Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(counts, cells): a row per image, and a row per cell with the column `image` first. overlays: folder for the boxed images."""
    counts, cells = [], []
    for file, counted, reason in _counted(files, options, overlays):
        counts.append(count_row(file.name, counted, reason))
        if counted is not None:
            cells.append(counted.cells.assign(image=file.name))
    table = pd.concat(cells, ignore_index=True) if cells else pd.DataFrame(columns=["image"])
    return pd.DataFrame(counts, columns=list(COUNT_COLUMNS)), table[["image", *(name for name in table if name != "image")]]


def _counted(files: Iterable[Path], options: CellOptions, overlays: Path | None) -> Iterator[tuple[Path, CellCount | None, str]]:
    for file in files:
        try:
            pixels = decode_image(file.read_bytes(), file.name)
            counted = count_cells(pixels, options)
        except (InputError, OSError) as error:
            yield file, None, str(error).splitlines()[0]
            continue
        if overlays is not None:
            draw_overlay(grey(pixels), counted).save(overlays / f"{file.stem}.png")
        yield file, counted, "" if len(counted) else "no cell found; is --diameter right for these images?"


def count_row(name: str, counted: CellCount | None, reason: str) -> dict[str, Any]:
    """One row of counts.csv; what cannot be said is empty."""
    if counted is None or not len(counted):
        return {"image": name, "living": 0 if counted is not None else None, "dead": 0 if counted is not None else None, "reason": reason}
    grade = counted.grade
    return {"image": name, "living": counted.living, "dead": counted.dead, "dead_share": round(grade.dead_share, 4), "grade": grade.grade,
            "word": grade.word, "toxic": grade.toxic, "reason": reason}


def draw_overlay(image: Any, counted: CellCount) -> Image.Image:
    """The image (H, W) on 0-1, stretched to its own range, with a box around every cell."""
    low, high = float(image.min()), float(image.max())
    picture = Image.fromarray(((image - low) / max(high - low, 1e-6) * 255).astype("uint8")).convert("RGB")
    pen = ImageDraw.Draw(picture)
    cells = counted.cells
    for state, (left, top, right, bottom) in zip(cells["state"], cells[["x_min", "y_min", "x_max", "y_max"]].to_numpy(int), strict=True):
        pen.rectangle((left - 1, top - 1, right, bottom), outline=COLOURS[str(state)])
    return picture


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--diameter", type=float, default=CellOptions.diameter, help="of a usual cell, pixels (default: %(default)s)")
    parser.add_argument("--longest", type=float, default=CellOptions.longest,
                        help="longest side of a cell's box over the shortest (default: %(default)s; more for spindles)")
    parser.add_argument("--floor", type=float, default=CellOptions.floor,
                        help="rim at which contrast begins to count, full scales per pixel (default: %(default)s; less for flat cells)")
    parser.add_argument("--dead-edge", type=float, default=CellOptions.dead_edge,
                        help="between the rims of dead and living cells, full scales per pixel (default: %(default)s)")
    parser.add_argument("--dead-rim", choices=["faint", "steep"], default=CellOptions.dead_rim,
                        help="of dead cells: faint where cells float, steep where they are attached and round up (default: %(default)s)")
    parser.add_argument("--no-overlays", action="store_true")
    arguments = parser.parse_args()
    files = find_images(arguments.images)
    overlays = None if arguments.no_overlays else arguments.out / "overlays"
    (overlays or arguments.out).mkdir(parents=True, exist_ok=True)
    options = CellOptions(**{name: getattr(arguments, name) for name in ("diameter", "longest", "floor", "dead_edge", "dead_rim")})
    counts, cells = run(tqdm(files, unit="image", desc="count cells"), options, overlays=overlays)
    counts.to_csv(arguments.out / "counts.csv", index=False)
    cells.to_csv(arguments.out / "cells.csv", index=False)
    print(counts.to_string(index=False, na_rep="") if len(counts) <= 40 else f"{len(counts)} images counted")
    print(f"{int(counts['living'].sum())} living and {int(counts['dead'].sum())} dead cells; tables and overlays in {arguments.out}")


if __name__ == "__main__":
    run_command(main)
