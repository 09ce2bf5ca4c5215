"""Stage `train`: a screen's labelled wells + a parent -> trained weights, a draft card, predictions and learning curves.

The parent is either starting weights (artifacts/trunks/<name>) or a model (artifacts/models/<name>) that is fine-tuned: its
trunk is taken over, and its head too where target and layers are the same (as through the phases of system S2).
A killed training goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from models.networks.bundle import Card
from models.networks.fitting import Before, Fitted, fit_model, planned_epochs
from models.networks.observe import observe
from models.networks.recipe import Recipe
from models.networks.starts import Start, draft_card, read_start, write_model
from models.plates.quality import QualityLimits
from pipelines.command import add_params, run_command
from pipelines.params import Params
from pipelines.prepared import PreparedImageSet, PreparedScreen, read_source, sound_wells


def read_before(params: Params, name: str, artifacts: Path) -> Before | None:
    """Where the parent of a phase-III model started, which cross-fitting needs; None for other models."""
    recipe = params.recipe_of(name)
    if recipe.target != "controls_and_duplicates" or not recipe.split.folds:
        return None
    _, parent = params.model(name).descent
    earlier = params.recipe_of(parent)
    return Before(read_start(artifacts / params.model(parent).parent, earlier).network, earlier)


def run(name: str, data: PreparedScreen | PreparedImageSet, recipe: Recipe, start: Start, *, device: str, checkpoint: Path,
        params_hash: str, image_quality: QualityLimits, before: Before | None = None) -> tuple[Fitted, Card]:
    """Train model `name` on the wells whose images are sound; returns the fit and its draft card (no metrics and gates yet:
    `evaluate` judges). Images of a set are all taken: there are no controls to judge them by.
    """
    data = sound_wells(data, image_quality) if isinstance(data, PreparedScreen) else data
    with tqdm(total=planned_epochs(recipe, before), unit="epoch", desc=f"train {name}") as bar:
        def on_epoch(run_name: str, record: dict[str, float]) -> None:
            bar.update()
            bar.set_postfix_str(f"{run_name}, loss {record['loss']:.4f}", refresh=False)

        fitted = fit_model(start.network, data.images, data.layout, recipe, before=before, device=device, on_epoch=on_epoch,
                           checkpoint=checkpoint)
    card = draft_card(name, recipe, data.screen, start, fitted, image_quality=image_quality, lineage={
        "data_md5": data.data_md5, "params_hash": params_hash, "screen": data.screen.name})
    controls = data.screen.controls if isinstance(data, PreparedScreen) else "none"
    return fitted, observe(card, fitted, data.images, data.layout, controls=controls)


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name in the section `models` of params.yaml")
    add_params(parser)
    parser.add_argument("--data", type=Path, required=True, help="the screen's folder")
    parser.add_argument("--prepared", type=Path, required=True, help="its prepared plates")
    parser.add_argument("--parent", type=Path, required=True, help="the model or trunk to start from")
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder for the checkpoint; empty after success")
    parser.add_argument("--out", type=Path, required=True, help="folder for what was trained")
    arguments = parser.parse_args()
    params = Params.read(arguments.params)
    recipe, artifacts = params.recipe_of(arguments.model), arguments.parent.parents[1]       # PARENT is artifacts/models/<name>, or trunks/
    start, before = read_start(arguments.parent, recipe), read_before(params, arguments.model, artifacts)
    fitted, card = run(arguments.model, read_source(arguments.data, arguments.prepared), recipe, start, device=params.train.device,
                       checkpoint=arguments.checkpoint, params_hash=params.model_hash(arguments.model), image_quality=params.image_quality,
                       before=before)
    write_model(arguments.out / "bundle", card, fitted.network)
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
        sheets = {f"epoch_{epoch:05d}": sheet for epoch, sheet in fitted.gan.sheets.items()} | {"real": fitted.gan.real}
        for name, sheet in sheets.items():
            Image.fromarray(sheet.squeeze()).save(out / "gan" / f"{name}.png")


if __name__ == "__main__":
    run_command(main)
