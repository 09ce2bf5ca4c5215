"""Random changes of images: laws that hold whatever the numbers drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.networks.augment import augment, mosaic
from models.networks.recipe import Augmentation

EVERYTHING = Augmentation(flip=True, quarter_turns=True, rotation=30, crop=0.7, shift=0.1, scale=(0.9, 1.1), intensity=(0.5, 1.5),
                          brightness=0.2, contrast=(0.7, 1.3), saturation=(0.6, 1.6), hue=0.08)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(16, 3, 12, 12, generator=draw(1))


def test_nothing_asked_changes_nothing(images: Tensor) -> None:
    assert torch.equal(augment(images, Augmentation(), draw()), images)


def symmetries(image: Tensor) -> list[Tensor]:
    """The eight orientations of a square image."""
    return [turned for k in range(4) for turned in (torch.rot90(image, k, (1, 2)), torch.rot90(image, k, (1, 2)).flip(2))]


def test_flips_and_quarter_turns_are_orientations_of_the_same_pixels(images: Tensor) -> None:
    found = augment(images, Augmentation(flip=True, quarter_turns=True), draw())
    which = [next(k for k, turned in enumerate(symmetries(before)) if torch.equal(turned, after))
             for before, after in zip(images, found, strict=True)]
    assert len(set(which)) >= 5  # each image has its own
    turned = augment(images, Augmentation(quarter_turns=True), draw())
    assert {next(k for k in range(4) if torch.equal(torch.rot90(before, k, (1, 2)), after))
            for before, after in zip(images, turned, strict=True)} == {0, 1, 2, 3}
    flipped = augment(images, Augmentation(flip=True), draw(2))
    assert all(any(torch.equal(after, before.flip(dims)) for dims in ((), (1,), (2,), (1, 2)))
               for before, after in zip(images, flipped, strict=True))
    assert all(any(torch.equal(after, before.flip(dims)) for before, after in zip(images, flipped, strict=True))
               for dims in ((), (1,), (2,), (1, 2)))      # of sixteen images some go each way


def test_oblong_images_are_flipped_but_not_turned() -> None:
    oblong = torch.rand(8, 3, 6, 10, generator=draw(2))
    assert augment(oblong, Augmentation(flip=True, quarter_turns=True), draw()).shape == oblong.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_type_and_input_are_kept(images: Tensor, dtype: torch.dtype) -> None:
    given, before = images.to(dtype), images.to(dtype).clone()
    found = augment(given, EVERYTHING, draw())
    assert (found.shape, found.dtype) == (given.shape, dtype)
    assert torch.isfinite(found).all()
    assert torch.equal(given, before)  # never in place
    assert (found != given).any(dim=(1, 2, 3)).all()


def test_the_generator_decides_alone(images: Tensor) -> None:
    torch.manual_seed(1)
    first = augment(images, EVERYTHING, draw(7))
    torch.manual_seed(2)
    assert torch.equal(augment(images, EVERYTHING, draw(7)), first)
    assert not torch.equal(augment(images, EVERYTHING, draw(8)), first)


def test_resampling_stays_within_the_image(images: Tensor) -> None:
    """Bilinear with reflection: no pixel beyond the range of the image, no black border."""
    found = augment(images + 1, Augmentation(rotation=180, shift=0.3, scale=(0.7, 1.4), crop=0.7), draw()) - 1
    assert (found.amin(dim=(2, 3)) >= images.amin(dim=(2, 3)) - 1e-5).all()
    assert (found.amax(dim=(2, 3)) <= images.amax(dim=(2, 3)) + 1e-5).all()


def test_a_crop_lies_inside_the_image() -> None:
    """Columns of a ramp seen through a window of half the side span half of it, anywhere, and never beyond its ends."""
    ramp = torch.linspace(0, 1, 64).expand(200, 3, 64, 64)
    found = augment(ramp, Augmentation(crop=0.5), draw())
    low, high = found.amin(dim=(1, 2, 3)), found.amax(dim=(1, 2, 3))
    torch.testing.assert_close(high - low, torch.full((200,), 63 / 63 / 2), atol=0.02, rtol=0)
    assert low.min() < 0.05
    assert low.max() > 0.45


def test_a_shift_is_a_share_of_the_side_and_a_scale_enlarges_by_its_factor() -> None:
    """A bright square of 16 pixels in the middle of 80."""
    image = torch.zeros(300, 1, 80, 80)
    image[:, :, 32:48, 32:48] = 1
    axis = torch.arange(80.0) - 39.5
    shifted = augment(image, Augmentation(shift=0.1), draw())
    x, y = (shifted.sum(dim=(1, dim)) @ axis / shifted.sum(dim=(1, 2, 3)) for dim in (2, 3))
    for way in (x, y):
        assert 7.5 < way.max() <= 8.05      # a tenth of 80 to either side
        assert -8.05 <= way.min() < -7.5
    for factor in (0.9, 2.0):
        area = augment(image, Augmentation(scale=(factor, factor)), draw()).sum(dim=(1, 2, 3))
        torch.testing.assert_close(area, torch.full((300,), (16 * factor) ** 2), rtol=0.02, atol=0)


def test_rotation_by_a_known_angle() -> None:
    """A bright spot right of the centre moves by at most the angle asked for."""
    image = torch.zeros(100, 1, 65, 65)
    image[:, :, 31:34, 55:58] = 1  # 24 px right of the centre at 32
    found = augment(image, Augmentation(rotation=30), draw())
    axis = torch.arange(65.0) - 32
    x, y = (found.sum(dim=(1, 2)) * axis).sum(1), (found.sum(dim=(1, 3)) * axis).sum(1)
    angles = torch.atan2(y, x).rad2deg()
    assert 25 < angles.abs().max() <= 30.5
    assert angles.min() < -20 < 20 < angles.max()


def test_intensity_and_contrast_are_factors_and_brightness_is_added(images: Tensor) -> None:
    ratio = augment(images, Augmentation(intensity=(0.5, 1.5)), draw()) / images
    assert ((ratio.amax((1, 2, 3)) - ratio.amin((1, 2, 3))) < 1e-5).all()
    assert (ratio.min() >= 0.5) & (ratio.max() <= 1.5)
    shift = augment(images, Augmentation(brightness=0.2), draw()) - images
    assert ((shift.amax((1, 2, 3)) - shift.amin((1, 2, 3))) < 1e-6).all()
    assert (shift.abs().max() <= 0.2) & (shift.min() < 0) & (shift.max() > 0)
    contrasted = augment(images, Augmentation(contrast=(0.7, 1.3)), draw())
    torch.testing.assert_close(contrasted.mean(dim=(2, 3)), images.mean(dim=(2, 3)))
    spread = contrasted.std(dim=(2, 3)) / images.std(dim=(2, 3))
    assert (spread.min() >= 0.7 - 1e-5) & (spread.max() <= 1.3 + 1e-5)


@pytest.mark.parametrize("spec", [Augmentation(hue=0.5), Augmentation(saturation=(0.1, 3.0))])
def test_colour_changes_leave_grey_alone_and_colours_not(images: Tensor, spec: Augmentation) -> None:
    grey = images[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(augment(grey, spec, draw()), grey, atol=1e-5, rtol=0)
    assert not torch.allclose(augment(images, spec, draw()), images, atol=0.01)
    one = images[:, :1]
    assert torch.equal(augment(one, spec, draw()), one)  # one channel has no colour


def test_hue_turns_about_the_grey_axis(images: Tensor) -> None:
    """Sum and distance from grey of each pixel stay; a third of a turn would make red green."""
    found = augment(images, Augmentation(hue=0.08), draw())
    torch.testing.assert_close(found.sum(dim=1), images.sum(dim=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.square().sum(dim=1), images.square().sum(dim=1), atol=1e-4, rtol=0)
    from models.networks.augment import _hue_turned

    red = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(_hue_turned(red, torch.tensor([1 / 3])).flatten(), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("patches", [2, 6])
def test_a_mosaic_is_made_of_two_images_in_the_shares_that_it_states(patches: int) -> None:
    first, other = torch.zeros(400, 3, 24, 20), torch.ones(400, 3, 24, 20)
    found, share = mosaic(first, other, patches=patches, generator=draw(3))
    assert set(found.unique().tolist()) == {0.0, 1.0}                       # pixels of one or the other, nothing between
    assert torch.equal(found[:, 0], found[:, 2])                            # all channels of a place from the same image
    torch.testing.assert_close((found[:, 0] == 0).float().mean(dim=(1, 2)), share)
    assert abs(share.mean() - 0.5) < 0.05
    assert abs(share.std() - 12**-0.5) < 0.03                               # evenly from 0-1
    again, _ = mosaic(first, other, patches=patches, generator=draw(3))
    assert torch.equal(found, again)


def test_a_mosaic_of_patches_holds_together() -> None:
    """Patches, not pixels: neighbours mostly come from the same image."""
    found, share = mosaic(torch.zeros(100, 1, 48, 48), torch.ones(100, 1, 48, 48), patches=4, generator=draw(5))
    same = (found[:, :, 1:] == found[:, :, :-1]).float().mean(dim=(1, 2, 3))
    assert (same > 0.85).all()
    assert ((share > 0.2) & (share < 0.8)).sum() > 40
