"""What it costs to judge plates: one 96-well plate after import, and a screen of a thousand: time and memory.

    OMP_NUM_THREADS=1 python -m benchmarks.validation_scale [--plates 100 1000] [--size 64] [--wells 96]

First the time of one plate, best of five: reading its images, the rules, and the same rules as a Great Expectations suite with its page
of Data Docs. Then screens of so many plates, each judged in a process of its own that reports its time and its highest memory. Plates
are copies of a few simulated ones, as archives on disk, so that what is measured is reading and judging. Prints two tables.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.projection import highest_memory
from benchmarks.timing import least
from models.plates.images import member_name, write_plate
from models.plates.layout import parse_layout, write_layout
from models.plates.screen import Screen
from models.plates.spreadsheets import read_table
from models.wells import wells_of
from pipelines.command import run_command
from validation.evidence import Evidence
from validation.rules import judge_screen, take_inventory
from validation.thresholds import Thresholds
from validation.verdicts import Verdict

DOSES = (1, 10, 100, 1_000, 10_000)
DIFFERENT = 8       # archives with images of their own; the others are links to them


def write_screen(folder: Path, *, plates: int, wells: int, size: int) -> Path:
    """layout.csv and images/<plate>.zip of a screen whose wells fade with the dose; returns its folder."""
    names, rows = list(wells_of(wells)), []
    rng = np.random.default_rng(0)
    roles = [("negative", "", np.nan)] * (wells // 12) + [("positive", "", np.nan)] * (wells // 12)
    roles += [("treated", f"drug {number // 10:03d}", DOSES[number // 2 % 5]) for number in range(wells - len(roles))]
    for number in range(plates):
        order = np.random.default_rng(number % DIFFERENT).permutation(wells)
        rows.append(pd.DataFrame([roles[place] for place in order], columns=["role", "treatment", "dose"]).assign(
            plate=f"P{number:04d}", well=names, replicate=1))
        path = folder / "images" / f"P{number:04d}.zip"
        if number < DIFFERENT:
            levels = [{"negative": 150, "positive": 90}.get(role, 150 - 60 * dose / (dose + 300)) for role, _, dose in
                      (roles[place] for place in order)]
            write_plate(path, ((member_name(name), rng.normal(level, 12, (size, size)).clip(0, 255).astype(np.uint8))
                               for name, level in zip(names, levels, strict=True)))
        else:
            os.link(folder / "images" / f"P{number % DIFFERENT:04d}.zip", path)
    layout = pd.concat(rows, ignore_index=True)
    write_layout(layout.assign(dose_unit=np.where(layout["dose"].notna(), "nM", "")), folder / "layout.csv")
    return folder


def evidence_of(folder: Path, wells: int) -> Evidence:
    parsed = parse_layout(read_table(folder / "layout.csv"), plate_format=wells)
    screen = Screen(name="scale", sample="A549", plate_format=wells)
    return Evidence(parsed=parsed, screen=screen, thresholds=Thresholds(), inventory=take_inventory((folder / "images").glob("*.zip")))


def one_plate(folder: Path, *, wells: int, size: int) -> pd.DataFrame:
    write_screen(folder, plates=1, wells=wells, size=size)
    evidence = evidence_of(folder, wells)

    def fresh() -> Evidence:
        return Evidence(parsed=evidence.parsed, screen=evidence.screen, thresholds=evidence.thresholds, inventory=evidence.inventory)

    def judged(read: Evidence) -> Verdict:
        return judge_screen(read.parsed, read.screen, inventory=read.inventory)

    started = time.perf_counter()
    from validation.suites import validate_screen  # after the rules, whose import is timed without it
    imported = time.perf_counter() - started
    steps: dict[str, Callable[[], Any]] = {
        "read layout and images": lambda: evidence_of(folder, wells),
        "rules": lambda: judged(evidence),
        "read and rules": lambda: judged(evidence_of(folder, wells)),
        "suite and Data Docs": lambda: validate_screen(fresh())}
    table = pd.DataFrame(least(steps, rounds=5), index=["seconds", "processor seconds"]).T
    print(f"one plate of {wells} wells, {size} x {size} px; importing Great Expectations took {imported:.1f} s, once\n{table.round(3)}\n")
    return table


def many_plates(counts: list[int], *, wells: int, size: int) -> pd.DataFrame:
    """Each count in a process of its own, because the highest memory of a process never falls."""
    rows = []
    for plates in counts:
        with tempfile.TemporaryDirectory() as folder:
            write_screen(Path(folder), plates=plates, wells=wells, size=size)
            said = subprocess.run([sys.executable, "-m", "benchmarks.validation_scale", "--judge", folder, "--wells", str(wells)],
                                  capture_output=True, text=True, check=True).stdout
        rows.append({"plates": plates, **json.loads(said.splitlines()[-1])})
    return pd.DataFrame(rows)


def judge(folder: Path, wells: int) -> dict[str, Any]:
    """Judge the screen in `folder`; its memory before and at the highest, and its time."""
    before, start, busy = highest_memory(), time.perf_counter(), time.process_time()
    evidence = evidence_of(folder, wells)
    read = time.process_time() - busy
    verdict = judge_screen(evidence.parsed, evidence.screen, inventory=evidence.inventory)
    return {"wells": len(evidence.layout), "accepted": verdict.accepted, "warnings": len(verdict.warnings),
            "memory_before_mb": round(before), "peak_mb": round(highest_memory()), "seconds": round(time.perf_counter() - start, 1),
            "reading_cpu_s": round(read, 1), "cpu_s": round(time.process_time() - busy, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plates", type=int, nargs="+", default=[100, 1_000])
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--wells", type=int, default=96)
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.judge:
        print(json.dumps(judge(arguments.judge, arguments.wells)))
        return
    with tempfile.TemporaryDirectory() as folder:
        one_plate(Path(folder), wells=arguments.wells, size=arguments.size)
    print(many_plates(arguments.plates, wells=arguments.wells, size=arguments.size).to_string(index=False))


if __name__ == "__main__":
    run_command(main)
