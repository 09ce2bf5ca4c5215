"""Models side by side by their own cross-fitting: each fold's metrics, and their mean and SD by trunk (the fourfold cross-validation of
system S1 over MobileNetV2, InceptionV3 and InceptionResNetV2). A part of the stage `compare`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from models.networks.bundle import Card
from models.networks.evaluate import control_metrics, regression_metrics

KEYS = ["system", "screen", "model", "trunk", "trained"]
SHOWN = ("r2", "slope", "rmse", "auroc", "accuracy", "loss")


def fold_table(own: Mapping[str, pd.DataFrame], cards: Mapping[str, Card]) -> pd.DataFrame:
    """A row per model and fold: KEYS, fold (1 ...), n, and the metrics of the wells that the fold's twin had not seen.

    own: `predictions` of `models.networks.fitting.Fitted` by model. Models without folds, and of image sets, give no row.
    """
    rows = []
    for name, predictions in own.items():
        card = cards[name]
        if card.classes or not (predictions["fold"] >= 0).any():
            continue
        key = {"system": card.system, "screen": card.lineage["screen"], "model": name, "trunk": card.recipe.trunk.name,
               "trained": card.recipe.trunk.trained}
        for fold in range(int(predictions["fold"].max()) + 1):
            part = predictions[predictions["fold"] == fold]
            target, said = part["target"].to_numpy(float), part["prediction_cv"].to_numpy(float)
            found = (regression_metrics(target, said) if card.recipe.is_regression
                     else control_metrics(target, said, part["logit_cv"].to_numpy(float)))
            rows.append({**key, "fold": fold + 1, "n": len(part), **found})
    return pd.DataFrame(rows, columns=None if rows else [*KEYS, "fold", "n"])


def over_folds(folds: pd.DataFrame) -> pd.DataFrame:
    """Mean and SD over the folds of each model: KEYS, folds, and <metric>_mean and <metric>_sd of the metrics that its system has."""
    shown = [name for name in SHOWN if name in folds]
    if folds.empty:
        return pd.DataFrame(columns=[*KEYS, "folds"])
    groups = folds.groupby(KEYS, sort=False)
    means, spreads = groups[shown].mean().add_suffix("_mean"), groups[shown].std().add_suffix("_sd")
    order = [f"{name}_{kind}" for name in shown for kind in ("mean", "sd")]
    return groups.size().rename("folds").to_frame().join(means.join(spreads)[order]).reset_index()


def write_folds(own: Mapping[str, pd.DataFrame], cards: Mapping[str, Card], out: Path) -> None:
    """Write folds.csv and cross_validation.csv into `out` and print the latter."""
    out.mkdir(parents=True, exist_ok=True)
    folds = fold_table(own, cards)
    table = over_folds(folds)
    folds.round(6).to_csv(out / "folds.csv", index=False)
    table.round(6).to_csv(out / "cross_validation.csv", index=False)
    for system, rows in table.groupby("system"):
        shown = rows.dropna(axis=1, how="all").drop(columns="system").round(3)
        print(f"\n{system}, cross-fitted, mean and SD over folds\n{shown.to_string(index=False)}")
