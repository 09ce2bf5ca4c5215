"""The service follows the alias `champion`: swaps under load, refusals, withdrawal, an absent registry, and the log of it all."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient
from prometheus_client import REGISTRY

from models.errors import RefusedError, RegistryError
from models.networks.bundle import bundle_sha256, read_card, trunk_finder, write_card
from models.registered import RegisteredVersion, UnknownModelError
from models.registry import CHAMPION, Registry
from serving.answers import models_answer
from serving.client import Client
from serving.promotion import Promoter, pause
from serving.promotion_log import Change, PromotionLog
from tests.serving.conftest import Post
from tests.serving.tiny import CLASSIFIER, MODEL, Server, free_port, tiny_bundle, tiny_registry, two_versions
from tests.waiting import PATIENCE, until


def stored(registry: Registry, version: RegisteredVersion) -> Path:
    """The bundle of a version where the registry keeps it."""
    uri = MlflowClient(registry.tracking_uri).get_model_version_download_uri(version.name, str(version.version))
    return next((Path(uri.removeprefix("file://")) / "data").iterdir())


@pytest.fixture
def promote(registry: Registry, client: Client) -> Iterator[Callable[[int], None]]:
    """Moves the alias as the MLflow UI does; afterwards version 1 is champion again."""
    def move(version: int) -> None:
        registry.set_alias(registry.resolve(f"{MODEL}/{version}"), CHAMPION)
    yield move
    move(1)
    until(lambda: served(client) == 1 and record(client)["refused"] is None and last_change(client) == ("serving", 1))


def record(client: Client) -> dict:
    return next(model for model in client.models()["models"] if model["name"] == MODEL)


def last_change(client: Client) -> tuple[str, int | None]:
    """What the log says of the model last; a change is seen before it is written."""
    change = next(change for change in reversed(client.promotions()) if change["model"] == MODEL)
    return change["event"], change["version_to"]


def served(client: Client) -> int | None:
    serving = record(client)["serving"]
    return serving["version"] if serving else None


def test_hundreds_of_models_are_looked_at_less_often_but_within_seconds() -> None:
    assert [pause(2.0, seconds) for seconds in (0.0, 0.1, 0.12, 0.7, 30.0)] == [2.0, 2.0, pytest.approx(2.4), 3.0, 3.0]
    assert pause(60.0, 0.7) == 60.0     # as somebody wanted it


def test_a_promotion_under_load_fails_no_request(promote: Callable[[int], None], post: Post, client: Client) -> None:
    answers: list[httpx.Response] = []
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            answers.append(post())
    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    until(lambda: len(answers) >= 2)
    promote(2)
    until(lambda: served(client) == 2)
    count = len(answers)
    until(lambda: len(answers) >= count + 6)
    promote(1)
    until(lambda: served(client) == 1)
    stop.set()
    for sender in senders:
        sender.join()
    assert {answer.status_code for answer in answers} == {200}
    versions = [({row["version"] for row in answer.json()["wells"]}, answer.json()["lineage"]["version"]) for answer in answers]
    assert all(rows == {version} for rows, version in versions), "an answer mixed versions"
    assert {version for _, version in versions} == {"1", "2"}
    assert post().json()["lineage"]["version"] == "1"


def test_a_version_that_failed_its_gates_is_refused(promote: Callable[[int], None], post: Post, client: Client, http: httpx.Client,
                                                    server: Server) -> None:
    promote(3)
    until(lambda: record(client)["refused"] is not None)
    assert record(client)["refused"] == {"version": 3, "reason": f"{MODEL} version 3 is refused: gates fail: r2_cv is 0.1"}
    assert post().json()["lineage"]["version"] == "1"
    until(lambda: f'dosewell_champion_refused{{model="{MODEL}"}} 1.0' in http.get("/metrics").text)      # told at the end of each look
    assert "refused: gates fail: r2_cv is 0.1" in server.log.read_text()
    last = client.promotions()[-1]
    assert (last["event"], last["version_from"], last["version_to"]) == ("refused", 1, 3)


def test_a_damaged_version_is_refused_until_it_is_repaired(promote: Callable[[int], None], registry: Registry, folder: Path, client: Client,
                                                           post: Post) -> None:
    bundle = tiny_bundle(folder / "models" / "m4", seed=4)
    version = registry.register(bundle, find_trunk=trunk_finder([folder / "models"]))
    weights = stored(registry, version) / "weights.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + b"\x00" + kept[-1:])
    promote(version.version)
    until(lambda: record(client)["refused"] is not None)
    assert "altered or damaged" in record(client)["refused"]["reason"]
    assert post().json()["lineage"]["version"] == "1"
    weights.write_bytes(kept)
    until(lambda: served(client) == version.version)
    assert record(client)["refused"] is None


def test_an_alias_that_is_taken_away_ends_the_service_of_its_model(promote: Callable[[int], None], registry: Registry, post: Post,
                                                                  client: Client) -> None:
    MlflowClient(registry.tracking_uri).delete_registered_model_alias(MODEL, CHAMPION)
    until(lambda: served(client) is None)
    assert post().status_code == 404
    until(lambda: last_change(client) == ("withdrawn", None))


def test_every_change_stands_in_the_log(promote: Callable[[int], None], client: Client, server: Server) -> None:
    before = len(client.promotions())
    promote(2)
    until(lambda: served(client) == 2)
    promote(1)
    until(lambda: served(client) == 1 and last_change(client) == ("serving", 1))
    assert [(change["event"], change["version_from"], change["version_to"]) for change in client.promotions()[before:]] == [
        ("serving", 1, 2), ("serving", 2, 1)]
    assert len((server.state / "promotions.jsonl").read_text().splitlines()) == before + 2


class Away:
    """A registry whose connection can be cut."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.cut = registry, False

    def __getattr__(self, name: str) -> object:
        if self.cut:
            raise RegistryError("the registry cannot be reached: cut")
        return getattr(self.registry, name)


@pytest.fixture
def away(tmp_path: Path, folder: Path, registry: Registry) -> Away:
    return Away(Registry(registry.tracking_uri, tmp_path / "cache"))


@pytest.fixture
def promoter(away: Away, tmp_path: Path) -> Promoter:
    return Promoter(lambda: away, PromotionLog(tmp_path / "log.jsonl"), retry_seconds=0.1, grace_seconds=0.1, device="cpu")


def test_who_waits_for_the_first_look_is_told_once(promoter: Promoter, monkeypatch: pytest.MonkeyPatch) -> None:
    ready: list[bool] = []
    look, looks = promoter.look, list[None]()
    monkeypatch.setattr(promoter, "look", lambda: looks.append(look()))
    promoter.start(poll_seconds=0.01, on_first=lambda: ready.append(promoter.ready))
    until(lambda: len(looks) > 3)
    promoter.stop()
    assert ready == [True]


def test_promotions_are_followed_whatever_happens(promoter: Promoter, monkeypatch: pytest.MonkeyPatch,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody foresaw ended the thread: the service went on with what it had, and no promotion reached it any more."""
    take_over, tries = promoter.log.take_over, list[int]()

    def broken_once(noted: dict[str, Change]) -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(24, "Too many open files")
        return take_over(noted)
    monkeypatch.setattr(promoter.log, "take_over", broken_once)
    promoter.start(poll_seconds=0.01)
    until(lambda: MODEL in promoter.snapshot.served)
    promoter.stop()
    assert "could not be followed" in caplog.text


def registry_error() -> None:
    raise RegistryError("cut")


def test_an_absent_registry_changes_nothing_but_what_is_said(promoter: Promoter, away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    promoter.look()
    assert promoter.pick(MODEL).version.version == 1
    away.cut = True
    promoter.look()
    since = promoter.snapshot.unreachable_since
    assert since
    assert "cut" in promoter.snapshot.registry_error
    assert promoter.pick(MODEL).version.version == 1
    promoter.look()
    assert promoter.snapshot.unreachable_since == since
    with pytest.raises(RegistryError):
        promoter.pick(f"{MODEL}/2")
    away.cut = False
    with monkeypatch.context() as patch:    # it answers, and is away again
        patch.setattr(away.registry, "version", lambda *_: registry_error())
        promoter.look()
    assert promoter.pick(MODEL).version.version == 1
    assert not promoter.snapshot.refused
    promoter.look()
    assert promoter.snapshot.unreachable_since == ""
    assert promoter.pick(f"{MODEL}/2").version.version == 2


def test_a_registry_that_takes_the_question_and_never_answers(promoter: Promoter, away: Away, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow asks a silent server for a minute; until then the registry counted as reachable."""
    promoter.look()
    answering = away.registry
    monkeypatch.setattr("serving.promotion.SILENT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        away.registry = Registry(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "silent")
        looking = threading.Thread(target=promoter.look)
        looking.start()
        until(lambda: promoter.snapshot.unreachable_since)
        since = promoter.snapshot.unreachable_since
        assert looking.is_alive()
        assert "has not answered for 0.2 seconds" in promoter.snapshot.registry_error
        until(lambda: REGISTRY.get_sample_value("dosewell_registry_reachable") == 0)
        assert promoter.pick(MODEL).version.version == 1
    looking.join(timeout=PATIENCE)      # the socket is gone, and MLflow gives up
    assert "cannot be used" in promoter.snapshot.registry_error
    assert promoter.snapshot.unreachable_since == since
    away.registry = answering
    promoter.look()
    assert promoter.snapshot.unreachable_since == ""
    assert REGISTRY.get_sample_value("dosewell_registry_reachable") == 1


def test_a_registry_that_is_absent_from_the_start(promoter: Promoter, away: Away) -> None:
    away.cut = True
    promoter.look()
    assert promoter.ready
    with pytest.raises(RegistryError, match="cut"):
        promoter.pick(MODEL)
    away.cut = False
    promoter.look()
    assert promoter.pick(MODEL).version.version == 1


def test_a_registry_that_comes_back_with_another_model_under_the_same_number_is_noticed(
        promoter: Promoter, away: Away, registry: Registry, tmp_path: Path) -> None:
    """Restored from an older copy, or made anew: the old model answered on as "version 1", which in the registry was another one."""
    promoter.look()
    old = promoter.pick(MODEL).version.bundle_sha256
    away.cut = True
    promoter.look()
    (tmp_path / "anew").mkdir()
    anew = tiny_registry(tmp_path / "anew")
    anew.register(tiny_bundle(tmp_path / "anew" / "m1", seed=7), find_trunk=trunk_finder([tmp_path / "anew"]))
    anew.set_alias(anew.resolve(f"{MODEL}/1"), CHAMPION)
    away.registry, away.cut = Registry(anew.tracking_uri, tmp_path / "cache"), False
    promoter.look()
    version = promoter.pick(MODEL).version
    assert (version.version, version.bundle_sha256 == old) == (1, False)
    assert [change.bundle_sha256 for change in promoter.log.read() if change.model == MODEL] == [old, version.bundle_sha256]
    before = len(promoter.log.read())
    away.cut = True
    promoter.look()
    away.cut = False
    promoter.look()     # the same one again is no change
    assert [change for change in promoter.log.read()[before:] if change.model == MODEL] == []


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


@pytest.fixture
def own(tmp_path: Path) -> Registry:
    """A registry of this test's own."""
    return tiny_registry(tmp_path)


def test_an_alias_on_its_way_to_another_version_ends_nothing(own: Registry, tmp_path: Path) -> None:
    """It may be taken away first and set then."""
    promoter = Promoter(lambda: two_versions(own, tmp_path), PromotionLog(tmp_path / "log.jsonl"), grace_seconds=PATIENCE, device="cpu")
    promoter.look()
    own._client.delete_registered_model_alias(MODEL, CHAMPION)
    promoter.look()
    assert promoter.pick(MODEL).version.version == 1
    promoter._grace_seconds = 0.0
    promoter.look()
    with pytest.raises(UnknownModelError):
        promoter.pick(MODEL)


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


def test_references_that_nobody_knows(promoter: Promoter) -> None:
    promoter.look()
    for reference in ("", "x" * 5000, "viability-TINY/0", "../etc"):
        with pytest.raises(UnknownModelError):
            promoter.pick(reference)


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


def test_versions_named_by_number_are_kept(promoter: Promoter) -> None:
    promoter.look()
    assert promoter.pick(f"{MODEL}/2").predictor is promoter.pick(f"{MODEL}/2").predictor
    assert promoter.pick(f"{MODEL}/1") is promoter.pick(MODEL)


def test_of_many_champions_each_is_loaded_when_it_is_first_asked_for(promoter: Promoter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.promotion.LOADED_AT_START", 0)
    monkeypatch.setattr("serving.promotion.TRUNKS_AT_START", 0)
    promoter.look()
    assert promoter.pick(MODEL).card.name == MODEL
    assert len(promoter._models) == 0
    predictor = promoter.pick(MODEL).predictor
    assert promoter.pick(MODEL).predictor is predictor
    assert len(promoter._models) == 1


def test_of_many_champions_one_of_each_trunk_is_loaded_ahead(promoter: Promoter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.promotion.LOADED_AT_START", 0)
    promoter.look()
    assert set(promoter.snapshot.served) == {MODEL, CLASSIFIER}     # both stand on one trunk
    assert promoter.ready
    assert len(promoter._models) == 1


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


def test_the_log_survives_a_cut_line_and_a_restart(away: Away, tmp_path: Path) -> None:
    path = tmp_path / "log" / "promotions.jsonl"
    for _ in range(2):
        Promoter(lambda: away, PromotionLog(path), device="cpu").look()
    assert [change.model for change in PromotionLog(path).read()] == [CLASSIFIER, MODEL]    # the same champions again are no change
    with path.open("ab") as file:
        file.write(b'{"at": "2026\xff')
    assert [change.event for change in PromotionLog(path).read()] == ["serving", "serving"]


def test_an_alias_taken_away_while_no_service_ran_is_in_the_log(away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "promotions.jsonl"
    before = Promoter(lambda: away, PromotionLog(path), device="cpu")
    before.look()
    before.stop()
    aliases = {name: named for name, named in away.registry.aliases().items() if name != MODEL}
    monkeypatch.setattr(away.registry, "aliases", lambda: aliases)
    after = Promoter(lambda: away, PromotionLog(path), grace_seconds=0, device="cpu")
    for _ in range(3):
        after.look()
    told = [(change.event, change.version_from, change.version_to) for change in after.log.read() if change.model == MODEL]
    assert told == [("serving", None, 1), ("withdrawn", 1, None)]


def change(number: int, *, model: str = "m") -> Change:
    return Change(at="", model=model, event="serving", version_from=None, version_to=number)


def test_a_restart_after_years_of_changes_is_no_change(away: Away, tmp_path: Path) -> None:
    """The last change of a model may lie any number of lines back."""
    path = tmp_path / "promotions.jsonl"
    first = Promoter(lambda: away, PromotionLog(path), device="cpu")
    first.look()
    first.stop()
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(change(number, model="another"))) + "\n" for number in range(1500))
    written = path.read_text(encoding="utf-8").count(f'"{MODEL}"')
    second = Promoter(lambda: away, PromotionLog(path), device="cpu")
    second.look()
    assert path.read_text(encoding="utf-8").count(f'"{MODEL}"') == written
    assert len(second.log.read()) == 1000


def test_a_version_that_cannot_be_fetched_is_told_once_however_the_reason_reads(
        away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk names another temporary folder at every try: a line every 30 seconds, for as long as it is full."""
    promoter = Promoter(lambda: away, PromotionLog(tmp_path / "log.jsonl"), retry_seconds=0.0, device="cpu")
    tries: list[str] = []

    def full(*_: object, **__: object) -> None:
        tries.append(f"No space left on device: download-{len(tries)}")
        raise RegistryError(tries[-1])
    with monkeypatch.context() as patch:
        patch.setattr(promoter._models, "get", full)
        for _ in range(4):
            promoter.look()
    assert len(tries) > 4
    assert tries[-1] in "".join(refusal.reason for refusal in promoter.snapshot.refused.values())
    assert [item.event for item in promoter.log.read() if item.model == MODEL] == ["refused"]
    promoter.look()
    assert [item.event for item in promoter.log.read() if item.model == MODEL] == ["refused", "serving"]


def test_a_log_that_cannot_be_written_stops_nothing_and_forgets_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log.jsonl"
    log = PromotionLog(path)
    log.append(change(1))
    path.rename(tmp_path / "kept.jsonl")
    path.mkdir()    # a file that cannot be written, even by root
    log.append(change(2))
    log.append(change(3))
    assert "cannot be written" in caplog.text
    assert [item.version_to for item in log.read()] == [2, 3]
    path.rmdir()
    (tmp_path / "kept.jsonl").rename(path)
    log.write_waiting()
    log.write_waiting()     # nothing waits any more
    assert [item.version_to for item in PromotionLog(path).read()] == [1, 2, 3]


def test_a_half_line_takes_no_whole_one_with_it(tmp_path: Path) -> None:
    log = PromotionLog(tmp_path / "log.jsonl")
    log.append(change(1))
    with log.path.open("a") as file:
        file.write('{"at": "2026')     # a full disk, or a kill
    log.append(change(2))
    assert [item.version_to for item in log.read()] == [1, 2]


def test_promote_tells_within_seconds_that_the_registry_is_away(tmp_path: Path) -> None:
    """MLflow by itself tries for four minutes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run([sys.executable, "-m", "serving.cli", "promote", MODEL, "1"], capture_output=True, text=True, timeout=PATIENCE,
                          cwd=tmp_path, env={**environment, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"})
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
