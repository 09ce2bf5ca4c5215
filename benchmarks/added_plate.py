"""What a plate costs that is added to a screen: processor seconds of the stages `prepare` and `score` from scratch, with a plate more, and
with a well that is left out. Noise in the place of cells: 96 images a plate.

    python -m benchmarks.added_plate [--plates 8] [--pixels 1024] [--trunk mobilenet_v2]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from benchmarks.many_models import SAMPLE, random_head, write_models
from models.plates.images import member_name, write_plate
from models.plates.layout import write_layout
from models.plates.simulate.examples import Example, example_screens
from pipelines.screens import write_screen
from validation.verdicts import Verdict, write_verdict

ROOT = Path(__file__).parents[1]
NAME = "campaign"


def write_data(folder: Path, example: Example, plates: Iterable[str], *, pixels: int, left_out: int) -> None:
    """The screen with these plates, and so many wells left out; archives that are there stay."""
    own = example.full_layout()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, plate in enumerate(plates):
        if not (path := folder / "images" / f"{plate}.zip").is_file():
            rng = np.random.default_rng(number)
            write_plate(path, ((member_name(well), rng.integers(0, 255, (pixels, pixels), np.uint8)) for well in own["well"]))
    layout = pd.concat([own.assign(plate=plate) for plate in plates], ignore_index=True)
    out = layout.index < left_out
    write_layout(layout.assign(excluded=out, exclusion_reason=np.where(out, "a bubble", "")), folder / "layout.csv")
    write_screen(folder, replace(example.screen(), name=NAME, sample=SAMPLE))


def seconds(*words: str | Path) -> float:
    """Processor seconds of a stage."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", *map(str, words)], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_stages(work: Path) -> tuple[float, float]:
    """Processor seconds of `prepare` and of `score`."""
    common = (NAME, "--params", work / "params.yaml", "--data", work / "data" / NAME)
    prepared, kept = work / "prepared", work / "kept"
    return (seconds("pipelines.prepare", *common, "--verdict", work / "verdict.json", "--out", prepared, "--kept", kept / "prepared"),
            seconds("pipelines.score", *common, "--prepared", prepared, "--bundle", work / "models" / "m000", "--out", work / "scores",
                    "--kept", kept / "features"))


def main() -> None:
    """Command line: makes plates and a model in a temporary folder, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plates", type=int, default=8, help="plates at first")
    parser.add_argument("--pixels", type=int, default=1024, help="side of an image")
    parser.add_argument("--trunk", default="mobilenet_v2", help="the network's trunk")
    arguments = parser.parse_args()
    example = next(example for example in example_screens() if example.name == "a549")
    names = [f"P{number + 1:03d}" for number in range(arguments.plates + 1)]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        write_models(work, count=1, trunk=arguments.trunk, bf16=False, head=random_head)
        write_verdict(Verdict(screen=NAME), work / "verdict.json")
        inputs = {"bright": {"planes": ["brightfield:mid"] * 3, "size": 224}}
        (work / "params.yaml").write_text(yaml.safe_dump({"screens": {NAME: {"input": "bright"}}, "inputs": inputs, "recipes": {},
                                                          "models": {}, "score": {"device": "cpu"}}))
        screen = work / "data" / NAME
        print("| | `prepare` | `score` |\n|---|---|---|")
        for what, plates, left_out in ((f"{arguments.plates} plates from scratch", names[:-1], 0), ("a plate added", names, 0),
                                       ("a well left out", names, 1)):
            write_data(screen, example, plates, pixels=arguments.pixels, left_out=left_out)
            print("| {} | {:.1f} | {:.1f} |".format(what, *run_stages(work)), flush=True)


if __name__ == "__main__":
    main()
