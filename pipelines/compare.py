"""Stage `compare`: every model on every screen that it can read: the autologous and allogenic matrix of system S1, and the
transfer of control classifiers of system S2; and the networks that learnt the same image set (compare_networks.py).

A model meets a screen of its own only in wells that it did not train on: cross-fitted predictions stand in for these.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from models.dose_response.midpoints import midpoint_tests, set_midpoints
from models.errors import InputError
from models.kept import kept_files
from models.networks.bundle import CARD, Card, trunk_finder
from models.networks.evaluate import control_metrics, regression_metrics
from models.networks.labels import Labelled, label_wells
from models.networks.phases import SAME
from models.networks.predict import Predictor, load_predictor
from models.networks.recipe import Recipe
from models.networks.trunks import Trunk
from models.plates.quality import QualityLimits
from models.plates.screen import Screen
from models.suitability import same_sample
from models.tables import combined
from pipelines.command import add_params, run_command
from pipelines.compare_figures import plot_midpoints, plot_pairs_of_wells, plot_predicted_on_measured
from pipelines.compare_networks import FIGURES, NetworkRun, write_networks
from pipelines.cross_validation import write_folds
from pipelines.figures import heat_map, save_figure
from pipelines.kept_features import KeepingPredictor
from pipelines.params import Params
from pipelines.prepared import PreparedScreen, read_prepared, sound_wells

KEY = ("system", "model", "screen", "relation")
TRUNKS = 8      # whose features of a screen are kept while models are compared on it


@dataclass(frozen=True)
class Comparison:
    """matrix: a row per model and screen, without metrics where `reason` says why there are none. Of read-out models, wells: what they say
    of each well; midpoints: a row per pair, compound and replicate set; midpoint_tests: a row per pair and compound (Table 2 of the S1
    paper).
    """

    matrix: pd.DataFrame
    midpoints: pd.DataFrame
    midpoint_tests: pd.DataFrame
    wells: pd.DataFrame


@dataclass(frozen=True)
class Known:
    """What all models on one screen share: the wells that they can be judged by, and what a trunk sees there."""

    labelled: dict[tuple[QualityLimits, Recipe], Labelled] = field(default_factory=dict)
    features: dict[tuple[Trunk, bytes], list[np.ndarray]] = field(default_factory=dict)


def pair_predictions(predictor: Predictor, data: PreparedScreen, own: pd.DataFrame | None, known: Known) -> pd.DataFrame:
    """Layout columns, target, predicted, logit of every image that the model can be judged by. own: its predictions on its own screen;
    known: of the other models on this screen.
    """
    if own is not None:
        cross = own["prediction_cv"].notna().any()
        rows = own if cross else own[own["part"] == "test"]
        return rows.assign(predicted=rows["prediction_cv" if cross else "prediction"], logit=rows["logit_cv" if cross else "logit"])
    limits, recipe = predictor.card.image_quality, predictor.card.recipe
    if (limits, recipe) not in known.labelled:
        known.labelled[limits, recipe] = label_wells(data.images, sound_wells(data, limits).layout, recipe)
    labelled = known.labelled[limits, recipe]
    seen = predictor.trunk, labelled.rows.tobytes()
    if seen not in known.features:
        known.features[seen] = list(predictor.features(data.images.take(labelled.rows)))
        if len(known.features) > TRUNKS:        # of models with a trunk each
            del known.features[next(iter(known.features))]
    raw = predictor.predict_features(labelled.wells, known.features[seen])
    return labelled.wells.assign(predicted=raw[predictor.card.recipe.answer_column].to_numpy(), logit=raw["logit"].to_numpy())


def compare_pair(wells: pd.DataFrame, *, regression: bool) -> dict[str, float]:
    """Metrics of one model on one screen, from `pair_predictions`."""
    targets, values = wells["target"].to_numpy(float), wells["predicted"].to_numpy(float)
    return regression_metrics(targets, values) if regression else control_metrics(targets, values, wells["logit"].to_numpy(float))


def run(predictors: Mapping[str, Predictor], screens: Mapping[str, PreparedScreen], own: Mapping[str, pd.DataFrame]) -> Comparison:
    """Every model on every screen of the same input: system, model, screen, relation, reason (why no well there can judge the model, such
    as a missing read-out; empty where some can), and the metrics.

    relation: "autologous" on the screen that the model was trained on, "parent" on one that a model it descends from was trained on,
    "same_sample" on another one of its cell line or patient, else "allogenic".
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    wells: dict[tuple[str, str], pd.DataFrame] = {}
    with tqdm(total=len(predictors) * len(screens), unit="pair", desc="compare") as bar:
        for screen, data in screens.items():
            known = Known()
            for name, predictor in predictors.items():
                bar.update()
                relation = _relation(predictor.card, data.screen, predictors)
                spec = predictor.card.recipe.input
                if (spec.planes, spec.size) != (data.images.channels, data.images.pixels.shape[-1]):
                    continue
                regression = predictor.card.recipe.is_regression
                key = {"system": predictor.card.system, "model": name, "screen": screen, "relation": relation}
                try:
                    found = pair_predictions(predictor, data, own[name] if relation == "autologous" else None, known)
                except InputError as error:     # the screen has no well that this kind of model could be judged on
                    rows[name, screen] = {**key, "reason": str(error)}
                    continue
                rows[name, screen] = {**key, "reason": "", **compare_pair(found, regression=regression)}
                if regression:
                    wells[name, screen] = _well_medians(found).assign(**key)
    pairs = [(name, screen) for name in predictors for screen in screens]
    matrix = pd.DataFrame([rows[pair] for pair in pairs if pair in rows], columns=None if rows else [*KEY, "reason"])
    return Comparison(matrix, *_midpoints([wells[pair] for pair in pairs if pair in wells]))


def _relation(card: Card, screen: Screen, predictors: Mapping[str, Predictor]) -> str:
    """What the screen is to the model: see `run`. A parent that is not among the predictors is not known to have seen it."""
    if card.lineage["screen"] == screen.name:
        return "autologous"
    parent = card.parent
    while parent and parent.name in predictors:
        ancestor = predictors[parent.name].card
        if ancestor.lineage["screen"] == screen.name:
            return "parent"
        parent = ancestor.parent
    return "same_sample" if same_sample(card.sample, screen.sample) else "allogenic"


def _well_medians(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per well: the median over its sites."""
    keys = [name for name in ("plate", "well", "role", "replicate", *SAME) if name in predictions]
    return predictions.groupby(keys, sort=False, dropna=False)[["target", "predicted"]].median().reset_index()


def _midpoints(wells: list[pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(midpoints of replicate sets, tests of them, the wells), each with the columns of KEY first; without rows where there is none."""
    empty = pd.DataFrame(columns=list(KEY))
    sets = []
    for part in wells:
        treated = part[(part["role"] == "treated") & part["treatment"].ne("") & ~combined(part)]
        if len(treated):
            found = set_midpoints(treated, measured="target", predicted="predicted")
            sets.append(found.assign(**{name: part[name].iloc[0] for name in KEY})[[*KEY, *found.columns]])
    if not sets:
        return empty, empty, pd.concat(wells, ignore_index=True) if wells else empty
    midpoints = pd.concat(sets, ignore_index=True)
    keys = [*KEY, "treatment", "dose_unit"]
    tests = [dict(zip(keys, name, strict=True)) | midpoint_tests(group) for name, group in midpoints.groupby(keys, sort=False)]
    return midpoints, pd.DataFrame(tests), pd.concat(wells, ignore_index=True)


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_params(parser)
    parser.add_argument("--data", type=Path, required=True, help="one folder per screen")
    parser.add_argument("--artifacts", type=Path, required=True, help="prepared plates and models of the stages before")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--kept", type=Path, required=True, help="folder for what trunks saw of plates that did not change")
    arguments = parser.parse_args()
    params, root = Params.read(arguments.params), arguments.artifacts
    trained = [name for name in params.models if (root / "models" / name / CARD).is_file()]
    own = {name: pd.read_parquet(root / "trained" / name / "predictions.parquet") for name in trained}
    names = [name for name in trained if params.models[name].screen in params.screens]
    find = trunk_finder([root / "models", root / "trunks"])
    ready = [screen for screen in params.screens if (root / "prepared" / screen / "source.json").is_file()]
    screens = {screen: read_prepared(arguments.data / screen, root / "prepared" / screen) for screen in ready}
    runs = [NetworkRun(name, model.screen, model.recipe, params.recipes[model.recipe], own[name])
            for name, model in params.models.items() if name in trained and name not in names]
    with kept_files(arguments.kept) as keep:
        predictors = {name: KeepingPredictor.of(load_predictor(root / "models" / name, find_trunk=find, device=params.score.device), keep)
                      for name in names}
        metrics = write_comparison(run(predictors, screens, own), arguments.out) | write_networks(runs, arguments.out)
    (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    write_folds({name: own[name] for name in names}, {name: predictor.card for name, predictor in predictors.items()}, arguments.out)


def write_comparison(found: Comparison, out: Path) -> dict[str, dict[str, float]]:
    """Write matrix.csv, midpoints.csv, midpoint_tests.csv and figures/ into `out`; means of the metrics by system and relation."""
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    table = found.matrix
    for name in ("matrix", "midpoints", "midpoint_tests"):
        getattr(found, name).round(6).to_csv(out / f"{name}.csv", index=False)
    metrics: dict[str, dict[str, float]] = {}
    for system, rows in table.groupby("system"):
        shown = [name for name in ("r2", "r2_score", "auroc", "z_prime") if name in rows and rows[name].notna().any()]
        if not shown:
            continue
        means = rows.groupby("relation")[shown].mean()
        metrics[str(system)] = {f"{name}_{relation}": round(float(value), 4) for relation, values in means.iterrows()
                                for name, value in values.items() if math.isfinite(value)}
        matrix = rows.set_index(["model", "screen"])[shown[0]].unstack(sort=False)
        heat_map(matrix, out / FIGURES / f"{system}.png", title=f"{system}: {shown[0]} of every model on every screen", unit=shown[0])
        print(f"\n{system}\n{rows[['model', 'screen', 'relation', *shown]].round(3).to_string(index=False)}")
    for row in table[table["reason"].ne("")].to_dict("records"):
        print(f"{row['model']} cannot be judged on {row['screen']}: {row['reason']}")
    _write_readout_figures(found, out / FIGURES)
    return metrics


def _write_readout_figures(found: Comparison, out: Path) -> None:
    """Figures 2, 3 and 6 of the S1 paper, where there are read-out models."""
    drawn: dict[str, Figure] = {}
    if len(found.wells):
        drawn |= {"predicted_on_measured": plot_predicted_on_measured(found.wells), "pairs_of_wells": plot_pairs_of_wells(found.wells)}
    if len(found.midpoints):
        drawn["midpoints"] = plot_midpoints(found.midpoints)
        shown = ["screen", "model", "treatment", "ec50_measured", "ec50_predicted", "dose_unit", "p_unpaired", "p_paired", "n", "n_without"]
        print("\nmidpoints of replicate sets\n" + found.midpoint_tests[shown].to_string(index=False, float_format="{:.4g}".format))
    for name, figure in drawn.items():
        save_figure(figure, out / f"{name}.png")


if __name__ == "__main__":
    run_command(main)
