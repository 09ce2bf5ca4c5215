"""Co-training of system S4, Algorithm 1: what two learners agree on joins. And of all image sets: nothing leaks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models.networks import cotraining, fitting, gan
from models.networks.cotraining import co_train
from models.networks.gan import GanRun
from models.networks.heads import build_network
from models.networks.recipe import Augmentation, CotrainingSpec, Recipe
from models.networks.sources import PixelSource
from models.networks.train import Lesson
from models.plates.images import WellImages


def lesson() -> Lesson:
    """Four labelled rows, four unlabelled ones, one that validates and one of a unit that is held out."""
    pixels = torch.rand(10, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    targets = np.array([1, 0, 1, 0, np.nan, np.nan, np.nan, np.nan, 1, np.nan], np.float32)
    parts = np.array(["train"] * 4 + ["unlabelled"] * 4 + ["validation", "left out"], dtype=object)
    return Lesson(PixelSource(pixels, Augmentation(), torch.device("cpu")), targets, parts)


def answers(monkeypatch: pytest.MonkeyPatch, *rounds: tuple[list[float], list[float]]) -> list[np.ndarray]:
    """Learners that say this in round after round; the pools that they are asked about."""
    pools: list[np.ndarray] = []

    def said(network: object, lesson: object, recipe: object, pool: np.ndarray, **_: object) -> list[np.ndarray]:
        pools.append(pool)
        return [np.array(one) for one in rounds[len(pools) - 1]]

    monkeypatch.setattr(cotraining, "_answers", said)
    return pools


def recipe_of(recipes: dict[str, Recipe], **spec: Any) -> Recipe:
    return replace(recipes["toxicity"], augmentation=Augmentation(cotraining=CotrainingSpec(**spec)))


def test_images_join_on_which_both_learners_agree(recipes: dict[str, Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    pools = answers(monkeypatch, ([0.9, 0.8, 0.2, 0.4], [0.7, 0.3, 0.1, 0.6]), ([0.2, 0.6], [0.3, 0.4]), ([0.1], [0.9]))
    found, rounds = co_train(build_network(recipes["toxicity"]), lesson(), recipe_of(recipes))
    assert [pool.tolist() for pool in pools] == [[4, 5, 6, 7], [5, 7], [7]]
    assert found.targets[[4, 5, 6]].tolist() == [1, 0, 0]
    assert np.isnan(found.targets[7])
    assert found.parts.tolist() == ["train"] * 7 + ["unlabelled", "validation", "left out"]
    assert [(one["unlabelled"], one["joined"], one["joined_first"]) for one in rounds] == [(4, 2, 1), (2, 1, 0), (1, 0, 0)]


def test_it_ends_after_the_rounds_asked_for_and_when_the_pool_is_empty(recipes: dict[str, Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    pools = answers(monkeypatch, ([0.9] * 4, [0.9] * 4))
    co_train(build_network(recipes["toxicity"]), lesson(), recipe_of(recipes))
    assert len(pools) == 1
    pools = answers(monkeypatch, ([0.9, 0.1, 0.9, 0.1], [0.9, 0.9, 0.1, 0.1]))
    co_train(build_network(recipes["toxicity"]), lesson(), recipe_of(recipes, rounds=1))
    assert len(pools) == 1


def test_confidence_is_asked_of_both(recipes: dict[str, Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ([0.95, 0.7, 0.05, 0.4], [0.95, 0.95, 0.3, 0.05]), ([0.5] * 3, [0.5] * 3))
    _, rounds = co_train(build_network(recipes["toxicity"]), lesson(), recipe_of(recipes, confidence=0.9))
    assert rounds[0]["joined"] == 1


def test_labels_that_join_are_smoothed_as_those_that_were_there(recipes: dict[str, Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ([0.9, 0.1, 0.5, 0.5], [0.9, 0.1, 0.5, 0.5]))
    recipe = replace(recipe_of(recipes, rounds=1, confidence=0.6), label_smoothing=0.4)
    found, _ = co_train(build_network(recipes["toxicity"]), lesson(), recipe)
    assert found.targets[[4, 5]].tolist() == pytest.approx([0.8, 0.2])


def test_learners_answer_with_the_probability_of_the_first_class(recipes: dict[str, Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned round, every image that joins would teach the other class."""
    monkeypatch.setattr(cotraining, "train", lambda *_, **__: None)
    monkeypatch.setattr(cotraining, "predict_rows", lambda *_: torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.5, -1.5], [-1.0, 1.0]]))
    found, rounds = co_train(build_network(recipes["toxicity"]), lesson(), recipe_of(recipes, rounds=1, confidence=0.9))
    assert found.parts[4:8].tolist() == ["unlabelled", "train", "train", "unlabelled"]      # 0.88, 0.05, 0.95, 0.12
    assert found.targets[[5, 6]].tolist() == [0, 1]
    assert (rounds[0]["joined"], rounds[0]["joined_first"]) == (2, 1)


def test_learners_start_apart_see_other_images_and_leave_the_network_alone(recipes: dict[str, Recipe],
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def trained(network: Any, source: object, targets: np.ndarray, parts: np.ndarray, recipe: Recipe, **_: object) -> None:
        seen.append((network.head[0].weight.detach().clone(), np.flatnonzero(parts == "train"), recipe.seed))

    monkeypatch.setattr(cotraining, "train", trained)
    many = lesson()
    more = Lesson(PixelSource(many.source.pixels.repeat(4, 1, 1, 1), Augmentation(), torch.device("cpu")),
                  np.tile([1, 0], 20).astype(np.float32), np.array(["train"] * 36 + ["unlabelled"] * 4, dtype=object))
    network = build_network(recipes["toxicity"])
    before = network.head[0].weight.detach().clone()
    co_train(network, more, recipe_of(recipes, rounds=1))
    (first, first_rows, first_seed), (second, second_rows, second_seed) = seen
    assert first_seed != second_seed
    assert (first != second).any()
    assert (network.head[0].weight == before).all()
    left_out = [set(range(36)) - set(rows) for rows in (first_rows, second_rows)]
    assert [len(rows) for rows in left_out] == [10, 8]      # a quarter of 18 in each class
    assert not left_out[0] & left_out[1]
    assert 36 not in {*first_rows, *second_rows}    # nothing of the pool


# -- leaks ----------------------------------------------------------------------------------------------------------------

def numbered(recipe: Recipe, count: int) -> WellImages:
    """Images that are known by their grey value: (n + 1) / 256."""
    shape = (len(recipe.input.planes), recipe.input.size, recipe.input.size)
    pixels = np.stack([np.full(shape, (number + 1) / 256, np.float16) for number in range(count)])
    return WellImages(pd.DataFrame({"plate": "s", "well": [f"i{n}" for n in range(count)], "site": 1}), pixels, recipe.input.planes)


def numbers(pixels: torch.Tensor) -> set[int]:
    return {round(float(value) * 256) - 1 for value in pixels[:, 0, 0, 0]}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[int]]:
    """Run ("fold 1" ... "final") -> numbers of the images that taught in it, or might: network, learners, GAN and pool alike."""
    found: dict[str, set[int]] = defaultdict(set)
    now = [""]
    learn, train = fitting._learn, fitting.train

    def named(network: Any, study: Any, parts: np.ndarray, name: str) -> Any:
        now[0] = name
        return learn(network, study, parts, name)

    def spied(network: Any, source: PixelSource, targets: np.ndarray, parts: np.ndarray, *rest: Any, **options: Any) -> Any:
        rows = np.flatnonzero(np.isin(parts, ["train", "unlabelled"]))
        found[now[0]] |= {number for number in numbers(source.pixels[torch.from_numpy(rows)]) if number >= 0}
        return train(network, source, targets, parts, *rest, **options)

    def drew(pixels: torch.Tensor, classes: torch.Tensor, spec: Any, **_: Any) -> GanRun:
        found[now[0]] |= numbers(pixels)
        empty = np.zeros((spec.images, *pixels.shape[1:]), np.float16)      # number -1
        return GanRun(pd.DataFrame(), {}, np.zeros((2, 2, 1), np.uint8), empty, np.tile([1.0, 0.0], spec.images // 2))

    monkeypatch.setattr(fitting, "_learn", named)
    monkeypatch.setattr(fitting, "train", spied)
    monkeypatch.setattr(cotraining, "train", spied)
    monkeypatch.setattr(gan, "train_gan", drew)
    return found


@pytest.mark.parametrize("name", ["treatment_small", "toxicity", "tumour"])
def test_no_image_group_or_augmentation_stands_on_both_sides_of_a_split(recipes: dict[str, Recipe], seen: dict[str, set[int]],
                                                                        name: str) -> None:
    """Three images a group, one of them unlabelled: with a labelled image of its group held out, it is in no pool and no GAN."""
    recipe = recipes[name]
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, epochs=1),
                     input=replace(recipe.input, size=32 if name == "treatment_small" else recipe.input.size))
    count = 48
    group = np.arange(count) // 3
    target = np.where(np.arange(count) % 3 == 2, np.nan, group % 2)
    layout = pd.DataFrame({"plate": "s", "well": [f"i{n}" for n in range(count)], "label": np.where(target == 1, "a", "b"),
                           "group": [f"g{one}" for one in group], "target": target})
    fitted = fitting.fit_model(build_network(recipe), numbered(recipe, count), layout, recipe, device="cpu")
    own = fitted.predictions
    place = own["well"].str[1:].astype(int)
    assert set(seen) == {"final", "fold 1", "fold 2", "fold 3", "fold 4"}
    for fold in range(4):
        answered = set(own.loc[own["fold"] == fold, "group"])
        taught = {f"g{group[number]}" for number in seen[f"fold {fold + 1}"]}
        assert answered
        assert taught
        assert not answered & taught
    judged = set(own.loc[own["part"] != "train", "group"])
    assert judged
    assert not judged & {f"g{group[number]}" for number in seen["final"]}
    pooled = {number for number in seen["final"] if number not in set(place)}
    assert bool(pooled) == (recipe.augmentation.cotraining is not None)     # the pool did take part
