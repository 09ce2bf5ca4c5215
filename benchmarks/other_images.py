"""Are images of another kind told from those that a classifier learned from? By their looks (models/networks/looks.py), set by set.

    python -m benchmarks.other_images

Simulated sets of S3 to S5 and, where there are any (DOSEWELL_SHARED), crops of real cells in a counting chamber, each as its recipe is fed
it. Printed for each: the share of images that is called unknown, and * where the set as a whole is told. First its own, cross-fitted by
group in fifths; then the same images changed, noise, photographs, and images of the other sets.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.at_hand import SHARED, bring_in_cells
from models.networks.looks import FOLDS, Looks, looks_of
from models.plates.imageset import ImageArchive, prepare_image
from models.plates.prepare import InputSpec
from models.plates.simulate.imagesets import example_imagesets
from pipelines.command import run_command
from pipelines.imagesets import IMAGES_ARCHIVE
from pipelines.params import Params

RECIPES = {"hepg2": "treatment_small", "l929": "toxicity_small", "liver": "tumour", "livedead": "cells_28"}
MOST, SHOWN = 700, 60       # images that a set is made of; that are changed
Pixels = np.ndarray


def _zoomed(image: Pixels, factor: float) -> Pixels:
    """The middle, larger; or smaller, mirrored at its borders."""
    height, width = image.shape[:2]
    small = np.asarray(Image.fromarray(image).resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR))
    if factor > 1:
        top, left = (small.shape[0] - height) // 2, (small.shape[1] - width) // 2
        return small[top:top + height, left:left + width]
    return np.pad(small, [(0, height - small.shape[0]), (0, width - small.shape[1]), (0, 0)][:image.ndim], mode="symmetric")


def _jpeg(image: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return np.asarray(Image.open(buffer))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "saved as JPEG, quality 90": _jpeg,
    "black and white exchanged": lambda image: 255 - image, "twice as large": lambda image: _zoomed(image, 2),
    "half as large": lambda image: _zoomed(image, 0.5), "a third of the light": lambda image: (0.3 * image).astype(np.uint8),
    "out of focus": lambda image: gaussian_filter(image, [len(image) / 40] * 2 + [0] * (image.ndim - 2)),
    "noise": lambda image: np.random.default_rng(0).integers(0, 255, image.shape).astype(np.uint8)}


def sets_at_hand() -> dict[str, tuple[list[Pixels], np.ndarray]]:
    """Name -> (images, group of each)."""
    found = {one.name: ([drawn.pixels for _, drawn in one.images()], one.wanted["group"].to_numpy()) for one in example_imagesets()}
    if (SHARED / "livedead").is_dir():
        with tempfile.TemporaryDirectory() as folder:
            _, table, place = bring_in_cells(Path(folder))
            chosen = table.sample(MOST, random_state=0)
            with ImageArchive(place / IMAGES_ARCHIVE) as archive:
                found["livedead"] = [archive.read(path) for path in chosen["path"]], chosen["group"].to_numpy()
    return found


def photographs() -> list[Pixels]:
    """Those that scikit-image brings."""
    from skimage import data

    return [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "camera", "page", "coins", "text", "brick")]


def _prepared(images: list[Pixels], spec: InputSpec) -> Pixels:
    """(N, C, S, S) as the network is fed them."""
    return np.stack([prepare_image(np.ascontiguousarray(image), spec) for image in images]).astype(np.float16)


def _own(pixels: Pixels, groups: np.ndarray) -> str:
    places = np.unique(groups, return_inverse=True)[1]
    fold = np.random.default_rng(1).permutation(places.max() + 1)[places] % FOLDS
    parts = [(looks_of(pixels[fold != own], groups[fold != own]), pixels[fold == own]) for own in range(FOLDS)]
    far = [(found.unlikeness(held), found) for found, held in parts if found is not None]
    told = sum(found.is_other_kind(values) for values, found in far)
    return f"{np.concatenate([values > 1 for values, _ in far]).mean():.3f}" + "*" * told


def _told(looks: Looks, pixels: Pixels) -> str:
    values = looks.unlikeness(pixels)
    return f"{(values > 1).mean():.2f}" + "*" * looks.is_other_kind(values)


def main() -> None:
    """Command line."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    recipes, sets = Params.read("params.yaml").recipes, sets_at_hand()
    table: dict[str, dict[str, str]] = {}
    for name, (images, groups) in sets.items():
        spec = recipes[RECIPES[name]].input
        own = _prepared(images, spec)
        looks = looks_of(own, groups)
        assert looks is not None
        others = {words: [change(image) for image in images[:SHOWN]] for words, change in CHANGES.items()} | {"photographs": photographs()}
        others |= {f"images of {other}": pictures[:SHOWN] for other, (pictures, _) in sets.items() if other != name}
        table[name] = {"its own, groups left out": _own(own, groups)} | {words: _told(looks, _prepared(found, spec))
                                                                         for words, found in others.items()}
    print(pd.DataFrame(table).fillna("").to_markdown())


if __name__ == "__main__":
    run_command(main)
