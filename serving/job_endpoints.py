"""POST /jobs and what can be asked of a job. A token sees its own jobs; an admin's sees everybody's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response

from serving import form_documents, job_schemas, schemas
from serving.access import NOBODY, SCOPE_KEY, Token
from serving.attachments import attachment
from serving.endpoints import in_thread, promoter_of, received
from serving.forms import Form
from serving.job_records import STATES, Job, WellChange
from serving.plain import to_json

if TYPE_CHECKING:
    from serving.job_desk import JobDesk
    from serving.jobs import JobStore

JobId = Annotated[str, PathParameter(description="id of the job")]
router = APIRouter(prefix="/jobs", responses=schemas.ERRORS)
ACCEPTED_AT_ONCE = 8    # uploads that have come; a table of jobs that is locked must not take all threads
_PLACE = "^([0-9TZ:.+-]{1,40} [0-9a-f]{32})?$"    # serving.jobs.place_of


def desk_of(request: Request) -> JobDesk:
    """Who takes jobs in and gives results out."""
    return cast("JobDesk", request.app.state.desk)


def _store(request: Request) -> JobStore:
    return desk_of(request).store


def own_job(request: Request, job: str) -> Job:
    """The job, if the one who asks may see it. Raises UnknownJobError."""
    return _store(request).get(job, owner=_owner(request))


def _token(request: Request) -> Token:
    return cast("Token", request.scope.get(SCOPE_KEY, NOBODY))


def _owner(request: Request) -> str | None:
    """Whose jobs the one who asks may see; None for everybody's."""
    token = _token(request)
    return None if token.role == "admin" else token.name


@router.post("", status_code=202, response_model=job_schemas.JobRecord, openapi_extra=form_documents.JOB_FORM,
             summary="Score plates in the background; what was sent before is recognised")
async def submit(request: Request) -> Response:
    """202 for a new job, 200 for one that is there already. When this answers, the job is on disk."""
    from serving.job_desk import job_record
    from serving.uploads import JOB_FIELDS

    def work(form: Form, folder: Path) -> tuple[Job, bool]:
        return desk_of(request).accept(form, folder, promoter=promoter_of(request), owner=_token(request).name)

    state = request.app.state
    if state.accepting is None:     # made in the event loop that it belongs to; not that of the plates that are being scored
        state.accepting = anyio.CapacityLimiter(ACCEPTED_AT_ONCE)
    async with received(request, JOB_FIELDS) as (form, folder):
        job, new = await anyio.to_thread.run_sync(lambda: work(form, folder), limiter=state.accepting)
    return Response(to_json(job_record(job)), status_code=202 if new else 200, media_type="application/json",
                    headers={"location": f"jobs/{job.id}"})


@router.get("", response_model=job_schemas.JobsAnswer, summary="The latest jobs, newest first")
def latest(request: Request,
           state: Annotated[str, Query(pattern=f"^({'|'.join(STATES)}|)$", description="only these")] = "",
           limit: Annotated[int, Query(ge=1, le=1000, description="so many")] = 100,
           before: Annotated[str, Query(pattern=_PLACE, description="`next` of an answer: the jobs that follow it")] = "") -> Any:
    """A token's own; an admin's token sees everybody's. Why one was refused stands in full with the job itself."""
    from serving.job_desk import job_line
    from serving.jobs import place_of

    found = _store(request).latest(owner=_owner(request), state=state, before=before, limit=limit)
    return {"jobs": [job_line(job) for job in found], "next": place_of(found[-1]) if len(found) == limit else ""}


@router.get("/{job}", response_model=job_schemas.JobRecord, summary="State and progress of a job")
def one(request: Request, job: JobId) -> Any:
    """How far it is, why it waits, or what is wrong with what was sent."""
    from serving.job_desk import job_record

    return job_record(own_job(request, job))


@router.get("/{job}/result", summary="The result as JSON, CSV, Parquet, XLSX or a report page",
            response_class=Response)
async def result(request: Request, job: JobId,
                 format: Annotated[str, Query(description="json, csv, parquet, xlsx or html")] = "json",  # noqa: A002  # the query's name
                 table: Annotated[str, Query(description="of CSV and Parquet this table alone, such as wells")] = "") -> Response:
    """CSV and Parquet are zips of all tables, or one table. JSON and Parquet are exact."""
    def work() -> tuple[bytes, str, str]:
        from serving.results import render

        found = own_job(request, job)
        return render(desk_of(request).result(found), found, kind=format, table=table)

    body, media_type, name = await anyio.to_thread.run_sync(work)
    return Response(body, media_type=media_type, headers=attachment(name))


@router.get("/{job}/against/{other}", response_model=job_schemas.ComparisonAnswer,
            responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
            summary="How many times less potent each treatment is on another job's sample than on this one's")
async def against(request: Request, job: JobId, other: Annotated[str, PathParameter(description="id of the other job, the second")],
                  format: Annotated[Literal["json", "csv"], Query(  # noqa: A002  # the query's name
                      description="csv: the table alone, as `dosewell compare` writes it")] = "json") -> Response:
    """IC50 on the other job's sample over that on this job's, with limits and q; both jobs must be done. Nothing is kept."""
    def work() -> Response:
        from serving.comparing import comparison_answer, comparison_csv

        both = [own_job(request, name) for name in (job, other)]    # before either is looked into
        first, second = ((found, desk_of(request).result(found)) for found in both)
        if format == "json":
            return Response(to_json(comparison_answer(first, second)), media_type="application/json")
        table, name = comparison_csv(first, second)
        return Response(table, media_type="text/csv; charset=utf-8", headers=attachment(name))

    return await anyio.to_thread.run_sync(work)


@router.post("/{job}/exclusions", response_model=job_schemas.JobRecord,
             summary="Leave wells out or take them back; fits again, scores nothing")
async def exclusions(request: Request, job: JobId, body: job_schemas.WellChanges) -> Any:
    """Each is kept with its reason. Where `revision` is named, a well that was changed after it is a 409, and nothing is changed."""
    from models.wells import well_or_text
    from serving.job_desk import job_record

    changes = [WellChange(plate=item.plate, well=well_or_text(item.well), excluded=item.excluded, reason=item.reason)
               for item in body.exclusions]
    changed = await in_thread(request.app, lambda: desk_of(request).change_wells(
        own_job(request, job), changes, by=_token(request).name, seen=body.revision))
    return job_record(changed)


@router.delete("/{job}", status_code=204, summary="Delete a job with its images and results; one that runs is cut off")
def delete(request: Request, job: JobId) -> Response:
    """What is deleted cannot be had again."""
    desk_of(request).delete(own_job(request, job))
    return Response(status_code=204)

