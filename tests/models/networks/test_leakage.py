"""An audit of leaks: whatever the recipe, nothing that a model is judged by may have reached the training of what answers for it.

Each training that `fit_model` starts is watched: which images it draws (augmented views and mosaics included), and whose labels. The
plates have two sites a well, duplicates on two plates and replicate sets, so that every kind of near-copy is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from models.networks import fitting, stacked
from models.networks.fitting import Before, Fitted, fit_model
from models.networks.heads import build_network
from models.networks.recipe import Recipe, TrunkSpec
from models.networks.sources import FeatureSource, PixelSource
from models.networks.splits import split_units
from models.networks.stacked import HeadData
from models.plates.images import WellImages
from pipelines.params import Params
from tests.conftest import CONTROLS, READOUT

RECIPES = {name: recipe for name, recipe in Params.read(Path(__file__).parents[3] / "params.yaml").recipes.items()
           if recipe.system in ("viability", "profile")}
SIZE = 16


def small(recipe: Recipe, *, folds: int | None = None) -> Recipe:
    """The recipe's wells, labels, split and augmentation, with a network and training that take no time."""
    base = READOUT if recipe.is_regression else CONTROLS
    trained = "all" if recipe.trunk.trained == "all" else "head"
    return replace(recipe, input=base.input, trunk=TrunkSpec(name="small_cnn", trained=trained), head=replace(recipe.head, hidden=(4,)),
                   optimizer=replace(recipe.optimizer, epochs=2, batch_size=8, precision="fp32"),
                   augmentation=replace(recipe.augmentation, views=min(recipe.augmentation.views, 2)),
                   split=recipe.split if folds is None else replace(recipe.split, folds=folds))


def plates(*names: str) -> tuple[WellImages, pd.DataFrame]:
    """Plates of these names, P1 and P2 by default: 8 + 8 controls and a read-out each, five drugs at three doses, one duplicate a plate,
    replicate sets 1-8; two sites.
    """
    rows = []
    for plate in names or ("P1", "P2"):
        free = iter(f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13))
        wells = [("negative", "", np.nan, "", number) for number in range(1, 9)] + [("positive", "kill", 250.0, "nM", number)
                                                                                     for number in range(1, 9)]
        wells += [("treated", drug, dose, "nM", 1 if plate == "P1" else 2) for drug in "uvwxy" for dose in (1.0, 10.0, 100.0)]
        rows += [(plate, next(free), *well) for well in wells]
    layout = pd.DataFrame(rows, columns=["plate", "well", "role", "treatment", "dose", "dose_unit", "replicate"])
    layout["replicate"] = np.where(layout["role"] == "treated", np.arange(len(layout)) % 8 + 1, layout["replicate"])
    rng = np.random.default_rng(0)
    layout["readout"] = rng.uniform(0.1, 1.6, len(layout))
    sites = layout[["plate", "well"]].loc[layout.index.repeat(2)].reset_index(drop=True).assign(site=[1, 2] * len(layout))
    level = layout["role"].map({"negative": 0.8, "positive": 0.2, "treated": 0.5}).to_numpy().repeat(2)[:, None, None, None]
    pixels = (level + rng.normal(0, 0.05, (len(sites), 3, SIZE, SIZE))).clip(0, 1).astype(np.float16)
    return WellImages(sites, pixels, CONTROLS.input.planes), layout


@dataclass
class Seen:
    """One training: rows that it drew inputs of, its parts, and its recipe."""

    recipe: Recipe
    parts: np.ndarray
    rows: set[int] = field(default_factory=set)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Seen]]:
    """The trainings that are started inside, each with every row whose pixels or features it drew to learn from."""
    trainings: list[Seen] = []
    running: list[Seen] = []        # caching the features of a frozen trunk draws images too, and teaches nothing
    true_train, true_heads, true_take = fitting.train, fitting.train_heads, stacked._Bank.take

    def watching(network, source, targets, parts, recipe, **options):
        trainings.append(Seen(recipe, parts.copy()))
        running.append(trainings[-1])
        found = true_train(network, source, targets, parts, recipe, **options)
        running.clear()
        return found

    def watching_heads(heads: Sequence[nn.Sequential], data: Sequence[HeadData], recipe: Recipe, **options: Any) -> None:
        for head, item in zip(heads, data, strict=True):
            parts = np.full(len(item.targets), "left out", dtype=object)
            parts[item.taught.numpy()] = "train"
            trainings.append(Seen(recipe, parts))
            running.append(trainings[-1])
            true_heads([head], [item], recipe, **options)    # one by one, so that it is known whose rows are drawn
            running.clear()

    def taking(self: stacked._Bank, views: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        for training in running:
            training.rows |= set(rows.flatten().tolist())
        return true_take(self, views, rows)

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "train", watching)
        patch.setattr(fitting, "train_heads", watching_heads)
        patch.setattr(stacked._Bank, "take", taking)
        for kind in (PixelSource, FeatureSource):
            def drawing(self, rows, generator, true=kind.training):
                for training in running:
                    training.rows |= set(rows.tolist())
                return true(self, rows, generator)
            patch.setattr(kind, "training", drawing)
        yield trainings


def fitted(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> tuple[Fitted, list[Seen], pd.DataFrame]:
    """The fit, its trainings, and the wells that their rows stand for."""
    images, layout = plates()
    before = None
    if recipe.target == "controls_and_duplicates" and recipe.split.folds:
        second = small(RECIPES["profile_phase2_small"], folds=0)
        before = Before(build_network(second), replace(second, head=recipe.head))
    with watched(monkeypatch) as trainings:
        found = fit_model(build_network(recipe), images, layout, recipe, before=before, device="cpu")
    return found, trainings, fitting.label_wells(images, layout, recipe, unlabelled=True).wells


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_that_answers_has_seen_what_it_answers_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(RECIPES[name])
    found, trainings, wells = fitted(recipe, monkeypatch)
    table = found.predictions
    for number, training in enumerate(trainings[:-1]):                       # of the folds, and phase II inside those of phase III
        fold = number // (len(trainings[:-1]) // recipe.split.folds)
        assert not units(wells, training) & set(table["unit"][table["fold"] == fold]), f"{name}, fold {fold + 1}"
    judged = table[table["part"] == "test"]
    assert not units(wells, trainings[-1]) & set(judged["unit"])
    if recipe.split.folds:
        assert set(table["fold"]) == set(range(recipe.split.folds))


def units(wells: pd.DataFrame, training: Seen) -> set[str]:
    """Units of all rows that the training learned from or chose its epoch by."""
    chosen = np.flatnonzero(np.isin(training.parts, ["train", "validation"]))
    return set(wells["unit"].iloc[sorted({*training.rows, *chosen.tolist()})])


@pytest.mark.parametrize("name", RECIPES)
def test_only_training_rows_are_drawn_and_sites_stay_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(RECIPES[name])
    _, trainings, wells = fitted(recipe, monkeypatch)
    known = wells["target"].notna().to_numpy()
    fine = split_units(wells, recipe.split.validation_unit or recipe.split.unit).to_numpy()
    for training in trainings:
        assert training.rows <= set(np.flatnonzero(training.parts == "train").tolist())     # mosaics draw a second image: also of these
        assert len(training.rows) > 0.9 * (training.parts == "train").sum()
        parts = pd.Series(training.parts)
        assert (parts.groupby([wells["plate"], wells["well"]]).nunique() == 1).all()        # all sites of a well
        assert (parts[known].groupby(fine[known]).nunique() == 1).all()
        judged = parts.isin(["test", "left out"])
        assert (judged[known].groupby(wells["unit"].to_numpy()[known]).nunique() == 1).all()


def test_a_plate_that_is_held_out_does_not_label_its_duplicates_elsewhere() -> None:
    """Phase III: the label of a drug well is made from its duplicates, and those of the plate that judges are none."""
    recipe = small(RECIPES["profile_phase3_small"], folds=0)
    recipe = replace(recipe, split=replace(recipe.split, unit="plate", test=0.25, validation=0))
    images, layout = plates("P1", "P2", "P3", "P4")
    first = fit_model(build_network(recipe), images, layout, recipe, device="cpu")
    (held_out,) = set(first.predictions.loc[first.predictions["part"] == "test", "plate"])
    spoiled = np.where((images.wells["plate"] == held_out).to_numpy()[:, None, None, None], np.float16(1), images.pixels)
    again = fit_model(build_network(recipe), replace(images, pixels=spoiled), layout, recipe, device="cpu")
    assert first.learnt_labels is not None
    assert set(first.learnt_labels["plate"]) == {"P1", "P2", "P3", "P4"} - {held_out}
    pd.testing.assert_frame_equal(again.learnt_labels, first.learnt_labels)


@pytest.mark.parametrize("name", ["viability_small", "brightfield_pretrain", "profile_phase1_small"])
def test_pixels_of_held_out_wells_do_not_change_the_model(name: str) -> None:
    """The strongest form: other images in the test part, and every weight comes out the same to the bit."""
    recipe = small(RECIPES[name], folds=0)
    images, layout = plates()
    first = fit_model(build_network(recipe), images, layout, recipe, device="cpu")
    held_out = first.predictions.loc[first.predictions["part"] == "test", ["plate", "well"]]
    assert len(held_out)
    keys = set(held_out.itertuples(index=False, name=None))
    spoiled = images.pixels.copy()
    spoiled[[key in keys for key in images.wells[["plate", "well"]].itertuples(index=False, name=None)]] = 1.0
    again = fit_model(build_network(recipe), replace(images, pixels=spoiled), layout, recipe, device="cpu")
    for one, other in zip(first.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(one, other)
