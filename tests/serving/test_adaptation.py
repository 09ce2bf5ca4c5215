"""A new patient's model, as a job makes it: phase II on the plate's own controls, judged, registered as challenger, explained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InputError, SampleMismatch
from models.networks.backbones import state_bytes
from models.networks.bundle import Card, GateResult, Parent, TrunkReference, bundle_sha256, trunk_finder, write_bundle
from models.networks.heads import build_network
from models.networks.recipe import Gate, HeadSpec, OptimizerSpec, Recipe, SplitSpec, TrunkSpec
from models.plates.images import write_plate
from models.plates.layout import parse_layout
from models.plates.prepare import InputSpec
from models.plates.screen import Screen
from models.plates.spreadsheets import read_table
from models.registry import CHALLENGER, CHAMPION, Registry
from models.scoring import ScoringOptions
from serving.adaptation import phase_two
from serving.engine import do_job
from serving.job_files import Sent
from serving.job_records import Job, NewJob, now
from serving.job_view import job_view
from serving.results import Result, read_result
from serving.uploads import Upload
from tests.serving.tiny import SCREEN, TinyPlate, tiny_bundle, tiny_plate, tiny_registry

PARENT = "profile-CE"
GATES = (Gate(metric="accuracy_cv", minimum=0.95), Gate(metric="z_prime_cv", minimum=0.3))
RECIPE = Recipe(system="profile", target="control_class", input=InputSpec(size=32), trunk=TrunkSpec(name="small_cnn"),
                head=HeadSpec(outputs=2), label_smoothing=0.1, split=SplitSpec(unit="well", validation=0.125, folds=4), gates=GATES,
                optimizer=OptimizerSpec(learning_rate=0.03, batch_size=16, epochs=60, schedule="cosine"))


def profile(folder: Path, name: str, *, sample: str, parent: Parent | None = None) -> Path:
    """A bundle that learned controls (it did not: its weights are random), on a trunk beside it."""
    network = build_network(RECIPE)
    trunk = state_bytes(network.trunk.state_dict())
    (folder.parent / "trunk-p").mkdir(parents=True, exist_ok=True)
    (folder.parent / "trunk-p" / "trunk.safetensors").write_bytes(trunk)
    passed = tuple(GateResult(metric=gate.metric, value=1.0, minimum=gate.minimum, maximum=None, passed=True, reason="fine")
                   for gate in GATES)
    write_bundle(folder, Card(
        name=name, system="profile", recipe=RECIPE, output="probability of living", sample=sample, kind="patient", parent=parent,
        acquisition={"magnification": 10.0}, weights_sha256="", metrics={"accuracy_cv": 1.0}, gates=passed,
        trunk=TrunkReference(name="small_cnn", weights="none", sha256=hashlib.sha256(trunk).hexdigest()),
        lineage={"data_md5": "d" * 32, "params_hash": "p" * 64}), head=state_bytes(network.head.state_dict()), trunk=None)
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A phase-I parent, a patient that was adapted from it by the pipeline, and a model of a measured read-out."""
    folder = tmp_path_factory.mktemp("adaptation")
    found, find = tiny_registry(folder), trunk_finder([folder / "models"])
    parent = profile(folder / "models" / "parent", PARENT, sample="CE")
    found.register(parent, find_trunk=find)
    found.set_alias(found.resolve(f"{PARENT}/1"), CHAMPION)
    found.register(profile(folder / "models" / "sibling", "profile-PAT_1", sample="PAT_1",
                           parent=Parent(name=PARENT, sha256=bundle_sha256(parent))), find_trunk=find)
    found.register(tiny_bundle(folder / "models" / "readout"), find_trunk=find)
    return found


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> TinyPlate:
    return tiny_plate(tmp_path_factory.mktemp("plate"))


Adapt = Callable[..., Result]


@pytest.fixture(scope="module")
def adapt(registry: Registry, plate: TinyPlate, tmp_path_factory: pytest.TempPathFactory) -> Adapt:
    """Do a job with adapt: true, in this process."""
    def run(*, model: str = PARENT, folder: Path | None = None, archive: Path | None = None, options: ScoringOptions | None = None,
            **screen: Any) -> Result:
        described = Screen.from_dict({**SCREEN, "name": "PAT_9", "sample": "PAT_9", "kind": "patient", **screen})
        upload = Upload(plates=(archive or plate.archive,), screen=described, options=options or ScoringOptions(),
                        layout=parse_layout(read_table(plate.layout), plate_format=96))
        where = folder or tmp_path_factory.mktemp("job")
        asked = NewJob(fingerprint="f", owner="", model=model, version=1, adapt=True, screen=described.name, sample=described.sample,
                       plates=1, wells=96)
        job = Job(**vars(asked), state="running", created_at=now(), started_at=now(), finished_at="", stage="", stage_done=0, stage_total=0,
                  note="", worker="w", beat=0.0, not_before=0.0, attempts=1, sent=1, revision=0, error="")
        meant = registry.resolve(f"{model}/1").bundle_sha256
        do_job(job, Sent(upload=upload, model=model, bundle_sha256=meant, adapt=True), where, device="cpu", service_version="1",
               registry=lambda: registry,
               load=lambda name, number: (registry.resolve(f"{name}/{number}"), registry.load(registry.resolve(f"{name}/{number}"))),
               progress=lambda stage, done, total: seen.append(stage))
        return read_result(where / "result")
    seen: list[str] = []
    run.seen = seen
    return run


@pytest.fixture(scope="module")
def result(adapt: Adapt, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return adapt(folder=tmp_path_factory.getbasetemp() / "first-job")


def test_the_model_is_registered_as_challenger_and_not_promoted(result: Result, registry: Registry) -> None:
    assert registry.aliases()["profile-PAT_9"] == {CHALLENGER: 1}
    version = registry.resolve("profile-PAT_9/1")
    assert version.gates_passed
    assert version.tags["sample"] == "PAT_9"
    assert version.tags["parent"].startswith(f"{PARENT} ")


def test_the_plate_is_scored_by_its_own_model(result: Result) -> None:
    wells, curves = result.scored.tables.wells, result.scored.tables.curves
    assert set(wells["model"]) == {"profile-PAT_9"}
    assert result.scored.lineage["model"] == "profile-PAT_9"
    median = wells.groupby("role")["viability"].median()
    assert (round(median["negative"], 6), round(median["positive"], 6)) == (1.0, 0.0)
    treated = wells[wells["role"] == "treated"]
    assert np.corrcoef(np.log10(treated["dose"]), treated["viability"])[0, 1] < -0.7
    assert set(curves["treatment"]) == {"alpha", "beta"}


def test_the_answer_says_what_it_rests_on(result: Result, adapt: Adapt) -> None:
    record = result.adapted
    assert record is not None
    assert record["parent"]["model"] == PARENT
    assert record["training_wells"] == {"negative": 16, "positive": 16}
    assert record["recipe"].startswith("recipe of profile-PAT_1")       # the lab's own phase II, not the standard one
    assert record["metrics"]["accuracy_cv"] >= 0.95
    (quality,) = record["quality_cv"]
    assert (quality["plate"], quality["n_negative"], quality["n_positive"]) == ("P1", 16, 16)
    assert "each control was predicted by a model that never saw it" in record["words"]
    view = job_view(result)
    assert view["quality_cv"] == record["quality_cv"]
    assert view["adapted"] == record["words"]
    assert "adapted_model" in [finding.rule for finding in result.scored.tables.findings]
    assert {"training", "registering the model", "scoring"} <= set(adapt.seen)


def test_a_job_that_was_cut_off_after_its_training_does_not_train_again(result: Result, adapt: Adapt, registry: Registry,
                                                                        tmp_path_factory: pytest.TempPathFactory) -> None:
    adapt.seen.clear()
    again = adapt(folder=tmp_path_factory.getbasetemp() / "first-job")
    assert "training" not in adapt.seen
    assert again.scored.tables.wells.equals(result.scored.tables.wells)
    assert len(next(model for model in registry.list_models() if model.name == "profile-PAT_9").versions) == 1


def test_controls_that_look_alike_make_no_model_that_scores(adapt: Adapt, registry: Registry, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    names = [f"{row}{column:02d}_s1_c0_z0.tif" for row in "ABCDEFGH" for column in range(1, 13)]
    write_plate(tmp_path / "P1.zip", [(name, rng.integers(90, 110, (40, 40)).astype(np.uint8)) for name in names])
    with pytest.raises(InputError, match="did not pass its gates, so nothing was scored"):
        adapt(archive=tmp_path / "P1.zip", name="PAT_10", sample="PAT_10")
    assert registry.aliases().get("profile-PAT_10", {}) == {}
    forced = adapt(archive=tmp_path / "P1.zip", name="PAT_10", sample="pat_10", options=ScoringOptions(force=True), magnification=20.0)
    told = [finding.rule for finding in forced.scored.tables.findings]
    assert "gates_failed" in told
    assert "acquisition_mismatch" in told       # the parent's plates were imaged at 10x; its own, of course, as they are
    assert not forced.adapted["challenger"]


def test_parents_and_names_that_cannot_be(adapt: Adapt) -> None:
    with pytest.raises(InputError, match="name a phase-I model of system profile"):
        adapt(model="viability-TINY", name="PAT_11", sample="PAT_11")
    with pytest.raises(SampleMismatch, match="of another sample"):
        adapt(name="PAT_1", sample="PAT_2")


def test_without_a_recipe_at_hand_the_head_alone_learns() -> None:
    recipe = phase_two(replace(RECIPE, trunk=replace(RECIPE.trunk, trained="all")))
    assert (recipe.trunk.trained, recipe.split.folds, recipe.target) == ("head", 4, "control_class")
    assert {gate.metric for gate in recipe.gates} == {"z_prime_cv", "accuracy_cv"}
