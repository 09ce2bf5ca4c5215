"""Starts the processes that do jobs, and starts them again when they die. Of several service processes, one does it."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving import metrics
from serving.job_files import JobFiles
from serving.job_records import JobStoreError
from serving.jobs import JobStore
from serving.locks import ProcessLock

logger = logging.getLogger("dosewell.jobs")

LOOK_SECONDS = 1.0
TIDY_SECONDS = 3600.0   # between two looks for files that belong to no job
LONGEST_PAUSE = 30.0    # between two starts of a worker that dies again and again
STOP_SECONDS = 10.0     # for a worker to put its job back


@dataclass
class _Seat:
    """A place for one worker. pause: seconds before the next start; at: when the last one was (monotonic)."""

    process: subprocess.Popen[bytes] | None = None
    at: float = 0.0
    pause: float = 0.0


class JobWorkers:
    """Keeps `count` workers alive until `stop`, and tells the metrics how long the queue is. environment: for the workers.

    Of all service processes of this machine over the same state folder, the one that holds `lock` does so; when it ends, another one.
    """

    def __init__(self, count: int, *, store: JobStore, files: JobFiles, environment: Mapping[str, str]) -> None:
        self.store, self.files = store, files
        self.lock = ProcessLock(files.root.parent / f"workers-{socket.gethostname()}.lock")
        self._environment = {**os.environ, **environment, "DOSEWELL_WORKER_OF": str(os.getpid())}
        self._seats = [_Seat() for _ in range(count)]
        self._tidied = -TIDY_SECONDS
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread."""
        def watch() -> None:
            while not self._stop.is_set() and not self._is_first():
                self._stop.wait(LOOK_SECONDS)
            while not self._stop.is_set():
                try:
                    self._look()
                except Exception:   # without this thread no job would be done any more, and nobody would say so
                    logger.exception("the workers could not be looked after; it is tried again")
                self._stop.wait(LOOK_SECONDS)
        self._thread = threading.Thread(target=watch, name="job workers", daemon=True)
        self._thread.start()

    def _is_first(self) -> bool:
        try:
            return self.lock.held()
        except OSError as error:
            logger.error("no worker starts, for %s cannot be made: %s", self.lock.path, error)
            return False

    def _look(self) -> None:
        for seat in self._seats:
            self._fill(seat)
        if time.monotonic() - self._tidied >= TIDY_SECONDS:
            self._tidy()
        metrics.forget_dead_processes()
        metrics.note_disk(self.files.root.parent)
        try:
            metrics.note_queue(self.store.counts(), oldest_seconds=self.store.oldest_queued_seconds())
        except JobStoreError:       # who asks for jobs, or does them, is told why
            metrics.note_database(reachable=False)
        else:
            metrics.note_database(reachable=True)

    def drain(self) -> None:
        """Start no worker any more: the service was told to end, and ends after the requests in hand."""
        self._stop.set()

    def stop(self) -> None:
        """End the workers; the jobs in hand go back into the queue."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=LOOK_SECONDS + 5)
        running = [seat.process for seat in self._seats if seat.process is not None]
        for process in running:
            process.terminate()
        end = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(timeout=max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.lock.release()

    def _tidy(self) -> None:
        self._tidied = time.monotonic()
        try:
            if gone := self.files.sweep(self.store.known()):
                logger.info("the files of %d upload(s) that became no job were cleared away", len(gone))
        except Exception as error:  # the workers must be looked after all the same
            logger.warning("uploads that became no job could not be cleared away: %s", error)

    def _fill(self, seat: _Seat) -> None:
        if seat.process is not None and seat.process.poll() is None:
            return
        if seat.process is not None:
            lived = time.monotonic() - seat.at
            seat.pause = 0.0 if lived > LONGEST_PAUSE else min(LONGEST_PAUSE, 2 * seat.pause + 0.5)
            logger.error("a worker ended with status %d after %.0f s; another one starts in %.1f s",
                         seat.process.returncode, lived, seat.pause)
            seat.process, seat.at = None, time.monotonic()
        if time.monotonic() - seat.at >= seat.pause:
            root = Path(__file__).resolve().parent.parent
            seat.process = subprocess.Popen([sys.executable, "-m", "serving.worker"], cwd=root, env=self._environment,
                                            stdin=subprocess.DEVNULL)
            seat.at = time.monotonic()
