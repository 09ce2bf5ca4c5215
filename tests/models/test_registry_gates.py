"""What a version that failed its gates may not become, and registries of more models and versions than MLflow gives at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.errors import RefusedError
from models.networks.bundle import trunk_finder
from models.registered import UnknownModelError
from models.registry import CHALLENGER, CHAMPION, Registry
from tests.serving.tiny import MODEL, tiny_bundle, tiny_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Versions 1 and 2 passed their gates, the last one, 3, did not; another model has one version."""
    folder = tmp_path_factory.mktemp("registry")
    found = tiny_registry(folder)
    for number, name, passed in ((1, MODEL, True), (2, MODEL, True), (3, MODEL, False), (4, "viability-B", True)):
        found.register(tiny_bundle(folder / "models" / f"m{number}", seed=number, passed=passed, name=name),
                       find_trunk=trunk_finder([folder / "models"]))
    found.set_alias(found.resolve(f"{MODEL}/1"), CHAMPION)
    return found


def test_the_last_training_does_not_become_challenger_with_failed_gates(registry: Registry) -> None:
    assert registry.aliases_of(MODEL) == {CHAMPION: 1, CHALLENGER: 2}


def test_no_way_to_a_version_leads_past_its_gates(registry: Registry) -> None:
    """Neither that of a promotion, which loads nothing, nor that of a service; by the card also where somebody changed the tag."""
    failed = registry.resolve(f"{MODEL}/3")
    for version in (failed, replace(failed, tags=dict(failed.tags) | {"gates": "pass"})):
        for way in (registry.check, registry.fetch, lambda version: registry.load(version, device="cpu")):
            with pytest.raises(RefusedError, match=r"r2_cv is 0\.1"):
                way(version)


def test_pages_of_a_search_are_all_read(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models beyond the first page were neither listed nor served."""
    def one_by_one(name: str) -> None:
        search = getattr(registry._client, name)
        monkeypatch.setattr(registry._client, name, lambda *filters, **options: search(*filters, **options | {"max_results": 1}))

    whole = registry.list_models()
    assert [(model.name, [version.version for version in model.versions]) for model in whole] == [("viability-B", [1]), (MODEL, [3, 2, 1])]
    one_by_one("search_registered_models")
    one_by_one("search_model_versions")
    assert registry.list_models() == whole
    with pytest.raises(UnknownModelError, match=r"has no version 9; versions: 3, 2, 1$"):
        registry.resolve(f"{MODEL}/9")


def test_a_bundle_is_found_under_its_own_name_alone(registry: Registry) -> None:
    known = registry.resolve(f"{MODEL}/1").bundle_sha256
    assert registry.find(MODEL, known) == registry.resolve(f"{MODEL}/1")
    assert registry.find("viability-B", known) is None
    assert registry.find(MODEL, "0" * 64) is None
