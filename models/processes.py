"""Which process of this machine is meant, for notes and rows that outlive it: numbers are used again."""

from __future__ import annotations

import psutil


def started_at(process: psutil.Process) -> float:
    """Seconds after the machine itself: they stay the same when its clock is put right, as the time of day of a start does not."""
    return round(process.create_time() - psutil.boot_time(), 2)
