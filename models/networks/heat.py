"""Heat maps of wells as a person asks for them: images in, both maps out, beside a model that goes on serving others."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.errors import InputError
from models.networks.explain import METHODS, Method, explain
from models.networks.predict import Predictor
from models.plates.images import WellImages

QUICK: tuple[Method, ...] = ("gradcam", "gradcam++")    # a second or less; the others take up to minutes an image
Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Heat:
    """Heat maps of N images. seen (N, H, W) on 0-1: the mean of the planes as the network reads them; raises, lowers (N, H, W) on 0-1:
    what pushes its answer (viability, or read-out) up and down, each image by itself.
    """

    method: str
    seen: Pixels
    raises: Pixels
    lowers: Pixels


def heat_of(predictor: Predictor, images: WellImages, *, method: str = "gradcam") -> Heat:
    """Explain prepared images. The network is copied first: a CAM hooks into layers, which other requests may be using.

    Raises InputError for another method than QUICK.
    """
    if method not in QUICK:
        slow = f"is too slow to wait for: by command, python -m pipelines.explain MODEL --method {method}"
        raise InputError(f"method must be {' or '.join(QUICK)}, '{method}' {slow if method in METHODS else 'is not known'}")
    network = copy.deepcopy(predictor.network).float().to(predictor.device)
    pixels = torch.from_numpy(images.pixels).to(predictor.device, torch.float32)    # (N, C, H, W)
    found = explain(network, pixels, method=method)
    return Heat(found.method, pixels.mean(dim=1).cpu().numpy(), found.raises, found.lowers)
