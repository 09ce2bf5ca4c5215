"""Jobs as rows of a database table: accepted once, claimed by one worker at a time, and never lost.

SQLite by default, PostgreSQL by URL. A worker says every second that it lives; a job whose worker is dead or silent is claimed
again. The files of a job lie beside the database in a folder of its own (serving/job_files.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from models.errors import Finding
from serving.job_records import (
    STATES,
    Job,
    JobConflictError,
    KeptChange,
    NewJob,
    UnknownJobError,
    WellChange,
    now,
    require_unchanged,
)
from serving.job_tables import EXCLUSIONS, JOBS, JobDatabase
from serving.worker_life import clock, is_gone

MAX_ATTEMPTS = 5        # a job at which so many workers died is not tried again
LONGEST_WAIT = 60.0     # for which `release` may put a job off
CANDIDATES = 20         # waiting jobs that a worker looks at: of several workers that look at once, each then finds one

NO_JOB = "there is no such job; it was deleted, or its id is wrong"
_AT_NOTHING: Mapping[str, Any] = {"stage": "", "stage_done": 0, "stage_total": 0}


class JobStore:
    """The table. Every method is one transaction, safe from any thread and process. Raises JobStoreError when the database is away."""

    def __init__(self, url: str) -> None:
        self._database = JobDatabase(url)
        self.where = self._database.where
        self._served: dict[str, float] = {}     # owner -> when this worker last took a job of theirs

    def close(self) -> None:
        """Close the connections that are kept open; the next question opens others."""
        self._database.close()

    # -- asked by people -----------------------------------------------------------------------------------------------

    def accept(self, job: NewJob) -> tuple[Job, bool]:
        """The job and whether it is new: what was sent before is the job that it was then (see `send_again`)."""
        values = {**vars(job), "state": "queued", "created_at": now()}
        try:
            with self._database.transaction() as connection:
                connection.execute(sa.insert(JOBS).values(values))
                return _job(connection, JOBS.c.id == job.id), True
        except IntegrityError:
            try:
                return self.send_again(job.fingerprint), False
            except UnknownJobError:     # deleted between the two
                return self.accept(job)

    def find(self, fingerprint: str) -> Job | None:
        """The job of an upload that came before."""
        with self._database.transaction() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.fingerprint == fingerprint)).mappings().first()
            return _of(row) if row else None

    def send_again(self, fingerprint: str, *, anew: bool = False) -> Job:
        """The job of an upload that came before, now sent once more; one that did not end well is tried again, one that is done only if
        `anew`. Raises UnknownJobError.
        """
        same, ended = JOBS.c.fingerprint == fingerprint, ("failed", "refused", *(["done"] if anew else []))
        with self._database.transaction() as connection:
            connection.execute(sa.update(JOBS).where(same).values(sent=JOBS.c.sent + 1))
            connection.execute(sa.update(JOBS).where(same, JOBS.c.state.in_(ended)).values(
                state="queued", error="", findings="", attempts=0, started_at="", finished_at="", not_before=0.0, note="", **_AT_NOTHING))
            return _job(connection, same)

    def get(self, job: str, *, owner: str | None = None) -> Job:
        """One job. owner: None sees everybody's. Raises UnknownJobError."""
        if not job.isalnum():   # PostgreSQL takes no NUL
            raise UnknownJobError(NO_JOB)
        with self._database.transaction() as connection:
            return _job(connection, JOBS.c.id == job, *([JOBS.c.owner == owner] if owner is not None else []), JOBS.c.state != "deleting")

    def latest(self, *, owner: str | None = None, state: str = "", before: str = "", limit: int = 100) -> list[Job]:
        """The latest jobs, newest first, without their findings. before: only those behind this place in the list, as `place_of` names
        it.
        """
        query = sa.select(*(column for column in JOBS.c if column is not JOBS.c.findings))
        query = query.where(JOBS.c.state == state if state else JOBS.c.state != "deleting")
        query = query.where(JOBS.c.owner == owner) if owner is not None else query
        if before:
            created_at, _, job = before.rpartition(" ")
            query = query.where(sa.tuple_(JOBS.c.created_at, JOBS.c.id) < sa.tuple_(sa.literal(created_at), sa.literal(job)))
        with self._database.transaction() as connection:
            return [_of(row) for row in connection.execute(
                query.order_by(JOBS.c.created_at.desc(), JOBS.c.id.desc()).limit(limit)).mappings()]

    def change_wells(self, job: str, changes: Sequence[WellChange], *, by: str, seen: int | None = None) -> Job:
        """Keep these changes as one new revision. Raises JobConflictError unless the job is done, and where one of the wells was changed
        after the revision `seen`.
        """
        with self._database.transaction() as connection:
            done = connection.execute(sa.update(JOBS).where(JOBS.c.id == job, JOBS.c.state == "done").values(revision=JOBS.c.revision + 1))
            found = _job(connection, JOBS.c.id == job)
            if not done.rowcount:
                raise JobConflictError(f"job {job} is {found.state}; wells can be excluded and restored once it is done")
            if seen is not None:
                require_unchanged(found, _kept_changes(connection, job), changes, seen=seen)
            at = now()
            connection.execute(sa.insert(EXCLUSIONS), [
                {**vars(change), "job": job, "revision": found.revision, "at": at, "by": by} for change in changes])
            return found

    def changes(self, job: str, *, upto: int | None = None) -> list[KeptChange]:
        """What was excluded and restored, oldest first. upto: the last revision that counts."""
        with self._database.transaction() as connection:
            return [change for change in _kept_changes(connection, job) if upto is None or change.revision <= upto]

    def begin_delete(self, job: str) -> bool:
        """Mark for deletion, so that nobody finds the job any more; True when no worker has it, so that its files can go now."""
        with self._database.transaction() as connection:     # marked before it is looked at: a worker may claim it at this very moment
            # its fingerprint is given free: the same may be sent again before the last file of this one is gone
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(state="deleting", fingerprint=f"deleted {job}"))
            return _is_free(_job(connection, JOBS.c.id == job), clock(connection))

    def end_delete(self, job: str) -> None:
        """Forget a job whose files are gone."""
        with self._database.transaction() as connection:
            connection.execute(sa.delete(EXCLUSIONS).where(EXCLUSIONS.c.job == job))
            connection.execute(sa.delete(JOBS).where(JOBS.c.id == job, JOBS.c.state == "deleting"))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(JOBS.c.state, sa.func.count()).group_by(JOBS.c.state)).all()
        return {state: sum(int(count) for name, count in rows if name == state) for state in STATES}

    def oldest_queued_seconds(self) -> float:
        """How long the oldest job that waits has waited; 0 when none does."""
        with self._database.transaction() as connection:
            oldest = connection.execute(sa.select(sa.func.min(JOBS.c.created_at)).where(JOBS.c.state == "queued")).scalar()
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(oldest)).total_seconds()) if oldest else 0.0

    def is_anything_queued(self) -> bool:
        """Whether a job waits for a worker."""
        with self._database.transaction() as connection:
            return connection.execute(sa.select(JOBS.c.id).where(JOBS.c.state == "queued").limit(1)).first() is not None

    def known(self) -> set[str]:
        """The ids of all jobs, those being deleted too."""
        with self._database.transaction() as connection:
            return set(connection.execute(sa.select(JOBS.c.id)).scalars())

    # -- asked by workers ----------------------------------------------------------------------------------------------

    def claim(self, worker: str) -> Job | None:
        """Take a job that waits, or whose worker is gone; None if there is none. Owners take turns, each with the oldest job first: one who
        sends a thousand does not make the others wait for all of them.

        A job that stands as this worker's own is taken again: the worker could not give it back while the database was away.
        """
        for found in self._waiting(worker):
            anew = found.worker != worker
            mine = {**_AT_NOTHING, "state": "running", "worker": worker, "stage": "starting", "note": "", "attempts": found.attempts + anew}
            if anew and found.attempts >= MAX_ATTEMPTS:
                mine |= {"state": "failed", "finished_at": now(), "worker": "", **_worn_out(found)}
            with self._database.transaction() as connection:
                done = connection.execute(sa.update(JOBS).where(
                    JOBS.c.id == found.id, JOBS.c.state == found.state, JOBS.c.worker == found.worker, JOBS.c.beat == found.beat).values(
                    **mine, beat=clock(connection), started_at=found.started_at or now()))
                if done.rowcount and mine["state"] == "running":
                    self._served[found.owner] = time.monotonic()
                    return _job(connection, JOBS.c.id == found.id)
        return None

    def _waiting(self, worker: str) -> list[Job]:
        """Jobs that this worker could have now, the next one first; some of a long queue."""
        oldest = sa.select(JOBS).order_by(JOBS.c.created_at, JOBS.c.id)
        with self._database.transaction() as connection:
            at = clock(connection)
            put_off = JOBS.c.not_before.between(at, at + LONGEST_WAIT)      # one put off for longer was so before the clock was put back
            running = [_of(row) for row in connection.execute(oldest.where(JOBS.c.state == "running")).mappings()]
            owners = connection.execute(sa.select(JOBS.c.owner).distinct().where(JOBS.c.state == "queued")).scalars().all()
            queued = [_of(row) for owner in owners for row in connection.execute(oldest.where(
                JOBS.c.state == "queued", JOBS.c.owner == owner, ~put_off).limit(max(1, CANDIDATES // len(owners)))).mappings()]
        left = [job for job in running if job.worker == worker or is_gone(job.worker, silent=at - job.beat)]
        return [*left, *sorted(queued, key=lambda job: (self._served.get(job.owner, 0.0), job.created_at, job.id))]

    def beat(self, job: str, worker: str, *, stage: str, done: int, total: int) -> bool:
        """Say that the worker lives and how far it is; False when the job is no longer its own (deleted, or taken over)."""
        with self._database.transaction() as connection:
            return bool(connection.execute(sa.update(JOBS).where(_held(job, worker)).values(
                beat=clock(connection), stage=stage, stage_done=done, stage_total=total)).rowcount)

    def finish(self, job: str, worker: str) -> bool:
        """The result is written. False when the job is no longer this worker's."""
        return self._end(job, worker, state="done", stage="", error="")

    def fail(self, job: str, worker: str, error: Mapping[str, Any], *, state: Literal["refused", "failed"] = "failed") -> bool:
        """The job cannot be done; error: {error, findings}; state: whose fault that is. False as `finish`."""
        return self._end(job, worker, state=state, error=_kept(error["error"]), findings=json.dumps(error["findings"]))

    def _end(self, job: str, worker: str, **values: Any) -> bool:
        with self._database.transaction() as connection:
            return bool(connection.execute(sa.update(JOBS).where(_held(job, worker)).values(
                **values, finished_at=now(), worker="", note="")).rowcount)

    def release(self, job: str, worker: str, *, note: str = "", after: float = 0.0) -> None:
        """Put the job back into the queue, for this worker stops or something that it needs is away. after: seconds to wait."""
        with self._database.transaction() as connection:
            connection.execute(sa.update(JOBS).where(_held(job, worker)).values(
                state="queued", worker="", note=_kept(note), not_before=clock(connection) + after, attempts=JOBS.c.attempts - 1,
                **_AT_NOTHING))

    def is_deleting(self, job: str, worker: str) -> bool:
        """Whether this worker's job was deleted while it was at it."""
        with self._database.transaction() as connection:
            query = sa.select(JOBS.c.id).where(JOBS.c.id == job, JOBS.c.worker == worker, JOBS.c.state == "deleting")
            return connection.execute(query).first() is not None

    def leftovers(self) -> list[str]:
        """Jobs that are to be deleted and that no living worker has."""
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(JOBS).where(JOBS.c.state == "deleting")).mappings().all()
            return [job.id for job in map(_of, rows) if _is_free(job, clock(connection))]


def place_of(job: Job) -> str:
    """Where a job stands in the list of all, newest first; it stays true when the job itself is deleted."""
    return f"{job.created_at} {job.id}"


def _is_free(job: Job, at: float) -> bool:
    """Whether no living worker has the job."""
    return not job.worker or is_gone(job.worker, silent=at - job.beat)


def _held(job: str, worker: str) -> sa.ColumnElement[bool]:
    return sa.and_(JOBS.c.id == job, JOBS.c.worker == worker, JOBS.c.state == "running")


def _job(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> Job:
    row = connection.execute(sa.select(JOBS).where(*conditions)).mappings().first()
    if row is None:
        raise UnknownJobError(NO_JOB)
    return _of(row)


def _kept_changes(connection: sa.Connection, job: str) -> list[KeptChange]:
    query = sa.select(EXCLUSIONS).where(EXCLUSIONS.c.job == job).order_by(EXCLUSIONS.c.id)
    return [KeptChange(**{name: value for name, value in row.items() if name not in ("id", "job")})
            for row in connection.execute(query).mappings()]


def _of(row: sa.RowMapping) -> Job:
    return Job(**{**row, "findings": tuple(json.loads(row.get("findings") or "[]"))})


def _kept(text: str) -> str:
    """A text as every database takes it: a job whose error could not be written would be done again and again."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _worn_out(job: Job) -> dict[str, str]:
    message = (f"{MAX_ATTEMPTS} workers died while they were at it (the last at: {job.stage or 'start'}); most often memory runs out: send "
               "fewer plates at a time, or give the service more memory. Send it again to try once more")
    return {"error": message, "findings": json.dumps([Finding(rule="workers_died", severity="error", message=message).record()])}
