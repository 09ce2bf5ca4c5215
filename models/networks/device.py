"""What a network computes on."""

from __future__ import annotations

import torch
from torch import Tensor


def pick_device(wanted: str = "auto") -> torch.device:
    """The device named, or the best there is: cuda, mps, cpu. On cuda and mps the same seed gives close, not equal, numbers."""
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device. A CUDA GPU is not waited for, since it copies before it does what it is asked next; of MPS torch
    does not promise that.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
