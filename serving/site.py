"""The page: static files of serving/page/, under a policy that lets no inline script run and fetches nothing from elsewhere.

The files hold no data: everything shown comes from the HTTP interface that programs use.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).resolve().parent / "page"
SHARED = FOLDER.parents[1] / "models" / "report" / "templates" / "shared.css"   # one style of the report and of the page
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
INTERFACE_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")  # Swagger UI writes style attributes
FRESH = {"Cache-Control": "no-cache"}   # asked again with its ETag, so that an upgraded service never meets an old page

router = APIRouter(include_in_schema=False)


class PageFiles(StaticFiles):
    """Static files under the page's policy."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or 404."""
        response = await super().get_response(path, scope)
        response.headers.update({**FRESH, "Content-Security-Policy": POLICY})
        return response


@router.get("/")
def page(request: Request) -> HTMLResponse:
    """The page, with the version of the service at its foot."""
    text = (FOLDER / "index.html").read_text(encoding="utf-8")
    return HTMLResponse(text.replace("{version}", request.app.version), headers={**FRESH, "Content-Security-Policy": POLICY})


@router.get("/page/styles/shared.css")
async def shared_style() -> FileResponse:
    """How single doses and pairs of treatments are drawn."""
    return FileResponse(SHARED, headers={**FRESH, "Content-Security-Policy": POLICY})


@router.get("/docs")
async def interface() -> FileResponse:
    """The description of the HTTP interface."""
    return FileResponse(FOLDER / "interface.html", headers={**FRESH, "Content-Security-Policy": INTERFACE_POLICY})


def add_page(app: FastAPI) -> None:
    """Serve the page at `/`, the description of the interface at /docs, and the page's files below /page."""
    app.include_router(router)
    app.mount("/page", PageFiles(directory=FOLDER), name="page")
