"""A million curves in bounded memory.

    OMP_NUM_THREADS=1 python -m benchmarks.dose_response_stream [--curves 1000000] [--intervals]

Ten-point curves are simulated piece by piece and streamed through the fit (4PL, flat test; with --intervals also limits
of EC50 and IC50). Prints curves per second and the highest memory of the process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.projection import highest_memory
from models.dose_response import FitOptions
from models.dose_response.stream import progress_bar, stream_curves
from pipelines.command import run_command

DOSE = np.logspace(-3, 1, 10)
PIECE = 20_000


def pieces(curves: int) -> Iterator[pd.DataFrame]:
    rng = np.random.default_rng(3)
    for first in range(0, curves, PIECE):
        count = min(PIECE, curves - first)
        ec50, top = 10 ** rng.uniform(-3, 1, (count, 1)), rng.uniform(0, 100, (count, 1))
        y = top / (1 + ec50 / DOSE) + rng.normal(0, 5, (count, 10))
        yield pd.DataFrame({"curve": np.repeat(np.arange(first, first + count), 10), "dose": np.tile(DOSE, count), "y": y.ravel()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=1_000_000)
    parser.add_argument("--intervals", action="store_true")
    arguments = parser.parse_args()
    curves, options = arguments.curves, FitOptions() if arguments.intervals else FitOptions(interval="none")
    start, done, statuses = time.perf_counter(), 0, pd.Series(dtype=int)
    for part in stream_curves(pieces(curves), by="curve", response="y", options=options, on_curves=progress_bar(curves)):
        done += len(part)
        statuses = statuses.add(part["status"].value_counts(), fill_value=0)
        if done // 200_000 != (done - len(part)) // 200_000:
            print(f"{done:>9} curves, {highest_memory():.0f} MB at most", flush=True)
    took = time.perf_counter() - start
    print(f"{done} curves in {took:.0f} s: {done / took:.0f} per second; statuses {statuses.astype(int).to_dict()}")


if __name__ == "__main__":
    run_command(main)
