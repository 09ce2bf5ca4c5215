"""Models in memory: once each, shared trunks counted once, the least recently used let go under a budget."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from models.errors import RefusedError
from models.registered import RegisteredVersion
from serving.loaded import LoadedModels
from tests.waiting import PATIENCE


def version(name: str) -> RegisteredVersion:
    return RegisteredVersion(name=name, version=1, run_id="r")


class Shelf:
    """Loads models of 10 bytes; those of one first letter share a trunk of 100."""

    def __init__(self, *, budget: float = float("inf")) -> None:
        self.loads: list[str] = []
        self.trunks: dict[str, SimpleNamespace] = {}
        self.models = LoadedModels(self._load, budget_bytes=budget)

    def _load(self, wanted: RegisteredVersion) -> SimpleNamespace:
        self.loads.append(wanted.name)
        return SimpleNamespace(head_bytes=10, trunk=self.trunks.setdefault(wanted.name[0], SimpleNamespace(bytes=100)))

    def get(self, *names: str) -> None:
        for name in names:
            self.models.get(version(name))


def test_a_model_is_loaded_once_and_a_shared_trunk_counts_once() -> None:
    shelf = Shelf()
    shelf.get("a1", "a2", "a1", "b1")
    assert shelf.loads == ["a1", "a2", "b1"]
    assert shelf.models.bytes == 3 * 10 + 2 * 100


def test_the_least_recently_used_go_first() -> None:
    shelf = Shelf(budget=130)
    shelf.get("a1", "a2", "a3", "a1", "a4")         # a2 was used longest ago
    assert shelf.models.bytes == 130
    shelf.get("a1", "a3", "a4")
    assert shelf.loads == ["a1", "a2", "a3", "a4"]
    shelf.get("a2")
    assert shelf.loads[-1] == "a2"


def test_a_model_larger_than_the_budget_is_served_all_the_same_and_alone() -> None:
    shelf = Shelf(budget=50)
    shelf.get("a1", "b1")
    assert len(shelf.models) == 1
    shelf.get("b1")
    assert shelf.loads == ["a1", "b1"]


def test_those_who_ask_at_once_wait_for_one_load() -> None:
    shelf, begun, go_on = Shelf(), threading.Event(), threading.Event()
    inner = shelf.models._load

    def slow(wanted: RegisteredVersion) -> object:
        begun.set()
        assert go_on.wait(PATIENCE)
        return inner(wanted)
    shelf.models._load = slow
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(shelf.models.get, version("a1")) for _ in range(4)]
        assert begun.wait(PATIENCE)
        go_on.set()
        assert len({id(item.result(PATIENCE)) for item in asked}) == 1
    assert shelf.loads == ["a1"]


def test_a_load_that_fails_is_tried_again() -> None:
    shelf = Shelf()
    inner = shelf.models._load

    def failing(wanted: RegisteredVersion) -> object:
        raise RefusedError("no")
    shelf.models._load = failing
    with pytest.raises(RefusedError):
        shelf.get("a1")
    shelf.models._load = inner
    shelf.get("a1")
    assert shelf.loads == ["a1"]
    assert not shelf.models._loading
