"""What a fault costs: a service is started, something is killed, locked, filled up or broken, and people go on asking meanwhile.

    python -m benchmarks.faults [--only WORD]

The service of the smallest model, its registry an MLflow server as `make up` starts it. Two jobs are sent just before each fault and one
during it, somebody scores plates all the time, and the champion is moved where that can be. Lost is: a job that was accepted and is not
done in the end, or done with other numbers; a result from before that cannot be had any more or reads otherwise; a promotion that happened
and is not in the history. Seconds are wall clock until all is as before, from the fault's end (the restart, the lock's end, room on the
disk), or from the kill where nobody needs to do anything. The disk that fills up is a small one in memory, which takes root to make.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import psutil

from benchmarks.crowd import Asked, Crowd, ask
from benchmarks.processes import family
from benchmarks.tiny_service import MODEL, Server, TinyPlate, client, form
from models.networks.bundle import trunk_finder
from models.registry import CHAMPION, Registry
from pipelines import servers
from pipelines.command import run_command
from tests.serving.tiny import tiny_bundle, tiny_plate, tiny_registry, two_versions

HEADER = "| fault | lost | who scored meanwhile got | who sent a job during it got | normal after s |\n|---|---|---|---|---|"
LOCKED_SECONDS = 25.0   # longer than the service waits for a lock
DISK_MB = 192


@dataclass
class Place:
    """A running service, its registry, and all that may not be lost."""

    folder: Path
    server: Server
    mlflow: servers.Server
    registry: Registry
    plate: TinyPlate
    http: httpx.Client
    accepted: list[str] = field(default_factory=list)
    results: dict[str, object] = field(default_factory=dict)
    moved: list[int] = field(default_factory=list)
    wells: dict[int, object] = field(default_factory=dict)
    sent: int = 0

    def send_job(self) -> Asked:
        """A job like no other."""
        self.sent += 1
        options = json.dumps({"fit": {"level": 0.5 + self.sent / 1000}})
        asked, answer = ask(lambda: self.http.post("/jobs", **form(self.plate, options=options)))
        if answer is not None and answer.is_success:
            self.accepted.append(answer.json()["id"])
        return asked

    def processes(self) -> list[psutil.Process]:
        """The service's, its parent first."""
        return family(self.server.process.pid)

    def champion(self) -> int:
        """The version that holds the alias."""
        return self.registry.aliases()[MODEL][CHAMPION]

    def move_to(self, version: int) -> None:
        """Promote."""
        self.registry.set_alias(self.registry.resolve(f"{MODEL}/{version}"), CHAMPION)
        self.moved.append(version)

    def serving(self) -> int | None:
        """The version that answers now."""
        (model,) = self.http.get("/models").json()["models"]
        return model["serving"] and int(model["serving"]["version"])

    def wait(self, *, seconds: float = 400) -> None:
        """Until every accepted job is done or failed, and the champion serves."""
        wanted = self.champion()
        until(lambda: self.serving() == wanted, seconds=seconds)
        for job in self.accepted:
            until(partial(self.is_over, job), seconds=seconds)

    def is_over(self, job: str) -> bool:
        """Whether it neither waits nor runs."""
        return self.http.get(f"/jobs/{job}").json()["state"] not in ("queued", "running")

    def lost(self) -> list[str]:
        """What is not as it should be."""
        found = [f"job {job[:6]}" for job in self.accepted if not self._is_right(job)]
        found += [f"result {job[:6]}" for job, before in self.results.items() if self._result(job) != before]
        changes = self.http.get("/promotions").json()["promotions"]
        seen = [change["version_to"] for change in changes if change["event"] == "serving"]
        found += [] if seen == self.moved else [f"promotions: moved to {self.moved}, kept {seen}"]
        return found

    def _is_right(self, job: str) -> bool:
        answer = self._result(job)
        if not isinstance(answer, dict):
            return False
        self.results.setdefault(job, answer)
        return answer["wells"] == self.wells.setdefault(answer["lineage"]["version"], answer["wells"])

    def _result(self, job: str) -> object:
        answer = self.http.get(f"/jobs/{job}/result")
        return answer.json() if answer.is_success else answer.status_code


@dataclass(frozen=True)
class Fault:
    """strike: makes it; heal: what people do about it, None = nothing."""

    name: str
    strike: Callable[[Place], None]
    heal: Callable[[Place], None] | None = None


def until(true: Callable[[], object], *, seconds: float) -> None:
    """Wait for it; while the service is away nothing is true."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError, ValueError, KeyError, TypeError):
            if true():
                return
        if time.monotonic() > end:
            print(f"  not reached in {seconds:.0f} s", flush=True)
            return
        time.sleep(0.1)


def suffer(place: Place, fault: Fault) -> str:
    """One row of the table."""
    with Crowd(place.server, "/score", form(place.plate), pause=0.5) as crowd:
        crowd.wait_until_good(seconds=120)
        for _ in range(2):
            place.send_job()
        began = time.monotonic()
        fault.strike(place)
        during = place.send_job()
        if fault.heal is not None:
            fault.heal(place)
        healed = began if fault.heal is None else time.monotonic()
        place.wait()
        crowd.wait_until_good(seconds=120)
        jobs_done = time.monotonic()
    normal = max(jobs_done, crowd.bad_until()) - healed
    bad = sorted({asked.said for asked in crowd.asked if not asked.good})
    return (f"| {fault.name} | {', '.join(place.lost()) or 'nothing'} | {crowd.summary()}{': ' if bad else ''}{short('; '.join(bad))} "
            f"| {during.status or 'no connection'} after {during.seconds:.1f} s {short(during.said)} | {normal:.1f} |")


def short(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")[:160]


# -- faults ------------------------------------------------------------------------------------------------------------


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, timeout=10)


def does_jobs(process: psutil.Process) -> bool:
    """Whether it is a worker."""
    with contextlib.suppress(psutil.Error):
        return "serving.worker" in process.cmdline()
    return False


def kill_job_worker(place: Place) -> None:
    kill([process for process in place.processes() if does_jobs(process)])


def kill_answering_process(place: Place) -> None:
    kill([process for process in place.processes()[1:] if not does_jobs(process) and "bentoml" in " ".join(process.cmdline())])


def kill_parent(place: Place) -> None:
    kill(place.processes()[:1])


def kill_all(place: Place) -> None:
    kill(place.processes())


def kill_mlflow(place: Place) -> None:
    kill(family(place.mlflow.pid))


def start_mlflow_again(place: Place) -> None:
    """After a while, so that people notice; meanwhile the alias is moved in its database."""
    time.sleep(5)
    place.move_to(3 - place.champion())
    servers.stop("mlflow")
    place.mlflow = start_mlflow(int(place.mlflow.url.rpartition(":")[2]))


def start_mlflow(port: int) -> servers.Server:
    return servers.start("mlflow", servers.mlflow_command(port), port=port, health="/health", environment={})


def corrupt_champion(place: Place) -> None:
    """A new version whose weights have one other byte where the registry keeps them."""
    bundle = tiny_bundle(place.folder / "models" / "m3", seed=3)
    version = place.registry.register(bundle, find_trunk=trunk_finder([place.folder / "models"]))
    (stored,) = [path for path in (place.folder / "mlartifacts").rglob("weights.safetensors")
                 if path.read_bytes() == (bundle / "weights.safetensors").read_bytes()]
    data = bytearray(stored.read_bytes())
    data[-5] ^= 1
    stored.write_bytes(data)
    place.registry.set_alias(version, CHAMPION)
    until(lambda: place.http.get("/models").json()["models"][0]["refused"], seconds=60)
    print("  refused:", place.http.get("/models").json()["models"][0]["refused"]["reason"], flush=True)


def move_alias_back(place: Place) -> None:
    place.registry.set_alias(place.registry.resolve(f"{MODEL}/{place.serving()}"), CHAMPION)
    place.moved.append(place.champion())    # kept as a change: the alias moved back


def lock(database: str) -> tuple[Callable[[Place], None], Callable[[Place], None]]:
    """(takes the write lock of an SQLite file, lets it go after LOCKED_SECONDS)."""
    held: list[sqlite3.Connection] = []

    def strike(place: Place) -> None:
        held.append(sqlite3.connect(place.folder / database, isolation_level=None, timeout=60))
        held[-1].execute("BEGIN EXCLUSIVE")

    def heal(_: Place) -> None:
        time.sleep(LOCKED_SECONDS)
        held.pop().close()
    return strike, heal


def fill_disk(place: Place) -> None:
    """To the last byte; and the champion changes, which must not be forgotten."""
    with (place.folder / "state" / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(2**16)):
            pass
    place.move_to(3 - place.champion())
    until(lambda: place.serving() == place.champion(), seconds=30)


def make_room(place: Place) -> None:
    (place.folder / "state" / "filler").unlink()


FAULTS = (
    Fault("kill -9 of the process that does jobs", kill_job_worker),
    Fault("kill -9 of the process that answers", kill_answering_process),
    Fault(f"table of jobs locked for {LOCKED_SECONDS:.0f} s", *lock("state/jobs.db")),
    Fault(f"MLflow's database locked for {LOCKED_SECONDS:.0f} s", *lock("mlflow.db")),
    Fault("disk full, champion moved meanwhile", fill_disk, make_room),
    Fault("kill -9 of MLflow, champion moved meanwhile", kill_mlflow, start_mlflow_again),
    Fault("a new champion whose weights are corrupt", corrupt_champion, move_alias_back),
    Fault("kill -9 of the parent, started again at once", kill_parent, lambda place: place.server.start_again()),
    Fault("kill -9 of all its processes, started again at once", kill_all, lambda place: place.server.start_again()))


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of DISK_MB in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "dosewell", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Place]:
    """A service that has scored a plate with each version."""
    with contextlib.chdir(folder), contextlib.ExitStack() as stack:
        stack.callback(servers.stop, "mlflow")
        registry, state = two_versions(tiny_registry(folder), folder), stack.enter_context(small_disk(folder / "state"))
        mlflow = start_mlflow(servers.free_port())
        server = stack.enter_context(Server(state, mlflow.url))
        http = stack.enter_context(client(server))
        place = Place(folder, server, mlflow, registry, tiny_plate(folder), http, moved=[1])
        for version in (1, 2):
            answer = http.post("/score", **form(place.plate, model=f"{MODEL}/{version}"))
            place.wells[version] = answer.json()["wells"]
        yield place


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose name has this")
    chosen = [fault for fault in FAULTS if parser.parse_args().only in fault.name]
    with tempfile.TemporaryDirectory(prefix="dosewell-faults-") as name, running(Path(name)) as place:
        print(HEADER, flush=True)
        for fault in chosen:
            print(suffer(place, fault), flush=True)


if __name__ == "__main__":
    run_command(main)
