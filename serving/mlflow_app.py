"""MLflow's server without its assistant: `mlflow server --app-name dosewell`, or `dosewell-accounts` for one with accounts.

The assistant lets whoever reaches it from the server's own machine choose a language model of his own and have it run commands and write
files as the server's user. No setting of MLflow switches it off.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

CLOSED = "/mlflow/assistant"


def create_app() -> Any:
    """The application that uvicorn serves, as MLflow makes it itself where no other one is named."""
    from mlflow.server.fastapi_app import create_fastapi_app

    return _closed(create_fastapi_app())


def with_accounts() -> Any:
    """The same with accounts, as `--app-name basic-auth` has them."""
    from mlflow.server.auth import create_app as basic_auth

    return _closed(basic_auth())


def _closed(app: Any) -> Any:
    app.add_middleware(_Closed)
    return app


class _Closed:
    """ASGI middleware: 404 for whatever belongs to the assistant."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or not."""
        closed = CLOSED in scope.get("path", "")
        await (PlainTextResponse("the assistant is switched off", status_code=404) if closed else self.app)(scope, receive, send)
