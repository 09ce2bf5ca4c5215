"""What it costs to follow the aliases of hundreds of registered models, and how soon one that was moved is served.

    python -m benchmarks.registry_looks [--models 300]

An MLflow server as `make up` starts it, over a registry of that many models of three versions with tags as Dosewell writes them, and one
real model, the smallest. Processor time of the thread that follows the aliases, in this process, and of the server.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient

from benchmarks.processes import family, processor_seconds
from benchmarks.tiny_service import MODEL
from models.registry import CHALLENGER, CHAMPION, Registry
from pipelines import servers
from pipelines.command import run_command
from serving.promotion import Promoter
from serving.promotion_log import PromotionLog
from tests.serving.tiny import tiny_registry, two_versions
from tests.waiting import until

TAGS = {"git_commit": "c" * 40, "git_dirty": "false", "data_md5": "d" * 32, "params_hash": "p" * 64, "sample": "TINY",
        "system": "viability", "gates": "pass", "bundle_sha256": "b" * 64}
IDLE_SECONDS, MOVES = 30.0, 8


def fill(registry: Registry, *, count: int) -> None:
    """Register models that have no files; each has a challenger."""
    client = MlflowClient(registry.tracking_uri, registry_uri=registry.tracking_uri)
    for number in range(count):
        name = f"viability-L{number:03d}"
        client.create_registered_model(name, tags={"sample": "TINY", "system": "viability"})
        for _ in range(3):
            client.create_model_version(name, source="/nowhere", tags=TAGS)
        client.set_registered_model_alias(name, CHALLENGER, "3")


class Used:
    """Processor seconds of this process and of the server since it was made."""

    def __init__(self, server: servers.Server) -> None:
        self.processes = family(server.pid)
        self.before = self._now()

    def _now(self) -> tuple[float, float]:
        return time.process_time(), processor_seconds(self.processes)

    def text(self, per: float) -> str:
        """Milliseconds of both, each divided by `per`."""
        return " | ".join(f"{1000 * (now - before) / per:.0f}" for now, before in zip(self._now(), self.before, strict=True))


def row(what: str, ask: Callable[[], object], server: servers.Server, *, times: int = 10) -> str:
    """Milliseconds of one asking."""
    ask()
    used, started = Used(server), time.monotonic()
    for _ in range(times):
        ask()
    return f"| {what} | {used.text(times)} | {1000 * (time.monotonic() - started) / times:.0f} |"


def follow(registry: Registry, folder: Path, server: servers.Server) -> str:
    """An idle service's looks, and promotions at moments that differ."""
    promoter = Promoter(lambda: registry, PromotionLog(folder / "promotions.jsonl"))
    promoter.start(poll_seconds=2.0)
    try:
        until(lambda: promoter.ready)
        used = Used(server)
        time.sleep(IDLE_SECONDS)
        idle = used.text(IDLE_SECONDS)
        return f"| looks, for each second that passes | {idle} | |\n\nserved after an alias was moved, s: " + ", ".join(
            f"{_served_after(registry, promoter, 2 - number % 2, wait=number * 0.6):.1f}" for number in range(MOVES))
    finally:
        promoter.stop()


def _served_after(registry: Registry, promoter: Promoter, version: int, *, wait: float) -> float:
    time.sleep(wait)
    found = registry.version(MODEL, version)
    started = time.monotonic()
    registry.set_alias(found, CHAMPION)
    until(lambda: promoter.snapshot.served[MODEL].version.version == version)
    return time.monotonic() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=300)
    count = parser.parse_args().models
    with tempfile.TemporaryDirectory(prefix="dosewell-looks-") as name, contextlib.chdir(name), contextlib.ExitStack() as stack:
        folder = Path(name)
        fill(two_versions(tiny_registry(folder), folder), count=count - 1)
        server = servers.start("mlflow", servers.mlflow_command(port := servers.free_port()), port=port, health="/health", environment={})
        stack.callback(servers.stop, "mlflow")
        registry = Registry(server.url, folder / "cache")
        print(f"| {count} models | processor ms, ours | processor ms, MLflow | wall ms |\n|---|---|---|---|")
        print(row("all aliases", registry.aliases, server))
        print(row("a version by alias", lambda: registry.resolve(f"{MODEL}@{CHAMPION}"), server))
        print(row("a version by number", lambda: registry.resolve(f"{MODEL}/1"), server), flush=True)
        print(follow(registry, folder, server))


if __name__ == "__main__":
    run_command(main)
