"""A plate that does not look like those that the model learned from: said, and no curve of it is sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from models.dose_response import FitOptions, call_hits
from models.errors import SampleMismatch
from models.networks.drift import Reference
from models.networks.predict import Predictor
from models.networks.structure import structure_of
from models.plates.images import WellImages
from models.scoring import ScoredScreen, ScoringOptions, refit_wells, score_images
from models.suitability import same_sample
from tests.conftest import tiny_images, tiny_layout
from tests.models.oracle import SCREEN, reader, rules, score


def test_another_sample_is_refused_unless_forced() -> None:
    other = replace(SCREEN, sample="Y")
    with pytest.raises(SampleMismatch, match="model viability-X is for X, not Y") as caught:
        score(screen=other)
    assert [(finding.rule, finding.severity, finding.value) for finding in caught.value.findings] == [("sample_mismatch", "error", "Y")]
    pd.testing.assert_frame_equal(score(screen=replace(SCREEN, sample=" x")).wells, score().wells)     # another way to write X
    assert same_sample("NCI-H1975  a", "nci-h1975 A")
    assert not same_sample("A549", "A 549")
    forced = score(screen=other, force=True)
    assert (forced.findings[0].rule, forced.findings[0].severity) == ("sample_mismatch", "warning")
    pd.testing.assert_frame_equal(forced.wells, score().wells)


def test_another_acquisition_is_a_warning() -> None:
    scored = score(screen=replace(SCREEN, magnification=20.0, bit_depth=16))
    assert [(finding.rule, finding.column, finding.value) for finding in scored.findings if finding.rule == "acquisition_mismatch"] == [
        ("acquisition_mismatch", "magnification", "20")]  # the card does not know a bit depth
    assert rules(score(screen=replace(SCREEN, magnification=None))) == ["acquisition_unknown"]


def textured(layout: pd.DataFrame, *, period: float, seed: int) -> WellImages:
    """Images (48 px) with structures of so many pixels around their brightness."""
    found = tiny_images(layout, size=48, noise=0)
    noise = np.random.default_rng(seed).normal(size=(len(found), 1, 48, 48))
    smooth = gaussian_filter(noise, (0, 0, period, period)) - gaussian_filter(noise, (0, 0, 2 * period, 2 * period))
    texture = 0.02 * smooth / smooth.std(axis=(2, 3), keepdims=True)
    return WellImages(found.wells, (found.pixels + texture - texture.mean(axis=(2, 3), keepdims=True)).astype(np.float32), found.channels)


def test_a_plate_at_another_magnification_has_no_sure_curve() -> None:
    layout = tiny_layout()
    own = structure_of(pixels[0] for pixels in textured(layout, period=2.0, seed=1).pixels)
    reference = Reference(value="od", negative=1.5, positive=0.1, gap=1.4, z_prime=0.8, wells=12, feature_mean=(), feature_whitening=(),
                          structure=own)
    alike, half = (score(layout, textured(layout, period=period, seed=2), predictor=reader(reference=reference)) for period in (2.0, 1.0))
    assert rules(alike) == []
    assert alike.curves["status"].tolist() == ["ok"]
    (finding,) = (finding for finding in half.findings if finding.rule == "structure_size")
    assert (finding.severity, finding.plate) == ("warning", "P1")
    assert f"look {half.drift['structure_size'].iloc[0]:.2g} times as large as in training (alike: 0.80 to 1.25)" in finding.message
    assert half.drift["structure_size"].iloc[0] == pytest.approx(0.5, rel=0.15)
    again = refit_wells(half.wells, screen=SCREEN, exclusions=(), fit=FitOptions(interval="none"), drift=half.drift)
    for curves in (half.curves, again.curves):      # a person who leaves out wells does not make the plate right
        assert curves["status"].tolist() == ["weakly_identified"]
        assert curves["reason"].str.startswith("structures in the negative controls of plate P1 look 0.").all()
        for threshold in (10, 90):                  # neither hits nor misses
            assert call_hits(curves, threshold=threshold)["hit_reason"].str.startswith("undecided").all()
    older = score(layout, textured(layout, period=1.0, seed=2), predictor=reader(reference=replace(reference, structure=None)))
    assert rules(older) == []       # a card that knows no structure compares none


def test_a_model_that_learned_from_the_plate_itself_is_asked_nothing_that_its_parent_knows_better() -> None:
    """Another objective than the parent's, and positive controls that live: the model that was adapted to them finds nothing strange."""
    dead = tiny_layout()
    alive = dead.assign(readout=dead["readout"].clip(lower=0.8))
    reference = Reference(value="od", negative=1.5, positive=0.1, gap=1.4, z_prime=0.8, wells=12, feature_mean=(), feature_whitening=(),
                          structure=structure_of(pixels[0] for pixels in textured(dead, period=2.0, seed=1).pixels))
    parent = reader(name="profile-CE", acquisition={"magnification": 20.0}, reference=reference)

    def adapted(layout: pd.DataFrame, parent: Predictor | None) -> ScoredScreen:
        return score_images(textured(layout, period=1.0, seed=2), layout, screen=SCREEN, predictor=reader(), model="profile-P", version="1",
                            options=ScoringOptions(fit=FitOptions(interval="none")), parent=parent)

    assert rules(adapted(alive, None)) == []
    smaller, scored = adapted(dead, parent), adapted(alive, parent)
    assert rules(smaller) == ["acquisition_mismatch", "structure_size"]
    assert smaller.findings[1].value == "profile-CE"
    assert "profile-P has learned from these controls all the same" in smaller.findings[1].message
    assert smaller.curves["status"].tolist() == ["ok"]
    assert rules(scored) == ["acquisition_mismatch", "drift", "structure_size"]
    again = refit_wells(scored.wells, screen=SCREEN, exclusions=(), fit=FitOptions(interval="none"), drift=scored.drift)
    for curves in (scored.curves, again.curves):
        assert curves["status"].tolist() == ["weakly_identified"]
        assert curves["reason"].str.startswith("the positive controls of plate P1 look 50% alive to profile-CE: what 0 % is").all()
        assert not call_hits(curves)["hit"].any()
