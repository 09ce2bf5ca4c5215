"""The recipes' optimizers are torch's, without its compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from models.networks.optimizers import SGD, AdamW, build_optimizer
from models.networks.recipe import OptimizerSpec

TRAINS = """
import sys, numpy as np, torch
from models.networks.heads import build_network
from models.networks.recipe import HeadSpec, OptimizerSpec, Recipe, TrunkSpec
from models.networks.sources import FeatureSource
from models.networks.train import train
recipe = Recipe(system="profile", target="control_class", trunk=TrunkSpec(name="small_cnn"), head=HeadSpec(outputs=2),
                optimizer=OptimizerSpec(name=sys.argv[1], batch_size=4, epochs=2))
network = build_network(recipe)
parts = np.array(["train"] * 6 + ["validation"] * 2)
train(network, FeatureSource(torch.randn(2, 8, network.feature_count)), np.array([0.2, 0.8] * 4), parts, recipe)
assert "torch._dynamo" not in sys.modules, "training imported torch's compiler"
"""


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_training_does_not_import_the_compiler(name: str) -> None:
    subprocess.run([sys.executable, "-c", TRAINS, name], check=True)


@pytest.mark.parametrize(("spec", "theirs"), [
    (OptimizerSpec(learning_rate=0.01, weight_decay=0.1), torch.optim.AdamW),
    (OptimizerSpec(name="sgd", learning_rate=0.01, weight_decay=0.1), torch.optim.SGD)])
def test_steps_and_states_are_torchs(spec: OptimizerSpec, theirs: type[torch.optim.Optimizer]) -> None:
    options = {"momentum": 0.9} if theirs is torch.optim.SGD else {}
    ends = []
    for make in (lambda parameters: build_optimizer(parameters, spec),
                 lambda parameters: theirs(parameters, lr=0.01, weight_decay=0.1, **options)):
        parameter = nn.Parameter(torch.linspace(-1, 1, 5))
        optimizer = make([parameter])
        for _ in range(3):
            optimizer.zero_grad()
            (parameter**3).sum().backward()
            optimizer.step()
        ends.append((parameter.detach(), optimizer.state_dict()))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1]["param_groups"] == ends[1][1]["param_groups"]
    again = build_optimizer([nn.Parameter(ends[0][0].clone())], spec)
    again.load_state_dict(ends[1][1])
    for value, wanted in zip(again.state_dict()["state"][0].values(), ends[1][1]["state"][0].values(), strict=True):
        assert value is wanted or torch.equal(value, wanted)
    assert isinstance(again, AdamW if spec.name == "adam" else SGD)
