"""The recipes that a user has."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.networks.recipe import Recipe
from pipelines.params import Params


@pytest.fixture(scope="session")
def recipes() -> dict[str, Recipe]:
    """Those of params.yaml."""
    return dict(Params.read(str(Path(__file__).parents[3] / "params.yaml")).recipes)
