"""Where a training's inputs come from: pixels, augmented anew at every step, or the features that a frozen trunk gives them, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.networks.augment import augment
from models.networks.device import send
from models.networks.heads import Network
from models.networks.recipe import Augmentation, Recipe


class Source(Protocol):
    """Where inputs come from; rows are positions among the labelled images."""

    def training(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Inputs of a training step, augmented."""

    def plain(self, rows: Tensor) -> Tensor:
        """Inputs without augmentation."""


@dataclass(frozen=True)
class PixelSource:
    """Pixels (N, C, H, W) on 0-1, augmented anew at every step on `device`; they may lie there already."""

    pixels: Tensor
    spec: Augmentation
    device: torch.device

    def training(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """(B,) -> (B, C, H, W)"""
        changed = augment(self.plain(rows), self.spec, generator)
        return changed.contiguous(memory_format=torch.channels_last)

    def plain(self, rows: Tensor) -> Tensor:
        """(B,) -> (B, C, H, W), channels last: convolutions on CPUs are several times faster so"""
        chosen = self.pixels[send(rows, self.pixels.device)].to(self.device, torch.float32)
        return chosen.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class FeatureSource:
    """Cached features (V + 1, N, F) of a frozen trunk, on the CPU; view 0 is plain, the others are augmented. dtype: of what is drawn."""

    views: Tensor
    dtype: torch.dtype = torch.float32

    def training(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """(B,) -> (B, F), a random view of each"""
        view = torch.randint(len(self.views), rows.shape, generator=generator)
        return self.views[view, rows].to(self.dtype)

    def plain(self, rows: Tensor) -> Tensor:
        """(B,) -> (B, F)"""
        return self.views[0][rows].to(self.dtype)


@torch.no_grad()
def cache_features(network: Network, pixels: Tensor, recipe: Recipe, *, device: torch.device) -> Tensor:
    """Features of all images, plain and in `augmentation.views` augmented views: (V + 1, N, F) on the CPU. Seeded by the recipe."""
    network.eval()
    for part in (network.normalise, network.trunk):     # the head stays where it is
        part.to(device)
    source = PixelSource(pixels, recipe.augmentation, device)
    views = []
    size = 8 if device.type == "cpu" else 32    # images at a time: more of them than a CPU's cache holds take longer
    for view in range(recipe.augmentation.views + 1):
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + view)
        batches = torch.arange(len(pixels)).split(size)
        views.append(torch.cat([network.features(source.training(rows, generator) if view else source.plain(rows))
                                for rows in batches]))
    return torch.stack(views).cpu()
