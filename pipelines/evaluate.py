"""Stage `evaluate`: predictions -> metrics, figures and gates, and with them the finished model bundle.

Needs neither torch nor MLflow, so that a cell costs little more than its figures.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd

from models.dose_response import fit_curves
from models.dose_response.options import FitOptions
from models.networks.bundle import HEAD, TRUNK, Card, GateResult, read_card, write_card
from models.networks.calibration import calibration_metrics, measure_calibration
from models.networks.evaluate import judge_gates, level_gap, model_metrics
from models.networks.recipe import Recipe
from models.networks.uncertainty import Uncertainty, measure_uncertainty
from models.records import to_record
from models.tables import combined
from pipelines.command import add_params, run_command
from pipelines.figures import draw_figures
from pipelines.params import Params
from validation.thresholds import Thresholds


def run(predictions: pd.DataFrame, recipe: Recipe) -> dict[str, float]:
    """All metrics of one model, flat; see models.networks.evaluate and .calibration, and below for read-outs."""
    metrics = model_metrics(predictions, regression=recipe.is_regression)
    if recipe.is_regression:
        return metrics | midpoint_metrics(predictions) | interval_metrics(measure_uncertainty(predictions)) | level_gap(predictions)
    return metrics | calibration_metrics(predictions)


def interval_metrics(uncertainty: Uncertainty | None) -> dict[str, float]:
    """interval_coverage_cv: share of wells inside the interval that the other units give them; interval_half_width: median over the
    outputs, in the read-out's unit. Nothing where the model gives no interval.
    """
    if uncertainty is None:
        return {}
    return {"interval_coverage_cv": uncertainty.coverage, "interval_half_width": statistics.median(uncertainty.half_widths)}


def midpoint_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """Midpoint (relative EC50) of the 4PL on measured and on held-out predicted read-outs, one compound alone at a time.

    Predicted: cross-fitted values where there are any, else the test part. Names: log10_ec50_measured, log10_ec50_predicted (means
    over compounds, log10 dose unit), log10_ec50_difference (largest absolute one).
    """
    held_out = predictions["prediction_cv"].fillna(predictions["prediction"].where(predictions["part"] == "test"))
    wells = predictions.assign(held_out=held_out)[(predictions["role"] == "treated") & held_out.notna() & ~combined(predictions)]
    if wells.empty or wells["treatment"].eq("").all():
        return {}
    curves = {value: fit_curves(wells, by=["treatment"], response=value, scale="raw", options=FitOptions(bounds="free", interval="none"))
              for value in ("target", "held_out")}
    log10 = {value: table["ec50"].where(table["ec50_relation"] == "=").map(math.log10) for value, table in curves.items()}
    return {"log10_ec50_measured": float(log10["target"].mean()), "log10_ec50_predicted": float(log10["held_out"].mean()),
            "log10_ec50_difference": float((log10["held_out"] - log10["target"]).abs().max())}


def finish_card(card: Card, predictions: pd.DataFrame, recipe: Recipe, thresholds: Thresholds) -> Card:
    """The card with metrics, judged gates, and what the held-out predictions say of a well's interval or of a probability's calibration.

    Gates and limits of the data checks are those of params.yaml now, not of training time.
    """
    metrics = run(predictions, recipe)
    return replace(card, metrics={name: round(value, 6) for name, value in metrics.items()},
                   gates=judge_gates(metrics, recipe.gates), recipe=recipe, validation=to_record(thresholds),
                   uncertainty=measure_uncertainty(predictions) if recipe.is_regression else None,
                   calibration=None if recipe.is_regression else measure_calibration(predictions))


def _write_tables(card: Card, predictions: pd.DataFrame, epochs: pd.DataFrame, *, trained: Path, out: Path) -> None:
    """metrics.json and what `dvc plots` shows, in `out`; in tables/ the gates, and what training left of a GAN or a co-training."""
    tables = out / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    finite = {name: value for name, value in card.metrics.items() if math.isfinite(value)}
    (out / "metrics.json").write_text(json.dumps(finite, indent=1, sort_keys=True) + "\n")
    epochs.to_csv(out / "epochs.csv", index=False)
    predictions.to_csv(out / "predictions.csv", index=False)
    gates = pd.DataFrame([to_record(gate) for gate in card.gates], columns=[field.name for field in fields(GateResult)])
    gates.to_csv(tables / "gates.csv", index=False)
    for name, kept in (("rounds.csv", "cotraining.csv"), ("gan/epochs.csv", "gan.csv")):
        if (trained / name).is_file():
            shutil.copyfile(trained / name, tables / kept)


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name in the section `models` of params.yaml")
    add_params(parser)
    parser.add_argument("--trained", type=Path, required=True, help="what the stage train wrote")
    parser.add_argument("--bundle", type=Path, required=True, help="where the finished bundle goes")
    parser.add_argument("--out", type=Path, required=True, help="where metrics and figures go")
    arguments = parser.parse_args()
    params = Params.read(arguments.params)
    recipe = params.recipe_of(arguments.model)
    predictions = pd.read_parquet(arguments.trained / "predictions.parquet")
    epochs = pd.read_csv(arguments.trained / "epochs.csv")
    draft = arguments.trained / "bundle"
    card = finish_card(read_card(draft), predictions, recipe, params.validate)
    arguments.bundle.mkdir(parents=True, exist_ok=True)
    for part in (HEAD, TRUNK):
        if (draft / part).is_file():
            shutil.copyfile(draft / part, arguments.bundle / part)
    write_card(arguments.bundle, card)
    _write_tables(card, predictions, epochs, trained=arguments.trained, out=arguments.out)
    draw_figures(predictions, epochs, recipe, arguments.out / "figures", gan=arguments.trained / "gan")
    for gate in card.gates:
        print(f"{arguments.model}: {'passed' if gate.passed else 'FAILED'}: {gate.reason}")


if __name__ == "__main__":
    run_command(main)
