"""New simulated plates of the example's cell lines and patients, and the models that `make demo` trained for them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from models.networks.bundle import trunk_finder
from models.networks.predict import Predictor, load_predictor
from models.plates.images import PlateArchive, WellImages, write_plate
from models.plates.prepare import InputSpec, join_images, prepare_plate
from models.plates.simulate.brightfield import CELL_LINES
from models.plates.simulate.examples import Example, example_screens, random_curves

KILL = "staurosporine"      # the positive control of patients


def example_named(name: str) -> Example:
    """One of the example's screens."""
    return next(screen for screen in example_screens() if screen.name == name)


def six_compounds(line: str, *, seed: int) -> Example:
    """A plate of a cell line with both controls and six compounds in duplicate: one whose curve is the line's own, the others' random."""
    other = example_named("heldout-a549")
    curves = random_curves(other.layout, seed=seed) | {"doxorubicin": CELL_LINES[line].doxorubicin}
    return replace(other, sample=line, lines={line: CELL_LINES[line]}, curves=curves, seed=seed)


def another_patient(sample: str, *, seed: int) -> Example:
    """Another patient on the layout of the example's first one: another look of nuclei and spheroids, and random curves."""
    first = example_named("patient-1")
    layout = first.layout.assign(plate=first.layout["plate"].str.replace("PAT_1", sample))
    return replace(first, name=sample.lower(), sample=sample, layout=layout, seed=seed,
                   curves={**random_curves(layout, seed=seed), KILL: first.curves[KILL]})


def images_of(example: Example, spec: InputSpec) -> WellImages:
    """The plates' images as a network is fed them."""
    with tempfile.TemporaryDirectory() as folder:
        plates = []
        for plate in example.plates:
            write_plate(path := Path(folder) / f"{plate}.zip", example.members(plate))
            with PlateArchive(path) as archive:
                plates.append(prepare_plate(archive, spec, channels=[channel.name for channel in example.screen().channels]))
    return join_images(plates)


def predictor_of(models: Path, name: str) -> Predictor:
    """A model of the folder `artifacts/models`, on the CPU."""
    return load_predictor(models / name, find_trunk=trunk_finder([models, models.parent / "trunks"]), device="cpu")
