"""Figures of a model of labelled images (systems S3-S5): learning curves, ROC, confusion matrix, and what its GAN learnt to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy.special import expit

from models.dose_response.plots import BLUE, GREY, ORANGE, PALETTE
from models.networks.calibration import held_out_logits
from models.networks.evaluate import auroc, confusion

_SMOOTH = 50    # points that a GAN's curves are averaged to: a batch is noisy


def class_figures(predictions: pd.DataFrame, epochs: pd.DataFrame, *, gan: Path | None) -> dict[str, Figure]:
    """Name -> figure. predictions: with the column `label`; gan: folder with what the stage `train` kept of a GAN, if it trained one."""
    classes = class_names(predictions)
    table = held_out_logits(predictions)
    drawn = {"learning_curve": plot_learning(epochs)}
    if table["target"].nunique() == 2:
        drawn |= {"roc": plot_roc({"held out": table}, classes), "confusion": plot_confusion(table, classes)}
    if gan is not None and (gan / "epochs.csv").is_file():
        drawn |= {"gan_losses": plot_gan_losses(pd.read_csv(gan / "epochs.csv")), "gan_sheets": plot_gan_sheets(read_sheets(gan), classes)}
    return drawn


def class_names(predictions: pd.DataFrame) -> tuple[str, str]:
    """First and second class of a predictions table."""
    first, second = (str(predictions.loc[predictions["target"] == target, "label"].iloc[0]) for target in (1.0, 0.0))
    return first, second


def read_sheets(folder: Path) -> dict[str, np.ndarray]:
    """Title -> sample sheet (2 S, 8 S[, 3]) uint8: real images first, then by epoch."""
    sheets = {f"epoch {int(path.stem.partition('_')[2])}": np.asarray(Image.open(path)) for path in sorted(folder.glob("epoch_*.png"))}
    return {"training images": np.asarray(Image.open(folder / "real.png")), **sheets}


def plot_learning(epochs: pd.DataFrame) -> Figure:
    """Loss and accuracy by epoch, of the training images as they were seen (augmented) and of those that validate or test."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for axes, value in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs["epoch"] + 1, epochs[value], color="black", label="training")
        for part, colour in (("validation", ORANGE), ("test", BLUE)):
            if (name := f"{part}_{value}") in epochs and epochs[name].notna().any():
                axes.plot(epochs["epoch"] + 1, epochs[name], color=colour, label="held out (test)" if part == "test" else part)
        axes.set(xlabel="epoch", ylabel=value, **({"yscale": "log"} if value == "loss" else {"ylim": (0, 1.03)}))
        axes.legend(frameon=False, fontsize=8)
    return figure


def plot_roc(tables: Mapping[str, pd.DataFrame], classes: Sequence[str]) -> Figure:
    """ROC curves, one per table of held-out predictions (target 1 or 0, logit)."""
    from sklearn.metrics import roc_curve

    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes: Axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    for (name, table), colour in zip(tables.items(), PALETTE * (1 + len(tables) // len(PALETTE)), strict=False):
        first, score = table["target"].to_numpy() > 0.5, table["logit"].to_numpy(float)
        wrong, right, _ = roc_curve(first, score, drop_intermediate=False)
        axes.plot(wrong, right, color=colour, label=f"{name}: AUC {auroc(first, score):.3f} (n = {len(table)})")
    axes.set(xlabel=f"share of {classes[1]} called {classes[0]}", ylabel=f"share of {classes[0]} found", xlim=(-0.02, 1.02),
             ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def plot_confusion(table: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Counts of true and called classes of held-out predictions (target 1 or 0, logit)."""
    counts = confusion(table["target"].to_numpy(float), expit(table["logit"].to_numpy(float)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(3.8, 3.4), layout="constrained")
    axes: Axes = figure.subplots()
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, f"{count}\n{shares[row, column]:.1%}", ha="center", va="center",
                  color="black" if shares[row, column] > 0.5 else "white")
    axes.set_xticks(range(2), list(classes))
    axes.set_yticks(range(2), list(classes), rotation=90, va="center")
    axes.set(xlabel="called", ylabel="true", title=f"held out, n = {len(table)}")
    return figure


def plot_gan_losses(epochs: pd.DataFrame) -> Figure:
    """Losses of both networks and accuracy of the discriminator by epoch, averaged over stretches of epochs."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    losses, right = figure.subplots(1, 2)
    stretch = np.arange(len(epochs)) // max(1, len(epochs) // _SMOOTH)
    means = epochs.groupby(stretch).mean()
    losses.plot(means["epoch"] + 1, means["loss"], color=BLUE, label="discriminator")
    losses.plot(means["epoch"] + 1, means["generator_loss"], color=ORANGE, label="generator")
    losses.axhline(np.log(2), color=GREY, linewidth=0.8, linestyle="--", label="log 2: cannot tell")
    right.plot(means["epoch"] + 1, means["accuracy"], color=BLUE, label="discriminator")
    right.axhline(0.5, color=GREY, linewidth=0.8, linestyle="--", label="1/2: cannot tell")
    losses.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.03))
    for axes in (losses, right):
        axes.legend(frameon=False, fontsize=8)
    return figure


def plot_gan_sheets(sheets: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Sample sheets below each other: the upper row of each is of the first class, the lower of the second; the same noise throughout."""
    figure = Figure(figsize=(6.4, 0.3 + 1.85 * len(sheets)), layout="constrained")
    for axes, (title, sheet) in zip(np.atleast_1d(figure.subplots(len(sheets), 1)), sheets.items(), strict=True):
        axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title, fontsize=8, pad=2)
        axes.set_xticks([])
        axes.set_yticks([sheet.shape[0] / 4, 3 * sheet.shape[0] / 4], list(classes), fontsize=7)
        axes.tick_params(length=0)
    return figure
