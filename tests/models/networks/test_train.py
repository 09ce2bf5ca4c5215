"""The training loop: it learns, it is repeatable to the bit, and a killed training goes on as if nothing had happened."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.errors import ParamsError
from models.networks.backbones import state_bytes
from models.networks.checkpoint import Progress, load_checkpoint, save_checkpoint
from models.networks.device import pick_device
from models.networks.heads import Network, build_network
from models.networks.optimizers import build_optimizer
from models.networks.recipe import HeadSpec, OptimizerSpec, Recipe, TrunkSpec
from models.networks.sources import FeatureSource, PixelSource, Source, cache_features
from models.networks.step import loss_of
from models.networks.train import predict_rows, smoothed, smoothed_floor, train
from tests.conftest import CONTROLS, READOUT

CPU = torch.device("cpu")
COUNT = 48
PARTS = np.array(["train", "train", "train", "validation", "train", "test"] * 8)


def features(*, views: int = 2, width: int = 256) -> torch.Tensor:
    return torch.randn(views, COUNT, width, generator=torch.Generator().manual_seed(0))


def pixels() -> torch.Tensor:
    level = torch.linspace(0, 1, COUNT)[:, None, None, None]
    noise = torch.randn(COUNT, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return (level + 0.02 * noise).clamp(0, 1).expand(-1, 3, -1, -1).contiguous()


def short(recipe: Recipe, **changes: object) -> Recipe:
    """The recipe with another optimizer."""
    return replace(recipe, optimizer=replace(recipe.optimizer, **changes))


def feature_case() -> tuple[Recipe, Source, np.ndarray]:
    targets = features()[0, :, 0].numpy()
    return short(READOUT, epochs=25, patience=0), FeatureSource(features()), targets


def pixel_case() -> tuple[Recipe, Source, np.ndarray]:
    recipe = replace(short(CONTROLS, epochs=24, learning_rate=1e-3), trunk=TrunkSpec(name="small_cnn", trained="all"),
                     head=HeadSpec(outputs=2, hidden=(8,), dropout=0.3))
    return recipe, PixelSource(pixels(), recipe.augmentation, CPU), smoothed((np.arange(COUNT) < COUNT / 2).astype(float), 0.4)


def test_the_floor_of_the_loss_with_smoothed_labels() -> None:
    """Cross-entropy of labels 0.8 and 0.2 against themselves: 0.5004024, the paper's floor; no logits do better."""
    targets = torch.from_numpy(smoothed(np.array([1.0, 0.0, 1.0]), 0.4)).float()
    torch.testing.assert_close(targets, torch.tensor([0.8, 0.2, 0.8]))
    perfect = torch.logit(targets)
    assert loss_of(perfect[:, None], targets, regression=False).item() == pytest.approx(0.5004024, abs=1e-7)
    pair = torch.stack([perfect / 2, -perfect / 2], dim=1)
    assert loss_of(pair, targets, regression=False).item() == pytest.approx(0.5004024, abs=1e-7)
    for step in (-0.1, 0.1, 5.0):
        assert loss_of((perfect + step)[:, None], targets, regression=False).item() > 0.5004024
    assert smoothed_floor(0.4) == pytest.approx(0.5004024235381879)
    assert smoothed_floor(0.0) == 0


def test_losses_are_those_of_the_books() -> None:
    outputs, living = torch.randn(9, 2), (torch.arange(9) % 2).float()
    expected = nn.functional.cross_entropy(outputs, 1 - living.long())  # class 0 is the living one
    torch.testing.assert_close(loss_of(outputs, living, regression=False), expected)
    torch.testing.assert_close(loss_of(outputs[:, :1], living, regression=True), ((outputs[:, 0] - living) ** 2).mean())
    np.testing.assert_array_equal(smoothed(np.array([0.0, 1.0]), 0.0), [0, 1])


def test_a_read_out_that_is_linear_in_the_features_is_learnt() -> None:
    views = features(views=1, width=256)
    targets = (0.7 + 0.3 * views[0, :, 3] - 0.2 * views[0, :, 7]).numpy()
    recipe = replace(short(READOUT, epochs=80, learning_rate=0.02), head=HeadSpec())
    network = build_network(recipe)
    records = train(network, FeatureSource(views), targets, np.full(COUNT, "train", dtype=object), recipe)
    assert records[-1]["loss"] < 1e-3 < records[0]["loss"]
    assert [record["epoch"] for record in records] == list(range(80))
    assert all(math.isnan(record["validation_loss"]) for record in records)


def test_a_regression_starts_at_the_mean_of_its_training_rows() -> None:
    recipe = replace(short(READOUT, epochs=1, learning_rate=1e-12), head=HeadSpec())
    network, targets = build_network(recipe), np.where(PARTS == "train", 5.0, 99.0)
    nn.init.zeros_(network.head[-1].weight)
    train(network, FeatureSource(features()), targets, PARTS, recipe)
    assert network.head[-1].bias.item() == pytest.approx(5.0)


def test_classes_are_learnt_from_pixels_down_to_the_floor() -> None:
    recipe, source, targets = pixel_case()
    targets = smoothed((pixels().mean(dim=(1, 2, 3)) > 0.5).numpy().astype(float), 0.4)
    network = build_network(recipe)
    train(network, source, targets, np.full(COUNT, "train", dtype=object), recipe)
    outputs = predict_rows(network, source, torch.arange(COUNT))
    assert ((outputs[:, 0] > outputs[:, 1]).numpy() == (targets > 0.5)).mean() > 0.95
    assert 0.5004024 <= loss_of(outputs, torch.from_numpy(targets).float(), regression=False).item() < 0.56


def test_mosaics_teach_what_lies_between_the_classes() -> None:
    """Dark and bright images in one label each; asked of images of which a part is dark, only mosaics give the part."""
    level = (torch.arange(COUNT) % 2).float()[:, None, None, None]
    noise = 0.02 * torch.randn(COUNT, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    images = (0.2 + 0.6 * level + noise).expand(-1, 3, -1, -1).contiguous()
    recipe = replace(pixel_case()[0], label_smoothing=0.0, head=HeadSpec(outputs=1))
    half = torch.where(torch.arange(16) < 8, images[0], images[1])[None]
    said = {}
    for patches in (0, 2):
        own = replace(short(recipe, epochs=40), augmentation=replace(recipe.augmentation, mosaic=patches))
        network = build_network(own)
        train(network, PixelSource(images, own.augmentation, CPU), level.flatten().numpy(), np.full(COUNT, "train", dtype=object), own)
        with torch.no_grad():
            said[patches] = network.eval()(half).sigmoid().item()
    assert abs(said[2] - 0.5) < 0.15
    assert abs(said[2] - 0.5) < abs(said[0] - 0.5)


def test_mosaics_are_made_of_training_rows_alone() -> None:
    """Images of other rows are not numbers: one of them in a mosaic and the loss would be none either."""
    recipe, _, targets = pixel_case()
    recipe = replace(short(recipe, epochs=2), augmentation=replace(recipe.augmentation, mosaic=3))
    spoiled = torch.where(torch.from_numpy(PARTS == "train")[:, None, None, None], pixels(), torch.nan)
    parts = np.where(PARTS == "train", "train", "left out")
    records = train(build_network(recipe), PixelSource(spoiled, recipe.augmentation, CPU), targets, parts, recipe)
    assert all(math.isfinite(record["loss"]) for record in records)


class Killed(Exception):  # noqa: N818  # what happened
    """Stands for a kill."""


def killer(at: int) -> Callable[[dict[str, float]], None]:
    def on_epoch(record: dict[str, float]) -> None:
        if record["epoch"] == at:
            raise Killed
    return on_epoch


def trained(recipe: Recipe, source: Source, targets: np.ndarray, parts: np.ndarray = PARTS, *, checkpoint: Path | None = None,
            kills: tuple[int, ...] = ()) -> tuple[bytes, list[dict[str, float]]]:
    """State and records of a training that is killed at these epochs and started again, each time from scratch."""
    for at in kills:
        with pytest.raises(Killed):
            train(build_network(recipe), source, targets, parts, recipe, checkpoint=checkpoint, on_epoch=killer(at))
    network, told = build_network(recipe), []
    records = train(network, source, targets, parts, recipe, checkpoint=checkpoint, on_epoch=told.append)
    assert told == records or str(told) == str(records)  # NaN is not equal to itself
    return state_bytes(network.state_dict()), records


def mosaic_case() -> tuple[Recipe, Source, np.ndarray]:
    recipe, source, targets = pixel_case()
    return replace(recipe, augmentation=replace(recipe.augmentation, mosaic=4)), source, targets


@pytest.mark.parametrize("case", [feature_case, pixel_case, mosaic_case])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_killed_training_ends_as_one_that_was_not(case: Callable[[], tuple[Recipe, Source, np.ndarray]], optimizer: str,
                                                     tmp_path: Path) -> None:
    recipe, source, targets = case()
    recipe = short(recipe, name=optimizer, learning_rate=0.003)
    whole = trained(recipe, source, targets)
    assert trained(recipe, source, targets, checkpoint=tmp_path / "a", kills=(13, 21)) == whole
    assert whole[1][-1]["loss"] < whole[1][0]["loss"]


def test_without_validation_the_last_state_is_kept_and_resumed(tmp_path: Path) -> None:
    recipe, source, targets = feature_case()
    parts = np.where(PARTS == "validation", "left out", PARTS)
    whole, _ = trained(recipe, source, targets, parts)
    assert trained(recipe, source, targets, parts, checkpoint=tmp_path, kills=(10, 23))[0] == whole
    assert trained(short(recipe, epochs=24), source, targets, parts)[0] != whole


def test_a_finished_training_answers_without_training_again(tmp_path: Path) -> None:
    recipe, source, targets = feature_case()
    first, records = trained(recipe, source, targets, checkpoint=tmp_path)

    class Deaf(FeatureSource):
        def training(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            raise AssertionError("trained again")

    assert trained(recipe, Deaf(features()), targets, checkpoint=tmp_path) == (first, records)


def test_a_restored_optimizer_lies_in_memory_as_its_weights_do(tmp_path: Path) -> None:
    """A fused step on a GPU refuses anything else."""
    spec = OptimizerSpec(learning_rate=0.01)
    layers = [nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    first, second = (build_optimizer(layer.parameters(), spec) for layer in layers)
    layers[0](torch.rand(2, 3, 8, 8)).sum().backward()
    first.step()
    save_checkpoint(tmp_path, key="it", module=layers[0], optimizer=first, progress=Progress([{"epoch": 0.0}]))
    assert load_checkpoint(tmp_path, key="it", module=layers[1], optimizer=second).epochs
    before, after = (optimizer.state[layer.weight]["exp_avg"] for optimizer, layer in zip((first, second), layers, strict=True))
    assert torch.equal(before, after)
    assert after.stride() == layers[1].weight.stride() != torch.empty(after.shape).stride()


@pytest.mark.parametrize("change", ["targets", "parts", "features", "recipe", "weights"])
def test_a_checkpoint_of_another_training_is_left_alone(change: str, tmp_path: Path) -> None:
    recipe, source, targets = feature_case()
    with pytest.raises(Killed):
        train(build_network(recipe), source, targets, PARTS, recipe, checkpoint=tmp_path, on_epoch=killer(20))
    parts, network = PARTS.copy(), build_network(recipe)
    if change == "targets":
        targets = targets + 1
    elif change == "parts":
        parts[0] = "test"
    elif change == "features":
        source = FeatureSource(features() * 2)
    elif change == "recipe":
        recipe = short(recipe, weight_decay=0.1)
    else:
        network = build_network(replace(recipe, seed=9))
    fresh: list[float] = []
    train(network, source, targets, parts, recipe, checkpoint=tmp_path / "none", on_epoch=lambda record: fresh.append(record["loss"]))
    again = build_network(replace(recipe, seed=9) if change == "weights" else recipe)
    told: list[float] = []
    train(again, source, targets, parts, recipe, checkpoint=tmp_path, on_epoch=lambda record: told.append(record["loss"]))
    assert told == fresh
    assert state_bytes(again.state_dict()) == state_bytes(network.state_dict())


def test_gates_and_names_do_not_make_another_training(tmp_path: Path) -> None:
    from models.networks.recipe import Gate

    recipe, source, targets = feature_case()
    first, _ = trained(recipe, source, targets, checkpoint=tmp_path)
    train(network := build_network(recipe), source, targets, PARTS, replace(recipe, gates=(Gate(metric="r2_cv", minimum=0.1),)),
          checkpoint=tmp_path, on_epoch=lambda record: None)
    assert state_bytes(network.state_dict()) == first


def test_the_best_epoch_by_validation_is_kept() -> None:
    recipe, source, targets = feature_case()
    recipe = short(recipe, epochs=40, learning_rate=0.02)
    network = build_network(recipe)
    records = train(network, source, targets, PARTS, recipe)
    rows = torch.from_numpy(np.flatnonzero(PARTS == "validation"))
    kept = loss_of(predict_rows(network.head, source, rows), torch.from_numpy(targets)[rows].float(), regression=True).item()
    losses = [record["validation_loss"] for record in records]
    assert kept == pytest.approx(min(losses))
    assert losses[-1] > min(losses)  # else keeping the last would do


def test_patience_ends_a_training_that_does_not_get_better() -> None:
    recipe, source, _ = feature_case()
    noise = np.random.default_rng(1).normal(size=COUNT)
    records = train(build_network(recipe), source, noise, PARTS, short(recipe, epochs=100, patience=5, learning_rate=0.05))
    losses = [record["validation_loss"] for record in records]
    assert len(losses) - 1 - int(np.argmin(losses)) == 5
    assert len(losses) < 100


def test_the_schedule_is_a_half_cosine() -> None:
    """Plain SGD on a constant gradient: the weight moves by the sum of the rates."""
    from models.networks.train import set_rate

    spec = OptimizerSpec(learning_rate=2.0, epochs=4, schedule="cosine")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    rates = []
    for epoch in range(4):
        set_rate(optimizer, spec, epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5)])


@pytest.mark.parametrize("batch_size", [1, 23])
def test_single_images_train_networks_with_batch_norm(batch_size: int) -> None:
    """Batch size 1 (system S2's) must learn from every image; one image left over by a larger batch is put off."""
    recipe, small, targets = pixel_case()
    assert isinstance(small, PixelSource)
    source = replace(small, pixels=small.pixels.repeat(1, 1, 2, 2))     # 32 pixels: 2 x 2 are left for the last batch norm
    recipe = short(recipe, batch_size=batch_size, epochs=2)
    network, parts = build_network(recipe), np.where(np.arange(COUNT) < 24, "train", "test")
    before = state_bytes(network.state_dict())
    records = train(network, source, targets, parts, recipe)
    assert state_bytes(network.state_dict()) != before
    assert records[0]["loss"] > 0.4  # the mean over the images seen, near log 2


def test_a_training_that_diverges_says_so() -> None:
    recipe, source, targets = feature_case()
    with pytest.raises(ParamsError, match=r"^optimizer\.learning_rate: 1e\+30 makes the training diverge: .* epoch \d+ is (nan|inf)"):
        train(build_network(recipe), source, targets, PARTS, short(recipe, name="sgd", learning_rate=1e30))


def test_rows_outside_training_teach_nothing() -> None:
    recipe, source, targets = feature_case()
    parts = np.where(PARTS == "validation", "test", PARTS)
    spoiled = np.where(parts == "train", targets, 1e6)
    assert trained(recipe, source, spoiled, parts)[0] == trained(recipe, source, targets, parts)[0]


def test_cached_features_are_one_plain_view_and_seeded_changed_ones() -> None:
    recipe = replace(READOUT, augmentation=replace(READOUT.augmentation, views=2, brightness=0.2))
    network = build_network(recipe)
    torch.manual_seed(5)
    found = cache_features(network, pixels(), recipe, device=CPU)
    torch.manual_seed(6)
    assert torch.equal(found, cache_features(network, pixels(), recipe, device=CPU))
    assert found.shape == (3, COUNT, 256)
    with torch.no_grad():
        torch.testing.assert_close(found[0], network.eval().features(pixels()), atol=1e-5, rtol=1e-4)
    assert not torch.equal(found[1], found[2])
    source = FeatureSource(found)
    assert torch.equal(source.plain(torch.tensor([4, 2])), found[0, [4, 2]])
    drawn = source.training(torch.zeros(64, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert {int((found[:, 0] == row).all(dim=1).nonzero()[0, 0]) for row in drawn} == {0, 1, 2}


def test_bfloat16_learns_what_float32_learns() -> None:
    recipe, source, targets = pixel_case()
    recipe = replace(recipe, head=HeadSpec(outputs=2))
    losses = [train(build_network(recipe), source, targets, PARTS, short(recipe, epochs=8, precision=precision))[-1]["loss"]
              for precision in ("fp32", "bf16")]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


def test_the_device_named_is_taken() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


def test_only_the_head_moves_on_features() -> None:
    recipe, source, targets = feature_case()
    network = build_network(recipe)
    before: Network = build_network(recipe)
    train(network, source, targets, PARTS, recipe)
    assert state_bytes(network.trunk.state_dict()) == state_bytes(before.trunk.state_dict())
    assert state_bytes(network.head.state_dict()) != state_bytes(before.head.state_dict())


@pytest.mark.parametrize(("own", "found"), [({}, "10000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, "None")])
def test_threads_do_not_spin_for_long_unless_asked_to(own: dict[str, str], found: str) -> None:
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in names} | own
    program = "import os, models.networks; print(os.environ.get('GOMP_SPINCOUNT'))"
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.strip() == found
