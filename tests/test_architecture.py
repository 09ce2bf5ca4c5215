"""The house plan as a test: who may import whom, and the one home of each heavy library."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("models", "validation", "pipelines", "serving")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

ALLOWED_PACKAGES = {"models": {"models"}, "validation": {"models", "validation"}, "pipelines": {"models", "validation", "pipelines"},
                    "serving": {"models", "validation", "serving"}}

MODEL_LAYERS = (  # a room imports its own layer and those before it
    ("errors", "columns", "tables", "records", "tracking", "environment", "wells", "words", "whole_file", "instructions", "processes",
     "kept", "separation"),
    ("plates", "dose_response"), ("networks", "counting"), ("effects", "combinations", "single_doses"),
    ("overlap", "control_range", "control_places", "flagged", "known_potency", "suitability"), ("scoring",), ("classifying",), ("report",),
    ("registered",), ("bundle_cache", "version_notes"), ("registry",))

HOMES = {  # library -> files or folders that may import it
    "mlflow": ("models/registry/", "serving/mlflow_app.py"),
    "great_expectations": ("validation/suites.py",),
    "bentoml": ("serving/service.py",),
    "ray": ("pipelines/pools.py",),
    "yaml": ("pipelines/yaml_text.py", "pipelines/params.py", "pipelines/params_entries.py", "pipelines/screens.py",
             "serving/uploads.py"),   # params; on disk; in a form
    "argparse": ("pipelines/", "serving/cli.py", "serving/commands.py"),
    "torch": ("models/networks/",),
    "torchvision": ("models/networks/backbones.py",),
    "openvino": ("models/networks/forward.py",),
    "timm": ("models/networks/backbones.py",),
    "cv2": ("models/plates/measures.py",),
    "pickle": (),
    "joblib": (),
}


def imported_names(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def layer_of(room: str) -> int | None:
    return next((index for index, rooms in enumerate(MODEL_LAYERS) if room in rooms), None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_keep_to_the_house_plan(path: Path) -> None:
    place = path.relative_to(ROOT)
    wrong = []
    for name, line in imported_names(path):
        top = name.partition(".")[0]
        if top in PACKAGES and top not in ALLOWED_PACKAGES[place.parts[0]]:
            wrong.append(f"line {line}: {place.parts[0]} may not import {name}")
        if top in HOMES and not any(place.as_posix().startswith(home) for home in HOMES[top]):
            wrong.append(f"line {line}: {top} has its home in {HOMES[top] or 'no file'}, not here")
        wrong += layer_breach(place, name, line)
    assert not wrong, "\n".join(wrong)


def layer_breach(place: Path, name: str, line: int) -> list[str]:
    if place.parts[0] != "models" or not name.startswith("models.") or len(place.parts) < 2:
        return []
    own, other = (part.removesuffix(".py") for part in (place.parts[1], name.split(".")[1]))
    own_layer, other_layer = layer_of(own), layer_of(other)
    if own_layer is None or other_layer is None:
        return [f"line {line}: models.{own if own_layer is None else other} is no room of the house plan"]
    if other_layer > own_layer or (other_layer == own_layer and other != own and own_layer > 0):
        return [f"line {line}: models.{own} may not import models.{other}"]
    return []


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_those_of_this_repository(package: str) -> None:
    origin = importlib.import_module(package).__file__
    assert origin is not None
    assert Path(origin).resolve().is_relative_to(ROOT)


def test_nothing_loads_pickles() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text, path
        assert "torch.load(" not in text, path
