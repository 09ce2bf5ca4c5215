"""Networks on one image set, side by side, against figures reckoned by hand; and what the figures of read-out models say in numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from models.networks.recipe import Gate
from pipelines.compare_figures import plot_midpoints, plot_pairs_of_wells, plot_predicted_on_measured
from pipelines.compare_networks import NetworkRun, compare_networks
from pipelines.params import Params

RECIPE = Params.read(Path(__file__).parents[2] / "params.yaml").recipes["toxicity"]
FOLDED, PARTED = (replace(RECIPE, split=replace(RECIPE.split, folds=folds)) for folds in (4, 0))


def predictions(wrong: tuple[int, ...], *, folds: bool = True) -> pd.DataFrame:
    """Ten images of each fold, known by heart in sample, of which so many are called wrong by the twin of the fold (the test part)."""
    target = np.tile([1.0, 0.0], 20)
    said = np.where(target == 1, 0.2, -0.2)      # on the right side, but not by much
    for fold, count in enumerate(wrong):
        said[10 * fold:10 * fold + count] *= -1
    table = pd.DataFrame({"target": target, "part": "train", "fold": np.repeat(range(4), 10), "label": np.where(target == 1, "a", "b"),
                          "logit": np.where(target == 1, 9.0, -9.0), "logit_cv": said})
    if folds:
        return table
    return table.assign(part=np.where(table["fold"] == 3, "test", "train"), logit=table["logit"].where(table["fold"] < 3, said),
                        logit_cv=np.nan, fold=-1)


def test_networks_are_told_by_images_that_they_had_not_seen_and_tested_set_by_set() -> None:
    shallow = replace(FOLDED, head=replace(FOLDED.head, hidden=(4,)))
    gated = replace(FOLDED, seed=FOLDED.seed + 1, gates=(Gate(metric="accuracy_cv", minimum=0.5),))
    errors = {"one": (1, 2, 0, 3), "again": (2, 2, 1, 1), "small": (4, 3, 5, 4), "elsewhere": (0, 0, 0, 1), "apart": (0, 0, 0, 4)}
    recipes = {"one": ("s", "deep", FOLDED), "again": ("s", "deep_again", gated), "small": ("s", "shallow", shallow),
               "elsewhere": ("t", "deep", FOLDED), "apart": ("t", "parted", PARTED)}
    runs = [NetworkRun(name, *recipes[name], predictions(wrong, folds=name != "apart")) for name, wrong in errors.items()]
    networks, anova = compare_networks(runs)
    found = networks.set_index("model")
    assert found["network"].to_dict() == {"one": "deep", "again": "deep", "small": "shallow", "elsewhere": "deep", "apart": "parted"}
    assert found["accuracy"].to_dict() == pytest.approx({"one": 34 / 40, "again": 34 / 40, "small": 24 / 40, "elsewhere": 39 / 40,
                                                         "apart": 6 / 10})
    assert found["n"].tolist() == [40, 40, 40, 40, 10]
    right = {name: 1 - np.array(wrong) / 10 for name, wrong in errors.items()}
    expected = stats.f_oneway(np.concatenate([right["one"], right["again"]]), right["small"])
    (row,) = anova.to_dict("records")
    assert {name: row[name] for name in ("imageset", "networks", "units", "df_between", "df_error")} == {
        "imageset": "s", "networks": 2, "units": 12, "df_between": 1, "df_error": 10}
    assert (row["f"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue))


def test_figures_of_read_outs_say_the_numbers_of_their_wells() -> None:
    """Of wells that are said too high by 0.1 to 0.3."""
    measured = np.array([0.2, 0.6, 1.0, 1.4])
    wells = pd.DataFrame({"screen": "s", "model": "m", "relation": "allogenic", "target": measured,
                          "predicted": measured + np.array([0.1, 0.3, 0.2, 0.2])})
    title = plot_pairs_of_wells(wells).axes[0].get_title()
    p = stats.ttest_rel(wells["predicted"], measured).pvalue
    assert title == f"+0.200 ± {np.std([0.1, 0.3, 0.2, 0.2], ddof=1):.3f}, paired p = {p:.4f}"
    slope, intercept = np.polyfit(measured, wells["predicted"], 1)
    assert f"y = {slope:.2f} x {intercept:+.2f}" in plot_predicted_on_measured(wells).axes[0].texts[0].get_text()


def test_midpoints_are_drawn_measured_first_then_as_each_model_says() -> None:
    sets = pd.DataFrame({"screen": "s", "relation": "allogenic", "dose_unit": "nM", "model": ["m", "m", "n", "n"],
                         "ec50_measured": [10.0, 30.0] * 2, "ec50_predicted": [20.0, 40.0, 50.0, np.nan]})
    axes = plot_midpoints(sets).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["measured", "m", "n"]
    drawn = [line.get_ydata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert drawn == [[10, 30], [20, 40], [50]]
    assert [text.get_text() for text in axes.texts] == ["1 none"]
