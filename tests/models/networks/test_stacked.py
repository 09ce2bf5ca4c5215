"""Stacked heads take the steps that each takes alone."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models.errors import InputError, ParamsError
from models.networks.heads import Network, build_head, build_network
from models.networks.recipe import HeadSpec, OptimizerSpec, Recipe
from models.networks.sources import FeatureSource
from models.networks.stacked import HeadData, StackedHeads, train_heads
from models.networks.train import train
from tests.conftest import CONTROLS, READOUT

FEATURES = 256


def data(count: int, rows: int, *, views: int = 3, seed: int = 0) -> list[HeadData]:
    """Heads' rows: classes (or read-outs) that depend on two features, each head in its own way."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        plain = rng.normal(size=(rows, FEATURES)).astype(np.float32)
        seen = np.stack([plain, *(plain + 0.1 * rng.normal(size=plain.shape).astype(np.float32) for _ in range(views - 1))])
        targets = 0.2 + 0.6 * (plain[:, rng.integers(FEATURES)] > 0)
        found.append(HeadData(torch.from_numpy(seen), torch.from_numpy(targets.astype(np.float32))))
    return found


def alone(network: Network, head: nn.Sequential, item: HeadData, recipe: Recipe) -> nn.Sequential:
    """The head after the ordinary training loop."""
    network.head = copy.deepcopy(head)
    parts = np.full(len(item.targets), "train", dtype=object)
    train(network, FeatureSource(item.views), item.targets.numpy(), parts, recipe)
    return network.head


@pytest.mark.parametrize(("base", "hidden", "optimizer"), [
    (CONTROLS, (), OptimizerSpec(learning_rate=0.003, batch_size=8, epochs=10, schedule="cosine")),
    (CONTROLS, (12, 5), OptimizerSpec(learning_rate=0.003, batch_size=7, epochs=8, weight_decay=0.1)),
    (READOUT, (10,), OptimizerSpec(learning_rate=0.01, batch_size=16, epochs=8)),
    (READOUT, (), OptimizerSpec(name="sgd", learning_rate=1e-4, batch_size=5, epochs=6))])
def test_every_head_ends_where_it_ends_alone(base: Recipe, hidden: tuple[int, ...], optimizer: OptimizerSpec) -> None:
    recipe = replace(base, head=replace(base.head, hidden=hidden, dropout=0.0), optimizer=optimizer)
    torch.manual_seed(5)
    heads = [build_head(recipe.head, FEATURES) for _ in range(6)]
    rows = [*data(4, 40), *data(2, 23, seed=1)]                 # two sizes: stacked group by group
    network = build_network(recipe)
    expected = [alone(network, head, item, replace(recipe, seed=number))
                for number, (head, item) in enumerate(zip(heads, rows, strict=True))]
    losses: list[torch.Tensor] = []
    train_heads(heads, rows, recipe, seeds=range(6), on_epoch=lambda epoch, loss: losses.append(loss))
    for head, other, item in zip(heads, expected, rows, strict=True):
        torch.testing.assert_close(head(item.views[0]), other(item.views[0]), atol=1e-6, rtol=0)
        for value, wanted in zip(head.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(value, wanted, atol=1e-7, rtol=0)
    assert [len(loss) for loss in losses] == [4] * optimizer.epochs + [2] * optimizer.epochs
    assert losses[optimizer.epochs - 1].mean() < losses[0].mean()


def test_stacked_heads_answer_as_their_heads() -> None:
    heads = [build_head(HeadSpec(hidden=(9,), outputs=2, dropout=0.0), FEATURES) for _ in range(3)]
    features = torch.randn(3, 4, FEATURES)
    stacked = StackedHeads(heads)(features.double())
    for number, head in enumerate(heads):
        torch.testing.assert_close(stacked[number].float(), head(features[number]))


def test_more_heads_than_memory_holds_train_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(READOUT, head=replace(READOUT.head, hidden=(10,), dropout=0.0), optimizer=OptimizerSpec(batch_size=8, epochs=2))
    ends: list[list[nn.Sequential]] = []
    for at_once in (5, 2):
        torch.manual_seed(5)
        heads = [build_head(recipe.head, FEATURES) for _ in range(5)]
        weights = sum(weight.numel() for weight in heads[0].parameters())
        monkeypatch.setattr("models.networks.stacked.WEIGHTS_AT_ONCE", at_once * weights)
        groups: list[int] = []
        train_heads(heads, data(5, 20), recipe, on_epoch=lambda epoch, losses, groups=groups: groups.append(len(losses)))
        assert groups == ([5, 5] if at_once == 5 else [2, 2, 2, 2, 1, 1])
        ends.append(heads)
    for head, other in zip(*ends, strict=True):
        for value, wanted in zip(head.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(value, wanted, atol=1e-7, rtol=0)


def test_heads_share_features_and_learn_from_rows_of_their_own() -> None:
    recipe = replace(CONTROLS, head=replace(CONTROLS.head, hidden=(10,), dropout=0.0),
                     optimizer=OptimizerSpec(learning_rate=0.003, batch_size=8, epochs=6))
    (whole,) = data(1, 30)
    rows = [torch.arange(20), torch.arange(10, 30), torch.arange(0, 30, 2)]
    torch.manual_seed(5)
    heads = [build_head(recipe.head, FEATURES) for _ in rows]
    network = build_network(recipe)
    expected = [alone(network, head, HeadData(whole.views[:, own], whole.targets[own]), recipe)
                for head, own in zip(heads, rows, strict=True)]
    train_heads(heads, [HeadData(whole.views, whole.targets, own) for own in rows], recipe)
    for head, other in zip(heads, expected, strict=True):
        for value, wanted in zip(head.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(value, wanted, atol=1e-7, rtol=0)


@pytest.mark.parametrize(("heads", "message"), [
    ([HeadSpec(outputs=2), HeadSpec(outputs=1)], "same layers"), ([HeadSpec(hidden=(4,), dropout=0.5)] * 2, "cannot be stacked"),
    ([], "same layers")])
def test_heads_that_do_not_fit_are_refused(heads: list[HeadSpec], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StackedHeads([build_head(spec, FEATURES) for spec in heads])


def test_a_rate_that_makes_one_head_diverge_is_refused() -> None:
    recipe = replace(READOUT, head=replace(READOUT.head, hidden=(), dropout=0.0),
                     optimizer=OptimizerSpec(name="sgd", learning_rate=1e12, batch_size=5, epochs=30))
    with pytest.raises(ParamsError, match=r"optimizer\.learning_rate: .* makes the training diverge"):
        train_heads([build_head(recipe.head, FEATURES) for _ in range(2)], data(2, 20), recipe)


def test_a_head_without_data_is_refused() -> None:
    with pytest.raises(InputError, match="3 heads, 2 data"):
        train_heads([build_head(HeadSpec(), FEATURES) for _ in range(3)], data(2, 9), READOUT)
