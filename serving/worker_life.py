"""Whether the worker that has a job lives: the name under which it takes jobs, and the clock by which its signs of life are judged."""

from __future__ import annotations

import os
import socket
import time

import psutil
import sqlalchemy as sa

from models.processes import started_at

SILENT_SECONDS = 60.0   # without a sign of life a worker elsewhere is taken for dead
GRACE_SECONDS = 3.0     # the same for a worker of this machine whose process is gone


def worker_name() -> str:
    """host:process:when it started, so that a process number that is used again is not taken for a living worker."""
    return f"{socket.gethostname()}:{os.getpid()}:{started_at(psutil.Process())}"


def clock(connection: sa.Connection) -> float:
    """Seconds since 1970 by the database, for all machines that share it: one whose own clock is ahead would take every job from its living
    worker. SQLite is on this machine.
    """
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))).scalar_one())


def is_gone(worker: str, *, silent: float) -> bool:
    """Whether a worker is dead, or silent for so many seconds that it is taken for dead."""
    host, pid, started = [*worker.rsplit(":", 2), "", ""][:3]
    if host != socket.gethostname():
        return silent > SILENT_SECONDS
    if abs(silent) < GRACE_SECONDS:     # below zero, the clock was put back
        return False
    try:
        process = psutil.Process(int(pid))
        return str(started_at(process)) != started or process.status() == psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return True
