"""Stage `prepare`: a screen's plate archives -> model-ready arrays, one file a plate.

The first cell of a screen: it refuses, with the findings, a screen that `validate` did not accept.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from models.errors import ScreenError
from models.plates.images import PlateArchive
from models.plates.prepare import InputSpec, prepare_plate, save_prepared
from pipelines.command import run_command
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
        with PlateArchive(path) as archive, tqdm(total=archive.members["well"].nunique(), unit="well", desc=f"prepare {path.stem}") as bar:
            images = prepare_plate(archive, spec, channels=[channel.name for channel in screen.channels],
                                   on_well=partial(_tick, bar))
        save_prepared(images, out / f"{path.stem}.safetensors")
        count += len(images)
    (out / "source.json").write_text(json.dumps({"data_md5": data_md5(folder)}) + "\n")
    return count


def _tick(bar: tqdm[NoReturn], _well: str) -> None:
    bar.update()


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("screen", help="name of the screen, as in params.yaml")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="the screen's folder")
    parser.add_argument("--verdict", type=Path, required=True, help="what `validate` said of it")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    require_accepted(arguments.verdict)
    params = Params.read(arguments.params)
    count = run(arguments.data, params.inputs[params.screens[arguments.screen].input], arguments.out)
    print(f"{arguments.screen}: {count} wells and sites ready in {arguments.out}")


if __name__ == "__main__":
    run_command(main)
