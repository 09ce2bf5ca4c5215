"""How fast are curves fitted, beside scipy and, where installed, curve-curator and R's drc? One thread, ratios of one run.

    OMP_NUM_THREADS=1 [CURVE_CURATOR_PYTHON=path] python -m benchmarks.dose_response_speed [--curves 2000] [--sample 200]

2,000 ten-point 4PL curves with bounds. scipy's curve_fit is timed on a sample of them and scaled up: "lm" from one start
without bounds, "trf" from one start with this package's bounds. Of each the least of three rounds counts, taken in turn after one that
warms up (the other programs time one pass of their own). Quality: no curve's RSS may exceed the best of six TRF
starts by 0.1 %. Also the whole output (flat test, and limits of EC50 and IC50 of each kind) against the bare fit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import OptimizeWarning, curve_fit

from benchmarks.timing import least
from models.dose_response import FitOptions, fit_arrays, fit_curves
from models.dose_response.options import Interval
from pipelines.command import run_command

SEED = 11
DOSE = np.logspace(-3, 1, 10)
X = np.log10(DOSE)
BOUNDS = ([-25.0, -50.0, -5.0, 0.1], [25.0, 125.0, 3.0, 10.0])
LIMITS: tuple[Interval, ...] = ("none", "profile", "asymmetric")
STARTS = [(0.0, 100.0, middle, slope) for middle in (-2.5, -1.0, 0.5) for slope in (0.7, 3.0)]


def four_pl(x: np.ndarray, left: float, right: float, middle: float, slope: float) -> np.ndarray:
    return left + (right - left) / (1.0 + 10.0 ** np.clip(slope * (middle - x), -300, 300))


def simulated(curves: int) -> np.ndarray:
    """Complete, partial, weak and steep curves in noise of 2-8 %."""
    rng = np.random.default_rng(SEED)
    middle, slope = rng.uniform(-3.5, 1.5, (2, curves))[0], 10 ** rng.uniform(-0.3, 0.5, curves)
    top, noise = rng.uniform(20, 105, curves), rng.uniform(2, 8, curves)
    clean = top[:, None] / (1 + 10 ** (slope[:, None] * (middle[:, None] - X)))
    return clean + noise[:, None] * rng.standard_normal(clean.shape)


def scipy_rss(y: np.ndarray, starts: Sequence[tuple[float, ...]], *, method: str) -> float:
    """Lowest RSS over the starts; inf where curve_fit gives up."""
    best = np.inf
    for start in starts:
        try:
            bounds = {"bounds": BOUNDS} if method == "trf" else {}
            found, _ = curve_fit(four_pl, X, y, p0=start, method=method, maxfev=2000, **bounds)
        except RuntimeError:
            continue
        best = min(best, float(((y - four_pl(X, *found)) ** 2).sum()))
    return best


def each_by_scipy(curves: np.ndarray, *, method: str) -> list[float]:
    """RSS of each curve from one start."""
    return [scipy_rss(row, STARTS[2:3], method=method) for row in curves]


def peer_seconds(command: list[str], script: str, y: np.ndarray) -> float:
    """Seconds that another program reports for fitting y; NaN where it is not installed or fails."""
    if not command[0] or not shutil.which(command[0]):
        return np.nan
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "y.csv"
        np.savetxt(path, y, delimiter=",")
        done = subprocess.run([*command, script.replace("PATH", str(path))], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 and done.stdout.strip() else np.nan


DRC = """suppressMessages(library(drc)); y <- as.matrix(read.csv("PATH", header = FALSE)); d <- 10^seq(-3, 1, length.out = 10)
t <- system.time(for (i in 1:nrow(y)) try(drm(y[i, ] ~ d, fct = LL.4()), silent = TRUE)); cat(t[["user.self"]])"""
CURVE_CURATOR = """
import time, warnings; import numpy as np; from curve_curator.models import LogisticModel
warnings.simplefilter("ignore"); y = 1 - np.loadtxt("PATH", delimiter=",") / 100; x = np.linspace(-3, 1, 10)
model = LogisticModel(); model.set_boundaries(x); start = time.process_time()
for row in y:
    model.reset(); model.find_best_guess_ols(x, row, noise=0.1); model.fit_ols(x, row)
print(time.process_time() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=2000)
    parser.add_argument("--sample", type=int, default=200)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", OptimizeWarning)
    curves, sample = arguments.curves, arguments.sample
    y = simulated(curves)
    table = pd.DataFrame({"curve": np.repeat(np.arange(curves), len(DOSE)), "dose": np.tile(DOSE, curves), "y": y.ravel()})
    calls: dict[str, Callable[[], object]] = {
        "array call, 2 starts, bounds": partial(fit_arrays, DOSE, y),
        **{f"table, flat test, limits: {interval}": partial(fit_curves, table, by="curve", response="y", options=options)
           for interval, options in ((interval, FitOptions(interval=interval)) for interval in LIMITS)},
        "scipy curve_fit lm, 1 start": partial(each_by_scipy, y[:sample], method="lm"),
        "scipy curve_fit trf, 1 start, bounds": partial(each_by_scipy, y[:sample], method="trf")}
    per_curve = curves / sample
    rows = [(name, seconds * (per_curve if name.startswith("scipy") else 1)) for name, (_, seconds) in least(calls, rounds=3).items()]
    curator = os.environ.get("CURVE_CURATOR_PYTHON", "")
    rows += [("curve-curator, best guess + OLS", per_curve * peer_seconds([curator, "-c"], CURVE_CURATOR, y[:sample])),
             ("R drc LL.4", per_curve * peer_seconds(["Rscript", "-e"], DRC, y[:sample]))]
    report = pd.DataFrame(rows, columns=["fit", "seconds"])
    report["us per curve"] = report["seconds"] / curves * 1e6
    report["times the array call"] = report["seconds"] / rows[0][1]
    print(report.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    best = np.array([scipy_rss(row, STARTS, method="trf") for row in y[:sample]])
    excess = (fit_arrays(DOSE, y[:sample]).rss / best - 1)[np.isfinite(best)]
    print(f"\nRSS against the best of 6 TRF starts ({len(excess)} curves): worst {excess.max():+.2e}, best {excess.min():+.2e}")


if __name__ == "__main__":
    run_command(main)
