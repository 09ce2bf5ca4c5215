"""How many wells does a model need? Its head trained on ever more of them, again and again, and judged by wells that it did not see.

Each draw holds a third of the split units out and teaches a head with the first few of the others, then with more, then with all; as
`models.networks.train.train` would, but without validation wells. All heads train as one batched computation (stacked.py).
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from models.errors import InputError
from models.networks.device import pick_device
from models.networks.evaluate import class_metrics, control_metrics, regression_metrics
from models.networks.heads import Network
from models.networks.labels import Labelled, label_wells
from models.networks.predict import output_columns
from models.networks.recipe import Recipe
from models.networks.sources import cache_features
from models.networks.splits import Draw, nested_draws
from models.networks.stacked import HeadData, train_heads
from models.networks.train import smoothed
from models.plates.images import WellImages


def sample_sizes(network: Network, images: WellImages, layout: pd.DataFrame, recipe: Recipe, *, draws: int = 30, sizes: int = 6,
                 device: str = "auto", on_epochs: Callable[[int, int], None] = lambda done, of: None) -> pd.DataFrame:
    """A row per draw and size: draw, wells (images that taught), units (split units of the smallest class), judged (held-out images),
    and two metrics of the held-out images, by what the recipe learns.

    network: as training would start. on_epochs(done, of): how many epochs of how many, of all heads.
    Raises InputError where the recipe trains more than a head, or has too few split units.
    """
    refuse_whole(recipe)
    target_device = pick_device(device)
    labelled = label_wells(images, layout, recipe)
    strata = labelled.strata(regression=recipe.is_regression)
    plan = nested_draws(labelled.wells["unit"].to_numpy(), strata, draws=draws, sizes=sizes, seed=recipe.seed)
    pixels = torch.from_numpy(images.pixels[labelled.rows])
    views = cache_features(network.to(target_device), pixels, recipe, device=target_device)    # (V + 1, N, F)
    targets = labelled.targets if recipe.is_regression else smoothed(labelled.targets, recipe.label_smoothing)
    wanted = torch.from_numpy(targets.astype(np.float32))
    heads = [copy.deepcopy(network.head).cpu() for _ in plan]
    done, total = 0, len(plan) * recipe.optimizer.epochs

    def on_epoch(_epoch: int, losses: Tensor) -> None:
        nonlocal done
        done += len(losses)
        on_epochs(done, total)

    train_heads(heads, [HeadData(views, wanted, torch.from_numpy(draw.train)) for draw in plan], recipe,
                seeds=[recipe.seed + draw.number for draw in plan], on_epoch=on_epoch)
    rows = [{"draw": draw.number, "wells": len(draw.train), "units": draw.units, "judged": len(draw.test),
             **_metrics(head(views[0][draw.test]).detach(), labelled, draw, recipe)} for head, draw in zip(heads, plan, strict=True)]
    return pd.DataFrame(rows)


def refuse_whole(recipe: Recipe) -> None:
    """Raises InputError for a recipe that trains more than a head, or learns from what its parent said."""
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
