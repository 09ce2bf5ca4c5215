"""The challenger scores what the champion scored, after the answer, in silence: nobody waits for it and nobody gets its numbers.

`Shadow` is the service's: a thread of low priority with room for few uploads, which pauses while requests are in hand. Uploads that find
no room are not compared, and counted. The jobs' workers call `compare` themselves, when no other job waits.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from models.networks.predict import Predictor
from models.registered import RegisteredVersion
from models.registry import CHALLENGER
from models.scoring import score_images
from serving import metrics
from serving.agreement import AgreementLog, Comparison, compare_scores
from serving.promotion import Promoter
from serving.promotion_log import now
from serving.scored import Answered

logger = logging.getLogger("dosewell.shadow")

ROOM = 2                # uploads that wait; their images stay in memory meanwhile
PAUSE_SECONDS = 0.05
LONGEST_PAUSE = 10.0    # between two passes of images: a service that is never idle is compared all the same, slowly
NICE = 10


def compare(answered: Answered, challenger: RegisteredVersion, predictor: Predictor, *,
            on_images: Callable[[int], object] = lambda count: None) -> Comparison | None:
    """Score with the challenger and compare; None where it reads other images than the champion, which are not at hand any more."""
    if predictor.card.recipe.input != answered.card.recipe.input:
        logger.info("%s reads other images than the champion: they are not compared", challenger)
        return None
    upload, ours = answered.upload, answered.scored.tables
    theirs = score_images(answered.images, upload.layout.layout, screen=upload.screen, predictor=predictor, model=challenger.name,
                          version=str(challenger.version), options=replace(upload.options, force=True), on_images=on_images)
    return compare_scores((answered.version.version, ours.wells, ours.curves), (challenger.version, theirs.wells, theirs.curves),
                          model=challenger.name, at=now())


class Shadow:
    """Compares in a thread of its own. busy: whether a request is in hand now."""

    def __init__(self, promoter: Promoter, log: AgreementLog, *, busy: Callable[[], bool]) -> None:
        self.promoter, self.log, self._busy = promoter, log, busy
        self._waiting: queue.Queue[Answered] = queue.Queue(ROOM)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin to compare what is offered."""
        self._thread.start()

    def stop(self) -> None:
        """End after the images in hand."""
        self._stop.set()

    def offer(self, answered: Answered) -> None:
        """Take an answered upload, if its model has another version as challenger and there is room. Returns at once."""
        name = answered.version.name
        if self._challenger(answered) in (None, answered.version.version):
            return
        try:
            self._waiting.put_nowait(answered)
        except queue.Full:
            metrics.note_shadow(name, "no_room")

    def _challenger(self, answered: Answered) -> int | None:
        return self.promoter.snapshot.aliases.get(answered.version.name, {}).get(CHALLENGER)

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)    # on Linux, of this thread
        while not self._stop.is_set():
            try:
                answered = self._waiting.get(timeout=1)
            except queue.Empty:
                continue
            self._compare(answered)

    def _compare(self, answered: Answered) -> None:
        name, outcome = answered.version.name, "not_comparable"
        try:
            self._wait()
            challenger = self.promoter.pick(f"{name}@{CHALLENGER}")
            found = compare(answered, challenger.version, challenger.predictor, on_images=lambda count: self._wait())
            if found is not None:
                self.log.append(found)
                outcome = "compared"
        except Exception as error:  # a challenger that cannot score must not end the thread, nor anything else
            outcome = "failed"
            logger.warning("%s: the challenger could not be compared (%s: %s)", name, type(error).__name__, error)
        metrics.note_shadow(name, outcome)

    def _wait(self) -> None:
        """Until no request is in hand, for a while at most."""
        end = time.monotonic() + LONGEST_PAUSE
        while self._busy() and time.monotonic() < end and not self._stop.is_set():
            time.sleep(PAUSE_SECONDS)
