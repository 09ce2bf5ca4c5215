"""Where a network looks: heat maps of what raises and what lowers its answer, for any recipe's head and also with a frozen trunk.

GradCAM, GradCAM++ and ScoreCAM by `pytorch-grad-cam`, XRAI by `saliency` (seeds/004, figures S-8 and S-9; seeds/001, figure 5). All of
them show only what pushes one way, and can be all zero when nothing does; so both ways are always explained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.errors import InputError
from models.networks.heads import living_logit
from models.networks.predict import Predictor
from models.plates.images import WellImages

Method = Literal["gradcam", "gradcam++", "scorecam", "xrai"]
METHODS: tuple[Method, ...] = get_args(Method)
Maps = npt.NDArray[np.float32]
BATCH = 32      # images, or copies of one, at a time


@dataclass(frozen=True)
class Explanation:
    """Heat maps (N, H, W) on 0-1, each image by itself: what raises the answer (viability, or the read-out) and what lowers it.

    A map without any push that way is all zero.
    """

    method: str
    raises: Maps
    lowers: Maps


class _Answer(nn.Module):
    """The one number that is explained, as (N, 1): the output of a regression, or the logit of the living class; times `sign`."""

    def __init__(self, network: nn.Module, sign: float) -> None:
        super().__init__()
        self.network, self.sign = network, sign

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1)"""
        return self.sign * living_logit(self.network(images))[:, None]


def explain(network: nn.Module, images: Tensor, *, method: Method = "gradcam") -> Explanation:
    """Heat maps of images (N, C, H, W) on 0-1, pixels as the network takes them.

    A CAM weighs the maps of the last layer that still has rows and columns (`spatial_layer`); XRAI works on the pixels. ScoreCAM asks the
    network once per channel of that layer: seconds to minutes an image.
    Raises InputError for an unknown method, or where no layer has rows and columns.
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if images.ndim != 4:
        raise InputError(f"expected images (N, C, H, W), got shape {tuple(images.shape)}")
    was_training = network.training
    network.eval()
    try:
        both = [_xrai(network, images, sign) if method == "xrai" else _cam(network, images, method, sign) for sign in (1.0, -1.0)]
    finally:
        network.train(was_training)
        network.zero_grad(set_to_none=True)
    return Explanation(method, *both)


def explain_wells(predictor: Predictor, images: WellImages, *, method: Method = "gradcam") -> Explanation:
    """Heat maps of a loaded model for prepared images, in their order."""
    return explain(predictor.network, torch.from_numpy(images.pixels).float().to(predictor.device), method=method)


def spatial_layer(network: nn.Module, images: Tensor) -> str:
    """Name of the last layer with more than one row and column, inside which a CAM looks. Raises InputError when there is none."""
    found = ""

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(_: nn.Module, __: Any, output: Any) -> None:
            nonlocal found
            if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1 and "normalise" not in name:
                found = name
        return look

    hooks = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(images[:1])
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise InputError("the network has no layer with rows and columns for images of this size; use larger images, or xrai")
    return found


def _cam(network: nn.Module, images: Tensor, method: Method, sign: float) -> Maps:
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, ScoreCAM

    kind = {"gradcam": GradCAM, "gradcam++": GradCAMPlusPlus, "scorecam": ScoreCAM}[method]
    target = network.get_submodule(spatial_layer(network, images))
    maps = []
    with kind(model=_Answer(network, sign), target_layers=[target]) as cam:
        cam.batch_size = BATCH
        for batch in images.split(BATCH):
            inputs = batch.detach().clone().requires_grad_()     # a frozen trunk gives gradients only through its input
            maps.append(cam(input_tensor=inputs, targets=[lambda output: output[0]] * len(batch)))
    return _on_unit(np.concatenate(maps))


def _xrai(network: nn.Module, images: Tensor, sign: float) -> Maps:
    import saliency.core as saliency

    answer = _Answer(network, sign)
    device = images.device

    def gradients(pixels: npt.NDArray[np.float64], call_model_args: Any = None, expected_keys: Any = None) -> dict[str, Any]:
        inputs = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).to(device, torch.float32).requires_grad_()
        (slope,) = torch.autograd.grad(answer(inputs).sum(), inputs)
        return {saliency.INPUT_OUTPUT_GRADIENTS: slope.permute(0, 2, 3, 1).cpu().numpy()}

    pictures = images.detach().permute(0, 2, 3, 1).cpu().double().numpy()
    masks = [saliency.XRAI().GetMask(picture, gradients, batch_size=BATCH) for picture in pictures]
    return _on_unit(np.maximum(np.stack(masks), 0))


def _on_unit(maps: npt.NDArray[Any]) -> Maps:
    """Maps that are at least 0, each divided by its own maximum; a map that is nowhere above 0, or not finite, is all zero."""
    clean = np.nan_to_num(np.asarray(maps, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    top = clean.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.where(top > 1e-6, clean / np.maximum(top, 1e-6), 0), dtype=np.float32)
