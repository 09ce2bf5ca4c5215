"""Random changes of training images, on tensors, from one seeded generator.

Geometry is one resampling (rotation, scale, shift and crop in a single affine map), so that it blurs once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.networks.device import send
from models.networks.recipe import Augmentation

_LUMA = (0.299, 0.587, 0.114)


def augment(images: Tensor, spec: Augmentation, generator: torch.Generator) -> Tensor:
    """Changed copies of images on 0-1, (B, C, H, W) -> (B, C, H, W). The generator is a CPU one, whatever the device."""
    images = _turned(images, spec, generator)
    if spec.rotation or spec.shift or spec.crop < 1 or spec.scale != (1.0, 1.0):
        images = _resampled(images, spec, generator)
    return _recoloured(images, spec, generator)


def mosaic(images: Tensor, others: Tensor, *, patches: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images pieced together from two, (B, C, H, W) each, and the share (B,) of the area that is of the first.

    As CutMix (Yun et al. 2019), with soft patches in place of one rectangle (FMix, Harris et al. 2020): noise on a grid of `patches` a
    side, made smooth and cut at the height that gives the first image a share drawn evenly from 0-1. A well in which some cells live and
    some are dead looks like that; a network that saw only wells of one kind has no reason to answer for such a well with its share.
    """
    count, _, height, width = images.shape
    share = torch.rand(count, generator=generator)
    noise = torch.rand(count, 1, patches, patches, generator=generator)
    noise = functional.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
    ranks = 1 + ((1 - share) * (height * width - 1)).long()
    cut = torch.stack([own.kthvalue(rank).values for own, rank in zip(noise.flatten(1), ranks.tolist(), strict=True)])
    first = noise > cut[:, None, None, None]                                # (B, 1, H, W)
    return torch.where(send(first, images.device), images, others), first.float().mean(dim=(1, 2, 3))


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _turned(images: Tensor, spec: Augmentation, generator: torch.Generator) -> Tensor:
    count = len(images)
    if spec.flip:
        for dim in (2, 3):
            chosen = send(torch.rand(count, generator=generator) < 0.5, images.device)
            images = torch.where(chosen[:, None, None, None], images.flip(dim), images)
    if spec.quarter_turns and images.shape[2] == images.shape[3]:
        turns = torch.randint(4, (count,), generator=generator)
        images = torch.stack([torch.rot90(image, int(turn), (1, 2)) for image, turn in zip(images, turns, strict=True)])
    return images


def _resampled(images: Tensor, spec: Augmentation, generator: torch.Generator) -> Tensor:
    count = len(images)
    angle = _uniform(count, -spec.rotation, spec.rotation, generator) * math.pi / 180
    zoom = spec.crop / _uniform(count, *spec.scale, generator)      # part of the image that fills the frame
    slack = max(0.0, 1.0 - spec.crop) + 2 * spec.shift              # affine_grid counts the side as 2
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = zoom * angle.cos(), -zoom * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = zoom * angle.sin(), zoom * angle.cos()
    theta[:, :, 2] = _uniform(2 * count, -slack, slack, generator).reshape(count, 2)
    grid = functional.affine_grid(send(theta, images.device), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid.to(images.dtype), padding_mode="reflection", align_corners=False)


def _recoloured(images: Tensor, spec: Augmentation, generator: torch.Generator) -> Tensor:
    def factor(low: float, high: float) -> Tensor:
        return send(_uniform(len(images), low, high, generator), images.device).to(images.dtype)[:, None, None, None]

    if spec.intensity != (1.0, 1.0):
        images = images * factor(*spec.intensity)
    if spec.brightness:  # additive, as in TensorFlow, with which the S1 paper trained
        images = images + factor(-spec.brightness, spec.brightness)
    if spec.contrast != (1.0, 1.0):
        mean = images.mean(dim=(2, 3), keepdim=True)
        images = mean + (images - mean) * factor(*spec.contrast)
    if images.shape[1] == 3 and spec.saturation != (1.0, 1.0):
        grey = (images * torch.tensor(_LUMA).to(images)[None, :, None, None]).sum(dim=1, keepdim=True)
        images = grey + (images - grey) * factor(*spec.saturation)
    if images.shape[1] == 3 and spec.hue:
        images = _hue_turned(images, factor(-spec.hue, spec.hue)[:, 0, 0, 0])
    return images


def _hue_turned(images: Tensor, turns: Tensor) -> Tensor:
    """Colours turned about the grey axis by `turns` (1 = full circle); grey images stay as they are."""
    cosine, sine = (2 * math.pi * turns).cos(), (2 * math.pi * turns).sin()
    same, other = cosine + (1 - cosine) / 3, (1 - cosine) / 3
    plus, minus = other + sine * math.sqrt(1 / 3), other - sine * math.sqrt(1 / 3)
    matrix = torch.stack([same, minus, plus, plus, same, minus, minus, plus, same], dim=1).reshape(-1, 3, 3)
    return torch.einsum("bij,bjhw->bihw", matrix, images)
