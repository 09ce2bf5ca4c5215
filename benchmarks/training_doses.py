"""What the doses on a training plate are worth: a dilution series against doses that spread evenly over the effect.

    python -m benchmarks.training_doses [--line A549] [--plates 8]          after `make demo`

The same wells, replicates and number of doses; only the doses differ. Heads on the example's frozen trunk, trained by its recipe; each
reads new plates of six compounds with both controls (as in benchmarks.uncertainty). Printed: cross-fitted r2, the widest gap between
training levels, and by how much viability is off, by true viability.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.simulated import example_named, images_of, six_compounds
from benchmarks.uncertainty import FIRST_SEED
from models.dose_response import normalise_to_controls
from models.networks.evaluate import level_gap, model_metrics
from models.networks.fitting import fit_model
from models.networks.starts import read_start
from models.plates.simulate.brightfield import CELL_LINES
from models.plates.simulate.examples import Example
from pipelines.command import run_command
from pipelines.params import Params

BANDS = np.linspace(0, 1, 6)


def training_plates(line: str) -> Iterator[tuple[str, Example]]:
    """The example's training plate, and the same with doses whose viabilities lie evenly between those of its extremes."""
    example = example_named(line.lower())
    yield "dilution series", example
    doses, curve = sorted(example.layout["dose"].dropna().unique()), CELL_LINES[line].doxorubicin
    ends = curve.viability(np.array([doses[0], doses[-1]]))
    alive = np.linspace(min(float(ends[0]), 0.99), float(ends[1]), len(doses))
    even = curve.midpoint * ((1 - alive) / (alive - curve.bottom)) ** (1 / curve.slope)
    yield "evenly over the effect", replace(example, layout=example.layout.assign(
        dose=example.layout["dose"].map(dict(zip(doses, even, strict=True)))))


def errors(network: torch.nn.Module, plates: list[tuple[Example, torch.Tensor, pd.DataFrame]]) -> pd.DataFrame:
    """Treated wells of the plates with true viability and error."""
    found = []
    for example, pixels, wells in plates:
        with torch.inference_mode():
            read = wells[["plate", "well"]].assign(od=network(pixels)[:, 0].numpy().astype(float))
        scored = normalise_to_controls(example.full_layout().merge(read, on=["plate", "well"]), value="od")
        truth = example.truth().rename(columns={"viability": "true"})[["plate", "well", "true"]]
        treated = scored.merge(truth, on=["plate", "well"])[lambda rows: rows["role"] == "treated"]
        found.append(treated.assign(error=treated["viability"] - treated["true"]))
    return pd.concat(found, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--line", choices=sorted(CELL_LINES), default="A549")
    parser.add_argument("--plates", type=int, default=8, help="new plates of six compounds")
    parser.add_argument("--parent", type=Path, default=Path("artifacts/models/pretrain-brightfield"))
    arguments = parser.parse_args()
    recipe = Params.read("params.yaml").recipes["viability_small"]
    new = [six_compounds(arguments.line, seed=FIRST_SEED + 2 * number + 1) for number in range(arguments.plates)]
    pictures = [images_of(example, recipe.input) for example in new]
    plates = [(example, torch.from_numpy(images.pixels).float(), images.wells) for example, images in zip(new, pictures, strict=True)]
    rows = {}
    for name, example in training_plates(arguments.line):
        start = read_start(arguments.parent, recipe)
        fitted = fit_model(start.network, images_of(example, recipe.input), example.full_layout(), recipe)
        metrics = model_metrics(fitted.predictions, regression=True)
        wells = errors(fitted.network, plates)
        labels = [f"{low:.1f}-{high:.1f}" for low, high in itertools.pairwise(BANDS)]
        bands = wells.groupby(pd.cut(wells["true"], list(BANDS), include_lowest=True, labels=labels), observed=True)["error"].mean()
        rows[name] = {"r2_cv": metrics["r2_cv"], "level_gap": level_gap(fitted.predictions)["level_gap"],
                      "RMSE": float((wells["error"] ** 2).mean() ** 0.5), **bands.to_dict()}
    print(pd.DataFrame(rows).T.round(3).to_string())


if __name__ == "__main__":
    run_command(main)
