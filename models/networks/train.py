"""The one training loop. It learns from pixels (whole network) or from cached features (frozen trunk), and reports through a
callback, so that it knows neither MLflow nor progress bars.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.errors import ParamsError
from models.networks.augment import mosaic
from models.networks.backbones import state_sha256
from models.networks.checkpoint import Progress, load_checkpoint, save_checkpoint
from models.networks.device import send
from models.networks.heads import Network, frozen_parts
from models.networks.optimizers import build_optimizer
from models.networks.recipe import Augmentation, OptimizerSpec, Recipe
from models.networks.sources import FeatureSource, Source
from models.networks.step import Step, loss_of, share_right, training_step
from models.records import to_record

OnEpoch = Callable[[dict[str, float]], None]
_CHECKPOINT_EVERY = 10  # epochs; a lost stretch costs seconds on features and minutes on pixels


@dataclass(frozen=True)
class Lesson:
    """What a run is taught. targets (N,) read-outs or soft class labels; parts (N,) "train", "validation" or anything else, of the
    rows of `source`.
    """

    source: Source
    targets: np.ndarray
    parts: np.ndarray


def smoothed(targets: np.ndarray, label_smoothing: float) -> np.ndarray:
    """Class targets pulled towards 1/2: 0.4 makes 1 -> 0.8 and 0 -> 0.2 (seeds of S2, Table I)."""
    return targets * (1 - label_smoothing) + label_smoothing / 2


def smoothed_floor(label_smoothing: float) -> float:
    """The lowest mean cross-entropy that smoothed labels allow: 0.5004 with 0.4, 0 without smoothing."""
    high = 1 - label_smoothing / 2
    return float(-sum(p * math.log(p) for p in (high, 1 - high) if p > 0))


def train(network: Network, source: Source, targets: np.ndarray, parts: np.ndarray, recipe: Recipe, *,
          on_epoch: OnEpoch = lambda record: None, checkpoint: Path | None = None) -> list[dict[str, float]]:
    """Train the head (FeatureSource) or the whole network (PixelSource) in place; leaves the best state by validation loss,
    or the last one where no row is a validation row. Returns one record per epoch: epoch, loss, validation_loss, for classes
    accuracy and validation_accuracy too. Where no row validates, test_loss and test_accuracy of the test rows are told, if there are
    any: they choose nothing.

    targets: (N,) read-outs, or soft class labels; parts: (N,) "train" | "validation" | anything else is left alone.
    checkpoint: folder for exact resume after a kill; what is in it when done says so, and answers when asked again.
    Raises ParamsError when the loss is no number any more.
    """
    module: nn.Module = network.head if isinstance(source, FeatureSource) else network
    _start_at_mean(network, targets[parts == "train"], regression=recipe.is_regression)
    with _precisely(module, source, recipe) as suited:
        return _train(network, module, suited, targets, parts, recipe, on_epoch=on_epoch, checkpoint=checkpoint)


def _train(network: Network, module: nn.Module, source: Source, targets: np.ndarray, parts: np.ndarray, recipe: Recipe, *,
           on_epoch: OnEpoch, checkpoint: Path | None) -> list[dict[str, float]]:
    frozen = frozen_parts(network, recipe.trunk)
    for part in frozen:
        part.requires_grad_(False)
    optimizer = build_optimizer((parameter for parameter in module.parameters() if parameter.requires_grad), recipe.optimizer)
    key = _training_key(network, source, targets, parts, recipe) if checkpoint else ""
    progress = load_checkpoint(checkpoint, key=key, module=module, optimizer=optimizer) if checkpoint else Progress()
    for record in progress.epochs:
        on_epoch(record)
    first = next(module.parameters())
    labels = torch.from_numpy(targets.astype(np.float32)).to(first.device, first.dtype)
    rows = {part: torch.from_numpy(np.flatnonzero(parts == part)) for part in ("train", "validation", "test")}
    step = training_step(module, optimizer, recipe, first.device)
    for epoch in range(len(progress.epochs), 0 if progress.finished else recipe.optimizer.epochs):
        if recipe.optimizer.patience and epoch - progress.best_epoch > recipe.optimizer.patience and progress.best:
            break
        set_rate(optimizer, recipe.optimizer, epoch)
        record = {"epoch": float(epoch), **_epoch(module, source, labels, rows["train"], recipe, step, epoch, frozen)}
        record |= _held_out(module, source, labels, rows, recipe)
        refuse_divergence(record["loss"], epoch, recipe.optimizer)
        _keep_best(progress, record, module)
        on_epoch(record)
        if checkpoint and (epoch + 1) % _CHECKPOINT_EVERY == 0:
            save_checkpoint(checkpoint, key=key, module=module, optimizer=optimizer, progress=progress)
    if progress.best and not progress.finished:
        module.load_state_dict(progress.best)
    if checkpoint:
        progress.finished = True
        save_checkpoint(checkpoint, key=key, module=module, optimizer=optimizer, progress=progress)
    return progress.epochs


@contextmanager
def _precisely(module: nn.Module, source: Source, recipe: Recipe) -> Iterator[Source]:
    """The head of a frozen trunk in double precision while it trains, and the source that suits it. It takes a head no longer, and Adam
    no longer makes whole steps out of a rounding where a gradient is nearly zero: heads stacked and alone end alike.
    """
    if not isinstance(source, FeatureSource) or recipe.optimizer.precision != "fp32":
        yield source
        return
    module.double()
    try:
        yield replace(source, dtype=torch.float64)
    finally:
        module.float()


def _start_at_mean(network: Network, targets: np.ndarray, *, regression: bool) -> None:
    """A regression starts from the mean read-out, so that the first epochs do not go into finding it."""
    if regression:
        last = network.head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, float(np.mean(targets, dtype=np.float64)))


def refuse_divergence(loss: float, epoch: int, spec: OptimizerSpec) -> None:
    """Raises ParamsError where the loss of an epoch, counted from 0, is no number any more."""
    if not math.isfinite(loss):
        raise ParamsError(f"optimizer.learning_rate: {spec.learning_rate} makes the training diverge: the loss of epoch {epoch + 1} is "
                          f"{loss}; choose a smaller one")


def set_rate(optimizer: torch.optim.Optimizer, spec: OptimizerSpec, epoch: int) -> None:
    """The learning rate of an epoch, counted from 0, by the schedule."""
    share = 0.5 * (1 + math.cos(math.pi * epoch / spec.epochs)) if spec.schedule == "cosine" else 1.0
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(spec.learning_rate * share)   # in place: a recorded step reads it there
        else:
            group["lr"] = spec.learning_rate * share


def _epoch(module: nn.Module, source: Source, labels: Tensor, rows: Tensor, recipe: Recipe,
           step: Step, epoch: int, frozen: list[nn.Module]) -> dict[str, float]:
    """One pass over the training rows in a seeded order; mean loss, and accuracy of classes, as the rows were seen (augmented)."""
    module.train()
    for part in frozen:
        part.eval()  # else batch norm would go on learning the images' statistics
    torch.manual_seed(recipe.seed * 1_000_003 + epoch)  # dropout
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    told: list[Tensor] = []     # fetched once at the end: asking a GPU for a number at every step makes it wait
    sizes: list[int] = []
    for batch in rows[torch.randperm(len(rows), generator=generator)].split(recipe.optimizer.batch_size):
        if len(batch) == 1 < min(len(rows), recipe.optimizer.batch_size) and any(
                isinstance(layer, nn.BatchNorm2d) for layer in module.modules()):
            continue  # batch norm has poor statistics of one left-over image; the seeded order gives it another place next epoch
        inputs, wanted = _drawn(source, labels, batch, rows, recipe.augmentation, generator)
        told.append(step(inputs, wanted))
        sizes.append(len(batch))
    means = np.average(torch.stack(told).double().cpu().numpy(), axis=0, weights=sizes) if told else np.zeros(2)
    return _named_metrics("", *means, recipe=recipe)


def _drawn(source: Source, labels: Tensor, batch: Tensor, rows: Tensor, spec: Augmentation,
           generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and labels (B,) of a training step; of mosaics of two training rows where the recipe asks for them."""
    inputs, wanted = source.training(batch, generator), labels[send(batch, labels.device)]
    if not spec.mosaic:
        return inputs, wanted
    others = rows[torch.randint(len(rows), batch.shape, generator=generator)]
    inputs, share = mosaic(inputs, source.training(others, generator), patches=spec.mosaic, generator=generator)
    share = send(share, labels.device)
    return inputs.contiguous(memory_format=torch.channels_last), share * wanted + (1 - share) * labels[send(others, labels.device)]


def _named_metrics(prefix: str, loss: float, accuracy: float, *, recipe: Recipe) -> dict[str, float]:
    return {f"{prefix}loss": float(loss)} | ({} if recipe.is_regression else {f"{prefix}accuracy": float(accuracy)})


@torch.no_grad()
def predict_rows(module: nn.Module, source: Source, rows: Tensor) -> Tensor:
    """Outputs (len(rows), O) without augmentation."""
    module.eval()
    return torch.cat([module(source.plain(batch)) for batch in rows.split(64)])


def _held_out(module: nn.Module, source: Source, labels: Tensor, rows: dict[str, Tensor], recipe: Recipe) -> dict[str, float]:
    """Loss, and accuracy of classes, of the validation rows; of the test rows too where there is no validation row."""
    found: dict[str, float] = {}
    for part in ("validation", "test"):
        values = math.nan, math.nan
        if len(rows[part]) and (part == "validation" or not len(rows["validation"])):
            outputs, wanted = predict_rows(module, source, rows[part]), labels[rows[part].to(labels.device)]
            values = loss_of(outputs, wanted, regression=recipe.is_regression).item(), share_right(outputs, wanted).item()
        if part == "validation" or not math.isnan(values[0]):
            found |= _named_metrics(f"{part}_", *values, recipe=recipe)
    return found


def _keep_best(progress: Progress, record: dict[str, float], module: nn.Module) -> None:
    progress.epochs.append(record)
    if record["validation_loss"] < progress.best_loss:
        progress.best_loss, progress.best_epoch = record["validation_loss"], int(record["epoch"])
        progress.best = {name: value.detach().clone() for name, value in module.state_dict().items()}


def _training_key(network: Network, source: Source, targets: np.ndarray, parts: np.ndarray, recipe: Recipe) -> str:
    """Hash of all that defines the training, so that a checkpoint of another one is never taken up."""
    inputs = source.views[0] if isinstance(source, FeatureSource) else getattr(source, "pixels", torch.empty(0))
    digest = hashlib.sha256(json.dumps(to_record(replace(recipe, gates=())), sort_keys=True).encode())
    for part in (targets.tobytes(), "\0".join(parts).encode(), inputs.cpu().numpy().tobytes(), state_sha256(network.state_dict()).encode()):
        digest.update(part)
    return digest.hexdigest()
