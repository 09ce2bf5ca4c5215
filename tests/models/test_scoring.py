"""Scoring: every well comes back, what is doubtful is said, and what a person leaves out stays visible on the same scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter

from models.dose_response import FitOptions, call_hits
from models.errors import InputError, SampleMismatch, TableError
from models.networks.bundle import Card, TrunkReference
from models.networks.drift import Reference
from models.networks.heads import build_network
from models.networks.predict import Predictor, output_columns
from models.networks.recipe import Recipe
from models.networks.structure import structure_of
from models.plates.images import WellImages
from models.plates.screen import Screen
from models.report import render_text, treatment_table
from models.report.inputs import wells_by_curve
from models.scoring import SCORED, Exclusion, ScoredScreen, ScoringOptions, refit_wells, score_images, score_measured
from models.suitability import same_sample
from models.tables import CURVES, WELL_SCORES, check_table
from tests.conftest import CONTROLS, READOUT, tiny_images, tiny_layout

SCREEN = Screen.from_dict({"name": "s", "sample": "X", "magnification": 10.0, "pixel_size_um": 1.3})


class Reader(Predictor):
    """Reads the brightness of an image as OD, or the OD as a logit of life: an oracle instead of a network."""

    def predict(self, images: WellImages, *, on_images: Callable[[int], object] = lambda count: None) -> pd.DataFrame:
        level = 2 * images.pixels.astype(np.float32).mean(axis=(1, 2, 3))
        regression = self.card.recipe.is_regression
        return images.wells.assign(**output_columns((level if regression else 4 * (level - 0.8))[:, None], regression=regression),
                                   feature_distance=1.0)


def reader(recipe: Recipe = READOUT, **changes: object) -> Reader:
    values: dict[str, object] = {"name": "viability-X", "system": recipe.system, "recipe": recipe, "output": "", "sample": "X",
                                 "acquisition": {"magnification": 10.0, "pixel_size_um": 1.3, "bit_depth": None}, "weights_sha256": "",
                                 "trunk": TrunkReference(name="small_cnn", weights="none", sha256="")}
    return Reader(build_network(recipe), Card(**{**values, **changes}), "f" * 64, torch.device("cpu"))


def score(layout: pd.DataFrame | None = None, images: WellImages | None = None, *, screen: Screen = SCREEN,
          predictor: Predictor | None = None, **options: object) -> ScoredScreen:
    layout = tiny_layout() if layout is None else layout
    return score_images(tiny_images(layout, noise=0) if images is None else images, layout, screen=screen,
                        predictor=predictor or reader(), model="viability-X", version="7",
                        options=ScoringOptions(fit=FitOptions(interval="none"), **options))


def rules(scored: ScoredScreen) -> list[str]:
    """Findings about data; what a kind of model can say at all stands in every answer, and images without noise are all alike."""
    return [finding.rule for finding in scored.findings
            if not finding.rule.endswith("_scope") and finding.rule not in ("effect_scale", "saturated_output")]


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


def test_another_sample_is_refused_unless_forced() -> None:
    other = replace(SCREEN, sample="Y")
    with pytest.raises(SampleMismatch, match="model viability-X is for X, not Y") as caught:
        score(screen=other)
    assert [(finding.rule, finding.severity, finding.value) for finding in caught.value.findings] == [("sample_mismatch", "error", "Y")]
    pd.testing.assert_frame_equal(score(screen=replace(SCREEN, sample=" x")).wells, score().wells)     # another way to write X
    assert same_sample("NCI-H1975  a", "nci-h1975 A")
    assert not same_sample("A549", "A 549")
    forced = score(screen=other, force=True)
    assert (forced.findings[0].rule, forced.findings[0].severity) == ("sample_mismatch", "warning")
    pd.testing.assert_frame_equal(forced.wells, score().wells)


def test_another_acquisition_is_a_warning() -> None:
    scored = score(screen=replace(SCREEN, magnification=20.0, bit_depth=16))
    assert [(finding.rule, finding.column, finding.value) for finding in scored.findings if finding.rule == "acquisition_mismatch"] == [
        ("acquisition_mismatch", "magnification", "20")]  # the card does not know a bit depth
    assert rules(score(screen=replace(SCREEN, magnification=None))) == ["acquisition_unknown"]


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


def test_excluding_what_is_not_there_is_refused() -> None:
    for plate, well in (("P2", "A01"), ("P1", "H99")):
        with pytest.raises(InputError, match=f"cannot exclude well {well} of plate {plate}") as caught:
            score(exclusions=(Exclusion(plate=plate, well=well, reason="x"),))
        assert caught.value.findings[0].rule == "exclusion_unknown"
    wells = score(exclusions=(Exclusion(plate="P1", well="a1", reason="x"),)).wells      # as pipelines.exclude and layouts take it
    assert wells.loc[wells["exclusion_reason"] == "x", "well"].tolist() == ["A01"]


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


def test_a_control_that_is_left_out_when_the_model_has_learned_from_it_is_told() -> None:
    layout = tiny_layout()
    controls = layout.loc[layout["role"] == "negative", "well"].tolist()
    scored = score(layout, predictor=reader(training_wells=tuple(("P1", well, "train") for well in controls[:2])))
    assert "taught_left_out" not in rules(scored)
    gone = [Exclusion(plate="P1", well=well, reason="bubble") for well in controls[1:3]]    # the second it learned from, not the third
    (finding,) = refit_wells(scored.wells, screen=SCREEN, exclusions=gone, fit=FitOptions(interval="none")).findings
    assert (finding.rule, finding.plate, finding.well) == ("taught_left_out", "P1", controls[1])


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


def with_failed_positives(layout: pd.DataFrame, *, left_alive: int) -> pd.DataFrame:
    """The layout, with read-outs of living cells in so many of its positive controls."""
    failed = layout.index[layout["role"] == "positive"][:left_alive]
    living = layout.loc[layout["role"] == "negative", "readout"].to_numpy()
    return layout.assign(readout=layout["readout"].mask(layout.index.isin(failed), pd.Series(living[:len(failed)] - 0.01, index=failed)))


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


def textured(layout: pd.DataFrame, *, period: float, seed: int) -> WellImages:
    """Images (48 px) with structures of so many pixels around their brightness."""
    found = tiny_images(layout, size=48, noise=0)
    noise = np.random.default_rng(seed).normal(size=(len(found), 1, 48, 48))
    smooth = gaussian_filter(noise, (0, 0, period, period)) - gaussian_filter(noise, (0, 0, 2 * period, 2 * period))
    texture = 0.02 * smooth / smooth.std(axis=(2, 3), keepdims=True)
    return WellImages(found.wells, (found.pixels + texture - texture.mean(axis=(2, 3), keepdims=True)).astype(np.float32), found.channels)


def test_a_plate_at_another_magnification_has_no_sure_curve() -> None:
    layout = tiny_layout()
    own = structure_of(pixels[0] for pixels in textured(layout, period=2.0, seed=1).pixels)
    reference = Reference(value="od", negative=1.5, positive=0.1, gap=1.4, z_prime=0.8, wells=12, feature_mean=(), feature_whitening=(),
                          structure=own)
    alike, half = (score(layout, textured(layout, period=period, seed=2), predictor=reader(reference=reference)) for period in (2.0, 1.0))
    assert rules(alike) == []
    assert alike.curves["status"].tolist() == ["ok"]
    (finding,) = (finding for finding in half.findings if finding.rule == "structure_size")
    assert (finding.severity, finding.plate) == ("warning", "P1")
    assert f"look {half.drift['structure_size'].iloc[0]:.2g} times as large as in training (alike: 0.80 to 1.25)" in finding.message
    assert half.drift["structure_size"].iloc[0] == pytest.approx(0.5, rel=0.15)
    again = refit_wells(half.wells, screen=SCREEN, exclusions=(), fit=FitOptions(interval="none"), drift=half.drift)
    for curves in (half.curves, again.curves):      # a person who leaves out wells does not make the plate right
        assert curves["status"].tolist() == ["weakly_identified"]
        assert curves["reason"].str.startswith("structures in the negative controls of plate P1 look 0.").all()
        for threshold in (10, 90):                  # neither hits nor misses
            assert call_hits(curves, threshold=threshold)["hit_reason"].str.startswith("undecided").all()
    older = score(layout, textured(layout, period=1.0, seed=2), predictor=reader(reference=replace(reference, structure=None)))
    assert rules(older) == []       # a card that knows no structure compares none


def test_a_model_that_learned_from_the_plate_itself_is_asked_nothing_that_its_parent_knows_better() -> None:
    """Another objective than the parent's, and positive controls that live: the model that was adapted to them finds nothing strange."""
    dead = tiny_layout()
    alive = dead.assign(readout=dead["readout"].clip(lower=0.8))
    reference = Reference(value="od", negative=1.5, positive=0.1, gap=1.4, z_prime=0.8, wells=12, feature_mean=(), feature_whitening=(),
                          structure=structure_of(pixels[0] for pixels in textured(dead, period=2.0, seed=1).pixels))
    parent = reader(name="profile-CE", acquisition={"magnification": 20.0}, reference=reference)

    def adapted(layout: pd.DataFrame, parent: Predictor | None) -> ScoredScreen:
        return score_images(textured(layout, period=1.0, seed=2), layout, screen=SCREEN, predictor=reader(), model="profile-P", version="1",
                            options=ScoringOptions(fit=FitOptions(interval="none")), parent=parent)

    assert rules(adapted(alive, None)) == []
    smaller, scored = adapted(dead, parent), adapted(alive, parent)
    assert rules(smaller) == ["acquisition_mismatch", "structure_size"]
    assert smaller.findings[1].value == "profile-CE"
    assert "profile-P has learned from these controls all the same" in smaller.findings[1].message
    assert smaller.curves["status"].tolist() == ["ok"]
    assert rules(scored) == ["acquisition_mismatch", "drift", "structure_size"]
    again = refit_wells(scored.wells, screen=SCREEN, exclusions=(), fit=FitOptions(interval="none"), drift=scored.drift)
    for curves in (scored.curves, again.curves):
        assert curves["status"].tolist() == ["weakly_identified"]
        assert curves["reason"].str.startswith("the positive controls of plate P1 look 50% alive to profile-CE: what 0 % is").all()
        assert not call_hits(curves)["hit"].any()


def test_leaving_out_the_controls_that_went_wrong_brings_the_numbers_back() -> None:
    layout, fit = with_failed_positives(tiny_layout(), left_alive=3), FitOptions(interval="none")
    spoiled = score_measured(layout, screen=SCREEN, options=ScoringOptions(fit=fit))
    assert spoiled.curves["status"].tolist() == ["failed"]
    failed = [Exclusion(plate="P1", well=well, reason="not dosed") for well in layout["well"][layout["role"] == "positive"][:3]]
    mended = refit_wells(spoiled.wells, screen=SCREEN, exclusions=failed, fit=fit)
    assert (mended.curves["status"].tolist(), mended.findings) == (["ok"], ())
    again = refit_wells(mended.wells, screen=SCREEN, exclusions=(), fit=fit)
    assert [finding.rule for finding in again.findings] == ["controls_overlap"]


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
