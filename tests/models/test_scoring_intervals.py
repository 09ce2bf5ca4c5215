"""Intervals on their way through scoring: from the card to wells, curves and weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions
from models.dose_response.effect_scale import effect_band
from models.networks.uncertainty import Uncertainty
from models.report.words import half_dose
from models.scoring import Exclusion, ScoredScreen, ScoringOptions, refit_wells, score_images
from tests.conftest import CONTROLS, READOUT, tiny_images, tiny_layout
from tests.models.oracle import SCREEN, reader

WIDER_WHEN_ALIVE = Uncertainty(level=0.95, outputs=(0.0, 2.0), half_widths=(0.1, 0.3), wells=96, coverage=0.95, shared=0.25)


def score(*, uncertainty: Uncertainty | None = WIDER_WHEN_ALIVE, controls: str = "both", fit: FitOptions | None = None,
          exclusions: tuple[Exclusion, ...] = ()) -> ScoredScreen:
    layout = tiny_layout()
    options = ScoringOptions(fit=fit or FitOptions(), exclusions=exclusions)
    return score_images(tiny_images(layout, noise=0.03), layout, screen=replace(SCREEN, controls=controls), model="m", version="1",
                        predictor=reader(READOUT, uncertainty=uncertainty), options=options)


def test_limits_of_a_well_hold_its_own_error_and_that_of_the_control_medians() -> None:
    wells = score().wells
    half = 0.1 + 0.1 * wells["od"]
    np.testing.assert_allclose(wells["od_high"] - wells["od"], half)
    np.testing.assert_allclose(wells["od"] - wells["od_low"], half)
    np.testing.assert_allclose(wells["od_shared"], half / 2)
    negative, positive = (wells[wells["role"] == role] for role in ("negative", "positive"))
    window = negative["od"].median() - positive["od"].median()
    own = half * np.sqrt(0.75)
    errors = [1.2533 * own[role.index].mean() / np.sqrt(12) for role in (negative, positive)]
    v = wells["viability"]
    alone = np.sqrt(own**2 + (v * errors[0]) ** 2 + ((1 - v) * errors[1]) ** 2) / window
    sides = wells["viability_high"] - v, v - wells["viability_low"]
    np.testing.assert_allclose(np.maximum(*sides), np.hypot(alone, wells["viability_shared"]))
    assert (np.minimum(*sides) >= alone - 1e-9).all()
    assert wells.loc[v.between(0.2, 0.8), "viability_shared"].min() > 2 * wells.loc[negative.index, "viability_shared"].median()


def test_without_positive_controls_zero_is_certain_and_without_any_there_are_no_limits() -> None:
    wells = score(controls="negative", uncertainty=replace(WIDER_WHEN_ALIVE, shared=0.0)).wells
    half, negative = 0.1 + 0.1 * wells["od"], wells.loc[wells["role"] == "negative"]
    error = 1.2533 * half[negative.index].mean() / np.sqrt(12)
    np.testing.assert_allclose(wells["viability_high"] - wells["viability"],
                               np.sqrt(half**2 + (wells["viability"] * error) ** 2) / negative["od"].median())
    assert (wells["viability_shared"] == 0).all()
    none = score(controls="none").wells
    assert none[["viability_low", "viability_high", "viability_shared"]].isna().all(axis=None)
    assert none["od_low"].notna().all()


@pytest.mark.parametrize("predictor", [reader(READOUT), reader(CONTROLS)], ids=["no interval in the card", "classifier"])
def test_a_model_that_gives_no_interval_adds_no_limits_of_wells(predictor: object) -> None:
    layout = tiny_layout()
    scored = score_images(tiny_images(layout), layout, screen=SCREEN, predictor=predictor, model="m", version="1")
    assert not {"viability_low", "viability_shared", "od_low", "od_shared"} & set(scored.wells)
    if predictor.card.recipe == READOUT:
        assert "ic50_model_low" not in scored.curves
    else:
        assert "cannot be said" in next(finding.message for finding in scored.findings if finding.rule == "effect_scale")


def test_the_interval_of_a_midpoint_grows_with_what_replicates_share() -> None:
    def curve(shared: float) -> pd.Series:
        return score(uncertainty=replace(WIDER_WHEN_ALIVE, shared=shared)).curves.iloc[0]

    alone, little, much = curve(0.0), curve(0.1), curve(0.5)
    assert (alone["ic50_model_low"], alone["ic50_model_high"]) == (alone["ic50_low"], alone["ic50_high"])
    for wider, narrower in ((little, alone), (much, little)):
        assert wider["ic50_model_low"] < narrower["ic50_model_low"]
        assert wider["ic50_model_high"] > narrower["ic50_model_high"]
        assert wider["ic50_low"] == alone["ic50_low"]      # the interval itself means what it meant
    assert np.isnan(curve(1.0).get("ic50_model_high", 0)) or curve(1.0)["ic50_model_high"] > much["ic50_model_high"]
    assert "ic50_model_low" not in score(fit=FitOptions(interval="none")).curves


def classified(*, fit: FitOptions | None = None, darkest: float = 0.0) -> ScoredScreen:
    """A control classifier's answer for the tiny plate. darkest: the least viability that the compound's wells show."""
    layout = tiny_layout()
    images = tiny_images(layout, noise=0.03)
    if darkest:
        living = np.float16(images.pixels[(layout["role"] == "negative").to_numpy()].mean())
        dead = np.float16(images.pixels[(layout["role"] == "positive").to_numpy()].mean())
        treated = (layout["role"] == "treated").to_numpy()
        least = dead + darkest * (living - dead)
        images.pixels[treated] = np.maximum(images.pixels[treated], least) if living > dead else np.minimum(images.pixels[treated], least)
    return score_images(images, layout, screen=SCREEN, predictor=reader(CONTROLS), model="m", version="1",
                        options=ScoringOptions(fit=fit or FitOptions()))


def test_the_limits_of_a_control_classifier_are_those_of_a_band_of_effects() -> None:
    found = classified().curves.iloc[0]
    low, high = (classified(fit=FitOptions(ic_level=level)).curves.iloc[0] for level in (25, 85))
    assert found["ic50_relation"] == "="
    assert found["uncalibrated"]
    assert found["ic50_model_low"] == min(low["ic50_low"], found["ic50_low"])
    assert found["ic50_model_high"] == max(high["ic50_high"], found["ic50_high"])
    assert found["ic50_model_low"] < low["ic50"] < found["ic50"] < high["ic50"] < found["ic50_model_high"]
    assert "ic50_model_low" not in classified(fit=FitOptions(interval="none")).curves
    assert effect_band(50) == (25, 85)


def test_a_control_classifier_names_no_upper_limit_where_the_images_never_look_dead() -> None:
    """Four fifths of full effect at most: the metabolic assay may never fall to one half."""
    found = classified(darkest=0.3).curves.iloc[0]
    assert found["ic50_relation"] == "="
    assert np.isnan(found["ic50_model_high"])
    assert found["ic50_model_low"] < found["ic50"]
    assert not half_dose(found, "ic50").certain
    assert "no upper limit" in half_dose(found, "ic50").interval


def test_leaving_wells_out_again_moves_limits_as_scoring_does() -> None:
    layout = tiny_layout()
    out = tuple(Exclusion(plate="P1", well=str(layout.at[index, "well"]), reason="bubble") for index in (2, 30))
    again = refit_wells(score().wells, screen=SCREEN, exclusions=out, fit=FitOptions())
    wanted = score(exclusions=out)
    pd.testing.assert_frame_equal(again.wells, wanted.wells)
    pd.testing.assert_frame_equal(again.curves, wanted.curves)
    assert wanted.wells["viability_low"].notna().all()     # excluded wells keep theirs


def test_weights_are_used_when_asked_for_only() -> None:
    equal, weighted = score().curves.iloc[0], score(fit=FitOptions(weights="interval")).curves.iloc[0]
    assert equal["ic50"] != weighted["ic50"]
    assert abs(np.log10(weighted["ic50"] / equal["ic50"])) < 0.2
    constant = replace(WIDER_WHEN_ALIVE, half_widths=(0.2, 0.2))
    without = score(uncertainty=None, fit=FitOptions(weights="interval")).curves.iloc[0]
    assert score(uncertainty=constant).curves.iloc[0]["ic50"] == without["ic50"] == equal["ic50"]


def test_weights_that_no_well_has_are_told() -> None:
    def told(**asked: Any) -> list[str]:
        return [one.message for one in score(**asked).findings if one.rule == "weights_unused"]
    weighted = FitOptions(weights="interval")
    assert told() == told(fit=weighted) == told(uncertainty=None) == []
    assert "all wells weigh the same. Leave weights out" in told(uncertainty=None, fit=weighted)[0]
    assert len(told(controls="none", fit=weighted)) == 1
