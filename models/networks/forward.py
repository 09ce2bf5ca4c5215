"""The way through a network when it scores: OpenVINO's compiled arithmetic on a CPU where it is installed, torch elsewhere.

One path for stage and service. Compiled or not, the float32 outputs are the same to about 1e-5 of a logit; only the speed differs. Our own
small trunks stay with torch: they take less time than compiling.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from models.networks.backbones import OWN
from models.networks.heads import Network

if TYPE_CHECKING:
    from models.networks.recipe import Recipe

Forward = Callable[[Tensor], Tensor]
Path = Literal["auto", "torch", "openvino"]


def forward_of(network: Network, recipe: Recipe, device: torch.device, *, path: Path = "auto") -> Forward:
    """Pixels on 0-1 (B, C, H, W) float32 -> outputs (B, head.outputs), for a network in evaluation mode.

    path: "auto" takes OpenVINO on a CPU for published trunks where it is installed (`uv sync --extra fast`). What is compiled holds the
    weights of this moment: later changes of `network` do not reach it.
    """
    if path == "auto":
        path = "openvino" if device.type == "cpu" and recipe.trunk.name not in OWN and importlib.util.find_spec("openvino") else "torch"
    if path == "torch":
        return lambda images: network(images.to(device).contiguous(memory_format=torch.channels_last))
    return _openvino(network, size=recipe.input.size)


def _openvino(network: Network, *, size: int) -> Forward:
    """The network compiled for the CPU in float32, any number of images at a time."""
    import openvino
    from openvino.properties.hint import inference_precision

    example = torch.zeros(1, len(network.normalise.mean.flatten()), size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")      # OpenVINO traces by torch.jit, which torch 2 deprecates and still has
        converted = openvino.convert_model(network.to(memory_format=torch.contiguous_format), example_input=example)
    converted.reshape([-1, *example.shape[1:]])
    compiled = openvino.Core().compile_model(converted, "CPU", {inference_precision: openvino.Type.f32})

    def forward(images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, outputs); a request of its own per call, because calls come from several threads"""
        answer: Any = compiled.create_infer_request().infer({0: np.ascontiguousarray(images.numpy())})
        return torch.from_numpy(np.array(answer[0]))

    return forward
