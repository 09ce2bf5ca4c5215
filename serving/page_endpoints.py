"""POST /layouts and GET /examples: what the page needs before a plate is sent. Programs may use them, too."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from serving import schemas
from serving.endpoints import promoter_of, received
from serving.plain import to_json

router = APIRouter()


@router.post("/layouts", responses=schemas.ERRORS, openapi_extra=schemas.LAYOUT_FORM,
             summary="What a layout says and what is wrong with it, without images")
async def layouts(request: Request) -> Response:
    """POST /layouts."""
    from serving.layouts import LAYOUT_FIELDS, layout_answer

    async with received(request, LAYOUT_FIELDS) as (form, _):
        body = await anyio.to_thread.run_sync(lambda: to_json(layout_answer(form)))   # not behind the plates that are being scored
    return Response(body, media_type="application/json")


@router.get("/examples", summary="Simulated plates to start from, for models that learned from simulated plates")
def examples(request: Request) -> Any:
    """GET /examples."""
    from serving.examples import examples_answer

    return examples_answer(promoter_of(request).snapshot)


@router.get("/examples/{name}/{file}", summary="A file of an example", response_class=FileResponse, responses=schemas.ERRORS)
def example(request: Request, name: str, file: str) -> FileResponse:
    """GET /examples/{name}/{file}."""
    from serving.examples import example_file

    path = example_file(name, file, folder=request.app.state.settings.state / "examples")
    if path is None:
        raise HTTPException(404, f"there is no example file {name}/{file}")
    return FileResponse(path)
