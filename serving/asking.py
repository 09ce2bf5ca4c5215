"""How the promotion thread asks the registry: how often, and how long it waits until it says that the registry is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from models.errors import RegistryError
from models.registered import RegisteredVersion
from models.registry import Registry
from serving.promotion_log import now

A = TypeVar("A")
LOOKING = 0.05          # of the time may go into asking the registry, which takes a millisecond of its processor and ours for each model
LONGEST_PAUSE = 3.0     # seconds that this makes of the pause at most: who moves an alias sees it served within five
SILENT = 5.0            # seconds of waiting for an answer, after which the registry counts as away: MLflow itself waits a minute
SLOWER = 2.0            # times what it took for its aliases last, that is waited at least: one that is always slow is not away


class AskedRegistry:
    """A registry that may be away, or take a question and not answer: on_silent is told so, and since when, while the question waits.

    open_registry: called until it succeeds, because the registry may be away when the service starts.
    """

    def __init__(self, open_registry: Callable[[], Registry], on_silent: Callable[[RegistryError, str], object]) -> None:
        self.opened: Registry | None = None
        self._open, self._on_silent = open_registry, on_silent
        self._seconds = 0.0     # that the registry took when it was last asked for its aliases

    def aliases(self) -> dict[str, dict[str, int]]:
        """model -> {alias: version} of all models. Raises whatever MLflow or its database raise."""
        return self._told(self._aliases)

    def version(self, name: str, number: int) -> RegisteredVersion:
        """One version. Raises UnknownModelError, RegistryError."""
        assert self.opened is not None      # its alias was read there
        return self._told(partial(self.opened.version, name, number))

    def pause(self, poll_seconds: float) -> float:
        """Seconds until it is to be asked for its aliases again: poll_seconds or more."""
        return max(poll_seconds, min(self._seconds / LOOKING, LONGEST_PAUSE))

    def _aliases(self) -> dict[str, dict[str, int]]:
        if self.opened is None:
            self.opened = self._open()
        asked = time.monotonic()
        aliases = self.opened.aliases()
        self._seconds = time.monotonic() - asked
        return aliases

    def _told(self, question: Callable[[], A]) -> A:
        """The answer; on_silent is called in the meantime where that is long."""
        patience = max(SILENT, SLOWER * self._seconds)
        silence = RegistryError(f"the registry has not answered for {patience:.3g} seconds")
        waiting = threading.Timer(patience, self._on_silent, (silence, now()))
        waiting.daemon = True
        waiting.start()
        try:
            return question()
        finally:
            waiting.cancel()
            waiting.join()      # one thread at a time changes the snapshot
