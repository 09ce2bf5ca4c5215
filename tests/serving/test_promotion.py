"""The service follows the alias `champion`: swaps under load, withdrawal, an absent registry, and what is loaded when."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient

from models.errors import RegistryError
from models.networks.bundle import trunk_finder
from models.registered import UnknownModelError
from models.registry import CHAMPION, Registry
from pipelines.servers import free_port
from serving.client import Client
from serving.promotion import Promoter
from serving.promotion_log import Change, PromotionLog
from tests.serving.conftest import Post
from tests.serving.tiny import CLASSIFIER, MODEL, Away, Server, stored, tiny_bundle, tiny_registry, two_versions
from tests.waiting import PATIENCE, until


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


def test_references_that_nobody_knows(promoter: Promoter) -> None:
    promoter.look()
    for reference in ("", "x" * 5000, "viability-TINY/0", "../etc"):
        with pytest.raises(UnknownModelError):
            promoter.pick(reference)


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


def test_promote_tells_within_seconds_that_the_registry_is_away(tmp_path: Path) -> None:
    """MLflow by itself tries for four minutes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run([sys.executable, "-m", "serving.cli", "promote", MODEL, "1"], capture_output=True, text=True, timeout=PATIENCE,
                          cwd=tmp_path, env={**environment, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"})
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
