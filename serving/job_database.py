"""The database of jobs by its URL: what is connected to, and under which name it may be spoken of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.orm  # now: MLflow imports it in another thread, and half imported it breaks queries in this one
from sqlalchemy.exc import SQLAlchemyError

from serving.job_records import JobStoreError

CONNECT_SECONDS = 10    # a database that does not answer must not keep a request waiting for minutes
_PATIENCE = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 30_000, "keepalives_idle": 30, "keepalives_interval": 10}
_EXPECTED = ("expected e.g. postgresql+psycopg://USER:PASSWORD@HOST:5432/NAME, where : / @ # ? and % of the password are written as "
             "%3A %2F %40 %23 %3F %25")


def database_address(url: str) -> sa.URL:
    """The parts of a URL. Raises JobStoreError that says nothing of its text: a password may be anywhere in what cannot be read."""
    try:
        address = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        raise JobStoreError(f"DOSEWELL_DATABASE_URL is no address of a database; {_EXPECTED}") from None
    if "@" in (address.host or ""):     # the rest of a password that was not escaped
        raise JobStoreError(f"DOSEWELL_DATABASE_URL has more than one @; {_EXPECTED}")
    return address.set(drivername="postgresql+psycopg") if address.drivername == "postgresql" else address  # what the extra brings


def spoken(address: sa.URL) -> str:
    """The address as logs and answers may show it: without password and without the driver's parameters, which can hold one too."""
    return address.set(query={}).render_as_string(hide_password=True)


def open_database(address: sa.URL) -> sa.Engine:
    """An engine, which connects when it is first used. Raises JobStoreError where no driver can be had."""
    is_sqlite = address.get_backend_name() == "sqlite"
    if is_sqlite and address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    patience = {} if address.get_backend_name() != "postgresql" else {
        name: value for name, value in _PATIENCE.items() if name not in address.query}
    try:
        engine = sa.create_engine(address, pool_pre_ping=True, connect_args=patience)
    except (SQLAlchemyError, ImportError) as error:
        raise JobStoreError(f"the database of jobs at {spoken(address)} cannot be used: {error}; PostgreSQL needs the extra "
                            "'postgres'") from None
    if is_sqlite:
        sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Readers beside a writer, commits that survive a power cut, patience with a busy file, and foreign keys."""
    for line in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=20000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {line}")
