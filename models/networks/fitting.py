"""From labelled images and a starting point to a trained model: the final fit, its cross-fitted twins, and their predictions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from models.networks.checkpoint import clear_checkpoints
from models.networks.heads import Network
from models.networks.labels import Labelled, assign_folds, assign_parts, label_wells
from models.networks.predict import output_columns
from models.networks.recipe import Recipe
from models.networks.train import (
    FeatureSource,
    PixelSource,
    Source,
    cache_features,
    pick_device,
    predict_rows,
    smoothed,
    train,
)
from models.plates.images import WellImages

OnEpoch = Callable[[str, dict[str, float]], None]


@dataclass(frozen=True)
class Fitted:
    """network: trained; predictions: one row per labelled image (Layout columns, target, unit, part, fold, prediction, logit and
    their cross-fitted twins *_cv); epochs: one row per epoch (epoch, loss, validation_loss).
    """

    network: Network
    predictions: pd.DataFrame
    epochs: pd.DataFrame


def fit_model(network: Network, images: WellImages, layout: pd.DataFrame, recipe: Recipe, *, device: str = "auto",
              on_epoch: OnEpoch = lambda run, record: None, checkpoint: Path | None = None) -> Fitted:
    """Train `network` (already holding its starting weights) on the wells that the layout labels.

    Cross-fitting: split.folds more trainings from the same start, each predicting the wells that it never saw.
    on_epoch gets the name of the run ("final", "fold 1" ...) and the epoch's record.
    checkpoint: folder from which a killed fit goes on, finished folds included; cleared when all is done.
    """
    target_device = pick_device(device)
    network = network.to(target_device).to(memory_format=torch.channels_last)
    labelled = label_wells(images, layout, recipe)
    source = _source(network, images, labelled, recipe, target_device)
    with _threads(1 if isinstance(source, FeatureSource) else torch.get_num_threads()):
        fitted = _fit(network, source, labelled, recipe, on_epoch=on_epoch, checkpoint=checkpoint)
    if checkpoint:
        clear_checkpoints(checkpoint)
    return fitted


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch on `count` CPU threads: a head on cached features is too small to share out, two threads take longer than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(network: Network, source: Source, labelled: Labelled, recipe: Recipe, *, on_epoch: OnEpoch, checkpoint: Path | None) -> Fitted:
    """Cross-fitted twins first, from the same start, then the model itself."""
    targets = labelled.targets if recipe.is_regression else smoothed(labelled.targets, recipe.label_smoothing)
    strata, units = labelled.strata(regression=recipe.is_regression), labelled.wells["unit"].to_numpy()
    cross = _cross_fit(network, source, targets, labelled, recipe, on_epoch=on_epoch, checkpoint=checkpoint)
    parts = assign_parts(units, strata, split=recipe.split, seed=recipe.seed)
    epochs = train(network, source, targets, parts, recipe, on_epoch=partial(on_epoch, "final"),
                   checkpoint=checkpoint / "final" if checkpoint else None)
    final = _outputs(network, source, np.arange(len(labelled)), recipe)
    predictions = labelled.wells.assign(part=parts, prediction=final["prediction"], logit=final["logit"], **cross)
    return Fitted(network.eval(), predictions, pd.DataFrame(epochs))


def _source(network: Network, images: WellImages, labelled: Labelled, recipe: Recipe, device: torch.device) -> Source:
    pixels = torch.from_numpy(images.pixels[labelled.rows])
    if recipe.trunk.trained == "head":
        return FeatureSource(cache_features(network, pixels, recipe, device=device))
    return PixelSource(pixels, recipe.augmentation, device)


def _cross_fit(network: Network, source: Source, targets: np.ndarray, labelled: Labelled, recipe: Recipe, *,
               on_epoch: OnEpoch, checkpoint: Path | None) -> dict[str, Any]:
    """Columns fold, prediction_cv, logit_cv; -1 and NaN where the recipe asks for no folds."""
    units, strata = labelled.wells["unit"].to_numpy(), labelled.strata(regression=recipe.is_regression)
    fold_of = np.full(len(labelled), -1)
    columns = {"prediction_cv": np.full(len(labelled), np.nan), "logit_cv": np.full(len(labelled), np.nan)}
    if recipe.split.folds:
        fold_of = assign_folds(units, strata, folds=recipe.split.folds, seed=recipe.seed)
    for fold in range(recipe.split.folds):
        inside = fold_of != fold
        parts = np.full(len(labelled), "left out", dtype=object)
        parts[inside] = assign_parts(units[inside], strata[inside], split=replace(recipe.split, test=0.0), seed=recipe.seed)
        twin, name = copy.deepcopy(network), f"fold {fold + 1}"
        train(twin, source, targets, parts, recipe, on_epoch=partial(on_epoch, name),
              checkpoint=checkpoint / name.replace(" ", "_") if checkpoint else None)
        outputs = _outputs(twin, source, np.flatnonzero(~inside), recipe)
        columns["prediction_cv"][~inside], columns["logit_cv"][~inside] = outputs["prediction"], outputs["logit"]
    return {"fold": fold_of, **columns}


def _outputs(network: Network, source: Source, rows: np.ndarray, recipe: Recipe) -> dict[str, np.ndarray]:
    module = network.head if isinstance(source, FeatureSource) else network
    outputs = predict_rows(module, source, torch.from_numpy(rows)).cpu().numpy()
    columns = output_columns(outputs, regression=recipe.is_regression)
    return {"prediction": columns["od"] if recipe.is_regression else columns["probability"], "logit": columns["logit"]}
