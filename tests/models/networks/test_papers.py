"""The recipes of the five systems hold the numbers that their papers state. Each assertion says where the number stands.

S1: Cho et al. 2022 (label-free viability); S2: Berker et al. 2022 (drug profiling); S3: Hassan et al. 2022 (treated or not);
S4: Saini et al. 2020 (nanotoxicity); S5: Middle East University, liver tumour classification.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from models.networks.backbones import parameter_count
from models.networks.heads import Network
from models.networks.recipe import Augmentation, Recipe
from models.networks.splits import assign_parts, split_units

PLAIN = Augmentation()


def built(recipe: Recipe) -> Network:
    """The recipe's network without memory for its weights."""
    with torch.device("meta"):
        return Network(recipe)


def dense(network: Network) -> list[int]:
    return [layer.out_features for layer in network.head if isinstance(layer, nn.Linear)]


def parts_of(recipe: Recipe, wells: pd.DataFrame, strata: np.ndarray) -> Counter[str]:
    """How many of these wells train, validate and test."""
    units = split_units(wells, recipe.split.unit).to_numpy()
    fine = split_units(wells, recipe.split.validation_unit).to_numpy() if recipe.split.validation_unit else None
    parts = assign_parts(units, strata, split=recipe.split, seed=recipe.seed, plates=wells["plate"].to_numpy(), fine_units=fine)
    return Counter(parts.tolist())


@pytest.mark.parametrize("name", ["viability", "viability_inception_v3", "viability_inception_resnet_v2"])
def test_s1_predicts_optical_density_from_a_frozen_trunk(recipes: dict[str, Recipe], name: str) -> None:
    """'One fully connected layer with 10 hidden nodes ... followed by another fully connected layer'; 'the frozen base model was used as
    a feature extractor'. Augmentation: the paragraph 'In addition, we performed data augmentation'."""
    recipe = recipes[name]
    network = built(recipe)
    assert recipe.trunk.name == {"viability": "mobilenet_v2"}.get(name, name.removeprefix("viability_"))
    assert (recipe.system, recipe.target, recipe.trunk.trained, recipe.is_regression) == ("viability", "readout", "head", True)
    assert dense(network) == [10, 1]
    change = recipe.augmentation
    assert (change.quarter_turns, change.flip, change.crop, change.brightness) == (True, True, 0.7, 0.2)
    assert (change.saturation, change.contrast, change.hue) == ((0.6, 1.6), (0.7, 1.3), 0.08)
    assert (change.rotation, change.shift, change.scale, change.intensity) == (0, 0, (1, 1), (1, 1))
    assert recipe.split.folds == 4  # 'we additionally performed fourfold cross validation'


def test_s1_feature_widths(recipes: dict[str, Recipe]) -> None:
    """MobileNetV2 without its top gives 1280 features (the paper's '1028' is a slip); 299 pixels are the Inceptions' own size."""
    network = built(recipes["viability"])
    assert network.feature_count == 1280
    assert parameter_count(network.head) == 1280 * 10 + 10 + 10 + 1
    assert [built(recipes[f"viability_{name}"]).feature_count for name in ("inception_v3", "inception_resnet_v2")] == [2048, 1536]
    assert {recipes[name].input.size for name in ("viability_inception_v3", "viability_inception_resnet_v2")} == {299}


def test_s1_splits_264_images_into_158_40_and_66(recipes: dict[str, Recipe]) -> None:
    """'Among the 264 images ... 198 for training and validation and 66 for testing'; 'six sets of experimental results were used as
    testing sets', each of 11 doses. 158 and 40 are four and one fifth of 198. Three plates of 8 replicates and 11 doses."""
    recipe = recipes["viability"]
    wells = pd.DataFrame([{"plate": f"P{plate}", "well": f"{row}{column:02d}", "replicate": replicate + 1}
                          for plate in (1, 2, 3) for replicate, row in enumerate("ABCDEFGH") for column in range(1, 12)])
    assert len(wells) == 264
    assert parts_of(recipe, wells, np.zeros(264, int)) == {"train": 158, "validation": 40, "test": 66}
    units = split_units(wells, "replicate").to_numpy()
    fine = split_units(wells, "well").to_numpy()
    parts = assign_parts(units, np.zeros(264, int), split=recipe.split, seed=recipe.seed, plates=wells["plate"].to_numpy(), fine_units=fine)
    assert len(set(units[parts == "test"])) == 6
    assert not set(units[parts == "test"]) & set(units[parts != "test"])


@pytest.mark.parametrize(("name", "rate", "target"), [
    ("profile_phase1", 1e-7, "control_class"), ("profile", 3e-7, "control_class"), ("profile_phase3", 3e-7, "controls_and_duplicates")])
def test_s2_trains_all_of_vgg19_on_pseudo_colour(recipes: dict[str, Recipe], name: str, rate: float, target: str) -> None:
    """Section II-A: 224 x 224, 16-bit intensities to 0-1, offset 0.5, order MIP-MID-MIP; flips, rotation to 30 degrees, shifts to 10 %,
    scale 0.9-1.1, intensity 0.5-1.5. II-B: VGG19 with its own top and 2 outputs, softmax; Adam, batch 1, 200 epochs, label smoothing
    0.4; learning rate 1e-7 in phase I, 3e-7 after; mixed precision."""
    recipe = recipes[name]
    assert (recipe.system, recipe.target, recipe.trunk.name, recipe.trunk.trained) == ("profile", target, "vgg19", "all")
    assert [plane.partition(":")[2] for plane in recipe.input.planes] == ["mip", "mid", "mip"]
    assert (recipe.input.size, recipe.input.intensity, recipe.trunk.offset) == (224, "depth", 0.5)
    change = recipe.augmentation
    assert (change.flip, change.rotation, change.shift, change.scale, change.intensity) == (True, 30, 0.1, (0.9, 1.1), (0.5, 1.5))
    assert (change.quarter_turns, change.crop, change.brightness, change.contrast) == (False, 1, 0, (1, 1))
    network = built(recipe)
    assert dense(network) == [4096, 4096, 2]
    assert parameter_count(network) == 139_578_434  # VGG19 with 2 outputs; the paper's 134 M is VGG16's figure
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.batch_size, optimizer.epochs) == ("adam", rate, 1, 200)
    assert (optimizer.weight_decay, optimizer.schedule, optimizer.patience, optimizer.precision) == (0, "constant", 0, "bf16")
    assert recipe.label_smoothing == 0.4


def test_s2_divides_controls_as_table_1(recipes: dict[str, Recipe]) -> None:
    """Table I. Phase I, a plate of 98 DMSO and 112 staurosporine wells: 88 + 102 train, 10 + 10 validate. Phase II, three plates of 10
    and 8: 27 + 21 train, 3 + 3 validate, one of each class and plate. Phase III: 30 + 24 train, none validates."""
    control_plate = pd.DataFrame({"plate": "CE", "well": [f"W{n}" for n in range(210)], "living": [1] * 98 + [0] * 112})
    screen = pd.DataFrame([{"plate": plate, "well": f"W{n}", "living": int(n < 10)} for plate in "123" for n in range(18)])
    for name, wells, expected in (("profile_phase1", control_plate, {(1, "train"): 88, (0, "train"): 102, (1, "validation"): 10,
                                                                     (0, "validation"): 10}),
                                  ("profile", screen, {(1, "train"): 27, (0, "train"): 21, (1, "validation"): 3, (0, "validation"): 3}),
                                  ("profile_phase3", screen, {(1, "train"): 30, (0, "train"): 24})):
        parts = assign_parts(split_units(wells, "well").to_numpy(), wells["living"].to_numpy(), split=recipes[name].split,
                             seed=recipes[name].seed, plates=wells["plate"].to_numpy())
        assert Counter(zip(wells["living"], parts.tolist(), strict=True)) == expected
    parts = assign_parts(split_units(screen, "well").to_numpy(), screen["living"].to_numpy(), split=recipes["profile"].split, seed=1,
                         plates=screen["plate"].to_numpy())
    validating = screen[parts == "validation"]
    assert sorted(zip(validating["plate"], validating["living"], strict=True)) == [(plate, kind) for plate in "123" for kind in (0, 1)]


@pytest.mark.parametrize(("name", "trunk", "size"), [
    ("treatment", "resnet101", 224), ("treatment_resnet18", "resnet18", 224), ("treatment_inception_v3", "inception_v3", 299)])
def test_s3_trains_the_last_layer_of_a_residual_network(recipes: dict[str, Recipe], name: str, trunk: str, size: int) -> None:
    """Section 2.2.7: last layer replaced by two outputs and softmax, the others frozen; rotation (-30, 30), batch 20, learning rate
    0.001. 2.2.1: 224 x 224, 75:25. Discussion: 160 epochs; compared with ResNet18 and InceptionV3 (Table 1)."""
    recipe = recipes[name]
    assert (recipe.system, recipe.target, recipe.trunk.name, recipe.trunk.trained) == ("treatment", "label", trunk, "head")
    assert (recipe.input.size, dense(built(recipe)), recipe.label_smoothing) == (size, [2], 0)
    assert recipe.augmentation == Augmentation(rotation=30)
    optimizer = recipe.optimizer
    assert (optimizer.learning_rate, optimizer.batch_size, optimizer.epochs) == (0.001, 20, 160)
    images = pd.DataFrame({"plate": "hepg2", "well": [str(n) for n in range(203)], "group": [str(n) for n in range(203)]})
    found = parts_of(recipe, images, np.repeat([0, 1], [123, 80]))
    assert found == {"train": 152, "test": 51}  # 203 images, 123 untreated and 80 treated


def test_s4_is_the_network_of_table_2_with_a_gan(recipes: dict[str, Recipe]) -> None:
    """Section 4.3: 28 x 28 x 1, three 3x3 convolutions of 32, 64, 128 with LeakyReLU and 2x2 pools, dense 128, dense 2: 355,202
    parameters; 80 % training. Section 4.2: 35 images, 150 more by a GAN, 1500 epochs. Algorithm 1: two learners."""
    recipe = recipes["toxicity"]
    network = built(recipe)
    assert (recipe.system, recipe.target, recipe.trunk.trained) == ("toxicity", "label", "all")
    assert (len(recipe.input.planes), recipe.input.size) == (1, 28)
    assert parameter_count(network) == 355_202
    assert dense(network) == [128, 2]
    assert recipe.augmentation.gan is not None
    assert (recipe.augmentation.gan.images, recipe.augmentation.gan.epochs) == (150, 1500)
    assert recipe.augmentation.cotraining is not None
    assert (recipe.split.validation, recipe.split.test) == (0.2, 0)


def test_s5_is_the_network_of_the_listing(recipes: dict[str, Recipe]) -> None:
    """The listing: image_size (128, 128), batch_size 16, rescale 1/255, validation_split 0.2; Conv2D 32-64-128 (3, 3) relu, MaxPooling
    (2, 2), Dense 128, Dropout 0.5, Dense 1 sigmoid; adam, binary cross-entropy; five epochs."""
    recipe = recipes["tumour"]
    network = built(recipe)
    assert (recipe.system, recipe.target, recipe.trunk.trained, recipe.input.size) == ("tumour", "label", "all", 128)
    assert parameter_count(network) == 896 + 18_496 + 73_856 + (14 * 14 * 128 + 1) * 128 + 129
    assert (dense(network), recipe.head.dropout, recipe.head.activation) == ([128, 1], 0.5, "relu")
    assert (recipe.trunk.mean, recipe.trunk.std, recipe.trunk.offset, recipe.input.intensity) == ((0,) * 3, (1,) * 3, 0, "depth")
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.batch_size, optimizer.epochs) == ("adam", 0.001, 16, 5)  # Keras' Adam: 0.001
    assert (recipe.augmentation, recipe.split.validation, recipe.split.test) == (PLAIN, 0.2, 0)
