"""Figures of a trained model: learning curve, measured against predicted, controls, classes. Colours are safe for colour-blind readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit

from models.networks.calibration import cross_calibrated, held_out_logits, reliability
from models.networks.recipe import Recipe
from pipelines.class_figures import class_figures

COLOURS = {"train": "#999999", "validation": "#E69F00", "test": "#0072B2", "cv": "#009E73", "left out": "#999999"}


def draw_figures(predictions: pd.DataFrame, epochs: pd.DataFrame, recipe: Recipe, folder: Path, *, gan: Path | None = None) -> None:
    """Write learning_curve.png and predictions.png (read-outs) or controls.png and reliability.png (controls) into `folder`; of labelled
    images `class_figures` and reliability.png. gan: folder with what the training kept of a GAN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.target == "label":
        for name, figure in class_figures(predictions, epochs, gan=gan).items():
            save_figure(figure, folder / f"{name}.png")
        save_figure(_reliability(held_out_logits(predictions)), folder / "reliability.png")
        return
    save_figure(learning_curve(epochs), folder / "learning_curve.png")
    if recipe.is_regression:
        save_figure(_predicted_on_measured(predictions), folder / "predictions.png")
    else:
        save_figure(_controls(predictions), folder / "controls.png")
        save_figure(_reliability(held_out_logits(predictions)), folder / "reliability.png")


def heat_map(table: pd.DataFrame, path: Path, *, title: str, unit: str) -> None:
    """A labelled matrix, rows = models, columns = screens, with the numbers written in; "-" where there is none (NaN)."""
    figure, axes = _axes(2.2 + 1.3 * len(table.columns), 1.4 + 0.6 * len(table))
    image = axes.imshow(table.to_numpy(float), cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(range(len(table.columns)), table.columns)
    axes.set_yticks(range(len(table)), table.index)
    for (row, column), value in np.ndenumerate(table.to_numpy(float)):
        axes.text(column, row, "-" if np.isnan(value) else f"{value:.2f}", ha="center", va="center",
                  color="white" if value <= 0.5 else "black")
    axes.set(xlabel="screen", ylabel="model", title=title)
    figure.colorbar(image, label=unit)
    save_figure(figure, path)


def colour_pictures(pixels: np.ndarray) -> np.ndarray:
    """(N, C, H, W) on 0-1 as colour pictures (N, H, W, 3), each stretched to its own range."""
    shown = pixels[:, [0, min(1, pixels.shape[1] - 1), min(2, pixels.shape[1] - 1)]].astype(np.float32)
    low, high = np.percentile(shown, [1, 99.8], axis=(1, 2, 3), keepdims=True)
    return np.clip((shown - low) / np.maximum(high - low, 1e-6), 0, 1).transpose(0, 2, 3, 1)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure in inches. Without pyplot, which takes longer to import than the figures take to draw."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG without a clock or a program's version in it."""
    figure.savefig(path, dpi=120, metadata={"Software": None})


def learning_curve(epochs: pd.DataFrame) -> Figure:
    """Loss by epoch of training, and of what validates (the epoch that was kept, too) or tests."""
    figure, axes = _axes(5, 3.4)
    axes.plot(epochs["epoch"] + 1, epochs["loss"], color="black", label="training")
    if epochs["validation_loss"].notna().any():
        axes.plot(epochs["epoch"] + 1, epochs["validation_loss"], color=COLOURS["validation"], label="validation")
        best = epochs.iloc[int(epochs["validation_loss"].argmin())]
        axes.plot(best["epoch"] + 1, best["validation_loss"], "o", color=COLOURS["validation"], label="kept")
    if "test_loss" in epochs:       # told where no well validates; it chooses nothing
        axes.plot(epochs["epoch"] + 1, epochs["test_loss"], color=COLOURS["test"], label="held out (test)")
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.legend(frameon=False)
    return figure


def _predicted_on_measured(predictions: pd.DataFrame) -> Figure:
    figure, axes = _axes(4.6, 4.4)
    series = {part: rows[["target", "prediction"]].to_numpy() for part, rows in predictions.groupby("part")}
    if predictions["prediction_cv"].notna().any():
        series["cv"] = predictions[["target", "prediction_cv"]].to_numpy()
    for name, values in series.items():
        label = {"cv": "cross-fitted", "test": "held out", "train": "in sample"}.get(str(name), str(name))
        axes.scatter(values[:, 0], values[:, 1], s=14, color=COLOURS[str(name)],
                     alpha=0.8, label=f"{label} (n = {len(values)})", linewidths=0)
    limits = [0, max(values.max() for values in series.values()) * 1.05]
    axes.plot(limits, limits, color="black", linewidth=0.8)
    axes.set(xlabel="measured read-out", ylabel="predicted read-out", xlim=limits, ylim=limits, aspect="equal")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _controls(predictions: pd.DataFrame) -> Figure:
    figure, axes = _axes(5, 3.6)
    views = [("in sample", "prediction", "train"), ("cross-fitted", "prediction_cv", "cv")]
    shown = [view for view in views if predictions[view[1]].notna().any()]
    for place, (label, column, colour) in enumerate(shown):
        for target, marker in ((1.0, "o"), (0.0, "x")):
            rows = predictions[predictions["target"] == target]
            values = rows[column].to_numpy()
            spread = place + np.linspace(-0.25, 0.25, max(len(values), 1))[: len(values)]
            kind = "negative" if target else "positive"
            axes.plot(spread, values, marker, color=COLOURS[colour], markersize=4, label=f"{kind} controls, {label}")
    axes.set_xticks(range(len(shown)), [view[0] for view in shown])
    axes.set(ylabel="probability of living", ylim=(-0.03, 1.03))
    axes.legend(frameon=False, fontsize=8)
    return figure


def _reliability(table: pd.DataFrame) -> Figure:
    """Observed against predicted shares in tenths of the probability, held out: the model's own, and with its temperature."""
    figure, axes = _axes(4.6, 4.4)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="as said")
    views = [("the model's own", table["logit"].to_numpy(float), COLOURS["test"], "o"),
             ("with temperature", cross_calibrated(table), COLOURS["cv"], "s")]
    for label, logits, colour, marker in views if table["target"].nunique() == 2 else []:
        bins = reliability(table["target"], expit(logits))
        axes.plot(bins["predicted"], bins["observed"], color=colour, linewidth=1)
        axes.scatter(bins["predicted"], bins["observed"], s=12 + 120 * bins["n"] / len(table), color=colour, marker=marker, alpha=0.8,
                     label=label, linewidths=0)
    axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03),
             title=f"held-out predictions (n = {len(table)})")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return figure
