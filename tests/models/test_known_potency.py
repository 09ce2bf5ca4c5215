"""A compound whose IC50 is known tells of what shifts all curves of a plate along the doses, which nothing else on it shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from models.dose_response import FitOptions, call_hits
from models.errors import Finding
from models.known_potency import OFF, UNCHECKED
from models.plates.screen import Screen
from models.scoring import Exclusion, ScoredScreen, refit_wells, score_measured
from tests.models.dose_response.test_odd_wells import SCREEN, constant, killing, plate, told

KNOWN = replace(SCREEN, expected_ic50={"Staurosporine": [10.0, 40.0]})


def drugs(shift: float) -> dict:
    """Potencies when all doses are `shift` times as strong as the layout says."""
    return {"staurosporine": killing(20 / shift), "a": killing(60 / shift), "b": killing(150 / shift), "inert": constant(100.0)}


def score(table: pd.DataFrame, screen: Screen = KNOWN) -> ScoredScreen:
    return score_measured(table, screen=screen)


def said(scored: ScoredScreen) -> list[Finding]:
    return [one for one in scored.findings if one.rule in (OFF, UNCHECKED)]


def test_doses_four_times_too_strong_are_told_by_the_known_compound_alone() -> None:
    table = plate(drugs(4.0))
    assert told(score(table, SCREEN)).loc["a", "status"] == "ok"         # without it: 15 nM in place of 60, and sure
    (finding,) = said(scored := score(table))
    assert (finding.rule, finding.severity, finding.plate, finding.column) == (OFF, "warning", "P1", "below")
    assert "where expected_ic50 gives 10 to 40 nM" in finding.message
    curves = told(scored)
    assert not curves["status"].eq("ok").any()
    assert curves["reason"].str.contains("an IC50 comes out too low").all()
    assert not call_hits(scored.curves)["hit"].any()


def test_doses_too_weak_leave_no_sure_no_hit() -> None:
    (finding,) = said(scored := score(plate(drugs(0.1))))
    assert finding.column == "above"
    assert (told(scored)["verdict"] == "cannot say").all()


def test_usual_doses_are_left_in_peace() -> None:
    scored = score(plate(drugs(1.0)))
    assert said(scored) == []
    pd.testing.assert_frame_equal(scored.curves, score(plate(drugs(1.0)), SCREEN).curves)


def test_a_known_compound_that_does_nothing_is_off_and_one_below_all_doses_too() -> None:
    for viability, side in ((constant(100.0), "above"), (constant(0.0), "below")):
        (finding,) = said(score(plate(drugs(1.0) | {"staurosporine": viability})))
        assert (finding.rule, finding.column) == (OFF, side)


def test_an_ic50_that_may_lie_in_the_range_is_no_alarm() -> None:
    """Beyond the top dose, or below the lowest, with a range that reaches there."""
    for ic50, limits in ((3000.0, [800.0, 5000.0]), (0.03, [0.01, 0.2])):
        screen = replace(SCREEN, expected_ic50={"staurosporine": limits})
        assert said(score(plate(drugs(1.0) | {"staurosporine": killing(ic50)}), screen)) == []


def test_only_the_plate_that_went_wrong_is_named_and_its_treatments_doubted() -> None:
    right, wrong = plate(drugs(1.0)), plate({f"{name} too" if name != "staurosporine" else name: curve
                                             for name, curve in drugs(8.0).items()}).assign(plate="P2")
    scored = score(pd.concat([right, wrong], ignore_index=True))
    assert [one.plate for one in said(scored)] == ["P2"]
    assert told(scored)["status"].to_dict() | {"staurosporine": ""} == {
        "staurosporine": "", "a": "ok", "b": "ok", "inert": "flat",
        "a too": "weakly_identified", "b too": "weakly_identified", "inert too": "flat"}


def test_a_known_compound_that_is_not_there_is_told() -> None:
    screen = replace(SCREEN, expected_ic50={"stauro sporin": [10, 40], "staurosporine": [10, 40]})
    (finding,) = said(score(plate(drugs(1.0)), screen))
    assert (finding.rule, finding.value) == (UNCHECKED, "stauro sporin")
    assert "P1" in finding.message


def test_leaving_wells_out_asks_again() -> None:
    table = plate(drugs(4.0))
    first = score(table)
    wells = table.loc[table["treatment"].eq("staurosporine"), "well"]
    again = refit_wells(first.wells, screen=KNOWN, fit=FitOptions(),
                        exclusions=[Exclusion(plate="P1", well=str(well), reason="old stock") for well in wells])
    assert [one.rule for one in said(again)] == [UNCHECKED]
    assert told(again).loc["a", "status"] == "ok"


def test_the_level_that_a_person_asks_for_does_not_change_what_is_known() -> None:
    first = score(plate(drugs(1.0)))
    again = refit_wells(first.wells, screen=KNOWN, exclusions=(), fit=FitOptions(ic_level=90, interval="none"))
    assert said(again) == []


def test_limits_are_those_of_the_plates_own_noise() -> None:
    """A poor plate does not tell a little off, and a good one does."""
    table = plate(drugs(1.0) | {"staurosporine": killing(45.0)})
    poor = table.assign(readout=table["readout"] + 600 * np.random.default_rng(1).standard_normal(len(table)))
    assert said(score(poor)) == []
    assert [one.rule for one in said(score(table, replace(SCREEN, expected_ic50={"staurosporine": [5, 30]})))] == [OFF]
