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
    ({"magnification": 20.0}, "magnification", "magnification is 20x, the model was trained at 10x: cells look 2 times as large"),
    ({"pixel_size_um": 2.6}, "pixel_size_um", "is 2.6 um a pixel, the model was trained at 1.3 um a pixel: cells look 0.5 times"),
    ({"bit_depth": 16}, "bit_depth", "bit_depth is 16 bit, the model was trained at 12 bit: grey values mean other"),
    ({"channels": (Channel(name="hoechst", stain="DAPI"),)}, "channels", "hoechst shows DAPI, the model was trained on Hoechst 33342"),
    ({"channels": (Channel(name="hoechst_mip", stain="DAPI"),)}, "channels", "hoechst shows DAPI, the model was trained on Hoechst")])
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
    assert "magnification (10x), pixel_size_um (1.3 um a pixel)" in finding.message


def test_a_card_or_a_screen_with_something_else_than_a_number_breaks_nothing() -> None:
    assert acquisition_findings(SCREEN, {"magnification": "10x", "channels": None}) == []
    assert [one.rule for one in acquisition_findings(replace(SCREEN, magnification="10x"), CARD)] == [  # type: ignore[arg-type]
        "acquisition_unknown"]
