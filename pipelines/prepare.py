"""Stage `prepare`: a screen's plate archives -> model-ready arrays, one file a plate.

The first cell of a screen: it refuses, with the findings, a screen that `validate` did not accept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from models.errors import ScreenError
from models.plates.images import PlateArchive
from models.plates.prepare import InputSpec, prepare_plate, save_prepared
from pipelines.command import add_params, run_command
from pipelines.lineage import data_md5
from pipelines.params import Params
from pipelines.screens import read_screen
from validation.verdicts import require_accepted


def run(folder: Path, spec: InputSpec, out: Path) -> int:
    """Prepare every plate of the screen in `folder` into `out`; returns the number of wells and sites.

    Writes <plate>.safetensors per plate and source.json (data_md5 of what it was made from).
    """
    screen = read_screen(folder)
    archives = sorted((folder / "images").glob("*.zip"))
    if not archives:
        raise ScreenError(f"{folder / 'images'} holds no plate archive; `python -m pipelines.add_screen` makes them from a folder")
    count = 0
    for path in archives:
        with PlateArchive(path) as archive, progress(archive.members["well"].nunique(), unit="well", name=path.stem) as on_well:
            images = prepare_plate(archive, spec, channels=[channel.name for channel in screen.channels], on_well=on_well)
        save_prepared(images, out / f"{path.stem}.safetensors")
        count += len(images)
    (out / "source.json").write_text(json.dumps({"data_md5": data_md5(folder)}) + "\n")
    return count


@contextmanager
def progress(total: int, *, unit: str, name: str) -> Iterator[Callable[[str], None]]:
    """A bar, and what to call with each of the wells or images that is done."""
    with tqdm(total=total, unit=unit, desc=f"prepare {name}") as bar:
        def tick(_: str) -> None:
            bar.update()

        yield tick


def read_arguments(description: str | None, *, what: str) -> argparse.Namespace:
    """The command line of a stage that prepares `what`: name, params, data and out. Raises ScreenError for what `validate` refused."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("name", help=f"name of the {what}, as in params.yaml")
    add_params(parser)
    parser.add_argument("--data", type=Path, required=True, help=f"the folder of the {what}")
    parser.add_argument("--verdict", type=Path, required=True, help="what `validate` said of it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the prepared plates")
    arguments = parser.parse_args()
    require_accepted(arguments.verdict)
    return arguments


def main() -> None:
    """Command line of the stage."""
    arguments = read_arguments(__doc__, what="screen")
    params = Params.read(arguments.params)
    count = run(arguments.data, params.inputs[params.screens[arguments.name].input], arguments.out)
    print(f"{arguments.name}: {count} wells and sites ready in {arguments.out}")


if __name__ == "__main__":
    run_command(main)
