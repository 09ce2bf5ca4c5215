"""The append-only log of every change of a champion that the service saw."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

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
    """An append-only file of JSON lines, one per change seen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self, *, limit: int = 1000) -> list[Change]:
        """The latest changes, oldest first; a line cut short by a crash is left out."""
        lines = self.path.read_text(encoding="utf-8").splitlines()[-limit:] if self.path.is_file() else []
        changes = []
        for line in lines:
            try:
                changes.append(Change(**json.loads(line)))
            except (ValueError, TypeError):
                logger.warning("promotion log %s: a line cannot be read and is left out: %.80r", self.path, line)
        return changes

    def append(self, change: Change) -> None:
        """Write and flush to disk. A full disk must not stop the service: it is logged."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(change)) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            logger.error("promotion log %s cannot be written (%s): %s", self.path, error, change)
