"""The stage `register` on real bundles and a real SQLite registry."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from models.registry import CHALLENGER, CHAMPION, Registry
from pipelines import register
from tests.serving.tiny import tiny_bundle, tiny_registry


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Empty, and found by commands too; two models wait in artifacts/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    for name, passed in (("viability-A", True), ("viability-B", False)):
        tiny_bundle(Path("artifacts/models") / name, name=name, passed=passed)
        folder = Path("artifacts/evaluate") / name
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text('{"r2_cv": 0.9, "nested": {"z_prime_cv": null}}')
    Path("params.yaml").write_text("models: {viability-A: {}, viability-B: {}}\n")
    return tiny_registry(tmp_path)


def command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["register"])
    register.main()


def test_the_stage_registers_all_models_and_says_the_same_again(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch)
    first = {path.name: path.read_bytes() for path in Path("artifacts/registered").iterdir()}
    command(monkeypatch)
    assert {path.name: path.read_bytes() for path in Path("artifacts/registered").iterdir()} == first
    receipt = json.loads(first["viability-B.json"])
    assert receipt == {"name": "viability-B", "version": 1, "gates": "fail: r2_cv is 0.1", "bundle_sha256": receipt["bundle_sha256"]}
    assert registry.aliases() == {"viability-A": {CHALLENGER: 1}, "viability-B": {}}


def test_a_version_names_the_experiment_that_made_it(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "hot-lr")
    command(monkeypatch)
    assert registry.resolve("viability-A/1").tags["dvc_experiment"] == "hot-lr"


def test_an_experiment_leaves_the_challenger_to_what_is_taken_over(registry: Registry, monkeypatch: pytest.MonkeyPatch,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    """The service in production compared the champion with whatever somebody had tried last."""
    command(monkeypatch)
    tiny_bundle(Path("artifacts/models/viability-A"), name="viability-A", seed=5)
    with monkeypatch.context() as patch:
        patch.setenv("DVC_EXP_NAME", "hot-lr")
        command(patch)
    assert "viability-A version 2: gates pass\nviability-B" in capsys.readouterr().out
    assert registry.aliases()["viability-A"] == {CHALLENGER: 1}
    command(monkeypatch)        # the experiment was applied
    assert registry.aliases()["viability-A"] == {CHALLENGER: 2}


def test_missing_bundles_are_registered_and_known_ones_left_alone(registry: Registry) -> None:
    folders = {"evaluations": Path("artifacts/evaluate"), "trunks": Path("artifacts/trunks"), "names": ("viability-A", "viability-B")}
    added = register.register_missing(Path("artifacts/models"), registry=registry, **folders)
    assert [version.name for version in added] == ["viability-A", "viability-B"]
    registry.set_alias(added[0], CHAMPION)
    tiny_bundle(Path("artifacts/models/viability-A"), name="viability-A", seed=5)
    assert [str(version) for version in register.register_missing(Path("artifacts/models"), registry=registry, **folders)] == [
        "viability-A version 2"]
    assert registry.aliases()["viability-A"] == {CHAMPION: 1, CHALLENGER: 2}
    assert register.register_missing(Path("artifacts/models"), registry=registry, **folders) == []


def test_an_empty_folder_is_no_mistake(tmp_path: Path) -> None:
    assert register.bundles_in(tmp_path / "nothing", ["viability-A"]) == []


def test_a_model_that_params_yaml_lists_no_longer_is_not_registered(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bundle stays in artifacts/ when its lines go, or when a colleague's branch is left."""
    Path("params.yaml").write_text("models: {viability-A: {}}\n")
    command(monkeypatch)
    assert list(registry.aliases()) == ["viability-A"]
