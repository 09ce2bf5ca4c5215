"""Drift by the controls: none on plates like the training's, told on simulated drift of stain, exposure and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.networks.bundle import Card, TrunkReference
from models.networks.drift import (
    DIMENSIONS,
    DISTANCE,
    LEAST_WELLS,
    SHIFT,
    Reference,
    alive_words,
    drift_findings,
    make_reference,
    plate_drift,
    projected,
    size_words,
    with_structure_sizes,
)
from models.networks.fitting import Fitted, fit_model
from models.networks.heads import build_network
from models.networks.observe import observe
from models.networks.precision import effect_of_bf16
from models.networks.predict import Predictor
from models.networks.trunks import Trunk
from models.plates.images import WellImages
from tests.conftest import CONTROLS, tiny_images, tiny_layout

SIZE = 24
RECIPE = replace(CONTROLS, input=replace(CONTROLS.input, size=SIZE), optimizer=replace(CONTROLS.optimizer, epochs=20))


def predictions(layout: pd.DataFrame, *, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    logit = layout["readout"].to_numpy() * 4 - 3 + rng.normal(0, 0.2, len(layout)) + shift
    return layout.assign(logit=logit, logit_cv=logit)


def features(count: int, *, seed: int, shift: float = 0.0) -> np.ndarray:
    """(N, 300), of which 40 directions vary."""
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (count, 40)) @ np.random.default_rng(0).normal(0, 1, (40, 300))


def reference(count: int = 40) -> Reference:
    found = make_reference(features(count, seed=1), predictions(tiny_layout()), regression=False)
    assert found is not None
    return found


@pytest.mark.parametrize("count", [LEAST_WELLS, 16, 40, 200])
def test_new_wells_of_the_same_kind_are_about_as_far_as_the_training_s(count: int) -> None:
    found = reference(count).distance(features(2000, seed=5))
    assert 0.7 < np.sqrt(np.mean(found**2)) < 1.4


def test_distance_grows_with_the_shift() -> None:
    own = reference()
    near, far = (float(own.distance(features(50, seed=5, shift=shift)).mean()) for shift in (1.0, 4.0))
    assert 1 < near < far


def test_there_is_no_reference_without_enough_controls() -> None:
    layout = tiny_layout()
    assert make_reference(features(LEAST_WELLS - 1, seed=1), predictions(layout), regression=False) is None
    assert make_reference(np.ones((20, 300)), predictions(layout), regression=False) is None
    assert make_reference(features(20, seed=1), predictions(layout[layout["role"] == "treated"]), regression=False) is None
    assert plate_drift(pd.DataFrame(), None).empty


def test_shifts_are_in_control_windows_and_held_out_outputs_come_first() -> None:
    layout = tiny_layout()
    own = reference()
    wells = predictions(layout, shift=0.5 * own.gap).assign(feature_distance=1.0, excluded=False)
    row = plate_drift(wells, own).iloc[0]
    np.testing.assert_allclose([row["negative_shift"], row["positive_shift"]], 0.5, atol=0.02)
    assert row["z_prime"] == pytest.approx(row["z_prime_training"], abs=0.01)
    cross = predictions(layout).assign(logit=99.0)
    assert make_reference(features(40, seed=1), cross, regression=False) == own
    assert plate_drift(wells.assign(excluded=True), own).empty


def test_a_reference_is_made_of_every_assay_and_of_all_plates() -> None:
    """Of a read-out that rises with death, of plates that name their wells alike, and of a model without cross-fitting; else no drift
    would be told of what it scores.
    """
    own = reference()
    dying = predictions(tiny_layout()).assign(logit_cv=lambda table: -table["logit"])
    found = make_reference(features(40, seed=1), dying, regression=False)
    assert found is not None
    assert (found.gap, found.negative) == (own.gap, -own.negative)
    half = tiny_layout(controls=LEAST_WELLS // 2)
    plates = pd.concat([predictions(half.assign(plate=plate), shift=shift) for plate, shift in (("P1", 0.0), ("P2", 1.0))])
    found = make_reference(features(LEAST_WELLS, seed=1), plates, regression=False)
    assert found is not None
    assert found.negative == pytest.approx(plates.loc[plates["role"] == "negative", "logit"].median(), rel=1e-5)
    alone = make_reference(features(40, seed=1), predictions(tiny_layout()).assign(logit_cv=np.nan), regression=False)
    assert alone == own


def test_a_well_without_an_output_does_not_hide_the_drift_of_its_plate() -> None:
    own = reference()
    wells = predictions(tiny_layout(), shift=own.gap).assign(feature_distance=2.0, excluded=False)
    first = wells.index[wells["role"] == "negative"][0]
    wells.loc[first, ["logit", "feature_distance"]] = np.nan
    drift = plate_drift(wells, own)
    assert drift.loc[0, "negative_shift"] == pytest.approx(1, abs=0.05)
    assert drift.loc[0, "feature_distance"] == 2
    assert len(drift_findings(drift.assign(model="m"))) == 1


def test_what_hardly_varies_among_the_training_s_wells_weighs_more() -> None:
    """Of many wells the shrinkage is small: a shift in a quiet direction is far, the same in a loud one is near."""
    rng = np.random.default_rng(3)
    rows = rng.normal(0, 1, (400, 300))
    loud, quiet = (np.linalg.pinv(projected(np.eye(300))).T @ np.eye(DIMENSIONS)[number] for number in (0, 1))
    rows += 20 * rng.normal(0, 1, (400, 1)) * loud
    own = make_reference(rows, predictions(tiny_layout()), regression=False)
    assert own is not None
    near, far = (float(own.distance(rows[:50] + 20 * way).mean()) for way in (loud, quiet))
    assert far > 3 * near


@pytest.fixture(scope="module")
def trained() -> tuple[Predictor, Fitted]:
    layout = tiny_layout(controls=16)
    images = tiny_images(layout, size=SIZE, noise=0.05)
    fitted = fit_model(build_network(RECIPE), images, layout, RECIPE, device="cpu")
    card = Card(name="m", system="profile", recipe=RECIPE, output="probability", sample="S", weights_sha256="",
                trunk=TrunkReference(name="small_cnn", weights="none", sha256=""))
    card = observe(card, fitted, images, layout)
    import torch

    cpu = torch.device("cpu")
    return Predictor(fitted.network, card, "", cpu, Trunk(fitted.network, cpu, size=SIZE, path="torch")), fitted


def drift_of(predictor: Predictor, change: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    layout = tiny_layout(plate="P2", controls=16)
    images = tiny_images(layout, size=SIZE, noise=0.05, seed=9)
    changed = WellImages(images.wells, change(images.pixels.astype(np.float32)).clip(0, 1).astype(np.float16), images.channels)
    raw = with_structure_sizes(predictor.predict(changed), changed, layout, predictor.card.reference)
    wells = layout.merge(raw[["plate", "well", "logit", "feature_distance", "structure_size"]], on=["plate", "well"]).assign(excluded=False)
    return plate_drift(wells, predictor.card.reference, model="m")


def noisy(pixels: np.ndarray) -> np.ndarray:
    return pixels + np.random.default_rng(4).normal(0, 0.4, pixels.shape)


@pytest.mark.parametrize(("change", "told"), [
    (lambda pixels: pixels, False), (lambda pixels: pixels * 0.6, True), (lambda pixels: pixels + 0.2, True),
    (noisy, True)], ids=["as in training", "weak stain", "brighter ground", "noisy camera"])
def test_simulated_drift_is_told(trained: tuple[Predictor, Fitted], change: Callable[[np.ndarray], np.ndarray], told: bool) -> None:
    drift = drift_of(trained[0], change)
    findings = drift_findings(drift)
    assert len(drift) == 1
    assert bool(findings) == told, drift
    assert all(finding.rule == "drift" and finding.plate == "P2" and "differs from what m learned from" in finding.message
               for finding in findings)


def test_observing_again_gives_the_same_card(trained: tuple[Predictor, Fitted]) -> None:
    predictor, fitted = trained
    layout = tiny_layout(controls=16)
    again = observe(replace(predictor.card, reference=None), fitted, tiny_images(layout, size=SIZE, noise=0.05), layout)
    assert again == predictor.card
    assert again.reference is not None
    assert again.reference.structure is not None
    assert again.bf16 is None       # small trunks of our own score in float32


def test_the_effect_of_bfloat16_allows_or_forbids_it() -> None:
    viability = np.linspace(0, 1, 101)
    near = effect_of_bf16(viability, viability + 0.01)
    assert near is not None
    assert (near.median, near.largest, near.wells, near.allowed) == (0.01, 0.01, 101, True)
    assert not effect_of_bf16(viability, viability + 0.02).allowed
    jump = viability.copy()
    jump[3] += 0.06
    assert not effect_of_bf16(viability, jump).allowed
    assert effect_of_bf16([np.nan], [np.nan]) is None
    assert effect_of_bf16([0.1, 0.2], [0.1, np.nan]) is None


def test_drift_is_told_beyond_its_limits_and_not_within() -> None:
    nothing = {"plate": "P1", "model": "m", "negative_shift": 0.0, "positive_shift": 0.0, "feature_distance": 1.0}
    for name, limit in (("negative_shift", SHIFT), ("negative_shift", -SHIFT), ("positive_shift", SHIFT), ("positive_shift", -SHIFT),
                        ("feature_distance", DISTANCE)):
        for factor, told in ((0.99, 0), (1.01, 1)):
            assert len(drift_findings(pd.DataFrame([nothing | {name: factor * limit}]))) == told, (name, factor)
    alive = [row | {"plate": str(number)} for number, row in enumerate(
        nothing | {"positive_shift": shift} for shift in (1.01 * SHIFT, 0.99 * SHIFT, -1.01 * SHIFT, np.nan))]
    assert list(alive_words(pd.DataFrame(alive))) == ["0"]      # dead wells that look deader are no doubt


def test_structures_that_are_too_small_are_told_as_those_that_are_too_large() -> None:
    sizes = pd.DataFrame({"plate": ["half", "alike", "twice", "none"], "structure_size": [0.5, 0.9, 2.0, np.nan], "structure_limit": 1.5})
    assert list(size_words(sizes)) == ["half", "twice"]
