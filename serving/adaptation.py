"""A new patient's model: phase II on the controls of the uploaded plates, from a registered phase-I parent.

The same training, cross-fitting, metrics and gates as the pipeline's; the version is registered as challenger if it passes its gates,
and the answer says what its numbers rest on.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from models.dose_response import assay_quality
from models.errors import Finding, InputError, RefusedError, SampleMismatch
from models.networks.bundle import TRUNK, Card, TrunkReference, read_card
from models.networks.evaluate import judge_gates, model_metrics
from models.networks.fitting import fit_model, planned_epochs
from models.networks.observe import observe
from models.networks.predict import Predictor, load_predictor
from models.networks.recipe import Gate, OptimizerSpec, Recipe, SplitSpec
from models.networks.starts import draft_card, read_start, write_model
from models.plates.data_hash import data_md5
from models.plates.images import WellImages
from models.plates.quality import judge_wells, leave_out
from models.records import to_record
from models.registered import RegisteredVersion, RunRecord
from models.registry import CHALLENGER, Registry
from models.scoring import with_persons
from models.suitability import same_sample
from serving.plain import plain, records
from serving.progress import OnProgress
from serving.uploads import Upload

GATES = (Gate(metric="z_prime_cv", minimum=0.3), Gate(metric="accuracy_cv", minimum=0.95))
QUALITY = ("plate", "z_prime", "z_prime_robust", "ssmd", "n_negative", "n_positive", "reason")


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """A patient's own model: registered, loaded, and what it rests on, as the answer's record."""

    version: RegisteredVersion
    predictor: Predictor
    record: Mapping[str, Any]
    findings: tuple[Finding, ...]


def adapt_model(upload: Upload, images: WellImages, *, parent: RegisteredVersion, registry: Registry, folder: Path, job: str,
                device: str, progress: OnProgress) -> Adapted:
    """Train, judge, register and load the model of this upload's sample.

    images: prepared for the parent's input. folder: the job's; a training that was cut off goes on from its checkpoint there.
    Raises InputError for a parent that learned no controls, or plates without both controls, SampleMismatch for a name that another
    sample's model has, and InputError when the gates are not kept, unless `upload.options.force`.
    """
    source = registry.fetch(parent)
    find = _trunk_finder(source, registry)
    recipe, origin = recipe_for(parent, read_card(source), registry)
    name = model_name(upload, registry)
    bundle = folder / "training" / "bundle"
    if not bundle.is_dir():
        _train(name, upload, images, recipe, source, find, folder=folder, device=device, progress=progress)
    progress("registering the model", 0, 1)
    card, predictions = read_card(bundle), pd.read_parquet(folder / "training" / "predictions.parquet")
    version = registry.register(bundle, find_trunk=find, record=RunRecord(
        metrics=card.metrics, epochs={"epoch": folder / "training" / "epochs.csv"}, tags={"adapted_by_job": job}))
    _require_gates(card, version, force=upload.options.force)
    record = _record(card, version, parent, predictions, origin)
    return Adapted(version=version, predictor=load_predictor(bundle, find_trunk=find, device=device), record=record,
                   findings=_findings(card, record))


def recipe_for(parent: RegisteredVersion, card: Card, registry: Registry) -> tuple[Recipe, str]:
    """(recipe of phase II, where it is from): that of the latest other patient adapted from this parent by the pipeline, so that the lab's
    params.yaml counts here too; else the parent's own with its trunk frozen. Raises InputError for a parent that learned no controls.
    """
    if card.recipe.target != "control_class":
        raise InputError(f"{parent} cannot be adapted", [Finding(
            rule="adapt_parent", severity="error", column="model", value=parent.name,
            message=f"{parent} predicts a measured read-out and learned no controls; name a phase-I model of system profile")])
    for sibling in _siblings(parent, registry):
        try:
            found = read_card(registry.fetch(sibling)).recipe
        except RefusedError:
            continue    # altered, or of a format that this release does not read
        if (found.input, found.target, found.head) == (card.recipe.input, "control_class", card.recipe.head):
            return found, f"recipe of {sibling}"
    return phase_two(card.recipe), f"standard recipe: the head of {parent} trained on, its trunk frozen"


def phase_two(parent: Recipe) -> Recipe:
    """Phase II where no recipe is at hand: the parent's network, whose trunk is frozen, learns the new controls by its head."""
    return replace(
        parent, trunk=replace(parent.trunk, trained="head"), augmentation=replace(parent.augmentation, views=16),
        optimizer=OptimizerSpec(learning_rate=0.003, batch_size=8, epochs=200, schedule="cosine"),
        split=SplitSpec(unit="well", validation=0.0, folds=4), gates=GATES)     # controls are few, and the schedule ends at rest


def _siblings(parent: RegisteredVersion, registry: Registry) -> list[RegisteredVersion]:
    """Versions that descend from the parent's model, passed their gates, and were not made by a job; the latest run first."""
    found = [version for model in registry.list_models() for version in model.versions
             if version.tags.get("parent", "").partition(" ")[0] == parent.name and version.gates_passed
             and "adapted_by_job" not in version.tags]
    return sorted(found, key=lambda version: (version.tags.get("parent", "").endswith(parent.bundle_sha256), version.version), reverse=True)


def model_name(upload: Upload, registry: Registry) -> str:
    """profile-<screen>, as the pipeline names them. Raises SampleMismatch if that is the model of another sample."""
    name = "profile-" + re.sub(r"[^\w.-]+", "_", upload.screen.name)
    samples = {version.tags.get("sample", "") for model in registry.list_models() if model.name == name for version in model.versions}
    if not all(same_sample(sample, upload.screen.sample) for sample in samples):
        raise SampleMismatch(f"model {name} is there already, of another sample", [Finding(
            rule="adapt_name", severity="error", column="name", value=upload.screen.name,
            message=f"model {name} is of sample {', '.join(sorted(samples))}, not {upload.screen.sample}; give the screen another name")])
    return name


def _trunk_finder(parent: Path, registry: Registry) -> Any:
    def find(reference: TrunkReference) -> Path:
        """The parent's own trunk, or a stored one."""
        own = (parent / TRUNK).is_file() and read_card(parent).trunk.sha256 == reference.sha256
        return parent / TRUNK if own else registry.find_trunk(reference)
    return find


def _train(name: str, upload: Upload, images: WellImages, recipe: Recipe, source: Path, find: Any, *, folder: Path, device: str,
           progress: OnProgress) -> None:
    """Write folder/training: predictions.parquet, epochs.csv and, last, the judged bundle."""
    out, epochs = folder / "training", 0
    planned = planned_epochs(recipe)

    def on_epoch(run: str, _record: Mapping[str, float]) -> None:
        nonlocal epochs
        epochs += 1
        progress("training", min(epochs, planned), planned)

    card_of_parent = read_card(source)
    start = read_start(source, recipe, find_trunk=find)
    layout = _sound_wells(images, upload, card_of_parent)
    progress("training", 0, planned)
    fitted = fit_model(start.network, images, layout, recipe, device=device, on_epoch=on_epoch, checkpoint=out / "checkpoint")
    card = draft_card(name, recipe, upload.screen, start, fitted, image_quality=card_of_parent.image_quality, lineage={
        "data_md5": data_md5(folder), "params_hash": recipe_hash(recipe), "screen": upload.screen.name})
    card = observe(card, fitted, images, layout, controls=upload.screen.controls)
    metrics = model_metrics(fitted.predictions, regression=False)
    card = replace(card, metrics={key: round(value, 6) for key, value in metrics.items()}, gates=judge_gates(metrics, recipe.gates),
                   validation=card_of_parent.validation)
    fitted.predictions.to_parquet(out / "predictions.parquet", index=False)
    fitted.epochs.to_csv(out / "epochs.csv", index=False)
    making = out / "bundle.making"
    shutil.rmtree(making, ignore_errors=True)
    write_model(making, card, fitted.network)
    making.rename(out / "bundle")


def _sound_wells(images: WellImages, upload: Upload, parent: Card) -> pd.DataFrame:
    """The layout without the wells that a person, or the parent's limits of image quality, leave out, as the stage `train` does it."""
    layout = with_persons(upload.layout.layout, upload.options)
    flags = pd.Series(judge_wells(images.quality, layout, parent.image_quality).flags, index=layout.index, dtype=object)
    return leave_out(layout.assign(flags=flags), parent.image_quality).drop(columns="flags")


def recipe_hash(recipe: Recipe) -> str:
    """sha256 over all that defines the training, as the pipeline hashes its params: without the gates."""
    return hashlib.sha256(json.dumps(to_record(replace(recipe, gates=())), sort_keys=True).encode()).hexdigest()


def _require_gates(card: Card, version: RegisteredVersion, *, force: bool) -> None:
    if card.gates_passed or force:
        return
    raise InputError("the model that these controls made did not pass its gates, so nothing was scored with it", [Finding(
        rule="gates_failed", severity="error", column=gate.metric, value=str(gate.value),
        message=f"{gate.reason} (cross-fitted). The controls of these plates cannot be told apart well enough: look at them for wells "
                f"without cells, swapped controls or a poor focus, and exclude what is wrong. {version} is registered, without the alias "
                f"{CHALLENGER}; force scores with it, flagged") for gate in card.gates if not gate.passed])


def _record(card: Card, version: RegisteredVersion, parent: RegisteredVersion, predictions: pd.DataFrame, origin: str) -> dict[str, Any]:
    """What the scores rest on. quality_cv: plates by their cross-fitted controls, each predicted by a model that never saw it."""
    wells = predictions.drop_duplicates(["plate", "well"])
    counts = {role: int((wells["role"] == role).sum()) for role in ("negative", "positive")}
    quality = assay_quality(predictions.drop(columns="excluded", errors="ignore"), value="prediction_cv")
    return {"model": version.name, "version": version.version, "challenger": CHALLENGER in version.aliases,
            "parent": {"model": parent.name, "version": parent.version, "bundle_sha256": parent.bundle_sha256},
            "recipe": origin, "training_wells": counts, "plates": int(wells["plate"].nunique()), "metrics": plain(dict(card.metrics)),
            "gates": plain(to_record(card.gates)), "quality_cv": records(quality[list(QUALITY)]),
            "words": f"{version} learned from {counts['negative']} negative and {counts['positive']} positive control wells of these "
                     f"plates, from {parent} ({origin}); its quality is cross-fitted: each control was predicted by a model that never "
                     "saw it"}


def _findings(card: Card, record: Mapping[str, Any]) -> tuple[Finding, ...]:
    notes = [Finding(rule="adapted_model", severity="warning", column="model", value=card.name, message=(
        record["words"] + ". Z′ of the plates' quality is of wells that the model learned from; quality_cv is the honest one"))]
    notes += [Finding(rule="gates_failed", severity="warning", column=gate.metric, value=str(gate.value), message=(
        f"{gate.reason}: the model did not pass its gates and scores only because that was forced"))
              for gate in card.gates if not gate.passed]
    return tuple(notes)
