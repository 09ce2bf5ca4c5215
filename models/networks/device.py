"""What a network computes on."""

from __future__ import annotations

import torch
from torch import Tensor


def pick_device(wanted: str = "auto") -> torch.device:
    """The device named, or the best there is: cuda, mps, cpu. On cuda and mps the same seed gives close, not equal, numbers; float32 is
    float32 there too.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if (device := torch.device(wanted)).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False     # else convolutions keep 11 bits of a number, and a plate reads otherwise than on a CPU
    return device


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device. A CUDA GPU is not waited for, since it copies before it does what it is asked next; of MPS torch
    does not promise that.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")
