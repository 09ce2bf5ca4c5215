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
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from models.errors import InputError
from models.plates.images import write_plate
from models.plates.layout import read_layout, write_layout
from models.plates.readers.platemaps import TREATMENTS_FILE
from models.plates.simulate.examples import Example, example_screens, further_examples, random_curves
from models.plates.simulate.imagesets import ExampleSet, example_imagesets
from models.wells import PLATE_FORMATS
from pipelines.command import run_command, whole_number
from pipelines.example_imagesets import make_imageset
from pipelines.screens import LAYOUT_FILE, SCREEN_FILE, name_problem, read_screen, whole_folder, write_screen


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
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        return f"{folder}: made, {len(screen.layout)} wells on {len(screen.plates)} plate(s), {size:.1f} MB"
    if read_screen(folder).source != screen.screen().source:
        return f"{folder}: already there, but made by another version; --force makes it again"
    return f"{folder}: already there"


def _from_layout(arguments: argparse.Namespace) -> Example:
    """Spheroids of one sample on the user's layout."""
    if not arguments.name:
        raise InputError("--layout needs --name, the name of the screen to make")
    if problem := name_problem(arguments.name):
        raise InputError(f"--name: {problem}")
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
