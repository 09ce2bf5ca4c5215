"""The table of jobs and their files, without a service: what is asked of a long table, and what is kept when something is lost."""

from __future__ import annotations

import json
import os
import pydoc
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from models.registered import RegisteredVersion
from serving import job_database
from serving.forms import Form, StoredFile
from serving.job_desk import JobDesk
from serving.job_files import ABANDONED_SECONDS, JobFiles
from serving.job_records import Job, JobStoreError, NewJob, UnknownJobError, worker_name
from serving.job_tables import JOBS
from serving.jobs import CANDIDATES, JobStore, place_of
from tests.serving.tiny import MODEL, SCREEN, tiny_plate


def new_job(number: int = 0, *, owner: str = "anna") -> NewJob:
    return NewJob(fingerprint=f"{number:064d}", owner=owner, model="m", version=1, adapt=False, screen=f"s{number}", sample="S", plates=1,
                  wells=96)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    found = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield found
    found.close()


def test_a_database_that_accepts_and_never_answers_is_away_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(job_database._PATIENCE, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = JobStore(f"postgresql://dosewell:secret@127.0.0.1:{silent.getsockname()[1]}/jobs")
        since = time.monotonic()
        with pytest.raises(JobStoreError, match="cannot be used now"):
            store.counts()
        assert time.monotonic() - since < 60      # by itself it would wait for ever
        store.close()


def fill(store: JobStore, count: int) -> list[Job]:
    """Jobs of three people in turn, the newest first; several of the same moment."""
    jobs = [store.accept(new_job(number, owner=("anna", "ben", "eve")[number % 3]))[0] for number in range(count)]
    with store._engine.begin() as connection:
        for number, job in enumerate(jobs):
            moment = f"2026-01-01T00:00:{number // 4:02d}.000+00:00"
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job.id).values(created_at=moment))
    return sorted(map(store.get, [job.id for job in jobs]), key=lambda job: (job.created_at, job.id), reverse=True)


def pages(store: JobStore, **asked: Any) -> Iterator[list[Job]]:
    found = store.latest(limit=4, **asked)
    while found:
        yield found
        found = store.latest(limit=4, before=place_of(found[-1]), **asked)


def test_pages_hold_every_job_once_in_order(store: JobStore) -> None:
    jobs = fill(store, 30)
    assert [job for page in pages(store) for job in page] == jobs
    assert [job for page in pages(store, owner="ben") for job in page] == [job for job in jobs if job.owner == "ben"]
    for _ in range(6):
        claimed = store.claim("w:1:1")
        assert claimed is not None
        store.fail(claimed.id, "w:1:1", {"status": 500 if claimed.owner == "ben" else 400})
    for state, own in (("failed", True), ("refused", False)):
        ended = [job.id for job in jobs[-6:] if (job.owner == "ben") is own]
        assert ended
        assert [job.id for page in pages(store, state=state) for job in page] == ended


def test_a_page_goes_on_where_jobs_are_deleted_meanwhile(store: JobStore) -> None:
    jobs, seen = fill(store, 20), []
    for page in pages(store):
        for job in page:
            store.begin_delete(job.id)
            store.end_delete(job.id)
            seen.append(job)
    assert seen == jobs
    assert store.latest() == []


@pytest.mark.parametrize("query", ["latest", "owner", "state", "owner and state", "queue"])
def test_no_question_reads_the_whole_table(store: JobStore, query: str) -> None:
    asked: list[str] = []
    fill(store, 3)
    sa.event.listen(store._engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: asked.append(statement))
    {"latest": store.latest, "owner": lambda: store.latest(owner="anna"), "state": lambda: store.latest(state="queued"),
     "owner and state": lambda: store.latest(owner="anna", state="queued"), "queue": lambda: store.claim("w:1:1")}[query]()
    with store._engine.connect() as connection:
        plans = [row[3] for statement in asked if statement.startswith("SELECT") for row in connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN " + statement, tuple("1" for _ in range(statement.count("?"))))]
    assert plans
    assert not [plan for plan in plans if plan == "SCAN dosewell_jobs" or "TEMP B-TREE" in plan], plans


def test_of_a_long_queue_a_worker_takes_the_oldest(store: JobStore) -> None:
    jobs = fill(store, CANDIDATES + 12)
    taken = [store.claim(f"w:{number}:1") for number in range(len(jobs))]
    assert [job.id for job in taken if job] == [job.id for job in reversed(jobs)]
    assert store.claim("w:0:2") is None
    assert not store.is_anything_queued()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_neither_takes_jobs_from_the_living_nor_leaves_them_with_the_dead(
        store: JobStore, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """The start of a process was told by the clock, so that after a jump everybody's was another; what was put off waited for the jump."""
    for number in range(3):
        store.accept(new_job(number))
    mine, dead, put_off = store.claim(worker_name()), store.claim(f"{socket.gethostname()}:1:-1.00"), store.claim("elsewhere:1:1.00")
    assert mine
    assert dead
    assert put_off
    store.release(put_off.id, "elsewhere:1:1.00", after=15)
    assert store.claim("another:1:1.00") is None
    for name in ("time.time", "psutil.boot_time", "psutil.Process.create_time"):
        module, _, function = name.rpartition(".")
        told = pydoc.locate(name)
        monkeypatch.setattr(f"{module}.{function}", lambda *of, told=told: told(*of) + 3600 * hours)
    assert {job.id for job in (store.claim("another:1:1.00"), store.claim("another:1:2.00")) if job} == {dead.id, put_off.id}
    assert store.claim("another:1:3.00") is None


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles(tmp_path / "jobs")


def received(tmp_path: Path, name: str = "upload") -> Path:
    folder = tmp_path / name
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "P1.zip").write_bytes(b"images")
    return folder


def age(folder: Path) -> None:
    then = time.time() - ABANDONED_SECONDS - 1
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (then, then))


def test_only_what_became_no_job_is_swept(files: JobFiles, tmp_path: Path) -> None:
    """A table that was lost, or an address of another one, takes no files of jobs that were accepted with it."""
    for name in ("cut-off", "just-now", "accepted"):
        files.keep(received(tmp_path, name), name)
    files.listed("accepted")
    age(files.folder("cut-off"))
    age(files.folder("accepted"))
    assert files.sweep(known=set()) == ["cut-off"]
    assert {path.name for path in files.root.iterdir()} == {"just-now", "accepted"}
    age(files.folder("just-now"))
    assert files.sweep(known={"just-now"}) == []     # killed between the table and the mark


def test_what_could_not_be_deleted_is_deleted_later(files: JobFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.keep(received(tmp_path), "job")
    files.listed("job")
    with monkeypatch.context() as patch:
        patch.setattr("serving.job_files.shutil.rmtree", lambda *_, **__: None)      # as on a disk that is read-only just now
        files.remove("job")
    age(files.folder("job"))
    assert files.sweep(known=set()) == ["job"]
    assert not files.folder("job").exists()


def test_an_upload_that_the_table_does_not_take_leaves_no_files(store: JobStore, files: JobFiles, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a table that is locked: else each try of the client left a copy of its plates behind."""
    new, desk = new_job(), JobDesk(store, files)
    files.keep(received(tmp_path), new.id)

    def full(_job: NewJob) -> tuple[Job, bool]:
        raise JobStoreError("database or disk is full")
    monkeypatch.setattr(store, "accept", full)
    with pytest.raises(JobStoreError):
        desk._enter(new)
    assert not files.folder(new.id).exists()


def test_a_plate_that_came_before_is_a_new_job_for_another_model_of_its_number(store: JobStore, files: JobFiles, tmp_path: Path) -> None:
    """After a registry was made anew, the same plate got the old model's numbers as those of "version 1"."""
    plate, desk = tiny_plate(tmp_path), JobDesk(store, files)

    def send(folder: str, sha256: str) -> tuple[Job, bool]:
        (tmp_path / folder).mkdir()
        sent = {name: StoredFile(filename=path.name, sha256=name, path=Path(shutil.copy(path, tmp_path / folder / f"part-{name}")))
                for name, path in (("images", plate.archive), ("layout", plate.layout))}
        form = Form(files={name: [file] for name, file in sent.items()}, texts={"model": MODEL, "screen": json.dumps(SCREEN)})
        version = RegisteredVersion(name=MODEL, version=1, run_id="", tags={"bundle_sha256": sha256, "gates": "pass"})
        promoter = SimpleNamespace(version_of=lambda _reference: (version, None))
        return desk.accept(form, tmp_path / folder, promoter=promoter, owner="")  # type: ignore[arg-type]
    first, new = send("first", "a" * 64)
    assert new
    assert send("again", "a" * 64) == (store.get(first.id), False)
    assert send("other", "b" * 64)[1]


def test_a_job_that_came_before_is_tried_again_only_if_it_failed_or_its_files_were_lost(store: JobStore) -> None:
    store.accept(new_job(1))
    with pytest.raises(UnknownJobError):
        store.send_again(new_job(2).fingerprint)
    for end in (store.finish, lambda job, worker: store.fail(job, worker, {"status": 500})):
        claimed = store.claim("w:1:1")
        assert claimed is not None
        assert end(claimed.id, "w:1:1")
        again = store.send_again(new_job(1).fingerprint)
        assert again.state == ("done" if end == store.finish else "queued")
        assert store.send_again(new_job(1).fingerprint, anew=True).state == "queued"
