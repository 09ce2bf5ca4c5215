"""Fitting a model: cross-fitted predictions never come from a network that saw their unit, and the same input gives the same output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models.networks import fitting
from models.networks.backbones import state_bytes
from models.networks.fitting import Fitted, fit_model, planned_epochs
from models.networks.heads import build_network
from models.networks.recipe import Augmentation, HeadSpec, Recipe, SplitSpec, TrunkSpec
from models.plates.images import WellImages
from tests.conftest import CONTROLS, READOUT, Tiny


@pytest.fixture(scope="module")
def readout(tiny: Tiny) -> Fitted:
    return fit_model(build_network(READOUT), tiny.images, tiny.layout, READOUT, device="cpu")


@pytest.fixture(scope="module")
def controls(tiny: Tiny) -> Fitted:
    return fit_model(build_network(CONTROLS), tiny.images, tiny.layout, CONTROLS, device="cpu")


def test_every_labelled_image_has_its_predictions(readout: Fitted, controls: Fitted, tiny: Tiny) -> None:
    for fitted, count in ((readout, len(tiny.layout)), (controls, 24)):
        table = fitted.predictions
        assert len(table) == count
        assert not table.duplicated(["plate", "well", "site"]).any()
        assert np.isfinite(table[["target", "prediction", "prediction_cv"]].to_numpy(float)).all()
        assert set(table["fold"]) == {0, 1, 2, 3}
        assert table.groupby("unit")[["fold", "part"]].nunique().max().max() == 1
        accuracies = ([], []) if fitted is readout else (["accuracy"], ["validation_accuracy"])
        assert list(fitted.epochs.columns) == ["epoch", "loss", *accuracies[0], "validation_loss", *accuracies[1]]
        assert not fitted.network.training


def test_brightness_is_learnt_as_read_out_and_as_class(readout: Fitted, controls: Fitted) -> None:
    for name in ("prediction", "prediction_cv"):
        assert np.corrcoef(readout.predictions["target"], readout.predictions[name])[0, 1] ** 2 > 0.95
        assert ((controls.predictions[name] > 0.5) == (controls.predictions["target"] > 0.5)).all()
    test = readout.predictions[readout.predictions["part"] == "test"]
    assert np.abs(test["prediction"] - test["target"]).max() < 0.4
    assert readout.predictions["logit"].isna().all()
    logit = controls.predictions["logit"]
    np.testing.assert_allclose(controls.predictions["prediction"], 1 / (1 + np.exp(-logit)))


def memorising() -> Recipe:
    """A wide head on 256 random features, no augmentation: it learns labels by heart."""
    return replace(CONTROLS, head=HeadSpec(hidden=(128,)), label_smoothing=0.0, augmentation=Augmentation(views=0),
                   split=SplitSpec(validation=0, folds=4), trunk=TrunkSpec(name="small_cnn", mean=(0.5,) * 3, std=(0.1,) * 3))


def test_noise_is_known_by_heart_in_sample_but_not_cross_fitted() -> None:
    """Labels that say nothing about the image: nearly all right in sample, cross-fitted no better than a coin."""
    rng = np.random.default_rng(4)
    wells = pd.DataFrame({"plate": "P1", "well": [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)], "site": 1})
    images = WellImages(wells, rng.uniform(size=(96, 3, 16, 16)).astype(np.float16), CONTROLS.input.planes)
    layout = wells.drop(columns="site").assign(role=rng.permutation(["negative", "positive"] * 48), replicate=1)
    recipe = replace(memorising(), optimizer=replace(CONTROLS.optimizer, epochs=150, learning_rate=0.01))
    table = fit_model(build_network(recipe), images, layout, recipe, device="cpu").predictions
    right = {name: ((table[name] > 0.5) == (table["target"] > 0.5)).mean() for name in ("prediction", "prediction_cv")}
    assert right["prediction"] > 0.9
    assert 0.3 < right["prediction_cv"] < 0.7


def test_twins_see_neither_the_units_that_they_answer_for_nor_each_other(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each training is given: its rows, and a network that is still at the start."""
    given: list[tuple[np.ndarray, bytes]] = []
    true_train = fitting.train

    def watching(network, source, targets, parts, recipe, **options):
        given.append((parts.copy(), state_bytes(network.state_dict())))
        return true_train(network, source, targets, parts, recipe, **options)

    monkeypatch.setattr(fitting, "train", watching)
    recipe = replace(READOUT, optimizer=replace(READOUT.optimizer, epochs=2))
    table = fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu").predictions
    assert len(given) == 5
    for fold, (parts, _) in enumerate(given[:4]):
        seen = set(table["unit"][np.isin(parts, ["train", "validation"])])
        answered = set(table["unit"][table["fold"] == fold])
        assert not seen & answered
        assert seen | answered == set(table["unit"])
        assert not set(table["unit"][parts == "train"]) & set(table["unit"][parts == "validation"])
    final = given[-1][0]
    assert (final == table["part"]).all()
    assert len({state for _, state in given}) == 1


def test_read_outs_of_the_test_part_teach_nothing(tiny: Tiny) -> None:
    recipe = replace(READOUT, split=replace(READOUT.split, folds=0), optimizer=replace(READOUT.optimizer, epochs=10))
    first = fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu")
    held_out = first.predictions.loc[first.predictions["part"] == "test", "well"]
    assert len(held_out) >= 10
    spoiled = tiny.layout.assign(readout=tiny.layout["readout"].where(~tiny.layout["well"].isin(held_out), 50.0))
    again = fit_model(build_network(recipe), tiny.images, spoiled, recipe, device="cpu")
    assert state_bytes(again.network.state_dict()) == state_bytes(first.network.state_dict())
    np.testing.assert_array_equal(again.predictions["prediction"], first.predictions["prediction"])


def test_without_folds_nothing_is_cross_fitted(tiny: Tiny) -> None:
    recipe = replace(CONTROLS, split=replace(CONTROLS.split, folds=0), optimizer=replace(CONTROLS.optimizer, epochs=2))
    table = fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu").predictions
    assert (table["fold"] == -1).all()
    assert table[["prediction_cv", "logit_cv"]].isna().all(axis=None)


def test_the_same_input_gives_the_same_model_whatever_ran_before(readout: Fitted, tiny: Tiny) -> None:
    torch.manual_seed(77)
    np.random.seed(77)  # a stranger's use of the global generator
    again = fit_model(build_network(READOUT), tiny.images, tiny.layout, READOUT, device="cpu")
    assert state_bytes(again.network.state_dict()) == state_bytes(readout.network.state_dict())
    pd.testing.assert_frame_equal(again.predictions, readout.predictions)


def test_a_killed_fit_goes_on_where_it_was(tiny: Tiny, tmp_path: Path) -> None:
    """Killed in the third fold: the first two are not trained again, and everything ends as without the kill."""
    recipe = replace(CONTROLS, optimizer=replace(CONTROLS.optimizer, epochs=12))
    whole = fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu")
    told: list[tuple[str, float]] = []

    def dying(run: str, record: dict[str, float]) -> None:
        told.append((run, record["epoch"]))
        if (run, record["epoch"]) == ("fold 3", 11):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu", on_epoch=dying, checkpoint=tmp_path)
    assert told[-1] == ("fold 3", 11)
    assert sorted(path.parent.name for path in tmp_path.glob("*/checkpoint.safetensors")) == ["fold_1", "fold_2", "fold_3"]
    trainings: list[str] = []

    def watching(run: str, record: dict[str, float]) -> None:
        trainings.append(run)

    again = fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu", on_epoch=watching, checkpoint=tmp_path)
    assert state_bytes(again.network.state_dict()) == state_bytes(whole.network.state_dict())
    pd.testing.assert_frame_equal(again.predictions, whole.predictions)
    pd.testing.assert_frame_equal(again.epochs, whole.epochs)
    assert trainings == [run for run in ("fold 1", "fold 2", "fold 3", "fold 4", "final") for _ in range(12)]  # old records are told again
    assert not list(tmp_path.rglob("checkpoint*"))


def test_checkpoints_are_cleared_and_nothing_else(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    recipe = replace(CONTROLS, split=replace(CONTROLS.split, folds=0), optimizer=replace(CONTROLS.optimizer, epochs=2))
    fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu", checkpoint=tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


def test_torch_has_its_threads_back(tiny: Tiny) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    recipe = replace(CONTROLS, split=replace(CONTROLS.split, folds=0), optimizer=replace(CONTROLS.optimizer, epochs=1))
    try:
        fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu")
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("base", [READOUT, CONTROLS], ids=["read-outs", "classes"])
def test_folds_that_train_together_answer_as_they_do_apart(base: Recipe, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(base, split=replace(base.split, folds=4, validation=0.0), head=replace(base.head, hidden=(6,), dropout=0.0),
                     optimizer=replace(base.optimizer, epochs=10))
    told: list[tuple[str, float]] = []
    together = fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu",
                         on_epoch=lambda run, record: told.append((run, record["epoch"])))
    assert len(told) == planned_epochs(recipe)
    assert {run for run, _ in told} == {"folds", "final"}
    monkeypatch.setattr(fitting, "_may_stack", lambda study: False)
    apart = fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu")
    pd.testing.assert_frame_equal(together.predictions, apart.predictions)
    assert state_bytes(together.network.state_dict()) == state_bytes(apart.network.state_dict())


@pytest.mark.parametrize("changes", [
    {"split": SplitSpec(unit="well", validation=0.0, validation_wells=1, folds=4)},
    {"split": SplitSpec(unit="well", validation=0.125, folds=4)},
    {"head": HeadSpec(outputs=2, hidden=(4,), dropout=0.3), "split": SplitSpec(unit="well", validation=0.0, folds=4)}],
    ids=["wells that validate", "a share that validates", "dropout"])
def test_folds_that_choose_an_epoch_or_drop_out_train_alone(changes: dict[str, object], tiny: Tiny) -> None:
    """Trained together they choose no epoch: a fold's model was another one than the model that it stands for."""
    recipe = replace(CONTROLS, **changes, optimizer=replace(CONTROLS.optimizer, epochs=2))
    told: list[tuple[str, float]] = []
    fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu",
              on_epoch=lambda run, record: told.append((run, record["validation_loss"])))
    assert {run for run, _ in told} == {"fold 1", "fold 2", "fold 3", "fold 4", "final"}
    assert np.isfinite([loss for _, loss in told]).all() == bool(recipe.split.validation or recipe.split.validation_wells)


def test_wells_validate_inside_units_that_teach_where_the_recipe_says_so(tiny: Tiny) -> None:
    """As system S1 does: whole replicate sets are held out, single wells of the others choose the epoch."""
    split = SplitSpec(unit="replicate", test=0.25, validation=0.25, validation_unit="well", folds=0)
    recipe = replace(READOUT, split=split, optimizer=replace(READOUT.optimizer, epochs=1))
    table = fit_model(build_network(recipe), tiny.images, tiny.layout, recipe, device="cpu").predictions
    parts = table.groupby("unit")["part"].agg(set)
    assert {"train", "validation"} in parts.tolist()
    assert not [found for found in parts if "test" in found and len(found) > 1]
