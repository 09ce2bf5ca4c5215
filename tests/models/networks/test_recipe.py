"""Recipes are range-checked, and networks are what recipes say; test_papers.py has the papers' numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import models.networks
from models.networks.backbones import parameter_count
from models.networks.heads import Network, Normalise, build_head, build_network, living_logit
from models.networks.recipe import Augmentation, CotrainingSpec, GanSpec, Gate, HeadSpec, OptimizerSpec, Recipe, SplitSpec, TrunkSpec
from models.plates.prepare import InputSpec
from pipelines.params import Params

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def params() -> Params:
    return Params.read(ROOT / "params.yaml")


def test_every_recipe_builds(params: Params) -> None:
    for recipe in params.recipes.values():
        with torch.device("meta"):
            network = Network(recipe)
            outputs = network(torch.empty(2, len(recipe.input.planes), recipe.input.size, recipe.input.size))
        assert outputs.shape == (2, recipe.head.outputs)


def test_normalisation_is_offset_then_mean_and_std() -> None:
    spec = TrunkSpec(offset=0.5, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.4))
    images = torch.rand(2, 3, 4, 4)
    expected = torch.stack([(images[:, c] + 0.5 - spec.mean[c]) / spec.std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(Normalise(spec)(images), expected)
    assert not Normalise(spec).state_dict()  # constants of the recipe, not weights


def test_heads_are_the_layers_asked_for() -> None:
    head = build_head(HeadSpec(hidden=(10, 5), outputs=2, dropout=0.3), 7)
    assert [type(layer).__name__ for layer in head] == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert parameter_count(head) == 7 * 10 + 10 + 10 * 5 + 5 + 5 * 2 + 2
    assert head[2].p == 0.3


def test_the_living_logit_is_that_of_a_softmax_pair() -> None:
    outputs = torch.randn(6, 2)
    torch.testing.assert_close(torch.sigmoid(living_logit(outputs)), outputs.softmax(dim=1)[:, 0])
    torch.testing.assert_close(living_logit(outputs[:, :1]), outputs[:, 0])


def test_a_network_is_random_by_its_seed_only() -> None:
    recipe = Recipe(system="profile", target="control_class", trunk=TrunkSpec(name="small_cnn"), seed=3)
    torch.manual_seed(1)
    first = build_network(recipe)
    torch.manual_seed(2)
    again = build_network(recipe)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(("cls", "values", "message"), [
    (TrunkSpec, {"trained": "tail"}, "trained must be one of"), (TrunkSpec, {"std": (1.0,)}, "std must have as many values"),
    (TrunkSpec, {"std": (1.0, 0.0, 1.0)}, "std must be > 0"), (HeadSpec, {"outputs": 0}, "outputs must be 1 or 2"),
    (TrunkSpec, {"trained": "last"}, "blocks must be 1 or more"), (TrunkSpec, {"blocks": 2}, "blocks must be 1 or more"),
    (HeadSpec, {"outputs": 3}, "outputs must be 1 or 2"), (HeadSpec, {"activation": "gelu"}, "activation must be one of"),
    (HeadSpec, {"dropout": 1.0}, r"dropout must lie in \[0, 1\)"), (HeadSpec, {"hidden": (3, 0)}, "hidden must hold positive"),
    (Augmentation, {"rotation": 181}, "rotation must lie"), (Augmentation, {"crop": 0.05}, "crop must keep"),
    (Augmentation, {"shift": -0.1}, "shift must lie"), (Augmentation, {"views": -1}, "views must be"),
    (Augmentation, {"scale": (1.2, 0.8)}, "scale must be two factors"), (Augmentation, {"contrast": (0.0, 1.0)}, "contrast must be two"),
    (Augmentation, {"brightness": -0.1}, "brightness must lie"), (Augmentation, {"hue": float("nan")}, "hue must lie"),
    (OptimizerSpec, {"learning_rate": 0}, "learning_rate must be > 0"), (OptimizerSpec, {"learning_rate": float("nan")}, "learning_rate"),
    (OptimizerSpec, {"epochs": 0}, "epochs must be 1 or more"), (OptimizerSpec, {"batch_size": 0}, "batch_size must be"),
    (OptimizerSpec, {"name": "adamw"}, "name must be adam or sgd"), (OptimizerSpec, {"schedule": "step"}, "schedule must be"),
    (OptimizerSpec, {"weight_decay": -1}, "weight_decay must be"), (OptimizerSpec, {"patience": -1}, "patience must be"),
    (OptimizerSpec, {"precision": "fp16"}, "precision must be"),
    (SplitSpec, {"folds": 3}, "folds must be 0 or at least 4"), (SplitSpec, {"test": 0.6, "validation": 0.4}, "test and validation"),
    (SplitSpec, {"validation_unit": "site"}, "validation_unit must be one of"), (SplitSpec, {"validation_wells": -1}, "validation_wells"),
    (GanSpec, {"epochs": 0}, "epochs must be 1 or more"), (GanSpec, {"batch_size": 1}, "batch_size must be 2"),
    (CotrainingSpec, {"rounds": 0}, "rounds must be"), (CotrainingSpec, {"confidence": 0.4}, "confidence must lie"),
    (SplitSpec, {"unit": "site"}, "unit must be one of"), (Gate, {"metric": "r2"}, "minimum or maximum must be given"),
])
def test_a_value_out_of_range_starts_with_its_field(cls: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        cls(**values)


@pytest.mark.parametrize(("values", "message"), [
    ({"system": "S9"}, "system must be one of"), ({"target": "od"}, "target must be one of"), ({"label_smoothing": 1.0}, "label_smoothing"),
    ({"input": InputSpec(planes=("a:mid",))}, r"trunk\.mean must have one value per input plane \(1\), got 3"),
    ({"augmentation": Augmentation(mosaic=4)}, r"augmentation\.mosaic pieces pixels together"),
    ({"augmentation": Augmentation(gan=GanSpec())}, r"augmentation\.gan and augmentation\.cotraining ask for labelled images"),
    ({"augmentation": Augmentation(gan=GanSpec()), "target": "label", "trunk": TrunkSpec(trained="all")},
     r"augmentation\.gan draws images of 8, 12 \.\.\. 64 pixels, the input has 224"),
    ({"trunk": TrunkSpec(name="tumour_cnn")}, r"trunk\.name tumour_cnn reads 3 channel\(s\) of 128 pixels, the input has 3 of 224"),
    ({"target": "readout", "head": HeadSpec(outputs=2)}, r"head\.outputs must be 1 to predict a read-out"),
])
def test_parts_of_a_recipe_must_fit_together(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Recipe(**{"system": "profile", "target": "control_class", **values})


def test_the_room_opens_its_heavy_names_on_demand() -> None:
    assert models.networks.build_network is build_network
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        models.networks.nothing  # noqa: B018  # to ask is what fails
