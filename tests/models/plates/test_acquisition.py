"""What is said when a screen was imaged otherwise than a model's screen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from models.plates.acquisition import acquisition_findings
from models.plates.screen import Channel, Screen

SCREEN = Screen(name="s", sample="x", magnification=10.0, pixel_size_um=1.3, bit_depth=12,
                channels=(Channel(name="hoechst", stain="Hoechst 33342"), Channel(name="gfp", stain="EGFP")))
CARD = SCREEN.to_dict()


def test_the_same_acquisition_is_nothing_to_say() -> None:
    assert acquisition_findings(SCREEN, CARD, channels=("hoechst",)) == []
    assert acquisition_findings(SCREEN, {}, channels=("hoechst",)) == []
    assert acquisition_findings(replace(SCREEN, pixel_size_um=1.305), CARD) == []      # two calibrations of one objective


@pytest.mark.parametrize(("change", "column", "message"), [
    ({"magnification": 20.0}, "magnification", "the magnification is 20x, the model learned from images of 10x: cells look 2 times"),
    ({"pixel_size_um": 2.6}, "pixel_size_um", "the pixel size is 2.6 um, the model learned from images of 1.3 um: cells look 0.5 times"),
    ({"bit_depth": 16}, "bit_depth", "the bit depth is 16 bit, the model learned from images of 12 bit: a grey value stands for another"),
    ({"channels": (Channel(name="hoechst", stain="DAPI"),)}, "channels", "hoechst shows DAPI, the model learned from Hoechst 33342"),
    ({"channels": (Channel(name="hoechst_mip", stain="DAPI"),)}, "channels", "hoechst shows DAPI, the model learned from Hoechst")])
def test_another_acquisition_is_told_with_what_it_does(change: dict[str, Any], column: str, message: str) -> None:
    finding, = acquisition_findings(replace(SCREEN, **change), CARD, channels=("hoechst",))
    assert (finding.rule, finding.severity, finding.column) == ("acquisition_mismatch", "warning", column)
    assert message in finding.message


def test_channels_that_the_model_does_not_look_at_may_differ() -> None:
    other = replace(SCREEN, channels=(SCREEN.channels[0], Channel(name="gfp", stain="mCherry")))
    assert acquisition_findings(other, CARD, channels=("hoechst",)) == []


def test_what_the_screen_does_not_state_is_told_once() -> None:
    finding, = acquisition_findings(replace(SCREEN, magnification=None, pixel_size_um=None), CARD)
    assert finding.rule == "acquisition_unknown"
    assert "magnification (10x of the model's images), pixel size (1.3 um of the model's images), so that" in finding.message


def test_a_card_with_something_else_than_a_number_breaks_nothing() -> None:
    assert acquisition_findings(SCREEN, {"magnification": "10x", "channels": None, "image_size": None}, size=(5, 6)) == []


@pytest.mark.parametrize(("size", "pixel", "said"), [
    ((1000, 1200), 1.3, ""),                    # as trained
    ((500, 600), 2.6, ""),                      # binned: the same field with larger pixels, a cell looks as before
    ((990, 1190), 1.3, ""),                     # a rim cut off
    ((500, 600), 1.3, "an image shows 650 x 780 um, those that the model learned from 1300 x 1560 um: cells look 2 times as large"),
    ((1000, 1200), 2.6, "cells look 0.5 times as large"),
    ((1000, 1000), 1.3, "an image shows 1300 x 1300 um")])
def test_the_field_of_view_says_how_large_cells_look(size: tuple[int, int], pixel: float, said: str) -> None:
    found = acquisition_findings(replace(SCREEN, pixel_size_um=pixel), {**CARD, "image_size": [1000, 1200]}, size=size)
    assert [finding.rule for finding in found] == (["acquisition_mismatch"] if said else [])
    assert all(said in finding.message for finding in found)


def test_images_of_another_size_and_unknown_pixels_are_told() -> None:
    unknown = {**CARD, "pixel_size_um": None, "image_size": [1000, 1200]}
    finding, = acquisition_findings(SCREEN, unknown, size=(500, 600))
    assert finding.rule == "acquisition_unknown"
    assert "an image has 500 x 600 px, those that the model learned from 1000 x 1200 px" in finding.message
    assert acquisition_findings(SCREEN, unknown, size=(1000, 1200)) == []
    assert acquisition_findings(SCREEN, CARD, size=(500, 600)) == []      # a card that knows no size
