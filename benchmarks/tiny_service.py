"""A service of the smallest real model, in processes of its own, for trials that attack it, kill it or keep it busy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from models.registry import Registry
from tests.serving.tiny import MODEL, SCREEN, Server, TinyPlate, tiny_plate, tiny_registry, two_versions

__all__ = ["MODEL", "SCREEN", "Server", "TinyPlate", "client", "form", "tiny_service"]


@contextmanager
def tiny_service(folder: Path, registry: Registry | None = None, **settings: str) -> Iterator[tuple[Server, TinyPlate]]:
    """The service, of the registry or of one with two versions, and a plate of it. settings: DOSEWELL_... variables."""
    registry = registry or two_versions(tiny_registry(folder), folder)
    with Server(folder / "state", registry.tracking_uri, **settings) as server:
        yield server, tiny_plate(folder)


def form(plate: TinyPlate, **changes: object) -> dict[str, Any]:
    """Arguments of a request that scores the plate; `changes` replace fields: texts, or (file name, content)."""
    fields = {"model": MODEL, "screen": json.dumps(SCREEN), "images": ("P1.zip", plate.archive.read_bytes()),
              "layout": ("layout.csv", plate.layout.read_bytes()), **changes}
    return {"data": {name: value for name, value in fields.items() if isinstance(value, str)},
            "files": {name: value for name, value in fields.items() if isinstance(value, tuple)}}


def client(server: Server) -> httpx.Client:
    """To talk to it."""
    return httpx.Client(base_url=server.url, timeout=300, trust_env=False)
