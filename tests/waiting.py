"""Waiting for what happens elsewhere: on conditions, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(true: Callable[[], bool], *, seconds: float = 10) -> float:
    """Wait; returns the seconds that it took."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, "it did not happen"
        time.sleep(0.05)
    return time.monotonic() - started
