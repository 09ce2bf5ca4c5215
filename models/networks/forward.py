"""The way through a trunk when it scores: OpenVINO's compiled arithmetic on a CPU where it is installed, torch elsewhere.

One path for stage and service. In float32 the features are torch's to about 1e-5 of a logit; only the speed differs. bfloat16 is taken
where a model's card allows it (models/networks/precision.py) and the CPU has it in hardware. Our own small trunks stay with torch: they
take less time than compiling. The head is always torch's, in float32: it is each model's own, and small.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.environment import choice
from models.networks.backbones import OWN
from models.networks.heads import Network

Forward = Callable[[Tensor], Tensor]
Path = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16"]


def path_of(trunk: str, device: torch.device) -> Path:
    """The path that scoring takes: OpenVINO for published trunks on a CPU where it is installed (`uv sync --extra fast`)."""
    return "openvino" if device.type == "cpu" and trunk not in OWN and importlib.util.find_spec("openvino") else "torch"


@functools.cache
def has_bf16() -> bool:
    """Whether OpenVINO is installed and computes in bfloat16 on this CPU."""
    if not importlib.util.find_spec("openvino"):
        return False
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def bf16_wanted() -> bool:
    """False where the environment variable DOSEWELL_PRECISION is fp32, not auto. Raises DosewellError for any other value."""
    return choice(os.environ, "DOSEWELL_PRECISION", ("auto", "fp32")) == "auto"


def trunk_forward(network: Network, device: torch.device, *, size: int, path: Path, precision: Precision = "fp32") -> Forward:
    """Pixels on 0-1 (B, C, size, size) float32 -> features (B, F) float32 on the CPU, for a network in evaluation mode.

    What is compiled holds the weights of this moment: later changes of `network` do not reach it.
    """
    if path == "openvino":
        return _openvino(network, size=size, precision=precision)
    if precision != "fp32":
        raise ValueError("torch scores in fp32 only")
    return lambda images: network.features(images.to(device).contiguous(memory_format=torch.channels_last)).float().cpu()


class _Features(nn.Module):
    """Normalisation and trunk, without the head."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F)"""
        return self.network.features(images)


def _openvino(network: Network, *, size: int, precision: Precision) -> Forward:
    """Compiled for the CPU, any number of images at a time, for as many threads as torch takes: one setting (OMP_NUM_THREADS) for both."""
    import openvino
    from openvino.properties import inference_num_threads
    from openvino.properties.hint import inference_precision

    example = torch.zeros(1, len(network.normalise.mean.flatten()), size, size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")      # OpenVINO traces by torch.jit, which torch 2 deprecates and still has
        converted = openvino.convert_model(_Features(network).to(memory_format=torch.contiguous_format).eval(), example_input=example)
    converted.reshape([-1, *example.shape[1:]])
    kind = openvino.Type.f32 if precision == "fp32" else openvino.Type.bf16
    compiled = openvino.Core().compile_model(converted, "CPU", {inference_precision: kind, inference_num_threads: torch.get_num_threads()})

    def forward(images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F); a request of its own per call, because calls come from several threads"""
        answer: Any = compiled.create_infer_request().infer({0: np.ascontiguousarray(images.numpy())}, share_inputs=True)
        return torch.from_numpy(np.array(answer[0]))

    return forward
