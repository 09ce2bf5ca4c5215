"""The stage `compare`: every model on every screen that it can read, its own screen only by wells it did not learn from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from scipy.special import expit

from models.networks.bundle import Parent
from models.networks.evaluate import control_metrics, regression_metrics
from models.networks.heads import build_network
from models.networks.predict import Predictor
from models.plates.images import WellImages
from models.plates.quality import QualityLimits
from pipelines import compare
from pipelines.cross_validation import fold_table, over_folds
from pipelines.prepared import sound_wells
from tests.pipelines.chain import predictor_of, prepared_screen


@pytest.fixture(scope="module")
def matrix(chain: Path) -> pd.DataFrame:
    return pd.read_csv(chain / "artifacts" / "compare" / "matrix.csv")


def predictions(chain: Path, model: str) -> pd.DataFrame:
    return pd.read_parquet(chain / "artifacts" / "trained" / model / "predictions.parquet")


def test_every_pair_that_can_be_read_is_there(matrix: pd.DataFrame) -> None:
    pairs = {(row.model, row.screen): row.relation for row in matrix.itertuples()}
    assert pairs == {("viability-A549", "a549"): "autologous", ("viability-A549", "hek293"): "allogenic",
                     ("viability-HEK293", "a549"): "parent", ("viability-HEK293", "hek293"): "autologous",
                     ("profile-PAT_1", "patient-1"): "autologous"}


def test_another_screen_of_the_same_sample_is_neither_its_own_nor_anothers(chain: Path) -> None:
    """Else a model that holds on next month's plate of its line lifts the allogenic mean."""
    data = prepared_screen(chain, "hek293")
    later = replace(data, screen=replace(data.screen, name="a549-later", sample=" a549 "))
    found = compare.run({"viability-A549": predictor_of(chain, "viability-A549")}, {"a549-later": later, "hek293": data}, {})
    assert found.matrix["relation"].tolist() == ["same_sample", "allogenic"]


def test_a_screen_that_a_parent_learnt_from_is_not_counted_as_unknown_to_its_child(chain: Path) -> None:
    """Else the pre-training screen lifts the allogenic mean of all that descend from it."""
    one, data = predictor_of(chain, "viability-A549"), prepared_screen(chain, "hek293")
    line = {"pretrain": ("hek293", None), "middle": ("other", "pretrain"), "child": ("a549", "middle")}
    models = {name: replace(one, card=replace(one.card, lineage={"screen": own}, parent=parent and Parent(name=parent, sha256="")))
              for name, (own, parent) in line.items()}
    found = compare.run(models, {"hek293": data}, {"pretrain": predictions(chain, "viability-HEK293")})
    assert found.matrix.set_index("model")["relation"].to_dict() == {"pretrain": "autologous", "middle": "parent", "child": "parent"}


def test_own_screens_are_judged_by_held_out_wells_only(chain: Path, matrix: pd.DataFrame) -> None:
    found = matrix.set_index(["model", "screen"])
    test = predictions(chain, "viability-A549").query("part == 'test'")
    expected = regression_metrics(test["target"].to_numpy(), test["prediction"].to_numpy())
    assert found.loc[("viability-A549", "a549"), list(expected)].astype(float).to_dict() == pytest.approx(expected, abs=1e-5)
    own = predictions(chain, "viability-HEK293")
    expected = regression_metrics(own["target"].to_numpy(), own["prediction_cv"].to_numpy())
    assert found.loc[("viability-HEK293", "hek293"), list(expected)].astype(float).to_dict() == pytest.approx(expected, abs=1e-5)
    own = predictions(chain, "profile-PAT_1")
    expected = control_metrics(own["target"].to_numpy(), own["prediction_cv"].to_numpy(), own["logit_cv"].to_numpy())
    assert found.loc[("profile-PAT_1", "patient-1"), list(expected)].astype(float).to_dict() == pytest.approx(expected, abs=1e-5)


def test_other_screens_are_judged_by_all_sound_wells(chain: Path, matrix: pd.DataFrame) -> None:
    data, model = prepared_screen(chain, "hek293"), predictor_of(chain, "viability-A549")
    layout = sound_wells(data, model.card.image_quality).layout
    raw = model.predict(data.images).merge(layout[~layout["excluded"]] if "excluded" in layout else layout, on=["plate", "well"])
    expected = regression_metrics(raw["readout"].to_numpy(), raw["od"].to_numpy())
    found = matrix.set_index(["model", "screen"]).loc[("viability-A549", "hek293"), list(expected)]
    assert found.astype(float).to_dict() == pytest.approx(expected, abs=1e-4)


def test_means_stand_beside_the_matrix(chain: Path, matrix: pd.DataFrame) -> None:
    metrics = json.loads((chain / "artifacts" / "compare" / "metrics.json").read_text())
    viability = matrix[matrix["system"] == "viability"]
    for relation, rows in viability.groupby("relation"):
        assert metrics["viability"][f"r2_{relation}"] == pytest.approx(rows["r2"].mean(), abs=1e-4)
    assert "auroc_autologous" in metrics["profile"]
    assert {path.name for path in (chain / "artifacts" / "compare" / "figures").iterdir()} == {
        "viability.png", "profile.png", "predicted_on_measured.png", "pairs_of_wells.png", "midpoints.png"}


def test_dvc_keeps_all_that_is_written(chain: Path) -> None:
    """What is no output stays as another commit's run left it, and cannot be pulled or compared."""
    stage = yaml.safe_load((chain / "dvc.yaml").read_text())["stages"]["compare"]
    listed = {path for part in ("outs", "metrics", "plots") for path in stage[part]}
    assert listed == {f"artifacts/compare/{path.name}" for path in (chain / "artifacts" / "compare").iterdir()}


def test_midpoints_of_replicate_sets_are_tested_pair_by_pair(chain: Path) -> None:
    folder = chain / "artifacts" / "compare"
    sets, tests = pd.read_csv(folder / "midpoints.csv"), pd.read_csv(folder / "midpoint_tests.csv")
    pairs = {("viability-A549", "a549"), ("viability-A549", "hek293"), ("viability-HEK293", "a549"), ("viability-HEK293", "hek293")}
    assert set(zip(tests["model"], tests["screen"], strict=True)) == pairs
    row = tests.set_index(["model", "screen"]).loc[("viability-HEK293", "hek293")]
    own = sets[(sets["model"] == "viability-HEK293") & (sets["screen"] == "hek293")]
    assert len(own) == row["n"] + row["n_without"] == 8
    both = own.dropna(subset=["ec50_measured", "ec50_predicted"])
    assert row["p_paired"] == pytest.approx(stats.ttest_rel(both["ec50_measured"], both["ec50_predicted"]).pvalue, abs=1e-4)
    assert row["p_unpaired"] == pytest.approx(stats.ttest_ind(both["ec50_measured"], both["ec50_predicted"]).pvalue, abs=1e-4)
    assert row["ec50_difference"] == pytest.approx((both["ec50_predicted"] - both["ec50_measured"]).mean(), rel=1e-4)
    assert np.log10(row["ec50_measured"] / 70) == pytest.approx(0, abs=0.25)      # the line's true midpoint, nM


def test_wells_of_two_treatments_and_of_references_take_no_part_in_midpoints(chain: Path) -> None:
    data, name = prepared_screen(chain, "hek293"), "viability-A549"
    plain = data.layout.assign(treatment_2="", dose_2=np.nan)
    some = (plain["role"] == "treated") & (plain["replicate"] == 1)
    mixed = plain.assign(treatment_2=plain["treatment_2"].mask(some, "other"), dose_2=plain["dose_2"].mask(some, 5.0))
    controls = plain.assign(role=plain["role"].mask(some, "reference"))
    all_sets, *fewer = (compare.run({name: predictor_of(chain, name)}, {"hek293": replace(data, layout=layout)}, {}).midpoints
                        for layout in (plain, mixed, controls))
    for sets in fewer:
        assert sets["replicate"].tolist() == all_sets.loc[all_sets["replicate"] != 1, "replicate"].tolist()


def test_folds_of_each_model_stand_side_by_side(chain: Path) -> None:
    folds = pd.read_csv(chain / "artifacts" / "compare" / "folds.csv")
    assert folds.groupby("model")["fold"].apply(list).to_dict() == {"viability-HEK293": [1, 2, 3, 4], "profile-PAT_1": [1, 2, 3, 4]}
    own = predictions(chain, "viability-HEK293")
    third = own[own["fold"] == 2]
    expected = np.corrcoef(third["target"], third["prediction_cv"])[0, 1] ** 2
    row = folds[(folds["model"] == "viability-HEK293") & (folds["fold"] == 3)].iloc[0]
    assert (row["r2"], row["n"], row["trunk"]) == (pytest.approx(expected, abs=1e-5), len(third), "small_cnn")
    table = pd.read_csv(chain / "artifacts" / "compare" / "cross_validation.csv").set_index("model")
    of_line = folds[folds["model"] == "viability-HEK293"]["r2"]
    assert table.loc["viability-HEK293", ["r2_mean", "r2_sd"]].tolist() == pytest.approx([of_line.mean(), of_line.std()], abs=1e-5)
    assert np.isnan(table.loc["profile-PAT_1", "r2_mean"])
    assert 0 <= table.loc["profile-PAT_1", "auroc_mean"] <= 1


def test_models_without_folds_give_no_row() -> None:
    assert over_folds(fold_table({}, {})).empty


def test_a_pair_that_cannot_be_judged_says_why_in_its_row(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was missing from the matrix without a word; means and the other pairs are as without it."""
    data, name = prepared_screen(chain, "hek293"), "viability-A549"
    blank = replace(data, layout=data.layout.drop(columns="readout"))
    found = compare.run({name: predictor_of(chain, name)}, {"blank": blank, "hek293": data}, {})
    alone = compare.run({name: predictor_of(chain, name)}, {"hek293": data}, {})
    assert found.matrix["screen"].tolist() == ["blank", "hek293"]
    why = found.matrix["reason"].tolist()
    assert "readout" in why[0]
    assert why[1] == ""
    pd.testing.assert_frame_equal(found.matrix.iloc[1:].reset_index(drop=True), alone.matrix)
    pd.testing.assert_frame_equal(found.midpoints, alone.midpoints)
    assert compare.write_comparison(found, tmp_path) == compare.write_comparison(alone, tmp_path / "alone")
    assert f"{name} cannot be judged on blank: {why[0]}" in capsys.readouterr().out
    none = compare.run({name: predictor_of(chain, name)}, {"blank": blank}, {})
    assert compare.write_comparison(none, tmp_path / "none") == {}
    assert len(pd.read_csv(tmp_path / "none" / "matrix.csv")) == 1


def test_a_model_without_a_metric_stays_on_the_heat_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that gives all wells the same value has no r2."""
    drawn: list[pd.DataFrame] = []
    monkeypatch.setattr(compare, "heat_map", lambda table, *place, **words: drawn.append(table))
    rows = [("viability", model, screen, "allogenic", r2) for screen, model, r2 in
            (("b", "z", 0.9), ("b", "constant", np.nan), ("a", "z", 0.8), ("a", "y", 0.7))]
    found = compare.run({}, {}, {})
    compare.write_comparison(replace(found, matrix=pd.DataFrame(rows, columns=[*compare.KEY, "r2"]).assign(reason="")), tmp_path)
    assert drawn[0].index.tolist() == ["z", "constant", "y"]
    np.testing.assert_array_equal(drawn[0].to_numpy(), [[0.9, 0.8], [np.nan, np.nan], [np.nan, 0.7]])


@pytest.mark.parametrize("models", [[], ["profile-PAT_1"]])
def test_nothing_to_compare_and_classifiers_alone_are_written(chain: Path, tmp_path: Path, models: list[str]) -> None:
    found = compare.run({name: predictor_of(chain, name) for name in models}, {"patient-1": prepared_screen(chain, "patient-1")},
                        {name: predictions(chain, name) for name in models})
    metrics = compare.write_comparison(found, tmp_path)
    assert pd.read_csv(tmp_path / "midpoint_tests.csv").empty
    assert len(pd.read_csv(tmp_path / "matrix.csv")) == len(models)
    assert set(metrics) == ({"profile"} if models else set())


def test_a_classifier_is_judged_by_its_probabilities_elsewhere_too(chain: Path) -> None:
    found = compare.pair_predictions(predictor_of(chain, "profile-PAT_1"), prepared_screen(chain, "patient-1"), None, compare.Known())
    np.testing.assert_allclose(found["predicted"], expit(found["logit"]))
    assert set(found["target"]) == {0, 1}


def test_a_well_is_the_median_of_its_sites(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = compare.pair_predictions
    pair = {"viability-HEK293": predictor_of(chain, "viability-HEK293")}, {"a549": prepared_screen(chain, "a549")}
    one = compare.run(*pair, {}).wells
    monkeypatch.setattr(compare, "pair_predictions", lambda *words: pd.concat([
        rows.assign(predicted=rows["predicted"] + shift) for rows in [known(*words)] for shift in (0, 1, 5)]))
    pd.testing.assert_frame_equal(compare.run(*pair, {}).wells, one.assign(predicted=one["predicted"] + 1))


def test_models_on_one_trunk_let_it_see_a_screen_once(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 300 models on 300 screens each pair had all images through the network: 90,000 times instead of 300."""
    one, data = predictor_of(chain, "viability-A549"), prepared_screen(chain, "hek293")
    passed: list[int] = []
    features = Predictor.features

    def counted(self: Predictor, images: WellImages) -> Iterator[np.ndarray]:
        passed.append(len(images))
        return features(self, images)
    monkeypatch.setattr(Predictor, "features", counted)
    alone = compare.run({"a": one}, {"hek293": data}, {}).matrix
    seen = list(passed)
    three = compare.run({"a": one, "b": one, "c": one}, {"hek293": data}, {}).matrix
    assert passed == 2 * seen
    pd.testing.assert_frame_equal(three.drop(columns="model"), pd.concat([alone] * 3, ignore_index=True).drop(columns="model"))


def test_models_beside_each_other_are_judged_as_each_is_alone(chain: Path) -> None:
    """They share which wells judge them, and what a trunk saw: only on one screen, with one target, measure of images, or trunk."""
    one, data = predictor_of(chain, "viability-A549"), prepared_screen(chain, "hek293")
    highest = data.layout["dose"] == data.layout["dose"].max()
    data = replace(data, layout=data.layout.assign(role=data.layout["role"].mask(highest, "positive")))
    screens = {"hek293": data, "turned": replace(data, images=replace(data.images, pixels=data.images.pixels[::-1].copy()))}
    recipe = one.card.recipe
    models = {"read-outs": one,
              "classes": replace(one, card=replace(one.card, recipe=replace(recipe, target="control_class"))),
              "stricter": replace(one, card=replace(one.card, image_quality=QualityLimits(focus=1e-6, empty=1e-6, scatter=1.0))),
              "another trunk": replace(one, network=build_network(replace(recipe, seed=99)).eval(), shared=None)}
    together = compare.run(models, screens, {}).matrix
    alone = [compare.run({name: model}, {screen: screens[screen]}, {}).matrix for name, model in models.items() for screen in screens]
    pd.testing.assert_frame_equal(together, pd.concat(alone)[together.columns].reset_index(drop=True))
    judged = [len(compare.pair_predictions(model, data, None, compare.Known())) for model in models.values()]
    assert 0 < judged[1] < judged[2] < judged[0] == judged[3]
    assert together["r2"].dropna().nunique() == 6


def test_means_are_of_each_systems_own_models(tmp_path: Path) -> None:
    rows = [(system, system, screen, "allogenic", auroc, "") for system, screen, auroc in
            (("profile", "a", 0.9), ("profile", "b", 0.7), ("treatment", "a", 0.5), ("treatment", "b", np.nan))]
    found = replace(compare.run({}, {}, {}), matrix=pd.DataFrame(rows, columns=[*compare.KEY, "auroc", "reason"]))
    assert compare.write_comparison(found, tmp_path) == {"profile": {"auroc_allogenic": 0.8}, "treatment": {"auroc_allogenic": 0.5}}
