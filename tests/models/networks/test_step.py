"""A recorded step teaches what the step teaches. No GPU is needed: a stand-in for the CUDA graph takes the step again when replayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from models.networks import step
from models.networks import train as training
from models.networks.backbones import state_bytes
from models.networks.heads import build_network
from models.networks.recipe import HeadSpec, Recipe, TrunkSpec
from models.networks.sources import PixelSource
from models.networks.step import RecordedStep, Step
from models.networks.train import train
from tests.conftest import CONTROLS

ROWS = 22       # batches of 8, 8 and 6
RECIPE = replace(CONTROLS, trunk=TrunkSpec(name="small_cnn", trained="all"), head=HeadSpec(outputs=2, hidden=(8,), dropout=0.3),
                 optimizer=replace(CONTROLS.optimizer, batch_size=8, epochs=5, schedule="cosine"))


class Replays(RecordedStep):
    """Recording takes no step; a replay takes it from what lies in the recording's inputs, as a CUDA graph does, and counts."""

    replays = 0

    def _record(self) -> Any:
        def replay() -> None:
            Replays.replays += 1
            self._told = self._step(self._inputs, self._wanted)

        return SimpleNamespace(replay=replay)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams of a GPU that is not there, and recorded steps on a CPU."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, stands_in in (("Stream", lambda: stream), ("stream", lambda own: nullcontext()), ("current_stream", lambda: stream)):
        monkeypatch.setattr(torch.cuda, name, stands_in)
    monkeypatch.setattr(Replays, "replays", 0)


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plain = training.training_step

    def make(module: torch.nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, device: torch.device) -> Step:
        return Replays(plain(module, optimizer, recipe, device), optimizer)

    with monkeypatch.context() as patched:
        patched.setattr(training, "training_step", make)
        yield


def taught() -> tuple[bytes, list[dict[str, float]]]:
    network = build_network(RECIPE)
    pixels = torch.rand(ROWS, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    records = train(network, PixelSource(pixels, RECIPE.augmentation, torch.device("cpu")), (np.arange(ROWS) % 2).astype(float),
                    np.full(ROWS, "train", dtype=object), RECIPE)
    return state_bytes(network.state_dict()), records


def test_what_is_replayed_is_what_was_asked(graphs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs, labels, the rate of the schedule and the short last batch: weights and losses are those without a recording, to the bit."""
    weights, records = taught()
    with recorded(monkeypatch):
        again, told = taught()
    assert again == weights
    assert [one["loss"] for one in told] == [one["loss"] for one in records]
    assert Replays.replays == 5 * 2 - 3     # of ten whole batches the first three were not recorded, the short ones never


def test_only_adam_on_a_cuda_gpu_is_recorded(graphs: None) -> None:
    network = build_network(RECIPE)
    optimizer = torch.optim.AdamW(network.parameters())
    sgd = replace(RECIPE, optimizer=replace(RECIPE.optimizer, name="sgd"))
    kinds = [isinstance(step.training_step(network, optimizer, recipe, torch.device(device)), RecordedStep)
             for recipe, device in ((RECIPE, "cuda"), (sgd, "cuda"), (RECIPE, "cpu"), (RECIPE, "mps"))]
    assert kinds == [True, False, False, False]


def test_an_output_is_right_on_the_targets_side_of_a_half() -> None:
    """In probability: a logit of 0.3 is living, one of -0.3 is not; smoothed labels count as the class that they stand for."""
    outputs, wanted = torch.tensor([[0.3], [-0.3], [0.3], [-2.0]]), torch.tensor([0.8, 0.2, 0.2, 0.8])
    assert step.share_right(outputs, wanted).item() == 0.5
    assert step.share_right(outputs[:2], wanted[:2]).item() == 1
    assert step.share_right(torch.cat([outputs / 2, -outputs / 2], dim=1), wanted).item() == 0.5
