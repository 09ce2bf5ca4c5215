"""200 heads on one frozen trunk: trained one by one, and stacked. Time, parity after 50 steps, agreement of the final metric.

    python -m benchmarks.many_heads [--heads 200] [--features 256] [--epochs 20] [--seed 0]

One by one: the training loop of models/networks/train.py, on one thread, as the stage `train` runs it. Seconds of processor time.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.timing import processor_time
from models.networks.evaluate import auroc
from models.networks.heads import build_head, build_network
from models.networks.recipe import HeadSpec, OptimizerSpec, Recipe
from models.networks.sources import FeatureSource
from models.networks.stacked import HeadData, train_heads
from models.networks.train import train
from pipelines.command import run_command

ROWS, VIEWS = 48, 8      # the controls of a three-plate screen, and augmented views


def simulate(heads: int, features: int) -> tuple[list[HeadData], list[HeadData]]:
    """(training, held-out) rows: noisy features of two classes, every head with its own direction between them."""
    rng = np.random.default_rng(1)
    parts: tuple[list[HeadData], list[HeadData]] = ([], [])
    for _ in range(heads):
        direction = rng.normal(size=features) * 1.2 / np.sqrt(features)
        for part, rows, views in zip(parts, (ROWS, 200), (VIEWS, 1), strict=True):
            label = np.arange(rows) % 2
            plain = rng.normal(size=(views, rows, features)) + 2 * (label[:, None] - 0.5) * direction
            part.append(HeadData(torch.from_numpy(plain.astype(np.float32)), torch.from_numpy((0.2 + 0.6 * label).astype(np.float32))))
    return parts


def one_by_one(heads: list[nn.Sequential], data: list[HeadData], recipe: Recipe) -> None:
    network = build_network(recipe)
    parts = np.full(ROWS, "train", dtype=object)
    for number, (head, item) in enumerate(zip(heads, data, strict=True)):
        network.head = head
        train(network, FeatureSource(item.views), item.targets.numpy(), parts, replace(recipe, seed=number))


@torch.no_grad()
def differences(one: list[nn.Sequential], other: list[nn.Sequential]) -> torch.Tensor:
    """Of every weight of all heads."""
    return torch.cat([(a - b).abs().flatten() for first, second in zip(one, other, strict=True)
                      for a, b in zip(first.parameters(), second.parameters(), strict=True)])


@torch.no_grad()
def held_out(heads: list[nn.Sequential], data: list[HeadData]) -> np.ndarray:
    outputs = [head(item.views[0]).numpy() for head, item in zip(heads, data, strict=True)]
    return np.array([auroc(item.targets.numpy() > 0.5, out[:, 0] - out[:, 1]) for out, item in zip(outputs, data, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=200)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the heads' first weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    training, test = simulate(arguments.heads, arguments.features)
    print(f"{arguments.heads} heads, {arguments.features} features -> 10 -> 2, {ROWS} rows, {arguments.epochs} epochs, one thread")
    print("batch  one by one s  stacked s  times  after 50 steps: largest difference  weights over 1e-5  largest difference of AUROC")
    for batch in (1, 4, 8, 16):
        optimizer = OptimizerSpec(learning_rate=0.001, batch_size=batch, epochs=arguments.epochs)
        recipe = Recipe(system="profile", target="control_class", head=HeadSpec(hidden=(10,), outputs=2), optimizer=optimizer)
        torch.manual_seed(arguments.seed)
        start = [build_head(recipe.head, arguments.features) for _ in training]
        pair = [copy.deepcopy(start) for _ in range(4)]
        short = replace(recipe, optimizer=replace(optimizer, epochs=max(1, -(-50 * batch // ROWS))))
        one_by_one(pair[2], training, short)
        train_heads(pair[3], training, short, seeds=range(len(training)))
        alone, _ = processor_time(partial(one_by_one, pair[0], training, recipe))
        stacked, _ = processor_time(partial(train_heads, pair[1], training, recipe, seeds=range(len(training))))
        metric = float(np.abs(held_out(pair[0], test) - held_out(pair[1], test)).max())
        parity = differences(pair[2], pair[3])
        over = f"{int((parity > 1e-5).sum())} of {len(parity)}"
        print(f"{batch:5d} {alone:13.2f} {stacked:10.2f} {alone / stacked:6.1f} {parity.max():34.1e} {over:>18} {metric:28.4f}", flush=True)


if __name__ == "__main__":
    run_command(main)
