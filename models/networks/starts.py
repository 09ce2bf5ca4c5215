"""Where a training starts, and the card that it ends with: shared by the stage `train` and by the service's adaptation to a patient."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from models.errors import WeightsError
from models.networks.backbones import state_bytes
from models.networks.bundle import (
    CARD,
    HEAD,
    TRUNK,
    Card,
    FindTrunk,
    Parent,
    TrunkReference,
    bundle_sha256,
    read_card,
    trunk_finder,
    write_bundle,
)
from models.networks.fitting import Fitted
from models.networks.heads import Network, build_network
from models.networks.recipe import Recipe
from models.plates.imageset import ImageSet
from models.plates.quality import QualityLimits
from models.plates.screen import Screen

ACQUISITION = ("assay", "organism", "channels", "magnification", "pixel_size_um", "camera", "bit_depth")
OUTPUT = {
    "readout": "od: the assay's optical density in the same well; viability = od relative to the plate's controls",
    "control_class": "probability of the negative-control (living) class; viability = probability relative to the plate's controls",
    "controls_and_duplicates": "probability of the negative-control (living) class, learnt from controls and from duplicates; viability = "
                               "probability relative to the plate's controls",
    "label": "probability of the first of its classes",
}


@dataclass(frozen=True)
class Start:
    """Where a training starts: a network with the parent's weights, the trunk's reference, and the parent if it is a model."""

    network: Network
    trunk: TrunkReference
    parent: Parent | None


def read_start(folder: Path, recipe: Recipe, *, find_trunk: FindTrunk | None = None) -> Start:
    """Load the parent in `folder`, a bundle or starting weights, into the recipe's network.

    A model's trunk is taken over, and its head too where target and layers are the same (as through the phases of system S2).
    find_trunk: where the parent's frozen trunk lies; default beside it, and among the published trunks.
    """
    network = build_network(recipe)
    if not (folder / CARD).is_file():
        if not (folder / TRUNK).is_file():
            raise WeightsError(f"{folder} holds neither a model nor starting weights; `dvc repro` makes it")
        network.trunk.load_state_dict(load_file(folder / TRUNK))
        return Start(network, TrunkReference(**json.loads((folder / "trunk.json").read_text())), None)
    card = read_card(folder)
    find = find_trunk or trunk_finder([folder.parent, folder.parent.parent / "trunks"])
    network.trunk.load_state_dict(load_file(folder / TRUNK if (folder / TRUNK).is_file() else find(card.trunk)))
    same_answer = card.recipe.target == recipe.target or (card.recipe.learns_controls and recipe.learns_controls)
    if card.recipe.head == recipe.head and same_answer:
        network.head.load_state_dict(load_file(folder / HEAD))
    return Start(network, card.trunk, Parent(name=card.name, sha256=bundle_sha256(folder)))


def draft_card(name: str, recipe: Recipe, screen: Screen | ImageSet, start: Start, fitted: Fitted, *, image_quality: QualityLimits,
               lineage: Mapping[str, str]) -> Card:
    """The card of a trained model, without metrics and gates. image_quality: limits that its wells had to keep."""
    fields = screen.acquisition() if isinstance(screen, ImageSet) else screen.to_dict()
    return Card(
        name=name, system=recipe.system, recipe=recipe, output=OUTPUT[recipe.target], sample=screen.sample, kind=screen.kind,
        acquisition={key: fields[key] for key in ACQUISITION}, trunk=start.trunk, weights_sha256="", parent=start.parent,
        training_wells=_training_wells(fitted), thresholds=raw_limits(fitted.predictions, recipe), image_quality=image_quality,
        classes=screen.classes if isinstance(screen, ImageSet) else (), lineage=lineage)


def _training_wells(fitted: Fitted) -> tuple[tuple[str, str, str], ...]:
    """Every labelled well with its part, and wells whose label the training found, as "learnt"."""
    learnt = fitted.learnt_labels if fitted.learnt_labels is not None else fitted.predictions.iloc[:0]
    wells = pd.concat([fitted.predictions, learnt.assign(part="learnt")])[["plate", "well", "part"]].drop_duplicates()
    return tuple((str(plate), str(well), str(part)) for plate, well, part in wells.itertuples(index=False))


def raw_limits(predictions: pd.DataFrame, recipe: Recipe) -> dict[str, float]:
    """Raw outputs beyond these flag a well as out of distribution: a quarter of the training range beyond it for a read-out.

    For controls, half the way from the smoothed labels to certainty (0.1 and 0.9 with smoothing 0.4, whose labels are 0.2 and 0.8: the
    wells of seeds of S2 scatter about those labels); and a quarter of the range of the logits, in sample and cross-fitted, beyond it.
    """
    if recipe.is_regression:
        return _widened(predictions[["target"]], "raw")
    limits = {"raw_low": recipe.label_smoothing / 4, "raw_high": 1 - recipe.label_smoothing / 4}
    return limits | _widened(predictions.filter(["logit", "logit_cv"]), "logit")


def _widened(values: pd.DataFrame, name: str) -> dict[str, float]:
    """The range of all the values, a quarter of it wider on each side; nothing where there is none."""
    low, high = values.min().min(), values.max().max()
    return {} if pd.isna(low) else {f"{name}_low": float(low - 0.25 * (high - low)), f"{name}_high": float(high + 0.25 * (high - low))}


def write_model(folder: Path, card: Card, network: Network) -> None:
    """Write the bundle of a trained network: its head, and its trunk if that was trained too, which the card then names as its own."""
    if card.recipe.trunk.trained == "head":
        write_bundle(folder, card, head=state_bytes(network.head.state_dict()), trunk=None)
        return
    own = replace(card, trunk=TrunkReference(name=card.recipe.trunk.name, weights=card.name, sha256=""))
    write_bundle(folder, own, head=state_bytes(network.head.state_dict()), trunk=state_bytes(network.trunk.state_dict()))
