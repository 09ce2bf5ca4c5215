"""How long questions about jobs take once there are many of them.

    python -m benchmarks.job_table [--jobs 100000] [--waiting 10000] [--database postgresql://USER:PASSWORD@HOST/NAME]

Fills a table (SQLite in a temporary folder, or an empty database) with jobs of fifty people and asks it what the service asks. Wall clock,
the median of five times; disks and other work decide about the questions that write.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.timing import in_turn
from pipelines.command import run_command
from serving.job_records import NewJob
from serving.job_tables import JOBS
from serving.jobs import JobStore, place_of

TIMES = 5
CHUNK = 10_000
FINDING = {"rule": "image_readable", "severity": "error", "message": "an image cannot be read; send it again " * 4, "plate": "P1",
           "well": "A01", "column": "", "value": ""}
FAILED = json.dumps({"status": 400, "error": "images cannot be read", "findings": [FINDING] * 20})


def rows(jobs: int, waiting: int) -> Iterator[dict[str, Any]]:
    """Jobs of fifty people, one a second; a twentieth failed with twenty findings, and the latest wait."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(jobs):
        state = "queued" if number >= jobs - waiting else "done" if number % 20 else "failed"
        new = NewJob(fingerprint=f"{number:064d}", owner=f"person-{number % 50}", model="viability-A549", version=1, adapt=False,
                     screen=f"screen-{number}", sample="A549", plates=1, wells=96)
        yield {**vars(new), "state": state, "created_at": (first + timedelta(seconds=number)).isoformat(timespec="milliseconds"),
               "error": FAILED if state == "failed" else ""}


def fill(store: JobStore, jobs: int, waiting: int) -> None:
    """Put the jobs into the table."""
    made = list(rows(jobs, waiting))
    with store._database.transaction() as connection:
        for start in range(0, jobs, CHUNK):
            connection.execute(sa.insert(JOBS), made[start:start + CHUNK])


def questions(store: JobStore) -> dict[str, Callable[[], object]]:
    """What the service asks."""
    oldest_seen = store.latest(limit=1000)[-1]

    def accept() -> object:
        return store.accept(NewJob(fingerprint=uuid.uuid4().hex * 2, owner="anna", model="m", version=1, adapt=False, screen="s",
                                   sample="S", plates=1, wells=96))
    return {"the newest 100, of everybody": store.latest, "the newest 1,000": lambda: store.latest(limit=1000),
            "100 behind those": lambda: store.latest(before=place_of(oldest_seen)),
            "the newest 100 of one person": lambda: store.latest(owner="person-7"),
            "of somebody who never sent any": lambda: store.latest(owner="nobody"),
            "the newest 100 that failed": lambda: store.latest(state="failed"), "how many are in each state": store.counts,
            "a worker's next job": lambda: store.claim(f"benchmark:{uuid.uuid4().int % 10**6}:0"), "a new job": accept}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--waiting", type=int, default=10_000, help="how many of them wait for a worker")
    parser.add_argument("--database", default="", help="URL of an empty database (default: SQLite in a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = JobStore(arguments.database or f"sqlite:///{Path(folder) / 'jobs.db'}")
        fill(store, arguments.jobs, arguments.waiting)
        print(f"| {arguments.jobs:,} jobs, {arguments.waiting:,} of them waiting | ms |\n|---|---|")
        for what, taken in in_turn(questions(store), rounds=TIMES).items():
            print(f"| {what} | {1000 * statistics.median(wall for wall, _ in taken):.1f} |")
        store.close()


if __name__ == "__main__":
    run_command(main)
