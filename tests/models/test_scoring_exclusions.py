"""What a person leaves out stays visible on the same scale; without the controls that a number rests on there is none, and why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions
from models.errors import InputError
from models.networks.predict import Predictor
from models.networks.recipe import Recipe
from models.report import render_text, treatment_table
from models.scoring import Exclusion, ScoringOptions, refit_wells, score_measured
from tests.conftest import CONTROLS, READOUT, tiny_layout
from tests.models.oracle import SCREEN, reader, rules, score, with_failed_positives


def test_what_a_person_excludes_keeps_its_viability_and_changes_nothing_else_but_the_scale() -> None:
    layout = tiny_layout()
    odd = layout.index[layout["role"] == "negative"][:3]
    layout.loc[odd, "readout"] = 0.9  # three bad negative controls of twelve do not move the median, the others do
    layout.loc[layout.index[layout["role"] == "negative"][3:], "readout"] = np.linspace(1.40, 1.56, 9)
    chosen = tuple(Exclusion(plate="P1", well=str(well), reason="bubble") for well in layout.loc[odd, "well"])
    plain, scored = score(layout).wells, score(layout, exclusions=chosen)
    wells = scored.wells
    assert wells["excluded"].tolist() == layout.index.isin(odd).tolist()
    assert wells.loc[odd, "exclusion_reason"].tolist() == ["bubble"] * 3
    negative, positive = layout["readout"][(layout["role"] == "negative") & ~layout.index.isin(odd)].median(), 0.1
    np.testing.assert_allclose(wells["viability"], (layout["readout"] - positive) / (negative - positive), atol=3e-3)
    assert not np.allclose(wells["viability"], plain["viability"], atol=5e-3)
    assert scored.quality["n_negative"].tolist() == [9]


def test_an_excluded_dose_is_not_in_the_curve() -> None:
    layout = tiny_layout()
    outlier = layout.index[(layout["role"] == "treated") & (layout["replicate"] == 1)][2]
    layout.loc[outlier, "readout"] = 0.1
    good = score(tiny_layout()).curves["ic50"].iloc[0]
    spoilt = score(layout).curves["ic50"].iloc[0]
    mended = score(layout, exclusions=(Exclusion(plate="P1", well=layout.at[outlier, "well"], reason="dry"),)).curves
    assert mended["n"].tolist() == [31]
    assert abs(np.log10(mended["ic50"].iloc[0] / good)) < 0.01 < abs(np.log10(spoilt / good))
    told = score(layout.assign(excluded=layout.index == outlier, exclusion_reason="by layout"))
    assert told.curves["ic50"].iloc[0] == pytest.approx(mended["ic50"].iloc[0])
    assert told.wells.loc[outlier, "exclusion_reason"] == "by layout"


def test_a_plate_without_a_control_left_has_a_row_of_quality_that_says_why() -> None:
    both = pd.concat([tiny_layout(plate="P1"), tiny_layout(plate="P2")], ignore_index=True)
    controls = both[(both["plate"] == "P2") & both["role"].isin(["negative", "positive"])]
    scored = score(both, exclusions=tuple(Exclusion(plate="P2", well=str(well), reason="dry") for well in controls["well"]))
    assert scored.quality["plate"].tolist() == ["P1", "P2"]
    assert scored.quality["reason"].iloc[1] == (
        "0 negative control wells (12 left out): at least 2 are needed; 0 positive control wells (12 left out): at least 2 are needed")
    assert scored.wells.loc[scored.wells["plate"] == "P2", "viability"].isna().all()
    everything = score(both, exclusions=tuple(Exclusion(plate="P2", well=str(well), reason="dry") for well in both["well"].unique()))
    assert everything.quality["plate"].tolist() == ["P1", "P2"]


@pytest.mark.parametrize("recipe", [READOUT, CONTROLS], ids=["readout", "controls"])
@pytest.mark.parametrize(("roles", "said"), [
    (("negative", "positive"), "no negative and no positive control is left on plate P1"),
    (("positive",), "no positive control is left on plate P1")])
def test_curves_without_a_control_left_say_so(roles: tuple[str, ...], said: str, recipe: Recipe) -> None:
    layout = tiny_layout()
    gone = tuple(Exclusion(plate="P1", well=str(well), reason="dry") for well in layout.loc[layout["role"].isin(roles), "well"])
    scored = score(layout, predictor=reader(recipe), exclusions=gone)
    assert scored.curves["reason"].tolist() == [said] * len(scored.curves)
    assert scored.curves["ic50"].isna().all()
    assert scored.wells["viability"].isna().all()       # of the wells left out too: there is no scale to show them on
    table = treatment_table(scored, screen=SCREEN, gates=())
    assert table["IC50"].tolist() == [f"cannot say: {said}"] * len(table)
    assert table["curve"].tolist() == ["no curve"] * len(table)
    assert "too few of its controls are left: 0" in render_text(scored, screen=SCREEN)


def test_excluding_what_is_not_there_is_refused() -> None:
    for plate, well in (("P2", "A01"), ("P1", "H99")):
        with pytest.raises(InputError, match=f"cannot exclude well {well} of plate {plate}") as caught:
            score(exclusions=(Exclusion(plate=plate, well=well, reason="x"),))
        assert caught.value.findings[0].rule == "exclusion_unknown"
    wells = score(exclusions=(Exclusion(plate="P1", well="a1", reason="x"),)).wells      # as pipelines.exclude and layouts take it
    assert wells.loc[wells["exclusion_reason"] == "x", "well"].tolist() == ["A01"]


def test_a_control_that_is_left_out_when_the_model_has_learned_from_it_is_told() -> None:
    layout = tiny_layout()
    controls = layout.loc[layout["role"] == "negative", "well"].tolist()
    scored = score(layout, predictor=reader(training_wells=tuple(("P1", well, "train") for well in controls[:2])))
    assert "taught_left_out" not in rules(scored)
    gone = [Exclusion(plate="P1", well=well, reason="bubble") for well in controls[1:3]]    # the second it learned from, not the third
    (finding,) = refit_wells(scored.wells, screen=SCREEN, exclusions=gone, fit=FitOptions(interval="none")).findings
    assert (finding.rule, finding.plate, finding.well) == ("taught_left_out", "P1", controls[1])


def test_leaving_out_the_controls_that_went_wrong_brings_the_numbers_back() -> None:
    layout, fit = with_failed_positives(tiny_layout(), left_alive=3), FitOptions(interval="none")
    spoiled = score_measured(layout, screen=SCREEN, options=ScoringOptions(fit=fit))
    assert spoiled.curves["status"].tolist() == ["failed"]
    failed = [Exclusion(plate="P1", well=well, reason="not dosed") for well in layout["well"][layout["role"] == "positive"][:3]]
    mended = refit_wells(spoiled.wells, screen=SCREEN, exclusions=failed, fit=fit)
    assert (mended.curves["status"].tolist(), mended.findings) == (["ok"], ())
    again = refit_wells(mended.wells, screen=SCREEN, exclusions=(), fit=fit)
    assert [finding.rule for finding in again.findings] == ["controls_overlap"]


@pytest.mark.parametrize("predictor", [reader(), reader(CONTROLS)], ids=["od", "probability"])
def test_refitting_equals_scoring_with_those_wells_left_out(predictor: Predictor) -> None:
    layout = tiny_layout()
    out = [Exclusion(plate="P1", well=layout["well"][index], reason="bubble") for index in (3, 30)]
    fit = FitOptions(interval="none")
    base, wanted = score(layout, predictor=predictor, exclusions=(out[0],)), score(layout, predictor=predictor, exclusions=tuple(out))
    again = refit_wells(base.wells, screen=SCREEN, exclusions=out, fit=fit)
    pd.testing.assert_frame_equal(again.wells, wanted.wells)
    pd.testing.assert_frame_equal(again.curves, wanted.curves)
    pd.testing.assert_frame_equal(again.quality, wanted.quality)
    restored = refit_wells(again.wells, screen=SCREEN, exclusions=(), fit=fit)
    pd.testing.assert_frame_equal(restored.curves, score(layout, predictor=predictor).curves)
