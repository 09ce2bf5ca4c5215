"""Reference data beside the repository; a test that needs them skips, with the reason, where they are not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("DOSEWELL_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nulls of the flat test that tests simulate stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOSEWELL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def reference() -> Path:
    """The folder of curves with published fits."""
    folder = SHARED / "data" / "dose_response"
    if not folder.is_dir():
        pytest.skip(f"reference curves are not at {folder}; set DOSEWELL_SHARED")
    return folder
