"""The HTTP interface: POST /score, GET /models, GET /promotions, and the OpenAPI document, as an app that BentoML mounts.

It is mounted rather than written as BentoML endpoints because those fetch URLs that stand where a file should, answer with
their own error bodies, and hold a whole upload in memory; see docs/service.md.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from models.errors import DosewellError, Finding, InputError, RefusedError, RegistryError, SampleMismatch
from serving import schemas
from serving.limits import BodyLimit
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.promotion import Promoter
    from serving.uploads import FilePart, Form

logger = logging.getLogger("dosewell.service")

SERVICE_VERSION = installed_version("dosewell")
MAX_FILES = 5_000     # of a plate whose images are sent one by one
_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": schemas.ErrorAnswer, "description": text} for status, text in {
    400: "The upload cannot be used; the findings say what to change.", 404: "No such model, version or alias.",
    409: "The images are of another sample than the model's (force scores them flagged), or the version must not serve.",
    413: "The request is too large.", 503: "The registry cannot be reached and the model is not loaded."}.items()}
_BINARY = {"type": "string", "format": "binary"}
_FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": ["images", "layout", "model", "screen"], "properties": {
        "images": {"type": "array", "items": _BINARY, "description":
                   "one zip per plate, named after it (P1.zip), or the images of one plate; names like B03_s1_c0_z0.tif: "
                   "well, site from 1, channel and plane from 0"},
        "layout": {**_BINARY, "description": "CSV or XLSX, one row per well: plate, well, role, treatment, dose, dose_unit, replicate"},
        "model": {"type": "string", "description": "registered name, name@alias or name/version; the default alias is champion"},
        "screen": {"type": "string", "description": "YAML or JSON, fields of screen.yaml: name, sample, channels, controls ..."},
        "options": {"type": "string", "description":
                    'JSON: {"fit": {...}, "exclusions": [{"plate", "well", "reason"}], "force": false}'}}}}}}}
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Dosewell</title>
<link rel="icon" href="static_content/favicon-light-32x32.png">
<link rel="stylesheet" href="static_content/swagger-ui.css"></head><body><div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script>window.ui = SwaggerUIBundle({url: "docs.json", dom_id: "#swagger-ui"});</script></body></html>"""


def create_app(settings: Settings) -> FastAPI:
    """The app. `app.state.promoter` must be set before the first request is answered."""
    app = FastAPI(title="Dosewell", version=SERVICE_VERSION, openapi_url="/docs.json", docs_url=None, redoc_url=None,
                  description="Scores plate images of drug-treated cells with the registered model of a cell line or patient.")
    app.state.settings, app.state.promoter = settings, None
    app.state.limiter = None
    app.add_middleware(BodyLimit, max_bytes=settings.max_upload_bytes)
    for kind in (DosewellError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _answer_error)
    app.get("/", include_in_schema=False, response_class=HTMLResponse)(_page)
    app.get("/openapi.json", include_in_schema=False)(app.openapi)
    app.get("/models", response_model=schemas.ModelsAnswer, summary="Which version of each model answers")(_models)
    app.get("/promotions", response_model=schemas.PromotionsAnswer, summary="Changes of champions, oldest first")(_promotions)
    app.post("/score", response_model=schemas.ScoreAnswer, responses=_ERRORS, openapi_extra=_FORM,
             summary="Score plates: viability per well, a curve per treatment")(_score)
    return app


async def _page() -> str:
    return _PAGE


def _models(request: Request) -> Any:
    from serving.answers import models_answer

    return models_answer(_promoter(request).snapshot, service_version=SERVICE_VERSION)


def _promotions(request: Request) -> Any:
    from serving.answers import promotions_answer

    return promotions_answer(_promoter(request).log)


async def _score(request: Request) -> Response:
    from serving import metrics
    from serving.uploads import sort_parts

    try:
        async with request.form(max_files=MAX_FILES, max_fields=20, max_part_size=request.app.state.settings.max_layout_bytes) as parts:
            form = sort_parts([(name, cast("FilePart | str", part)) for name, part in parts.multi_items()
                               if isinstance(part, str | UploadFile)])
            body = await anyio.to_thread.run_sync(_score_form, form, request.app.state, limiter=_limiter(request.app))
    except Exception as error:
        metrics.note_answer(status_of(error))
        raise
    metrics.note_answer(200)
    return Response(body, media_type="application/json")


def _score_form(form: Form, state: Any) -> bytes:
    """One snapshot of the promoter answers the whole request."""
    from serving.scoring import score_upload
    from serving.uploads import read_upload

    served = state.promoter.pick(form.model.strip())
    uploads = Path(state.settings.state) / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=uploads) as folder:
        return score_upload(read_upload(form, Path(folder)), served, service_version=SERVICE_VERSION)


def clear_uploads(settings: Settings) -> None:
    """Remove what a killed process left behind."""
    shutil.rmtree(settings.state / "uploads", ignore_errors=True)


def _limiter(app: FastAPI) -> anyio.CapacityLimiter:
    if app.state.limiter is None:  # made in the event loop that it belongs to
        app.state.limiter = anyio.CapacityLimiter(app.state.settings.scoring_threads)
    return cast("anyio.CapacityLimiter", app.state.limiter)


def _promoter(request: Request) -> Promoter:
    return cast("Promoter", request.app.state.promoter)


def status_of(error: Exception) -> int:
    """HTTP status of an exception."""
    from models.registry import UnknownModelError

    statuses: tuple[tuple[type[Exception], int], ...] = (
        (SampleMismatch, 409), (InputError, 400), (UnknownModelError, 404), (RefusedError, 409), (RegistryError, 503),
        (ClientDisconnect, 400))
    if isinstance(error, HTTPException):
        return error.status_code
    return next((status for kind, status in statuses if isinstance(error, kind)), 500)


async def _answer_error(request: Request, error: Exception) -> Response:
    from serving.scoring import to_json

    status = status_of(error)
    if status >= 500:
        logger.error("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    summary = str(getattr(error, "summary", None) or getattr(error, "detail", None) or error or type(error).__name__)
    if status == 500:
        summary = "the service made a mistake; its log says more"
    findings = list(getattr(error, "findings", ())) or [Finding(rule=_rule_of(error), severity="error", message=summary)]
    return Response(to_json({"error": summary, "findings": [finding.record() for finding in findings]}), status_code=status,
                    media_type="application/json", headers=getattr(error, "headers", None))


def _rule_of(error: Exception) -> str:
    """UnknownModelError -> "unknown_model"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()
