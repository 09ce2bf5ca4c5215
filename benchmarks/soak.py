"""Clients that never stop, and a new champion in the middle: is every request answered, by one version, and does memory stay where it is?

    python -m benchmarks.soak [--minutes 5] [--clients 8]

The service of the smallest model. Every client scores a 96-well plate again and again; one more sends a job every ten seconds. Half-way the
alias champion moves from version 1 to version 2. An answer is mixed if a well of it, or its lineage, is not what that version alone says
of the plate. Memory is the resident memory of the service's processes: the median of the last tenth of the time against that of the tenth
after the warm-up, which is the first fifth. The clock starts when each version has scored a plate and a job is done.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import psutil

from benchmarks.crowd import Crowd, counted
from benchmarks.processes import MB, family
from benchmarks.tiny_service import MODEL, Server, TinyPlate, client, form, tiny_service
from models.registry import CHAMPION
from pipelines.command import run_command
from tests.serving.tiny import tiny_registry, two_versions
from tests.waiting import until

WARM_UP, TENTH = 0.2, 0.1
EVERY_SECONDS = 1.0
JOB_SECONDS = 10.0
WHOSE = ANSWERS, JOBS, OTHERS, ALL = "the process that answers", "the process that does jobs", "their parents", "all together"


class Judge:
    """Says what is wrong with an answer, and counts which version gave it. known: wells by version."""

    def __init__(self, known: dict[int, object]) -> None:
        self.known, self.counts, self._lock = known, Counter[int](), threading.Lock()

    def __call__(self, answer: httpx.Response) -> str:
        said = answer.json()
        version = int(said["lineage"]["version"])
        with self._lock:
            self.counts[version] += 1
        return "" if said["wells"] == self.known.get(version) else f"wells of an answer of version {version} are not that version's"


def memory_of(server: Server) -> dict[str, float]:
    """MB now, of the process that answers, the one that does jobs, and all together."""
    found = dict.fromkeys(WHOSE, 0.0)
    for process in family(server.process.pid):
        with contextlib.suppress(psutil.Error):
            command, size = " ".join(process.cmdline()), process.memory_info().rss / MB
            found[JOBS if "serving.worker" in command else ANSWERS if "worker.service" in command else OTHERS] += size
    return {**found, ALL: sum(found.values())}


@contextlib.contextmanager
def every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Do it again and again beside the block."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(seconds):
            with contextlib.suppress(httpx.TransportError):
                act()
    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def soak(server: Server, plate: TinyPlate, *, seconds: float, clients: int, swap: Callable[[], None]) -> str:
    """The rows of the table."""
    sizes: list[tuple[float, dict[str, float]]] = []
    jobs: list[str] = []
    with client(server) as http:
        known = {version: http.post("/score", **form(plate, model=f"{MODEL}/{version}")).json()["wells"] for version in (1, 2)}
        judge = Judge(known)

        def send_job() -> None:
            answer = http.post("/jobs", **form(plate, options=json.dumps({"fit": {"level": 0.6 + len(jobs) / 10_000}})))
            jobs.append(answer.json()["id"] if answer.is_success else str(answer.status_code))
        send_job()
        _states(http, jobs)
        started = time.monotonic()
        with (every(EVERY_SECONDS, lambda: sizes.append((time.monotonic() - started, memory_of(server)))), every(JOB_SECONDS, send_job),
              Crowd(server, "/score", form(plate), clients=clients, pause=0.0, judge=judge) as crowd):
            time.sleep(seconds / 2)
            moved = time.monotonic()
            swap()
            until(lambda: judge.counts[2] > 0)
            swapped = time.monotonic() - moved
            time.sleep(max(0.0, seconds - (time.monotonic() - started)))
        states = _states(http, jobs)
    rows = [*_answers(crowd, judge, swapped, seconds), f"| jobs sent | {len(jobs)} ({states}) |", *_memory(sizes, seconds)]
    return "\n".join(rows)


def _states(http: httpx.Client, jobs: list[str]) -> str:
    """What became of the jobs, once none waits or runs."""
    for job in jobs:
        until(partial(_is_over, http, job))
    return counted(_state(http, job) for job in jobs)


def _is_over(http: httpx.Client, job: str) -> bool:
    return _state(http, job) not in ("queued", "running")


def _state(http: httpx.Client, job: str) -> str:
    return str(http.get(f"/jobs/{job}").json().get("state", "no job"))


def _answers(crowd: Crowd, judge: Judge, swapped: float, seconds: float) -> list[str]:
    times = sorted(asked.seconds for asked in crowd.asked)
    failed = [asked for asked in crowd.asked if not asked.good]
    return [f"| requests in {seconds:.0f} s | {len(times)} ({crowd.summary()}) |", f"| failed | {len(failed)}{failed[:1] or ''} |",
            f"| by version 1, by version 2 | {judge.counts[1]}, {judge.counts[2]} |", f"| mixed | {len(crowd.wrong)} |",
            f"| first answer of version 2 after its alias moved | {swapped:.1f} s |",
            f"| p50, p99 | {times[len(times) // 2]:.2f} s, {times[int(len(times) * 0.99)]:.2f} s |"]


def _memory(sizes: list[tuple[float, dict[str, float]]], seconds: float) -> list[str]:
    rows = []
    for which in WHOSE:
        def median(start: float, which: str = which) -> float:
            return statistics.median(size[which] for at, size in sizes if start <= at / seconds <= start + TENTH)
        before, after = median(WARM_UP), median(1 - TENTH)
        rows.append(f"| memory of {which} after the warm-up and at the end | {before:.0f} MB, {after:.0f} MB: {after / before - 1:+.1%} |")
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dosewell-soak-") as name:
        registry = two_versions(tiny_registry(Path(name)), Path(name))
        with tiny_service(Path(name), registry) as (server, plate):
            print("| | |\n|---|---|")
            print(soak(server, plate, seconds=60 * arguments.minutes, clients=arguments.clients,
                       swap=lambda: registry.set_alias(registry.resolve(f"{MODEL}/2"), CHAMPION)))


if __name__ == "__main__":
    run_command(main)
