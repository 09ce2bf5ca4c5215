"""The commands of dvc.yaml, run one after the other in this process on tiny simulated screens."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.networks.bundle import trunk_finder
from models.networks.predict import Predictor, load_predictor
from models.plates.simulate.examples import example_screens
from pipelines.make_example import make_example
from pipelines.prepared import PreparedScreen, read_prepared

ROOT = Path(__file__).parents[2]
SIZE = 32
BEFORE, AFTER = ("validate", "prepare", "trunk"), ("compare", "score")  # register and report have tests of their own


def tiny_params() -> dict[str, Any]:
    """Two cell lines and a patient, on a trunk that the first line trains; recipes of the example, cut short."""
    recipes = yaml.safe_load((ROOT / "params.yaml").read_text())["recipes"]
    base = recipes["brightfield_pretrain"] | {
        "input": "brightfield", "split": {"unit": "replicate", "test": 0.25, "validation": 0.125, "folds": 0},
        "gates": [{"metric": "r2_test", "minimum": 0.3}]}
    base["optimizer"] = base["optimizer"] | {"epochs": 12}
    head = recipes["viability_small"] | {
        "input": "brightfield", "gates": [{"metric": "r2_cv", "minimum": 0.3}, {"metric": "rmse_cv", "maximum": 0}]}
    head["optimizer"], head["augmentation"] = head["optimizer"] | {"epochs": 40}, head["augmentation"] | {"views": 1}
    controls = recipes["profile_phase2_small"] | {"input": "spheroid", "gates": [{"metric": "accuracy_cv", "minimum": 0.5}]}
    controls["optimizer"], controls["augmentation"] = controls["optimizer"] | {"epochs": 150}, controls["augmentation"] | {"views": 2}
    return {
        "screens": {"a549": {"input": "brightfield"}, "hek293": {"input": "brightfield"}, "patient-1": {"input": "spheroid"}},
        "inputs": {"brightfield": {"planes": ["brightfield:mid"] * 3, "size": SIZE},
                   "spheroid": {"planes": ["hoechst:mip", "hoechst:mid", "hoechst:mip"], "size": SIZE, "intensity": "plate"}},
        "trunks": {"small": {"name": "small_cnn", "seed": 1}},
        "recipes": {"base": base, "head": head, "controls": controls},
        "models": {"viability-A549": {"screen": "a549", "recipe": "base", "parent": "trunks/small"},
                   "viability-HEK293": {"screen": "hek293", "recipe": "head", "parent": "models/viability-A549"},
                   "profile-PAT_1": {"screen": "patient-1", "recipe": "controls", "parent": "trunks/small"}},
        "scores": {"hek293": "viability-HEK293", "patient-1": "profile-PAT_1"},
        "train": {"device": "cpu"}, "score": {"device": "cpu"}}


def commands(params: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Stage -> cell -> words of its command, as dvc.yaml has them."""
    stages, found = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"], {}
    for name, stage in stages.items():
        if "foreach" not in stage:
            found[name] = {"": shlex.split(stage["cmd"])}
            continue
        section = params.get(re.fullmatch(r"\$\{(\w+)\}", stage["foreach"])[1], {})
        found[name] = {key: shlex.split(_filled(stage["do"]["cmd"], key, item)) for key, item in section.items()}
    return found


def _filled(text: str, key: str, item: Any) -> str:
    values = {"key": key, "item": item} | ({f"item.{name}": value for name, value in item.items()} if isinstance(item, dict) else {})
    return re.sub(r"\$\{([\w.]+)\}", lambda match: str(values[match[1]]), text)


def call(words: list[str]) -> None:
    """Run `python -m <module> ...` in this process."""
    assert words[:2] == ["python", "-m"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", words[2:])
        importlib.import_module(words[2]).main()


def predictor_of(chain: Path, model: str) -> Predictor:
    """A model that the chain has made."""
    models = chain / "artifacts" / "models"
    return load_predictor(models / model, find_trunk=trunk_finder([models, chain / "artifacts" / "trunks"]), device="cpu")


def prepared_screen(chain: Path, screen: str) -> PreparedScreen:
    """A screen as the chain has prepared it."""
    return read_prepared(chain / "data" / screen, chain / "artifacts" / "prepared" / screen)


def run_chain(folder: Path) -> Path:
    """Make data and artifacts in `folder`; returns it."""
    chosen = {"a549": SIZE, "hek293": SIZE, "patient-1": SIZE}
    make_example(folder / "data", [replace(screen, size=chosen[screen.name], planes=min(screen.planes, 2))
                                   for screen in example_screens() if screen.name in chosen], progress=False)
    params = tiny_params()
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(ROOT / "dvc.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stages = commands(params)
        for stage in BEFORE:
            for words in stages[stage].values():
                call(words)
        for model in params["models"]:  # a model's parent is ready before it
            for stage in ("train", "evaluate"):
                call(stages[stage][model])
        for stage in AFTER:
            for words in stages[stage].values():
                call(words)
    return folder
