"""What the service answers of jobs, and what may be changed in one, as pydantic schemas (see serving/schemas.py)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import FindingRecord


class ProgressRecord(BaseModel):
    """How far a running job is."""

    stage: str = Field(description="what is being done: checking images, preparing images, training, scoring ...")
    done: int = Field(description="how much of the stage, in what it counts: wells, images, epochs")
    total: int = Field(description="0 while it is not known")


class JobLine(BaseModel):
    """A job as it stands in a list."""

    id: str = Field(description="by which it is asked for")
    name: str = Field(description="of the screen")
    state: str = Field(description="queued, running, done, refused (the upload is at fault) or failed")
    model: str = Field(description="registered name")
    version: int = Field(description="of the model, as it was when the job came: it scores with that one, or adapts it")
    adapt: bool = Field(description="whether a model of its own is trained from that one")
    sample: str = Field(description="cell line or patient")
    plates: int = Field(description="how many")
    wells: int = Field(description="how many, of all plates")
    by: str = Field(description="name of the token that sent it")
    created: str = Field(description="when it was accepted, ISO 8601, UTC")
    started: str = Field(description="when a worker first had it, ISO 8601, UTC; empty before")
    finished: str = Field(description="when it ended, ISO 8601, UTC; empty before")
    progress: ProgressRecord = Field(description="while it runs")
    note: str = Field(description="why it waits, where it does")
    sent: int = Field(description="how often the same was sent; it is one job")
    revision: int = Field(description="how often wells were excluded or restored")
    error: str = Field(description="why it was refused or failed, in a sentence, of which a list has the first words; else empty")


class JobRecord(JobLine):
    """A job."""

    findings: list[FindingRecord] = Field(description="each mistake of a refused one with its place and the way out")


class JobsAnswer(BaseModel):
    """The answer of GET /jobs, newest first."""

    jobs: list[JobLine] = Field(description="without their findings: GET /jobs/{id} has them")
    next: str = Field(description="`before` of the request for the jobs that follow; empty where there are none")


class WellChangeRecord(BaseModel):
    """A well that a person leaves out of the curves, or takes back."""

    plate: str = Field(max_length=200, description="as the layout calls it")
    well: str = Field(max_length=8, description="such as B03")
    excluded: bool = Field(default=True, description="false: it is taken back")
    reason: str = Field(max_length=1000, pattern=r"^[^\x00]*$", description="why; it is kept")


class WellChanges(BaseModel):
    """The body of POST /jobs/{id}/exclusions."""

    exclusions: list[WellChangeRecord] = Field(max_length=20_000, description="one per well")
    revision: int | None = Field(default=None, ge=0, description="the job's, as the one who asks saw it: where others changed one of these "
                                                                   "wells after it, nothing is changed (409)")


class PotencyRecord(BaseModel):
    """A treatment that both samples have: `compare_potency` in models/dose_response."""

    treatment: str = Field(description="name as in the layouts")
    ic50_first: float | None = Field(description="on the first sample, in the curves' dose unit; a limit where that is censored")
    ic50_second: float | None = Field(description="on the second sample, in the curves' dose unit; a limit where that is censored")
    fold: float | None = Field(description="IC50 on the second sample over that on the first")
    fold_low: float | None = Field(description="lower 95 % limit of fold; null: open")
    fold_high: float | None = Field(description="upper 95 % limit of fold; null: open")
    fold_relation: str = Field(description="of fold: =, > or <; empty where nothing can be said")
    p: float | None = Field(description="of no difference; null where an IC50 is censored or missing")
    q: float | None = Field(description="p corrected for the number of treatments")
    call: str = Field(description="higher or lower (IC50 on the second sample), none (no evidence), or empty: cannot say")
    reason: str = Field(description="why nothing can be said; empty where something can")


class ComparedJob(BaseModel):
    """One of two jobs that are compared."""

    model_config = ConfigDict(protected_namespaces=())

    job: str = Field(description="its id")
    name: str = Field(description="of the screen")
    sample: str = Field(description="cell line or patient")
    model: str = Field(description="registered name")
    version: str = Field(description="number of the model's version, as text")
    revision: int = Field(description="how often wells were excluded or restored")
    warnings: list[str] = Field(description="what to know of it first, in words")


class ComparisonAnswer(BaseModel):
    """The answer of GET /jobs/{job}/against/{other}."""

    first: ComparedJob = Field(description="the job that is compared with")
    second: ComparedJob = Field(description="the other job")
    potencies: list[PotencyRecord] = Field(description="one per treatment that both have, in the first job's order")
    view: dict[str, Any] = Field(description="the same in the page's words: headline, rows, kinds, only_first, only_second, halves")
