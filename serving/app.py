"""The HTTP interface as an app that BentoML mounts: routes, error answers, and the OpenAPI document.

It is mounted rather than written as BentoML endpoints because those fetch URLs that stand where a file should, answer with
their own error bodies, and hold a whole upload in memory; see docs/service.md.
"""

from __future__ import annotations

import logging
import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from models.errors import DosewellError
from serving import endpoints, job_endpoints, page_endpoints
from serving.faults import error_response, status_of
from serving.settings import Settings
from serving.site import add_page

logger = logging.getLogger("dosewell.service")


def _version() -> str:
    """The installed version; a bento is not installed, and has pyproject.toml beside its code."""
    try:
        return installed_version("dosewell")
    except PackageNotFoundError:
        text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["project"]["version"])


SERVICE_VERSION = _version()


def create_app(settings: Settings) -> FastAPI:
    """The app. `app.state.promoter` and `app.state.desk` must be set before the first request is answered."""
    app = _App(title="Dosewell", version=SERVICE_VERSION, openapi_url="/docs.json", docs_url=None, redoc_url=None,
                  description="Scores plate images of drug-treated cells with the registered model of a cell line or patient.")
    app.state.settings, app.state.promoter, app.state.version = settings, None, SERVICE_VERSION
    app.state.uploads = settings.uploads
    app.state.limiter, app.state.accepting, app.state.desk, app.state.shadow, app.state.agreement = None, None, None, None, None
    for kind in (DosewellError, HTTPException, RequestValidationError, ClientDisconnect, OSError, Exception):
        app.add_exception_handler(kind, _answer_error)
    app.get("/openapi.json", include_in_schema=False)(app.openapi)
    app.include_router(endpoints.router)
    app.include_router(job_endpoints.router)
    app.include_router(page_endpoints.router)
    add_page(app)
    app.router.routes.append(_Nowhere())
    return app


class _App(FastAPI):
    """An app whose OpenAPI document does not promise FastAPI's own answer to what cannot be used: it is answered by 400."""

    def openapi(self) -> dict[str, Any]:
        """The document."""
        made = self.openapi_schema is not None
        document = super().openapi()
        if not made:
            for way in (way for ways in document["paths"].values() for way in ways.values()):
                way["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                document["components"]["schemas"].pop(name, None)
        return document


class _Nowhere(BaseRoute):
    """The last route, which answers every unknown address by 404 in our own form; BentoML would answer a text. It matches as PARTIAL only,
    so that a known address asked by a wrong method is still answered by 405.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Always, and last."""
        return Match.PARTIAL, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """404."""
        raise HTTPException(404, "there is nothing at this address; the page is at /, all addresses are listed at /docs")


async def _answer_error(request: Request, error: Exception) -> Response:
    status = status_of(error)
    if status >= 500:
        logger.error("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    return error_response(error)
