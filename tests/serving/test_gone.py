"""Who or what goes away meanwhile: people who no longer wait, and jobs that are deleted while somebody looks at them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message

from serving.app import create_app
from serving.job_desk import JobDesk
from serving.job_files import JobFiles
from serving.job_records import NewJob, UnknownJobError
from serving.jobs import JobStore
from serving.settings import Settings
from tests.serving.tiny import MODEL, SCREEN
from tests.waiting import PATIENCE, until


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return create_app(Settings(state=tmp_path, scoring_threads=1))


FORM: dict[str, Any] = {"data": {"model": MODEL, "screen": json.dumps(SCREEN)},
                        "files": {"images": ("P1.zip", b"x"), "layout": ("layout.csv", b"x")}}


@pytest.mark.parametrize("request_", [
    httpx.Request("POST", "http://x/score", **FORM), httpx.Request("GET", "http://x/jobs/a/wells/P1/A1/heat")])
def test_nothing_is_scored_or_explained_for_somebody_who_went_away_while_it_waited(app: FastAPI, request_: httpx.Request) -> None:
    """Each try of a client that gave up kept everybody else waiting for an answer that nobody took."""
    picked, over = [], threading.Event()

    def begin(name: str, **_: object) -> None:
        picked.append(name)
        over.wait(PATIENCE)
        raise UnknownJobError(name)
    app.state.promoter, app.state.desk = SimpleNamespace(pick=begin), SimpleNamespace(store=SimpleNamespace(get=begin))
    scope = {"type": "http", "method": request_.method, "path": request_.url.path, "query_string": b"", "root_path": "", "headers": [
        (name.lower(), value) for name, value in request_.headers.raw]}

    async def ask(*, gone: asyncio.Event) -> int:
        answers: list[Message] = []
        body: list[Message] = [{"type": "http.request", "body": request_.read(), "more_body": False}]

        async def receive() -> Message:
            if body:
                return body.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            answers.append(message)
        await app(dict(scope), receive, send)
        return int(answers[0]["status"])

    async def all_ask() -> list[int]:
        stays, goes = asyncio.Event(), asyncio.Event()
        asked = [asyncio.create_task(ask(gone=stays))]
        await asyncio.to_thread(until, lambda: len(picked) == 1)
        asked += [asyncio.create_task(ask(gone=gone)) for gone in (goes, goes, stays)]
        while app.state.limiter.statistics().tasks_waiting < 3:
            await asyncio.sleep(0.01)
        goes.set()
        over.set()
        return list(await asyncio.gather(*asked))
    assert asyncio.run(all_ask()) == [404, 400, 400, 404]
    assert len(picked) == 2


@pytest.fixture
def desk(app: FastAPI, tmp_path: Path) -> Iterator[JobDesk]:
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    app.state.desk = JobDesk(store, JobFiles(tmp_path / "jobs"))
    yield app.state.desk
    store.close()


@pytest.mark.parametrize(("deleted", "status", "words"), [(True, 404, "it was deleted"), (False, 409, "send the same again")])
def test_a_well_whose_plate_is_gone_is_no_broken_archive(app: FastAPI, desk: JobDesk, monkeypatch: pytest.MonkeyPatch, *, deleted: bool,
                                                         status: int, words: str) -> None:
    """Who looked at a job that somebody deleted at that moment was told to zip the images again, and where the service keeps them."""
    job, _ = desk.store.accept(NewJob(fingerprint="f", owner="", model=MODEL, version=1, adapt=False, screen="s", sample="S", plates=1,
                                      wells=1))

    def plates(_job: str) -> dict[str, Path]:
        if deleted:
            desk.delete(job)
        return {"P1": desk.files.folder(job.id) / "images" / "P1.zip"}
    monkeypatch.setattr(desk.files, "plates", plates)
    answer = TestClient(app).get(f"/jobs/{job.id}/wells/P1/A01.png")
    assert (answer.status_code, words in answer.json()["error"]) == (status, True)
    assert str(desk.files.root) not in answer.text
