"""Images of another kind are told from those of a training set, whatever a network says of them; and those of the same kind are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from models.networks.looks import LEAST, Looks, fingerprint, looks_of
from models.plates.imageset import prepare_image
from models.plates.prepare import InputSpec
from models.plates.simulate.imagesets import tumour_set

SPEC = InputSpec(planes=("image.red:mid", "image.green:mid", "image.blue:mid"), size=64)
KEPT = 100      # of 136 images teach, whole patients


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Sections of 68 patients, two of each, (136, 3, 64, 64)."""
    return np.stack([prepare_image(drawn.pixels, SPEC) for _, drawn in tumour_set(size=64).images()]).astype(np.float16)


@pytest.fixture(scope="module")
def order() -> np.ndarray:
    """Patients in a seeded order, so that both classes teach."""
    return np.random.default_rng(0).permutation(68).repeat(2) * 2 + np.tile([0, 1], 68)


@pytest.fixture(scope="module")
def looks(images: np.ndarray, order: np.ndarray) -> Looks:
    found = looks_of(images[order[:KEPT]], order[:KEPT] // 2)
    assert found is not None
    return found


def test_other_patients_look_like_those_that_taught(images: np.ndarray, order: np.ndarray, looks: Looks) -> None:
    found = looks.unlikeness(images[order[KEPT:]])
    assert (found > 1).sum() <= 1
    assert not looks.is_other_kind(found)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "noise": lambda images: np.random.default_rng(0).random(images.shape),
    "a photograph's slope": lambda images: np.broadcast_to(np.linspace(0, 1, images.shape[-1]), images.shape),
    "nearly empty": lambda images: 0.5 + 0.01 * np.random.default_rng(0).standard_normal(images.shape),
    "exposure": lambda images: 0.3 * images,
    "blur": lambda images: np.mean([np.roll(images, (place // 4, place % 4), (-2, -1)) for place in range(16)], axis=0),
    "magnification": lambda images: images[:, :, 16:48, 16:48].repeat(2, -1).repeat(2, -2), "inverted": lambda images: 1 - images}


@pytest.mark.parametrize("change", CHANGES)
def test_another_kind_of_image_is_told(images: np.ndarray, order: np.ndarray, looks: Looks, change: str) -> None:
    found = looks.unlikeness(CHANGES[change](images[order[KEPT:]].astype(float)))
    assert looks.is_other_kind(found)
    assert change == "inverted" or (found > 1).mean() > 0.9      # those are told as a set, and half of them one by one


def test_images_saved_as_jpeg_are_no_other_kind(images: np.ndarray, order: np.ndarray, looks: Looks) -> None:
    """The limits are not so narrow that what no eye sees is strange."""
    def saved(image: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray((255 * image.astype(float)).astype(np.uint8).transpose(1, 2, 0)).save(buffer, "JPEG", quality=95)
        return np.asarray(Image.open(buffer)).transpose(2, 0, 1) / 255

    assert (looks.unlikeness(np.stack([saved(image) for image in images[order[KEPT:]]])) > 1).mean() < 0.1


def test_one_image_alone_is_judged_as_among_others(images: np.ndarray, looks: Looks) -> None:
    np.testing.assert_array_equal(looks.unlikeness(images[:1]), looks.unlikeness(images[:5])[:1])


def test_too_few_images_or_groups_say_nothing(images: np.ndarray) -> None:
    assert looks_of(images[:LEAST - 1], range(LEAST - 1)) is None
    assert looks_of(images[:40], np.arange(40) % 4) is None


def test_a_fingerprint_is_of_what_an_image_shows(images: np.ndarray) -> None:
    assert len({fingerprint(image) for image in images}) == len(images)
    assert fingerprint(images[0].astype(np.float32)) == fingerprint(images[0].copy(order="F"))
