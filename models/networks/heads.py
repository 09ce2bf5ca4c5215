"""Heads, whole networks, and what their outputs mean."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from models.errors import ParamsError
from models.networks.backbones import LEAK, build_trunk, trunk_blocks
from models.networks.recipe import HeadSpec, Recipe, TrunkSpec


def build_head(spec: HeadSpec, feature_count: int) -> nn.Sequential:
    """Dense layers (B, F) -> (B, outputs): each hidden one followed by its activation and dropout."""
    layers: list[nn.Module] = []
    for width in spec.hidden:
        activation = nn.LeakyReLU(LEAK) if spec.activation == "leaky_relu" else nn.ReLU()
        layers += [nn.Linear(feature_count, width), activation, nn.Dropout(spec.dropout)]
        feature_count = width
    return nn.Sequential(*layers, nn.Linear(feature_count, spec.outputs))


class Normalise(nn.Module):
    """(x + offset - mean) / std per channel, x on 0-1."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: TrunkSpec) -> None:
        super().__init__()
        self.register_buffer("mean", (torch.tensor(spec.mean) - spec.offset).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return (images - self.mean) / self.std


class Network(nn.Module):
    """Normalisation, trunk and head. Call: pixels on 0-1 (B, C, H, W) -> outputs (B, head.outputs).

    trunk: one that is there already and shared with other networks; by default a new one with random weights.
    """

    def __init__(self, recipe: Recipe, *, trunk: nn.Module | None = None) -> None:
        super().__init__()
        self.normalise = Normalise(recipe.trunk)
        self.trunk = build_trunk(recipe.trunk.name) if trunk is None else trunk
        self.feature_count = cast(int, self.trunk.feature_count)
        self.head = build_head(recipe.head, self.feature_count)

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F)"""
        return cast(Tensor, self.trunk(self.normalise(images)))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, outputs)"""
        return cast(Tensor, self.head(self.features(images)))


def build_network(recipe: Recipe) -> Network:
    """The recipe's network with random weights; downloads nothing."""
    torch.manual_seed(recipe.seed)
    return Network(recipe)


def frozen_parts(network: Network, spec: TrunkSpec) -> list[nn.Module]:
    """The parts of the trunk that stay as they are. Raises ParamsError when the recipe trains more blocks than there are."""
    if spec.trained == "all":
        return []
    blocks = trunk_blocks(network.trunk)
    if spec.blocks >= len(blocks):
        raise ParamsError(f"trunk.blocks: {spec.blocks}, but {spec.name} has {len(blocks)} blocks; name fewer, or trained: all")
    return blocks[:len(blocks) - spec.blocks]


def living_logit(outputs: Tensor) -> Tensor:
    """Outputs (..., O) -> logit of the living (negative control) or first class, (...): the one output, or the first minus the second of a
    softmax pair.
    """
    return outputs[..., 0] if outputs.shape[-1] == 1 else outputs[..., 0] - outputs[..., 1]
