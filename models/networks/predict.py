"""A loaded bundle that answers for images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.special import expit

from models.errors import BundleError, ImageError
from models.networks.bundle import HEAD, TRUNK, Card, TrunkReference, bundle_sha256, read_card
from models.networks.forward import Forward, forward_of
from models.networks.heads import Network, living_logit
from models.networks.train import pick_device
from models.plates.images import WellImages

BATCH = 32  # fixed, because the last bits of a convolution depend on it: stage and service must agree


@dataclass(frozen=True)
class Predictor:
    """A network ready to score, with its card and the bundle's sha256. forward: its fast path, None for torch's own."""

    network: Network
    card: Card
    sha256: str
    device: torch.device
    forward: Forward | None = None

    @torch.no_grad()
    def predict(self, images: WellImages, *, on_images: Callable[[int], object] = lambda count: None) -> pd.DataFrame:
        """plate, well, site, logit, probability, od: one row per image, in their order; NaN where the head does not give it.

        Raises ImageError when the images are not those that the card asks for.
        """
        spec = self.card.recipe.input
        if images.channels != spec.planes or images.pixels.shape[2:] != (spec.size, spec.size):
            raise ImageError(f"model {self.card.name} reads {spec.planes} at {spec.size} pixels; "
                             f"got {images.channels} at {images.pixels.shape[2:]}")
        forward = self.forward or forward_of(self.network, self.card.recipe, self.device, path="torch")
        outputs = [np.empty((0, self.card.recipe.head.outputs), np.float32)]
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(images.pixels[start:start + BATCH]).to(torch.float32)  # (B, C, H, W)
            outputs.append(forward(batch).cpu().numpy())
            on_images(len(batch))
        columns = output_columns(np.concatenate(outputs), regression=self.card.recipe.is_regression)
        if self.card.recipe.target == "label" and self.card.calibration is not None:    # shown to people, and nothing is made from it
            columns["probability"] = self.card.calibration.probability(columns["logit"])
        return images.wells.assign(**columns)


def output_columns(outputs: np.ndarray, *, regression: bool) -> dict[str, np.ndarray]:
    """Network outputs (N, O) as columns logit, probability, od (N,), float64."""
    missing = np.full(len(outputs), np.nan)
    if regression:
        return {"logit": missing, "probability": missing, "od": outputs[:, 0].astype(float)}
    logit = living_logit(torch.from_numpy(outputs)).numpy().astype(float)
    return {"logit": logit, "probability": expit(logit), "od": missing}


def load_predictor(folder: Path, *, find_trunk: Callable[[TrunkReference], Path], device: str = "auto") -> Predictor:
    """Load a bundle after checking all its hashes. find_trunk: where a frozen trunk that is stored elsewhere lies.

    Raises BundleError when anything is missing, altered, or does not fit the recipe.
    """
    card = read_card(folder)
    network = load_network(card, head=folder / HEAD, trunk=folder / TRUNK if (folder / TRUNK).is_file() else find_trunk(card.trunk))
    target = pick_device(device)
    forward = forward_of(network.to(target), card.recipe, target)
    return Predictor(network.to(memory_format=torch.channels_last), card, bundle_sha256(folder), target, forward)


def load_network(card: Card, *, head: Path, trunk: Path) -> Network:
    """The card's network with these weights, in evaluation mode."""
    network = Network(card.recipe)
    for part, path in ((network.trunk, trunk), (network.head, head)):
        try:
            part.load_state_dict(load_file(path), strict=True)
        except (RuntimeError, OSError, ValueError, SafetensorError) as error:
            raise BundleError(f"{path} does not fit the recipe of {card.name}: {error}") from None
    return network.eval()
