"""Make the example data: simulated screens with known truth, a few tens of megabytes.

    python -m pipelines.make_example [--out data] [--only patient-1] [--force]
    python -m pipelines.make_example --only combinations-a549
    python -m pipelines.make_example --layout my_layout.xlsx --name big --sample PAT_2 --plate-format 384 --size 512 --planes 30
    python -m pipelines.make_example --imageset hepg2 [--imageset l929] [--imageset liver]

The first form makes the screens of the demonstration, the second pairs of drugs with and without synergy. The third simulates spheroids
on any layout, with true curves drawn at random; the fourth the image sets of systems S3-S5. What is already there is left as it is. The
same command gives the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from models.errors import InputError
from models.plates.images import encode_tiff, write_archive, write_plate
from models.plates.layout import read_layout, write_layout
from models.plates.readers.platemaps import TREATMENTS_FILE
from models.plates.simulate.examples import Example, example_screens, further_examples, random_curves
from models.plates.simulate.imagesets import Drawn, ExampleSet, example_imagesets
from models.wells import PLATE_FORMATS
from pipelines.command import run_command, whole_number
from pipelines.imagesets import FILES, IMAGES_ARCHIVE, read_imageset, write_imageset
from pipelines.screens import LAYOUT_FILE, SCREEN_FILE, folder_of, read_screen, whole_folder, write_screen


def make_example(out: Path, screens: list[Example], *, force: bool = False, progress: bool = True) -> list[str]:
    """Write each screen to `out`/<name> unless it is there; returns a line per screen that says what was done."""
    missing = [screen for screen in screens if force or not is_complete(out / screen.name, screen)]
    with tqdm(total=sum(len(screen.plates) for screen in missing), desc="example plates", unit="plate",
              disable=not (progress and missing), leave=False) as bar:
        for screen in missing:
            with whole_folder(out / screen.name) as folder:
                for plate in screen.plates:
                    write_plate(folder / "images" / f"{plate}.zip", screen.members(plate))
                    bar.update()
                _write_tables(folder, screen)
    made = {screen.name for screen in missing}
    return [_said(out / screen.name, screen, made=screen.name in made) for screen in screens]


def is_complete(folder: Path, screen: Example) -> bool:
    """Whether every file of the screen is in `folder`. What is in them is not read: a person may have edited the layout."""
    files = [SCREEN_FILE, LAYOUT_FILE, "truth/wells.csv", "truth/curves.csv",
             *(f"images/{plate}.zip" for plate in screen.plates)]
    return all((folder / name).is_file() for name in files)


def _write_tables(folder: Path, screen: Example) -> None:
    write_layout(screen.full_layout(), folder / LAYOUT_FILE)
    (folder / "truth").mkdir()
    screen.truth().to_csv(folder / "truth" / "wells.csv", index=False, lineterminator="\n")
    screen.true_curves().to_csv(folder / "truth" / "curves.csv", index=False, lineterminator="\n")
    if screen.treatments is not None:
        screen.treatments.to_csv(folder / TREATMENTS_FILE, index=False, lineterminator="\n")
    write_screen(folder, screen.screen())


def _said(folder: Path, screen: Example, *, made: bool) -> str:
    if made:
        return f"{folder}: made, {len(screen.layout)} wells on {len(screen.plates)} plate(s), {_megabytes(folder):.1f} MB"
    return _already(folder, same=read_screen(folder).source == screen.screen().source)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _already(folder: Path, *, same: bool) -> str:
    return f"{folder}: already there" + ("" if same else ", but made by another version; --force makes it again")


def make_imageset(out: Path, example: ExampleSet, *, force: bool = False, progress: bool = True) -> str:
    """Write the set to `out`/<name> unless it is there; returns a line that says what was done.

    truth/images.csv: the true class of every image, and counted cells; truth/cells.csv: every cell, where the set counts them.
    """
    target = out / example.name
    if not force and all((target / name).is_file() for name in FILES):
        return _already(target, same=read_imageset(target).source == example.imageset.source)
    seen: dict[str, Drawn] = {}
    with whole_folder(target) as folder:
        write_archive(folder / IMAGES_ARCHIVE, _imageset_members(example, seen, progress=progress))
        truth, cells = _imageset_truth(seen)
        labels = truth["label"].where(~truth["image_id"].isin(example.unlabelled), "")
        table = example.wanted[["image_id", "group"]].assign(path=[example.path(name) for name in example.wanted["image_id"]],
                                                             label=labels.to_numpy())
        write_imageset(folder, example.imageset, table[["image_id", "path", "label", "group"]])
        (folder / "truth").mkdir()
        truth.to_csv(folder / "truth" / "images.csv", index=False, lineterminator="\n")
        if len(cells):
            cells.to_csv(folder / "truth" / "cells.csv", index=False, lineterminator="\n")
    return f"{target}: made, {len(seen)} images ({(labels != '').sum()} labelled), {_megabytes(target):.1f} MB"


def _imageset_members(example: ExampleSet, seen: dict[str, Drawn], *, progress: bool) -> Iterator[tuple[str, bytes]]:
    with tqdm(total=len(example.wanted), desc=example.name, unit="image", disable=not progress, leave=False) as bar:
        for image_id, drawn in example.images():
            seen[image_id] = drawn
            bar.update()
            yield example.path(image_id), encode_tiff(drawn.pixels)


def _imageset_truth(seen: dict[str, Drawn]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows: list[dict[str, Any]] = []
    for image_id, drawn in seen.items():
        counts = {} if drawn.cells is None else {state: int((drawn.cells["state"] == state).sum()) for state in ("living", "dead")}
        rows.append({"image_id": image_id, "label": drawn.label, **counts})
    cells = [drawn.cells.assign(image_id=image_id) for image_id, drawn in seen.items() if drawn.cells is not None]
    return pd.DataFrame(rows), pd.concat(cells, ignore_index=True) if cells else pd.DataFrame()


def _from_layout(arguments: argparse.Namespace) -> Example:
    """Spheroids of one sample on the user's layout."""
    if not arguments.name:
        raise InputError("--layout needs --name, the name of the screen to make")
    folder_of(arguments.name, arguments.out)    # refuses what is no name, before the layout is read
    layout = read_layout(arguments.layout, plate_format=arguments.plate_format)
    return Example(name=arguments.name, sample=arguments.sample, kind="patient", layout=layout,
                   curves=random_curves(layout, seed=arguments.seed), plate_format=arguments.plate_format, size=96, planes=3,
                   positive_control={"image": next(iter(layout.loc[layout["role"] == "positive", "treatment"]), "")},
                   seed=arguments.seed)


def _chosen_imagesets(arguments: argparse.Namespace) -> list[ExampleSet]:
    known = {example.name: example for example in example_imagesets(seed=arguments.seed)}
    if unknown := sorted(set(arguments.imageset) - set(known)):
        raise InputError(f"no example image set '{unknown[0]}'; known: {', '.join(known)}")
    return [replace(known[name], **({"size": arguments.size} if arguments.size else {})) for name in dict.fromkeys(arguments.imageset)]


def _chosen(arguments: argparse.Namespace) -> list[Example]:
    usual = [_from_layout(arguments)] if arguments.layout else example_screens(seed=arguments.seed)
    known = [*usual, *(further_examples(seed=arguments.seed) if arguments.only and not arguments.layout else [])]
    unknown = sorted(set(arguments.only or ()) - {screen.name for screen in known})
    if unknown:
        raise InputError(f"no example screen '{unknown[0]}'; known: {', '.join(screen.name for screen in known)}")
    sized = {name: value for name in ("size", "planes") if (value := getattr(arguments, name))}
    return [replace(screen, **sized) for screen in known if not arguments.only or screen.name in arguments.only]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.make_example", description="Make the simulated example data.")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder of the screens (default: data)")
    parser.add_argument("--only", action="append", metavar="SCREEN", help="make this screen only; may be repeated")
    parser.add_argument("--imageset", action="append", metavar="NAME", help="make this image set instead: hepg2, l929 or liver")
    parser.add_argument("--force", action="store_true", help="make again the screens that are already there")
    parser.add_argument("--seed", type=whole_number(0), default=1, help="seed of all random numbers (default: 1)")
    parser.add_argument("--size", type=whole_number(1), help="pixels of an image's side (default: 128 bright-field, 96 spheroids)")
    parser.add_argument("--planes", type=whole_number(1), help="planes of a spheroid stack (default: 3)")
    parser.add_argument("--layout", type=Path, help="simulate spheroids on this layout (CSV or XLSX)")
    parser.add_argument("--name", help="screen name for --layout")
    parser.add_argument("--sample", default="PAT_2", help="patient sample for --layout (default: PAT_2)")
    parser.add_argument("--plate-format", type=int, default=384, choices=sorted(PLATE_FORMATS),
                        help="wells of a plate for --layout (default: 384)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, make the screens, say what was done."""
    arguments = _arguments(argv)
    if arguments.imageset:
        print(*[make_imageset(arguments.out, example, force=arguments.force) for example in _chosen_imagesets(arguments)], sep="\n")
    else:
        print(*make_example(arguments.out, _chosen(arguments), force=arguments.force), sep="\n")


if __name__ == "__main__":
    run_command(main)
