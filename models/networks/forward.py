"""The way through a trunk when it scores: OpenVINO's compiled arithmetic on a CPU where it is installed, torch elsewhere.

One path for stage and service. In float32 the features are torch's to about 1e-5 of a logit; only the speed differs. bfloat16 is taken
where a model's card allows it (models/networks/precision.py) and the CPU has it in hardware. Our own small trunks stay with torch: they
take less time than compiling. The head is always torch's, in float32: it is each model's own, and small.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from models.environment import choice
from models.instructions import held_back
from models.networks.backbones import OWN
from models.networks.heads import Network

Path = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16"]

PASS = 32               # images that torch gets in a pass: always as many, because its convolutions depend on how many they are
IMAGES_A_THREAD = 32    # that OpenVINO gets in a pass at most; at its end some threads wait for the last one
AHEAD = 4               # images that are laid ready for each of its threads, which then do not wait for the interpreter


class Forward(Protocol):
    """A way through a trunk. One pass at a time."""

    images: int     # in a pass at most

    def __call__(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Pixels on 0-1 of one or several plates, float16 (n, C, size, size) each, of `images` in all -> features (sum of n, F) float32.

        An image's features do not depend on its company, to the last bit.
        """


def path_of(trunk: str, device: torch.device) -> Path:
    """The path that scoring takes: OpenVINO for published trunks on a CPU where it is installed (`uv sync --extra fast`)."""
    return "openvino" if device.type == "cpu" and trunk not in OWN and importlib.util.find_spec("openvino") else "torch"


@functools.cache
def has_bf16() -> bool:
    """Whether OpenVINO is installed and computes in bfloat16 on this CPU, and may (models/instructions.py)."""
    if held_back() or not importlib.util.find_spec("openvino"):
        return False
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def bf16_wanted() -> bool:
    """False where the environment variable DOSEWELL_PRECISION is fp32, not auto. Raises DosewellError for any other value."""
    return choice(os.environ, "DOSEWELL_PRECISION", ("auto", "fp32")) == "auto"


def trunk_forward(network: Network, device: torch.device, *, size: int, path: Path, precision: Precision = "fp32") -> Forward:
    """The way through a network in evaluation mode. What is compiled holds the weights of this moment: later changes of `network` do not
    reach it.
    """
    if path == "openvino":
        return OpenVinoForward(network, size=size, precision=precision)
    if precision != "fp32":
        raise ValueError("torch scores in fp32 only")
    return TorchForward(network, device)


class TorchForward:
    """Torch, on any device; a short pass is filled up with black images."""

    images = PASS

    def __init__(self, network: Network, device: torch.device) -> None:
        self._network, self._device = network, device
        self._batch: Tensor | None = None   # fresh memory costs more time than copying

    @torch.inference_mode()
    def __call__(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See Forward."""
        if self._batch is None or self._batch.shape[1:] != parts[0].shape[1:]:
            self._batch = torch.empty((PASS, *parts[0].shape[1:]))
        count = 0
        for part in parts:
            self._batch[count:count + len(part)] = torch.from_numpy(part)
            count += len(part)
        self._batch[count:] = 0
        images = self._batch.to(self._device).contiguous(memory_format=torch.channels_last)
        return np.asarray(self._network.features(images)[:count].float().cpu().numpy())


class _Features(nn.Module):
    """Normalisation and trunk, without the head."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F)"""
        return self.network.features(images)


class OpenVinoForward:
    """OpenVINO on a CPU, for as many threads as torch takes: one setting (OMP_NUM_THREADS) for both.

    Each thread computes images of its own, one at a time: an image's maps stay in its core's cache, and no thread waits for the others
    after each layer. So it takes three quarters of the processor time of all threads on one batch, and keeps its pace where a core has
    other work (`python -m benchmarks.forward`).
    """

    def __init__(self, network: Network, *, size: int, precision: Precision) -> None:
        import openvino
        from openvino.preprocess import PrePostProcessor
        from openvino.properties import hint, inference_num_threads, num_streams

        threads = torch.get_num_threads()
        self.images, self._ahead, self._tensor = IMAGES_A_THREAD * threads, AHEAD * threads, openvino.Tensor
        self._feature_count = network.feature_count
        example = torch.zeros(1, len(network.normalise.mean.flatten()), size, size)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")      # OpenVINO traces by torch.jit, which torch 2 deprecates and still has
            traced = openvino.convert_model(_Features(network).to(memory_format=torch.contiguous_format).eval(), example_input=example)
        traced.reshape(list(example.shape))
        converted = PrePostProcessor(traced)
        converted.input().tensor().set_element_type(openvino.Type.f16)      # as images are kept: no copy of them is made
        self._compiled: Any = openvino.Core().compile_model(converted.build(), "CPU", {
            hint.inference_precision: openvino.Type.f32 if precision == "fp32" else openvino.Type.bf16,
            hint.enable_cpu_pinning: False,     # a pinned thread stands still while something else has its core
            inference_num_threads: threads, num_streams: threads})

    def __call__(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See Forward."""
        images = [image for part in parts for image in np.ascontiguousarray(part)[:, None]]     # (1, C, H, W) each
        features = np.empty((len(images), self._feature_count), np.float32)
        requests = [self._compiled.create_infer_request() for _ in range(min(self._ahead, len(images)))]
        with contextlib.ExitStack() as running:
            for request in requests:    # whatever happens, before the memory goes that it reads and writes
                running.callback(request.wait)
            for number, image in enumerate(images):
                request = requests[number % len(requests)]
                request.wait()
                request.set_input_tensor(self._tensor(image, shared_memory=True))
                request.set_output_tensor(self._tensor(features[number:number + 1], shared_memory=True))
                request.start_async()
        return features
