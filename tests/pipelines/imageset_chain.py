"""The commands of dvc.yaml on tiny image sets, one after the other in this process: treated or not, and toxic or not with a GAN and
co-training.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.plates.simulate.imagesets import toxicity_set, treatment_set
from pipelines.make_example import make_imageset
from tests.pipelines.chain import ROOT, call, commands

STAGES = ("validate", "prepare_imageset", "trunk", "train", "evaluate", "compare", "score", "register", "report")


def tiny_imageset_params() -> dict[str, Any]:
    """Two networks on one set, which differ in their width, and a toxicity model whose GAN and co-training are cut short."""
    recipes = yaml.safe_load((ROOT / "params.yaml").read_text())["recipes"]
    colour = recipes["treatment_small"] | {"input": "colour", "gates": [{"metric": "accuracy_cv", "minimum": 0.5}]}
    colour["optimizer"] = colour["optimizer"] | {"epochs": 4}
    grey = recipes["toxicity_small"] | {"input": "grey", "gates": [{"metric": "accuracy_cv", "minimum": 0.2}]}
    grey["optimizer"] = grey["optimizer"] | {"epochs": 8}
    grey["augmentation"] = {"gan": {"images": 8, "epochs": 4, "batch_size": 8, "sheets": 2}, "cotraining": {"rounds": 1}}
    return {
        "screens": {}, "imagesets": {"hepg2": {"input": "colour"}, "l929": {"input": "grey"}},
        "inputs": {"colour": {"planes": ["image.red:mid", "image.green:mid", "image.blue:mid"], "size": 32},
                   "grey": {"planes": ["image:mid"], "size": 28}},
        "trunks": {"small": {"name": "small_cnn", "seed": 1}, "toxicity": {"name": "toxicity_cnn", "seed": 1}},
        "recipes": {"colour": colour, "wide": colour | {"head": {"hidden": [8], "outputs": 2}}, "grey": grey},
        "models": {"treatment-HepG2": {"screen": "hepg2", "recipe": "colour", "parent": "trunks/small"},
                   "treatment-HepG2-wide": {"screen": "hepg2", "recipe": "wide", "parent": "trunks/small"},
                   "toxicity-L929": {"screen": "l929", "recipe": "grey", "parent": "trunks/toxicity"}},
        "scores": {"hepg2": "treatment-HepG2", "l929": "toxicity-L929"},
        "train": {"device": "cpu"}, "score": {"device": "cpu"}}


def run_imageset_chain(folder: Path) -> Path:
    """Make data and artifacts in `folder`; returns it."""
    for example in (treatment_set(untreated=16, treated=12, fields=2, size=64), toxicity_set(labelled=14, unlabelled=6, size=64)):
        make_imageset(folder / "data", example, progress=False)
    params = tiny_imageset_params()
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(ROOT / "dvc.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        cells = commands(params)
        for stage in STAGES:
            for words in cells[stage].values():
                call(words)
    return folder
