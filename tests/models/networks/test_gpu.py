"""On a CUDA GPU: every kind of training runs, a recorded step is the step that it records, and answers are the CPU's but for rounding.

All other tests compute on the CPU, to the bit (tests/conftest.py). These: CUDA_VISIBLE_DEVICES=0 pytest tests/models/networks/test_gpu.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.explanation import similarity
from models.networks import step
from models.networks.explain import METHODS, Method, explain
from models.networks.fitting import Before, Fitted, fit_model
from models.networks.heads import build_network
from models.networks.recipe import CotrainingSpec, GanSpec, OptimizerSpec, Recipe, SplitSpec, TrunkSpec
from models.networks.trunks import Trunk
from models.plates.images import WellImages
from tests.conftest import CONTROLS, READOUT, Tiny
from tests.models.networks.test_gan import RECIPE, blobs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU, or CUDA_VISIBLE_DEVICES not set")

WHOLE = replace(READOUT, trunk=TrunkSpec(name="small_cnn", trained="all"), optimizer=replace(READOUT.optimizer, epochs=8, batch_size=8))
FROZEN_PARTS = replace(WHOLE, trunk=TrunkSpec(name="mobilenet_v2", trained="last", blocks=2), split=replace(READOUT.split, folds=0))
DROPPED = replace(WHOLE, head=replace(READOUT.head, dropout=0.5), split=replace(READOUT.split, folds=0))
BF16 = replace(CONTROLS, trunk=WHOLE.trunk, optimizer=OptimizerSpec(learning_rate=1e-3, batch_size=4, epochs=4, precision="bf16"),
               split=replace(CONTROLS.split, folds=0))
STEEPEST = replace(WHOLE, optimizer=replace(WHOLE.optimizer, name="sgd", learning_rate=1e-3))
THIRD = replace(CONTROLS, target="controls_and_duplicates", trunk=WHOLE.trunk, optimizer=replace(CONTROLS.optimizer, epochs=4),
                split=SplitSpec(unit="well", folds=4, validation=0.0))


def fit(recipe: Recipe, tiny: Tiny, device: str, *, checkpoint: Path | None = None, before: Before | None = None,
        on_epoch: Callable[[str, dict[str, float]], None] = lambda run, record: None) -> Fitted:
    return fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device=device, checkpoint=checkpoint, before=before,
                     on_epoch=on_epoch)


def losses(fitted: Fitted) -> np.ndarray:
    return fitted.epochs["loss"].to_numpy(float)


@pytest.mark.parametrize("recipe", [READOUT, CONTROLS, WHOLE, FROZEN_PARTS, BF16, STEEPEST],
                         ids=["head, read-out", "head, classes", "whole", "last blocks", "bf16", "sgd"])
def test_a_training_goes_as_on_the_cpu(recipe: Recipe, tiny: Tiny) -> None:
    """Rounding grows from step to step; the first epoch is the CPU's."""
    on_cpu, on_gpu = (fit(recipe, tiny, device) for device in ("cpu", "cuda"))
    assert next(on_gpu.network.trunk.parameters()).is_cuda
    assert next(on_gpu.network.head.parameters()).is_cuda
    np.testing.assert_allclose(losses(on_gpu)[0], losses(on_cpu)[0], rtol=0.02)
    assert np.isfinite(on_gpu.predictions["prediction"]).all()
    if recipe.trunk.trained == "head":      # trained on the CPU from features that a GPU rounds otherwise
        np.testing.assert_allclose(on_gpu.predictions["prediction_cv"], on_cpu.predictions["prediction_cv"], atol=0.02)


@pytest.mark.parametrize("recipe", [WHOLE, BF16, DROPPED, FROZEN_PARTS], ids=["short last batch, cosine", "bf16", "dropout", "batch norm"])
def test_a_recorded_step_is_the_step(recipe: Recipe, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = fit(recipe, tiny, "cuda")
    again = fit(recipe, tiny, "cuda")
    with monkeypatch.context() as patched:
        patched.setattr(step, "RecordedStep", lambda own, optimizer: own)
        taken = fit(recipe, tiny, "cuda")
    apart = np.abs(losses(recorded) - losses(again)).max()      # what GPU kernels leave open
    assert np.abs(losses(recorded) - losses(taken)).max() <= max(10 * apart, 1e-3 * losses(taken).max())


class Killed(Exception):  # noqa: N818  # what happened
    """Stands for a kill."""


def test_a_killed_training_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    recipe = replace(WHOLE, split=replace(WHOLE.split, folds=0), optimizer=replace(WHOLE.optimizer, epochs=16))
    whole = fit(recipe, tiny, "cuda")
    seen: list[float] = []

    def killed_at_12(run: str, record: dict[str, float]) -> None:
        seen.append(record["epoch"])
        if record["epoch"] == 12:
            raise Killed

    with pytest.raises(Killed):
        fit(recipe, tiny, "cuda", checkpoint=tmp_path, on_epoch=killed_at_12)
    resumed = fit(recipe, tiny, "cuda", checkpoint=tmp_path)
    np.testing.assert_allclose(losses(resumed), losses(whole), rtol=0.02)
    assert len(losses(resumed)) == 16


def test_phase_three_is_cross_fitted(tiny: Tiny) -> None:
    second = replace(THIRD, target="control_class")
    start = fit(second, tiny, "cuda").network
    found = fit_model(start, tiny.images, tiny.layout, THIRD, before=Before(build_network(second), second), device="cuda")
    assert np.isfinite(found.predictions["prediction_cv"]).all()
    assert found.learnt_labels is not None
    assert len(found.learnt_labels)


def test_gan_and_co_training() -> None:
    pixels, classes = blobs(36, size=28)
    wells = pd.DataFrame({"plate": "set", "well": [f"image {number}" for number in range(36)]})
    images = WellImages(wells.assign(site=1), pixels.numpy().astype(np.float16), RECIPE.input.planes)
    target = np.where(np.arange(36) < 20, 1.0 - classes.numpy(), np.nan)
    recipe = replace(RECIPE, augmentation=replace(RECIPE.augmentation, gan=GanSpec(images=6, epochs=12, batch_size=8, sheets=3, noise=8),
                                                  cotraining=CotrainingSpec(rounds=1)),
                     optimizer=replace(RECIPE.optimizer, epochs=5), split=replace(RECIPE.split, unit="well", folds=0))
    found = fit_model(build_network(recipe), images, wells.assign(target=target, label="", group=wells["well"]), recipe,
                      device="cuda")
    assert found.gan is not None
    assert found.gan.drawn.shape == (6, 1, 28, 28)
    assert found.rounds is not None
    assert np.isfinite(losses(found)).all()


@pytest.mark.parametrize("name", ["small_cnn", "mobilenet_v2", "vgg19"])
def test_features_are_the_cpus_and_no_image_feels_its_company(name: str) -> None:
    recipe = replace(READOUT, trunk=TrunkSpec(name=name))
    network, pixels = build_network(recipe).eval(), np.random.default_rng(0).random((40, 3, 96, 96)).astype(np.float16)
    on_cpu = Trunk(network, torch.device("cpu"), size=96, path="torch").features(pixels)
    trunk = Trunk(network.cuda(), torch.device("cuda"), size=96, path="torch")
    found = trunk.features(pixels)
    np.testing.assert_allclose(found, on_cpu, atol=5e-3 * np.abs(on_cpu).max())
    np.testing.assert_array_equal(trunk.features(pixels[:5]), found[:5])


@pytest.mark.parametrize("method", METHODS)
def test_explanations(method: Method, tiny: Tiny) -> None:
    network = build_network(WHOLE).eval()
    images = torch.from_numpy(tiny.images.pixels[:2]).float()
    on_cpu, on_gpu = explain(network, images, method=method), explain(network.cuda(), images.cuda(), method=method)
    for one, other in ((on_cpu.raises, on_gpu.raises), (on_cpu.lowers, on_gpu.lowers)):
        alike = similarity(one, other)
        assert (np.isnan(alike) | (alike > 0.95)).all()
