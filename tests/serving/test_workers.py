"""Workers: no job is lost whoever is killed or away, and who looks after them goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client import REGISTRY
from starlette.testclient import TestClient

from serving.app import create_app
from serving.job_files import JobFiles
from serving.job_records import NewJob
from serving.job_workers import JobWorkers
from serving.jobs import MAX_ATTEMPTS, JobStore
from serving.settings import Settings
from serving.worker import Worker
from serving.worker_life import worker_name
from tests.serving.conftest import Submit
from tests.serving.tiny import MODEL, SCREEN, Server, wait
from tests.waiting import PATIENCE, until


def worker_of(server: Server) -> psutil.Process:
    """The process that does jobs."""
    (found,) = [process for process in psutil.Process(server.process.pid).children(recursive=True)
                if "serving.worker" in " ".join(process.cmdline())]
    return found


def begun(http: httpx.Client, submit: Submit, *, level: float) -> str:
    """A job that is being done. level: of its intervals."""
    for number in range(100):   # a quick one may be done before it is asked for
        job = submit(options=json.dumps({"fit": {"level": level + number / 10_000}})).json()["id"]
        states = [""]
        until(lambda job=job, states=states: states.append(http.get(f"/jobs/{job}").json()["state"]) or states[-1] != "queued")
        if states[-1] == "running":
            return job
    raise AssertionError("no job was seen while it ran")


def test_a_killed_worker_loses_no_job(http: httpx.Client, server: Server, submit: Submit) -> None:
    """SIGKILL in the middle of a job and with another one waiting: a new worker does both, once."""
    worker = worker_of(server)
    first, second = begun(http, submit, level=0.71), submit(options='{"fit": {"level": 0.72}}').json()["id"]
    os.kill(worker.pid, signal.SIGKILL)
    assert [wait(http, job)["state"] for job in (first, second)] == ["done", "done"]
    assert worker_of(server).pid != worker.pid
    assert http.get(f"/jobs/{first}/result").json()["wells"] == http.get(f"/jobs/{second}/result").json()["wells"]
    assert "a worker ended with status -9" in server.log.read_text()


def test_a_deleted_job_that_runs_is_cut_off(http: httpx.Client, server: Server, submit: Submit) -> None:
    job = begun(http, submit, level=0.73)
    assert http.delete(f"/jobs/{job}").status_code == 204
    assert http.get(f"/jobs/{job}").status_code == 404
    until(lambda: not (server.state / "jobs" / job).exists())


def test_whoever_looks_after_the_workers_goes_on_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                  caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody foresaw once ended that thread for good, and with it all jobs."""
    monkeypatch.setattr("serving.job_workers.LOOK_SECONDS", 0.01)
    asked: list[str] = []

    class Store:
        def known(self) -> set[str]:
            raise AttributeError("half imported")

        def counts(self) -> dict[str, int]:
            asked.append("counts")
            raise AttributeError("half imported")

    workers = JobWorkers(0, store=Store(), files=JobFiles(tmp_path), environment={})
    workers.start()
    until(lambda: len(asked) > 3)
    workers.stop()
    assert "could not be looked after" in caplog.text


def test_a_table_that_is_away_and_a_queue_that_stands_are_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    store.accept(NewJob(fingerprint="f", owner="", model="m", version=1, adapt=False, screen="s", sample="S", plates=1, wells=1))
    workers = JobWorkers(0, store=store, files=JobFiles(tmp_path), environment={})
    until(lambda: store.oldest_queued_seconds() >= 0.05)
    workers._look()
    assert REGISTRY.get_sample_value("dosewell_job_database_reachable") == 1
    assert 0.05 <= (REGISTRY.get_sample_value("dosewell_oldest_queued_job_seconds") or 0) < 60
    assert (REGISTRY.get_sample_value("dosewell_state_free_bytes") or 0) > 0
    store.claim(worker_name())
    workers._look()
    assert REGISTRY.get_sample_value("dosewell_oldest_queued_job_seconds") == 0
    store.close()
    (tmp_path / "jobs.db").write_bytes(b"rubbish" * 1000)
    workers._look()
    assert REGISTRY.get_sample_value("dosewell_job_database_reachable") == 0


def test_a_service_that_was_told_to_end_starts_no_worker_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends after the requests in hand, which may take a while; the workers are told to end at once."""
    monkeypatch.setattr("serving.job_workers.LOOK_SECONDS", 0.01)
    started: list[object] = []
    monkeypatch.setattr(JobWorkers, "_fill", lambda _self, seat: started.append(seat))
    workers = JobWorkers(1, store=JobStore(f"sqlite:///{tmp_path / 'jobs.db'}"), files=JobFiles(tmp_path), environment={})
    workers.start()
    until(lambda: len(started) > 2)
    workers.drain()
    assert workers._thread is not None
    workers._thread.join(timeout=PATIENCE)
    assert not workers._thread.is_alive()       # it alone starts them
    workers.stop()


def test_a_worker_goes_on_with_a_job_that_it_could_not_give_back(tmp_path: Path) -> None:
    """The database was away when the job ended: it stayed with a worker that lives and that was at it no longer, for good."""
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    job, _ = store.accept(NewJob(fingerprint="f", owner="", model="m", version=1, adapt=False, screen="s", sample="S", plates=1, wells=1))
    for _ in range(MAX_ATTEMPTS + 2):   # none of them is the death of a worker
        claimed = store.claim(worker_name())
        assert claimed is not None
        assert (claimed.id, claimed.state, claimed.attempts) == (job.id, "running", 1)
    assert store.claim("elsewhere:1:0.0") is None
    assert store.finish(job.id, worker_name())
    assert store.claim(worker_name()) is None


def test_a_worker_that_is_to_end_gives_its_job_back_whatever_it_is_busy_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was importing torch was killed after ten seconds, and its job waited until it was taken for dead: a minute, elsewhere."""
    over = threading.Event()
    monkeypatch.setattr(Worker, "_work", lambda *_: over.wait(PATIENCE) and None)
    worker = Worker(JobStore(f"sqlite:///{tmp_path / 'jobs.db'}"), JobFiles(tmp_path), Settings(state=tmp_path), service_version="0")
    job, _ = worker.store.accept(NewJob(fingerprint="f", owner="", model="m", version=1, adapt=False, screen="s", sample="S", plates=1,
                                        wells=1))
    busy = threading.Thread(target=worker.run)
    busy.start()
    until(lambda: worker.store.get(job.id).state == "running")
    worker.stop()
    until(lambda: worker.store.get(job.id).state == "queued")
    assert busy.is_alive()
    assert worker.store.get(job.id).attempts == 0
    over.set()
    busy.join()
    assert worker.store.get(job.id).state == "queued"
    worker.store.close()


def test_a_job_is_accepted_at_once_though_plates_are_being_scored(tmp_path: Path) -> None:
    """An upload that had come waited, with its sender, behind all the plates before it."""
    over, store = threading.Event(), JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    app = create_app(Settings(state=tmp_path, scoring_threads=1))
    busy = threading.Event()

    def score(_reference: str) -> None:
        busy.set()
        over.wait(PATIENCE)
    app.state.promoter = SimpleNamespace(pick=score)
    app.state.desk = SimpleNamespace(accept=lambda *_, **__: store.accept(NewJob(
        fingerprint="f", owner="", model="m", version=1, adapt=False, screen="s", sample="S", plates=1, wells=1)))
    form: Any = {"data": {"model": MODEL, "screen": json.dumps(SCREEN)},
                 "files": {"images": ("P1.zip", b"x"), "layout": ("layout.csv", b"x")}}
    with TestClient(app, raise_server_exceptions=False) as client, ThreadPoolExecutor(1) as pool:
        scored = pool.submit(lambda: client.post("/score", **form))
        try:
            assert busy.wait(PATIENCE)
            assert client.post("/jobs", **form).status_code == 202
            assert not scored.done()
        finally:
            over.set()
    store.close()


def test_a_killed_service_loses_no_accepted_job(server: Server, http: httpx.Client, submit: Submit) -> None:
    """SIGKILL of everything at once, right after jobs were accepted; the next start finishes them and answers under the same ids."""
    jobs = [submit(options=json.dumps({"fit": {"level": level}})).json()["id"] for level in (0.61, 0.62)]
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):     # it saw that its parent is gone
            process.kill()
    psutil.wait_procs(family, timeout=PATIENCE)
    server.start_again()
    assert [wait(http, job)["state"] for job in jobs] == ["done", "done"]
