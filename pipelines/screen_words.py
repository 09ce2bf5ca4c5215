"""What `add_screen` says of a screen: its wells, treatments and images in words, its plates drawn in letters, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pandas as pd

from models.plates.prepare import missing_channels
from models.plates.projections import PROJECTIONS
from models.plates.screen import Screen
from models.tables import DOSED_ROLES
from models.wells import PLATE_FORMATS, add_row_column, row_letters
from models.words import number, some
from pipelines.params import Params
from validation.layout_rules import format_doubt

MARKS = {"negative": "-", "positive": "+", "reference": "r", "treated": "o", "untreated": "u", "empty": "."}
NO_IMAGE = "?"
DRAWN = 3       # different plates that are drawn


def summary(layout: pd.DataFrame, screen: Screen, *, shapes: Sequence[tuple[int, ...]], planes: int, sample_given: bool) -> list[str]:
    """The screen in words: plates, roles, doses of each treatment, images. sample_given: whether a person or a file named the sample."""
    roles = ", ".join(f"{count} {role}" for role, count in layout["role"].value_counts(sort=False).items())
    lines = [f"{number(layout['plate'].nunique(), 'plate')} of {screen.plate_format} wells; {number(len(layout), 'well')}: {roles}",
             *_smaller_format(layout, screen.plate_format)]
    lines += _treatments(layout[layout["role"].isin(DOSED_ROLES)])
    sizes = ", ".join("x".join(map(str, shape)) for shape in shapes)
    lines.append(f"images: {sizes} pixels, {screen.bit_depth} bit, {number(planes, 'plane')}, channels "
                 f"{', '.join(channel.name for channel in screen.channels)}")
    if screen.sample == screen.name and not sample_given:
        lines.append(f"warning: the sample is taken to be '{screen.sample}'; name the cell line or patient with --sample")
    return lines


def _treatments(wells: pd.DataFrame) -> Iterator[str]:
    """A line per treatment, then one per combination."""
    second = wells["treatment_2"] if "treatment_2" in wells else pd.Series("", index=wells.index, dtype="str")
    for name, own in wells[second == ""].groupby("treatment"):
        yield f"{name}: {_doses(own, '')}, {number(int(own['replicate'].max()), 'replicate')}"
    for (first, other), own in wells[second != ""].groupby([wells["treatment"], second]):
        yield f"{first} + {other}: {_doses(own, '')} with {_doses(own, '_2')}, {number(len(own), 'well')}"


def _smaller_format(layout: pd.DataFrame, plate_format: int) -> list[str]:
    """A hint where the wells fill a smaller plate, or lie as those of one that are shifted: it is then the likelier one."""
    for plate, wells in add_row_column(layout).groupby("plate", sort=False):
        if doubt := format_doubt(wells, plate_format):
            return [f"warning: plate {plate} is taken as one of {doubt} (--plate-format)"]
    return []


def _doses(wells: pd.DataFrame, suffix: str) -> str:
    doses = wells[f"dose{suffix}"].dropna()
    if doses.empty:
        return "no dose"
    low, high, unit = doses.min(), doses.max(), wells.loc[doses.index[0], f"dose_unit{suffix}"]
    return f"{doses.nunique()} doses {low:g}-{high:g} {unit}" if low < high else f"1 dose, {low:g} {unit}"


def without_partner(layout: pd.DataFrame, files: pd.DataFrame) -> list[str]:
    """Warnings: wells with cells but no image, and images of wells that the layout has not."""
    imaged = set(zip(files["plate"], files["well"], strict=True))
    stated = list(zip(layout["plate"], layout["well"], strict=True))
    blind = [place for place, role in zip(stated, layout["role"], strict=True) if place not in imaged and role != "empty"]
    extra = sorted(imaged - set(stated))
    return [f"warning: {number(len(places), 'well')} {words} ({_some(places)}); {way_out}" for places, words, way_out in (
        (blind, "of the layout without an image", "copy the images, or take the wells out of the layout: validation refuses them"),
        (extra, "with images, but not in the layout", "add them to the layout, with role 'empty' if unused: validation refuses them"),
    ) if places]


def _some(places: Sequence[tuple[str, str]]) -> str:
    several = len({plate for plate, _ in places}) > 1
    return some((f"{plate} {well}" if several else well for plate, well in places), 8)


def plate_maps(layout: pd.DataFrame, files: pd.DataFrame, plate_format: int) -> list[str]:
    """The plates in letters, each pattern once."""
    patterns: dict[tuple[str, ...], list[str]] = {}
    for plate, wells in layout.groupby("plate"):
        imaged = set(files.loc[files["plate"] == plate, "well"])
        patterns.setdefault(tuple(_drawn(wells, imaged, plate_format)), []).append(str(plate))
    used = {mark for rows in patterns for row in rows for mark in row}
    legend = ", ".join(f"{mark} {role}" for role, mark in {**MARKS, "no image": NO_IMAGE}.items() if mark in used)
    lines = []
    for rows, plates in islice(patterns.items(), DRAWN):
        lines += [f"plate{'s' if len(plates) > 1 else ''} {', '.join(plates[:6])}{' ...' if len(plates) > 6 else ''}   ({legend})", *rows]
    rest = len(patterns) - DRAWN
    return [*lines, f"... and {number(rest, 'other pattern')} on other plates"] if rest > 0 else lines


def _drawn(wells: pd.DataFrame, imaged: set[str], plate_format: int) -> list[str]:
    rows, columns = PLATE_FORMATS[plate_format]
    wide, step = (2, 2) if columns > 24 else (3, 1)     # a column of a 1536-well plate has no room for each number
    marks = {(place["row"], place["column"]): MARKS[place["role"]] if place["well"] in imaged or place["role"] == "empty" else NO_IMAGE
             for place in add_row_column(wells).to_dict("records")}
    head = "    " + "".join(f"{column + 1:>{wide}}" + " " * wide * (step - 1) for column in range(0, columns, step))
    return [head.rstrip(), *((f"{row_letters(row):>3} " + "".join(f"{marks.get((row, column), ''):>{wide}}" for column in range(columns)))
                             .rstrip() for row in range(rows))]


def next_steps(screen: Screen, layout: pd.DataFrame, params_file: Path, *, planes: int) -> list[str]:
    """What comes next: the commands that list a model of the screen in params.yaml, and run it. planes: of its deepest stack."""
    if screen.controls != "both" and "readout" not in layout:
        return ["", "No model can learn from this screen alone: it has neither both kinds of controls nor a read-out (--readout FILE). "
                    "A model of the same sample can score it (docs/service.md)."]
    known = Params.read(params_file).recipes if params_file.is_file() else {}
    names = [channel.name for channel in screen.channels]
    recipe = "controls_mobilenet" if screen.controls == "both" else "viability"     # learns from control wells, or from a read-out
    fits = recipe in known and not missing_channels(known[recipe].input, names)
    fitting = [name for name in known if not missing_channels(known[name].input, names)]
    said = f"recipes that read its channels: {', '.join(fitting)}" if fitting else "no recipe reads its channels yet"
    derived = "" if fits else f" --planes {','.join(_planes(names, stacked=planes > 1))}"
    return ["", f"Next ({said}{'; --planes derives one that does' if derived else ''}):",
            f"python -m pipelines.add_model profile-{screen.name} --screen {screen.name} --recipe {recipe}{derived} "
            "--parent trunks/mobilenet_v2 --weights IMAGENET1K_V2", "dvc add data", "dvc repro"]


def _planes(names: Sequence[str], *, stacked: bool) -> list[str]:
    """Three network channels of the screen's: maximum, middle and maximum of one stained stack, or the channels in turn."""
    projected = {name.removesuffix(f"_{kind}") for name in names for kind in PROJECTIONS if name.endswith(f"_{kind}")}
    plain = sorted(projected) or list(names)
    if len(plain) == 1 and (stacked or projected):
        return [f"{plain[0]}:{kind}" for kind in ("mip", "mid", "mip")]
    return [f"{plain[place % len(plain)]}:{'mip' if stacked or projected else 'mid'}" for place in range(3)]
