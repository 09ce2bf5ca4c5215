"""A registry that is slow, or takes questions and does not answer: it is said to be away meanwhile, and what is loaded goes on."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from models.errors import RegistryError
from models.registered import RegisteredVersion
from models.registry import Registry
from serving.asking import AskedRegistry
from serving.promotion import Promoter
from tests.serving.tiny import CLASSIFIER, MODEL, Away
from tests.waiting import PATIENCE, until


def test_hundreds_of_models_are_looked_at_less_often_but_within_seconds(away: Away) -> None:
    asked = AskedRegistry(lambda: away, lambda *_: None)
    pauses = []
    for seconds in (0.0, 0.1, 0.12, 0.7, 30.0):
        asked._seconds = seconds
        pauses.append(asked.pause(2.0))
    assert pauses == [2.0, 2.0, pytest.approx(2.4), 3.0, 3.0]
    assert asked.pause(60.0) == 60.0     # as somebody wanted it


def test_a_registry_that_takes_the_question_and_never_answers(promoter: Promoter, away: Away, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow asks a silent server for a minute; until then the registry counted as reachable."""
    promoter.look()
    answering = away.registry
    monkeypatch.setattr("serving.asking.SILENT", 0.2)
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


def test_a_registry_that_is_always_slow_is_not_away(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that needed a little more than the wait for it was away and back again at every look."""
    told: list[str] = []
    asked = AskedRegistry(lambda: away, lambda error, _: told.append(str(error)))
    monkeypatch.setattr("serving.asking.SILENT", 0.2)
    answer = away.registry.aliases
    monkeypatch.setattr(away.registry, "aliases", lambda: (time.sleep(1.0), answer())[1])
    assert MODEL in asked.aliases()
    assert MODEL in asked.aliases()
    assert told == ["the registry has not answered for 0.2 seconds"]    # once, when nobody knew yet


def test_a_registry_that_falls_silent_after_its_aliases_is_told_and_asked_once(promoter: Promoter, away: Away,
                                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """It counted as reachable for the minute that MLflow waits, and each model whose alias had moved waited another one."""
    promoter.look()
    away.cut = True
    promoter.look()
    away.cut = False                                # all champions are compared, for it may be another registry
    monkeypatch.setattr("serving.asking.SILENT", 0.2)
    gives_up, asked = threading.Event(), list[str]()

    def silent(name: str, _number: int) -> RegisteredVersion:
        asked.append(name)
        gives_up.wait(PATIENCE)
        raise RegistryError("it has not answered for a minute")
    with monkeypatch.context() as patch:
        patch.setattr(away.registry, "version", silent)
        looking = threading.Thread(target=promoter.look)
        looking.start()
        until(lambda: asked and promoter.snapshot.unreachable_since)
        assert "has not answered for 0.2 seconds" in promoter.snapshot.registry_error
        assert promoter.pick(MODEL).version.version == 1
        gives_up.set()
        looking.join(timeout=PATIENCE)
    assert not looking.is_alive()
    assert len(asked) == 1
    assert set(promoter.snapshot.served) == {MODEL, CLASSIFIER}
    promoter.look()
    assert promoter.snapshot.unreachable_since == ""
    assert promoter._missing_since == {}            # both were compared then
