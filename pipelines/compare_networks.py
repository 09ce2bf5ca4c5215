"""Networks that learnt the same image set, side by side: a metric table, ROC curves, and an analysis of variance (system S3, Table 1, Table
2 and Figure 6 of its paper). A part of the stage `compare`.

All from predictions of images that the model had not seen: cross-fitted ones, else the test part.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from scipy.special import expit

from models.dose_response.statistics import one_way_anova
from models.networks.calibration import held_out_logits
from models.networks.evaluate import class_metrics
from models.networks.recipe import Recipe
from models.records import to_record
from pipelines.class_figures import class_names, plot_roc
from pipelines.figures import save_figure

FIGURES = "figures"     # folder of all that `compare` draws
METRICS = ("accuracy", "sensitivity", "specificity", "precision", "f_score", "mcc", "kappa", "auroc", "loss")
NETWORK_COLUMNS = ("system", "imageset", "model", "network", "trunk", "trained", "seed", "n", *METRICS)
ANOVA_COLUMNS = ("imageset", "networks", "units", "f", "df_between", "df_error", "p")


@dataclass(frozen=True)
class NetworkRun:
    """A trained model of an image set. predictions: of the stage `train`; recipe_name: in params.yaml."""

    model: str
    imageset: str
    recipe_name: str
    recipe: Recipe
    predictions: pd.DataFrame


def compare_networks(runs: Sequence[NetworkRun]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(networks, anova): a row per model (NETWORK_COLUMNS), and a row per image set that several networks learnt (ANOVA_COLUMNS).

    Models whose recipes differ in nothing but the seed are one network. Units of the analysis of variance are its folds, of all seeds:
    accuracy in one fold of one seed. Folds share most of their training images, so that its p is smaller than it should be.
    """
    called = network_names(runs)
    rows, units = [], []
    for run in runs:
        table = held_out_logits(run.predictions)
        first, logit = table["target"].to_numpy(float), table["logit"].to_numpy(float)
        rows.append({"system": run.recipe.system, "imageset": run.imageset, "model": run.model, "network": called[run.model],
                     "trunk": run.recipe.trunk.name, "trained": run.recipe.trunk.trained, "seed": run.recipe.seed, "n": len(table),
                     **class_metrics(first, expit(logit), logit)})
        if run.recipe.split.folds:
            right = ((table["logit"] > 0) == (table["target"] > 0.5)).groupby(table["fold"]).mean()
            units += [{"imageset": run.imageset, "network": called[run.model], "accuracy": value} for value in right]
    return pd.DataFrame(rows, columns=list(NETWORK_COLUMNS)), anova_of(pd.DataFrame(units, columns=["imageset", "network", "accuracy"]))


def network_names(runs: Sequence[NetworkRun]) -> dict[str, str]:
    """Model -> its network: the name of the first recipe that differs from its own in nothing but the seed and the gates."""
    seen: dict[str, str] = {}
    names = {}
    for run in runs:
        key = json.dumps([run.imageset, to_record(replace(run.recipe, seed=0, gates=()))], sort_keys=True)
        names[run.model] = seen.setdefault(key, run.recipe_name)
    return names


def anova_of(units: pd.DataFrame) -> pd.DataFrame:
    """One-way analysis of variance of accuracy over networks, per image set (ANOVA_COLUMNS). units: imageset, network, accuracy."""
    rows = []
    for imageset, part in units.groupby("imageset", sort=False):
        groups = [values.to_numpy() for _, values in part.groupby("network", sort=False)["accuracy"]]
        if len(groups) > 1:
            found = one_way_anova(groups)
            rows.append({"imageset": imageset, "networks": len(groups), "units": len(part), "f": found.statistic,
                         "df_between": len(groups) - 1, "df_error": found.df, "p": found.p})
    return pd.DataFrame(rows, columns=list(ANOVA_COLUMNS))


def write_networks(runs: Sequence[NetworkRun], out: Path) -> dict[str, dict[str, float]]:
    """Write networks.csv, anova.csv and figures/roc-<image set>.png into `out` and print the tables; system -> accuracy of each model."""
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    networks, anova = compare_networks(runs)
    networks.round(6).to_csv(out / "networks.csv", index=False)
    anova.round(6).to_csv(out / "anova.csv", index=False)
    for imageset in dict.fromkeys(run.imageset for run in runs):
        of_set = [run for run in runs if run.imageset == imageset]
        tables = {run.model: held_out_logits(run.predictions) for run in of_set}
        tables = {model: table for model, table in tables.items() if table["target"].nunique() == 2}
        if tables:
            save_figure(plot_roc(tables, class_names(of_set[0].predictions)), out / FIGURES / f"roc-{imageset}.png")
    if len(networks):
        shown = networks.drop(columns=["system", "trunk", "trained"]).round(3)
        print("\nnetworks on image sets, held out\n" + shown.to_string(index=False))
    if len(anova):
        print("\nanalysis of variance of accuracy, unit: fold x seed\n" + anova.to_string(index=False, float_format="{:.4g}".format))
    return {str(system): {f"accuracy_{model}": round(value, 4) for model, value in rows.set_index("model")["accuracy"].items()}
            for system, rows in networks[networks["accuracy"].notna()].groupby("system")}
