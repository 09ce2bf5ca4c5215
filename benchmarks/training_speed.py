"""Training side by side with a plain torch loop (eager, float32, one image at a time, trunk run anew at every step).

    python -m benchmarks.training_speed [--trunk mobilenet_v2] [--size 224] [--images 32] [--epochs 200] [--threads 1]

Two jobs on the same images, targets and number of epochs: a head on a frozen trunk (system S1 and controls of a plate), and extracting the
features of all images once. The loops' own numbers of epochs may differ (--plain-epochs); times are given per epoch. Seconds of
processor time; random weights, which take as long as trained ones.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import least, processor_time
from models.networks.heads import Network, build_network
from models.networks.recipe import Augmentation, HeadSpec, OptimizerSpec, Recipe, TrunkSpec
from models.networks.sources import FeatureSource, PixelSource, cache_features
from models.networks.train import predict_rows, train
from models.plates.prepare import InputSpec
from pipelines.command import run_command

CPU = torch.device("cpu")


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    return Recipe(system="viability", target="readout", input=InputSpec(size=arguments.size), trunk=TrunkSpec(name=arguments.trunk),
                  head=HeadSpec(hidden=(10,)), augmentation=Augmentation(flip=True, quarter_turns=True, views=arguments.views),
                  optimizer=OptimizerSpec(learning_rate=1e-3, batch_size=16, epochs=arguments.epochs))


def plain_training(network: Network, pixels: Tensor, targets: Tensor, *, epochs: int) -> None:
    """What a notebook does: each image through the whole network, one at a time, in the usual memory order."""
    network.trunk.requires_grad_(False)
    optimizer = torch.optim.Adam(network.head.parameters(), lr=1e-3)
    for _ in range(epochs):
        for row in torch.randperm(len(pixels)).tolist():
            image = pixels[row:row + 1]
            image = torch.rot90(image, int(torch.randint(4, ())), (2, 3))
            loss = nn.functional.mse_loss(network(image)[:, 0], targets[row:row + 1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def plain_features(network: Network, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network.features(pixels[row:row + 1]) for row in range(len(pixels))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, value in (("--size", 224), ("--images", 32), ("--epochs", 200), ("--plain-epochs", 1), ("--views", 8), ("--threads", 1)):
        parser.add_argument(option, type=int, default=value)
    parser.add_argument("--trunk", default="mobilenet_v2")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = recipe_of(arguments)
    pixels = torch.rand(arguments.images, 3, arguments.size, arguments.size, generator=torch.Generator().manual_seed(0))
    targets = np.linspace(0.1, 1.6, arguments.images).astype(np.float32)
    network = build_network(recipe).eval()
    ours = copy.deepcopy(network).to(memory_format=torch.channels_last)
    parts, once = np.full(arguments.images, "train", dtype=object), replace(recipe, augmentation=Augmentation(views=0))
    passes: dict[str, Callable[[], Tensor]] = {"plain": partial(plain_features, network, pixels),
                                               "ours": lambda: cache_features(ours, pixels, once, device=CPU)[0]}
    found, apart = least(passes, rounds=3), float((passes["plain"]() - passes["ours"]()).abs().max())
    plain_training(network, pixels[:2], torch.from_numpy(targets[:2]), epochs=1)     # warm, as ours is
    plain, _ = processor_time(partial(plain_training, network, pixels, torch.from_numpy(targets), epochs=arguments.plain_epochs))
    cached, views = processor_time(partial(cache_features, ours, pixels, recipe, device=CPU))
    own, _ = processor_time(partial(train, ours, FeatureSource(views), targets, parts, recipe))
    assert predict_rows(ours, PixelSource(pixels, recipe.augmentation, CPU), torch.arange(2)).isfinite().all()
    print(f"{arguments.trunk}, {arguments.images} images of {arguments.size} pixels, {arguments.threads} thread(s), processor seconds")
    print(f"features once:  plain {found['plain'][1]:.2f}, ours {found['ours'][1]:.2f}: {found['plain'][1] / found['ours'][1]:.1f} x; "
          f"largest difference {apart:.1e}")
    whole = plain / arguments.plain_epochs * arguments.epochs
    print(f"{arguments.epochs} epochs: plain {plain / arguments.plain_epochs:.2f} an epoch, {whole:.0f} in all; ours {cached:.2f} "
          f"for {arguments.views} augmented views and {own:.2f} for all epochs: {whole / (cached + own):.0f} x")


if __name__ == "__main__":
    run_command(main)
