"""Addresses of MLflow trackers. Importing this module costs nothing: the service's parent process needs no more of a registry."""

from __future__ import annotations

import os
import re
from pathlib import Path

from models.errors import RegistryError

_SQLITE = "sqlite:///"
_ADDRESS = re.compile(r"(?:https?|(?:postgresql|mysql|mssql)(?:\+\w+)?)://[^/\s]", re.IGNORECASE)


def default_tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else an SQLite file in the working folder; of an experiment that DVC runs in a copy of the project (`dvc exp run
    --temp`, `--queue`) in the project's own, because DVC deletes the copy, and with it what was registered there.
    """
    project, copy, _ = str(Path.cwd()).partition("/.dvc/tmp/exps/")
    return os.environ.get("MLFLOW_TRACKING_URI") or (f"{_SQLITE}{project}/mlflow.db" if copy else f"{_SQLITE}mlflow.db")


def absolute_uri(tracking_uri: str) -> str:
    """SQLite paths made absolute, so that the working folder may change. Raises RegistryError for what is no address of an MLflow."""
    if tracking_uri.startswith(_SQLITE) and (path := tracking_uri.removeprefix(_SQLITE)):
        return _SQLITE + str(Path(path).absolute())
    if not _ADDRESS.match(tracking_uri):
        raise RegistryError(f"'{without_password(tracking_uri)}' is no address of an MLflow registry; name a server by "
                            "http://host:5000, an SQLite file by sqlite:///mlflow.db, or a database by postgresql://user@host/name "
                            "(MLFLOW_TRACKING_URI)")
    return tracking_uri


def without_password(text: str) -> str:
    """The text with user and password of its addresses starred out."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)
