"""The append-only log of every change of a champion that the service saw."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from serving.locks import ProcessLock

logger = logging.getLogger("dosewell.promotion")

Event = Literal["serving", "refused", "withdrawn"]


def now() -> str:
    """The time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of the promotion log. version_from, version_to: numbers, None for none."""

    at: str
    model: str
    event: Event
    version_from: int | None
    version_to: int | None
    reason: str = ""
    bundle_sha256: str = ""


class PromotionLog:
    """An append-only file of JSON lines, one per change seen. Of several processes that see the same changes, one writes. What a full disk
    does not take waits in memory until it does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[Change] = []
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = ProcessLock(path.with_suffix(".lock"))

    def take_over(self, noted: Mapping[str, Change]) -> bool:
        """Whether this process writes the log. Only one of all processes does; when it has ended, the next that calls this takes its place.

        noted: the last change of each model that this process saw; those that the earlier writer did not write are written now.
        """
        try:
            if not self._writer.held():
                return False
        except OSError:     # as on a full disk: rather two lines than none
            return True
        written = self.last()
        for mine in noted.values():
            last = written.get(mine.model)
            if last is None or (last.event, last.version_to, last.reason) != (mine.event, mine.version_to, mine.reason):
                self.append(mine)
        return True

    def close(self) -> None:
        """Leave the log to another process."""
        self._writer.release()

    def read(self, *, limit: int = 1000) -> list[Change]:
        """The latest changes, oldest first; a line cut short by a crash is left out."""
        return list(self._changes(limit))[-limit:]

    def last(self) -> dict[str, Change]:
        """The last change of every model, however long ago."""
        return {change.model: change for change in self._changes(None)}

    def _changes(self, limit: int | None) -> Iterator[Change]:
        """Those of the last `limit` lines, and what waits to be written."""
        with self._lock:
            lines: Sequence[str] = ()
            if self.path.is_file():
                with self.path.open(encoding="utf-8", errors="replace") as file:
                    lines = deque(file, limit)
            waiting = list(self._waiting)
        for line in filter(str.strip, lines):
            try:
                yield Change(**json.loads(line))
            except (ValueError, TypeError):
                logger.warning("promotion log %s: a line cannot be read and is left out: %.80r", self.path, line)
        yield from waiting

    def append(self, change: Change) -> None:
        """Write and flush to disk; a change that cannot be written now is written by a later `append` or `write_waiting`."""
        with self._lock:
            self._waiting.append(change)
        self.write_waiting()

    def write_waiting(self) -> None:
        """Try again what could not be written. A full disk must not stop the service: it is logged."""
        with self._lock:
            while self._waiting:
                try:
                    _append_line(self.path, json.dumps(asdict(self._waiting[0])))
                except OSError as error:
                    logger.error("promotion log %s cannot be written (%s); it is tried again: %s", self.path, error, self._waiting[0])
                    return
                del self._waiting[0]


def _append_line(path: Path, line: str) -> None:
    """One line, on the disk when this returns; it begins anew where a crash or a full disk left half a line."""
    with path.open("a+b") as file:
        file.seek(0, os.SEEK_END)
        whole = file.tell() == 0
        if not whole:
            file.seek(-1, os.SEEK_END)
            whole = file.read(1) == b"\n"
        file.write(b"" if whole else b"\n")
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
