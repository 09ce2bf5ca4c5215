"""Stage `compare`: every model on every screen that it can read: the autologous and allogenic matrix of system S1, and the
transfer of control classifiers of system S2.

A model meets a screen of its own only in wells that it did not train on: cross-fitted predictions stand in for these.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from models.errors import InputError
from models.networks.bundle import CARD, trunk_finder
from models.networks.evaluate import control_metrics, regression_metrics
from models.networks.labels import label_wells
from models.networks.predict import Predictor, load_predictor
from pipelines.command import run_command
from pipelines.figures import heat_map
from pipelines.params import Params
from pipelines.prepared import PreparedScreen, read_prepared


def compare_pair(predictor: Predictor, data: PreparedScreen, own: pd.DataFrame | None) -> dict[str, float]:
    """Metrics of one model on one screen. own: the model's predictions on its own screen, else None."""
    recipe = predictor.card.recipe
    if own is not None:
        cross = own["prediction_cv"].notna().any()
        rows = own if cross else own[own["part"] == "test"]
        targets, values = rows["target"].to_numpy(), rows["prediction_cv" if cross else "prediction"].to_numpy()
        logits = rows["logit_cv" if cross else "logit"].to_numpy()
    else:
        labelled = label_wells(data.images, data.layout, recipe)
        raw = predictor.predict(data.images.take(labelled.rows))
        targets, values = labelled.targets.astype(float), raw["od" if recipe.is_regression else "probability"].to_numpy()
        logits = raw["logit"].to_numpy()
    if recipe.is_regression:
        return regression_metrics(targets, values)
    return control_metrics(targets, values, logits)


def run(predictors: Mapping[str, Predictor], screens: Mapping[str, PreparedScreen], own: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per model and screen of the same system and input: system, model, screen, relation, and the metrics.

    relation: "autologous" on the screen that the model was trained on, else "allogenic".
    """
    rows = []
    pairs = [(name, screen) for name in predictors for screen in screens]
    for name, screen in tqdm(pairs, unit="pair", desc="compare"):
        predictor, data = predictors[name], screens[screen]
        autologous = predictor.card.lineage["screen"] == data.screen.name
        if predictor.card.recipe.input.planes != data.images.channels:
            continue
        try:
            metrics = compare_pair(predictor, data, own[name] if autologous else None)
        except InputError:  # the screen has no well that this kind of model could be judged on (no read-out, no controls)
            continue
        rows.append({"system": predictor.card.system, "model": name, "screen": screen,
                     "relation": "autologous" if autologous else "allogenic", **metrics})
    return pd.DataFrame(rows, columns=None if rows else ["system", "model", "screen", "relation"])


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--artifacts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    params, root = Params.read(arguments.params), arguments.artifacts
    names = [name for name in params.models if (root / "models" / name / CARD).is_file()]
    find = trunk_finder([root / "models", root / "trunks"])
    predictors = {name: load_predictor(root / "models" / name, find_trunk=find, device=params.score.device) for name in names}
    ready = [screen for screen in params.screens if (root / "prepared" / screen / "source.json").is_file()]
    screens = {screen: read_prepared(arguments.data / screen, root / "prepared" / screen) for screen in ready}
    own = {name: pd.read_parquet(root / "trained" / name / "predictions.parquet") for name in names}
    table = run(predictors, screens, own)
    write_comparison(table, arguments.out)


def write_comparison(table: pd.DataFrame, out: Path) -> None:
    """Write matrix.csv, metrics.json (means by system and relation) and a heat map per system into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    table.round(6).to_csv(out / "matrix.csv", index=False)
    metrics: dict[str, dict[str, float]] = {}
    for system, rows in table.groupby("system"):
        shown = [name for name in ("r2", "r2_score", "auroc", "z_prime") if name in rows and rows[name].notna().any()]
        if not shown:
            continue
        means = rows.groupby("relation")[shown].mean()
        metrics[str(system)] = {f"{name}_{relation}": round(float(value), 4) for relation, values in means.iterrows()
                                for name, value in values.items() if math.isfinite(value)}
        matrix = rows.pivot_table(index="model", columns="screen", values=shown[0], sort=False)
        heat_map(matrix, out / f"{system}.png", title=f"{system}: {shown[0]} of every model on every screen", unit=shown[0])
        print(f"\n{system}\n{rows[['model', 'screen', 'relation', *shown]].round(3).to_string(index=False)}")
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    run_command(main)
