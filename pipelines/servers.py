"""The MLflow server and the scoring service as background processes: start, wait until ready, stop exactly those."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from models.errors import DosewellError
from models.processes import started_at

RUN_FOLDER, LOG_FOLDER = Path("var/run"), Path("var/log")
HOST = "127.0.0.1"
READY_SECONDS = 120
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "BENTOML_DO_NOT_TRACK": "True",
         "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass(frozen=True)
class Server:
    """A running server. started: when its process began (`started_at`), so that a reused process number is never killed."""

    name: str
    pid: int
    started: float
    url: str


def free_port() -> int:
    """A port of this machine that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def mlflow_command(port: int, *, backend: str = "sqlite:///mlflow.db", artifacts: str = "mlartifacts") -> list[str]:
    """MLflow's server, by default over the SQLite registry and the artifact folder of the working folder; artifacts go through it.
    backend: "" = what MLFLOW_BACKEND_STORE_URI says.

    By itself MLflow answers to any private address as its name, so that a page whose name was resolved to this machine could move an
    alias; here it knows its own names only. Pages of other sites are refused by its defaults, those of this machine are let in.
    """
    names = [f"{name}:{port}" for name in (HOST, "localhost")]
    return [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port),
            *(["--backend-store-uri", backend] if backend else []), "--artifacts-destination", artifacts, "--serve-artifacts",
            "--workers", "1", "--allowed-hosts", ",".join(names), "--app-name", "dosewell"]


def service_command(port: int) -> list[str]:
    """The scoring service."""
    return [sys.executable, "-m", "serving.cli", "serve", "--host", HOST, "--port", str(port)]


def start(name: str, command: Sequence[str], *, port: int, health: str, environment: Mapping[str, str]) -> Server:
    """Start a server in the background, note it in var/run, and wait until `health` answers.

    What is left of one of the same name that was killed is ended first: its workers may hold the port.
    Raises DosewellError when the port is taken, the server ends, or it is not ready in time; the message ends with its log.
    """
    stop(name)
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise DosewellError(f"port {port} is taken by another program; choose another one: "
                                f"{'MLFLOW_PORT' if name == 'mlflow' else 'SERVICE_PORT'}=<port> make up")
    for folder in (RUN_FOLDER, LOG_FOLDER):
        folder.mkdir(parents=True, exist_ok=True)
    log_path = LOG_FOLDER / f"{name}.log"
    if log_path.is_file():
        log_path.replace(LOG_FOLDER / f"{name}.log.1")      # how the former run ended
    with log_path.open("ab") as log:    # appended to, so that a tool which turns logs over may cut it while it is written
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                                   env={**os.environ, **QUIET, **environment})
    server = Server(name, process.pid, started_at(psutil.Process(process.pid)), f"http://{HOST}:{port}")
    _note(name).write_text(json.dumps(asdict(server)) + "\n")
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(server.url + health):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(name)
            raise DosewellError(f"{name} did not become ready (see {log_path}):\n{log_path.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)
    return server


def running(name: str) -> Server | None:
    """The server noted under `name`, if it still runs."""
    server = _noted(name)
    return server if server and any(process.pid == server.pid for process in _family(server)) else None


def _family(server: Server) -> list[psutil.Process]:
    """The living processes of a server, itself included. Its workers are known by its session, which it leads and they inherit, so
    that they are found after the server itself was killed.
    """
    family = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):    # macOS tells nothing of others' processes
            if os.getsid(process.pid) == server.pid and process.status() != psutil.STATUS_ZOMBIE:
                family |= {process, *process.children(recursive=True)}
    reused = any(process.pid == server.pid and started_at(process) != server.started for process in family)
    return [] if reused else list(family)


def stop(name: str) -> bool:
    """End the server noted under `name` with its children, gently, then firmly; False if none was running."""
    if (server := _noted(name)) is None:
        return False
    family: set[psutil.Process] = set()
    for all_of_it, act, seconds in ((False, psutil.Process.terminate, 15),   # a server ends its own workers
                                    (True, psutil.Process.terminate, 5), (True, psutil.Process.kill, 5)):
        family.update(_family(server))      # each time: what was started meanwhile, too
        members = [process for process in family if all_of_it or process.pid == server.pid]
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                act(member)
        psutil.wait_procs(members, timeout=seconds)
    _note(name).unlink(missing_ok=True)
    return bool(family)


def _note(name: str) -> Path:
    return RUN_FOLDER / f"{name}.json"


def _noted(name: str) -> Server | None:
    """The server that was noted under `name`, whether it runs or not; a damaged note is none."""
    try:
        return Server(**json.loads(_note(name).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  # only our own loopback addresses
            return bool(response.status == 200)
    except OSError:     # of which URLError is a kind
        return False
