"""Do heat maps look at the cells, and at what the network learned? On simulated wells, whose cells' places are known.

    python -m benchmarks.explanation [--wells 12] [--scorecam 2] [--artifacts artifacts]        after `make demo`

Share: of a map's total that lies on cells, against the share of the image that cells cover (chance). Random weights: Spearman's correlation
of the map with that of the same network with random weights, in absolute value; a map that hardly changes shows the image, not the network
(Adebayo et al. 2018). Means over wells, maps of zeros left out.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from benchmarks.simulated import example_named, predictor_of
from benchmarks.timing import processor_time
from models.networks.explain import METHODS, Maps, Method, explain
from pipelines.command import run_command
from pipelines.prepared import read_prepared

MODELS = {"viability-A549": "a549", "viability-HEK293": "hek293", "profile-PAT_1": "patient-1"}


def share_inside(maps: Maps, masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Share (N,) of each map's total that lies inside the mask (N, H, W); NaN for a map of zeros. By chance: the mask's share of pixels."""
    total = maps.sum(axis=(1, 2), dtype=float)
    inside = np.where(masks, maps, 0).sum(axis=(1, 2), dtype=float)
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def randomised(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """A copy with random weights: a heat map that stays the same shows the image, not the network (Adebayo et al. 2018)."""
    twin = copy.deepcopy(network)
    torch.manual_seed(seed)
    for module in twin.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return twin


def similarity(one: Maps, other: Maps) -> npt.NDArray[np.float64]:
    """Spearman's rank correlation (N,) of the pixels of two maps; NaN where one is constant."""
    return np.array([float(stats.spearmanr(a.ravel(), b.ravel()).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else np.nan
                     for a, b in zip(one, other, strict=True)])


def masks_of(screen: str, wells: pd.DataFrame, size: int) -> np.ndarray:
    """(N, size, size) bool: where the cells of these wells are, as large as the prepared images."""
    example = example_named(screen)
    known = {(plate, well): mask for plate in dict.fromkeys(wells["plate"]) for well, mask in example.masks(plate)}
    full = np.stack([known[key] for key in zip(wells["plate"], wells["well"], strict=True)])
    return (functional.interpolate(torch.from_numpy(full[:, None]).float(), size=(size, size), mode="area")[:, 0] > 0.5).numpy()


def rows_of(name: str, screen: str, *, artifacts: Path, wells: int, scorecam: int, methods: Sequence[Method]) -> list[dict[str, object]]:
    """A row per method and sign of this model."""
    predictor = predictor_of(artifacts / "models", name)
    data = read_prepared(Path("data") / screen, artifacts / "prepared" / screen)
    chosen = np.random.default_rng(0).permutation(len(data.images))[:wells]
    images = data.images.take(chosen)
    masks, pixels = masks_of(screen, images.wells, images.pixels.shape[-1]), torch.from_numpy(images.pixels).float()
    twin = randomised(predictor.network)
    rows: list[dict[str, object]] = []
    for method in methods:
        count = scorecam if method == "scorecam" else wells
        other = explain(twin, pixels[:count], method=method)     # first: it imports what the method needs
        seconds, found = processor_time(partial(explain, predictor.network, pixels[:count], method=method))
        for sign in ("raises", "lowers"):
            maps, strange = getattr(found, sign), getattr(other, sign)
            share = share_inside(maps, masks[:count])
            there = np.isfinite(share)
            covered = masks[:count].mean(axis=(1, 2))
            changed = np.abs(similarity(maps, strange))
            changed = changed[np.isfinite(changed)]
            rows.append({"model": name, "method": method, "sign": sign, "wells": int(there.sum()), "share on cells": share[there].mean(),
                         "chance": covered[there].mean(), "above chance": float((share > covered)[there].mean()),
                         "random weights": changed.mean() if len(changed) else np.nan, "processor s an image": seconds / count})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wells", type=int, default=12)
    parser.add_argument("--scorecam", type=int, default=2, help="wells for ScoreCAM, which is slow")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    arguments = parser.parse_args()
    rows = [row for name, screen in MODELS.items() if (arguments.artifacts / "models" / name).is_dir()
            for row in rows_of(name, screen, artifacts=arguments.artifacts, wells=arguments.wells, scorecam=arguments.scorecam,
                                                                            methods=arguments.methods)]
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    run_command(main)
