"""The optimizers of recipes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import nn

from models.networks.recipe import OptimizerSpec

MOMENTUM = 0.9      # of sgd


class _Uncompiled(torch.optim.Optimizer):
    """torch's optimizers without what keeps torch's compiler off their methods: it imports the compiler, which takes one to three seconds
    of every process that trains, as long as a head's whole training, and nothing here is compiled.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch has overloads
        """One step of the optimizer, as torch defines it."""
        return cast("float | None", inspect.unwrap(super().step)(self, closure))


class Adam(_Uncompiled, torch.optim.Adam):
    """Adam (Kingma and Ba 2015)."""


class AdamW(_Uncompiled, torch.optim.AdamW):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""


class SGD(_Uncompiled, torch.optim.SGD):
    """Stochastic gradient descent."""


def build_optimizer(parameters: Iterable[nn.Parameter], spec: OptimizerSpec, *, fused: bool | None = None) -> torch.optim.Optimizer:
    """The recipe's optimizer. fused: in one pass over memory, which is what moving millions of weights costs; by default on a CUDA GPU
    alone. There Adam keeps its learning rate on the card too, so that its steps can be recorded (models/networks/step.py).
    """
    parameters = list(parameters)
    rate, on_gpu = spec.learning_rate, parameters[0].is_cuda
    fused = True if fused is None and on_gpu else fused
    if spec.name == "adam":
        return AdamW(parameters, lr=torch.tensor(rate, device=parameters[0].device) if on_gpu else rate, weight_decay=spec.weight_decay,
                     fused=fused, capturable=on_gpu)
    return SGD(parameters, lr=rate, momentum=MOMENTUM, weight_decay=spec.weight_decay, fused=fused)
