"""The example image sets of systems S3-S5, with known truth and as many images as their papers have.

Images of one group (a dish, a patient) share their look and never straddle a split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from models.plates.imageset import ImageSet
from models.plates.simulate.fibroblasts import draw_fibroblasts
from models.plates.simulate.fluorescence import draw_fluorescence
from models.plates.simulate.lesions import draw_lesion

VERSION = 1         # raise when the simulation changes, so that older example data is told apart
TOXIC_ABOVE = 0.5   # share of dead cells: grades 3 and 4 of ISO 10993-5


@dataclass(frozen=True)
class Drawn:
    """One image. pixels (H, W) or (H, W, 3) uint8; label: its true class; cells: row, column, radius, state of each, where counted."""

    pixels: np.ndarray
    label: str
    cells: pd.DataFrame | None = None


@dataclass(frozen=True, kw_only=True)
class ExampleSet:
    """A simulated image set. wanted: image_id -> (true class or "" where the drawing decides, group); draw: of one image.

    unlabelled: images whose label images.csv leaves out; only the truth has it.
    """

    imageset: ImageSet
    wanted: pd.DataFrame
    draw: Callable[[str, str, int], Drawn]
    unlabelled: frozenset[str] = field(default_factory=frozenset)
    size: int

    @property
    def name(self) -> str:
        """Of the set."""
        return self.imageset.name

    def images(self) -> Iterator[tuple[str, Drawn]]:
        """(image_id, image) of every row, in order."""
        for row in self.wanted.itertuples(index=False):
            yield str(row.image_id), self.draw(str(row.image_id), str(row.label), self.size)

    def path(self, image_id: str) -> str:
        """Where it lies in images.zip."""
        return f"{image_id}.tif"


def example_imagesets(*, seed: int = 1) -> list[ExampleSet]:
    """One for each of the systems treatment, toxicity and tumour."""
    return [treatment_set(seed=seed), toxicity_set(seed=seed), tumour_set(seed=seed)]


def treatment_set(*, untreated: int = 123, treated: int = 80, fields: int = 3, seed: int = 1, size: int = 224) -> ExampleSet:
    """System S3: 203 images, `fields` of each dish; a dish was treated or not."""
    wanted = _grouped({"untreated": untreated, "treated": treated}, name="hepg2", group="dish", of_each=fields)
    groups = dict(zip(wanted["image_id"], wanted["group"], strict=True))

    def draw(image_id: str, label: str, size: int) -> Drawn:
        return Drawn(draw_fluorescence(treated=label == "treated", dish=_rng(seed, groups[image_id]), rng=_rng(seed, image_id), size=size),
                     label)

    return ExampleSet(imageset=_describe("hepg2", "HepG2", ("treated", "untreated"), seed, stain="DNA blue, cytoplasm green",
                                         assay="treated by a drug on nanocarriers, or not", magnification=20.0, pixel_size_um=0.65),
                      wanted=wanted, draw=draw, size=size)


def toxicity_set(*, labelled: int = 35, unlabelled: int = 150, seed: int = 1, size: int = 224, name: str = "l929") -> ExampleSet:
    """System S4: 35 labelled and 150 unlabelled images; toxic where more than half of the counted cells are dead."""
    count = labelled + unlabelled
    names = [f"{name}-{number:03d}" for number in range(1, count + 1)]
    wanted = pd.DataFrame({"image_id": names, "label": "", "group": names})

    def draw(image_id: str, label: str, size: int) -> Drawn:
        rng = _rng(seed, image_id)
        pixels, cells = draw_fibroblasts(dead_share=rng.uniform(0.02, 0.98), rng=rng, size=size)
        return Drawn(pixels, "toxic" if (cells["state"] == "dead").mean() > TOXIC_ABOVE else "nontoxic", cells)

    return ExampleSet(imageset=_describe(name, "L-929", ("toxic", "nontoxic"), seed, organism="mouse", assay="extract test, ISO 10993-5",
                                         magnification=10.0, pixel_size_um=1.3),
                      wanted=wanted, draw=draw, unlabelled=frozenset(names[labelled:]), size=size)


def tumour_set(*, seed: int = 1, size: int = 128) -> ExampleSet:
    """System S5: 136 images, two of each patient."""
    wanted = _grouped({"malignant": 68, "benign": 68}, name="liver", group="case", of_each=2)
    groups = dict(zip(wanted["image_id"], wanted["group"], strict=True))

    def draw(image_id: str, label: str, size: int) -> Drawn:
        return Drawn(draw_lesion(malignant=label == "malignant", patient=_rng(seed, groups[image_id]), rng=_rng(seed, image_id), size=size),
                     label)

    return ExampleSet(imageset=_describe("liver", "liver tumours", ("malignant", "benign"), seed, kind="patient",
                                         assay="section with one lesion"),
                      wanted=wanted, draw=draw, size=size)


def _grouped(counts: dict[str, int], *, name: str, group: str, of_each: int) -> pd.DataFrame:
    rows, number, groups = [], 0, 0
    for label, count in counts.items():
        for place in range(count):
            groups += place % of_each == 0
            rows.append({"image_id": f"{name}-{(number := number + 1):03d}", "label": label, "group": f"{group}-{groups:03d}"})
    return pd.DataFrame(rows)


def _describe(name: str, sample: str, classes: tuple[str, str], seed: int, **fields: object) -> ImageSet:
    return ImageSet.from_dict({"name": name, "sample": sample, "classes": list(classes), "camera": "simulated", **fields,
                               "source": f"simulated by pipelines.make_example, version {VERSION}, seed {seed}"})


def _rng(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])
