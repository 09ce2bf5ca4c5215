"""Odd but real wells: no confident number where they do not bear one out, and what to look at instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions, fit_curves, score_curves
from models.dose_response.curves import NO_DOSE
from models.dose_response.doubts import means_cross
from models.dose_response.score_limits import score_limits
from models.dose_response.stray_wells import stray_wells
from models.dose_response.words import dose_words
from models.plates.screen import Screen
from models.report import treatment_table
from models.scoring import Exclusion, ScoredScreen, ScoringOptions, refit_wells, score_measured
from models.wells import wells_of

SCREEN = Screen.from_dict({"name": "s", "sample": "X"})
DOSE = np.logspace(-1, 3, 8)
Viability = Callable[[np.ndarray], np.ndarray]


def killing(ic50: float, *, slope: float = 1.0) -> Viability:
    return lambda dose: 100 / (1 + (dose / ic50) ** slope)


def bell(dose: np.ndarray) -> np.ndarray:
    """80 % effect at 10 nM, none at both ends."""
    return 100 - 80 * np.exp(-0.5 * ((np.log10(dose) - 1) / 0.6) ** 2)


def constant(viability: float) -> Viability:
    return lambda dose: np.full(len(dose), viability)


def plate(drugs: Mapping[str, Viability], *, replicates: int = 2, negative: float = 100.0) -> pd.DataFrame:
    """A table of read-outs, 8 controls of each kind. negative: what the negative controls read, in percent of untreated wells."""
    rng, noise = np.random.default_rng(0), 4.0
    rows = [("negative", "", np.nan, negative)] * 8 + [("positive", "", np.nan, 0.0)] * 8
    for name, viability in drugs.items():
        dose = np.repeat(DOSE, replicates)
        rows += [("treated", name, x, y) for x, y in zip(dose, viability(dose), strict=True)]
    table = pd.DataFrame(rows, columns=["role", "treatment", "dose", "viability"])
    readout = 1000 + 50 * (table["viability"] + noise * rng.standard_normal(len(table)))
    return table.drop(columns="viability").assign(
        plate="P1", well=list(wells_of(384))[:len(table)], replicate=1, readout=readout,
        dose_unit=np.where(table["dose"].notna(), "nM", ""))


def score(table: pd.DataFrame, **options: object) -> ScoredScreen:
    return score_measured(table, screen=SCREEN, options=ScoringOptions(**options))


def told(scored: ScoredScreen) -> pd.DataFrame:
    return scored.curves.set_index("treatment").join(treatment_table(scored, screen=SCREEN).set_index("treatment")[["verdict", "IC50"]])


def test_an_effect_that_comes_and_goes_is_neither_noise_nor_an_ic50() -> None:
    scored = told(score(plate({"bell": bell, "recovers": lambda dose: np.where(dose > 900, 100.0, killing(3.0, slope=2)(dose)),
                               "right": killing(10.0)})))
    for name in ("bell", "recovers"):
        assert scored.loc[name, "status"] == "weakly_identified"
        assert "replicates agree with each other, and their effect does not rise steadily with the dose" in scored.loc[name, "reason"]
        assert scored.loc[name, "verdict"] == "cannot say"
    assert scored.loc["bell", "IC50"] == "cannot say"
    assert (scored.loc["right", "status"], scored.loc["right", "verdict"]) == ("ok", "hit")


def test_in_single_wells_the_controls_tell_an_effect_that_comes_and_goes_from_noise() -> None:
    """The flat test alone says no effect, IC50 above the top dose, no hit."""
    inert = {f"inert{number}": constant(100.0) for number in range(20)}
    scored = told(score(plate({"window": lambda dose: np.where((dose > 1) & (dose < 10), 15.0, 100.0),
                               "one dead well": lambda dose: np.where(np.isclose(dose, DOSE[4]), 5.0, 100.0), **inert}, replicates=1)))
    assert scored.loc["window", ["status", "ic50_relation", "verdict"]].tolist() == ["weakly_identified", "", "cannot say"]
    assert scored.loc["window", "reason"].startswith("the wells lie further apart than the controls scatter")
    others = scored.drop(index="window")
    assert not others["reason"].str.contains("further apart").any()
    assert others.loc["one dead well", "status"] == "flat"


def test_doses_that_no_two_wells_share_hide_no_effect_that_comes_and_goes() -> None:
    """Dispensers write the dose that each well got: without replicates such a curve was ok, its IC50 above the top dose."""
    table = plate({"bell": lambda dose: 100 - 80 * np.exp(-(((np.log10(dose) - 1.2) / 0.8) ** 2)), "right": killing(10.0)}, replicates=3)
    table["dose"] *= 10 ** np.random.default_rng(1).normal(0, 0.03, len(table))
    scored = told(score(table))
    assert scored.loc["bell", ["status", "ic50_relation", "verdict"]].tolist() == ["weakly_identified", "", "cannot say"]
    assert scored.loc["right", ["status", "ic50_relation"]].tolist() == ["ok", "="]


@pytest.mark.parametrize("skipped", [3, 4, 5])
def test_a_dose_that_was_given_to_none_of_its_wells_is_asked_about(skipped: int) -> None:
    """A tip that took nothing up: the curve is made of wells without the drug, until they are left out."""
    table = plate({"drug": lambda dose: np.where(np.isclose(dose, DOSE[skipped]), 100.0, killing(2.0)(dose)),
                   "right": killing(2.0), "steep": killing(30.0, slope=4)})
    scored = told(score(table))
    assert scored.loc["drug", "status"] == "weakly_identified"
    assert "was it skipped?" in scored.loc["drug", "reason"]
    assert scored.loc["drug", "verdict"] == "cannot say"
    assert not scored.loc[["right", "steep"], "reason"].str.contains("skipped").any()
    wells = table.loc[np.isclose(table["dose"], DOSE[skipped]) & (table["treatment"] == "drug"), "well"]
    without = told(score(table, exclusions=tuple(Exclusion(plate="P1", well=str(well), reason="no drug") for well in wells)))
    assert without.loc["drug", "ic50"] == pytest.approx(2.0, rel=0.3)


def test_means_cross_the_level_on_the_straight_line_nearest_to_the_curve() -> None:
    x = np.array([NO_DOSE, -4.0, -3.0, -2.0, -1.0, 0.0])[:, None].repeat(4, axis=1)
    y = np.array([90.0, 10.0, 40.0, 70.0, 30.0, 90.0])[:, None].repeat(4, axis=1)
    y[:, 3] = 10.0
    found = means_cross(SimpleNamespace(x=x, y=y), np.full(4, 50.0), near=np.array([-2.5, -1.6, 0.5, -1.0]))
    np.testing.assert_allclose(found, [-3 + 1 / 3, -1.5, -1 + 1 / 3, np.nan])


def test_noise_and_duplicates_that_share_a_dispensing_error_are_no_misfit() -> None:
    rng = np.random.default_rng(1)
    effect = 100 - killing(10.0)(DOSE)
    shared = effect + 6 * rng.standard_normal((300, 8))                      # an error of the dose, the same for both of its wells
    y = np.repeat(shared, 2, axis=1) + rng.standard_normal((300, 16))
    table = pd.DataFrame({"curve": np.repeat(np.arange(300), 16), "dose": np.tile(np.repeat(DOSE, 2), 300), "y": y.ravel()})
    curves = fit_curves(table, by="curve", response="y", options=FitOptions(interval="none"))
    assert (curves["p_lack_of_fit"] < 1e-3).mean() > 0.3                     # proven, and too small to matter
    assert curves["reason"].str.contains("does not go through").mean() < 0.02


def test_replicates_that_are_off_together_count_as_one_in_every_limit() -> None:
    rng = np.random.default_rng(1)
    effect = 100 - killing(10.0)(DOSE)
    shared = effect + 4 * rng.standard_normal((300, 8))
    y = np.repeat(shared, 3, axis=1) + 2 * rng.standard_normal((300, 24))
    table = pd.DataFrame({"curve": np.repeat(np.arange(300), 24), "dose": np.tile(np.repeat(DOSE, 3), 300), "y": y.ravel()})
    curves = score_limits(score_curves(fit_curves(table, by="curve", response="y")))
    held = (curves["ic50_low"].fillna(0) <= 10) & (curves["ic50_high"].fillna(np.inf) >= 10)
    true = float(score_curves(fit_curves(table[:24].assign(y=np.repeat(effect, 3)), by="curve", response="y"))["dss_asym"].iloc[0])
    assert held.mean() > 0.9                                                 # 0.7 if each well were one by itself
    assert ((curves["dss_asym_low"] <= true) & (true <= curves["dss_asym_high"])).mean() > 0.8       # 0.6


def test_an_effect_that_stands_still_at_60_percent_has_no_sure_ic50() -> None:
    def two_phases(dose: np.ndarray) -> np.ndarray:
        return 100 - 60 / (1 + (2.0 / dose) ** 2) - 40 / (1 + (160 / dose) ** 2)    # 50 % at 4.5 nM

    scored = told(score(plate({"two": two_phases, "right": killing(10.0)})))
    assert scored.loc["two", "status"] == "weakly_identified"
    assert "means of the doses cross the IC level elsewhere" in scored.loc["two", "reason"]
    assert scored.loc["two", "ic50_low"] < 4.5 < scored.loc["two", "ic50_high"]
    assert (scored.loc["two", "verdict"], scored.loc["right", "status"]) == ("hit", "ok")       # the area is not in doubt


@pytest.mark.parametrize("scale", ["fraction_viability", "raw"])
def test_a_misfit_is_one_on_every_scale(scale: str) -> None:
    y = np.repeat(bell(DOSE), 2) + np.random.default_rng(2).normal(0, 3, 16)
    response = y / 100 if scale == "fraction_viability" else 40 * y
    (curve,) = fit_curves(pd.DataFrame({"curve": 1, "dose": np.repeat(DOSE, 2), "y": response}), by="curve", response="y",
                          scale=scale).to_dict("records")
    assert (curve["status"], "does not go through" in curve["reason"]) == ("weakly_identified", True)


def test_one_dead_well_at_the_top_dose_is_no_ic50() -> None:
    table = plate({"dust": constant(100.0), "real": killing(10.0)}, replicates=1)
    table.loc[table["treatment"].eq("dust") & table["dose"].gt(900), "readout"] = 1000.0
    scored = told(score(table))
    assert scored.loc["dust", "status"] == "weakly_identified"
    assert "is in a single well: repeat that dose" in scored.loc["dust", "reason"]
    assert scored.loc["dust", "IC50"].startswith("≈")
    assert scored.loc["real", "status"] == "ok"


def test_a_plateau_at_the_level_makes_no_sure_ic50() -> None:
    """A cytostatic drug that stops at half: its EC50 is well determined, where it crosses 50 % is not."""
    partial = {f"stops at {stop}": (lambda dose, stop=stop: stop + (100 - stop) / (1 + dose / 1.0)) for stop in (47.0, 49.0, 50.0, 51.0)}
    curves = told(score(plate(partial)))
    crossing = curves[curves["ic50_relation"] == "="]
    unbounded = crossing[crossing["ic50_high"].isna()]
    assert len(unbounded)
    assert unbounded["status"].eq("weakly_identified").all()
    assert unbounded["reason"].str.contains("the interval of IC50 is open").all()
    assert unbounded["IC50"].str.startswith("≈").all()


def test_a_flat_curve_is_told_without_parameters_that_mean_nothing_in_it() -> None:
    curves = told(score(plate({f"{level:.0f}": constant(level) for level in (2.0, 4.0, 97.0, 99.0, 101.0)})))
    flat = curves[curves["status"] == "flat"]
    assert len(flat) >= 4
    assert not flat["reason"].str.contains("bound|EC50|weakly").any()
    assert flat["reason"].str.startswith("no dependence on dose beyond noise; the effect").all()


def test_wells_that_read_far_above_the_controls_have_no_ic50_beyond_the_doses() -> None:
    scored = told(score(plate({"glows": constant(170.0), "grows": lambda dose: 100 + 70 * dose / (10 + dose), "right": killing(10.0)})))
    for name in ("glows", "grows"):
        assert "wells read 150 % of the negative controls or more" in scored.loc[name, "reason"]
        assert (scored.loc[name, "verdict"], scored.loc[name, "IC50"]) == ("cannot say", "cannot say")
    assert scored.loc["right", "verdict"] == "hit"


@pytest.fixture(scope="module")
def strayed() -> ScoredScreen:
    table = plate({"dragged": killing(10.0), "right": killing(10.0)})
    table.loc[table.index[table["treatment"] == "dragged"][8], "readout"] = 1000 + 50 * 105.0     # lives at 19 nM
    return score(table)


def test_a_well_that_drags_its_curve_is_named_with_what_is_without_it(strayed: ScoredScreen) -> None:
    curves = told(strayed)
    curve = curves.loc["dragged"]
    assert (curve["n_outliers"], curve["status"], curves.loc["right", "n_outliers"], curves.loc["right", "status"]) == (
        1, "weakly_identified", 0, "ok")
    assert "of plate P1 (19.3 nM) lies " in curve["reason"]
    (finding,) = [one for one in strayed.findings if one.rule == "stray_well"]
    well = strayed.wells.loc[strayed.wells["treatment"] == "dragged", "well"].iloc[8]
    assert (finding.plate, finding.well, finding.value) == ("P1", well, "dragged")
    assert "points of inhibition below the curve of the others" in finding.message
    without = refit_wells(strayed.wells, screen=SCREEN, exclusions=[Exclusion(plate="P1", well=well, reason="bubble")], fit=FitOptions())
    again = without.curves.set_index("treatment").loc["dragged"]
    assert (again["status"], again["n_outliers"]) == ("ok", 0)
    assert f"without it IC50 {dose_words(again['ic50'], 'nM')}" in curve["reason"]
    assert curve["ic50_low"] <= again["ic50"] <= curve["ic50_high"]
    earlier = refit_wells(strayed.wells, screen=SCREEN, exclusions=(), fit=FitOptions(ic_level=30.0)).curves.set_index("treatment")
    assert "without it IC30 " in earlier.loc["dragged", "reason"]
    assert not [one for one in without.findings if one.rule == "stray_well"]


def test_stray_wells_are_found_and_sound_ones_left_in_peace() -> None:
    rng = np.random.default_rng(6)
    effect = 100 - killing(10.0)(np.repeat(DOSE, 2))
    sound = effect + 5 * rng.standard_normal((300, 16))
    wild = sound[:60].copy()
    wild[np.arange(60), rng.integers(0, 16, 60)] += 60 * rng.choice([-1, 1], 60)
    for responses, most, least in ((sound, 0.03, 0.0), (wild, 1.0, 0.9)):
        count = len(responses)
        table = pd.DataFrame({"treatment": [f"t{index}" for index in np.repeat(np.arange(count), 16)], "plate": "P1", "dose_unit": "nM",
                              "well": np.tile([f"A{number:02d}" for number in range(1, 17)], count),
                              "dose": np.tile(np.repeat(DOSE, 2), count), "response": responses.ravel()})
        bare = FitOptions(interval="none")
        curves = score_curves(fit_curves(table, by=["treatment"], response="response", options=bare))
        found = len(stray_wells(curves, table, bare)) / count
        assert least <= found <= most
        assert stray_wells(curves, table, FitOptions(loss="tukey")) == []


def test_doses_in_words() -> None:
    assert [dose_words(value, "nM") for value in (1000.0, 0.3728, 12345.6, 2e-5)] == ["1000 nM", "0.373 nM", "12300 nM", "2e-05 nM"]


def test_negative_controls_about_zero_are_no_100_percent() -> None:
    """A table of inhibition, without positive controls: its reading as viability gave IC50s and scores of 64."""
    table = plate({"drug": killing(10.0), "other": killing(100.0)})
    table = table[table["role"] != "positive"].assign(readout=lambda own: 6000 - own["readout"])
    scored = score_measured(table, screen=Screen.from_dict({"name": "s", "sample": "X", "controls": "negative"}))
    assert scored.curves["status"].eq("failed").all()
    assert scored.curves[["ic50", "dss_asym"]].isna().all(axis=None)
    assert [finding.rule for finding in scored.findings if "about zero" in finding.message] == ["controls_overlap"]
