"""The pictures of docs/image_quality.md: each fault as it looks, and what the rules say of a plate that holds them.

    python -m benchmarks.image_quality_figures [--out docs/images]

Writes image_quality_faults.png (a living control well of a bright-field and of a spheroid plate, sound and with each simulated fault) and
image_quality_plate.svg (a simulated plate with two wells of every fault, each with the letter of what was said of it).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.image_quality import FLAG_OF, flags_of, with_faults
from models.plates.quality import QualityLimits
from models.plates.simulate.examples import Example, example_screens
from models.plates.simulate.faults import FAULT_KINDS, RANGES, Fault, FaultKind
from models.wells import PLATE_FORMATS, parse_well, row_letters
from pipelines.command import run_command

SIDE, GAP, HEAD = 128, 6, 20
LETTERS = {"out_of_focus": "F", "saturated": "S", "empty_well": "E", "debris": "D", "duplicate_image": "C", "background": "B",
           "uneven_light": "U"}


def one_well(screen: Example, kind: FaultKind | None) -> np.ndarray:
    """(H, W) uint8: a negative control, sound or with a fault of middling strength; fluorescence by its root, to show dim light."""
    negative = screen.layout[screen.layout["role"] == "negative"]
    well, other = negative["well"].iloc[:2]
    plate = screen.plates[0]
    rows = screen.layout[(screen.layout["plate"] == plate) & screen.layout["well"].isin([well, other])]
    small = replace(screen, layout=rows, size=SIDE, seed=3)

    def shown(fault: Fault | None) -> np.ndarray:
        pixels = dict(replace(small, faults={plate: {well: fault}} if fault else {}).images(plate))[well]
        return np.asarray(pixels if pixels.ndim == 2 else pixels.max(axis=0), dtype=float)

    fault = Fault(kind=kind, strength=float(np.mean(RANGES[kind])), source=other if kind == "duplicate" else "") if kind else None
    if screen.lines:
        return shown(fault).astype(np.uint8)
    brightest = 1.5 * np.percentile(shown(None), 99.8)
    return (255 * np.sqrt(np.clip(shown(fault) / brightest, 0, 1))).astype(np.uint8)


def faults_figure() -> Image.Image:
    """One row of pictures per kind of plate, one column per fault."""
    kinds: tuple[FaultKind | None, ...] = (None, *FAULT_KINDS)
    screens = [screen for screen in example_screens(seed=1) if screen.name in ("a549", "patient-1")]
    figure = Image.new("L", (len(kinds) * (SIDE + GAP) - GAP, HEAD + len(screens) * (SIDE + GAP)), 255)
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(13)
    for column, kind in enumerate(kinds):
        draw.text((column * (SIDE + GAP) + 2, 2), FLAG_OF[kind].replace("_", " ") if kind else "sound", fill=0, font=font)
        for row, screen in enumerate(screens):
            figure.paste(Image.fromarray(one_well(screen, kind)), (column * (SIDE + GAP), HEAD + row * (SIDE + GAP)))
    return figure


def plate_drawing() -> str:
    """A plate of spheroids with faults as SVG."""
    screen = next(screen for screen in example_screens(seed=1) if screen.name == "patient-1")
    judged = flags_of(with_faults(screen, FAULT_KINDS, each=2, seed=1), QualityLimits())
    wells = judged[judged["plate"] == screen.plates[0]]
    rows, columns = PLATE_FORMATS[screen.plate_format]
    size = 30
    parts = [f"<text x='{(column + 1.5) * size:g}' y='{size * 0.7:g}'>{column + 1}</text>" for column in range(columns)]
    parts += [f"<text x='{size * 0.5:g}' y='{(row + 1.65) * size:g}'>{row_letters(row)}</text>" for row in range(rows)]
    for well, fault, flags in zip(wells["well"], wells["fault"], wells["flags"], strict=True):
        parts.extend(_disc(well, fault, flags, size))
    width, height = (columns + 1) * size, (rows + 1) * size
    return (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
            f"font-family='sans-serif' font-size='12' text-anchor='middle' fill='#5a6675'><rect width='100%' height='100%' fill='#fff'/>"
            f"{''.join(parts)}</svg>\n")


def _disc(well: str, fault: str, flags: list[str], size: int) -> Iterator[str]:
    row, column = parse_well(well)
    x, y = (column + 1.5) * size, (row + 1.5) * size
    ring = "#b3261e" if fault else "#c5ccd6"
    yield f"<circle cx='{x:g}' cy='{y:g}' r='{size * 0.4:g}' fill='{'#fff' if flags else '#eef1f5'}' stroke='{ring}' stroke-width='2.5'/>"
    letters = "".join(LETTERS.get(flag, "?") for flag in flags)
    if letters:
        yield f"<text x='{x:g}' y='{y + 4:g}' fill='#1d2733' font-weight='600'>{letters}</text>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    faults_figure().save(out / "image_quality_faults.png", optimize=True)
    (out / "image_quality_plate.svg").write_text(plate_drawing(), encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
