"""How many wells does a model need? Its head trained on ever more of them, again and again, and judged by wells that it did not see.

    python -m pipelines.sample_size viability-A549 [--draws 30] [--sizes 6] [--out artifacts/sample_size]

Each draw holds a third of the split units out and teaches a head with the first few of the others, then with more, then with all; as the
stage `train` would, but without validation wells. A hundred heads and more on the features of one frozen trunk train as one batched
computation. Writes <model>.csv (a row per draw and size), <model>.png, and prints what the last wells brought: whether a plate wants more
controls, or a line more wells with a read-out, or fewer would do.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from models.dose_response.plots import GREY, PALETTE
from models.errors import InputError
from models.networks.evaluate import class_metrics, control_metrics, regression_metrics
from models.networks.heads import Network
from models.networks.labels import Labelled, label_wells
from models.networks.predict import output_columns
from models.networks.recipe import Recipe
from models.networks.splits import Draw, nested_draws
from models.networks.stacked import HeadData, train_heads
from models.networks.starts import read_start
from models.networks.train import cache_features, pick_device, smoothed
from models.plates.images import WellImages
from pipelines.command import run_command
from pipelines.figures import save_figure
from pipelines.imagesets import is_imageset
from pipelines.params import Params
from pipelines.prepared import PreparedScreen, read_prepared, read_prepared_imageset, sound_wells

NAMES = {"r2": "r2 of unseen wells", "rmse": "RMSE of unseen wells, read-out", "z_prime": "Z' of unseen controls",
         "accuracy": "accuracy on unseen images", "auroc": "AUROC of unseen wells"}
BAND = (0.1, 0.9)       # of the draws


def sample_sizes(network: Network, images: WellImages, layout: pd.DataFrame, recipe: Recipe, *, draws: int = 30, sizes: int = 6,
                 device: str = "auto", progress: bool = False) -> pd.DataFrame:
    """A row per draw and size: draw, wells (images that taught), units (split units of the smallest class), judged (held-out images),
    and two metrics of the held-out images, by what the recipe learns.

    network: as training would start. Raises InputError where the recipe trains more than a head, or has too few split units.
    """
    _refuse(recipe)
    target_device = pick_device(device)
    labelled = label_wells(images, layout, recipe)
    strata = labelled.strata(regression=recipe.is_regression)
    plan = nested_draws(labelled.wells["unit"].to_numpy(), strata, draws=draws, sizes=sizes, seed=recipe.seed)
    pixels = torch.from_numpy(images.pixels[labelled.rows])
    views = cache_features(network.to(target_device), pixels, recipe, device=target_device).cpu()      # (V + 1, N, F)
    targets = labelled.targets if recipe.is_regression else smoothed(labelled.targets, recipe.label_smoothing)
    wanted = torch.from_numpy(targets.astype(np.float32))
    heads = [copy.deepcopy(network.head).cpu() for _ in plan]
    with tqdm(total=len(plan) * recipe.optimizer.epochs, unit="epoch", desc=f"{len(plan)} heads", disable=not progress) as bar:
        def on_epoch(_epoch: int, losses: Tensor) -> None:
            bar.update(len(losses))

        train_heads(heads, [HeadData(views, wanted, torch.from_numpy(draw.train)) for draw in plan], recipe,
                    seeds=[recipe.seed + draw.number for draw in plan], on_epoch=on_epoch)
    rows = [{"draw": draw.number, "wells": len(draw.train), "units": draw.units, "judged": len(draw.test),
             **_metrics(head(views[0][draw.test]).detach(), labelled, draw, recipe)} for head, draw in zip(heads, plan, strict=True)]
    return pd.DataFrame(rows)


def _refuse(recipe: Recipe) -> None:
    if recipe.trunk.trained != "head":
        raise InputError(f"the recipe trains more than a head (trunk.trained: {recipe.trunk.trained}), which would take a whole training "
                         "for each draw; ask for a model on a frozen trunk (trained: head)")
    if recipe.target == "controls_and_duplicates":
        raise InputError("the recipe learns from duplicates of what its parent said (phase III); ask for its phase-II parent, which learns "
                         "from the controls")


def _metrics(outputs: Tensor, labelled: Labelled, draw: Draw, recipe: Recipe) -> dict[str, float]:
    columns, truth = output_columns(outputs.numpy(), regression=recipe.is_regression), labelled.targets[draw.test].astype(float)
    if recipe.is_regression:
        found, names = regression_metrics(truth, columns["od"]), ("r2", "rmse")
    elif recipe.target == "label":
        found, names = class_metrics(truth, columns["probability"], columns["logit"]), ("accuracy", "auroc")
    else:
        found, names = control_metrics(truth, columns["probability"], columns["logit"]), ("z_prime", "auroc")
    return {name: found[name] for name in names}


def over_draws(table: pd.DataFrame) -> pd.DataFrame:
    """A row per size: wells, draws, and of each metric its median and the limits between which four of five draws lie (_low, _high)."""
    metrics = [name for name in NAMES if name in table]
    groups = table.groupby("wells")
    found = [groups.size().rename("draws")]
    for name in metrics:
        found += [groups[name].median().rename(name), *(groups[name].quantile(share).rename(f"{name}_{end}")
                                                        for share, end in zip(BAND, ("low", "high"), strict=True))]
    return pd.concat(found, axis=1).reset_index()


def in_words(sizes: pd.DataFrame) -> str:
    """What the most wells gave, and what they brought over about half as many."""
    name = next(name for name in NAMES if name in sizes)
    most = sizes.iloc[-1]
    half = sizes.iloc[(sizes["wells"] - most["wells"] / 2).abs().argmin()]
    text = (f"{NAMES[name]}: {most[name]:.3f} with {most['wells']:.0f} to learn from "
            f"({most[f'{name}_low']:.3f} to {most[f'{name}_high']:.3f} in four of five draws)")
    more = most["wells"] - half["wells"]
    brought = f", {half[name]:.3f} with {half['wells']:.0f}: the last {more:.0f} brought {most[name] - half[name]:+.3f}"
    return text + brought if more else text


def draw_sizes(sizes: pd.DataFrame, *, title: str) -> Figure:
    """Each metric by the number of wells that taught: the median, and the band of four in five draws."""
    metrics = [name for name in NAMES if name in sizes]
    figure = Figure(figsize=(4.4 * len(metrics), 3.6), layout="constrained")
    for number, (name, axes) in enumerate(zip(metrics, figure.subplots(1, len(metrics)), strict=True)):
        axes.fill_between(sizes["wells"], sizes[f"{name}_low"], sizes[f"{name}_high"], color=PALETTE[number], alpha=0.2, linewidth=0,
                          label="four of five draws")
        axes.plot(sizes["wells"], sizes[name], color=PALETTE[number], marker="o", markersize=4, linewidth=1.4, label="median")
        axes.set(xlabel="wells to learn from", ylabel=NAMES[name])
        axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model on a frozen trunk, in the section `models` of params.yaml")
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--sizes", type=int, default=6, help="how many numbers of wells, evenly spread on a logarithmic scale")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--out", type=Path, default=Path("artifacts/sample_size"))
    arguments = parser.parse_args()
    params = Params.read(arguments.params)
    if arguments.model not in params.models:
        raise InputError(f"params.yaml has no model {arguments.model}; it has {', '.join(params.models)}")
    spec = params.models[arguments.model]
    recipe = params.recipes[spec.recipe]
    _refuse(recipe)
    screen, prepared = arguments.data / spec.screen, arguments.artifacts / "prepared" / spec.screen
    data = read_prepared_imageset(screen, prepared) if is_imageset(screen) else read_prepared(screen, prepared)
    data = sound_wells(data, params.image_quality) if isinstance(data, PreparedScreen) else data
    start = read_start(arguments.artifacts / spec.parent, recipe)
    table = sample_sizes(start.network, data.images, data.layout, recipe, draws=arguments.draws, sizes=arguments.sizes,
                         device=params.train.device, progress=True)
    sizes = over_draws(table)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.round(6).to_csv(arguments.out / f"{arguments.model}.csv", index=False)
    picture = arguments.out / f"{arguments.model}.png"
    save_figure(draw_sizes(sizes, title=f"{arguments.model}: {arguments.draws} draws of each size"), picture)
    print(f"{sizes.round(3).to_string(index=False)}\n\n{in_words(sizes)}\n{picture}")


if __name__ == "__main__":
    run_command(main)
