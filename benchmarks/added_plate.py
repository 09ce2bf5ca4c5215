"""What a plate costs that is added to a screen: processor seconds of `add_screen --force` and of the stages `prepare` and `score` from
scratch, with a plate more, and with a well that is left out. Noise in the place of cells: 96 images a plate.

    python -m benchmarks.added_plate [--plates 8] [--pixels 1024] [--trunk mobilenet_v2]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from benchmarks.many_models import random_head, write_models
from benchmarks.simulated import example_named
from benchmarks.timing import command_seconds
from models.plates.images import encode_tiff
from models.plates.layout import write_layout
from pipelines.command import run_command
from tests.serving.tiny import SAMPLE
from validation.verdicts import Verdict, write_verdict

ROOT = Path(__file__).parents[1]
NAME = "campaign"


def write_source(folder: Path, layout: pd.DataFrame, plates: Iterable[str], *, pixels: int, left_out: int) -> None:
    """A folder of images for each plate, and a platemap in which so many wells are left out; images that are there stay."""
    for number, plate in enumerate(plates):
        if (folder / plate).is_dir():
            continue
        (folder / plate).mkdir(parents=True)
        rng = np.random.default_rng(number)
        for well in layout["well"]:
            (folder / plate / f"{well}.tif").write_bytes(encode_tiff(rng.integers(0, 255, (pixels, pixels), np.uint8)))
    table = pd.concat([layout.assign(plate=plate) for plate in plates], ignore_index=True)
    out = table.index < left_out
    write_layout(table.assign(excluded=out, exclusion_reason=np.where(out, "a bubble", "")), folder / "platemap.csv")


def seconds(*words: str | Path) -> float:
    """Processor seconds of a stage."""
    return command_seconds(sys.executable, "-m", *words, folder=ROOT)


def run_stages(work: Path) -> tuple[float, float, float]:
    """Processor seconds of `add_screen`, `prepare` and `score`."""
    common = (NAME, "--params", work / "params.yaml", "--data", work / "data" / NAME)
    prepared, kept = work / "prepared", work / "kept"
    return (seconds("pipelines.add_screen", work / "source", "--name", NAME, "--pattern", "{plate}/{well}.tif",
                    "--sample", SAMPLE, "--out", work / "data", "--force"),
            seconds("pipelines.prepare", *common, "--verdict", work / "verdict.json", "--out", prepared, "--kept", kept / "prepared"),
            seconds("pipelines.score", *common, "--prepared", prepared, "--bundle", work / "models" / "m000", "--out", work / "scores",
                    "--kept", kept / "features"))


def main() -> None:
    """Command line: makes plates and a model in a temporary folder, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plates", type=int, default=8, help="plates at first")
    parser.add_argument("--pixels", type=int, default=1024, help="side of an image")
    parser.add_argument("--trunk", default="mobilenet_v2", help="the network's trunk")
    arguments = parser.parse_args()
    layout = example_named("a549").full_layout()
    names = [f"P{number + 1:03d}" for number in range(arguments.plates + 1)]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        write_models(work, count=1, trunk=arguments.trunk, bf16=False, head=random_head)
        write_verdict(Verdict(screen=NAME), work / "verdict.json")
        inputs = {"bright": {"planes": ["brightfield:mid"] * 3, "size": 224}}
        (work / "params.yaml").write_text(yaml.safe_dump({"screens": {NAME: {"input": "bright"}}, "inputs": inputs, "recipes": {},
                                                          "models": {}, "score": {"device": "cpu"}}), encoding="utf-8")
        print("| | `add_screen` | `prepare` | `score` |\n|---|---|---|---|")
        for what, plates, left_out in ((f"{arguments.plates} plates from scratch", names[:-1], 0), ("a plate added", names, 0),
                                       ("a well left out", names, 1)):
            write_source(work / "source", layout, plates, pixels=arguments.pixels, left_out=left_out)
            print("| {} | {:.1f} | {:.1f} | {:.1f} |".format(what, *run_stages(work)), flush=True)


if __name__ == "__main__":
    run_command(main)
