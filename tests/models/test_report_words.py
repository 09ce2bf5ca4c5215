"""The report's numbers and verdicts in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.errors import Finding
from models.report.inputs import doubtful_flags, flag_list
from models.report.plate_figures import shades
from models.report.sections import finding_groups, metric_rows, read_first
from models.report.svg import nice_ticks, short
from models.report.verdicts import grade_of, plate_qualities
from models.report.words import dose_text, fixed, half_dose, plain, slope_text, trusted

NAN = float("nan")
CURVE = {"dose_unit": "nM", "status": "ok", "ic50": 100.0, "ic50_relation": "=", "ic50_low": 60.0, "ic50_high": 170.0,
         "slope": 1.0, "auc": 0.5}


@pytest.mark.parametrize(("value", "unit", "shown"), [
    (0.05, "nM", "50 pM"), (350.0, "nM", "350 nM"), (999.9, "nM", "1 µM"), (1000.0, "nM", "1 µM"), (12345.0, "nM", "12.3 µM"),
    (2.5e6, "nM", "2.5 mM"), (5.0, "ug/mL", "5 µg/mL"), (0.5, "%", "0.5 %"), (NAN, "nM", "–")])
def test_doses_are_printed_in_a_readable_unit(value: float, unit: str, shown: str) -> None:
    assert dose_text(value, unit) == shown


@pytest.mark.parametrize(("value", "shown"), [(1234.0, "1234"), (-0.0, "0"), (-1.5, "−1.5"), (1e-7, "1e−07"), (float("inf"), "∞"),
                                              (NAN, "–")])
def test_plain_numbers(value: float, shown: str) -> None:
    assert plain(value, 4) == shown


def test_small_helpers() -> None:
    assert fixed(-0.001, 2) == "0.00"
    assert slope_text(CURVE | {"slope": 10.0}) == "> 9.5"
    assert slope_text(CURVE | {"status": "flat"}) == "–"
    assert trusted(CURVE | {"status": "failed"}, "auc", decimals=2) == "–"
    assert half_dose(CURVE | {"ic50_low": NAN, "ic50_high": NAN}, "ic50").interval == "interval open on both sides"
    wide = CURVE | {"dose_unit": "nM", "ic50": 94.0, "ic50_low": 20.1, "ic50_high": 44_250.0}
    assert half_dose(wide, "ic50").interval == "20.1 nM to 44.2 µM"       # and not 44200 nM
    assert half_dose(wide | {"ic50_low": NAN}, "ic50").interval == "44.2 µM or less, no lower limit"
    narrow, loose, open_ended = ({"ic50_model_low": 50.0, "ic50_model_high": high} for high in (400.0, 900.0, NAN))
    assert half_dose(CURVE, "ic50").text == half_dose(CURVE | narrow, "ic50").text == "100 nM"
    assert half_dose(CURVE | loose, "ic50").text == half_dose(CURVE | open_ended, "ic50").text == "≈ 100 nM"
    assert half_dose(CURVE | narrow, "ic50").interval == "50 to 400 nM with the model’s error; 60 to 170 nM without"
    assert half_dose(CURVE | {"ic50_low": 3.0}, "ic50").text == half_dose(CURVE | {"ic50_high": NAN}, "ic50").text == "≈ 100 nM"
    above = CURVE | {"ic50_relation": ">", "ic50_low": 40.0}
    assert half_dose(above, "ic50").sentence("IC50") == "IC50 > 100 nM (confidence limit from 40 nM)"
    assert half_dose(above | {"ic50_model_low": 9.0}, "ic50").interval == "confidence limit from 9 nM"
    assert half_dose(above | {"ic50_low": 3170.0}, "ic50").interval == "beyond the tested doses"     # nobody tested 3.17 µM
    assert [flag_list(value) for value in (None, NAN, "", "a", np.array(["a", "b"]), ("a",))] == [[], [], [], ["a"], ["a", "b"], ["a"]]
    assert doubtful_flags(["training_well", "debris"]) == ["debris"]
    assert shades([-1.0, 0.0, 2.0, NAN], (0.0, 1.0)) == [("#00224e", True), ("#00224e", True), ("#fee838", False), None]
    assert nice_ticks(0, 100) == [0, 50, 100]
    assert [short(value) for value in (1.0, 1.25, -0.01, -2.04)] == ["1", "1.2", "0", "-2"]
    metrics = {"a": {"b": list(range(9)), "c": [1, 2.5]}, "d": True}
    assert metric_rows(metrics) == [("a / b", "9 values"), ("a / c", "1, 2.5"), ("d", "True")]


@pytest.mark.parametrize(("z_prime", "grade"), [(0.51, "excellent"), (0.5, "care"), (0.0, "care"), (-0.01, "bad"), (NAN, "unknown")])
def test_plates_are_graded_by_z_prime(z_prime: float, grade: str) -> None:
    assert grade_of(z_prime) == grade


def test_what_is_written_on_a_well_stands_out_from_its_colour() -> None:
    """White on the middle greys had a contrast of 4.2 (WCAG 2 AA asks for 4.5)."""
    def luminance(colour: str) -> float:
        rgb = np.array([int(colour[at:at + 2], 16) for at in (1, 3, 5)]) / 255
        return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))

    for colour, dark in filter(None, shades(np.linspace(0, 1, 101), (0.0, 1.0))):
        low, high = sorted((luminance(colour), luminance("#ffffff" if dark else "#000000")))
        assert (high + 0.05) / (low + 0.05) >= 4.5, colour


def test_disagreement_of_plain_and_robust_z_prime_is_explained() -> None:
    plate, = plate_qualities(pd.DataFrame([{"plate": "P1", "z_prime": 0.2, "z_prime_robust": 0.8}]), ["P1"], controls="both")
    assert plate.words == "Z′ 0.20: usable with care (robust Z′ 0.80, excellent: single control wells stand out)"


def test_what_z_prime_does_not_know_stands_beside_it() -> None:
    row = {"plate": "P1", "z_prime": 0.93, "z_prime_robust": 0.91, "reason": "all positive controls read exactly the same"}
    plate, = plate_qualities(pd.DataFrame([row]), ["P1"], controls="both")
    assert plate.words == "Z′ 0.93: excellent; all positive controls read exactly the same"


def test_a_plate_without_quality_is_unknown_not_zero() -> None:
    plate, = plate_qualities(pd.DataFrame(), ["P1"], controls="both")
    assert plate.grade == "unknown"
    assert "cannot be computed because" in plate.words


def test_what_is_said_of_several_plates_is_said_once_and_counted_at_the_top() -> None:
    dry = [Finding(rule="position_effect", severity="warning", plate=plate, message=f"the border of plate {plate} dried")
           for plate in ("P1", "P10")]
    dirty = Finding(rule="debris", severity="warning", plate="P1", well="A01", message="well A01 of plate P1 is dirty")
    grouped = finding_groups([*dry, dirty])
    assert [(one.message, one.places) for one in grouped] == [
        ("the border of each of the plates dried", ["P1", "P10"]), ("well A01 of plate P1 is dirty", [])]
    assert read_first(dry) == "Read “What to distrust” first: 1 finding on 2 plates."
    assert read_first(dry[:1]) == "Read “What to distrust” first: 1 finding on plate P1."
    assert read_first([]) == ""
