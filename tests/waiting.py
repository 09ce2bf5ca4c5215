"""Waiting for what happens elsewhere: on conditions, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 180.0    # seconds: a busy machine is no failure


def until(true: Callable[[], bool]) -> None:
    """Wait."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < PATIENCE, "it did not happen"
        time.sleep(0.05)
