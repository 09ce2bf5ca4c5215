"""Figures of several read-outs side by side (Berker et al. 2022, figures 6-12), from the tables of `models.dose_response.readouts`.

Each returns a matplotlib Figure, made without pyplot; `figure.savefig(path)` writes it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.dose_response.checks import require_columns
from models.dose_response.plots import BLUE, GREY, ORANGE, PALETTE, VERMILION
from models.dose_response.selection import HIT_THRESHOLD

_LOWEST_Z = -1.5     # Z' below this is written as a number, as in the paper


def _colours(names: list[str]) -> dict[str, str]:
    return {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}


def _score_name(kind: str) -> str:
    return kind.replace("dss", "DSS").replace("_", " ")


def plot_quality(quality: pd.DataFrame, *, value: str = "z_prime_mad_mean") -> Figure:
    """Z' of every plate, a violin per read-out: points = plates, diamond = mean, line = median; plates below -1.5 are counted beneath.

    quality: `assay_quality` by screen, readout and plate.
    """
    require_columns(quality, ["readout", value], what="plate quality cannot be drawn")
    names = list(dict.fromkeys(quality["readout"]))
    figure = Figure(figsize=(1.3 + 1.5 * len(names), 3.8), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, colour) in enumerate(_colours(names).items()):
        known = quality.loc[quality["readout"] == name, value].dropna().to_numpy(float)
        _violin(axes, place, known[known >= _LOWEST_Z], colour)
        if (low := known[known < _LOWEST_Z]).size:
            said = f"{low[0]:.1f}" if low.size == 1 else f"{low.size} below"
            axes.text(place, _LOWEST_Z + 0.03, said, ha="center", va="bottom", fontsize=8)
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(names)), [f"{name}\n(n = {(quality['readout'] == name).sum()})" for name in names], fontsize=8)
    axes.set(ylabel="Z' (median, mean absolute deviation)" if value == "z_prime_mad_mean" else value, ylim=(_LOWEST_Z, 1.05),
             xlim=(-0.6, len(names) - 0.4))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _violin(axes: Axes, place: int, values: np.ndarray, colour: str) -> None:
    if len(values) > 2 and np.ptp(values) > 0:
        body = axes.violinplot(values, [place], widths=0.7, showextrema=False)["bodies"][0]     # type: ignore[index]  # a list of bodies
        body.set(facecolor=colour, alpha=0.35, linewidth=0)
    if len(values):
        spread = place + np.linspace(-0.08, 0.08, len(values)) if len(values) > 1 else [place]
        axes.plot(spread, values, "o", color=colour, markersize=4)
        axes.plot([place - 0.22, place + 0.22], [np.median(values)] * 2, color="black", linewidth=1.2)
        axes.plot(place, values.mean(), "D", markerfacecolor="white", markeredgecolor="black", markersize=6)


def plot_uniformity(readouts: pd.DataFrame) -> Figure:
    """Histogram of the viability of treated wells, a panel per read-out; negative controls outlined blue, positive ones red."""
    require_columns(readouts, ["readout", "role", "viability", "excluded"], what="uniformity cannot be drawn")
    names = list(dict.fromkeys(readouts["readout"]))
    figure = Figure(figsize=(5.2, 0.7 + 1.35 * len(names)), layout="constrained")
    bins = np.linspace(-0.6, 1.6, 45)
    for axes, name in zip(figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], names, strict=True):
        wells = readouts[(readouts["readout"] == name) & ~readouts["excluded"]]
        treated, negative, positive = (wells.loc[wells["role"] == role, "viability"].clip(bins[0], bins[-1])
                                       for role in ("treated", "negative", "positive"))
        axes.hist(treated, bins=bins, color="#BBBBBB", label=f"treated (n = {len(treated)})")
        for values, colour, label in ((negative, BLUE, "negative control"), (positive, VERMILION, "positive control")):
            axes.hist(values, bins=bins, histtype="step", color=colour, linewidth=1.4, label=f"{label} (n = {len(values)})")
        axes.set_ylabel("wells", fontsize=8)
        axes.set_title(name, fontsize=9, loc="left")
        axes.legend(fontsize=6, frameon=False, loc="upper left")
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("viability (0 = positive, 1 = negative control); outermost bars: all beyond", fontsize=8)
    return figure


def plot_pairs(pairs: pd.DataFrame, agreement: pd.DataFrame, by_screen: pd.DataFrame, *, first: str = "first", second: str = "second",
               labels: tuple[str, str] = ("duplicate 1", "duplicate 2"), threshold: float | None = None) -> Figure:
    """Top: `second` on `first`, a panel per read-out, all screens together. Bottom: Pearson's R of each screen, with limits.

    agreement, by_screen: `reproducibility` or `score_agreement` by readout, and by screen and readout. threshold: drawn on both axes,
    points on different sides of it are red.
    """
    require_columns(pairs, ["readout", first, second], what="pairs cannot be drawn")
    names = list(dict.fromkeys(pairs["readout"]))
    screens = list(dict.fromkeys(by_screen["screen"]))
    figure = Figure(figsize=(max(4.0, 2.6 * len(names)), 5.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.5, 1])  # type: ignore[misc]  # two rows give an array of two
    values = pairs[[first, second]].to_numpy(float)
    limits = (float(np.nanmin(values)), float(np.nanmax(values))) if len(values) else (0.0, 1.0)
    known = agreement.set_index("readout")
    colours = _colours(names)
    for axes, name in zip(top.subplots(1, len(names), squeeze=False, sharey=True)[0], names, strict=True):
        part = pairs[pairs["readout"] == name]
        _scatter(axes, part[first].to_numpy(float), part[second].to_numpy(float), limits, colours[name], threshold)
        pearson, spearman = known.loc[name, ["pearson", "spearman"]].astype(float)
        axes.set_title(f"{name}\nR = {pearson:.2f}, ρ = {spearman:.2f}", fontsize=8)
        axes.set_xlabel(labels[0], fontsize=8)
        axes.set_ylabel(labels[1] if name == names[0] else "", fontsize=8)
    _bars_by_screen(bottom.subplots(), by_screen, names, screens, colours)
    return figure


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray, limits: tuple[float, float], colour: str, threshold: float | None) -> None:
    apart = (x >= threshold) != (y >= threshold) if threshold is not None else np.zeros(len(x), bool)
    room = 0.04 * (limits[1] - limits[0])
    axes.plot(limits, limits, color="black", linewidth=0.6)
    for chosen, shade in ((~apart, colour), (apart, VERMILION)):
        axes.plot(x[chosen], y[chosen], "o", color=shade, markersize=3, alpha=0.6, markeredgewidth=0)
    if threshold is not None:
        axes.axhline(threshold, color=GREY, linewidth=0.6, linestyle=":")
        axes.axvline(threshold, color=GREY, linewidth=0.6, linestyle=":")
    axes.set(xlim=(limits[0] - room, limits[1] + room), ylim=(limits[0] - room, limits[1] + room), aspect="equal")
    axes.tick_params(labelsize=7)


def _bars_by_screen(axes: Axes, table: pd.DataFrame, names: list[str], screens: list[str], colours: dict[str, str]) -> None:
    found = table.set_index(["screen", "readout"])
    width = 0.8 / max(len(names), 1)
    for place, name in enumerate(names):
        there = [number for number, screen in enumerate(screens) if (screen, name) in found.index]
        rows = found.loc[[(screens[number], name) for number in there]]
        x = np.array(there) + (place - (len(names) - 1) / 2) * width
        axes.bar(x, rows["pearson"], width=0.92 * width, color=colours[name], label=name)
        limits = np.vstack([rows["pearson"] - rows["pearson_low"], rows["pearson_high"] - rows["pearson"]]).astype(float)
        axes.errorbar(x, rows["pearson"].astype(float), yerr=np.nan_to_num(limits.clip(min=0)), fmt="none", ecolor="black", elinewidth=0.7)
    angle, end = (30.0, "right") if len(screens) > 4 else (0.0, "center")
    axes.set_xticks(range(len(screens)), screens, fontsize=7, rotation=angle, ha=end)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylabel("Pearson's R", fontsize=8)
    axes.set_xlim(-0.6, len(screens) - 0.4)
    axes.set_ylim(min(0.0, float(found["pearson_low"].min(skipna=True) or 0)), 1.02)
    axes.legend(fontsize=7, frameon=False, ncols=max(1, len(names)), loc="lower left", bbox_to_anchor=(0, 1.0))
    axes.spines[["top", "right"]].set_visible(False)


def plot_score_map(scored: pd.DataFrame, *, kind: str = "dss_asym", names: dict[str, str] | None = None) -> Figure:
    """Heat map of scores: rows = treatments (falling mean), columns = screens within read-outs; grey = no score. names: labels of rows."""
    require_columns(scored, ["screen", "readout", "treatment", kind], what="scores cannot be drawn")
    wide = scored.set_index(["treatment", "readout", "screen"])[kind].unstack(["readout", "screen"], sort=False)
    wide = wide.loc[wide.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    figure = Figure(figsize=(2.6 + 0.34 * wide.shape[1] + 0.3 * wide.columns.get_level_values(0).nunique(), 1.6 + 0.17 * len(wide)),
                    layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#DDDDDD")
    image = axes.imshow(wide.to_numpy(float), cmap="cividis", vmin=0, vmax=50, aspect="auto")
    axes.set_xticks(range(wide.shape[1]), wide.columns.get_level_values("screen").tolist(), rotation=90, fontsize=7)
    axes.set_yticks(range(len(wide)), [(names or {}).get(str(name), str(name)) for name in wide.index], fontsize=7)
    readouts = wide.columns.get_level_values(0)
    for name in dict.fromkeys(readouts):
        places = np.flatnonzero(readouts == name)
        axes.text(places.mean(), -0.9, str(name), ha="center", va="bottom", fontsize=7, rotation=0 if len(places) > 3 else 45)
        if places[0]:
            axes.axvline(places[0] - 0.5, color="white", linewidth=2)
    figure.colorbar(image, label=_score_name(kind), shrink=0.6)
    return figure


def plot_expected_hits(scored: pd.DataFrame, expected: list[str], *, kind: str = "dss_asym", threshold: float = HIT_THRESHOLD) -> Figure:
    """Scores of the treatments that the sample's genetics lets expect to work, a marker per read-out (Berker et al. 2022, figure 10)."""
    require_columns(scored, ["readout", "treatment", "screen", kind], what="expected hits cannot be drawn")
    chosen = scored[scored["treatment"].isin(expected)]
    rows = list(chosen[["screen", "treatment"]].drop_duplicates().itertuples(index=False, name=None))
    figure = Figure(figsize=(5.4, 1.1 + 0.28 * max(len(rows), 1)), layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(scored["readout"]))
    for (name, colour), marker in zip(_colours(names).items(), "osD^vP*X" * len(names), strict=False):
        part = chosen[chosen["readout"] == name]
        axes.plot(part[kind], [rows.index(key) for key in zip(part["screen"], part["treatment"], strict=True)], marker, color=colour,
                  markersize=6, alpha=0.85, label=name)
    axes.axvline(threshold, color="black", linewidth=0.8, linestyle="--")
    several = len({screen for screen, _ in rows}) > 1
    axes.set_yticks(range(len(rows)), [f"{treatment} ({screen})" if several else treatment for screen, treatment in rows], fontsize=8)
    axes.set(xlabel=f"{_score_name(kind)} (hit from {threshold:g})", xlim=(-1, 51), ylim=(len(rows) - 0.4, -0.6))
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_score_bars(compared: pd.DataFrame, *, reference: str, threshold: float = HIT_THRESHOLD) -> Figure:
    """Scores of one read-out beside those of the reference, treatment by treatment; mismatches at the threshold are named in red."""
    require_columns(compared, ["treatment", "readout", "score", "reference_score", "mismatch"], what="scores cannot be drawn")
    table = compared.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)
    figure = Figure(figsize=(max(5.0, 0.26 * len(table) + 1.2), 3.6), layout="constrained")
    axes = figure.add_subplot()
    place = np.arange(len(table))
    axes.bar(place - 0.2, table["score"], width=0.4, color=BLUE, label=", ".join(dict.fromkeys(table["readout"])))
    axes.bar(place + 0.2, table["reference_score"], width=0.4, color=ORANGE, label=reference)
    axes.axhline(threshold, color="black", linewidth=0.8, linestyle="--")
    axes.set_xticks(place, table["treatment"].astype(str).tolist(), rotation=90, fontsize=7)
    for text, mismatch in zip(axes.get_xticklabels(), table["mismatch"], strict=True):
        text.set_color(VERMILION if mismatch else "black")
    axes.set(ylabel="DSS", xlim=(-0.8, len(table) - 0.2))
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
