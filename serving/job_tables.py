"""The tables of jobs, their indexes, and how a database gets them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

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
    sa.Column("error", sa.Text, nullable=False, default=""))
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

# what jobs are asked by: the latest of all, of an owner, of a state; so that no question reads the whole table
sa.Index("ix_dosewell_jobs_latest", JOBS.c.created_at, JOBS.c.id)
sa.Index("ix_dosewell_jobs_latest_of_owner", JOBS.c.owner, JOBS.c.created_at, JOBS.c.id)
sa.Index("ix_dosewell_jobs_latest_in_state", JOBS.c.state, JOBS.c.created_at, JOBS.c.id)


def make_tables(engine: sa.Engine) -> None:
    """Make the tables and indexes that the database lacks: also indexes that a later release added to tables of an earlier one."""
    with engine.begin() as connection:
        for table in _METADATA.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
