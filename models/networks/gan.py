"""A conditional GAN that draws more training images of both classes (system S4: Saini et al. 2020, section 4.2).

The paper names its steps - noise vector, dense layer, batch normalisation, convolutions, LeakyReLU - and reports the discriminator's
loss and accuracy and the generator's loss by epoch: the usual DCGAN (Radford et al. 2016) with binary cross-entropy, of which this is the
class-conditional form, so that an image comes with its label. An epoch is one batch of training images, as in the paper's log: its 1500
epochs of 35 images are about a batch each, and the cost does not grow with the images that co-training adds. A few dozen images are soon
known by heart; so the discriminator sees real and drawn images only after the same random changes (Zhao et al. 2020, DiffAugment), and
dropout. Both work on the range of grey values that the training images have: microscopy often fills little of the camera's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.augment import augment
from models.networks.checkpoint import Progress, load_checkpoint, save_checkpoint
from models.networks.optimizers import Adam
from models.networks.recipe import Augmentation, GanSpec, Recipe
from models.networks.sources import PixelSource
from models.networks.train import Lesson, smoothed
from models.records import to_record

OnEpoch = Callable[[dict[str, float]], None]

CHANGES = Augmentation(flip=True, quarter_turns=True, shift=0.06)   # what real and drawn images go through before they are judged
SHOWN = 8                   # images of each class on a sample sheet
_SLOPE, _DROPOUT = 0.2, 0.25
_CHECKPOINT_EVERY = 100     # epochs


@dataclass(frozen=True)
class GanRun:
    """epochs: one row per epoch (epoch, loss and accuracy of the discriminator, generator_loss); sheets: epoch -> sample sheet, uint8
    (2 S, 8 S, C), black to white the range of the training images, the first class above the second, always from the same noise; real: a
    sheet of the first training images of each class; drawn: (images, C, S, S) float16 on 0-1 with `targets`.
    """

    epochs: pd.DataFrame
    sheets: dict[int, np.ndarray]
    real: np.ndarray
    drawn: np.ndarray
    targets: np.ndarray


class Generator(nn.Module):
    """Noise (B, Z) and class (B,) -> images (B, C, S, S) on 0-1."""

    def __init__(self, *, noise: int, planes: int, size: int) -> None:
        super().__init__()
        self.noise, self.start = noise, size // 4
        self.dense = nn.Sequential(nn.Linear(noise + 2, 128 * self.start**2), nn.BatchNorm1d(128 * self.start**2), nn.LeakyReLU(_SLOPE))
        self.convolutions = nn.Sequential(*_upwards(128, 128), *_upwards(128, 64), nn.Conv2d(64, planes, 3, padding=1), nn.Sigmoid())

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        """(B, Z), (B,) -> (B, C, S, S)"""
        dense = self.dense(torch.cat([noise, functional.one_hot(classes, 2).to(noise)], dim=1))
        return cast(Tensor, self.convolutions(dense.reshape(-1, 128, self.start, self.start)))


def _upwards(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.LeakyReLU(_SLOPE)]


class Discriminator(nn.Module):
    """Images (B, C, S, S) and class (B,) -> logit of being real (B,)."""

    def __init__(self, *, planes: int, size: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*_downwards(planes + 2, 32), *_downwards(32, 64), *_downwards(64, 128))
        side = -(-size // 8)
        self.dense = nn.Linear(128 * side * side, 1)

    def forward(self, images: Tensor, classes: Tensor) -> Tensor:
        """(B, C, S, S), (B,) -> (B,)"""
        told = functional.one_hot(classes, 2).to(images)[:, :, None, None].expand(-1, -1, *images.shape[2:])  # (B, 2, S, S)
        return cast(Tensor, self.dense(self.convolutions(torch.cat([2 * images - 1, told], dim=1)).flatten(1))[:, 0])


def _downwards(inside: int, outside: int) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.LeakyReLU(_SLOPE), nn.Dropout(_DROPOUT)]


class Gan(nn.Module):
    """Both networks, and the sample sheets as they come (so that a checkpoint holds them): buffer (sheets, 2 S, 8 S, C) uint8."""

    sheets: Tensor

    def __init__(self, spec: GanSpec, *, planes: int, size: int) -> None:
        super().__init__()
        self.generator = Generator(noise=spec.noise, planes=planes, size=size)
        self.discriminator = Discriminator(planes=planes, size=size)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):    # torch's own start is so faint that the discriminator learns nothing for long
                nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
                nn.init.zeros_(cast(Tensor, layer.bias))
        self.register_buffer("sheets", torch.zeros(spec.sheets, 2 * size, SHOWN * size, planes, dtype=torch.uint8))


def with_generated(lesson: Lesson, recipe: Recipe, *, on_epoch: OnEpoch = lambda record: None,
                   checkpoint: Path | None = None) -> tuple[Lesson, GanRun]:
    """The lesson with `augmentation.gan.images` drawn images as further rows that train, half of each class. The GAN sees the rows
    that train and no others.
    """
    source, spec = lesson.source, recipe.augmentation.gan
    assert isinstance(source, PixelSource)     # the recipe's checks: a GAN asks for a trunk that is trained
    assert spec is not None
    rows = np.flatnonzero(lesson.parts == "train")
    classes = torch.from_numpy((lesson.targets[rows] <= 0.5).astype(np.int64))     # 0 the first class, 1 the second
    run = train_gan(source.pixels[torch.from_numpy(rows)], classes, spec, seed=recipe.seed, device=source.device, on_epoch=on_epoch,
                    checkpoint=checkpoint)
    more = replace(source, pixels=torch.cat([source.pixels, torch.from_numpy(run.drawn).to(source.pixels)]))
    targets = smoothed(run.targets, recipe.label_smoothing).astype(lesson.targets.dtype)
    parts = np.concatenate([lesson.parts, np.full(len(targets), "train", dtype=object)])
    return Lesson(more, np.concatenate([lesson.targets, targets]), parts), run


def train_gan(pixels: Tensor, classes: Tensor, spec: GanSpec, *, seed: int, device: torch.device,
              on_epoch: OnEpoch = lambda record: None, checkpoint: Path | None = None) -> GanRun:
    """Train on pixels (N, C, S, S) on 0-1 of classes (N,) 0 and 1, and draw. A killed training goes on from `checkpoint`, exactly."""
    low, span = pixels.min().float(), (pixels.max() - pixels.min()).float().clamp(min=1e-3)
    pixels = (pixels.float() - low) / span
    torch.manual_seed(seed)
    gan = Gan(spec, planes=pixels.shape[1], size=pixels.shape[2]).to(device)
    gan.generator.to(memory_format=torch.channels_last)         # twice as fast on CPUs
    gan.discriminator.to(memory_format=torch.channels_last)
    optimizer = Adam(gan.parameters(), lr=spec.learning_rate, betas=(0.5, 0.999))
    key = _training_key(pixels, classes, spec, seed) if checkpoint else ""
    progress = load_checkpoint(checkpoint, key=key, module=gan, optimizer=optimizer) if checkpoint else Progress()
    for record in progress.epochs:
        on_epoch(record)
    due = {round((number + 1) * spec.epochs / spec.sheets): number for number in range(spec.sheets)}
    for epoch in range(len(progress.epochs), spec.epochs):
        record = _epoch(gan, optimizer, pixels, classes, spec, seed=seed * 1_000_003 + epoch, device=device)
        progress.epochs.append({"epoch": float(epoch), **record})
        if epoch + 1 in due:
            gan.sheets[due[epoch + 1]] = _sheet(gan.generator, spec, seed=seed)
        on_epoch(progress.epochs[-1])
        if checkpoint and (epoch + 1) % _CHECKPOINT_EVERY == 0:
            save_checkpoint(checkpoint, key=key, module=gan, optimizer=optimizer, progress=progress)
    if checkpoint:
        progress.finished = True
        save_checkpoint(checkpoint, key=key, module=gan, optimizer=optimizer, progress=progress)
    wanted = torch.arange(spec.images) % 2
    drawn = (low + span * _draw(gan.generator, wanted, spec, seed=seed + 1)).cpu().numpy().astype(np.float16)
    sheets = gan.sheets.cpu().numpy()
    return GanRun(pd.DataFrame(progress.epochs), {epoch: sheets[number] for epoch, number in due.items()}, _real_sheet(pixels, classes),
                  drawn, 1.0 - wanted.numpy())


def _epoch(gan: Gan, optimizer: torch.optim.Optimizer, pixels: Tensor, classes: Tensor, spec: GanSpec, *, seed: int,
           device: torch.device) -> dict[str, float]:
    """One batch of the images; the discriminator's loss and accuracy (real and drawn alike) and the generator's loss."""
    gan.train()
    torch.manual_seed(seed)     # dropout
    generator = torch.Generator().manual_seed(seed)
    batch = torch.randperm(len(pixels), generator=generator)[:spec.batch_size]
    real, kind = pixels[batch].to(device, torch.float32), classes[batch].to(device)
    loss, accuracy = _teach_discriminator(gan, optimizer, real, kind, generator)
    generator_loss = _teach_generator(gan, optimizer, kind, generator)
    return dict(zip(("loss", "accuracy", "generator_loss"), torch.stack([loss, accuracy, generator_loss]).tolist(), strict=True))


def _teach_discriminator(gan: Gan, optimizer: torch.optim.Optimizer, real: Tensor, kind: Tensor,
                         generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One step; its loss, half for real and half for drawn images, and its accuracy."""
    with torch.no_grad():
        drawn = gan.generator(_noise(len(kind), gan, generator), kind)
    on_real = gan.discriminator(augment(real, CHANGES, generator), kind)
    on_drawn = gan.discriminator(augment(drawn, CHANGES, generator), kind)
    loss = (_cross_entropy(on_real, real=1.0) + _cross_entropy(on_drawn, real=0.0)) / 2
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()    # the generator has no gradient and stays
    accuracy = ((on_real > 0).float().mean() + (on_drawn < 0).float().mean()) / 2
    return loss.detach(), accuracy


def _teach_generator(gan: Gan, optimizer: torch.optim.Optimizer, kind: Tensor, generator: torch.Generator) -> Tensor:
    """One step; its loss: how far the discriminator is from taking its images for real."""
    drawn = gan.generator(_noise(len(kind), gan, generator), kind)
    loss = _cross_entropy(gan.discriminator(augment(drawn, CHANGES, generator), kind), real=1.0)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gan.discriminator.zero_grad(set_to_none=True)   # only the generator takes this step
    optimizer.step()
    return loss.detach()


def _cross_entropy(logits: Tensor, *, real: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))


def _noise(count: int, gan: Gan, generator: torch.Generator) -> Tensor:
    return torch.randn(count, gan.generator.noise, generator=generator).to(gan.sheets.device)


@torch.no_grad()
def _draw(network: Generator, classes: Tensor, spec: GanSpec, *, seed: int) -> Tensor:
    """Images (B, C, S, S) of these classes from the noise of this seed."""
    network.eval()
    device = next(network.parameters()).device
    noise = torch.randn(len(classes), spec.noise, generator=torch.Generator().manual_seed(seed))
    return cast(Tensor, network(noise.to(device), classes.to(device)))


def _sheet(network: Generator, spec: GanSpec, *, seed: int) -> Tensor:
    """(2 S, 8 S, C) uint8: a row of each class."""
    return _tiled(_draw(network, torch.arange(2).repeat_interleave(SHOWN), spec, seed=seed))


def _real_sheet(pixels: Tensor, classes: Tensor) -> np.ndarray:
    """A sheet of training images, black where a class has too few."""
    chosen = torch.zeros(2 * SHOWN, *pixels.shape[1:])
    for kind in range(2):
        found = pixels[classes == kind][:SHOWN].float()
        chosen[kind * SHOWN:kind * SHOWN + len(found)] = found
    return _tiled(chosen).numpy()


def _tiled(images: Tensor) -> Tensor:
    """(16, C, S, S) on 0-1 -> (2 S, 8 S, C) uint8."""
    rows = images.unflatten(0, (2, SHOWN)).permute(0, 3, 1, 4, 2)      # (2, S, 8, S, C)
    return (255 * rows.reshape(2 * images.shape[2], SHOWN * images.shape[3], -1)).round().to(torch.uint8)


def _training_key(pixels: Tensor, classes: Tensor, spec: GanSpec, seed: int) -> str:
    """Hash of all that defines the training."""
    digest = hashlib.sha256(json.dumps([to_record(spec), seed], sort_keys=True).encode())
    for part in (pixels, classes):
        digest.update(part.cpu().numpy().tobytes())
    return digest.hexdigest()
