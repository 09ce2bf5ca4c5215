"""Hostile uploads against a running service: what it answers, how soon, and how much memory that takes.

    python -m benchmarks.attacks

Each attack of tests/serving/hostile/ is sent to the service of the smallest model: images within an otherwise good plate, archives as
plates, tables as layouts. The goal: refused (4xx) within 1 s, with less than 200 MB above what the service has when it is idle. A file
that is odd and does no harm may be scored (200). Judged is processor time of all
the service's processes, their usual look at the registry included, so that a busy machine changes little; a good plate is the first row.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.crowd import ask
from benchmarks.processes import PeakMemory, family, processor_seconds
from benchmarks.tiny_service import TinyPlate, client, form, tiny_service
from pipelines.command import run_command
from tests.serving.hostile.archives import ARCHIVES, MEMBER
from tests.serving.hostile.images import IMAGES
from tests.serving.hostile.tables import TABLES

HEADER = "| attack | bytes | answer | processor s | wall s | extra MB | |\n|---|---|---|---|---|---|---|"
GOAL_SECONDS, GOAL_MB = 1.0, 200.0


def with_image(plate: TinyPlate, data: bytes) -> bytes:
    """The plate with one image replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, image in plate.images.items():
            archive.writestr(name, data if name == MEMBER else image)
    return buffer.getvalue()


def attacks(plate: TinyPlate) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(what, address, arguments of the request)."""
    yield "a good plate", "/score", form(plate)
    for name, make in IMAGES.items():
        yield name, "/score", form(plate, images=("P1.zip", with_image(plate, make())))
    for name, make in ARCHIVES.items():
        yield name, "/score", form(plate, images=("P1.zip", make()))
    for name, (file, make) in TABLES.items():
        yield name, "/layouts", {"files": {"layout": (file, make())}}
    for name, text in {"YAML of 5,000 open brackets": "[" * 5_000, "YAML of 3 MB": "a: [" + "1, " * 1_000_000 + "1]",
                       "YAML of nine aliases (laughs)": "a: &a [1,1]\nb: &b [*a,*a]\n", "JSON of 100,000 open brackets": '{"a":' * 100_000,
                       }.items():
        yield name, "/score", form(plate, screen=text)


def row(http: httpx.Client, processes: list[psutil.Process], *, what: str, address: str, request: dict[str, Any]) -> str:
    """What an attack came to."""
    length = int(http.build_request("POST", address, **request).headers["content-length"])
    with PeakMemory(lambda: processes, every=0.003) as memory:
        used = processor_seconds(processes)
        asked, answer = ask(lambda: http.post(address, **request))
        used = processor_seconds(processes) - used
    good = 200 <= asked.status < 500 and used < GOAL_SECONDS and memory.extra_mb < GOAL_MB
    said = answer.json()["findings"][0]["rule"] if answer is not None and answer.is_client_error else "scored" if asked.good else asked.said
    return (f"| {what} | {length:,} | {asked.status or 'no connection:'} {said} | {used:.2f} | {asked.seconds:.2f} | {memory.extra_mb:.0f} "
            f"| {'' if good else 'MISSED'} |")


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as name, tiny_service(Path(name)) as (server, plate), client(server) as http:
        for _ in range(3):
            http.post("/score", **form(plate)).raise_for_status()
        print(HEADER)
        for what, address, request in attacks(plate):
            print(row(http, family(server.process.pid), what=what, address=address, request=request), flush=True)


if __name__ == "__main__":
    run_command(main)
