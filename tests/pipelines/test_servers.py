"""Background servers: started until they answer, and ended with all that they started and nothing else."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from models.errors import DosewellError
from models.processes import started_at
from pipelines import servers, up
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # that is the purpose

SERVER = """
import http.server, json, pathlib, signal, subprocess, sys
child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)"
worker = subprocess.Popen([sys.executable, "-c", child])
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "late" in sys.argv:  # starts another one while it is told to end
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(bool(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def folder(in_folder: Callable[[str], Path]) -> Iterator[Path]:
    yield in_folder("work")
    for name in ("test", "other"):
        servers.stop(name)
    gc.collect()    # a refused connection's traceback keeps the frame that holds the process: let it warn here, where that is ignored


def start(name: str = "test", *words: str) -> servers.Server:
    port = servers.free_port()
    return servers.start(name, [sys.executable, "-c", SERVER, str(port), *words], port=port, health="/ready", environment={})


def tree(pid: int, *, size: int = 3) -> list[psutil.Process]:
    """The process, its worker and the worker's child, once they are there."""
    process = psutil.Process(pid)
    until(lambda: len(process.children(recursive=True)) == size - 1)
    return [process, *process.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[int]:
    return [process.pid for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_server_is_started_known_and_ended_with_its_tree_and_nothing_else(folder: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    other = start("other")
    server = start()
    family = tree(server.pid)
    assert servers.running("test") == server
    assert json.loads((folder / "var/run/test.json").read_text())["pid"] == server.pid
    assert (folder / "var/log/test.log").is_file()
    assert servers.stop("test")
    assert alive(family) == []
    assert servers.running("test") is None
    assert not (folder / "var/run/test.json").exists()
    assert not servers.stop("test")
    (folder / "var/log/test.log").write_text("how it ended")
    start()
    assert (folder / "var/log/test.log.1").read_text() == "how it ended"
    assert servers.running("other") == other
    assert len(alive(tree(other.pid))) == 3
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_workers_of_a_killed_server_are_ended_too() -> None:
    server = start()
    family = tree(server.pid)
    family[0].send_signal(signal.SIGKILL)
    psutil.wait_procs(family[:1], timeout=PATIENCE)
    assert servers.running("test") is None
    assert len(alive(family)) == 2
    assert servers.stop("test")
    assert alive(family) == []


def test_a_killed_server_is_started_again_at_its_port_which_its_workers_hold() -> None:
    script = "import os, sys\nif os.fork(): os.wait()\n" + SERVER
    port = servers.free_port()
    command = [sys.executable, "-c", script, str(port)]
    killed = servers.start("test", command, port=port, health="/ready", environment={})
    psutil.Process(killed.pid).send_signal(signal.SIGKILL)
    again = servers.start("test", command, port=port, health="/ready", environment={})
    assert (again.url, again.pid != killed.pid) == (killed.url, True)


def test_a_server_that_does_not_listen_is_ended_firmly(monkeypatch: pytest.MonkeyPatch) -> None:
    true_wait = psutil.wait_procs
    monkeypatch.setattr(psutil, "wait_procs", lambda processes, timeout: true_wait(processes, timeout=min(timeout, 1)))
    server = start("test", "stubborn")
    family = tree(server.pid)
    assert servers.stop("test")
    assert alive(family) == []


def test_what_a_server_starts_while_it_is_ended_is_ended_too() -> None:
    server = start("test", "late")
    tree(server.pid)
    assert servers.stop("test")
    assert [process.pid for process in psutil.process_iter() if _session(process) == server.pid] == []


def _session(process: psutil.Process) -> int:
    try:
        return 0 if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return 0


def test_a_number_that_another_process_got_is_left_alone(folder: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (folder / "var/run").mkdir(parents=True)
    started = started_at(psutil.Process(stranger.pid))
    (folder / "var/run/test.json").write_text(json.dumps({"name": "test", "pid": stranger.pid, "started": started - 100, "url": ""}))
    assert servers.running("test") is None
    assert not servers.stop("test")
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_clock_that_is_put_right_makes_no_stranger_of_a_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make down` then said that it was not running, and `make up` that its port was taken by another program."""
    server = start()
    told, booted = psutil.Process.create_time, psutil.boot_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) + 1)
    monkeypatch.setattr(psutil, "boot_time", lambda: booted + 1)
    assert servers.running("test") == server
    assert servers.stop("test")


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_note_is_no_server(folder: Path, note: str) -> None:
    (folder / "var/run").mkdir(parents=True)
    (folder / "var/run/test.json").write_text(note)
    assert servers.running("test") is None
    assert not servers.stop("test")


@pytest.mark.parametrize(("name", "variable"), [("mlflow", "MLFLOW_PORT"), ("service", "SERVICE_PORT")])
def test_a_taken_port_says_how_to_choose_another(name: str, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind((servers.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DosewellError, match=rf"port {port} is taken by another program; choose another one: {variable}=<port> make up"):
            servers.start(name, ["false"], port=port, health="/", environment={})
    assert servers.running(name) is None


def test_a_server_that_ends_shows_its_log() -> None:
    with pytest.raises(DosewellError, match=r"test did not become ready \(see var/log/test\.log\):\n(.|\n)*no such database"):
        servers.start("test", [sys.executable, "-c", "raise SystemExit('no such database')"], port=servers.free_port(), health="/",
                      environment={})
    assert servers.running("test") is None


def test_a_server_that_never_answers_is_ended(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(servers, "READY_SECONDS", 0)
    log = folder / "var/log/test.log"
    monkeypatch.setattr(servers, "_answers", lambda _: until(lambda: log.read_text().endswith("\n")))    # it has begun, and is silent
    script = "import os, time; print(os.getpid(), os.environ['WORD'], flush=True); time.sleep(600)"
    with pytest.raises(DosewellError, match="did not become ready"):
        servers.start("test", [sys.executable, "-c", script], port=servers.free_port(), health="/", environment={"WORD": "hello"})
    pid, word = log.read_text().split()
    assert word == "hello"
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("uri", "started", "followed"), [
    ("http://anna:secret@lab:5000", ["service"], "http://anna:secret@lab:5000"),
    ("sqlite:////srv/lab.db", ["mlflow", "service"], "http://127.0.0.1:1"), ("", ["mlflow", "service"], "http://127.0.0.1:1")])
def test_make_up_keeps_to_the_registry_that_is_named(uri: str, started: list[str], followed: str, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, dict[str, str]] = {}

    def start(name: str, command: list[str], *, environment: dict[str, str], **_: object) -> servers.Server:
        asked[name] = environment
        assert not [word for word in command if "secret" in word or "lab.db" in word]
        return servers.Server(name, 1, 0.0, "http://127.0.0.1:1")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(servers, "start", start)
    up.start()
    assert list(asked) == started
    assert asked["service"] == {"MLFLOW_TRACKING_URI": followed}
    if "mlflow" in asked:
        assert asked["mlflow"]["MLFLOW_BACKEND_STORE_URI"] == (uri or f"sqlite:///{Path.cwd()}/mlflow.db")
    assert "secret" not in capsys.readouterr().out


def test_make_down_without_make_up(capsys: pytest.CaptureFixture[str]) -> None:
    up.stop()
    assert capsys.readouterr().out == "service: was not running\nmlflow: was not running\n"


def test_commands_listen_at_home_only() -> None:
    for command in (servers.mlflow_command(5001), servers.service_command(5001)):
        assert command[command.index("--host") + 1] == "127.0.0.1"
        assert command[command.index("--port") + 1] == "5001"
