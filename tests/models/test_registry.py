"""The registry on a real SQLite file: idempotent registration, references, verified fetching, refusals, and MLflow's own loader."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from mlflow import MlflowClient

from models.errors import BundleError, RefusedError, RegistryError
from models.networks.bundle import bundle_sha256, file_sha256, read_card, trunk_finder
from models.networks.predict import load_predictor
from models.networks.trunks import Trunk
from models.registered import ImagePredictor, RunRecord, UnknownModelError, finite_numbers, flatten, read_epochs, trunk_name
from models.registry import CHALLENGER, CHAMPION, Registry
from models.tracking import default_tracking_uri
from tests.serving.tiny import MODEL, tiny_bundle, tiny_registry, two_versions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(folder: Path) -> Registry:
    """Version 1 passed its gates, 2 did not, 3 passed; the champion is 1."""
    found = tiny_registry(folder)
    find = trunk_finder([folder / "models"])
    figures = folder / "evaluate" / "figures"
    figures.mkdir(parents=True)
    (figures / "fit.png").write_bytes(b"png")
    (folder / "evaluate" / "epochs.csv").write_text("epoch,loss,val_loss\n0,1.0,\n1,0.5,0.75\n")
    record = RunRecord(metrics={"r2_cv": 0.9, "empty": float("nan")}, epochs={"epoch": folder / "evaluate" / "epochs.csv"}, figures=figures,
                       tags={"git_commit": "abc", "git_dirty": "false"})
    for number, passed in ((1, True), (2, False), (3, True)):
        found.register(tiny_bundle(folder / "models" / f"m{number}", seed=number, passed=passed), find_trunk=find, record=record)
    found.set_alias(found.resolve(f"{MODEL}/1"), CHAMPION)
    return found


def test_the_same_bundle_is_one_version(registry: Registry, folder: Path) -> None:
    again = registry.register(folder / "models" / "m1", find_trunk=trunk_finder([]))
    assert (again.version, again.aliases) == (1, (CHALLENGER, CHAMPION))  # what was trained last is the challenger, known or not
    assert registry.register(folder / "models" / "m3", find_trunk=trunk_finder([])).aliases == (CHALLENGER,)
    assert [version.version for version in registry.list_models()[0].versions] == [3, 2, 1]


def test_a_version_says_where_it_comes_from(registry: Registry, folder: Path) -> None:
    version = registry.resolve(MODEL)
    assert (version.version, version.run_id != "") == (1, True)
    assert version.tags["git_commit"] == "abc"
    assert version.tags["git_dirty"] == "false"
    assert version.tags["data_md5"] == "d" * 32
    assert version.tags["gates"] == "pass"
    assert version.tags["sample"] == "TINY"
    assert version.bundle_sha256 == bundle_sha256(folder / "models" / "m1")


def test_the_run_holds_recipe_metrics_epochs_and_figures(registry: Registry) -> None:
    client = MlflowClient(registry.tracking_uri)
    run = client.get_run(registry.resolve(MODEL).run_id)
    assert run.data.params["input.size"] == "32"
    assert run.data.metrics["r2_cv"] == 0.9
    assert "empty" not in run.data.metrics
    assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "epoch/loss")] == [(0, 1.0), (1, 0.5)]
    assert [item.path for item in client.list_artifacts(run.info.run_id, "figures")] == ["figures/fit.png"]


def test_a_version_is_described_against_the_champion_of_its_time(registry: Registry) -> None:
    client = MlflowClient(registry.tracking_uri, registry_uri=registry.tracking_uri)
    third = client.get_model_version(MODEL, "3")
    assert third.description.startswith("r2_cv 0.9, asked at least 0.5. Gates passed.")    # nobody was champion yet
    assert "No version was champion" in third.description
    assert client.get_run(third.run_id).data.tags["mlflow.note.content"] == third.description
    assert client.get_model_version(MODEL, "2").description.startswith("GATES FAILED: r2_cv 0.1, asked at least 0.5.")
    texts = {model.name: model.description for model in client.search_registered_models()}
    assert texts[MODEL].startswith("TINY (cell line). It answers od.")
    assert all("do not delete it" in text for name, text in texts.items() if name.startswith("trunk-"))


def test_an_experiment_in_a_copy_registers_with_its_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc exp run --temp` and `--queue`: DVC deletes the copy, so its versions were lost, and receipts named others' numbers."""
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpx1"
    copy.mkdir(parents=True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(copy)
    assert default_tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert default_tracking_uri() == "http://127.0.0.1:5000"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    assert default_tracking_uri() == "sqlite:///mlflow.db"


def test_challenger_is_a_version_whose_gates_passed(registry: Registry) -> None:
    assert registry.aliases() == {MODEL: {CHALLENGER: 3, CHAMPION: 1}}
    failed = registry.resolve(f"{MODEL}/2")
    assert failed.tags["gates"] == "fail: r2_cv is 0.1"
    with pytest.raises(RefusedError, match=r"r2_cv is 0\.1"):
        registry.fetch(failed)


def test_the_trunk_is_stored_once(registry: Registry) -> None:
    names = [model.name for model in MlflowClient(registry.tracking_uri).search_registered_models()]
    assert len([name for name in names if name.startswith("trunk-")]) == 1
    assert [model.name for model in registry.list_models()] == [MODEL]


@pytest.mark.parametrize(("reference", "version"), [(MODEL, 1), (f"{MODEL}@champion", 1), (f"{MODEL}@challenger", 3), (f"{MODEL}/2", 2)])
def test_references(registry: Registry, reference: str, version: int) -> None:
    assert registry.resolve(reference).version == version


@pytest.mark.parametrize(("reference", "message"), [
    ("nobody", "no model 'nobody'"), (f"{MODEL}@missing", "no alias 'missing'"),
    (f"{MODEL}/99", f"model '{MODEL}' has no version 99; versions: 3, 2, 1$"),
    (f"{MODEL}/0", "has no version 0; versions"), ("a b", "names no model"),
    ("models:/x", "names no model"), ("", "names no model"), ("trunk-0123456789ab", "names no model"),
    ("trunk-brightfield", "no model 'trunk-brightfield'"), (f"{MODEL}/1@champion", "names no model")])
def test_unknown_references_say_what_there_is(registry: Registry, reference: str, message: str) -> None:
    with pytest.raises(UnknownModelError, match=message):
        registry.resolve(reference)


def test_a_reference_is_resolved_without_reading_all_models(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 300 models that would take a third of a second of the processors, at each request that names a version."""
    monkeypatch.setattr(registry._client, "search_registered_models", lambda **_: pytest.fail("all models were read"))
    assert registry.resolve(f"{MODEL}@challenger").version == 3
    assert registry.aliases_of(MODEL) == {CHALLENGER: 3, CHAMPION: 1}


def test_of_hundreds_of_models_a_message_names_those_that_are_spelt_alike(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.registry.entries._NAMED", 0)
    with pytest.raises(UnknownModelError, match=f"no model 'viability-TINNY' is registered; 1 are registered, the most alike: {MODEL}$"):
        registry.resolve("viability-TINNY")
    with pytest.raises(UnknownModelError) as long:
        registry.resolve("x" * 4_000_000)
    assert len(str(long.value)) < 200


def test_a_fetched_bundle_answers_like_the_trained_one(registry: Registry, folder: Path) -> None:
    fetched = registry.load(registry.resolve(MODEL), device="cpu")
    trained = load_predictor(folder / "models" / "m1", find_trunk=trunk_finder([folder / "models"]), device="cpu")
    assert fetched.sha256 == trained.sha256
    assert all(bool((fetched.network.state_dict()[name] == tensor).all()) for name, tensor in trained.network.state_dict().items())


def test_mlflow_loads_it_as_a_pyfunc(registry: Registry, folder: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(registry.tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion")
    pixels = np.random.default_rng(0).random((3, 3, 32, 32), dtype=np.float32)
    answer = model.predict(pixels)
    assert list(answer.columns) == ["od"]
    assert np.isfinite(answer["od"]).all()
    assert model.metadata.signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 3, 32, 32)}
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(pixels[:, :1])


@pytest.mark.parametrize("path", ["torch", "openvino"])
def test_float32_of_mlflow_is_taken_by_every_way_through_a_trunk(registry: Registry, path: Literal["torch", "openvino"]) -> None:
    """Compiled trunks take float16 alone: `mlflow models serve` of a published trunk failed."""
    predictor = registry.load(registry.resolve(f"{MODEL}@{CHAMPION}"), device="cpu")
    trunk = Trunk(predictor.network, predictor.device, size=predictor.card.recipe.input.size, path=path)
    pixels = np.random.default_rng(0).random((3, 3, 32, 32), dtype=np.float32)
    answer = ImagePredictor(replace(predictor, shared=trunk)).predict(pixels)
    assert answer["od"].tolist() == pytest.approx(ImagePredictor(predictor).predict(pixels.astype(np.float16))["od"].tolist(), abs=1e-4)


def test_no_pickle_and_no_code_in_an_entry(registry: Registry, folder: Path) -> None:
    files = [path.name for path in (folder / "mlartifacts" / "models").rglob("*") if path.is_file()]
    assert set(files) == {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "card.json", "weights.safetensors",
                          "registered_model_meta"}  # the last one by MLflow, when it loads an entry


def artifact(registry: Registry, folder: Path, version: int) -> Path:
    source = MlflowClient(registry.tracking_uri).get_model_version_download_uri(MODEL, str(version))
    return Path(source.removeprefix("file://"))


@pytest.mark.parametrize(("change", "message"), [
    (lambda entry: (entry / "data" / "m3" / "weights.safetensors").write_bytes(b"x"), "altered or damaged"),
    (lambda entry: (entry / "data" / "m3" / "weights.safetensors").unlink(), "no weights.safetensors"),
    (lambda entry: (entry / "data" / "m3" / "run.py").write_text("boom"), "run.py"),
    (lambda entry: (entry / "extra.pkl").write_bytes(b"x"), "extra.pkl"),
    (lambda entry: (entry / "data" / "m3" / "card.json").write_text("{}"), "format version"),
    (lambda entry: shutil.rmtree(entry / "data"), "0 bundle"),
])
def test_altered_entries_are_refused(registry: Registry, folder: Path, tmp_path: Path, change, message: str) -> None:
    entry, kept = artifact(registry, folder, 3), tmp_path / "kept"
    shutil.copytree(entry, kept)
    try:
        change(entry)
        with pytest.raises(RefusedError, match=message):
            Registry(registry.tracking_uri, tmp_path / "cache").fetch(registry.resolve(f"{MODEL}/3"))
    finally:
        shutil.rmtree(entry)
        shutil.copytree(kept, entry)


def test_a_card_that_was_swapped_for_another_is_refused(registry: Registry, folder: Path, tmp_path: Path) -> None:
    entry = artifact(registry, folder, 3)
    card = entry / "data" / "m3" / "card.json"
    kept = card.read_text()
    try:
        card.write_text(json.dumps(json.loads(kept) | {"sample": "OTHER"}))
        with pytest.raises(RefusedError, match="its content was changed since it was registered"):
            Registry(registry.tracking_uri, tmp_path / "cache").fetch(registry.resolve(f"{MODEL}/3"))
    finally:
        card.write_text(kept)


def test_a_damaged_cache_is_fetched_again(registry: Registry, tmp_path: Path) -> None:
    fresh = Registry(registry.tracking_uri, tmp_path / "cache")
    kept = fresh.fetch(fresh.resolve(MODEL))
    (kept / "weights.safetensors").write_bytes(b"x")
    assert fresh.fetch(fresh.resolve(MODEL)) == kept
    assert file_sha256(kept / "weights.safetensors") == json.loads((kept / "card.json").read_text())["weights_sha256"]


def test_downloads_that_a_kill_left_behind_are_cleared_away(registry: Registry, tmp_path: Path) -> None:
    other = Registry(registry.tracking_uri, tmp_path / "cache")
    left, under_way = (tmp_path / "cache" / f"download-{name}" for name in ("left", "under-way"))
    for folder in (left, under_way):
        folder.mkdir(parents=True)
    os.utime(left, (0, 0))
    other.fetch(other.resolve(MODEL))
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["bundles", "download-under-way"]


def test_a_version_registered_by_hand_is_refused(registry: Registry) -> None:
    entry = MlflowClient(registry.tracking_uri).create_model_version(MODEL, source=f"models:/{MODEL}/1", tags={"gates": "pass"})
    try:
        with pytest.raises(RefusedError, match="bundle_sha256"):
            registry.fetch(registry.resolve(f"{MODEL}/{entry.version}"))
    finally:
        MlflowClient(registry.tracking_uri).delete_model_version(MODEL, str(entry.version))


def test_gates_hold_by_the_registrys_word_and_by_the_cards(registry: Registry) -> None:
    """A tag that somebody set by hand neither makes a failed model serve nor is overlooked where it forbids to."""
    passed, failed = registry.resolve(f"{MODEL}/1"), registry.resolve(f"{MODEL}/2")
    for version, tag, message in ((passed, "fail: by hand", "gates fail: by hand"), (failed, "pass", "refused: r2_cv is 0.1"),
                                  (passed, "", "is refused: gates")):
        changed = replace(version, tags=dict(version.tags) | {"gates": tag})
        with pytest.raises(RefusedError, match=message):
            registry.fetch(changed)
        assert registry.fetch(changed, check_gates=False).is_dir()      # to look at it, not to serve it


def test_a_wrong_trunk_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "models" / "x", seed=9, name="other")
    card = json.loads((bundle / "card.json").read_text())
    card["trunk"]["sha256"] = "0" * 64
    (bundle / "card.json").write_text(json.dumps(card))
    with pytest.raises(BundleError, match="is not the trunk"):
        registry.register(bundle, find_trunk=lambda reference: tmp_path / "models" / "trunk-0" / "trunk.safetensors")
    assert "other" not in registry.aliases()


def test_an_unreachable_registry_says_so(tmp_path: Path) -> None:
    """Within seconds: MLflow by itself tries for four minutes, which `make up` and the stages waited."""
    away, since = Registry("http://user:secret@127.0.0.1:9", tmp_path), time.monotonic()
    with pytest.raises(RegistryError, match="cannot be used") as caught:
        away.aliases()
    assert time.monotonic() - since < 100
    assert not isinstance(caught.value, UnknownModelError | RefusedError)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["sqlite:///{folder}", "postgresql+psycopg://user:secret@127.0.0.1:9/mlflow"])
def test_a_registry_whose_database_is_away_is_away(uri: str, tmp_path: Path) -> None:
    """At once, where MLflow tries for two minutes; and what SQLAlchemy said of it made jobs fail that should have waited."""
    since = time.monotonic()
    with pytest.raises(RegistryError, match="cannot be used") as caught:
        Registry(uri.format(folder=tmp_path), tmp_path / "cache").aliases()
    assert time.monotonic() - since < 100
    assert not isinstance(caught.value, UnknownModelError | RefusedError)
    assert "secret" not in str(caught.value)


def test_a_database_whose_driver_is_not_installed_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="without the package MySQLdb, which is not installed"):
        Registry("mysql://user@127.0.0.1:9/mlflow", tmp_path)


def test_a_name_without_a_version_gets_one(tmp_path: Path) -> None:
    """A process that was killed right after it had registered a trunk's name kept every later model on that trunk from being registered."""
    registry, bundle = tiny_registry(tmp_path), tiny_bundle(tmp_path / "models" / "m1")
    for name in (trunk_name(read_card(bundle).trunk), MODEL):
        MlflowClient(registry.tracking_uri, registry_uri=registry.tracking_uri).create_registered_model(name)
    assert registry.register(bundle, find_trunk=trunk_finder([tmp_path / "models"])).version == 1
    assert registry.load(registry.resolve(f"{MODEL}/1"), device="cpu").card.name == MODEL


def test_two_trainings_are_told_apart_and_their_data_are_listed(tmp_path: Path) -> None:
    """All runs of a model had its name alone, in tables and charts; and their datasets were empty."""
    own = tiny_registry(tmp_path)
    for number in (1, 2):
        bundle = tiny_bundle(tmp_path / "models" / f"m{number}", seed=number)
        card = json.loads((bundle / "card.json").read_text())
        card["lineage"] |= {"screen": "plates-of-may", "data_md5": "e" * 32 + ".dir"}
        (bundle / "card.json").write_text(json.dumps(card))
        own.register(bundle, find_trunk=trunk_finder([tmp_path / "models"]))
    client = MlflowClient(own.tracking_uri, registry_uri=own.tracking_uri)
    found = [client.get_run(version.run_id) for version in own.list_models()[0].versions]
    assert [run.info.run_name for run in found] == [f"{MODEL} v2", f"{MODEL} v1"]
    (used,) = found[0].inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest, used.dataset.source) == ("plates-of-may", "e" * 32, "data/plates-of-may")


def test_a_champion_without_a_run_stops_no_registration(tmp_path: Path) -> None:
    """As one that a person registered by hand, or whose run was deleted for good."""
    own = two_versions(tiny_registry(tmp_path), tmp_path)
    client = MlflowClient(own.tracking_uri, registry_uri=own.tracking_uri)
    third = own.register(tiny_bundle(tmp_path / "models" / "m3", seed=3), find_trunk=trunk_finder([tmp_path / "models"]))
    assert "| metric | this version | champion, version 1 |" in client.get_model_version(MODEL, "3").description
    assert "- recipe: `seed` 3 (was 1)" in client.get_model_version(MODEL, str(third.version)).description
    by_hand = client.create_model_version(MODEL, source=f"models:/{MODEL}/1")
    client.set_registered_model_alias(MODEL, CHAMPION, by_hand.version)
    own.register(tiny_bundle(tmp_path / "models" / "m4", seed=4), find_trunk=trunk_finder([tmp_path / "models"]))
    assert "the champion's is not noted" in client.get_model_version(MODEL, "5").description


def test_flatten_and_numbers(tmp_path: Path) -> None:
    assert flatten({"a": {"b": 1, "c": [1, 2]}, "gates": [{"metric": "r2"}]}) == {"a.b": 1, "a.c": [1, 2], "gates.0.metric": "r2"}
    assert finite_numbers({"a": 1, "b": {"c": 2.5}, "n": float("nan"), "t": True, "s": "x"}) == {"a": 1.0, "b.c": 2.5}
    (tmp_path / "epochs.csv").write_text("epoch,loss,note\n3,1.5,x\n4,,y\n")
    assert read_epochs(tmp_path / "epochs.csv") == [(3, {"loss": 1.5}), (4, {})]
