"""How MLflow is reached: the client of a tracking URI, everything of a search, and MLflow's exceptions as ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from models.errors import RegistryError
from models.registered import UnknownModelError
from models.tracking import without_password


def open_client(uri: str) -> MlflowClient:
    """The client of a database or a server. Raises RegistryError for a database that is away."""
    with reaching(uri), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy deprecations inside MLflow's own models
        if not uri.startswith("http"):
            create_engine(uri, poolclass=NullPool).connect().close()   # one that is away MLflow tries for two minutes
        return MlflowClient(uri, registry_uri=uri)


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """MLflow's exceptions as ours: no such thing, or not reachable."""
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:     # the latter of a database that is away when it is first asked
        text = without_password(f"the registry at {uri} cannot be used: {str(error).splitlines()[0][:400]}")
        if isinstance(error, MlflowException) and error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise UnknownModelError(text.replace("cannot be used", "says", 1)) from error
        raise RegistryError(text) from error
    except OSError as error:
        raise RegistryError(without_password(f"the registry at {uri} cannot be reached: {error}")) from error
    except ImportError as error:    # of a driver or of a store's client
        raise RegistryError(without_password(f"the registry at {uri} cannot be used without the package {error.name}, which is not "
                                             "installed (PostgreSQL: extra postgres; S3: extra s3)")) from error


def all_pages(page: Callable[[str | None], PagedList]) -> list[Any]:
    """Everything that a search finds; MLflow gives it page by page."""
    items = page(None)
    found = list(items)
    while items.token:
        items = page(items.token)
        found += items
    return found
