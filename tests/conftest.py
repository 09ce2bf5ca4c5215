"""Shared by all tests: they compute on the CPU and are repeatable, property tests too; and tiny recipes, images and screens."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings

from models.networks.recipe import Augmentation, HeadSpec, OptimizerSpec, Recipe, SplitSpec, TrunkSpec
from models.plates.images import WellImages
from models.plates.prepare import InputSpec
from models.plates.simulate.examples import Example, further_examples
from models.wells import wells_of

settings.register_profile("dosewell", deadline=None, suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no failure
                          derandomize=os.environ.get("DOSEWELL_EXPLORE") is None)
settings.load_profile("dosewell")
os.environ.setdefault("OMP_NUM_THREADS", "1")   # torch reads it when imported: tiny networks take longer on two threads
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")   # figures are a CPU's, to the bit; but tests/models/networks/test_gpu.py
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")   # MLflow reads it when imported, by tests before models.registry may

TINY_INPUT = InputSpec(size=16)
READOUT = Recipe(
    system="viability", target="readout", input=TINY_INPUT, trunk=TrunkSpec(name="small_cnn"), head=HeadSpec(hidden=(10,)),
    augmentation=Augmentation(flip=True, views=1), optimizer=OptimizerSpec(learning_rate=0.01, batch_size=16, epochs=60, schedule="cosine"),
    split=SplitSpec(unit="replicate", test=0.25, validation=0.125, folds=4), seed=1)
CONTROLS = replace(READOUT, system="profile", target="control_class", head=HeadSpec(outputs=2), label_smoothing=0.4,
                   split=SplitSpec(unit="well", validation=0.125, folds=4))


def tiny_layout(*, plate: str = "P1", controls: int = 12, doses: int = 8, replicates: int = 4) -> pd.DataFrame:
    """Layout of one 96-well plate: negative and positive controls, and one treatment in replicate sets; `readout` falls with dose."""
    rows: list[dict[str, Any]] = [
        {"role": role, "treatment": "", "dose": np.nan, "dose_unit": "", "replicate": number + 1, "readout": level}
        for role, level in (("negative", 1.5), ("positive", 0.1)) for number in range(controls)]
    rows += [{"role": "treated", "treatment": "drug", "dose": 10.0**dose, "dose_unit": "nM", "replicate": number + 1,
              "readout": 0.1 + 1.4 / (1 + 10.0**dose / 3e3)} for dose in range(doses) for number in range(replicates)]
    wells = np.random.default_rng(0).permutation(list(wells_of(96)))[:len(rows)]
    return pd.DataFrame([{"plate": plate, "well": str(well), **row} for well, row in zip(wells, rows, strict=True)])


def primary_screen(effects: dict[str, float], *, inert: int, plates: int = 2, sd: float = 6.0, seed: int = 0) -> pd.DataFrame:
    """Layout of a 384-well screen with a well of each treatment at 1 uM on each plate, and 16 controls of each kind.

    effects: treatment -> % inhibition; inert: treatments without any; sd: scatter of a well, % inhibition.
    """
    rng = np.random.default_rng(seed)
    names = np.random.default_rng(7).permutation(list(wells_of(384)))
    truth = {**effects, **{f"inert{number:03d}": 0.0 for number in range(inert)}}
    rows = [{"role": role, "treatment": "", "dose": np.nan, "dose_unit": "", "truth": level}
            for role, level in (("negative", 0.0), ("positive", 100.0)) for _ in range(16)]
    rows += [{"role": "treated", "treatment": name, "dose": 1000.0, "dose_unit": "nM", "truth": effect} for name, effect in truth.items()]
    table = pd.DataFrame([{"plate": f"P{plate + 1}", "well": str(well), "replicate": plate + 1, **row}
                          for plate in range(plates) for well, row in zip(names, rows, strict=False)])
    scatter = rng.normal(0, sd, len(table)) * np.where(table["role"] == "positive", 0.3, 1.0)
    return table.assign(readout=1.5 - 1.4 * (table["truth"] + scatter) / 100).drop(columns="truth")


@pytest.fixture(scope="session")
def paired() -> Example:
    """Plates of two drugs in a well: a pair that is independent, and one that is not."""
    return further_examples()[0]


def tiny_images(layout: pd.DataFrame, *, sites: int = 1, size: int = 16, noise: float = 0.02, seed: int = 0) -> WellImages:
    """Grey images as bright as their well's read-out, with noise; (N, 3, size, size)."""
    rng = np.random.default_rng(seed)
    wells = layout.loc[layout.index.repeat(sites), ["plate", "well"]].reset_index(drop=True)
    level = layout["readout"].repeat(sites).to_numpy()[:, None, None, None] / 2
    pixels = (level + rng.normal(0, noise, (len(wells), 1, size, size))).clip(0, 1).repeat(3, axis=1)
    return WellImages(wells.assign(site=np.tile(np.arange(1, sites + 1), len(layout))), pixels.astype(np.float16), InputSpec().planes)


@dataclass(frozen=True)
class Tiny:
    """What a network test needs: a layout and its images."""

    layout: pd.DataFrame
    images: WellImages


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """One plate: 12 + 12 controls and 8 doses x 4 replicates."""
    layout = tiny_layout()
    return Tiny(layout, tiny_images(layout))


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Work inside a new folder of that name."""
    def enter(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
        return folder
    return enter


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage from `validate` to `score` has run on three tiny screens. Read it, do not change it."""
    from tests.pipelines.chain import run_chain

    return run_chain(tmp_path_factory.mktemp("chain"))
