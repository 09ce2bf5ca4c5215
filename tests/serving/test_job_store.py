"""The table of jobs, without a service: what is asked of a long table, who gets which job, and tables of other releases."""

from __future__ import annotations

import json
import pydoc
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from serving import job_database
from serving.job_desk import FIRST_WORDS, job_line, job_record
from serving.job_records import Job, JobStoreError, UnknownJobError
from serving.job_tables import FORM, FORMS, JOBS, make_tables
from serving.jobs import CANDIDATES, MAX_ATTEMPTS, JobStore, place_of
from serving.worker_life import SILENT_SECONDS, worker_name
from tests.serving.tiny import new_job

FAULT = {"error": "it cannot be", "findings": []}


def test_a_database_that_accepts_and_never_answers_is_away_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(job_database._PATIENCE, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = JobStore(f"postgresql://dosewell:secret@127.0.0.1:{silent.getsockname()[1]}/jobs")
        since = time.monotonic()
        with pytest.raises(JobStoreError, match="cannot be used now"):
            store.counts()
        assert time.monotonic() - since < 60      # by itself it would wait for ever
        store.close()


def fill(store: JobStore, count: int, owners: Sequence[str] = ("anna", "ben", "eve")) -> list[Job]:
    """Jobs of three people in turn, the newest first; several of the same moment."""
    jobs = [store.accept(new_job(number, owner=owners[number % len(owners)]))[0] for number in range(count)]
    with store._database.engine.begin() as connection:
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
    taken = set()
    for _ in range(6):
        claimed = store.claim("w:1:1")
        assert claimed is not None
        taken.add(claimed.id)
        store.fail(claimed.id, "w:1:1", FAULT, state="failed" if claimed.owner == "ben" else "refused")
    for state, own in (("failed", True), ("refused", False)):
        ended = [job.id for job in jobs if job.id in taken and (job.owner == "ben") is own]
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
    sa.event.listen(store._database.engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: asked.append(statement))
    {"latest": store.latest, "owner": lambda: store.latest(owner="anna"), "state": lambda: store.latest(state="queued"),
     "owner and state": lambda: store.latest(owner="anna", state="queued"), "queue": lambda: store.claim("w:1:1")}[query]()
    with store._database.engine.connect() as connection:
        plans = [row[3] for statement in asked if statement.startswith("SELECT") for row in connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN " + statement, tuple("1" for _ in range(statement.count("?"))))]
    assert plans
    assert not [plan for plan in plans if plan == "SCAN dosewell_jobs" or "TEMP B-TREE" in plan], plans


def test_of_a_long_queue_a_worker_takes_the_oldest(store: JobStore) -> None:
    jobs = fill(store, CANDIDATES + 12, owners=("anna",))
    taken = [store.claim(f"w:{number}:1") for number in range(len(jobs))]
    assert [job.id for job in taken if job] == [job.id for job in reversed(jobs)]
    assert store.claim("w:0:2") is None
    assert not store.is_anything_queued()


def test_who_sends_many_jobs_makes_nobody_else_wait_for_all_of_them(store: JobStore) -> None:
    for number in range(3 * CANDIDATES):
        store.accept(new_job(number, owner="anna"))
    taken = []
    for number in range(6):
        claimed = store.claim("w:1:1")
        assert claimed is not None
        store.finish(claimed.id, "w:1:1")
        taken.append(claimed.owner)
        if number == 0:
            for later in (1000, 1001):
                store.accept(new_job(later, owner="ben"))
    assert taken == ["anna", "ben", "anna", "ben", "anna", "anna"]


def test_a_silent_worker_is_taken_for_dead_and_a_job_at_which_five_died_is_given_up(
        store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now, later = time.time, [0.0]
    monkeypatch.setattr("time.time", lambda: now() + later[0])
    job, _ = store.accept(new_job())
    for number in range(MAX_ATTEMPTS):
        claimed = store.claim(f"elsewhere:{number}:1.00")
        assert claimed is not None
        assert (claimed.id, claimed.attempts) == (job.id, number + 1)
        later[0] += SILENT_SECONDS - 5
        assert store.claim("another:1:1.00") is None
        later[0] += 10
    assert store.claim("another:1:1.00") is None
    found = store.get(job.id)
    assert (found.state, found.worker) == ("failed", "")
    assert found.error.startswith("5 workers died while they were at it")
    assert [finding["rule"] for finding in found.findings] == ["workers_died"]
    assert store.send_again(job.fingerprint).attempts == 0
    assert store.claim("another:1:1.00") is not None


def test_a_worker_that_gives_a_sign_of_life_at_the_last_moment_keeps_its_job(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now, later = time.time, [0.0]
    monkeypatch.setattr("time.time", lambda: now() + later[0])
    job, _ = store.accept(new_job())
    assert store.claim("elsewhere:1:1.00") is not None
    later[0] = SILENT_SECONDS + 1
    look = store._waiting

    def slow(worker: str) -> list[Job]:
        found = look(worker)
        assert store.beat(job.id, "elsewhere:1:1.00", stage="scoring", done=1, total=2)
        return found

    monkeypatch.setattr(store, "_waiting", slow)
    assert store.claim("another:1:1.00") is None
    assert store.get(job.id).worker == "elsewhere:1:1.00"


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


def test_a_job_that_came_before_is_tried_again_only_if_it_failed_or_its_files_were_lost(store: JobStore) -> None:
    store.accept(new_job(1))
    with pytest.raises(UnknownJobError):
        store.send_again(new_job(2).fingerprint)
    for end in (store.finish, lambda job, worker: store.fail(job, worker, FAULT),
                lambda job, worker: store.fail(job, worker, FAULT, state="refused")):
        claimed = store.claim("w:1:1")
        assert claimed is not None
        store.beat(claimed.id, "w:1:1", stage="scoring", done=3, total=5)
        assert end(claimed.id, "w:1:1")
        again = store.send_again(new_job(1).fingerprint)
        assert again.state == ("done" if end == store.finish else "queued")
        again = store.send_again(new_job(1).fingerprint, anew=True)
        assert (again.state, again.stage, again.error, again.findings, again.started_at) == ("queued", "", "", (), "")


def test_a_job_that_waits_again_says_why_and_not_what_was_once_done(store: JobStore) -> None:
    """A client shows the stage before the note: it said "training" of a job that waited for a registry."""
    store.accept(new_job())
    job = store.claim("w:1:1")
    assert job is not None
    store.beat(job.id, "w:1:1", stage="training", done=3, total=5)
    store.release(job.id, "w:1:1", note="the registry is away")
    job = store.get(job.id)
    assert (job.stage, job.stage_done, job.stage_total, job.note) == ("", 0, 0, "the registry is away")


def test_a_list_of_jobs_carries_the_first_words_of_an_error_and_a_job_all(store: JobStore) -> None:
    """A thousand refused plates of a thousand findings each were a gigabyte of one answer."""
    store.accept(new_job())
    job = store.claim("w:1:1")
    assert job is not None
    store.fail(job.id, "w:1:1", {"error": "no use " * 100, "findings": [{"rule": "r"}] * 1000}, state="refused")
    (listed,) = map(job_line, store.latest())
    assert "findings" not in listed
    assert listed["error"].startswith("no use no use")
    assert len(listed["error"]) <= FIRST_WORDS
    whole = job_record(store.get(job.id))
    assert (whole["error"], len(whole["findings"])) == ("no use " * 100, 1000)
    assert {**listed, "error": "", "findings": []} == {**whole, "error": "", "findings": []}


def test_a_table_of_an_earlier_release_is_brought_up_to_date_wherever_that_was_cut_off(store: JobStore) -> None:
    """It had no column of findings, and one state for what was refused and what failed."""
    jobs = [store.accept(new_job(number))[0].id for number in range(3)]
    with store._database.engine.begin() as connection:
        for job, status in zip(jobs, (400, 500), strict=False):
            error = json.dumps({"status": status, "error": f"said {status}", "findings": [{"rule": "r"}]})
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(state="failed", error=error))
        connection.execute(sa.text("ALTER TABLE dosewell_jobs DROP COLUMN findings"))
    for _ in range(2):
        make_tables(store._database.engine)
        found = [store.get(job) for job in jobs]
        assert [job.state for job in found] == ["refused", "failed", "queued"]
        assert [job.error for job in found] == ["said 400", "said 500", ""]
        assert [len(job.findings) for job in found] == [1, 1, 0]
        assert [job.id for job in store.latest(state="refused")] == jobs[:1]
        with store._database.engine.begin() as connection:    # as if it had ended after the column was made
            connection.execute(sa.update(JOBS).where(JOBS.c.id == jobs[0]).values(state="failed", findings="", error=json.dumps(
                {"status": 400, "error": "said 400", "findings": [{"rule": "r"}]})))


def test_tables_of_a_later_release_are_refused_and_left_as_they_are(store: JobStore, tmp_path: Path) -> None:
    """A release that was stepped back answered 500 to every list, or went on in tables whose rows it misread."""
    job, _ = store.accept(new_job())
    with store._database.engine.begin() as connection:
        assert connection.execute(sa.select(FORMS)).scalars().all() == [FORM]
        connection.execute(sa.insert(FORMS).values(form=FORM + 1))
        connection.execute(sa.text("DROP INDEX ix_dosewell_jobs_latest"))      # which this release would make again

    def content() -> list[str]:
        with sqlite3.connect(tmp_path / "jobs.db") as file:
            return list(file.iterdump())
    before, stepped_back = content(), JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    for ask in (stepped_back.latest, stepped_back.counts, lambda: stepped_back.get(job.id), lambda: stepped_back.claim("w:1:1"),
                lambda: stepped_back.accept(new_job(1))):
        with pytest.raises(JobStoreError, match=f"form {FORM + 1}, of a later release.* knows forms up to {FORM}.*back-up"):
            ask()
    assert content() == before
    stepped_back.close()


def test_a_later_release_leaves_its_mark_in_the_tables(store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.accept(new_job())
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    monkeypatch.setattr("serving.job_tables.FORM", FORM + 1)
    later = JobStore(url)
    assert len(later.latest()) == 1
    later.close()
    monkeypatch.setattr("serving.job_tables.FORM", FORM)
    with pytest.raises(JobStoreError, match="of a later release"):
        JobStore(url).latest()


def at_this_moment(engine: sa.Engine, act: Callable[[], object], *, before: str) -> None:
    """Do this once, before the next statement that begins so."""
    waits = [act]

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(before) and waits:
            waits.pop()()
    sa.event.listen(engine, "before_cursor_execute", look)


def test_a_job_that_is_claimed_while_it_is_deleted_keeps_its_files_until_its_worker_lets_it_go(store: JobStore) -> None:
    """They were deleted under the worker, which wrote its result into a folder that nobody knew any more."""
    job = store.accept(new_job())[0]
    other = JobStore(store._database.engine.url.render_as_string())
    at_this_moment(store._database.engine, lambda: other.claim("elsewhere:1:1"), before="UPDATE")
    assert not store.begin_delete(job.id)
    other.close()
    assert store.is_deleting(job.id, "elsewhere:1:1")
