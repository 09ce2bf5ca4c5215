"""What the page needs beside the interface for programs: layouts read before sending, examples, results in words, images of wells."""

from __future__ import annotations

import gzip
import re
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from serving import form_documents, schemas
from serving.endpoints import promoter_of, received, while_asked
from serving.job_endpoints import JobId, desk_of, own_job
from serving.plain import to_json

Plate = Annotated[str, PathParameter(description="as the layout calls it")]
Well = Annotated[str, PathParameter(description="such as B03")]
Name = Annotated[str, PathParameter(description="of an example")]
File = Annotated[str, PathParameter(description="of its files")]
router = APIRouter()


@router.post("/layouts", responses=schemas.ERRORS, openapi_extra=form_documents.LAYOUT_FORM,
             summary="What a layout says and what is wrong with it, without images")
async def layouts(request: Request) -> Response:
    """Nothing is kept."""
    from serving.layouts import LAYOUT_FIELDS, layout_answer

    async with received(request, LAYOUT_FIELDS) as (form, _):
        body = await anyio.to_thread.run_sync(lambda: to_json(layout_answer(form)))   # not behind the plates that are being scored
    return Response(body, media_type="application/json")


@router.get("/examples", summary="Simulated plates to start from, for models that learned from simulated plates")
def examples(request: Request) -> Any:
    """With names and addresses of their files."""
    from serving.examples import examples_answer

    return examples_answer(promoter_of(request).snapshot)


@router.get("/examples/{name}/{file}", summary="A file of an example", response_class=FileResponse, responses=schemas.ERRORS)
def example(request: Request, name: Name, file: File) -> FileResponse:
    """As `GET /examples` names it."""
    from serving.examples import example_file

    path = example_file(name, file, folder=request.app.state.settings.state / "examples")
    if path is None:
        raise HTTPException(404, f"there is no example file {name}/{file}")
    return FileResponse(path)


@router.get("/jobs/{job}/view", response_class=Response, responses=schemas.ERRORS,
            summary="The result in the report's words, for a page that draws it")
async def view(request: Request, job: JobId) -> Response:
    """What the page shows: verdicts, plates and curves. Compressed where that is taken: of fifty 1536-well plates it is 47 MB, so 9."""
    packed = takes_gzip(request.headers.get("accept-encoding", ""))

    def work() -> bytes:
        from serving.job_view import job_view

        found = own_job(request, job)
        body = to_json(job_view(desk_of(request).result(found)))
        return gzip.compress(body, 1, mtime=0) if packed else body

    return Response(await anyio.to_thread.run_sync(work), media_type="application/json",
                    headers={"vary": "accept-encoding", **({"content-encoding": "gzip"} if packed else {})})


def takes_gzip(accepted: str) -> bool:
    """Whether a header Accept-Encoding names gzip, or all, and not to say that it is not taken (q=0)."""
    weights = {name.strip().lower(): weight.replace(" ", "") for name, _, weight in (word.partition(";") for word in accepted.split(","))}
    return re.fullmatch(r"q=0(\.0*)?", weights.get("gzip", weights.get("*", "q=0")).lower()) is None


@router.get("/jobs/{job}/wells/{plate}/{well}.png", response_class=Response, responses=schemas.ERRORS, summary="A small image of a well")
async def well_image(request: Request, job: JobId, plate: Plate, well: Well,
                     channel: Annotated[int, Query(ge=0, description="from 0, as screen.yaml orders them")] = 0) -> Response:
    """All images of a plate share one grey scale."""
    def work() -> bytes | None:
        from serving.thumbnails import thumbnail

        found, desk = own_job(request, job), desk_of(request)
        archive = desk.files.plates(found.id).get(plate)
        if archive is None:
            return None
        with desk.there(found, archive):
            return thumbnail(archive, well, channel=channel)

    image = await anyio.to_thread.run_sync(work)
    if image is None:
        raise HTTPException(404, f"the job has no image of well {well} of plate {plate}")
    return Response(image, media_type="image/png")


@router.get("/jobs/{job}/wells/{plate}/{well}/heat", response_class=Response, responses=schemas.ERRORS,
            summary="Where the model that scored a well looks: what raises its answer, and what lowers it")
async def heat(request: Request, job: JobId, plate: Plate, well: Well,
               method: Annotated[str, Query(description="gradcam or gradcam++")] = "gradcam") -> Response:
    """What the network reads, and where it looks, as PNGs. It shows where, not why."""
    def work() -> bytes | None:
        from serving.heat import heat_answer

        found, desk = own_job(request, job), desk_of(request)
        result, archive = desk.result(found), desk.files.plates(found.id).get(plate)
        if archive is None:
            return None
        lineage = result.scored.lineage     # of an adapted job, its own model
        served = promoter_of(request).pick_to_explain(f"{lineage['model']}/{lineage['version']}", sha256=lineage["bundle_sha256"])
        with desk.there(found, archive):
            answer = heat_answer(result, archive, well, served, method=method)
        return to_json(answer) if answer is not None else None

    await request.body()    # there is none; what comes after it is that the one who asks goes away
    body = await while_asked(request, work)
    if body is None:
        raise HTTPException(404, f"the job has no image of well {well} of plate {plate}")
    return Response(body, media_type="application/json")
