"""Figures of the matrix of system S1: predicted on measured, pair by pair, and midpoints (Cho et al. 2022, figures 2, 3, 6)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.dose_response.plots import BLUE, GREY, ORANGE
from models.dose_response.statistics import paired_t
from models.networks.evaluate import regression_metrics

Draw = Callable[[Axes, pd.DataFrame], None]


def plot_predicted_on_measured(wells: pd.DataFrame) -> Figure:
    """Figure 2: a panel per screen (row) and model (column) with the least-squares line.

    wells: screen, model, relation, target, predicted.
    """
    values = wells[["target", "predicted"]].to_numpy(float)
    limits = float(np.nanmin(values)) - 0.05, float(np.nanmax(values)) + 0.05

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        found = regression_metrics(part["target"].to_numpy(), part["predicted"].to_numpy())
        axes.plot(limits, limits, color=GREY, linewidth=0.6)
        axes.plot(part["target"], part["predicted"], "o", color=_colour(part), markersize=2.5, alpha=0.6, markeredgewidth=0)
        axes.plot(limits, [found["intercept"] + found["slope"] * value for value in limits], color="black", linewidth=1)
        said = "r² = {r2:.3f}\ny = {slope:.2f} x {intercept:+.2f}".format(**found)
        axes.text(0.04, 0.95, said, transform=axes.transAxes, fontsize=6, va="top")
        axes.set(xlim=limits, ylim=limits, aspect="equal")

    return _grid(wells, draw, x="measured read-out", y="predicted read-out")


def plot_pairs_of_wells(wells: pd.DataFrame) -> Figure:
    """Figure 3: measured and predicted value of every well, joined by a line, beside their difference (mean and SD)."""

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        measured, predicted = part["target"].to_numpy(float), part["predicted"].to_numpy(float)
        difference = predicted - measured
        axes.plot([0, 1], np.stack([measured, predicted]), color=_colour(part), linewidth=0.3, alpha=0.35)
        axes.plot(np.repeat([0.0, 1.0], len(part)), np.concatenate([measured, predicted]), "o", color=_colour(part), markersize=1.6)
        axes.plot(2 + np.linspace(-0.2, 0.2, len(part)), difference, "o", color=GREY, markersize=1.6)
        axes.errorbar(2, difference.mean(), yerr=difference.std(ddof=1), fmt="_", color="black", capsize=3, linewidth=1)
        axes.axhline(0, color="black", linewidth=0.4)
        axes.set_xticks([0, 1, 2], ["measured", "predicted", "difference"], fontsize=6)
        p = _p(paired_t(measured, predicted).p)
        axes.set_title(f"{difference.mean():+.3f} ± {difference.std(ddof=1):.3f}, paired p = {p}", fontsize=6, pad=2)

    return _grid(wells, draw, x="", y="read-out")


def plot_midpoints(midpoints: pd.DataFrame) -> Figure:
    """Figure 6: midpoints of the replicate sets, measured and as predicted by each model, a panel per screen; log dose axis.

    midpoints: `set_midpoints` with the columns screen, model, relation. Sets without a midpoint are counted below.
    """
    screens = list(dict.fromkeys(midpoints["screen"]))
    models = list(dict.fromkeys(midpoints["model"]))
    figure = Figure(figsize=(1.2 + (1.1 + 0.55 * len(models)) * len(screens), 3.8), layout="constrained")
    for axes, screen in zip(figure.subplots(1, len(screens), sharey=True, squeeze=False)[0], screens, strict=True):
        part = midpoints[midpoints["screen"] == screen]
        first = part[part["model"] == part["model"].iloc[0]]
        columns = [("measured", first["ec50_measured"], "black")]
        columns += [(str(name), rows["ec50_predicted"], _colour(rows)) for name, rows in part.groupby("model", sort=False)]
        for place, (_, values, colour) in enumerate(columns):
            known = values.dropna().to_numpy(float)
            axes.plot(place + np.linspace(-0.15, 0.15, len(known)), known, "o", color=colour, markersize=4, alpha=0.75, markeredgewidth=0)
            if len(known):
                axes.plot([place - 0.28, place + 0.28], [known.mean()] * 2, color=colour, linewidth=1.5)
            if missing := len(values) - len(known):
                axes.text(place, 0.01, f"{missing} none", transform=axes.get_xaxis_transform(), ha="center", fontsize=6, rotation=90)
        axes.set_yscale("log")
        axes.set_xticks(range(len(columns)), [label for label, _, _ in columns], rotation=90, fontsize=7)
        axes.set_title(screen, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    unit = ", ".join(dict.fromkeys(midpoints["dose_unit"]))
    figure.supylabel(f"midpoint ({unit})", fontsize=9)
    return figure


def _colour(part: pd.DataFrame) -> str:
    return BLUE if part["relation"].isin(["autologous", "same_sample"]).all() else ORANGE


def _p(value: float) -> str:
    return "not known" if not np.isfinite(value) else "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _grid(wells: pd.DataFrame, draw: Draw, *, x: str, y: str) -> Figure:
    """A panel per screen (row) and model (column); pairs that were not compared stay empty. Blue = its own sample, orange = another's."""
    screens, models = (list(dict.fromkeys(wells[name])) for name in ("screen", "model"))
    figure = Figure(figsize=(0.8 + 2.1 * len(models), 0.7 + 2.0 * len(screens)), layout="constrained")
    groups = {(str(screen), str(model)): part for (screen, model), part in wells.groupby(["screen", "model"], sort=False)}
    grid = figure.subplots(len(screens), len(models), sharey=True, sharex=True, squeeze=False)
    for row, screen in enumerate(screens):
        for column, model in enumerate(models):
            axes: Axes = grid[row, column]
            if (screen, model) in groups:
                draw(axes, groups[(screen, model)])
            else:
                axes.set_visible(False)
            axes.tick_params(labelsize=6)
            if row == 0:
                axes.annotate(model, (0.5, 1.16), xycoords="axes fraction", ha="center", fontsize=8)
            if column == 0:
                axes.set_ylabel(screen, fontsize=8)
    figure.supxlabel(x, fontsize=9)
    figure.supylabel(y, fontsize=9)
    return figure
