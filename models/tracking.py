"""Addresses of MLflow trackers. Importing this module costs nothing: the service's parent process needs no more of a registry."""

from __future__ import annotations

import re
from pathlib import Path

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
_SQLITE = "sqlite:///"


def absolute_uri(tracking_uri: str) -> str:
    """SQLite paths made absolute, so that the working folder may change."""
    if not tracking_uri.startswith(_SQLITE):
        return tracking_uri
    return _SQLITE + str(Path(tracking_uri.removeprefix(_SQLITE)).absolute())


def without_password(text: str) -> str:
    """The text with user and password of its addresses starred out."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)
