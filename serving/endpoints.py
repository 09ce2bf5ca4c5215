"""POST /score, /curves and /classify, GET /models and /promotions. What needs torch or pandas is imported when it is first asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

import anyio
import anyio.from_thread
import anyio.to_thread
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from serving import form_documents, schemas
from serving.attachments import attachment, file_stem
from serving.forms import Fields, Form, receive_form
from serving.limits import allow_upload

if TYPE_CHECKING:
    from serving.promotion import Promoter

T = TypeVar("T")
router = APIRouter()


@asynccontextmanager
async def received(request: Request, fields: Fields) -> AsyncIterator[tuple[Form, Path]]:
    """The request's form and the folder that its files lie in, for as long as the block lasts."""
    state = request.app.state
    allow_upload(request.scope, state.settings.max_upload_bytes)
    folder = await anyio.to_thread.run_sync(_new_folder, state.uploads)     # a disk of the network may not answer for a while
    try:
        yield await receive_form(request, folder, fields, max_text_bytes=state.settings.max_text_bytes), folder
    finally:    # in a thread: deleting gigabytes takes long enough that the event loop would keep all others waiting
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))


def _new_folder(uploads: Path) -> Path:
    uploads.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=uploads))


async def in_thread(app: FastAPI, work: Callable[[], T]) -> T:
    """Heavy work in one of a few threads, away from the event loop; others wait."""
    if app.state.limiter is None:  # made in the event loop that it belongs to
        app.state.limiter = anyio.CapacityLimiter(app.state.settings.scoring_threads)
    return await anyio.to_thread.run_sync(work, limiter=app.state.limiter)


async def while_asked(request: Request, work: Callable[[], T]) -> T:
    """`in_thread`, but not for a client that disconnected while it waited for its turn. Clients that give up and ask again would otherwise
    fill the few threads with answers that nobody reads. Raises ClientDisconnect.
    """
    def unless_gone() -> T:
        if anyio.from_thread.run(request.is_disconnected):
            raise ClientDisconnect
        return work()
    return await in_thread(request.app, unless_gone)


def promoter_of(request: Request) -> Promoter:
    """Who says which model answers."""
    return cast("Promoter", request.app.state.promoter)


@router.get("/models", response_model=schemas.ModelsAnswer, summary="Which version of each model answers")
def models(request: Request) -> Any:
    """What answers for each model since when, what is refused and why, and how far a challenger agrees."""
    from serving.answers import models_answer

    return models_answer(promoter_of(request).snapshot, service_version=request.app.state.version, agreement=request.app.state.agreement)


@router.get("/promotions", response_model=schemas.PromotionsAnswer, summary="The latest 1,000 changes of champions, oldest first")
def promotions(request: Request) -> Any:
    """As this service saw them; each is kept for good."""
    from serving.answers import promotions_answer

    return promotions_answer(promoter_of(request).log)


@router.get("/metrics", response_class=Response, summary="For Prometheus")
def prometheus() -> Response:
    """In Prometheus' text form, over all processes together."""
    from serving import metrics

    text, media_type = metrics.exposition()
    return Response(text, media_type=media_type)


@router.post("/score", response_model=schemas.ScoreAnswer, responses=schemas.ERRORS, openapi_extra=form_documents.SCORE_FORM,
             summary="Score plates: viability per well, a curve per treatment")
async def score(request: Request) -> Response:
    """Answers when the plates are scored, and keeps nothing. One version of the model answers the whole request."""
    from serving.scoring import score_upload
    from serving.uploads import SCORE_FIELDS, read_upload

    def work(form: Form, folder: Path) -> bytes:
        served, shadow = promoter_of(request).pick(form.texts["model"].strip()), request.app.state.shadow
        return score_upload(read_upload(form, folder), served, service_version=request.app.state.version,
                            **({"on_answered": shadow.offer} if shadow is not None else {}))

    async with received(request, SCORE_FIELDS) as (form, folder):
        body = await while_asked(request, lambda: work(form, folder))
    return Response(body, media_type="application/json")


@router.post("/curves", response_model=schemas.ScoreAnswer, responses=schemas.ERRORS, openapi_extra=form_documents.CURVES_FORM,
             summary="A plate reader's table alone: viability, a curve per treatment, scores, plate quality")
async def curves(request: Request, format: Annotated[Literal["json", "html"], Query(  # noqa: A002  # the query's name
        description="html: the report, as a page")] = "json") -> Response:
    """No images, no model."""
    from serving.scoring import score_readout_form
    from serving.uploads import CURVE_FIELDS

    async with received(request, CURVE_FIELDS) as (form, folder):
        body, title = await while_asked(request, lambda: score_readout_form(
            form, folder, kind=format, service_version=request.app.state.version))
    if format == "html":
        return Response(body, media_type="text/html; charset=utf-8", headers=attachment(f"{file_stem(title)}.html"))
    return Response(body, media_type="application/json")


@router.post("/classify", response_model=schemas.ClassifyAnswer, responses=schemas.ERRORS, openapi_extra=form_documents.CLASSIFY_FORM,
             summary="Images without a layout: the class of each, and its probability")
async def classify(request: Request) -> Response:
    """One version of the model answers for all images. Nothing is kept."""
    from serving.classify import CLASSIFY_FIELDS, classify_form

    def work(form: Form, folder: Path) -> bytes:
        served = promoter_of(request).pick(form.texts["model"].strip())
        return classify_form(form, folder, served, service_version=request.app.state.version)

    async with received(request, CLASSIFY_FIELDS) as (form, folder):
        body = await while_asked(request, lambda: work(form, folder))
    return Response(body, media_type="application/json")
