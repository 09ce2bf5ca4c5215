"""What one process saw of the changes of champions: told in the service's log by each, counted and written by one of all."""

from __future__ import annotations

import logging

from serving import metrics
from serving.promotion_log import Change, Event, PromotionLog, now

logger = logging.getLogger("dosewell.promotion")


class PromotionNotes:
    """Notes changes as they are seen. `last`: the last change of each model, perhaps of before this process began."""

    def __init__(self, log: PromotionLog) -> None:
        self.log, self.last = log, log.last()
        self._writes = False

    def take_over(self) -> None:
        """Write from now on, if no other process does."""
        self._writes = self._writes or self.log.take_over(self.last)

    def served(self) -> set[str]:
        """Models that a version was last noted to serve for."""
        return {name for name, change in self.last.items() if change.event == "serving"}

    def note(self, name: str, event: Event, *, old: int | None, new: int | None, reason: str = "", sha256: str = "") -> None:
        """A change from version `old`, None where none served, to `new`. What a restart only sees again is not written again."""
        last = self.last.get(name)
        before = last.version_to if old is None and event == "withdrawn" and last else old
        change = Change(at=now(), model=name, event=event, version_from=before, version_to=new, reason=reason, bundle_sha256=sha256)
        logger.log(logging.INFO if event == "serving" else logging.WARNING, "%s: %s version %s (before: %s) %s", name, event, new, before,
                   reason)
        restart = (old is None and last is not None and (last.event, last.version_to) == (event, new)
                   and (event == "serving" or last.reason == reason))   # it serves again what it did, whatever had made it serve that
        if self._writes:
            metrics.note_change(name, event)
            if not restart:
                self.log.append(change)
        self.last[name] = change
