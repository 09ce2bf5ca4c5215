"""A loaded bundle that answers for images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.special import expit
from torch import nn

from models.errors import BundleError, ImageError
from models.networks.bundle import HEAD, TRUNK, Card, FindTrunk, bundle_sha256, read_card
from models.networks.device import pick_device
from models.networks.forward import PASS, Precision, bf16_wanted, has_bf16, path_of
from models.networks.heads import Network, living_logit
from models.networks.trunks import POOL, Trunk, TrunkKey
from models.plates.images import WellImages


@dataclass(frozen=True)
class Predictor:
    """A network ready to score, with its card and the bundle's sha256. shared: the trunk in memory that other models may stand on too;
    without it, as in training, the network's own trunk is used as it is.
    """

    network: Network
    card: Card
    sha256: str
    device: torch.device
    shared: Trunk | None = None

    @cached_property
    def trunk(self) -> Trunk:
        """What gives the features."""
        return self.shared or Trunk(self.network, self.device, size=self.card.recipe.input.size, path="torch")

    @cached_property
    def trunk_state(self) -> str:
        """Changes with all but the pixels that decides on `features`: the trunk, its input, its arithmetic, and on how many threads."""
        key = TrunkKey.of(self.card.recipe.trunk, sha256=self.card.trunk.sha256, size=self.card.recipe.input.size, device=self.device,
                          precision=self.trunk.precision)
        card = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        return f"{key} {path_of(key.name, self.device)} {torch.get_num_threads()} {card}"

    @property
    def head_bytes(self) -> int:
        """Memory of what is this model's alone."""
        return sum(item.numel() * item.element_size() for item in self.network.head.state_dict().values())

    def predict(self, images: WellImages, *, on_images: Callable[[int], object] = lambda count: None) -> pd.DataFrame:
        """plate, well, site, logit, probability, od, feature_distance: one row per image, in their order; NaN where the head does not
        give it. feature_distance: from the training's negative controls (models/networks/drift.py), NaN where the card holds none.

        Raises ImageError when the images are not those that the card asks for.
        """
        return self.predict_features(images.wells, self.features(images, on_images=on_images))

    def features(self, images: WellImages, *, on_images: Callable[[int], object] = lambda count: None) -> Iterator[np.ndarray]:
        """What the trunk gives, (B, F) of some images at a time: the same for all models that stand on it. Raises as `predict`."""
        spec = self.card.recipe.input
        if images.channels != spec.planes or images.pixels.shape[2:] != (spec.size, spec.size):
            raise ImageError(f"model {self.card.name} reads {spec.planes} at {spec.size} pixels; "
                             f"got {images.channels} at {images.pixels.shape[2:]}")
        for start in range(0, len(images), self.trunk.images):
            found = self.trunk.features(images.pixels[start:start + self.trunk.images])
            yield found
            on_images(len(found))

    def predict_features(self, wells: pd.DataFrame, features: Iterable[np.ndarray]) -> pd.DataFrame:
        """`predict`, from the `features` of the images of these wells and sites on."""
        reference = self.card.reference
        outputs, distances = [np.empty((0, self.card.recipe.head.outputs), np.float32)], [np.empty(0)]
        for rows in features:
            outputs.append(self.outputs(rows))
            distances.append(reference.distance(rows) if reference else np.full(len(rows), np.nan))
        columns = output_columns(np.concatenate(outputs), regression=self.card.recipe.is_regression)
        if self.card.recipe.target == "label" and self.card.calibration is not None:    # shown to people, and nothing is made from it
            columns["probability"] = self.card.calibration.probability(columns["logit"])
        return wells.assign(**columns, feature_distance=np.concatenate(distances))

    @torch.inference_mode()
    def outputs(self, features: np.ndarray) -> np.ndarray:
        """Features (N, F) -> what the head gives, (N, outputs); PASS rows at a time, so that no row depends on its company."""
        found = [np.empty((0, self.card.recipe.head.outputs), np.float32)]
        for start in range(0, len(features), PASS):
            rows = features[start:start + PASS]
            found.append(self.network.head(torch.from_numpy(_filled(rows)).to(self.device))[:len(rows)].float().cpu().numpy())
        return np.concatenate(found)


def _filled(rows: np.ndarray) -> np.ndarray:
    """The rows, followed by zeros up to PASS of them. By NumPy: torch would share so small a copy among threads, and wait for them."""
    if len(rows) == PASS:
        return rows
    filled = np.zeros((PASS, *rows.shape[1:]), rows.dtype)
    filled[:len(rows)] = rows
    return filled


def output_columns(outputs: np.ndarray, *, regression: bool) -> dict[str, np.ndarray]:
    """Network outputs (N, O) as columns logit, probability, od (N,), float64."""
    missing = np.full(len(outputs), np.nan)
    if regression:
        return {"logit": missing, "probability": missing, "od": outputs[:, 0].astype(float)}
    logit = living_logit(torch.from_numpy(outputs)).numpy().astype(float)
    return {"logit": logit, "probability": expit(logit), "od": missing}


def load_predictor(folder: Path, *, find_trunk: FindTrunk, device: str = "auto") -> Predictor:
    """Load a bundle after checking all its hashes. find_trunk: where a frozen trunk that is stored elsewhere lies; it is not asked when
    this process has that trunk loaded.

    Raises BundleError when anything is missing, altered, or does not fit the recipe.
    """
    card, target = read_card(folder), pick_device(device)
    own = folder / TRUNK
    spec, precision = card.recipe.trunk, precision_of(card, target)
    key = TrunkKey.of(spec, sha256=card.trunk.sha256, size=card.recipe.input.size, device=target, precision=precision)

    def make() -> Trunk:
        network = Network(card.recipe)
        network.head = nn.Sequential()     # each model has its own
        _load(network.trunk, own if own.is_file() else find_trunk(card.trunk), card)
        return Trunk(network.to(target).eval(), target, size=card.recipe.input.size, path=path_of(spec.name, target), precision=precision)

    shared = POOL.get(key, make)
    network = Network(card.recipe, trunk=shared.network.trunk)
    _load(network.head, folder / HEAD, card)
    network = network.to(target).to(memory_format=torch.channels_last).eval()
    return Predictor(network, card, bundle_sha256(folder), target, shared)


def precision_of(card: Card, device: torch.device) -> Precision:
    """bfloat16 where the card holds that it changes viabilities by next to nothing, and this CPU computes in it; else float32."""
    allowed = card.bf16 is not None and card.bf16.allowed
    return "bf16" if allowed and path_of(card.recipe.trunk.name, device) == "openvino" and bf16_wanted() and has_bf16() else "fp32"


def _load(part: nn.Module, path: Path, card: Card) -> None:
    """Put the weights of a file into the network's part."""
    try:
        part.load_state_dict(load_file(path), strict=True)
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        raise BundleError(f"{path} does not fit the recipe of {card.name}: {error}") from None
