"""Do the tests and intervals of the dose-response engine keep what they promise? By simulation, seeded.

    python -m benchmarks.dose_response_statistics [--curves 4000]

Prints tables for docs/dose_response.md: false positives and power of the flat test, coverage of the profile interval of
EC50, and the error of EC50 with and without an outlier by loss.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from models.dose_response import FitOptions, fit_arrays, fit_curves

SEED = 7
DESIGNS = {6: (6, 1), 8: (8, 1), 10: (10, 1), 16: (8, 2), 20: (10, 2), 40: (10, 4)}     # n: doses, replicates
BARE = FitOptions(interval="none")


def inhibition(dose: np.ndarray, ec50: float, *, top: float = 100.0, slope: float = 1.0) -> np.ndarray:
    return top / (1.0 + (ec50 / dose) ** slope)


def long_table(dose: np.ndarray, responses: np.ndarray) -> pd.DataFrame:
    """Responses (curves, wells) as wells in rows."""
    curves, wells = responses.shape
    return pd.DataFrame({"curve": np.repeat(np.arange(curves), wells), "dose": np.tile(dose, curves), "y": responses.ravel()})


def flat_test(curves: int) -> pd.DataFrame:
    """Share of curves called not flat: pure noise, and a 30 % effect in noise of 10 %."""
    rows = []
    for n, (doses, replicates) in DESIGNS.items():
        rng = np.random.default_rng(SEED + n)
        dose = np.repeat(np.logspace(-3, 1, doses), replicates)
        noise = rng.standard_normal((curves, n)) * 10.0
        effect = inhibition(dose, 0.1, top=30.0)
        called = [(fit_curves(long_table(dose, y), by="curve", response="y", options=BARE)["p_flat"] < 0.05).mean()
                  for y in (noise, noise + effect)]
        rows.append({"n": n, "doses": doses, "replicates": replicates, "false positives at 0.05": called[0],
                     "power, 30 % effect, noise 10 %": called[1]})
    return pd.DataFrame(rows)


def coverage(curves: int) -> pd.DataFrame:
    """Share of 95 % profile intervals that hold the true EC50, an open side counted as unbounded."""
    rows = []
    dose = np.logspace(-3, 1, 10)
    for name, ec50 in (("complete curve", 0.1), ("EC50 at half the top dose", 5.0), ("EC50 at 3 x the top dose", 30.0)):
        for sd in (3.0, 8.0):
            rng = np.random.default_rng(SEED)
            y = inhibition(dose, ec50) + sd * rng.standard_normal((curves, len(dose)))
            found = fit_curves(long_table(dose, y), by="curve", response="y")
            low, high = found["ec50_low"].fillna(0.0), found["ec50_high"].fillna(np.inf)
            rows.append({"case": name, "noise SD %": sd, "coverage": ((low <= ec50) & (ec50 <= high)).mean(),
                         "misses above": (low > ec50).mean(), "misses below": (high < ec50).mean(),
                         "open side": (found["ec50_low"].isna() | found["ec50_high"].isna()).mean(),
                         "flat": (found["status"] == "flat").mean()})
    return pd.DataFrame(rows)


def robustness(curves: int) -> pd.DataFrame:
    """Median |error of log10 EC50| of ten-point curves, clean and with one gross outlier (50-100 % off)."""
    rng = np.random.default_rng(SEED)
    dose = np.logspace(-3, 1, 10)
    clean = inhibition(dose, 0.1) + 4.0 * rng.standard_normal((curves, len(dose)))
    dirty = clean.copy()
    at = rng.integers(0, len(dose), curves)
    dirty[np.arange(curves), at] += rng.uniform(50.0, 100.0, curves) * rng.choice([-1.0, 1.0], curves)
    rows = []
    for loss in ("squares", "cauchy", "tukey", "power1.5"):
        options = FitOptions(loss=loss, interval="none")
        errors = [np.abs(np.log10(fit_arrays(dose, y, options=options).ec50) + 1.0) for y in (clean, dirty)]
        flagged = fit_curves(long_table(dose, dirty), by="curve", response="y", options=options)["n_outliers"]
        rows.append({"loss": loss, "no outlier": np.median(errors[0]), "one outlier": np.median(errors[1]),
                     "curves with a flag": (flagged > 0).mean()})
    return pd.DataFrame(rows)


def main() -> None:
    curves = int(sys.argv[sys.argv.index("--curves") + 1]) if "--curves" in sys.argv else 4000
    for title, run in (("Flat test", flat_test), ("Coverage of the 95 % profile interval of EC50", coverage),
                       ("Error of log10 EC50 by loss", robustness)):
        start = time.perf_counter()
        table = run(curves)
        print(f"\n{title} ({curves} curves a row, {time.perf_counter() - start:.1f} s)\n")
        print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}"))


if __name__ == "__main__":
    main()
