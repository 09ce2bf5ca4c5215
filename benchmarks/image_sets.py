"""Systems S3, S4 and S5 on simulated image sets of known truth, and single living and dead cells on real images.

    python -m benchmarks.image_sets [treatment] [toxicity] [tumour] [livedead] [--seeds 5]

treatment: networks side by side (metrics of cross-fitted images, analysis of variance); MobileNetV2 needs its weights (DOSEWELL_WEIGHTS).
tumour: the recipe of the paper, and one that trains longer. toxicity: few labelled images, and what a GAN, co-training and both add, over
seeds, judged on other images.
livedead: crops split by image, needs livedead/ (DOSEWELL_SHARED); a recipe chosen on three quarters of the images, judged on the rest,
beside a frozen MobileNetV2 of ImageNet with a linear head.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import torch
from scipy import stats
from tqdm import tqdm

from benchmarks.at_hand import bring_in_cells, have_imagenet, imagenet_network
from models.networks.evaluate import class_metrics
from models.networks.fitting import Fitted, fit_model
from models.networks.heads import build_network
from models.networks.predict import output_columns
from models.networks.recipe import Augmentation, Recipe
from models.networks.sources import PixelSource
from models.networks.train import predict_rows
from models.plates.images import WellImages
from models.plates.imageset import ImageArchive, as_layout, prepare_image, prepare_images
from models.plates.simulate.imagesets import ExampleSet, toxicity_set, treatment_set, tumour_set
from pipelines.command import run_command
from pipelines.compare_networks import NetworkRun, compare_networks
from pipelines.imagesets import IMAGES_ARCHIVE
from pipelines.params import Params

LABELLED, POOL, JUDGED = 24, 80, 120    # images of the toxicity comparison: labelled, unlabelled, and others that judge
ARMS: dict[str, tuple[str, ...]] = {"labelled only": (), "GAN": ("gan",), "co-training": ("cotraining",),
                                    "GAN and co-training": ("gan", "cotraining")}


def drawn(example: ExampleSet, recipe: Recipe) -> tuple[WellImages, pd.DataFrame]:
    """A simulated set as the stage `prepare` would make it, and its labels, with all that is true."""
    rows = [(name, one.label, prepare_image(one.pixels, recipe.input)) for name, one in example.images()]
    names, labels, pixels = zip(*rows, strict=True)
    table = pd.DataFrame({"image_id": names, "label": labels, "group": example.wanted["group"].to_numpy()})
    wells = pd.DataFrame({"plate": example.name, "well": names, "site": 1})
    return WellImages(wells, np.stack(pixels).astype(np.float16), recipe.input.planes), as_layout(table, example.imageset)


def fitted(recipe: Recipe, images: WellImages, layout: pd.DataFrame, *, name: str) -> Fitted:
    with tqdm(unit="epoch", desc=name, leave=False) as bar:
        network = imagenet_network(recipe) if recipe.trunk.name == "mobilenet_v2" else build_network(recipe)
        return fit_model(network, images, layout, recipe, device="cpu", on_epoch=lambda run, record: _tick(bar))


def _tick(bar: tqdm[NoReturn]) -> None:
    bar.update()


def shown(predictions: pd.DataFrame, suffix: str = "") -> dict[str, float]:
    values = (predictions[f"{column}{suffix}"].to_numpy(float) for column in ("prediction", "logit"))
    return class_metrics(predictions["target"].to_numpy(float), *values)


def treatment(recipes: dict[str, Recipe], arguments: argparse.Namespace) -> None:
    runs = []
    for name in ["treatment_small"] + ["treatment_mobilenet"] * have_imagenet():
        images, layout = drawn(treatment_set(), recipes[name])
        for seed in range(1, arguments.seeds + 1):
            recipe = replace(recipes[name], seed=seed)
            runs.append(NetworkRun(f"{name}, seed {seed}", "hepg2", name, recipe,
                                   fitted(recipe, images, layout, name=f"{name} {seed}").predictions))
    networks, anova = compare_networks(runs)
    print("\ntreatment, simulated, cross-fitted\n" + networks.drop(columns=["system", "imageset", "trunk"]).round(3).to_string(index=False))
    print(anova.round(4).to_string(index=False))


def tumour(recipes: dict[str, Recipe], arguments: argparse.Namespace) -> None:
    images, layout = drawn(tumour_set(), recipes["tumour"])
    rows = {f"{name}, seed {seed}": shown(
        fitted(replace(recipes[name], seed=seed), images, layout, name=f"{name} {seed}").predictions, "_cv")
            for name in ("tumour", "tumour_longer") for seed in range(1, arguments.seeds + 1)}
    print("\ntumour, simulated, cross-fitted\n" + pd.DataFrame(rows).round(3).to_string())


def toxicity(recipes: dict[str, Recipe], arguments: argparse.Namespace) -> None:
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as workers:
        work = [workers.submit(arms_of_seed, recipes[arguments.toxicity_recipe], seed, arguments.arms)
                for seed in range(1, arguments.seeds + 1)]
        rows = []
        for done in as_completed(work):
            rows += done.result()
            print(*done.result(), sep="\n", flush=True)
    report_arms(pd.DataFrame(rows), arguments.arms)


def arms_of_seed(base: Recipe, seed: int, arms: list[str]) -> list[dict[str, str | float]]:
    """Accuracy of every arm on images that took no part, from the same labelled and unlabelled ones."""
    torch.set_num_threads(1)
    images, layout = drawn(toxicity_set(labelled=LABELLED + POOL + JUDGED, unlabelled=0, seed=seed), base)
    known = np.arange(len(layout)) < LABELLED
    judged = torch.arange(LABELLED + POOL, len(layout))
    taught = layout.assign(target=layout["target"].where(known)).iloc[:LABELLED + POOL]
    rows: list[dict[str, str | float]] = []
    for arm in arms:
        kept = ARMS[arm]
        augmentation = replace(base.augmentation, gan=base.augmentation.gan if "gan" in kept else None,
                               cotraining=base.augmentation.cotraining if "cotraining" in kept else None)
        recipe = replace(base, seed=seed, augmentation=augmentation, split=replace(base.split, folds=0, validation=0.0))
        network = fitted(recipe, images, taught, name=f"seed {seed}, {arm}").network
        outputs = predict_rows(network, PixelSource(torch.from_numpy(images.pixels), Augmentation(), torch.device("cpu")), judged)
        said = output_columns(outputs.numpy(), regression=False)["logit"] > 0
        rows.append({"seed": seed, "arm": arm, "accuracy": float(np.mean(said == (layout["target"].to_numpy()[judged.numpy()] > 0.5)))})
    return rows


def report_arms(table: pd.DataFrame, arms: list[str]) -> None:
    """Accuracy of each arm, and its difference from the first over seeds: mean and 95 % interval (t, paired by seed)."""
    wide = table.pivot_table(index="seed", columns="arm", values="accuracy")[arms]
    print("\ntoxicity, simulated, accuracy on other images\n" + wide.round(3).to_string())
    for arm in arms[1:]:
        difference = wide[arm] - wide[arms[0]]
        half = stats.t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference))
        mean = difference.mean()
        print(f"{arm}: {wide[arm].mean():.3f}, difference {mean:+.3f} (95 % interval {mean - half:+.3f} to {mean + half:+.3f})")


def livedead(recipes: dict[str, Recipe], arguments: argparse.Namespace) -> None:
    frozen = replace(recipes["treatment_mobilenet"], split=recipes["cells_28"].split, augmentation=Augmentation(flip=True, views=2))
    with tempfile.TemporaryDirectory() as folder:
        imageset, table, place = bring_in_cells(Path(folder))
        for name, recipe in {"cells_28": recipes["cells_28"], **({"frozen MobileNetV2": frozen} if have_imagenet() else {})}.items():
            with ImageArchive(place / IMAGES_ARCHIVE) as archive:
                images = prepare_images(archive, table, recipe.input, name=imageset.name)
            once = replace(recipe, split=replace(recipe.split, folds=0))
            report_held(fitted(once, images, as_layout(table, imageset), name=name).predictions, name)


def report_held(found: pd.DataFrame, name: str) -> None:
    held = found[found["part"] == "test"]
    rows = {f"{held['group'].nunique()} images, {len(held)} cells": shown(held)}
    print(f"\nlivedead, {name}, crops of images that the model had not seen\n" + pd.DataFrame(rows).round(4).to_string())
    print("95 % interval on the test images, drawn by image: " + ", ".join(
        f"{metric} {low:.3f} to {high:.3f}" for metric, (low, high) in bootstrap(held).items()))


def bootstrap(held: pd.DataFrame, *, times: int = 1000) -> dict[str, tuple[float, float]]:
    """95 % interval of accuracy and AUC over images drawn with replacement, all cells of an image together."""
    rng, of_image = np.random.default_rng(1), [rows for _, rows in held.groupby("group")]
    drawn_ = [shown(pd.concat([of_image[place] for place in rng.integers(0, len(of_image), len(of_image))])) for _ in range(times)]
    low, high = np.percentile([[one["accuracy"], one["auroc"]] for one in drawn_], [2.5, 97.5], axis=0)
    return {name: (low[place], high[place]) for place, name in enumerate(("accuracy", "AUC"))}


def main() -> None:
    parts: dict[str, Callable[[dict[str, Recipe], argparse.Namespace], None]] = {
        "treatment": treatment, "toxicity": toxicity, "tumour": tumour, "livedead": livedead}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *parts], help="default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1, help="processes of the toxicity part")
    parser.add_argument("--toxicity-recipe", default="toxicity_small", help="toxicity: the paper's size, hours on a CPU")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS),
                        help="of the toxicity part; the first is compared with")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipes = dict(Params.read("params.yaml").recipes)
    for name in arguments.parts or list(parts):
        parts[name](recipes, arguments)


if __name__ == "__main__":
    run_command(main)
