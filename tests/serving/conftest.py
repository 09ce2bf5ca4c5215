"""One real service per test session: SQLite registry, tiny models, one 96-well plate."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from models.networks.bundle import trunk_finder
from models.registry import CHAMPION, Registry
from serving.client import Client
from serving.job_records import NewJob
from serving.job_tables import JOBS
from serving.jobs import JobStore
from serving.promotion import Promoter
from serving.promotion_log import PromotionLog
from tests.serving.postgres import new_database
from tests.serving.tiny import (
    CLASSIFIER,
    MODEL,
    SAMPLE,
    SCREEN,
    Away,
    Server,
    TinyPlate,
    tiny_bundle,
    tiny_classifier,
    tiny_plate,
    tiny_registry,
    wait,
)
from tests.waiting import PATIENCE


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="session")
def plate(folder: Path) -> TinyPlate:
    return tiny_plate(folder)


@pytest.fixture(scope="session")
def registry(folder: Path) -> Registry:
    """Versions 1 and 2 passed their gates, 3 did not; 1 is champion."""
    found = tiny_registry(folder)
    for number, passed in ((1, True), (2, True), (3, False)):
        found.register(tiny_bundle(folder / "models" / f"m{number}", seed=number, passed=passed),
                       find_trunk=trunk_finder([folder / "models"]))
    found.set_alias(found.resolve(f"{MODEL}/1"), CHAMPION)
    found.register(tiny_classifier(folder / "models" / "classifier"), find_trunk=trunk_finder([folder / "models"]))
    found.set_alias(found.resolve(f"{CLASSIFIER}/1"), CHAMPION)
    return found


@pytest.fixture(scope="session")
def server(folder: Path, registry: Registry) -> Iterator[Server]:
    given = os.environ.get("DOSEWELL_TEST_DATABASE_URL", "")    # the same tests with the jobs on PostgreSQL
    jobs = {"DOSEWELL_DATABASE_URL": new_database(given)} if given else {}
    with Server(folder / "state", registry.tracking_uri, DOSEWELL_MAX_UPLOAD_MB="8", **jobs) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, timeout=PATIENCE) as found:
        yield found


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as found:
        yield found


Post = Callable[..., httpx.Response]
Submit = Callable[..., httpx.Response]


@pytest.fixture(scope="session")
def post(http: httpx.Client, plate: TinyPlate) -> Post:
    """POST /score with the good form, some of whose fields are replaced; None leaves a field out."""
    def send(**changes: Any) -> httpx.Response:
        fields: dict[str, Any] = {"images": ("P1.zip", plate.archive.read_bytes()), "layout": ("layout.csv", plate.layout.read_bytes()),
                                  "model": MODEL, "screen": json.dumps(SCREEN), **changes}
        given = [(name, item) for name, value in fields.items() if value is not None
                 for item in (value if isinstance(value, list) else [value])]
        return http.post("/score", data={name: item for name, item in given if isinstance(item, str)},
                         files=[(name, item) for name, item in given if not isinstance(item, str)])
    return send


@pytest.fixture
def many_jobs(server: Server) -> Iterator[list[str]]:
    """Ids of 130 jobs of long ago, the newest first."""
    store = JobStore(server.database)
    jobs = [vars(NewJob(fingerprint=f"{number:064d}", owner="", model=MODEL, version=1, adapt=False, screen=f"old-{number}", sample=SAMPLE,
                        plates=1, wells=96)) for number in range(130)]
    rows = [{**job, "state": "done", "created_at": f"2020-01-01T00:00:00.{999 - number}+00:00"} for number, job in enumerate(jobs)]
    with store._database.engine.begin() as connection:
        connection.execute(sa.insert(JOBS), rows)
    yield [job["id"] for job in jobs]
    with store._database.engine.begin() as connection:
        connection.execute(sa.delete(JOBS).where(JOBS.c.id.in_([job["id"] for job in jobs])))
    store.close()


@pytest.fixture
def away(tmp_path: Path, folder: Path, registry: Registry) -> Away:
    return Away(Registry(registry.tracking_uri, tmp_path / "cache"))


@pytest.fixture
def promoter(away: Away, tmp_path: Path) -> Promoter:
    return Promoter(lambda: away, PromotionLog(tmp_path / "log.jsonl"), retry_seconds=0.1, grace_seconds=0.1, device="cpu")


@pytest.fixture
def own(tmp_path: Path) -> Registry:
    """A registry of this test's own."""
    return tiny_registry(tmp_path)


@pytest.fixture(scope="module")
def submit(http: httpx.Client, plate: TinyPlate) -> Submit:
    """POST /jobs with the good form, some of whose fields are replaced."""
    def send(**changes: Any) -> httpx.Response:
        fields = {"model": MODEL, "screen": json.dumps(SCREEN), **{name: text for name, text in changes.items() if isinstance(text, str)}}
        files = {"images": ("P1.zip", plate.archive.read_bytes()), "layout": ("layout.csv", plate.layout.read_bytes()),
                 **{name: file for name, file in changes.items() if isinstance(file, tuple)}}
        return http.post("/jobs", data=fields, files=files)
    return send


@pytest.fixture(scope="module")
def done(http: httpx.Client, submit: Submit) -> dict:
    """A job that is done."""
    response = submit(options=json.dumps({"fit": {"interval": "wald"}}))
    assert response.status_code == 202, response.text
    job = wait(http, response.json()["id"])
    assert job["state"] == "done", job
    return job


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    found = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield found
    found.close()
