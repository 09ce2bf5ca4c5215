"""How long something takes: seconds of the clock and of processors, of calls and of commands."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def in_turn(calls: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """(wall, processor) seconds of each call in each of `rounds` rounds. All take their turn in every round, so that what else the machine
    does falls on all of them; a first round, which warms up, does not count.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            wall, processor = time.perf_counter(), time.process_time()
            call()
            if number:
                times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return times


def least(calls: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, tuple[float, float]]:
    """(wall, processor) seconds of each call, the least of `rounds` rounds."""
    return {name: (min(wall for wall, _ in found), min(processor for _, processor in found))
            for name, found in in_turn(calls, rounds=rounds).items()}


def processor_time(call: Callable[[], T]) -> tuple[float, T]:
    """(processor seconds on all threads of this process, what it gave) of one call."""
    since = time.process_time()
    found = call()
    return time.process_time() - since, found


def command_seconds(*command: str | Path, folder: Path) -> float:
    """Processor seconds of a command and of what it starts; what it says is shown if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False,
                          env=os.environ | {"DVC_NO_ANALYTICS": "1"})
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed in {folder}:\n{(done.stdout + done.stderr)[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
