"""One step of a training; on a CUDA GPU it is recorded once and replayed.

A step of a network with one image, as system S2 takes them, is some hundreds of small kernels, and a GPU does them faster than Python
can ask for them. A recorded step (a CUDA graph) is asked for once; the kernels, and so the numbers, are the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.heads import living_logit
from models.networks.recipe import Recipe

Step = Callable[[Tensor, Tensor], Tensor]   # inputs (B, ...), targets (B,) -> loss, and share of outputs on the targets' side of 1/2: (2,)
_UNRECORDED = 3     # steps before the recording: until then the kernels are chosen and the optimizer's state is made


def loss_of(outputs: Tensor, targets: Tensor, *, regression: bool) -> Tensor:
    """Mean loss of outputs (B, O) for targets (B,): squared error, or cross-entropy with soft labels of the living class."""
    if regression:
        return functional.mse_loss(outputs[:, 0], targets)
    return functional.binary_cross_entropy_with_logits(living_logit(outputs), targets)


def share_right(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Share of outputs (B, O) on the same side of 1/2 as the targets (B,)."""
    return ((living_logit(outputs) > 0) == (wanted > 0.5)).float().mean()


def training_step(module: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, device: torch.device) -> Step:
    """A step that teaches `module`; recorded on a CUDA GPU with Adam, which torch can record."""
    def step(inputs: Tensor, wanted: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.optimizer.precision == "bf16"):
            outputs = module(inputs)
        loss = loss_of(outputs.to(wanted.dtype), wanted, regression=recipe.is_regression)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return torch.stack([loss.detach(), share_right(outputs.detach(), wanted)])

    return RecordedStep(step, optimizer) if device.type == "cuda" and recipe.optimizer.name == "adam" else step


class RecordedStep:
    """A step as a CUDA graph. Batches of another size than the first one, as the last of an epoch, are not recorded."""

    def __init__(self, step: Step, optimizer: torch.optim.Optimizer) -> None:
        self._step, self._optimizer = step, optimizer
        self._side = torch.cuda.Stream()     # torch records away from the stream that others use
        self._graph: torch.cuda.CUDAGraph | None = None
        self._done = 0
        self._inputs = self._wanted = self._told = torch.empty(0)

    def __call__(self, inputs: Tensor, wanted: Tensor) -> Tensor:
        """A step, as `Step` says."""
        if self._done == 0:
            self._inputs, self._wanted = torch.empty_like(inputs), torch.empty_like(wanted)
        if inputs.shape != self._inputs.shape:
            return self._step(inputs, wanted)
        self._inputs.copy_(inputs)
        self._wanted.copy_(wanted)
        if self._graph is None and self._done >= _UNRECORDED:
            self._graph = self._record()
        if self._graph is None:
            return self._aside()
        self._graph.replay()
        return self._told.clone()

    def _aside(self) -> Tensor:
        self._done += 1
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            told = self._step(self._inputs, self._wanted)
        torch.cuda.current_stream().wait_stream(self._side)
        return told

    def _record(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        self._optimizer.zero_grad(set_to_none=True)     # gradients lie in the graph's own memory
        with torch.cuda.graph(graph, stream=self._side):
            self._told = self._step(self._inputs, self._wanted)
        return graph
