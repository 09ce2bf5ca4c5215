"""The GAN of system S4 draws more images of both classes from those that train, and from no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from models.networks import gan
from models.networks.gan import SHOWN, GanRun, train_gan, with_generated
from models.networks.recipe import Augmentation, GanSpec, HeadSpec, Recipe, TrunkSpec
from models.networks.sources import PixelSource
from models.networks.train import Lesson
from models.plates.prepare import InputSpec

SPEC = GanSpec(images=6, epochs=12, batch_size=8, sheets=3, noise=8)
CPU = torch.device("cpu")
RECIPE = Recipe(system="toxicity", target="label", input=InputSpec(planes=("image:mid",), size=28), seed=3,
                trunk=TrunkSpec(name="toxicity_cnn", trained="all", mean=(0.0,), std=(1.0,)), head=HeadSpec(hidden=(128,), outputs=2),
                augmentation=Augmentation(gan=SPEC))


def blobs(count: int, *, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey images of 0.3-0.6: a bright square in the middle is class 0, a dark one class 1, however they are turned."""
    generator = torch.Generator().manual_seed(1)
    pixels, classes = 0.4 + 0.05 * torch.rand(count, 1, size, size, generator=generator), torch.arange(count) % 2
    inside = slice(size // 4, 3 * size // 4)
    pixels[:, :, inside, inside] += 0.15 * (1 - 2.0 * classes)[:, None, None, None]
    return pixels, classes


def run(spec: GanSpec = SPEC, *, seed: int = 1, checkpoint: Path | None = None) -> GanRun:
    return train_gan(*blobs(20), spec, seed=seed, device=CPU, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def whole() -> GanRun:
    """A run that nothing interrupted."""
    return run()


def test_a_run_tells_losses_keeps_sheets_and_draws_half_of_each_class(whole: GanRun) -> None:
    assert whole.epochs.columns.tolist() == ["epoch", "loss", "accuracy", "generator_loss"]
    assert len(whole.epochs) == SPEC.epochs
    assert np.isfinite(whole.epochs.to_numpy()).all()
    assert whole.epochs["accuracy"].between(0, 1).all()
    assert list(whole.sheets) == [4, 8, 12]
    assert {sheet.shape for sheet in (*whole.sheets.values(), whole.real)} == {(16, 8 * SHOWN, 1)}
    assert whole.drawn.shape == (6, 1, 8, 8)
    assert whole.targets.tolist() == [1, 0, 1, 0, 1, 0]


def test_what_is_drawn_lies_in_the_range_of_the_training_images(whole: GanRun) -> None:
    pixels, _ = blobs(20)
    drawn = whole.drawn.astype(float)
    assert pixels.min() - 1e-3 <= drawn.min()
    assert drawn.max() <= pixels.max() + 1e-3


def test_the_seed_decides(whole: GanRun) -> None:
    assert (run().drawn == whole.drawn).all()
    assert (run(seed=2).drawn != whole.drawn).any()


@pytest.mark.parametrize("count", [35, 200])
def test_the_networks_stay_in_balance(count: int) -> None:
    """Neither loss runs away, the generator does not collapse to one image, and its classes come to differ as the real ones do."""
    pixels, classes = blobs(count)
    spec = replace(SPEC, epochs=100, images=40, batch_size=16, learning_rate=1e-3)
    found = train_gan(pixels, classes, spec, seed=1, device=CPU)
    last = found.epochs.tail(30)
    assert last["loss"].between(0.05, 2).all()
    assert last["generator_loss"].between(0.05, 8).all()
    assert found.drawn.astype(float).std(axis=0).mean() > 0.01
    middle = found.drawn[:, 0, 2:6, 2:6].astype(float).mean(axis=(1, 2))
    assert middle[found.targets == 1].mean() > middle[found.targets == 0].mean() + 0.1


def test_a_killed_training_goes_on_exactly(whole: GanRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan, "_CHECKPOINT_EVERY", 5)

    def killed(record: dict[str, float]) -> None:
        if record["epoch"] == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_gan(*blobs(20), SPEC, seed=1, device=CPU, on_epoch=killed, checkpoint=tmp_path)
    resumed = run(checkpoint=tmp_path)
    assert (resumed.drawn == whole.drawn).all()
    assert resumed.epochs.equals(whole.epochs)
    assert all((resumed.sheets[epoch] == whole.sheets[epoch]).all() for epoch in whole.sheets)


def lesson(held_out_grey: float) -> Lesson:
    """16 rows that train, 4 that validate and 2 unlabelled; the latter have this grey value."""
    pixels, classes = blobs(22, size=28)
    pixels[16:] = held_out_grey
    targets = 1 - classes.numpy().astype(np.float32)
    targets[20:] = np.nan
    return Lesson(PixelSource(pixels, Augmentation(), CPU), targets, np.array(["train"] * 16 + ["validation"] * 4 + ["unlabelled"] * 2))


def test_drawn_images_train_beside_the_others_and_come_from_these_alone() -> None:
    recipe = replace(RECIPE, label_smoothing=0.2)
    more, found = with_generated(lesson(0.0), recipe)
    assert more.parts.tolist() == [*lesson(0.0).parts, *["train"] * 6]
    assert more.targets[22:].tolist() == pytest.approx([0.9, 0.1] * 3)
    assert isinstance(more.source, PixelSource)
    assert np.allclose(more.source.pixels[22:].numpy(), found.drawn, atol=1e-3)
    assert (with_generated(lesson(1.0), recipe)[1].drawn == found.drawn).all()  # whatever the held-out images show


def test_an_image_drawn_like_a_class_is_taught_as_that_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a generator that draws what it was shown; of exchanged classes it would teach the reverse of its images."""
    def like_the_first_two(pixels: torch.Tensor, classes: torch.Tensor, *_: object, **__: object) -> GanRun:
        drawn = torch.stack([pixels[classes == kind][0] for kind in range(2)]).numpy()
        return GanRun(pd.DataFrame(), {}, drawn, drawn, np.array([1.0, 0.0]))

    monkeypatch.setattr(gan, "train_gan", like_the_first_two)
    more, _ = with_generated(lesson(0.0), RECIPE)
    assert isinstance(more.source, PixelSource)
    middle = more.source.pixels[:, 0, 7:21, 7:21].mean(dim=(1, 2)).numpy()
    for side in (slice(0, 16), slice(22, 24)):
        assert (more.targets[side] > 0.5).tolist() == (middle[side] > middle[:16].mean()).tolist()
