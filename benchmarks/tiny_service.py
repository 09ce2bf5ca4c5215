"""A service of the smallest real model, in processes of its own, for trials that attack it, kill it or keep it busy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from models.registry import Registry
from tests.serving.tiny import MODEL, SCREEN, Server, TinyPlate, tiny_plate, tiny_registry, two_versions

__all__ = ["MODEL", "SCREEN", "PeakMemory", "Server", "TinyPlate", "family", "form", "tiny_service"]


@contextmanager
def tiny_service(folder: Path, registry: Registry | None = None, **settings: str) -> Iterator[tuple[Server, TinyPlate]]:
    """The service, of the registry or of one with two versions, and a plate of it. settings: DOSEWELL_... variables."""
    registry = registry or two_versions(tiny_registry(folder), folder)
    server = Server(folder / "state", registry.tracking_uri, **settings)
    try:
        server.wait()
        yield server, tiny_plate(folder)
    finally:
        server.stop()


def form(plate: TinyPlate, **changes: object) -> dict[str, Any]:
    """Arguments of a request that scores the plate; `changes` replace fields: texts, or (file name, content)."""
    fields = {"model": MODEL, "screen": json.dumps(SCREEN), "images": ("P1.zip", plate.archive.read_bytes()),
              "layout": ("layout.csv", plate.layout.read_bytes()), **changes}
    return {"data": {name: value for name, value in fields.items() if isinstance(value, str)},
            "files": {name: value for name, value in fields.items() if isinstance(value, tuple)}}


def family(server: Server) -> list[psutil.Process]:
    """The service's processes."""
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


class PeakMemory:
    """Most memory that processes took together above what they had, while the block lasts, as `extra_mb`."""

    def __init__(self, processes: list[psutil.Process], *, every: float = 0.003) -> None:
        self.processes, self.every, self.extra_mb = processes, every, 0.0
        self._over = threading.Event()

    def _now(self) -> float:
        return sum(process.memory_info().rss for process in self.processes if process.is_running()) / 2**20

    def __enter__(self) -> PeakMemory:
        start = self._now()

        def watch() -> None:
            while not self._over.wait(self.every):
                self.extra_mb = max(self.extra_mb, self._now() - start)
        self._thread = threading.Thread(target=watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def client(server: Server) -> httpx.Client:
    """To talk to it."""
    return httpx.Client(base_url=server.url, timeout=300, trust_env=False)
