"""The stage `evaluate`: metrics, midpoints, gates and figures; the finished bundle."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.networks.bundle import HEAD, TRUNK, read_card
from models.networks.recipe import Gate
from models.records import from_record
from pipelines import evaluate
from pipelines.figures import draw_figures, learning_curve
from pipelines.gate_names import possible_metrics
from pipelines.params import Params
from tests.conftest import CONTROLS
from tests.pipelines.lab import content
from validation.thresholds import Thresholds

MODELS = ("viability-A549", "viability-HEK293", "profile-PAT_1")


@pytest.mark.parametrize("model", MODELS)
def test_the_finished_bundle_holds_the_draft_and_its_judgement(chain: Path, model: str) -> None:
    draft, done = chain / "artifacts" / "trained" / model / "bundle", chain / "artifacts" / "models" / model
    assert sorted(path.name for path in done.iterdir()) == sorted(path.name for path in draft.iterdir())
    for name in (HEAD, TRUNK):
        if (draft / name).is_file():
            assert (done / name).read_bytes() == (draft / name).read_bytes()
    card, before = read_card(done), read_card(draft)
    assert (before.gates, dict(before.metrics)) == ((), {})
    recipe = Params.read(chain / "params.yaml").models[model].recipe
    predictions = pd.read_parquet(chain / "artifacts" / "trained" / model / "predictions.parquet")
    expected = evaluate.run(predictions, Params.read(chain / "params.yaml").recipes[recipe])
    assert {name: round(value, 6) for name, value in expected.items() if math.isfinite(value)} == {
        name: value for name, value in card.metrics.items() if math.isfinite(value)}
    written = json.loads((chain / "artifacts" / "evaluate" / model / "metrics.json").read_text())
    assert written == {name: value for name, value in card.metrics.items() if math.isfinite(value)}


def test_gates_are_judged(chain: Path) -> None:
    card = read_card(chain / "artifacts" / "models" / "viability-HEK293")
    assert [(gate.metric, gate.passed) for gate in card.gates] == [("r2_cv", True), ("rmse_cv", False)]
    assert not card.gates_passed
    assert read_card(chain / "artifacts" / "models" / "viability-A549").gates_passed
    assert read_card(chain / "artifacts" / "models" / "profile-PAT_1").gates_passed


@pytest.mark.parametrize(("model", "recipe"), [("viability-A549", "base"), ("viability-HEK293", "head"), ("profile-PAT_1", "controls")])
def test_every_metric_of_a_model_may_be_asked_of_its_recipe(chain: Path, model: str, recipe: str) -> None:
    possible = possible_metrics(Params.read(chain / "params.yaml").recipes[recipe])
    given = set(read_card(chain / "artifacts" / "models" / model).metrics)
    assert given <= set(possible)
    sometimes = ("temperature", "loss_calibrated", "calibration", "interval", "log10")
    assert {name for name in possible if not name.startswith(sometimes)} <= given


@pytest.mark.parametrize(("held_out", "labels"), [
    ({"validation_loss": [0.5, 0.4]}, ["training", "validation", "kept"]),
    ({"validation_loss": [np.nan, np.nan], "test_loss": [0.5, 0.4]}, ["training", "held out (test)"]),
    ({"validation_loss": [np.nan, np.nan]}, ["training"])])
def test_the_learning_curve_shows_what_was_held_out_beside_the_training(held_out: dict[str, list[float]], labels: list[str]) -> None:
    (axes,) = learning_curve(pd.DataFrame({"epoch": [0.0, 1.0], "loss": [0.3, 0.2], **held_out})).axes
    assert [line.get_label() for line in axes.lines] == labels


@pytest.mark.parametrize(("model", "figures"), [
    ("viability-A549", ["predictions.png"]), ("viability-HEK293", ["predictions.png"]),
    ("profile-PAT_1", ["controls.png", "reliability.png"])])
def test_plots_and_figures_are_there(chain: Path, model: str, figures: list[str]) -> None:
    folder = chain / "artifacts" / "evaluate" / model
    assert sorted(path.name for path in (folder / "figures").iterdir()) == sorted(["learning_curve.png", *figures])
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (folder / "figures").iterdir())
    assert {"epoch", "loss", "validation_loss"} <= set(pd.read_csv(folder / "epochs.csv").columns)
    assert {"target", "prediction"} <= set(pd.read_csv(folder / "predictions.csv").columns)
    gates = pd.read_csv(folder / "tables" / "gates.csv")     # DVC warns of an empty folder, for each model
    assert (gates["metric"].tolist(), gates["passed"].tolist()) == (
        [gate.metric for gate in read_card(chain / "artifacts" / "models" / model).gates],
        [gate.passed for gate in read_card(chain / "artifacts" / "models" / model).gates])


def test_figures_are_the_same_bytes_each_time(chain: Path, tmp_path: Path) -> None:
    folder = chain / "artifacts" / "trained" / "profile-PAT_1"
    draw_figures(pd.read_parquet(folder / "predictions.parquet"), pd.read_csv(folder / "epochs.csv"), CONTROLS, tmp_path)
    assert content(tmp_path) == content(chain / "artifacts" / "evaluate" / "profile-PAT_1" / "figures")


def predictions(*, shifts: tuple[float, float] = (1.0, 1.0), cv: bool = True) -> pd.DataFrame:
    """Read-outs that fall at 100 nM (drug a) and 1000 nM (drug b), predicted at `shifts` times that."""
    rows = []
    for drug, midpoint, shift in (("a", 100.0, shifts[0]), ("b", 1000.0, shifts[1])):
        for dose in 10.0 ** np.arange(0, 6):
            for replicate in range(4):
                rows.append({"role": "treated", "treatment": drug, "dose": dose, "dose_unit": "nM",
                             "part": "test" if replicate == 3 else "train", "target": 0.1 + 1.4 / (1 + dose / midpoint),
                             "prediction": 0.1 + 1.4 / (1 + dose / midpoint / shift)})
    table = pd.DataFrame(rows)
    return table.assign(prediction_cv=table["prediction"] if cv else np.nan, logit=np.nan, logit_cv=np.nan)


@pytest.mark.parametrize("cv", [True, False])
def test_midpoints_measured_and_predicted(cv: bool) -> None:
    found = evaluate.midpoint_metrics(predictions(shifts=(2.0, 0.25), cv=cv))
    assert found["log10_ec50_measured"] == pytest.approx(2.5, abs=0.01)
    assert found["log10_ec50_predicted"] == pytest.approx(2.5 - math.log10(2) / 2, abs=0.01)
    assert found["log10_ec50_difference"] == pytest.approx(math.log10(4), abs=0.01)     # of the compound that is farthest off


def test_wells_of_two_treatments_take_no_part_in_the_midpoint_of_one() -> None:
    alone = predictions(shifts=(2.0, 2.0), cv=True)
    both = alone.assign(treatment_2="other", dose_2=5.0, target=0.1, prediction_cv=0.1)
    mixed = pd.concat([alone.assign(treatment_2="", dose_2=np.nan), both], ignore_index=True)
    assert evaluate.midpoint_metrics(mixed) == evaluate.midpoint_metrics(alone)


def test_a_midpoint_needs_held_out_wells_of_a_compound() -> None:
    table = predictions(cv=False)
    assert evaluate.midpoint_metrics(table[table["part"] == "train"]) == {}
    assert evaluate.midpoint_metrics(table.assign(treatment="")) == {}
    assert evaluate.midpoint_metrics(table.assign(role="negative")) == {}


def test_classifiers_have_no_midpoints() -> None:
    rows = pd.DataFrame({"part": "train", "target": [1.0, 1, 0, 0], "prediction": [0.8, 0.7, 0.2, 0.3], "prediction_cv": np.nan,
                         "logit": [1.4, 0.8, -1.4, -0.8], "logit_cv": np.nan})
    found = evaluate.run(rows, CONTROLS)
    assert found["accuracy_in_sample"] == 1
    assert not any(name.startswith("log10") for name in found)


def test_probabilities_are_judged_by_cross_fitted_wells_where_there_are_any() -> None:
    """And only a gate on what is judged may be asked for: another would fail every model."""
    logit = np.random.default_rng(0).normal(0, 1, 60) + np.repeat([2.0, -2.0], 30)
    rows = pd.DataFrame({"part": ["train"] * 20 + ["test"] * 10 + ["train"] * 20 + ["test"] * 10, "target": np.repeat([1.0, 0.0], 30),
                         "prediction": 1 / (1 + np.exp(-logit)), "logit": logit, "fold": np.tile(range(4), 15), "plate": "P",
                         "well": [f"A{number:02d}" for number in range(60)]})
    crossed = rows["part"] == "train"
    rows = rows.assign(prediction_cv=rows["prediction"].where(crossed), logit_cv=rows["logit"].where(crossed))
    recipe = replace(CONTROLS, split=replace(CONTROLS.split, test=0.25, folds=4))
    given = {name for name in evaluate.run(rows, recipe) if name.startswith("calibration_error")}
    assert given == {name for name in possible_metrics(recipe) if name.startswith("calibration_error")} == {
        "calibration_error_cv", "calibration_error_calibrated_cv"}


def test_gates_of_today_judge_a_model_of_yesterday(chain: Path) -> None:
    card = read_card(chain / "artifacts" / "trained" / "viability-HEK293" / "bundle")
    predictions = pd.read_parquet(chain / "artifacts" / "trained" / "viability-HEK293" / "predictions.parquet")
    strict = evaluate.finish_card(card, predictions, replace(card.recipe, gates=(Gate(metric="r2_cv", minimum=0.999),)), Thresholds())
    assert [gate.passed for gate in strict.gates] == [False]
    assert strict.recipe.gates[0].minimum == 0.999


def test_the_card_keeps_how_sure_the_model_may_be(chain: Path) -> None:
    cards = [read_card(chain / "artifacts" / "models" / model) for model in MODELS]
    assert [card.uncertainty is not None for card in cards] == [False, True, False]     # two held-out units are too few for the first
    _, head, controls = cards
    assert head.uncertainty is not None
    assert head.metrics["interval_coverage_cv"] == head.uncertainty.coverage > 0.85
    assert head.calibration is None
    assert (controls.calibration is not None) == ("temperature" in controls.metrics)
    assert 0 <= controls.metrics["calibration_error_cv"] < 0.5      # chance alone would be at most half right


def test_the_card_keeps_the_limits_of_the_data_checks(chain: Path) -> None:
    params = Params.read(chain / "params.yaml")
    assert params.validate.min_controls == 3    # of the defaults: the tiny params.yaml names none
    for model in MODELS:
        card = read_card(chain / "artifacts" / "models" / model)
        assert from_record(Thresholds, card.validation, path="validation") == params.validate
