"""screen.yaml's fields: what is accepted, and what is said of the rest."""

from __future__ import annotations

import pytest

from models.errors import ScreenError
from models.plates.screen import Screen

GOOD = {"name": "s", "sample": "A549", "channels": ["gfp", {"name": "dna", "stain": "DRAQ5"}], "plate_format": 384,
        "positive_control": {"image": "staurosporine"}, "control_pattern": {"negative": "A1-P1, B2", "positive": "A24-P24"},
        "expected_ic50": {"staurosporine": [5, 40]}}


def test_a_screen_comes_back_from_its_fields() -> None:
    screen = Screen.from_dict(GOOD)
    assert Screen.from_dict(screen.to_dict()) == screen
    assert [channel.stain for channel in screen.channels] == ["", "DRAQ5"]


@pytest.mark.parametrize(("changes", "message"), [
    ({"control_pattern": {"negative": "A1-H13"}, "plate_format": 96}, "names wells outside of a 96-well plate: A13, B13"),
    ({"control_pattern": {"negative": "first column"}}, "of negative must be wells like 'A1-H1, C12', got 'first column'"),
    ({"control_pattern": {"dmso": "A1"}}, "may name the roles negative, positive, reference, untreated, empty, got 'dmso'"),
    ({"control_pattern": ["A1"]}, "must be a mapping like"),
    ({"control_pattern": {"negative": 7}}, "must be wells like"),
    ({"control_pattern": {"negative": "A1"}, "plate_format": 97}, "must be one of [6, 12"),
    ({"expected_ic50": {"x": [40, 5]}}, "of x must be two doses above 0, the lower one first, like [5, 40], got [40, 5]"),
    ({"expected_ic50": {"x": 12}}, "of x must be two doses above 0"),
    ({"expected_ic50": {"x": [1, "2 nM"]}}, "of x must be two doses above 0"),
    ({"expected_ic50": {"x": [1, True]}}, "of x must be two doses above 0"),
    ({"expected_ic50": {"x": [1, float("inf")]}}, "of x must be two doses above 0"),
    ({"expected_ic50": ["x"]}, "must be a mapping like"),
    ({"controls": "some"}, "controls must be one of"),
    ({"magnification": -1}, "magnification must be above 0, got -1"),
    ({"pixel_size_um": 0.0}, "pixel_size_um must be above 0, got 0.0"),
    ({"pixel_size_um": "big"}, "pixel_size_um must be above 0, got 'big'"),
])
def test_a_wrong_field_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ScreenError) as refusal:
        Screen.from_dict({**GOOD, **changes})
    assert any(message in finding.message for finding in refusal.value.findings), refusal.value.findings


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(ScreenError, match=r"unknown field 'controls_pattern' \(did you mean 'control_pattern'"):
        Screen.from_dict({**GOOD, "controls_pattern": {}})
