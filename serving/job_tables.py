"""The tables of jobs, their indexes, how a database gets them, and the transactions in which they are asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from serving.job_database import database_address, open_database, spoken
from serving.job_records import JobStoreError

FORM = 1    # of these tables; one more whenever the release before would misread them, or fail at them
_METADATA = sa.MetaData()
JOBS = sa.Table(
    "dosewell_jobs", _METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False, unique=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("model", sa.String(255), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("adapt", sa.Boolean, nullable=False),
    sa.Column("screen", sa.String(255), nullable=False),
    sa.Column("sample", sa.String(255), nullable=False),
    sa.Column("plates", sa.Integer, nullable=False),
    sa.Column("wells", sa.Integer, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("started_at", sa.String(32), nullable=False, default=""),
    sa.Column("finished_at", sa.String(32), nullable=False, default=""),
    sa.Column("stage", sa.String(64), nullable=False, default=""),
    sa.Column("stage_done", sa.Integer, nullable=False, default=0),
    sa.Column("stage_total", sa.Integer, nullable=False, default=0),
    sa.Column("note", sa.Text, nullable=False, default=""),
    sa.Column("worker", sa.String(255), nullable=False, default=""),
    sa.Column("beat", sa.Float, nullable=False, default=0.0),
    sa.Column("not_before", sa.Float, nullable=False, default=0.0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("sent", sa.Integer, nullable=False, default=1),
    sa.Column("revision", sa.Integer, nullable=False, default=0),
    sa.Column("error", sa.Text, nullable=False, default=""),
    sa.Column("findings", sa.Text, nullable=False, default=""))
EXCLUSIONS = sa.Table(
    "dosewell_exclusions", _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("job", sa.String(32), sa.ForeignKey(JOBS.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("at", sa.String(32), nullable=False),
    sa.Column("by", sa.String(64), nullable=False),
    sa.Column("plate", sa.String(255), nullable=False),
    sa.Column("well", sa.String(8), nullable=False),
    sa.Column("excluded", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False))
FORMS = sa.Table("dosewell_forms", _METADATA, sa.Column("form", sa.Integer, primary_key=True))     # that the tables were brought to

# what jobs are asked by: the latest of all, of an owner, of a state, the queue of an owner; so that no question reads the whole table
sa.Index("ix_dosewell_jobs_latest", JOBS.c.created_at, JOBS.c.id)
sa.Index("ix_dosewell_jobs_latest_of_owner", JOBS.c.owner, JOBS.c.created_at, JOBS.c.id)
sa.Index("ix_dosewell_jobs_latest_in_state", JOBS.c.state, JOBS.c.created_at, JOBS.c.id)
sa.Index("ix_dosewell_jobs_queue_of_owner", JOBS.c.state, JOBS.c.owner, JOBS.c.created_at, JOBS.c.id)


def make_tables(engine: sa.Engine) -> None:
    """Make the tables, columns and indexes that the database lacks: also those that a later release added to tables of an earlier one.
    Raises JobStoreError, and changes nothing, where a later release than this one did so.
    """
    with engine.begin() as connection:
        _require_known_form(connection)
        for table in _METADATA.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
        _bring_up_to_date(connection)
        for table in _METADATA.sorted_tables:
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
        if (connection.scalar(sa.select(sa.func.max(FORMS.c.form))) or 0) < FORM:
            connection.execute(sa.insert(FORMS).values(form=FORM))


def _require_known_form(connection: sa.Connection) -> None:
    """A release that was stepped back would misread the rows of the later one, or write some that this one cannot use."""
    form = connection.scalar(sa.select(sa.func.max(FORMS.c.form))) if sa.inspect(connection).has_table(FORMS.name) else None
    if form is not None and form > FORM:
        raise JobStoreError(f"the database of jobs at {spoken(connection.engine.url)} has form {form}, of a later release; this release "
                            f"knows forms up to {FORM}, and left it as it was. Start the later release again, or restore the back-up "
                            "that was made before it")


def _bring_up_to_date(connection: sa.Connection) -> None:
    """Jobs that did not end well once had all of it in the column `error`, {status, error, findings}, and one state. What was cut off in
    the middle of this goes on at the next start.
    """
    if "findings" not in {column["name"] for column in sa.inspect(connection).get_columns(JOBS.name)}:
        connection.execute(sa.text(f"ALTER TABLE {JOBS.name} ADD COLUMN findings TEXT NOT NULL DEFAULT ''"))
    for job, text in connection.execute(sa.select(JOBS.c.id, JOBS.c.error).where(
            JOBS.c.state == "failed", JOBS.c.error.like('{"status": %'))).all():
        record = json.loads(text)
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(
            state="refused" if record["status"] < 500 else "failed", error=record["error"], findings=json.dumps(record["findings"])))


class JobDatabase:
    """The database at a URL, safe from any thread. Its tables are made when it is first asked: it may be away when the service starts."""

    def __init__(self, url: str) -> None:
        address = database_address(url)
        self.where = spoken(address)
        self.engine = open_database(address)
        self._made = False

    def close(self) -> None:
        """Close the connections that are kept open; the next question opens others."""
        self.engine.dispose()

    def _make_tables(self) -> None:
        if self._made:
            return
        try:
            make_tables(self.engine)
        except SQLAlchemyError:     # PostgreSQL, when another process made them at this very moment
            make_tables(self.engine)
        self._made = True

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """What is done in it is kept as a whole, or not at all. Raises JobStoreError, IntegrityError."""
        try:
            self._make_tables()
            with self.engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise JobStoreError(f"the database of jobs at {self.where} cannot be used now ({reason}); "
                                "what was accepted is safe, try again in a while") from error
