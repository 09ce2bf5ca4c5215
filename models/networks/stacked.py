"""Many heads on one frozen trunk, trained as one batched computation: a head for each patient, cell line or cross-fitting fold.

A head of some thousand parameters leaves a machine idle: launching its layers takes longer than computing them. Here the weights of all
heads are stacked, each layer is one batched matrix product, and one optimizer moves them all. Losses are summed over the heads, and Adam
and SGD work element by element, so every head takes the very steps that it would take alone, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import InputError
from models.networks.recipe import Recipe
from models.networks.train import set_rate

OnEpoch = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class HeadData:
    """What one head learns from. views (V, N, F): cached features of its training rows, as in `FeatureSource`; targets (N,)."""

    views: Tensor
    targets: Tensor


class StackedHeads(nn.Module):
    """Heads of equal layers as one module: (M, B, F) -> (M, B, O), part m by head m. Linear layers and activations; no dropout.

    Weights lie in memory as in each head, (M, O, F), and products are formed as a single head forms them, so that sums are added up in
    the same order wherever the kernels allow: Adam divides by the size of a gradient, and makes steps of full length out of rounding
    where that is nearly zero.
    """

    def __init__(self, heads: Sequence[nn.Sequential]) -> None:
        super().__init__()
        self.heads = [_layers(head) for head in heads]
        kinds = [[str(layer) for layer in layers] for layers in self.heads]
        if not heads or any(kind != kinds[0] for kind in kinds):
            raise InputError("stacked heads must have the same layers; train heads of unlike recipes apart")
        linear = [[layer for layer in layers if isinstance(layer, nn.Linear)] for layers in self.heads]
        self.weights = nn.ParameterList([torch.stack([layer.weight.detach() for layer in same]) for same in zip(*linear, strict=True)])
        self.biases = nn.ParameterList([torch.stack([layer.bias.detach()[None] for layer in same]) for same in zip(*linear, strict=True)])

    def forward(self, features: Tensor) -> Tensor:
        """(M, B, F) -> (M, B, O)"""
        stacks = iter(zip(self.biases, self.weights, strict=True))
        for layer in self.heads[0]:
            if isinstance(layer, nn.Linear):
                bias, weight = next(stacks)                             # (M, 1, O), (M, O, F)
                features = _StackedLinear.apply(features, weight, bias)
            else:
                features = layer(features)
        return features

    @torch.no_grad()
    def copy_back(self) -> None:
        """Write the weights into the heads that this was made from."""
        for number, layers in enumerate(self.heads):
            linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
            for layer, weight, bias in zip(linear, self.weights, self.biases, strict=True):
                layer.weight.copy_(weight[number])
                layer.bias.copy_(bias[number, 0])


class _StackedLinear(torch.autograd.Function):
    """(M, B, F), weights (M, O, F), biases (M, 1, O) -> (M, B, O). Autograd of `baddbmm` would form the weights' gradient transposed:
    slower, and added up in another order than that of a single linear layer.
    """

    @staticmethod
    def forward(context: Any, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        context.save_for_backward(features, weight)
        return torch.baddbmm(bias, features, weight.transpose(1, 2))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        gradient, (features, weight) = gradients[0], context.saved_tensors
        towards_features = torch.bmm(gradient, weight) if context.needs_input_grad[0] else None
        return towards_features, torch.bmm(gradient.transpose(1, 2), features), gradient.sum(1, keepdim=True)


def _layers(head: nn.Sequential) -> list[nn.Module]:
    """The head's layers without those that do nothing. Raises InputError for what cannot be stacked."""
    layers = [layer for layer in head if not (isinstance(layer, nn.Dropout) and layer.p == 0)]
    for layer in layers:
        if not isinstance(layer, nn.Linear | nn.ReLU | nn.LeakyReLU):
            raise InputError(f"a head with {layer} cannot be stacked: heads would share its random numbers; train it alone, or without")
    return layers


def train_heads(heads: Sequence[nn.Sequential], data: Sequence[HeadData], recipe: Recipe, *, seeds: Sequence[int] | None = None,
                on_epoch: OnEpoch = lambda epoch, losses: None) -> None:
    """Train all heads in place for `recipe.optimizer.epochs`, each on its own rows, without validation or early stop.

    Orders and views are drawn as `models.networks.train.train` draws them from the head's seed (default: the recipe's), so that a head
    meets the same batches as alone. Heads with unlike numbers of rows are stacked group by group. on_epoch(epoch, losses): mean loss of
    each head of the group at hand. Raises InputError for heads or data that do not fit each other.
    """
    seeds = [recipe.seed] * len(heads) if seeds is None else seeds
    if not len(heads) == len(data) == len(seeds):
        raise InputError(f"each head needs its data and its seed, got {len(heads)} heads, {len(data)} data, {len(seeds)} seeds")
    shapes = [tuple(item.views.shape) for item in data]
    for shape in dict.fromkeys(shapes):
        chosen = [number for number, own in enumerate(shapes) if own == shape]
        _train_group([heads[number] for number in chosen], [data[number] for number in chosen], recipe,
                     seeds=[seeds[number] for number in chosen], on_epoch=on_epoch)


def _train_group(heads: list[nn.Sequential], data: list[HeadData], recipe: Recipe, *, seeds: list[int], on_epoch: OnEpoch) -> None:
    stacked = StackedHeads(heads)
    views, targets = torch.stack([item.views for item in data]), torch.stack([item.targets for item in data])   # (M, V, N, F), (M, N)
    if recipe.is_regression:
        with torch.no_grad():       # a regression starts from the mean read-out, as it does alone
            stacked.biases[-1].copy_(targets.mean(dim=1)[:, None, None])
    optimizer = _optimizer(stacked, recipe)
    which = torch.arange(len(heads))[:, None]
    for epoch in range(recipe.optimizer.epochs):
        set_rate(optimizer, recipe.optimizer, epoch)
        total = torch.zeros(len(heads))
        for rows, chosen in _batches(views.shape[1], targets.shape[1], seeds, epoch=epoch, size=recipe.optimizer.batch_size):
            losses = losses_of(stacked(views[which, chosen, rows]), targets[which, rows], regression=recipe.is_regression)
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimizer.step()
            total += losses.detach() * rows.shape[1]
        on_epoch(epoch, total / targets.shape[1])
    stacked.copy_back()


def losses_of(outputs: Tensor, targets: Tensor, *, regression: bool) -> Tensor:
    """Mean loss (M,) of each head's outputs (M, B, O) for targets (M, B): as `models.networks.train.loss_of`."""
    if regression:
        return functional.mse_loss(outputs[..., 0], targets, reduction="none").mean(dim=1)
    logits = outputs[..., 0] if outputs.shape[2] == 1 else outputs[..., 0] - outputs[..., 1]
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)


def _batches(view_count: int, row_count: int, seeds: list[int], *, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows, views), each (M, B), of one epoch: every head's own seeded order."""
    generators = [torch.Generator().manual_seed(seed * 1_000_003 + epoch) for seed in seeds]
    orders = torch.stack([torch.randperm(row_count, generator=generator) for generator in generators])
    for rows in orders.split(size, dim=1):
        yield rows, torch.stack([torch.randint(view_count, rows.shape[1:], generator=generator) for generator in generators])


def _optimizer(stacked: StackedHeads, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer in one pass over memory (`fused`): moving millions of stacked weights is what a step costs."""
    spec = recipe.optimizer
    if spec.name == "adam":
        return torch.optim.AdamW(stacked.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True)
    return torch.optim.SGD(stacked.parameters(), lr=spec.learning_rate, momentum=0.9, weight_decay=spec.weight_decay, fused=True)
