"""MLflow's server without what it would do for others than Dosewell: `mlflow server --app-name dosewell`, or `dosewell-accounts` for one
with accounts.

The assistant lets whoever reaches it from the server's own machine choose a language model of his own and have it run commands and write
files as the server's user; the gateway asks addresses that accounts name; the demo fills the database. And every account may make
experiments and models: by a place of its own choice for their files it would have the server write into folders, or read buckets, that
are open to the server and not to the account. No setting of MLflow switches all this off.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

CLOSED = re.compile(r"/mlflow/+(assistant|gateway(?!-proxy)|mcp-servers|demo)\b|^/+gateway\b")
OWN_PLACE = re.compile(r"(mlflow-artifacts|models|runs):/(?!/)")      # served by this server from where it keeps everything


def create_app() -> Any:
    """The application that uvicorn serves, as MLflow makes it itself where no other one is named."""
    from mlflow.server.fastapi_app import create_fastapi_app

    return _closed(create_fastapi_app())


def _with_accounts() -> Any:
    """The same with accounts, as `--app-name basic-auth` has them."""
    from mlflow.server.auth import create_app as basic_auth

    with _one_process_at_a_time():
        app = basic_auth()
    return _closed(app)


def __getattr__(name: str) -> Any:
    """`with_accounts`, once the admin's account is there. `mlflow server` asks for it before it starts its workers: only there does a
    missing or short password end the server with one message. A worker that ends for it is started again for ever.
    """
    if name != "with_accounts":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from mlflow.exceptions import MlflowException
    from mlflow.server.auth import bootstrap_admin_user, get_flask_server_secret_key

    try:
        get_flask_server_secret_key()
        with _one_process_at_a_time():
            bootstrap_admin_user()
    except MlflowException as error:
        raise SystemExit(f"MLflow does not start: {error.message}") from error
    return _with_accounts


@contextlib.contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    """All processes of a server make the tables of accounts and the admin at its first start: those that come second failed at them."""
    with Path(os.environ.get("MLFLOW_AUTH_CONFIG_PATH") or __file__).open("rb") as file:
        with contextlib.suppress(OSError):      # NFS locks no file that is open for reading alone
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _closed(app: Any) -> Any:
    os.environ["MLFLOW_ENABLE_AI_GATEWAY"] = "false"    # so that the UI does not offer it
    os.environ.pop("MLFLOW_DEPLOYMENTS_TARGET", None)   # without it `gateway-proxy`, which every page of the UI asks, lists nothing and
    #                                                     asks nobody; closed, it would lay a red error over the page's buttons
    _keep_files_in_one_place()
    app.add_middleware(_Closed)
    return app


def _keep_files_in_one_place() -> None:
    """Refuse a request that names a place for the files of an experiment or a version (`artifact_location`, `source`) other than the
    server's own. Files that are there by a pipeline's direct way into the database are not asked about.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.server import handlers

    further = handlers._validate_artifact_uri_scheme    # missing in a later MLflow: no server, rather than an open one

    def own_place(uri: str, field_name: str) -> None:
        if not OWN_PLACE.match(uri):
            raise MlflowException.invalid_parameter_value(f"{field_name} is '{uri[:200]}', a place of your own choice; this server keeps "
                                                          "all files in its own, which it names itself where none is given")
        further(uri, field_name)
    handlers._validate_artifact_uri_scheme = own_place


class _Closed:
    """ASGI middleware: 404 for whatever belongs to these."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or not."""
        closed = CLOSED.search(scope.get("path", ""))
        await (PlainTextResponse(f"{closed[0]} is switched off here", status_code=404) if closed else self.app)(scope, receive, send)
