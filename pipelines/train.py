"""Stage `train`: a screen's labelled wells + a parent -> trained weights, a draft card, predictions and learning curves.

The parent is either starting weights (artifacts/trunks/<name>) or a model (artifacts/models/<name>) that is fine-tuned: its
trunk is taken over, and its head too where target and layers are the same (as through the phases of system S2).
A killed training goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from PIL import Image
from safetensors.torch import load_file
from tqdm import tqdm

from models.errors import WeightsError
from models.networks.backbones import state_bytes
from models.networks.bundle import (
    CARD,
    HEAD,
    TRUNK,
    Card,
    Parent,
    TrunkReference,
    bundle_sha256,
    read_card,
    trunk_finder,
    write_bundle,
)
from models.networks.fitting import Before, Fitted, fit_model, planned_epochs
from models.networks.heads import Network, build_network
from models.networks.recipe import Recipe
from models.plates.quality import QualityLimits
from pipelines.command import run_command
from pipelines.params import Params
from pipelines.prepared import PreparedScreen, read_prepared, sound_wells

ACQUISITION = ("assay", "organism", "channels", "magnification", "pixel_size_um", "camera", "bit_depth")
OUTPUT = {
    "readout": "od: the assay's optical density in the same well; viability = od relative to the plate's controls",
    "control_class": "probability of the negative-control (living) class; viability = probability relative to the plate's controls",
    "controls_and_duplicates": "probability of the negative-control (living) class, learnt from controls and from duplicates; viability = "
                               "probability relative to the plate's controls",
    "label": "probability of the first class",
}


@dataclass(frozen=True)
class Start:
    """Where a training starts: a network with the parent's weights, the trunk's reference, and the parent if it is a model."""

    network: Network
    trunk: TrunkReference
    parent: Parent | None


def read_start(folder: Path, recipe: Recipe) -> Start:
    """Load the parent in `folder`, a bundle or starting weights, into the recipe's network."""
    network = build_network(recipe)
    if not (folder / CARD).is_file():
        if not (folder / TRUNK).is_file():
            raise WeightsError(f"{folder} holds neither a model nor starting weights; `dvc repro` makes it")
        network.trunk.load_state_dict(load_file(folder / TRUNK))
        return Start(network, TrunkReference(**json.loads((folder / "trunk.json").read_text())), None)
    card = read_card(folder)
    find = trunk_finder([folder.parent, folder.parent.parent / "trunks"])
    network.trunk.load_state_dict(load_file(folder / TRUNK if (folder / TRUNK).is_file() else find(card.trunk)))
    same_answer = card.recipe.target == recipe.target or (card.recipe.learns_controls and recipe.learns_controls)
    if card.recipe.head == recipe.head and same_answer:
        network.head.load_state_dict(load_file(folder / HEAD))
    return Start(network, card.trunk, Parent(name=card.name, sha256=bundle_sha256(folder)))


def read_before(params: Params, name: str, artifacts: Path) -> Before | None:
    """Where the parent of a phase-III model started, which cross-fitting needs; None for other models."""
    recipe = params.recipes[params.models[name].recipe]
    if recipe.target != "controls_and_duplicates" or not recipe.split.folds:
        return None
    parent = params.models[params.models[name].parent.partition("/")[2]]
    earlier = params.recipes[parent.recipe]
    return Before(read_start(artifacts / parent.parent, earlier).network, earlier)


def run(name: str, data: PreparedScreen, recipe: Recipe, start: Start, *, device: str, checkpoint: Path, params_hash: str,
        image_quality: QualityLimits, before: Before | None = None) -> tuple[Fitted, Card]:
    """Train model `name` on the wells whose images are sound; returns the fit and its draft card (no metrics and gates yet:
    `evaluate` judges).
    """
    data = sound_wells(data, image_quality)
    with tqdm(total=planned_epochs(recipe, before), unit="epoch", desc=f"train {name}") as bar:
        def on_epoch(run_name: str, record: dict[str, float]) -> None:
            bar.update()
            bar.set_postfix_str(f"{run_name}, loss {record['loss']:.4f}", refresh=False)

        fitted = fit_model(start.network, data.images, data.layout, recipe, before=before, device=device, on_epoch=on_epoch,
                           checkpoint=checkpoint)
    screen = data.screen.to_dict()
    card = Card(
        name=name, system=recipe.system, recipe=recipe, output=OUTPUT[recipe.target], sample=data.screen.sample,
        kind=data.screen.kind, acquisition={key: screen[key] for key in ACQUISITION}, trunk=start.trunk, weights_sha256="",
        parent=start.parent, training_wells=_training_wells(fitted),
        thresholds=raw_limits(fitted.predictions, recipe), image_quality=image_quality,
        lineage={"data_md5": data.data_md5, "params_hash": params_hash, "screen": data.screen.name})
    return fitted, card


def _training_wells(fitted: Fitted) -> tuple[tuple[str, str, str], ...]:
    """Every labelled well with its part, and wells whose label the training found, as "learnt"."""
    learnt = fitted.learnt_labels if fitted.learnt_labels is not None else fitted.predictions.iloc[:0]
    wells = pd.concat([fitted.predictions, learnt.assign(part="learnt")])[["plate", "well", "part"]].drop_duplicates()
    return tuple((str(plate), str(well), str(part)) for plate, well, part in wells.itertuples(index=False))


def raw_limits(predictions: pd.DataFrame, recipe: Recipe) -> dict[str, float]:
    """Raw outputs beyond these flag a well as out of distribution: a quarter of the training range beyond it for a read-out;
    for controls, half the way from the smoothed labels to certainty (0.1 and 0.9 with smoothing 0.4, whose labels are 0.2 and 0.8:
    the wells of seeds of S2 scatter about those labels).
    """
    if recipe.is_regression:
        low, high = predictions["target"].min(), predictions["target"].max()
        return {"raw_low": float(low - 0.25 * (high - low)), "raw_high": float(high + 0.25 * (high - low))}
    return {"raw_low": recipe.label_smoothing / 4, "raw_high": 1 - recipe.label_smoothing / 4}


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name in the section `models` of params.yaml")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--data", type=Path, required=True, help="the screen's folder")
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--parent", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder for the checkpoint; empty after success")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    params = Params.read(arguments.params)
    recipe = params.recipes[params.models[arguments.model].recipe]
    start, before = read_start(arguments.parent, recipe), read_before(params, arguments.model, arguments.parent.parent.parent)
    fitted, card = run(arguments.model, read_prepared(arguments.data, arguments.prepared), recipe, start, device=params.train.device,
                       checkpoint=arguments.checkpoint, params_hash=params.model_hash(arguments.model), image_quality=params.image_quality,
                       before=before)
    trunk = state_bytes(fitted.network.trunk.state_dict()) if recipe.trunk.trained != "head" else None
    if trunk is not None:
        card = card_with_own_trunk(card)
    write_bundle(arguments.out / "bundle", card, head=state_bytes(fitted.network.head.state_dict()), trunk=trunk)
    write_fit(fitted, arguments.out)


def write_fit(fitted: Fitted, out: Path) -> None:
    """predictions.parquet and epochs.csv; where the recipe has them learnt_labels.parquet, rounds.csv and gan/ (epochs, sheets)."""
    fitted.predictions.to_parquet(out / "predictions.parquet", index=False)
    fitted.epochs.to_csv(out / "epochs.csv", index=False)
    if fitted.learnt_labels is not None:
        fitted.learnt_labels.to_parquet(out / "learnt_labels.parquet", index=False)
    if fitted.rounds is not None:
        fitted.rounds.to_csv(out / "rounds.csv", index=False)
    if fitted.gan is not None:
        (out / "gan").mkdir(parents=True, exist_ok=True)
        fitted.gan.epochs.to_csv(out / "gan" / "epochs.csv", index=False)
        for epoch, sheet in fitted.gan.sheets.items():
            Image.fromarray(sheet.squeeze()).save(out / "gan" / f"epoch_{epoch:05d}.png")


def card_with_own_trunk(card: Card) -> Card:
    """The card of a model that trained its trunk: the reference names the model itself (`write_bundle` sets the hash)."""
    return replace(card, trunk=TrunkReference(name=card.recipe.trunk.name, weights=card.name, sha256=""))


if __name__ == "__main__":
    run_command(main)
