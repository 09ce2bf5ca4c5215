"""What is known of a job, as frozen data, and what can be wrong with one. No database in here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from models.errors import DosewellError
from models.words import some

State = Literal["queued", "running", "done", "refused", "failed", "deleting"]
STATES: tuple[State, ...] = get_args(State)
SAID = 5    # changes of wells that a refusal names


class UnknownJobError(DosewellError):
    """There is no such job, or it is somebody else's."""


class JobConflictError(DosewellError):
    """The job is not in a state in which that can be done."""


class JobStoreError(DosewellError):
    """The database of jobs cannot be used now."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is known of a job from the start. fingerprint: sha256 over all that was sent and who sent it; version: of the model that will
    score, or that is adapted, as it was when the job came.
    """

    fingerprint: str
    owner: str
    model: str
    version: int
    adapt: bool
    screen: str
    sample: str
    plates: int
    wells: int


@dataclass(frozen=True, kw_only=True)
class NewJob(Asked):
    """A job that is accepted."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, kw_only=True)
class Job(Asked):
    """A row of the table. state: "refused" = the upload is at fault, "failed" = the service is; stage, stage_done, stage_total: what is
    being done and how far; note: why it waits; sent: how often the same was sent; revision: how often wells were excluded or restored;
    error, findings: why it was refused or failed, where a list of jobs goes without the findings, of which a plate can have thousands.
    """

    id: str
    state: State
    created_at: str
    started_at: str
    finished_at: str
    stage: str
    stage_done: int
    stage_total: int
    note: str
    worker: str
    beat: float
    not_before: float
    attempts: int
    sent: int
    revision: int
    error: str
    findings: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class WellChange:
    """A person leaves a well out of the curves (excluded) or takes it back, and says why."""

    plate: str
    well: str
    excluded: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class KeptChange:
    """A change as it is kept: with the revision that it led to, when, and by whom."""

    revision: int
    at: str
    by: str
    plate: str
    well: str
    excluded: bool
    reason: str


def require_unchanged(job: Job, kept: Sequence[KeptChange], changes: Sequence[WellChange], *, seen: int) -> None:
    """Raises JobConflictError where one of the wells of `changes` was changed after the revision that was seen."""
    wells = {(change.plate, change.well) for change in changes}
    since = [f"{change.plate} {change.well} was {'left out' if change.excluded else 'taken back'}{f' by {change.by}' if change.by else ''} "
             f"({change.reason})" for change in kept if change.revision > seen and (change.plate, change.well) in wells]
    if since:
        raise JobConflictError(f"these wells were changed since revision {seen} of job {job.id}: {some(since, SAID)}; nothing was changed "
                               f"now. Look at the result again, and send it with the latest revision, {kept[-1].revision}")


def now() -> str:
    """The time in ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
