"""Figures: a curve, a panel of curves, a waterfall of scores, a heat map of a plate.

Colours are Okabe and Ito's, and viridis: both are safe for colour-blind readers. Figures are made without pyplot, so a
service can draw them in any thread. `figure.savefig(path)` writes PNG, SVG or PDF.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from models.dose_response.assay_quality import plate_shape, well_positions
from models.dose_response.bands import confidence_band
from models.dose_response.checks import require_columns
from models.dose_response.curves import curve_values
from models.dose_response.words import dose_words, ic_name
from models.tables import left_out
from models.wells import row_letters

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6F6F6F"
PALETTE = (BLUE, ORANGE, GREEN, VERMILION, "#CC79A7", "#56B4E9", "#F0E442", "#000000")
STATUS_COLOURS = {"ok": BLUE, "weakly_identified": ORANGE, "flat": GREY, "too_few_doses": GREY, "failed": GREY}
AXIS_LABELS = {"percent_inhibition": "Inhibition (%)", "fraction_viability": "Viability (1 = negative control)", "raw": "Response"}
_GRID = 200


def plot_curve(curve: pd.Series, wells: pd.DataFrame, *, dose: str, response: str, title: str = "", axes: Axes | None = None,
               notes: Literal["long", "short"] = "long") -> Axes:
    """One fitted curve with its wells, band, EC50 interval, IC50 or its censoring, and the reason.

    curve: a row of the Curves table; wells: the rows that were fitted, with the columns `dose` and `response`.
    notes: "long" writes IC50, status and reason below the title, "short" only IC50.
    """
    axes = axes if axes is not None else Figure(figsize=(4.2, 3.6), layout="constrained").add_subplot()
    colour = STATUS_COLOURS[curve["status"]]
    tested = wells[np.isfinite(wells[response].astype(float)) & (wells[dose] > 0)]
    axes.set_xscale("log")
    axes.plot(tested[dose], tested[response], "o", color="black", markersize=3.5, alpha=0.75, markeredgewidth=0, zorder=3)
    if np.isfinite(curve["top"]):
        _draw_fit(axes, curve, tested[dose].to_numpy(dtype=float), colour)
    axes.set_ylim(*_response_range(tested[response], curve["scale"]))
    if curve["ic50_relation"]:
        _draw_ic50(axes, curve, colour)
    unit = f" ({curve['dose_unit']})" if curve["dose_unit"] else ""
    axes.set_xlabel(f"Dose{unit}")
    axes.set_ylabel(AXIS_LABELS[curve["scale"]])
    axes.spines[["top", "right"]].set_visible(False)
    heading = "\n".join(filter(None, [title, _note(curve, notes)]))
    axes.set_title(heading, fontsize=8, loc="left", color="black")
    return axes


def _response_range(responses: pd.Series, scale: str) -> tuple[float, float]:
    """The range to draw: all responses, and at least no effect to full effect where the scale has them."""
    anchors = {"percent_inhibition": [0.0, 100.0], "fraction_viability": [0.0, 1.0]}.get(scale, [])
    values = np.append(responses.to_numpy(dtype=float), anchors)
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_fit(axes: Axes, curve: pd.Series, tested: np.ndarray, colour: str) -> None:
    grid = np.geomspace(curve["dose_min"], curve["dose_max"], _GRID)
    table = curve.to_frame().T.reset_index(drop=True)
    axes.plot(grid, curve_values(table, grid)[0], color=colour, linewidth=1.6, zorder=2,
              linestyle="--" if curve["status"] == "flat" else "-")
    if curve["status"] != "flat":
        axes.fill_between(grid, *confidence_band(curve, tested, grid), color=colour, alpha=0.18, linewidth=0)
    if curve["ec50_relation"] == "=" and curve["status"] != "flat":
        y = float(curve_values(table, [curve["ec50"]])[0, 0])
        left = np.nanmax([curve["ec50_low"], curve["dose_min"]])         # an open or far limit ends at the tested doses
        right = np.nanmin([curve["ec50_high"], curve["dose_max"]])
        axes.plot([left, right], [y, y], color=colour, linewidth=1.2, zorder=2)
        axes.plot([curve["ec50"]], [y], marker="|", markersize=9, color=colour, zorder=4)


def _draw_ic50(axes: Axes, curve: pd.Series, colour: str) -> None:
    """A line at IC50; where it is censored, an arrow that points beyond the tested doses."""
    level = curve["ic_level"] if curve["scale"] == "percent_inhibition" else 1.0 - curve["ic_level"] / 100.0
    axes.axhline(level, color=GREY, linewidth=0.7, linestyle=":")
    if curve["ic50_relation"] == "=":
        axes.axvline(curve["ic50"], color=colour, linewidth=0.9, linestyle=":")
        return
    ahead = curve["ic50_relation"] == ">"
    axes.plot([curve["ic50"]], [level], marker=9 if ahead else 8, markersize=10, color=VERMILION, clip_on=False, zorder=5)


def _note(curve: pd.Series, notes: Literal["long", "short"]) -> str:
    lines = []
    if curve["ic50_relation"]:
        lines.append(f"{ic_name(curve['ic_level'])} {curve['ic50_relation']} {dose_words(curve['ic50'], curve['dose_unit'])}")
    elif np.isfinite(curve["ec50"]):
        lines.append(f"EC50 {curve['ec50_relation']} {dose_words(curve['ec50'], curve['dose_unit'])}")
    if notes == "long" and curve["status"] != "ok":
        lines.append(curve["status"].replace("_", " "))
    if notes == "long" and curve["reason"]:
        lines += textwrap.wrap(curve["reason"], 62)
    return "\n".join(lines)


def plot_panel(curves: pd.DataFrame, wells: pd.DataFrame, *, by: str, dose: str, response: str, columns: int = 5) -> Figure:
    """All curves on one page, equal axes; colour tells the status (blue ok, orange weakly identified, grey flat)."""
    require_columns(wells, [by, dose, response], what="curves cannot be drawn")
    rows = max(1, -(-len(curves) // columns))
    figure = Figure(figsize=(2.3 * columns, 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    groups = dict(list(wells.groupby(by, sort=False)))
    shown = wells[response].astype(float)
    limits = _response_range(shown[np.isfinite(shown)], curves["scale"].iloc[0] if len(curves) else "raw")
    for axes, (_, curve) in zip(grid.flat, curves.iterrows(), strict=False):
        part = groups.get(curve[by], wells.iloc[:0])
        plot_curve(curve, part, dose=dose, response=response, title=str(curve[by]), axes=axes, notes="short")
        axes.set_ylim(*limits)
        axes.tick_params(labelsize=6)
        axes.minorticks_off()       # too small to be read, and half of the drawing time
        axes.set_xlabel("")
        axes.set_ylabel("")
    for axes in grid.flat[len(curves):]:
        axes.set_visible(False)
    if len(curves):
        units = sorted(set(curves["dose_unit"]) - {""})
        figure.supxlabel(f"Dose ({', '.join(units)})" if units else "Dose", fontsize=9)
        figure.supylabel(AXIS_LABELS[curves["scale"].iloc[0]], fontsize=9)
    return figure


def plot_waterfall(scored: pd.DataFrame, *, name: str = "treatment", score: str = "dss_asym", threshold: float = 10.0,
                   colour_by: str = "") -> Figure:
    """Scores in falling order, with the hit threshold; bars of flat and weakly identified curves are hatched.

    colour_by: a column (such as the drug class) that colours the bars; at most 8 values get their own colour.
    """
    require_columns(scored, [name, score, "status", *([colour_by] if colour_by else [])], what="scores cannot be drawn")
    ranked = scored.sort_values([score, name], ascending=[False, True], na_position="last").reset_index(drop=True)
    figure = Figure(figsize=(max(5.0, 0.17 * len(ranked) + 1.5), 3.8), layout="constrained")
    axes = figure.add_subplot()
    groups: Sequence[str] = list(dict.fromkeys(ranked[colour_by].astype(str))) if colour_by else []
    colours = {group: PALETTE[i] if i < len(PALETTE) - 1 or len(groups) <= len(PALETTE) else GREY for i, group in enumerate(groups)}
    for position, (_, row) in enumerate(ranked.iterrows()):
        colour = colours[str(row[colour_by])] if colour_by else (VERMILION if row[score] >= threshold else BLUE)
        axes.bar(position, row[score], color=colour, edgecolor="white", hatch="" if row["status"] == "ok" else "////", linewidth=0)
    axes.axhline(threshold, color="black", linewidth=0.8, linestyle="--")
    axes.text(len(ranked) - 0.5, threshold, f" hit: {threshold:g}", fontsize=8, va="bottom", ha="right")
    axes.set_xticks(range(len(ranked)), ranked[name].astype(str).tolist(), rotation=90, fontsize=7)
    axes.set_xlim(-0.8, len(ranked) - 0.2)
    axes.set_ylabel(score.upper().replace("_", " "))
    axes.spines[["top", "right"]].set_visible(False)
    for group, colour in colours.items():
        axes.bar(0, 0, color=colour, label=group)
    axes.bar(0, 0, facecolor="white", edgecolor=GREY, hatch="////", label="flat or weakly identified", linewidth=0)
    axes.legend(fontsize=7, frameon=False, loc="upper right")
    return figure


def plot_plate(wells: pd.DataFrame, *, value: str, title: str = "", label: str = "") -> Figure:
    """Heat map of one plate; wells without a value stay grey, control wells are framed, excluded ones crossed out.

    wells: rows of one plate with `well` and `value`; `role` and `excluded` where present.
    """
    require_columns(wells, ["well", value], what="the plate cannot be drawn")
    row, column = well_positions(wells["well"])
    inside = np.isfinite(row) & np.isfinite(column)
    at = np.where(inside, [row, column], -1).T.astype(int)
    rows, columns = plate_shape(row[inside], column[inside])
    grid = np.full((rows, columns), np.nan)
    grid[at[inside, 0], at[inside, 1]] = wells[value].to_numpy(dtype=float)[inside]
    figure = Figure(figsize=(0.33 * columns + 1.6, 0.33 * rows + 0.9), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#DDDDDD")
    finite = grid[np.isfinite(grid)]
    norm = Normalize(*np.percentile(finite, [1, 99])) if len(finite) else Normalize(0, 1)
    image = axes.imshow(grid, cmap="viridis", norm=norm, aspect="equal")
    _mark_wells(axes, wells[inside], at[inside])
    axes.set_xticks(range(columns), [str(i + 1) for i in range(columns)], fontsize=6)
    axes.set_yticks(range(rows), [row_letters(i) for i in range(rows)], fontsize=6)
    axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    axes.set_title(title, fontsize=9, loc="left")
    figure.colorbar(image, ax=axes, label=label or value, shrink=0.9)
    return figure


def _mark_wells(axes: Axes, wells: pd.DataFrame, at: np.ndarray) -> None:
    if "role" in wells.columns:
        for role, colour in (("negative", "white"), ("positive", VERMILION)):
            chosen = (wells["role"] == role).to_numpy()
            axes.scatter(at[chosen, 1], at[chosen, 0], marker="s", s=70, facecolors="none", edgecolors=colour, linewidths=1.4, label=role)
        if wells["role"].isin(["negative", "positive"]).any():
            axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(0.0, -0.01), ncols=2, frameon=True, facecolor="#BBBBBB")
    gone = left_out(wells).to_numpy()
    axes.plot(at[gone, 1], at[gone, 0], "x", color="black", markersize=6)
