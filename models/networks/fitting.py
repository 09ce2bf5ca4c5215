"""From labelled images and a starting point to a trained model: the final fit, its cross-fitted twins, and their predictions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from models.errors import ParamsError
from models.networks.checkpoint import clear_checkpoints
from models.networks.cotraining import co_train
from models.networks.device import pick_device
from models.networks.gan import GanRun, with_generated
from models.networks.heads import Network
from models.networks.labels import Labelled, label_wells
from models.networks.phases import exchange_labels
from models.networks.predict import output_columns
from models.networks.recipe import Recipe
from models.networks.sources import FeatureSource, PixelSource, Source, cache_features
from models.networks.splits import assign_folds, assign_parts, split_units
from models.networks.stacked import HeadData, train_heads
from models.networks.train import Lesson, predict_rows, smoothed, train
from models.plates.images import WellImages

OnEpoch = Callable[[str, dict[str, float]], None]
_SHARE_OF_CARD = 0.25   # of a GPU's free memory that images may take; else each step brings its own over


@dataclass(frozen=True)
class Before:
    """What the parent model of phase III (phase II) started from, and its recipe: cross-fitting trains phase II anew without the wells
    that it will answer for, because the phase-II model at hand has seen them all.
    """

    network: Network
    recipe: Recipe


@dataclass(frozen=True)
class Fitted:
    """network: trained; predictions: one row per labelled image (Layout columns, target, unit, part, fold, prediction, logit and
    their cross-fitted twins *_cv); epochs: one row per epoch (epoch, loss, validation_loss; accuracies of classifiers).

    learnt_labels: rows without a label of their own that taught the final model (phase III, co-training) with their `target`;
    rounds: one row per round of co-training; gan: the final model's GAN. All None where the recipe has none.
    """

    network: Network
    predictions: pd.DataFrame
    epochs: pd.DataFrame
    learnt_labels: pd.DataFrame | None = None
    rounds: pd.DataFrame | None = None
    gan: GanRun | None = None


@dataclass(frozen=True)
class _Study:
    """What the final run and its twins share. pixels (N, C, H, W) of the labelled rows; source: of all of them."""

    recipe: Recipe
    labelled: Labelled
    pixels: Tensor
    source: Source
    device: torch.device
    before: Before | None
    on_epoch: OnEpoch
    checkpoint: Path | None


@dataclass(frozen=True)
class _Learnt:
    """What a run leaves beside the trained network. lesson: what it was taught, its first rows being those of the study."""

    lesson: Lesson
    epochs: list[dict[str, float]]
    rounds: list[dict[str, float]] = field(default_factory=list)
    gan: GanRun | None = None


def fit_model(network: Network, images: WellImages, layout: pd.DataFrame, recipe: Recipe, *, before: Before | None = None,
              device: str = "auto", on_epoch: OnEpoch = lambda run, record: None, checkpoint: Path | None = None) -> Fitted:
    """Train `network` (already holding its starting weights) on the wells that the layout labels.

    Cross-fitting: split.folds more trainings from the same start, each predicting the wells that it never saw. before: needed to
    cross-fit phase III.
    on_epoch gets the name of the run ("final", "fold 1" ..., "folds" where they train together) and the epoch's record.
    checkpoint: folder from which a killed fit goes on, finished folds included; cleared when all is done.
    """
    target_device = pick_device(device)
    labelled = label_wells(images, layout, recipe, unlabelled=True)
    pixels = torch.from_numpy(images.pixels[labelled.rows])
    source = _source(network, pixels, recipe, target_device)
    _place(network, recipe, target_device)
    study = _Study(recipe, labelled, pixels, source, target_device, before, on_epoch, checkpoint)
    with _threads(1 if isinstance(source, FeatureSource) else torch.get_num_threads()):
        fitted = _fit(network, study)
    if checkpoint:
        clear_checkpoints(checkpoint)
    return fitted


def planned_epochs(recipe: Recipe, before: Before | None = None) -> int:
    """How many epochs `fit_model` reports when nothing stops early; rounds of co-training are not counted."""
    runs = 1 + recipe.split.folds
    gan = recipe.augmentation.gan.epochs if recipe.augmentation.gan else 0
    return runs * (recipe.optimizer.epochs + gan) + (recipe.split.folds * before.recipe.optimizer.epochs if before else 0)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch on `count` CPU threads: a head on cached features is too small to share out, two threads take longer than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _source(network: Network, pixels: Tensor, recipe: Recipe, device: torch.device) -> Source:
    network.to(memory_format=torch.channels_last)
    if recipe.trunk.trained == "head":
        return FeatureSource(cache_features(network, pixels, recipe, device=device))
    room = torch.cuda.mem_get_info(device)[0] * _SHARE_OF_CARD if device.type == "cuda" else 0
    return PixelSource(pixels.to(device) if pixels.nbytes < room else pixels, recipe.augmentation, device)


def _place(network: Network, recipe: Recipe, device: torch.device) -> Network:
    """The network where it trains: on the device, but for the head on a frozen trunk. That is so small that a GPU takes longer to be told
    of a step than the CPU to do it.
    """
    network.to(device).to(memory_format=torch.channels_last)
    if recipe.trunk.trained == "head":
        network.head.cpu()
    return network


def _fit(network: Network, study: _Study) -> Fitted:
    """Cross-fitted twins first, from the same start, then the model itself."""
    labelled, known = study.labelled, study.labelled.known
    cross = _cross_fit(network, study)
    parts = _parts(study, np.ones(len(labelled), bool), study.recipe)
    learnt = _learn(network, study, parts, "final")
    final = _outputs(network, study.source, np.flatnonzero(known), study.recipe)
    predictions = labelled.wells[known].reset_index(drop=True).assign(
        part=parts[known], prediction=final["prediction"], logit=final["logit"], **{name: values[known] for name, values in cross.items()})
    taught = np.flatnonzero(~known & (learnt.lesson.parts[:len(labelled)] == "train"))
    labels = labelled.wells.iloc[taught].assign(target=learnt.lesson.targets[taught]).reset_index(drop=True)
    return Fitted(network.to(study.device).eval(), predictions, pd.DataFrame(learnt.epochs), learnt_labels=None if known.all() else labels,
                  rounds=pd.DataFrame(learnt.rounds) if study.recipe.augmentation.cotraining else None, gan=learnt.gan)


def _parts(study: _Study, inside: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Part of each row, (N,) of str: whole units as the recipe divides them; "left out" outside, "unlabelled" for rows without a label
    of their own that may teach: none of a unit that the model is later judged by.
    """
    labelled, split = study.labelled, recipe.split
    chosen, wells = labelled.known & inside, labelled.wells
    fine = split_units(wells, split.validation_unit).to_numpy()[chosen] if split.validation_unit else None
    parts = np.full(len(labelled), "left out", dtype=object)
    parts[chosen] = assign_parts(wells["unit"].to_numpy()[chosen], labelled.strata(regression=recipe.is_regression)[chosen], split=split,
                                 seed=recipe.seed, plates=wells["plate"].to_numpy()[chosen], fine_units=fine)
    judged = set(wells["unit"][labelled.known & (parts != "train")])
    parts[~labelled.known & ~wells["unit"].isin(judged).to_numpy()] = "unlabelled"
    return parts


def _cross_fit(network: Network, study: _Study) -> dict[str, np.ndarray]:
    """Columns fold, prediction_cv, logit_cv; -1 and NaN where the recipe asks for no folds, and for rows without a label of their own."""
    recipe, labelled = study.recipe, study.labelled
    known = labelled.known
    fold_of = np.full(len(labelled), -1)
    columns = {"prediction_cv": np.full(len(labelled), np.nan), "logit_cv": np.full(len(labelled), np.nan)}
    if recipe.split.folds:
        strata = labelled.strata(regression=recipe.is_regression)
        fold_of[known] = assign_folds(labelled.wells["unit"].to_numpy()[known], strata[known], folds=recipe.split.folds, seed=recipe.seed)
    folds = [fold_of != fold for fold in range(recipe.split.folds)]
    for fold, (twin, source) in enumerate(_together(network, study, folds) if _may_stack(study) else _apart(network, study, folds)):
        answered = np.flatnonzero(fold_of == fold)
        outputs = _outputs(twin, source, answered, recipe)
        columns["prediction_cv"][answered], columns["logit_cv"][answered] = outputs["prediction"], outputs["logit"]
    return {"fold": fold_of, **columns}


def _apart(network: Network, study: _Study, folds: Sequence[np.ndarray]) -> Iterator[tuple[Network, Source]]:
    """The twin of each fold, trained on the rows inside it, and where its inputs come from."""
    for number, inside in enumerate(folds):
        name = f"fold {number + 1}"
        twin, source = _twin(network, study, inside, name)
        _learn(twin, replace(study, source=source), _fold_parts(study, inside), name)
        yield twin, source


def _may_stack(study: _Study) -> bool:
    """Whether the twins are heads on one frozen trunk that learn from labels of their own and choose no epoch: then they train together,
    in less time, and end at the same weights.
    """
    recipe = study.recipe
    return (isinstance(study.source, FeatureSource) and recipe.target != "controls_and_duplicates"
            and not recipe.split.validation and not recipe.split.validation_wells and not recipe.head.dropout
            and recipe.optimizer.precision == "fp32")


def _together(network: Network, study: _Study, folds: Sequence[np.ndarray]) -> Iterator[tuple[Network, Source]]:
    """What `_apart` gives, from one batched training; it takes seconds, so there is no checkpoint."""
    recipe, source = study.recipe, study.source
    assert isinstance(source, FeatureSource)
    twins = [Network(recipe, trunk=network.trunk) for _ in folds]
    for twin in twins:
        twin.head = copy.deepcopy(network.head)
    targets = torch.from_numpy(_own_targets(study.labelled, recipe).astype(np.float32))
    rows = [torch.from_numpy(np.flatnonzero(_fold_parts(study, inside) == "train")) for inside in folds]

    def on_epoch(epoch: int, losses: Tensor) -> None:
        for loss in losses.tolist():
            study.on_epoch("folds", {"epoch": float(epoch), "loss": loss, "validation_loss": float("nan")})

    train_heads([twin.head for twin in twins], [HeadData(source.views, targets, own) for own in rows], recipe, on_epoch=on_epoch)
    for twin in twins:
        yield twin, source


def _fold_parts(study: _Study, inside: np.ndarray) -> np.ndarray:
    """Parts of a fold's twin: as the recipe divides, without a test part, because the fold itself is one."""
    return _parts(study, inside, replace(study.recipe, split=replace(study.recipe.split, test=0.0)))


def _twin(network: Network, study: _Study, inside: np.ndarray, name: str) -> tuple[Network, Source]:
    """Where a fold starts: at the model's own start; in phase III at a phase II that was trained on this fold's wells only."""
    if study.recipe.target != "controls_and_duplicates":
        return copy.deepcopy(network), study.source
    if study.before is None:
        raise ParamsError("split.folds: cross-fitting phase III trains phase II anew in each fold, so its parent must be a phase-II model "
                          "whose own start is known; or name 0 folds")
    twin, recipe = _place(copy.deepcopy(study.before.network), study.before.recipe, study.device), study.before.recipe
    both_frozen = recipe.trunk.trained == study.recipe.trunk.trained == "head"
    source = study.source if both_frozen else _source(twin, study.pixels, recipe, study.device)
    parts = _parts(study, inside & study.labelled.known, replace(recipe, split=replace(recipe.split, test=0.0)))
    train(twin, source, _own_targets(study.labelled, recipe), parts, recipe, on_epoch=partial(study.on_epoch, f"{name}, phase II"),
          checkpoint=_folder(study, f"{name} phase II"))
    if not both_frozen:
        source = _source(twin, study.pixels, study.recipe, study.device)
    return _place(twin, study.recipe, study.device), source


def _learn(network: Network, study: _Study, parts: np.ndarray, name: str) -> _Learnt:
    """One run: the network learns, in place, from the rows that `parts` gives it and from what the recipe adds to them."""
    recipe, say = study.recipe, partial(study.on_epoch, name)
    lesson, gan = Lesson(study.source, _own_targets(study.labelled, recipe), parts), None
    rounds: list[dict[str, float]] = []
    if recipe.target == "controls_and_duplicates":
        lesson = _with_duplicates(network, study, lesson)
    if recipe.augmentation.cotraining:
        lesson, rounds = co_train(network, lesson, recipe, on_epoch=lambda run, record: study.on_epoch(f"{name}, {run}", record),
                                  checkpoint=_folder(study, f"{name} learners"))
    if recipe.augmentation.gan:
        lesson, gan = with_generated(lesson, recipe, on_epoch=partial(study.on_epoch, f"{name}, GAN"),
                                     checkpoint=_folder(study, f"{name} GAN"))
    epochs = train(network, lesson.source, lesson.targets, lesson.parts, recipe, on_epoch=say, checkpoint=_folder(study, name))
    return _Learnt(lesson, epochs, rounds, gan)


def _own_targets(labelled: Labelled, recipe: Recipe) -> np.ndarray:
    """Targets (N,) of the loss: classes smoothed, NaN for rows without a label of their own."""
    return labelled.targets if recipe.is_regression else smoothed(labelled.targets, recipe.label_smoothing)


def _with_duplicates(network: Network, study: _Study, lesson: Lesson) -> Lesson:
    """Phase III: unlabelled rows teach with the network's own answer for their duplicates, which is not smoothed again."""
    rows = np.flatnonzero(lesson.parts == "unlabelled")
    raw = _outputs(network, lesson.source, rows, study.recipe)["prediction"] if len(rows) else np.empty(0)
    wells = study.labelled.wells.iloc[rows].reset_index(drop=True)
    labels = exchange_labels(wells, pd.Series(raw)).to_numpy(np.float32)
    found = np.isfinite(labels)  # a duplicate in a unit that is held out gives no label
    targets, parts = lesson.targets.copy(), lesson.parts.copy()
    targets[rows[found]], parts[rows[found]] = labels[found], "train"
    return replace(lesson, targets=targets, parts=parts)


def _folder(study: _Study, name: str) -> Path | None:
    return study.checkpoint / name.replace(" ", "_") if study.checkpoint else None


def _outputs(network: Network, source: Source, rows: np.ndarray, recipe: Recipe) -> dict[str, Any]:
    module = network.head if isinstance(source, FeatureSource) else network
    outputs = predict_rows(module, source, torch.from_numpy(rows)).cpu().numpy()
    columns = output_columns(outputs, regression=recipe.is_regression)
    return {"prediction": columns[recipe.answer_column], "logit": columns["logit"]}
