"""Black and white exchanged: told by what the network says of a plate's negative controls both ways round, and of no plate as it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from models.networks.bundle import Card, TrunkReference
from models.networks.drift import Reference, make_reference
from models.networks.heads import build_network
from models.networks.inversion import inversion_findings
from models.networks.predict import Predictor
from models.plates.images import WellImages
from tests.conftest import CONTROLS, tiny_images, tiny_layout

LAYOUT = tiny_layout(controls=16)


def seen(images: WellImages) -> np.ndarray:
    """What a plain trunk would make of images: how bright they are, and their darkest and brightest places."""
    flat = images.pixels.astype(float).reshape(len(images), -1)
    return np.stack([flat.mean(axis=1), flat.std(axis=1), *np.percentile(flat, [1, 10, 50, 90, 99], axis=1)], axis=1)


class Plain(Predictor):
    def predict(self, images: WellImages, **_: object) -> pd.DataFrame:
        reference: Reference | None = self.card.reference
        distance = reference.distance(seen(images)) if reference else np.full(len(images), np.nan)
        return images.wells.assign(feature_distance=distance)


def images(*, exposure: float = 1.0, inverted: bool = False, seed: int = 0) -> WellImages:
    """Bright cells of varying number on dark ground."""
    found = tiny_images(LAYOUT, size=24, noise=0.05)
    rng = np.random.default_rng(seed)
    pixels = 0.15 * found.pixels.astype(np.float32) + rng.normal(0, 0.004, found.pixels.shape) + rng.normal(0, 0.01, (len(found), 1, 1, 1))
    pixels = np.clip(exposure * pixels, 0, 1)
    return WellImages(found.wells, (1 - pixels if inverted else pixels).astype(np.float16), found.channels)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    own = images()
    negative = own.wells["well"].isin(LAYOUT.loc[LAYOUT["role"] == "negative", "well"]).to_numpy()
    logit = LAYOUT["readout"].to_numpy() * 4 - 3 + np.random.default_rng(1).normal(0, 0.2, len(LAYOUT))
    reference = make_reference(seen(own.take(negative)), LAYOUT.assign(logit=logit, logit_cv=logit), regression=False)
    assert reference is not None
    card = Card(name="m", system="profile", recipe=CONTROLS, output="", sample="S", weights_sha256="", reference=reference,
                trunk=TrunkReference(name="small_cnn", weights="none", sha256=""))
    return Plain(build_network(CONTROLS), card, "", torch.device("cpu"))


def rules(predictor: Predictor, found: WellImages) -> list[str]:
    return [finding.rule for finding in inversion_findings(found, predictor.predict(found), LAYOUT, predictor)]


def test_an_inverted_plate_is_told(predictor: Predictor) -> None:
    (finding,) = inversion_findings(turned := images(inverted=True, seed=3), predictor.predict(turned), LAYOUT, predictor)
    assert (finding.rule, finding.severity, finding.plate) == ("inverted", "warning", "P1")
    assert "black and white were exchanged" in finding.message


@pytest.mark.parametrize("exposure", [0.3, 0.8, 1.0, 1.3, 4.0])
def test_a_plate_as_the_camera_took_it_is_not(predictor: Predictor, exposure: float) -> None:
    assert rules(predictor, images(exposure=exposure, seed=5)) == []


def test_a_plate_as_it_should_be_is_not_looked_at_twice(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    found = images(seed=7)
    raw = predictor.predict(found)
    monkeypatch.setattr(Plain, "predict", None)
    assert inversion_findings(found, raw, LAYOUT, predictor) == []
