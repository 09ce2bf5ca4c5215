"""Figures of a drug profile: the map of phenotypes with the wells' images, and everything of `models.dose_response.readout_plots`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from scipy.optimize import linear_sum_assignment

from models.dose_response.plots import GREY, PALETTE

CONTROLS = {"negative": ("#56B4E9", "s"), "untreated": ("#A6D8F5", "s"), "positive": ("#D55E00", "^")}
_MARKERS = "oDvP*Xp<>h"
_THUMBNAILS = 14


def plot_phenotype_map(places: np.ndarray, wells: pd.DataFrame, *, colour_by: str, title: str, thumbnails: np.ndarray) -> Figure:
    """t-SNE places (N, 2) of `wells` (role, label, and the column `colour_by`, such as the drug class); controls have their own marks.

    thumbnails (N, H, W, 3) on 0-1: pictures of a spread-out choice of wells are put around the map.
    """
    figure = Figure(figsize=(10.5, 7.4), layout="constrained")
    axes = figure.add_subplot()
    treated = (wells["role"] == "treated").to_numpy()
    _add_controls(axes, places, wells)
    colours = [colour for colour in PALETTE if colour not in dict(CONTROLS.values())]
    for number, group in enumerate(dict.fromkeys(wells.loc[treated, colour_by].astype(str))):
        chosen = treated & (wells[colour_by].astype(str) == group).to_numpy()
        axes.scatter(places[chosen, 0], places[chosen, 1], s=38, color=colours[number % len(colours)],
                     marker=_MARKERS[number // len(colours) % len(_MARKERS)],
                     label=group or "no class", edgecolors="white", linewidths=0.4)
    for place, label in zip(places[treated], wells.loc[treated, "label"].astype(str), strict=True):
        axes.annotate(label, place, xytext=(3, 3), textcoords="offset points", fontsize=6)
    axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
    axes.set_title(title, fontsize=9, loc="left")
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if len(places):
        _add_thumbnails(axes, places, thumbnails, wells)
    return figure


def plot_dose_map(places: np.ndarray, wells: pd.DataFrame, *, title: str) -> Figure:
    """t-SNE places (N, 2) of `wells` (role, dose, dose_unit), dosed ones coloured by log10 dose: a panel for each unit, which tells no
    colour to those of another.
    """
    dose, unit = wells["dose"].to_numpy(dtype=float), wells["dose_unit"].astype(str).to_numpy()
    units = list(dict.fromkeys(unit[dose > 0]))
    figure = Figure(figsize=(6.4 * len(units), 5.0), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(units), squeeze=False)[0], units, strict=True):
        dosed = (dose > 0) & (unit == name)
        others = ~dosed & ~wells["role"].isin(CONTROLS).to_numpy()
        axes.scatter(places[others, 0], places[others, 1], s=14, c="#D0D0D0", linewidths=0)
        _add_controls(axes, places, wells)
        drawn = axes.scatter(places[dosed, 0], places[dosed, 1], s=30, c=np.log10(dose[dosed]), cmap="viridis", linewidths=0)
        figure.colorbar(drawn, ax=axes, label=f"log10 dose, {name}")
        axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
        axes.legend(fontsize=7, frameon=False, loc="best")
    figure.suptitle(title, fontsize=9)
    return figure


def _add_controls(axes: Axes, places: np.ndarray, wells: pd.DataFrame) -> None:
    for role, (colour, marker) in CONTROLS.items():
        chosen = (wells["role"] == role).to_numpy()
        if chosen.any():
            axes.scatter(places[chosen, 0], places[chosen, 1], s=34, c=colour, marker=marker, alpha=0.8, linewidths=0,
                         label=role if role == "untreated" else f"{role} control")


def _add_thumbnails(axes: Axes, places: np.ndarray, pictures: np.ndarray, wells: pd.DataFrame) -> None:
    """Pictures of wells that lie far from each other, on a ring around the map, each with a line to its well, the lines as short as can be.

    One well stands for all of a kind of control.
    """
    kinds = wells["role"].where(wells["role"] != "treated", np.arange(len(wells)).astype(str))
    candidates = np.flatnonzero(~kinds.duplicated())
    chosen = candidates[spread_out(places[candidates], count=_THUMBNAILS)]
    low, high = places.min(axis=0), places.max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2 * 1.45 + 1e-9
    angles = np.linspace(-np.pi, np.pi, len(chosen), endpoint=False)
    spots = centre + half * np.column_stack([np.cos(angles), np.sin(angles)])
    away = np.linalg.norm((places[chosen][:, None] - spots[None]) / half, axis=2)
    for row, spot in zip(chosen, spots[linear_sum_assignment(away**2)[1]], strict=True):
        picture = OffsetImage(pictures[row], zoom=58 / max(pictures.shape[1:3]))
        axes.add_artist(AnnotationBbox(
            picture, tuple(places[row]), xybox=tuple(spot), pad=0.1, bboxprops={"edgecolor": GREY, "linewidth": 0.5},
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6}))
        axes.annotate(str(wells["label"].iloc[row]), tuple(spot), xytext=(0, -33), textcoords="offset points", ha="center", va="top",
                      fontsize=6)
    for set_limits, axis in ((axes.set_xlim, 0), (axes.set_ylim, 1)):
        set_limits(centre[axis] - 1.25 * half[axis], centre[axis] + 1.25 * half[axis])


def spread_out(places: np.ndarray, *, count: int) -> np.ndarray:
    """Rows (k,) of up to `count` places, each as far as can be from those chosen before; the first is the one nearest to the middle."""
    chosen = [int(np.linalg.norm(places - places.mean(axis=0), axis=1).argmin())]
    away = np.linalg.norm(places - places[chosen[0]], axis=1)
    while len(chosen) < min(count, len(places)) and away.max() > 0:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return np.array(chosen)
