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
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.tiny_service import PeakMemory, Server, TinyPlate, client, family, form, tiny_service
from tests.serving.hostile.archives import ARCHIVES, MEMBER
from tests.serving.hostile.images import IMAGES
from tests.serving.hostile.tables import TABLES

HEADER = "| attack | bytes | answer | processor s | wall s | extra MB | |\n|---|---|---|---|---|---|---|\n"
GOAL_SECONDS, GOAL_MB = 1.0, 200.0


def with_image(plate: TinyPlate, data: bytes) -> bytes:
    """The plate with one image replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, image in plate.images.items():
            archive.writestr(name, data if name == MEMBER else image)
    return buffer.getvalue()


def attacks(plate: TinyPlate) -> Iterator[tuple[str, str, dict[str, object]]]:
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


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as name, tiny_service(Path(name)) as (server, plate), client(server) as http:
        for _ in range(3):
            http.post("/score", **form(plate)).raise_for_status()
        print(HEADER + _rows(http, server, plate))


def _rows(http: httpx.Client, server: Server, plate: TinyPlate) -> str:
    rows = []
    for what, address, request in attacks(plate):
        length = int(http.build_request("POST", address, **request).headers["content-length"])
        with PeakMemory(family(server)) as memory:
            started, used = time.monotonic(), _processor_seconds(server)
            answer = http.post(address, **request)
            seconds, used = time.monotonic() - started, _processor_seconds(server) - used
        good = answer.status_code < 500 and used < GOAL_SECONDS and memory.extra_mb < GOAL_MB
        rule = answer.json()["findings"][0]["rule"] if answer.is_client_error else "scored"
        rows.append(f"| {what} | {length:,} | {answer.status_code} {rule} | {used:.2f} | {seconds:.2f} | {memory.extra_mb:.0f} "
                    f"| {'' if good else 'MISSED'} |")
    return "\n".join(rows)


def _processor_seconds(server: Server) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in family(server))


if __name__ == "__main__":
    main()
