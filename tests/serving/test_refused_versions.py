"""A version that is not what was registered, fails its gates or does not load serves nobody, and why is said."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from models.errors import RefusedError
from models.networks.bundle import bundle_sha256, read_card, trunk_finder, write_card
from models.registry import CHAMPION, Registry
from serving.answers import models_answer
from serving.promotion import Promoter
from serving.promotion_log import PromotionLog
from tests.serving.tiny import MODEL, Away, stored, tiny_bundle


def test_any_exception_of_a_version_only_refuses_it(promoter: Promoter, away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(away.registry, "load", lambda version, device: 1 / 0)
    promoter.look()
    with pytest.raises(RefusedError, match="division by zero"):
        promoter.pick(MODEL)
    monkeypatch.undo()
    promoter._retry_seconds = 0
    promoter.look()
    assert promoter.pick(MODEL).version.version == 1


def alter_weights(bundle: Path) -> None:
    weights = bundle / "weights.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + b"\x00" + kept[-1:])


def lose_weights(bundle: Path) -> None:
    (bundle / "weights.safetensors").unlink()


def lose_card(bundle: Path) -> None:
    (bundle / "card.json").unlink()


def add_pickle(bundle: Path) -> None:
    (bundle / "model.pkl").write_bytes(b"\x80\x04.")


def add_code(bundle: Path) -> None:
    (bundle.parents[1] / "code.py").write_text("print('run me')")


def another_card(bundle: Path) -> None:
    """A whole and sound bundle, but not the one that was registered."""
    write_card(bundle, replace(read_card(bundle), metrics={"r2_cv": 0.99}))


def newer_format(bundle: Path) -> None:
    card = bundle / "card.json"
    card.write_text(card.read_text().replace('"format_version": 1', '"format_version": 2'))


def later_recipe(bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_text())
    card["recipe"]["attention"] = {"layers": 2}
    (bundle / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")


@pytest.mark.parametrize(("damage", "reason"), [
    (alter_weights, "altered or damaged"), (lose_weights, "no weights.safetensors"), (lose_card, "expected one bundle"),
    (add_pickle, "files that no bundle has: model.pkl"), (add_code, "expected one bundle and nothing else, .* code.py beside"),
    (another_card, "its content was changed since it was registered .sha256 "), (newer_format, "format version 2; this Dosewell reads 1"),
    (later_recipe, "recipe.attention: unknown key"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_a_version_that_is_not_what_was_registered_is_refused_and_why_is_said(
        damage: Callable[[Path], None], reason: str, own: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    versions = [own.register(tiny_bundle(tmp_path / "models" / f"m{seed}", seed=seed), find_trunk=trunk_finder([tmp_path / "models"]))
                for seed in (1, 2)]
    own.set_alias(versions[0], CHAMPION)
    promoter = Promoter(lambda: own, PromotionLog(tmp_path / "log.jsonl"), retry_seconds=0.0, device="cpu")
    promoter.look()
    kept = tmp_path / "kept"
    shutil.copytree(stored(own, versions[1]).parents[1], kept)
    damage(stored(own, versions[1]))
    if damage is later_recipe:      # registered so by a newer release: hash and gates are right, and this release cannot read it
        own._client.set_model_version_tag(MODEL, "2", "bundle_sha256", bundle_sha256(stored(own, versions[1])))
    own.set_alias(versions[1], CHAMPION)
    promoter.look()
    said = promoter.snapshot.refused[MODEL]
    assert said.version == 2
    assert re.search(reason, said.reason), said.reason
    assert said.reason in caplog.text
    assert REGISTRY.get_sample_value("dosewell_champion_refused", {"model": MODEL}) == 1
    assert models_answer(promoter.snapshot, service_version="1")["models"][0]["refused"] == {"version": 2, "reason": said.reason}
    assert promoter.log.read()[-1].reason == said.reason
    promoter.look()
    assert [change.event for change in promoter.log.read()] == ["serving", "refused"]    # tried again, and told once
    assert promoter.pick(MODEL).predictor.sha256 == versions[0].bundle_sha256
    if damage is not later_recipe:      # repaired, it is taken over without a restart
        shutil.rmtree(stored(own, versions[1]).parents[1])
        shutil.copytree(kept, Path(own._client.get_model_version_download_uri(MODEL, "2").removeprefix("file://")))
        promoter.look()
        assert promoter.pick(MODEL).version.version == 2
        assert not promoter.snapshot.refused
        assert REGISTRY.get_sample_value("dosewell_champion_refused", {"model": MODEL}) == 0


def test_a_version_whose_gates_failed_is_explained_to_whom_it_scored_for_and_scores_for_nobody_else(own: Registry, tmp_path: Path) -> None:
    failed = own.register(tiny_bundle(tmp_path / "models" / "m0", passed=False), find_trunk=trunk_finder([tmp_path / "models"]))
    promoter = Promoter(lambda: own, PromotionLog(tmp_path / "log.jsonl"), device="cpu")
    promoter.look()
    served = promoter.pick_to_explain(f"{MODEL}/{failed.version}", sha256=failed.bundle_sha256)
    with pytest.raises(RefusedError, match="the registry was made anew"):
        promoter.pick_to_explain(f"{MODEL}/{failed.version}", sha256="0" * 64)
    assert served.predictor.card.name == MODEL
    assert not served.card.gates_passed
    with pytest.raises(RefusedError, match="gates"):
        promoter.pick(f"{MODEL}/{failed.version}")


def test_a_champion_that_does_not_load_when_it_is_asked_for_is_refused_from_then_on(
        promoter: Promoter, away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(version: object, device: str) -> object:
        raise RefusedError("it does not load")
    monkeypatch.setattr("serving.promotion.LOADED_AT_START", 0)
    monkeypatch.setattr(away.registry, "load", broken)
    promoter.look()
    with pytest.raises(RefusedError, match="it does not load"):
        promoter.pick(MODEL).load()
    promoter.look()
    assert promoter.snapshot.refused[MODEL].reason == "it does not load"
    assert [change.event for change in promoter.log.read() if change.model == MODEL] == ["serving", "refused"]
    monkeypatch.undo()
    promoter._retry_seconds = 0
    promoter.look()
    assert promoter.pick(MODEL).load().card.name == MODEL
    assert MODEL not in promoter.snapshot.refused


def test_a_restart_after_the_alias_moved_back_from_a_refused_version_is_no_change(own: Registry, tmp_path: Path) -> None:
    versions = [own.register(tiny_bundle(tmp_path / "models" / f"m{seed}", seed=seed), find_trunk=trunk_finder([tmp_path / "models"]))
                for seed in (1, 2)]
    lose_weights(stored(own, versions[1]))
    promoter = Promoter(lambda: own, PromotionLog(tmp_path / "log.jsonl"), device="cpu")
    for version in (versions[0], versions[1], versions[0]):
        own.set_alias(version, CHAMPION)
        promoter.look()
    promoter.stop()
    told = [(change.event, change.version_to) for change in promoter.log.read()]
    assert told == [("serving", 1), ("refused", 2), ("serving", 1)]
    again = Promoter(lambda: own, PromotionLog(tmp_path / "log.jsonl"), device="cpu")
    again.look()
    assert [(change.event, change.version_to) for change in again.log.read()] == told
