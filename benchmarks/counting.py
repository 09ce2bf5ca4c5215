"""Counting: simulated fibroblasts against the truth; on real images, living and dead cells against drawn boxes, nuclei against true numbers
and against Otsu + watershed.

    python -m benchmarks.counting [fibroblasts] [livedead] [nuclei] [--every 1]    the last two need their folders (DOSEWELL_SHARED)
    python -m benchmarks.counting fibroblasts --figure docs/images/counting_fibroblasts.png

Scales were chosen on every sixth image of livedead and every other one of nuclei_counts, in the order of their names; the tables show
these and the rest apart. Those for fibroblasts were chosen on 60 other images of the same simulation (seeds 101 and 102; reported: seed 2).
"Given": verdicts that are not "cannot say". "Within limits": of the images in which a cell was counted; without one there are no limits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from benchmarks.at_hand import shared
from models.counting import AttachedOptions, CellCount, Grade, count_cells, count_nuclei, match_boxes, reactivity_grade
from models.counting.segment import grey
from models.plates.simulate.imagesets import Drawn, toxicity_set
from pipelines.command import run_command
from pipelines.count_cells import draw_overlay

BOX = ["x_min", "y_min", "x_max", "y_max"]


def read_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def read_boxes(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "boxes.csv").rename(columns={"xmin": "x_min", "ymin": "y_min", "xmax": "x_max", "ymax": "y_max"})


def compare_cells(counted: CellCount, drawn: pd.DataFrame) -> dict[str, float]:
    """One image: cells found, drawn and agreed upon, the same of dead ones, and both grades."""
    pairs = match_boxes(counted.cells, drawn).pairs
    states = counted.cells["state"].to_numpy()[pairs[:, 0]], drawn["label"].to_numpy()[pairs[:, 1]]
    dead = int((drawn["label"] == "dead").sum())
    true = reactivity_grade(dead, len(drawn) - dead)
    here = counted.grade if len(counted) else None
    return {"found": len(counted), "drawn": len(drawn), "agreed": len(pairs), "found_dead": counted.dead, "drawn_dead": dead,
            "agreed_dead": int(((states[0] == "dead") & (states[1] == "dead")).sum()), "same_state": int((states[0] == states[1]).sum()),
            "grade right": 0.0, "verdict right": 0.0, "verdict given": 0.0, **({} if here is None else compare_grades(here, true))}


def compare_grades(here: Grade, true: Grade) -> dict[str, float]:
    """Whether a counted grade, its limits and its verdict are those of the true cells; "of given" is NaN where there is no verdict."""
    given = here.verdict != "cannot say"
    return {"grade right": float(here.grade == true.grade), "verdict right": float(here.toxic == true.toxic),
            "true share within limits": float(here.low <= true.dead_share <= here.high),
            "true grade within limits": float(here.lowest <= true.grade <= here.highest), "verdict given": float(given),
            "verdict right, of given": float(here.toxic == true.toxic) if given else float("nan")}


def score_cells(table: pd.DataFrame) -> dict[str, float]:
    total = table.sum(numeric_only=True)
    return {"images": len(table), "cells": total["drawn"],
            "precision": total["agreed"] / total["found"], "recall": total["agreed"] / total["drawn"],
            "precision per image": (table["agreed"] / table["found"].replace(0, np.nan)).mean(),
            "recall per image": (table["agreed"] / table["drawn"]).mean(), "state right": total["same_state"] / total["agreed"],
            "dead precision": total["agreed_dead"] / max(total["found_dead"], 1), "dead recall": total["agreed_dead"] / total["drawn_dead"],
            **{str(name): float(table[name].mean()) for name in table if str(name).startswith(("grade", "verdict", "true"))}}


def otsu_watershed(pixels: np.ndarray, *, distance: int = 7, smallest: int = 30) -> int:
    """The textbook: Otsu on grey values (inverted where the background is bright), watershed from the peaks of the distance transform."""
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.morphology import remove_small_objects
    from skimage.segmentation import watershed

    image = grey(pixels)
    image = image if np.median(image) < 0.5 * (image.min() + image.max()) else 1 - image
    mask = remove_small_objects(image > threshold_otsu(image), max_size=smallest)
    away = ndimage.distance_transform_edt(mask)
    markers = np.zeros(mask.shape, int)
    peaks = peak_local_max(away, min_distance=distance, labels=ndimage.label(mask)[0])
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return int(watershed(-away, markers, mask=mask).max())


def score_nuclei(errors: pd.Series) -> dict[str, float]:
    return {"images": len(errors), "median relative error": errors.median(), "mean": errors.mean(), "within 10 %": (errors <= 0.1).mean()}


def compare_fibroblasts(drawn: Drawn) -> dict[str, float]:
    """One simulated image: a found cell is a true one if the centre of its box lies within that one's radius, each used once."""
    counted, true = count_cells(drawn.pixels, AttachedOptions()), drawn.cells
    assert true is not None
    cells = counted.cells
    down, right = (cells[f"{axis}_min"].add(cells[f"{axis}_max"] - 1).to_numpy(float)[:, None] / 2 for axis in "yx")
    away = np.hypot(down - true["row"].to_numpy(), right - true["column"].to_numpy()) / true["radius"].to_numpy()
    pairs = [(one, other) for one, other in zip(*linear_sum_assignment(np.minimum(away, 2)), strict=True) if away[one, other] <= 1]
    states = [(cells["state"].iloc[one], true["state"].iloc[other]) for one, other in pairs]
    dead = int((true["state"] == "dead").sum())
    expected = reactivity_grade(dead, len(true) - dead)
    return {"precision": len(pairs) / max(len(cells), 1), "recall": len(pairs) / len(true),
            "recall of dead cells": sum(state == "dead" for _, state in states) / dead if dead else float("nan"),
            "state right": float(np.mean([one == other for one, other in states])),
            "error of the dead share": abs(counted.grade.dead_share - expected.dead_share), **compare_grades(counted.grade, expected)}


def mean_and_interval(values: pd.Series) -> dict[str, float]:
    """Mean over the images that have a value, with its 95 % bootstrap interval over images."""
    known = values.dropna().to_numpy(float)
    means = np.random.default_rng(0).choice(known, (5_000, len(known))).mean(axis=1)
    return {"mean": known.mean(), **dict(zip(("from", "to"), np.quantile(means, [0.025, 0.975]), strict=True)), "images": len(known)}


def fibroblasts(every: int) -> None:
    images = list(toxicity_set(labelled=60, unlabelled=0, seed=2).images())[::every]
    table = pd.DataFrame([compare_fibroblasts(drawn) for _, drawn in tqdm(images, desc="fibroblasts", unit="image")])
    print(f"\n{len(table)} simulated images of fibroblasts, means over images, 95 % bootstrap intervals over images")
    print(pd.DataFrame({name: mean_and_interval(table[name]) for name in table}).T.round(3).to_string())


def draw_figure(path: Path, *, count: int = 3, scale: int = 2) -> None:
    """The first simulated images beside what was counted in them: living cells outlined blue, dead ones red."""
    rows: list[list[np.ndarray]] = [[], []]
    for _, drawn in toxicity_set(labelled=count, unlabelled=0, seed=2).images():
        rows[0].append(np.repeat(drawn.pixels[..., None], 3, axis=2))
        rows[1].append(np.asarray(draw_overlay(grey(drawn.pixels), count_cells(drawn.pixels, AttachedOptions()))))
    picture = Image.fromarray(np.vstack([np.hstack(row) for row in rows]))
    picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.NEAREST).save(path, optimize=True)


def livedead(every: int) -> None:
    boxes = read_boxes(shared("livedead"))
    groups = list(boxes.groupby("image", sort=True))[::every]
    cells = pd.DataFrame([compare_cells(count_cells(read_pixels(shared("livedead") / "images" / str(name))), drawn)
                          for name, drawn in tqdm(groups, desc="livedead", unit="image")])
    seen = np.arange(len(cells)) * every % 6 == 0
    print(pd.DataFrame({"scales chosen on": score_cells(cells[seen]), "the rest": score_cells(cells[~seen])}).round(3).to_string())


def nuclei(every: int) -> None:
    truth = pd.read_csv(shared("nuclei_counts") / "counts.csv").sort_values("image")[::every]
    methods: dict[str, Callable[[np.ndarray], int]] = {
        "count_nuclei": lambda pixels: len(count_nuclei(pixels)), "Otsu + watershed": otsu_watershed}
    numbers = truth.set_index("image")["n_nuclei"].astype(int).items()
    errors = pd.DataFrame([{name: abs(count(pixels) - number) / number for name, count in methods.items()}
                           for image, number in tqdm(numbers, total=len(truth), desc="nuclei", unit="image")
                           for pixels in [read_pixels(shared("nuclei_counts") / "images" / str(image))]])
    seen = np.arange(len(errors)) * every % 2 == 0
    for label, part in (("scales chosen on", errors[seen]), ("the rest", errors[~seen])):
        print(f"\nnuclei, {label}\n", pd.DataFrame({name: score_nuclei(part[name]) for name in methods}).round(3).to_string())


def main() -> None:
    parts: dict[str, Callable[[int], None]] = {"fibroblasts": fibroblasts, "livedead": livedead, "nuclei": nuclei}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *parts], help="default: all")
    parser.add_argument("--figure", type=Path, help="also draw a few simulated images with their counted cells into this file")
    parser.add_argument("--every", type=int, default=1, help="use every n-th image only, such as 5 (2 and 3 divide it not)")
    arguments = parser.parse_args()
    for name in arguments.parts or list(parts):
        parts[name](arguments.every)
    if arguments.figure is not None:
        draw_figure(arguments.figure)


if __name__ == "__main__":
    run_command(main)
