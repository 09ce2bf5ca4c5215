"""A killed training goes on with what it was taught, and with its patience; and an epoch tells the loss of all its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.networks.backbones import state_bytes
from models.networks.heads import build_network
from models.networks.recipe import HeadSpec, OptimizerSpec, Recipe
from models.networks.sources import FeatureSource
from models.networks.train import smoothed, train
from tests.conftest import CONTROLS, READOUT

COUNT = 24
PARTS = np.array(["train", "train", "validation"] * 8)
CLASSES = smoothed(np.arange(COUNT) % 2.0, 0.4)
RECIPE = replace(CONTROLS, head=HeadSpec(outputs=2), optimizer=OptimizerSpec(learning_rate=0.02, batch_size=8, epochs=30))


def features(*, classes: np.ndarray = CLASSES) -> FeatureSource:
    noise = torch.randn(1, COUNT, 256, generator=torch.Generator().manual_seed(0))
    return FeatureSource(noise + torch.from_numpy(classes).float()[:, None] / 5)


def killed(recipe: Recipe, targets: np.ndarray, folder: Path, *, at: int) -> None:
    def on_epoch(record: dict[str, float]) -> None:
        if record["epoch"] == at:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        train(build_network(recipe), features(), targets, PARTS, recipe, checkpoint=folder, on_epoch=on_epoch)


@pytest.mark.parametrize("change", [
    lambda targets, parts: (1 - targets, parts), lambda targets, parts: (targets, np.where(np.arange(COUNT) < 4, "left out", parts))],
    ids=["labels", "split"])
def test_a_classifier_does_not_go_on_from_other_labels_or_another_split(
        change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], tmp_path: Path) -> None:
    """A read-out's start tells of its labels, a classifier's does not: wells that were moved to the test part had taught it."""
    killed(RECIPE, CLASSES, tmp_path, at=25)
    targets, parts = change(CLASSES, PARTS)
    fresh, again = build_network(RECIPE), build_network(RECIPE)
    train(fresh, features(), targets, parts, RECIPE)
    train(again, features(), targets, parts, RECIPE, checkpoint=tmp_path)
    assert state_bytes(again.state_dict()) == state_bytes(fresh.state_dict())


def test_patience_counts_from_the_best_epoch_before_the_kill(tmp_path: Path) -> None:
    """It counted from the start: a training that was killed would end as soon as it went on, at weights of its own."""
    recipe = replace(READOUT, head=HeadSpec(), optimizer=OptimizerSpec(learning_rate=0.0005, batch_size=8, epochs=40, patience=9))
    targets = features().views[0, :, :8].sum(dim=1).numpy()
    whole = train(build_network(recipe), features(), targets, PARTS, recipe)
    killed(recipe, targets, tmp_path, at=12)
    again = train(build_network(recipe), features(), targets, PARTS, recipe, checkpoint=tmp_path)
    best = int(np.argmin([record["validation_loss"] for record in whole]))
    assert best > 3     # else patience from the start would do
    assert again == whole


def test_the_loss_of_an_epoch_is_that_of_all_its_rows() -> None:
    """A last batch of few wells weighed as much as a whole one."""
    recipe = replace(READOUT, head=HeadSpec(), optimizer=OptimizerSpec(learning_rate=1e-12, batch_size=11, epochs=1))
    targets, network = np.random.default_rng(0).normal(size=COUNT), build_network(recipe)
    (record,) = train(network, features(), targets, np.full(COUNT, "train"), recipe)
    with torch.no_grad():
        said = network.head(features().views[0])[:, 0].numpy()
    assert record["loss"] == pytest.approx(np.mean((said - targets) ** 2), rel=1e-5)
