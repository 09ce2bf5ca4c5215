"""Every trunk of the papers, small and large: its published size, a training step, a killed training, and what of it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.errors import ParamsError
from models.networks import train as training
from models.networks.backbones import build_trunk, parameter_count, state_sha256, trunk_blocks, trunk_names
from models.networks.heads import Network, build_network, frozen_parts
from models.networks.recipe import INPUT_OF_TRUNK, Augmentation, HeadSpec, OptimizerSpec, Recipe, TrunkSpec
from models.networks.sources import PixelSource
from models.networks.train import train
from models.plates.prepare import InputSpec

# Parameters without the classifying layer. torchvision's tables give them with 1000 classes: 3,504,872, 11,689,512, 44,549,160,
# 27,161,264 (with the auxiliary classifier, 3,326,696, which no longer is there), 7,978,856, 138,357,544, 143,667,240; timm's
# InceptionResNetV2 has 55,843,464.
PARAMETERS = {
    "small_cnn": 97_680, "toxicity_cnn": 92_672, "tumour_cnn": 93_248, "mobilenet_v2": 3_504_872 - 1281 * 1000,
    "resnet18": 11_689_512 - 513 * 1000, "resnet101": 44_549_160 - 2049 * 1000, "inception_v3": 27_161_264 - 3_326_696 - 2049 * 1000,
    "densenet121": 7_978_856 - 1025 * 1000, "vgg16": 14_714_688, "vgg19": 20_024_384, "inception_resnet_v2": 55_843_464 - 1537 * 1000}
BLOCKS = {"small_cnn": 4, "toxicity_cnn": 3, "tumour_cnn": 3, "mobilenet_v2": 19, "resnet18": 5, "resnet101": 5, "inception_v3": 16,
          "densenet121": 8, "vgg16": 13, "vgg19": 16, "inception_resnet_v2": 13}
SMALLEST = {"inception_v3": 75, "inception_resnet_v2": 75}   # pixels below which nothing is left to pool


def recipe_of(name: str, **trunk: object) -> Recipe:
    """Two classes on this trunk, at the smallest size that it reads."""
    planes, size = INPUT_OF_TRUNK.get(name, (3, SMALLEST.get(name, 32)))
    spec = TrunkSpec(name=name, mean=(0.5,) * planes, std=(0.25,) * planes, **({"trained": "all"} | trunk))
    return Recipe(system="treatment", target="label", input=InputSpec(planes=("image:mid",) * planes, size=size), trunk=spec,
                  head=HeadSpec(outputs=2), augmentation=Augmentation(flip=True), optimizer=OptimizerSpec(batch_size=2, epochs=2), seed=1)


def source_of(recipe: Recipe, *, count: int = 2) -> tuple[PixelSource, np.ndarray, np.ndarray]:
    pixels = torch.rand(count, len(recipe.input.planes), recipe.input.size, recipe.input.size, generator=torch.Generator().manual_seed(0))
    return PixelSource(pixels, recipe.augmentation, torch.device("cpu")), np.arange(count) % 2 * 1.0, np.full(count, "train", dtype=object)


def test_all_trunks_are_here() -> None:
    assert set(PARAMETERS) == set(BLOCKS) == set(trunk_names())


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_trunk_has_its_published_size_and_feeds_its_head(name: str) -> None:
    recipe = recipe_of(name)
    with torch.device("meta"):
        network = Network(recipe)
        assert parameter_count(network.trunk) == PARAMETERS[name]
        features = network.features(torch.empty(2, len(recipe.input.planes), recipe.input.size, recipe.input.size))
    assert features.shape == (2, network.feature_count)
    blocks = trunk_blocks(network.trunk)
    assert len(blocks) == BLOCKS[name]
    assert sum(map(parameter_count, blocks)) == PARAMETERS[name]


def test_the_small_networks_are_those_of_their_papers() -> None:
    """S4, Table 2: 355,202 parameters, by layer. S5, by its Keras listing: 'valid' convolutions, so 14 x 14 x 128 reach the head."""
    toxicity = build_network(replace(recipe_of("toxicity_cnn"), head=HeadSpec(hidden=(128,), outputs=2, activation="leaky_relu")))
    layers = [layer for layer in toxicity.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [parameter_count(layer) for layer in layers] == [320, 18_496, 73_856, 262_272, 258]
    assert parameter_count(toxicity) == 355_202
    assert sum(isinstance(layer, nn.LeakyReLU) for layer in toxicity.modules()) == 4
    maps = torch.rand(1, 1, 28, 28)
    sizes = [tuple((maps := block(maps)).shape[1:]) for block in toxicity.trunk.blocks]
    assert sizes == [(32, 14, 14), (64, 7, 7), (128, 4, 4)]
    tumour = build_network(replace(recipe_of("tumour_cnn"), head=HeadSpec(hidden=(128,), dropout=0.5)))
    layers = [layer for layer in tumour.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [parameter_count(layer) for layer in layers] == [896, 18_496, 73_856, 25_088 * 128 + 128, 129]
    assert tumour(torch.rand(2, 3, 128, 128)).shape == (2, 1)


QUICK = ("small_cnn", "toxicity_cnn", "tumour_cnn", "mobilenet_v2")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in sorted(PARAMETERS)])
def test_training_moves_every_trunk_and_a_killed_one_goes_on(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs of one step; killed after the first. The same numbers, the same state."""
    recipe = recipe_of(name)
    source, targets, parts = source_of(recipe)
    before = state_sha256(build_network(recipe).trunk.state_dict())
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY", 1)
    with pytest.raises(RuntimeError, match="killed"):
        train(build_network(recipe), source, targets, parts, recipe, on_epoch=killer(), checkpoint=tmp_path)
    network = build_network(recipe)
    records = train(network, source, targets, parts, recipe, checkpoint=tmp_path)
    whole = build_network(recipe)
    assert [record["loss"] for record in train(whole, source, targets, parts, recipe)] == [record["loss"] for record in records]
    assert state_sha256(whole.state_dict()) == state_sha256(network.state_dict())
    assert state_sha256(network.trunk.state_dict()) != before


def killer() -> Callable[[dict[str, float]], None]:
    def on_epoch(record: dict[str, float]) -> None:
        if record["epoch"] == 1:
            raise RuntimeError("killed")
    return on_epoch


def test_only_the_last_blocks_learn() -> None:
    """The rest stays to the bit, batch norm's running statistics too."""
    recipe = recipe_of("small_cnn", trained="last", blocks=2)
    network, source = build_network(recipe), source_of(recipe, count=8)
    before = [state_sha256(block.state_dict()) for block in trunk_blocks(network.trunk)]
    train(network, *source, recipe)
    after = [state_sha256(block.state_dict()) for block in trunk_blocks(network.trunk)]
    assert [first == then for first, then in zip(before, after, strict=True)] == [True, True, False, False]


def test_what_is_frozen_follows_the_recipe() -> None:
    network = Network(recipe_of("small_cnn"))
    counts = {trained: len(frozen_parts(network, TrunkSpec(name="small_cnn", trained=trained, blocks=blocks)))
              for trained, blocks in (("all", 0), ("last", 3), ("head", 0))}
    assert counts == {"all": 0, "last": 1, "head": 4}
    with pytest.raises(ParamsError, match=r"trunk\.blocks: 4, but small_cnn has 4 blocks; name fewer, or trained: all"):
        frozen_parts(network, TrunkSpec(name="small_cnn", trained="last", blocks=4))


def test_building_a_trunk_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a trunk was looked for on the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    for name in trunk_names():
        with torch.device("meta"):
            assert build_trunk(name) is not None
