"""The stack of a lab: MLflow and the jobs on PostgreSQL, artifacts in an S3-compatible store, two service processes over one folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy as sa

from models.registry import CHAMPION, Registry
from pipelines import servers
from serving.job_records import JobStoreError, NewJob, UnknownJobError
from serving.job_tables import JOBS
from serving.jobs import JobStore
from serving.worker_life import SILENT_SECONDS
from tests.serving.postgres import new_database, postgres_server
from tests.serving.tiny import MODEL, SCREEN, Server, TinyPlate, two_versions
from tests.waiting import PATIENCE, until

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "dosewell"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an empty store with one bucket, in this process's own moto."""
    from moto.server import ThreadedMotoServer

    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    address = f"http://127.0.0.1:{store.get_host_and_port()[1]}"
    assert httpx.put(f"{address}/{BUCKET}", trust_env=False).status_code == 200
    yield address
    store.stop()


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory, postgres: str, s3: str) -> Iterator[str]:
    """The address of an MLflow server over both."""
    folder, port = tmp_path_factory.mktemp("mlflow"), servers.free_port()
    command = servers.mlflow_command(port, backend=new_database(postgres), artifacts=f"s3://{BUCKET}/mlflow")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                                   env={**os.environ, **servers.QUIET, **KEYS, "MLFLOW_S3_ENDPOINT_URL": s3})
    try:
        until(lambda: process.poll() is not None or _answers(f"http://127.0.0.1:{port}/health"))
        assert process.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def lab_registry(mlflow: str, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Two versions of the tiny model, the first one champion."""
    folder = tmp_path_factory.mktemp("registry")
    return two_versions(Registry(mlflow, folder / "cache"), folder)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, lab_registry: Registry, postgres: str) -> Iterator[Server]:
    """The service: two processes for requests, two for jobs."""
    with Server(tmp_path_factory.mktemp("lab"), lab_registry.tracking_uri, DOSEWELL_DATABASE_URL=new_database(postgres),
                DOSEWELL_WORKERS="2", DOSEWELL_JOB_WORKERS="2", OMP_NUM_THREADS="1") as running:
        yield running


@pytest.fixture
def send(lab: Server, plate: TinyPlate) -> Callable[[float], httpx.Response]:
    """POST /jobs of the tiny plate, told apart by the level of its intervals."""
    def post(level: float) -> httpx.Response:
        return httpx.post(f"{lab.url}/jobs", trust_env=False, timeout=PATIENCE, data={
            "model": MODEL, "screen": json.dumps(SCREEN), "options": json.dumps({"fit": {"level": level, "interval": "wald"}})},
            files={"images": ("P1.zip", plate.archive.read_bytes()), "layout": ("layout.csv", plate.layout.read_bytes())})
    return post


def processes(lab: Server, words: str) -> list[psutil.Process]:
    return [process for process in psutil.Process(lab.process.pid).children(recursive=True) if words in _command(process)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:    # killed a moment ago
        return ""


def lines(lab: Server) -> list[dict]:
    return [json.loads(line) for line in lab.log.read_text().splitlines() if line.startswith('{"time"')]


def get(lab: Server, path: str) -> dict:
    answer = httpx.get(f"{lab.url}{path}", trust_env=False, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.slow
def test_each_job_is_done_once_whoever_is_killed(lab: Server, send: Callable[[float], httpx.Response]) -> None:
    """SIGKILL of a process for jobs, and of one for requests: of 8 accepted jobs, 8 are done, and nothing is done twice."""
    until(lambda: len(processes(lab, "serving.worker")) == 2)
    web = processes(lab, "_bentoml_impl.worker.service")
    assert len(web) == 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, [0.51 + number / 100 for number in range(8)]))
    assert [answer.status_code for answer in answers] == [202] * 8, [answer.text for answer in answers]
    jobs = [answer.json()["id"] for answer in answers]
    until(lambda: any(get(lab, f"/jobs/{job}")["state"] == "running" for job in jobs))
    worker = processes(lab, "serving.worker")[0]
    holder = next(process for process in web if worker.pid in [child.pid for child in process.children()])
    worker.kill()
    os.kill(holder.pid, signal.SIGKILL)     # the one that looks after the processes for jobs; the other one takes over
    until(lambda: _answers(f"{lab.url}/readyz"))
    until(lambda: all(_is_done(lab, job) for job in jobs))
    done = [line["job_id"] for line in lines(lab) if line["message"] == "job done"]
    assert sorted(done) == sorted(jobs)
    until(lambda: len(processes(lab, "serving.worker")) == 2)
    assert send(0.51).status_code == 200     # recognised, whichever process is asked


def _is_done(lab: Server, job: str) -> bool:
    try:
        return get(lab, f"/jobs/{job}")["state"] == "done"
    except httpx.TransportError:    # the connection was to the killed one
        return False


@pytest.mark.slow
def test_a_promotion_is_seen_by_all_and_written_once(lab: Server, lab_registry: Registry) -> None:
    for number in (2, 1, 2):
        lab_registry.set_alias(lab_registry.resolve(f"{MODEL}/{number}"), CHAMPION)
        before = len(lines(lab))
        until(lambda number=number, before=before: len({line["process"] for line in lines(lab)[before - 4:] if line["message"].startswith(
            f"{MODEL}: serving version {number} ")}) >= 2)
    expected = [(None, 1), (1, 2), (2, 1), (1, 2)]

    def written() -> list[tuple[int | None, int]]:
        return [(change["version_from"], change["version_to"]) for change in get(lab, "/promotions")["promotions"]]
    until(lambda: len(written()) >= len(expected))      # a change is logged before it is written
    assert written() == expected
    counted = httpx.get(f"{lab.url}/metrics", trust_env=False, timeout=PATIENCE).text
    assert f'dosewell_promotion_changes_total{{event="serving",model="{MODEL}"}}' in counted


@pytest.mark.slow
def test_passwords_stay_out_of_the_logs(lab: Server) -> None:
    assert "plate-reader" not in lab.log.read_text()


# -- the table of jobs alone ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], JobStore]]:
    """Opens the same empty table once more, as another process does."""
    url = f"sqlite:///{tmp_path}/jobs.db" if request.param == "sqlite" else new_database(request.getfixturevalue("postgres"))
    opened: list[JobStore] = []

    def one_more() -> JobStore:
        opened.append(JobStore(url))
        return opened[-1]
    yield one_more
    for store in opened:
        store.close()


def new_job(number: int, **changes: object) -> NewJob:
    values = {"fingerprint": f"{number:064d}", "owner": "ann", "model": MODEL, "version": 1, "adapt": False, "screen": "s",
              "sample": "TINY", "plates": 1, "wells": 96, **changes}
    return NewJob(**values)


def test_many_claims_at_once_take_each_job_once(open_store: Callable[[], JobStore]) -> None:
    first = open_store()
    for number in range(40):
        first.accept(new_job(number))
    taken: list[str] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        store = open_store()  # as a process of its own has one
        start.wait()
        while (job := store.claim(f"elsewhere:{number}:1.00")) is not None:
            taken.append(job.id)
            assert store.finish(job.id, f"elsewhere:{number}:1.00")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(taken) == len(set(taken)) == 40
    assert first.counts()["done"] == 40


def test_a_machine_whose_clock_is_ahead_takes_no_job_from_a_living_worker(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job was done by the machine whose clock was a minute before the others', after the others had begun it."""
    store = JobStore(new_database(postgres))
    store.accept(new_job(1))
    assert store.claim("one:1:1.00") is not None
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 3600)
    assert store.claim("other:1:1.00") is None
    with store._database.engine.begin() as connection:
        connection.execute(sa.update(JOBS).values(beat=JOBS.c.beat - SILENT_SECONDS - 1))
    assert store.claim("other:1:1.00") is not None
    store.close()


def test_the_same_upload_from_many_at_once_is_one_job(open_store: Callable[[], JobStore]) -> None:
    def work(_: int) -> bool:
        return open_store().accept(new_job(7))[1]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 1
    (job,) = open_store().latest()
    assert job.sent == 8


def test_odd_ids_and_texts_are_kept_or_unknown(open_store: Callable[[], JobStore]) -> None:
    store = open_store()
    job, _ = store.accept(new_job(1, screen="Zelle „ü“ 💊"))
    assert store.get(job.id).screen == "Zelle „ü“ 💊"
    for end in (lambda: store.release(job.id, "w:1:1", note="a\x00b \ud800"),
                lambda: store.fail(job.id, "w:1:1", {"error": "a\x00b \ud800", "findings": [{"value": "a\x00b \ud800"}]})):
        assert store.claim("w:1:1") is not None
        end()
    assert (store.get(job.id).state, store.get(job.id).error) == ("failed", "ab ?")
    for odd in ("\x00", "a\x00b", "' OR 1=1 --", ""):
        with pytest.raises(UnknownJobError):
            store.get(odd)


def test_a_database_that_is_away_is_said_without_its_password() -> None:
    store = JobStore(f"postgresql://dosewell:hush@127.0.0.1:{servers.free_port()}/jobs")
    with pytest.raises(JobStoreError) as caught:
        store.counts()
    assert "127.0.0.1" in str(caught.value)
    assert "hush" not in str(caught.value)


# -- data ---------------------------------------------------------------------------------------------------------------------


def test_data_travels_through_the_store(s3: str, tmp_path: Path) -> None:
    """`dvc push` and `dvc pull` with the extra s3: the same bytes elsewhere."""
    here, there = tmp_path / "here", tmp_path / "there"
    dvc = [sys.executable, "-m", "dvc"]

    def run(folder: Path, *command: str) -> None:
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, **KEYS, "DVC_NO_ANALYTICS": "1",
                                                             "DVC_SITE_CACHE_DIR": str(tmp_path / "site")})

    for folder in (here, there):
        folder.mkdir()
        run(folder, *dvc, "init", "--no-scm", "--quiet")
        run(folder, *dvc, "remote", "add", "--default", "lab", f"s3://{BUCKET}/dvc", "--quiet")
        run(folder, *dvc, "remote", "modify", "lab", "endpointurl", s3, "--quiet")
    (here / "data").mkdir()
    (here / "data" / "P1.zip").write_bytes(os.urandom(100_000))
    run(here, *dvc, "add", "--quiet", "data")
    run(here, *dvc, "push", "--quiet")
    (there / "data.dvc").write_bytes((here / "data.dvc").read_bytes())
    run(there, *dvc, "pull", "--quiet")
    assert (there / "data" / "P1.zip").read_bytes() == (here / "data" / "P1.zip").read_bytes()
