"""Many heads on one frozen trunk, trained as one batched computation: a head for each patient, cell line or cross-fitting fold.

A head of some thousand parameters leaves a machine idle: launching its layers takes longer than computing them. Here the weights of all
heads are stacked, each layer is one batched matrix product, and one optimizer moves them all. Losses are summed over the heads, and Adam
and SGD work element by element, so every head takes the very steps that it would take alone, to rounding; and that of double precision,
in which heads train here as in `models.networks.train`, because Adam divides by the size of a gradient, and makes whole steps out of
single precision's rounding where that is nearly zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.errors import InputError
from models.networks.heads import living_logit
from models.networks.optimizers import build_optimizer
from models.networks.recipe import Recipe
from models.networks.train import refuse_divergence, set_rate

OnEpoch = Callable[[int, Tensor], None]
WEIGHTS_AT_ONCE = 50_000_000    # of all heads that train together; with their gradients and Adam's two moments 1.6 GB


@dataclass(frozen=True)
class HeadData:
    """What one head learns from. views (V, N, F): cached features as in `FeatureSource`, in memory once if heads share them; targets (N,);
    rows (n,): positions of those that teach it, all by default.
    """

    views: Tensor
    targets: Tensor
    rows: Tensor | None = None

    @property
    def taught(self) -> Tensor:
        """Positions (n,) of the rows that teach."""
        return torch.arange(len(self.targets)) if self.rows is None else self.rows


class StackedHeads(nn.Module):
    """Heads of equal layers as one module: (M, B, F) -> (M, B, O), part m by head m, float64. Linear layers and activations; no dropout."""

    def __init__(self, heads: Sequence[nn.Sequential]) -> None:
        super().__init__()
        self.heads = [_layers(head) for head in heads]
        kinds = [[str(layer) for layer in layers] for layers in self.heads]
        if not heads or any(kind != kinds[0] for kind in kinds):
            raise InputError("stacked heads must have the same layers; train heads of unlike recipes apart")
        linear = [[layer for layer in layers if isinstance(layer, nn.Linear)] for layers in self.heads]
        self.weights = nn.ParameterList([_stack([layer.weight for layer in same]) for same in zip(*linear, strict=True)])
        self.biases = nn.ParameterList([_stack([layer.bias[None] for layer in same]) for same in zip(*linear, strict=True)])

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
    """(M, B, F), weights (M, O, F), biases (M, 1, O) -> (M, B, O). Autograd of `baddbmm` would form the weights' gradient transposed,
    which takes longer.
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


def _stack(parameters: Sequence[Tensor]) -> Tensor:
    return torch.stack([parameter.detach() for parameter in parameters]).double()


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
    meets the same batches as alone. Heads with unlike numbers of rows are stacked group by group, and so are more than memory should hold.
    on_epoch(epoch, losses): mean loss of each head of the group at hand. Raises InputError for heads or data that do not fit each other,
    ParamsError when a loss is no number any more.
    """
    seeds = [recipe.seed] * len(heads) if seeds is None else seeds
    if not len(heads) == len(data) == len(seeds):
        raise InputError(f"each head needs its data and its seed, got {len(heads)} heads, {len(data)} data, {len(seeds)} seeds")
    sizes = [(len(item.views), len(item.taught)) for item in data]
    at_once = max(1, WEIGHTS_AT_ONCE // max([1, *(sum(weight.numel() for weight in head.parameters()) for head in heads)]))
    for size in dict.fromkeys(sizes):
        alike = [number for number, own in enumerate(sizes) if own == size]
        for chosen in (alike[start:start + at_once] for start in range(0, len(alike), at_once)):
            _train_group([heads[number] for number in chosen], [data[number] for number in chosen], recipe,
                         seeds=[seeds[number] for number in chosen], on_epoch=on_epoch)


def _train_group(heads: list[nn.Sequential], data: list[HeadData], recipe: Recipe, *, seeds: list[int], on_epoch: OnEpoch) -> None:
    stacked, bank = StackedHeads(heads), _Bank(data)
    taught = torch.stack([item.taught for item in data])                                                        # (M, n)
    targets = torch.stack([item.targets[item.taught] for item in data]).double()                                # (M, n)
    if recipe.is_regression:
        with torch.no_grad():       # a regression starts from the mean read-out, as it does alone
            stacked.biases[-1].copy_(targets.mean(dim=1)[:, None, None])
    optimizer = build_optimizer(stacked.parameters(), recipe.optimizer, fused=True)
    for epoch in range(recipe.optimizer.epochs):
        set_rate(optimizer, recipe.optimizer, epoch)
        total = torch.zeros(len(heads), dtype=torch.float64)
        for places, views in _batches(len(data[0].views), taught.shape[1], seeds, epoch=epoch, size=recipe.optimizer.batch_size):
            features = bank.take(views, taught.gather(1, places))
            losses = losses_of(stacked(features), targets.gather(1, places), regression=recipe.is_regression)
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimizer.step()
            total += losses.detach() * places.shape[1]
        refuse_divergence(float(total.sum()), epoch, recipe.optimizer)
        on_epoch(epoch, total / targets.shape[1])
    stacked.copy_back()


class _Bank:
    """Features of all heads as one table of rows, those that heads share in it once."""

    def __init__(self, data: Sequence[HeadData]) -> None:
        tensors = {id(item.views): item.views for item in data}
        flat = [views.reshape(-1, views.shape[-1]) for views in tensors.values()]
        starts = dict(zip(tensors, [0, *np.cumsum([len(rows) for rows in flat[:-1]]).tolist()], strict=True))
        self._rows = flat[0] if len(flat) == 1 else torch.cat(flat)
        self._start = torch.tensor([[starts[id(item.views)]] for item in data])     # (M, 1)
        self._length = torch.tensor([[item.views.shape[1]] for item in data])       # (M, 1)

    def take(self, views: Tensor, rows: Tensor) -> Tensor:
        """views, rows (M, B) -> (M, B, F), float64"""
        places = self._start + views * self._length + rows
        return self._rows.index_select(0, places.flatten()).double().view(*places.shape, -1)


def losses_of(outputs: Tensor, targets: Tensor, *, regression: bool) -> Tensor:
    """Mean loss (M,) of each head's outputs (M, B, O) for targets (M, B): as `models.networks.train.loss_of`."""
    if regression:
        return functional.mse_loss(outputs[..., 0], targets, reduction="none").mean(dim=1)
    return functional.binary_cross_entropy_with_logits(living_logit(outputs), targets, reduction="none").mean(dim=1)


def _batches(view_count: int, row_count: int, seeds: list[int], *, epoch: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows, views), each (M, B), of one epoch: every head's own seeded order, and views as they are drawn alone, batch after batch."""
    orders, views = [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        orders.append(torch.randperm(row_count, generator=generator))
        views.append(torch.randint(view_count, (row_count,), generator=generator))
    return zip(torch.stack(orders).split(size, dim=1), torch.stack(views).split(size, dim=1), strict=True)
