"""Fixtures of the tests that score archives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.score_archive import main
from tests.serving.tiny import MODEL, ROOT, tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundles" / MODEL)


@pytest.fixture
def command(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The command line on some screens; gives OUT."""
    monkeypatch.setattr(sys, "path", [*sys.path])   # Ray adds packages of its own, which pieces that are kept would be known by

    def call(*screens: Path, out: str = "out", options: tuple[str, ...] = ()) -> Path:
        main([*map(str, screens), "--bundle", str(bundle), "--out", str(tmp_path / out), "--params", str(ROOT / "params.yaml"), *options])
        return tmp_path / out
    return call
