"""Scoring: every well comes back, what is doubtful is said, and what a person leaves out stays visible on the same scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.dose_response import FitOptions, call_hits
from models.errors import TableError
from models.report import render_text
from models.report.inputs import wells_by_curve
from models.scoring import SCORED, Exclusion, ScoringOptions, score_measured
from models.tables import CURVES, WELL_SCORES, check_table
from tests.conftest import CONTROLS, tiny_images, tiny_layout
from tests.models.oracle import SCREEN, reader, rules, score, with_failed_positives


def test_viability_and_curve_are_those_of_the_read_out() -> None:
    layout = tiny_layout()
    scored = score(layout)
    wells = scored.wells
    assert wells[["plate", "well"]].equals(layout[["plate", "well"]])
    np.testing.assert_allclose(wells["viability"], (layout["readout"] - 0.1) / 1.4, atol=2e-3)
    np.testing.assert_allclose(wells["od"], layout["readout"], atol=2e-3)
    assert set(wells["model"] + "/" + wells["version"]) == {"viability-X/7"}
    assert wells["flags"].map(len).eq(0).all()
    (curve,) = scored.curves.to_dict("records")
    assert (curve["treatment"], curve["status"], curve["ic50_relation"], curve["n"]) == ("drug", "ok", "=", 32)
    assert curve["ic50"] == pytest.approx(3e3, rel=0.02)
    assert curve["dss_asym"] > 10
    assert rules(scored) == []
    check_table(wells, WELL_SCORES, keys=("plate", "well"))
    check_table(scored.curves, CURVES)
    assert scored.quality["z_prime"].tolist() == pytest.approx([1.0], abs=0.05)


def test_what_a_layout_says_in_columns_of_results_is_not_believed() -> None:
    layout = tiny_layout()
    own = layout.assign(**dict.fromkeys([*SCORED, "debris", "response", "weight", "feature_distance"], 7.0))
    for scored in (lambda table: score(table), lambda table: score_measured(table, screen=SCREEN)):
        plain, claimed = scored(layout), scored(own)
        pd.testing.assert_frame_equal(claimed.wells[plain.wells.columns], plain.wells)
        pd.testing.assert_frame_equal(claimed.curves, plain.curves)


def test_a_classifier_gives_probability_and_logit() -> None:
    wells = score(predictor=reader(CONTROLS)).wells
    np.testing.assert_allclose(wells["logit"], 4 * (tiny_layout()["readout"] - 0.8), atol=0.02)
    np.testing.assert_allclose(wells["probability"], 1 / (1 + np.exp(-wells["logit"])))
    assert wells["od"].isna().all()
    assert wells.groupby("role")["viability"].median()[["negative", "positive"]].tolist() == pytest.approx([1, 0])


def test_a_model_that_learned_from_nothing_between_two_levels_says_so() -> None:
    def said(gap: float) -> list[str]:
        learned = {"level_gap": gap, "level_gap_low": 0.44, "level_gap_high": 1.01}
        return [finding.message for finding in score(predictor=reader(metrics=learned)).findings if finding.rule == "level_gap"]
    assert said(0.2) == []
    assert "between 0.44 and 1.01 (39% of its range)" in said(0.39)[0]


def test_a_well_without_an_image_is_kept_and_flagged() -> None:
    layout = tiny_layout()
    lost = layout.index[layout["role"] == "treated"][:2]
    scored = score(layout, tiny_images(layout.drop(lost), noise=0))
    assert len(scored.wells) == len(layout)
    assert scored.wells.loc[lost, "flags"].tolist() == [["no_image"]] * 2
    assert scored.wells.loc[lost, ["od", "viability"]].isna().all(axis=None)
    assert scored.wells.drop(lost)["viability"].notna().all()
    assert scored.curves["n"].tolist() == [30]
    assert sorted(finding.well for finding in scored.findings if finding.rule == "no_image") == sorted(layout.loc[lost, "well"])


def test_rows_out_are_rows_in_in_their_order_whatever_the_images_order() -> None:
    layout = tiny_layout()
    shuffled = layout.sample(frac=1, random_state=3)
    images = tiny_images(layout, noise=0)
    scored = score(shuffled, images.take(np.random.default_rng(0).permutation(len(images))))
    assert scored.wells["well"].tolist() == shuffled["well"].tolist()
    np.testing.assert_allclose(scored.wells["od"], shuffled["readout"], atol=2e-3)


def test_a_well_is_the_median_of_its_sites() -> None:
    layout = tiny_layout()
    images = tiny_images(layout, sites=3, noise=0)
    images.pixels[1::3] = 1.0  # one site of each well is dust
    np.testing.assert_allclose(score(layout, images).wells["od"], layout["readout"], atol=2e-3)


def test_controls_that_read_the_same_are_why_there_is_no_curve() -> None:
    scored = score_measured(tiny_layout().assign(readout=1.0), screen=SCREEN)
    assert scored.curves["reason"].tolist() == ["negative and positive controls of plate P1 read the same"] * len(scored.curves)


def with_partner(layout: pd.DataFrame, *, alone: bool) -> pd.DataFrame:
    """The treated wells again on plate P2, with a second treatment that kills half of what the first leaves."""
    both = layout.assign(plate="P2", treatment_2=np.where(layout["role"] == "treated", "gamma", ""),
                         dose_2=np.where(layout["role"] == "treated", 50.0, np.nan),
                         readout=layout["readout"].where(layout["role"] != "treated", 0.5 * layout["readout"]))
    plain = layout.assign(treatment_2="", dose_2=np.nan)
    return pd.concat([plain, both], ignore_index=True) if alone else both


def test_a_curve_is_made_of_wells_that_hold_the_treatment_alone() -> None:
    layout = tiny_layout()
    pure, mixed = (score_measured(table, screen=SCREEN) for table in (layout, with_partner(layout, alone=True)))
    pd.testing.assert_frame_equal(mixed.curves, pure.curves)
    assert mixed.wells["viability"].notna().all()
    (told,) = (finding for finding in mixed.findings if finding.rule == "combination_curves")
    assert "take no part in the curve of" in told.message
    assert len(wells_by_curve(mixed.curves, mixed.wells)[0]) == len(wells_by_curve(pure.curves, pure.wells)[0])


def test_a_treatment_in_combinations_only_has_no_curve_and_the_reason() -> None:
    scored = score_measured(with_partner(tiny_layout(), alone=False), screen=SCREEN)
    assert scored.curves["ic50"].isna().all()
    assert set(scored.curves["reason"]) == {"all its wells hold gamma too; a combination has no curve of its own"}


def test_each_plate_has_its_own_scale() -> None:
    one, two = tiny_layout(plate="P1"), tiny_layout(plate="P2")
    two["readout"] = 0.5 * two["readout"] + 0.2
    both = pd.concat([one, two], ignore_index=True)
    viability = score(both).wells["viability"].to_numpy()
    np.testing.assert_allclose(viability[:len(one)], viability[len(one):], atol=4e-3)


def test_negative_controls_alone_scale_to_zero_read_out() -> None:
    layout = tiny_layout()
    layout = layout[layout["role"] != "positive"].reset_index(drop=True)
    wells = score(layout, screen=replace(SCREEN, controls="negative")).wells
    np.testing.assert_allclose(wells["viability"], layout["readout"] / 1.5, atol=2e-3)
    chosen = (Exclusion(plate="P1", well=layout["well"].iloc[20], reason="x"),)
    again = score(layout, screen=replace(SCREEN, controls="negative"), exclusions=chosen).wells
    np.testing.assert_allclose(again["viability"], wells["viability"])


def test_without_controls_the_read_out_itself_is_fitted() -> None:
    scored = score(screen=replace(SCREEN, controls="none"))
    assert scored.wells["viability"].isna().all()
    (curve,) = scored.curves.to_dict("records")
    assert (curve["scale"], curve["direction"]) == ("raw", "falling")
    assert curve["ec50"] == pytest.approx(3e3, rel=0.02)
    assert np.isnan(curve["ic50"])


def test_wells_that_get_one_output_are_said_where_their_images_differ() -> None:
    layout = tiny_layout()
    assert "saturated_output" not in {finding.rule for finding in score(images=tiny_images(layout, noise=0.01)).findings}
    assert "saturated_output" in {finding.rule for finding in score(images=tiny_images(layout, noise=0)).findings}


def test_outputs_beyond_the_training_range_are_flagged() -> None:
    layout = tiny_layout()
    layout.loc[[0, 30], "readout"] = [1.95, 0.0]
    scored = score(layout, predictor=reader(thresholds={"raw_low": 0.05, "raw_high": 1.8}))
    assert scored.wells.index[scored.wells["flags"].map(lambda flags: "out_of_distribution" in flags)].tolist() == [0, 30]
    assert rules(scored) == ["out_of_distribution"] * 2
    assert scored.findings[-1].rule == "interval_scope"     # what holds of every plate comes after what is wrong with this one
    probability = score(layout, predictor=reader(CONTROLS, thresholds={"raw_low": 0.05, "raw_high": 0.97})).wells
    expected = (probability["probability"] < 0.05) | (probability["probability"] > 0.97)
    assert probability["flags"].map(lambda flags: "out_of_distribution" in flags).equals(expected)
    assert expected.any()
    assert scored.curves["status"].eq("ok").any()
    strange = score(layout, predictor=reader(thresholds={"raw_low": 0.05, "raw_high": 0.06})).curves
    assert not strange["status"].eq("ok").any()
    assert strange["reason"].str.contains("of the wells of plate P1 read beyond all that the model learned from").all()
    assert call_hits(strange)["hit_reason"].str.startswith("undecided").all()       # neither hits nor misses


def test_wells_that_the_model_learned_from_are_flagged() -> None:
    layout = tiny_layout()
    trained = tuple(("P1", str(well), part) for well, part in zip(layout["well"], ["train", "validation", "test"], strict=False))
    flags = score(layout, predictor=reader(training_wells=trained)).wells["flags"].tolist()
    assert flags[:4] == [["training_well"], ["training_well"], [], []]


def test_extra_columns_stay_and_names_of_the_answer_are_the_models() -> None:
    layout = tiny_layout().assign(batch="b1", od=9.0, probability=0.1, logit=3.0, viability=7.0)
    wells = score(layout).wells
    assert (wells["batch"] == "b1").all()
    np.testing.assert_allclose(wells["od"], layout["readout"], atol=2e-3)
    assert wells[["probability", "logit"]].isna().all(axis=None)
    assert wells["viability"].max() < 1.1


def test_a_layout_that_breaks_its_contract_is_refused() -> None:
    with pytest.raises(TableError, match="more than once"):
        score(pd.concat([tiny_layout()] * 2, ignore_index=True))
    with pytest.raises(TableError, match="Layout has no column 'replicate'"):
        score(tiny_layout().drop(columns="replicate"))


def test_a_plate_of_controls_has_no_curves_but_their_columns() -> None:
    layout = tiny_layout()
    scored = score(layout[layout["role"] != "treated"].reset_index(drop=True))
    assert scored.curves.empty
    assert {"treatment", *CURVES.names(required_only=True)} <= set(scored.curves.columns)
    assert len(scored.wells) == 24


def test_measured_read_outs_take_the_same_road() -> None:
    layout = tiny_layout()
    measured, predicted = score_measured(layout, screen=SCREEN, options=ScoringOptions(fit=FitOptions(interval="none"))), score(layout)
    np.testing.assert_allclose(measured.wells["viability"], predicted.wells["viability"], atol=2e-3)
    assert measured.curves["ic50"].iloc[0] == pytest.approx(predicted.curves["ic50"].iloc[0], rel=0.01)
    assert measured.quality["z_prime"].tolist() == pytest.approx([1.0], abs=0.05)
    check_table(measured.wells, WELL_SCORES, keys=("plate", "well"))


def test_a_well_without_a_read_out_is_kept_and_flagged() -> None:
    layout = tiny_layout()
    lost = layout.index[layout["role"] == "treated"][0]
    layout.loc[lost, "readout"] = np.nan
    scored = score_measured(layout, screen=SCREEN)
    assert scored.wells.loc[lost, "flags"] == ["no_readout"]
    assert rules(scored) == ["no_readout"]
    assert scored.curves["n"].tolist() == [31]


def test_where_controls_overlap_no_table_holds_an_ic50_or_a_score() -> None:
    layout = with_failed_positives(tiny_layout(), left_alive=8)
    scored = score_measured(layout, screen=SCREEN, options=ScoringOptions(fit=FitOptions(interval="none")))
    assert scored.quality["z_prime"].iloc[0] < 0
    curve = scored.curves.iloc[0]
    assert (curve["status"], curve["ic50_relation"], curve["ec50_relation"]) == ("failed", "", "")
    assert curve["reason"].startswith("controls of plate P1 overlap (Z' -")
    assert scored.curves[["ic50", "ec50", "auc", "dss1", "dss_asym", "ic50_low"]].isna().all(axis=None)
    assert rules(scored) == ["controls_overlap"]
    assert scored.findings[0].plate == "P1"
    assert "cannot say: controls overlap" in render_text(scored, screen=SCREEN)
    check_table(scored.curves, CURVES)


def test_viability_that_rests_on_negative_controls_alone_suffers_from_no_positive_one() -> None:
    layout = with_failed_positives(tiny_layout(), left_alive=8)
    scored = score_measured(layout, screen=replace(SCREEN, controls="negative"), options=ScoringOptions(fit=FitOptions(interval="none")))
    assert scored.curves["status"].tolist() == ["ok"]
    assert "cannot say" not in render_text(scored, screen=replace(SCREEN, controls="negative"))


def test_a_table_without_read_outs_says_what_it_has() -> None:
    with pytest.raises(TableError, match="columns found: plate, well"):
        score_measured(tiny_layout().drop(columns="readout"), screen=SCREEN)


def test_measured_without_controls_is_fitted_as_it_is() -> None:
    curves = score_measured(tiny_layout(), screen=replace(SCREEN, controls="none")).curves
    assert (curves["scale"].iloc[0], curves["ec50"].iloc[0]) == ("raw", pytest.approx(3e3, rel=0.02))
