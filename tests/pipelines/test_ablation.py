"""The command `ablation`: phase II from each start, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from models.errors import InputError
from models.networks.backbones import state_sha256
from models.networks.recipe import Recipe
from models.networks.train import smoothed_floor
from pipelines import ablation
from pipelines.params import Params
from pipelines.prepared import PreparedScreen
from tests.pipelines.chain import prepared_screen


@pytest.fixture(scope="module")
def recipes(chain: Path) -> tuple[Recipe, Recipe]:
    """Phase I, which trains the trunk, and phase II, which does not."""
    second = Params.read(chain / "params.yaml").recipes["controls"]
    second = replace(second, optimizer=replace(second.optimizer, epochs=6), split=replace(second.split, validation=0.25))
    return replace(second, trunk=replace(second.trunk, trained="all"), split=replace(second.split, folds=0)), second


@pytest.fixture(scope="module")
def screen(chain: Path) -> PreparedScreen:
    return prepared_screen(chain, "patient-1")


@pytest.fixture(scope="module")
def starts(chain: Path, recipes: tuple[Recipe, Recipe], screen: PreparedScreen) -> list[ablation.Pretraining]:
    return list(ablation.pretrainings(chain / "artifacts" / "trunks" / "small", screen, *recipes, lengths=[3, 0], device="cpu"))


def test_each_start_is_another_one(starts: list[ablation.Pretraining]) -> None:
    assert [(start.name, start.phase_1) for start in starts] == [("none, seed 1", 0), ("none, seed 1 + phase I, 3 epochs", 3)]
    assert len({state_sha256(start.network.trunk.state_dict()) for start in starts}) == 2


def test_losses_are_means_over_the_trainings_of_phase_two(starts: list[ablation.Pretraining], recipes: tuple[Recipe, Recipe],
                                                          screen: PreparedScreen) -> None:
    epochs, summary = ablation.phase_two(starts[1], screen, recipes[1], device="cpu")
    assert epochs["epoch"].tolist() == list(range(6))
    assert summary["lowest_validation_loss"] == epochs["validation_loss"].min() >= smoothed_floor(recipes[1].label_smoothing)
    assert summary["phase_1_epochs"] == 3
    assert 0 <= float(str(summary["accuracy_cv"])) <= 1
    figure = ablation.draw(epochs, floor=0.5, title="phase II")
    assert len(figure.axes[0].lines) == 2
    without = replace(recipes[1], split=replace(recipes[1].split, validation=0.0))
    with pytest.raises(InputError, match="no validation wells"):
        ablation.phase_two(starts[1], screen, without, device="cpu")


def test_a_recipe_without_validation_wells_gets_some(recipes: tuple[Recipe, Recipe]) -> None:
    assert ablation.with_validation(recipes[1]) is recipes[1]
    none = replace(recipes[1], split=replace(recipes[1].split, validation=0.0))
    assert ablation.with_validation(none).split.validation == 0.125


def test_only_phase_two_models_have_a_pretraining(chain: Path) -> None:
    params = Params.read(chain / "params.yaml")
    with pytest.raises(InputError, match="is no phase-II model"):
        ablation.phase_one_of(params, "viability-HEK293")
    with pytest.raises(InputError, match="has no model 'nobody'"):
        ablation.phase_one_of(params, "nobody")
    whole = Params.read(Path(__file__).parents[2] / "params.yaml")
    assert ablation.phase_one_of(whole, "profile-PAT_1") == "profile-INF_R_153_CE"


def test_a_line_per_pretraining() -> None:
    rows = pd.DataFrame({"pretraining": ["a", "a", "b", "b"], "epoch": [0, 1, 0, 1], "validation_loss": [0.7, 0.6, 0.65, 0.55]})
    assert [line.get_label() for line in ablation.draw(rows, floor=0.5, title="t").axes[0].lines] == [
        "a", "b", "lowest possible (0.5000)"]
