"""Wells of two treatments: both parts must be tested alone, and a pair makes neither part's series look longer or better."""

from __future__ import annotations

import pandas as pd
import pytest

from models.errors import Finding
from models.plates.layout import parse_layout
from models.plates.screen import Screen
from models.wells import wells_of
from validation.rules import judge_layout

ALONE = [("x", dose, "", "") for dose in (1, 10, 100, 1000)] + [("y", dose, "", "") for dose in (5, 50, 500, 5000)]


def findings(rows: list[tuple[str, float, str, object]], rule: str) -> list[Finding]:
    table = pd.DataFrame(rows, columns=["treatment", "dose", "treatment_2", "dose_2"]).assign(
        plate="P1", well=[str(well) for well in wells_of(96)][:len(rows)], role="treated", dose_unit="nM")
    table["dose_unit_2"] = ["nM" if second else "" for second in table["treatment_2"]]
    screen = Screen(name="s", sample="A549", controls="none")
    return [one for one in judge_layout(parse_layout(table.astype("str"), plate_format=96), screen) if one.rule == rule]


@pytest.mark.parametrize(("pairs", "lacking"), [
    ([(10, 50), (100, 500)], None), ([(10, 7)], "y 7"), ([(3, 50)], "x 3"), ([(50, 5)], "x 50"), ([(10, 100)], "y 100"),
    ([(3, 7), (3, 8)], "x 3, y 7, y 8")])
def test_the_doses_of_either_part_that_are_not_tested_alone_are_named(pairs: list[tuple[float, float]], lacking: str | None) -> None:
    """Of the second as of the first; a dose of the other treatment, or of another pair, is none of its own."""
    found = findings(ALONE + [("x", first, "y", second) for first, second in pairs], "combination_parts")
    assert [one.message.partition(" alone;")[0] for one in found] == ([f"treatment x + y has no wells with {lacking}"] if lacking else [])


def test_doses_in_a_pair_are_no_doses_of_a_series() -> None:
    """Three doses alone are too few for a curve, however many there are in pairs."""
    rows = [row for row in ALONE if row[:2] != ("x", 1000)] + [("x", dose, "y", 5) for dose in (1, 10, 100, 1000)]
    (found,) = findings(rows, "dose_count")
    assert found.message.startswith("treatment x has 3 doses (1, 10, 100 nM)")


@pytest.mark.parametrize(("second", "severity", "part"), [
    (("", 5), "error", "have dose_2 without treatment_2"), (("y", ""), "error", "name a second treatment without its dose"),
    (("x", 5), "error", "combine a treatment with itself")])
def test_half_a_combination_is_refused(second: tuple[str, object], severity: str, part: str) -> None:
    (found,) = findings([*ALONE, ("x", 1, "y", 5), ("x", 1, *second)], "combination")
    assert (found.severity, found.well) == (severity, "A10")
    assert part in found.message
