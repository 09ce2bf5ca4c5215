"""Co-training of system S4 (Saini et al. 2020, Algorithm 1): two learners label the unlabelled images, and what they agree on teaches.

Each round trains two learners on the labelled images (and on images that a GAN draws from them, where the recipe has one), asks both
for the class of every unlabelled image, and lets those join the labelled ones on which they agree; it ends when none joins. Only rows
that a run trains on take part: the learners see no row of another part, and rows whose unit is held out are in no pool.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.networks.gan import with_generated
from models.networks.heads import Network, living_logit
from models.networks.recipe import Recipe
from models.networks.train import Lesson, predict_rows, smoothed, train

OnEpoch = Callable[[str, dict[str, float]], None]
_LEFT_OUT = 4   # each learner leaves out another quarter of the labelled images: learners that saw the same agree on their errors


def co_train(network: Network, lesson: Lesson, recipe: Recipe, *, on_epoch: OnEpoch = lambda run, record: None,
             checkpoint: Path | None = None) -> tuple[Lesson, list[dict[str, float]]]:
    """The lesson with those "unlabelled" rows made "train" whose class both learners agree on, and one record per round: round,
    unlabelled, joined, joined_first (of the first class).

    network: where both learners start, with a head of their own each; it stays as it is.
    """
    spec = recipe.augmentation.cotraining
    assert spec is not None     # the caller's condition
    rounds: list[dict[str, float]] = []
    for number in range(1, spec.rounds + 1):
        pool = np.flatnonzero(lesson.parts == "unlabelled")
        if not len(pool):
            break
        first, second = _answers(network, lesson, recipe, pool, name=f"round {number}", on_epoch=on_epoch, checkpoint=checkpoint)
        living = np.minimum(first, second) > spec.confidence
        joined = living | (np.maximum(first, second) < 1 - spec.confidence)
        rounds.append({"round": number, "unlabelled": len(pool), "joined": int(joined.sum()), "joined_first": int(living.sum())})
        targets, parts = lesson.targets.copy(), lesson.parts.copy()
        targets[pool[joined]] = smoothed(living[joined].astype(np.float32), recipe.label_smoothing)
        parts[pool[joined]] = "train"
        lesson = replace(lesson, targets=targets, parts=parts)
        if not joined.any():
            break
    return lesson, rounds


def _answers(network: Network, lesson: Lesson, recipe: Recipe, pool: np.ndarray, *, name: str, on_epoch: OnEpoch,
             checkpoint: Path | None) -> list[np.ndarray]:
    """Probability of the first class that each of two learners gives the rows of the pool."""
    if recipe.augmentation.gan:
        said = f"{name}, GAN"
        lesson, _ = with_generated(lesson, recipe, on_epoch=partial(on_epoch, said), checkpoint=_inside(checkpoint, said))
    answers = []
    for number in (1, 2):
        said = f"{name}, learner {number}"
        own = replace(recipe, seed=recipe.seed * 2 + number)
        learner = _with_own_head(copy.deepcopy(network), seed=own.seed)
        parts = _without_quarter(lesson, number, seed=recipe.seed)
        train(learner, lesson.source, lesson.targets, parts, own, on_epoch=partial(on_epoch, said), checkpoint=_inside(checkpoint, said))
        outputs = predict_rows(learner, lesson.source, torch.from_numpy(pool))
        answers.append(torch.sigmoid(living_logit(outputs)).cpu().numpy())
    return answers


def _with_own_head(network: Network, *, seed: int) -> Network:
    torch.manual_seed(seed)
    for layer in network.head:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    return network


def _without_quarter(lesson: Lesson, number: int, *, seed: int) -> np.ndarray:
    """The parts with this learner's quarter of the training rows of each class taken out; small classes stay whole."""
    parts = lesson.parts.copy()
    for chosen in (lesson.targets > 0.5, lesson.targets <= 0.5):
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(chosen & (parts == "train")))
        if len(rows) >= 2 * _LEFT_OUT:
            parts[rows[number::_LEFT_OUT]] = "left out"
    return parts


def _inside(folder: Path | None, name: str) -> Path | None:
    return folder / name.replace(", ", "_").replace(" ", "_") if folder else None
