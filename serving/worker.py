"""A process that does jobs, one after the other: `python -m serving.worker`, started and watched by the service.

It imports torch with its first job. SIGTERM puts the job in hand back into the queue; a kill leaves it to the next worker, which
goes on from the training's checkpoint or scores again.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.errors import DosewellError, RefusedError, RegistryError
from models.registered import RegisteredVersion, UnknownModelError
from models.tracking import default_tracking_uri
from serving.faults import error_record, status_of
from serving.job_files import JobFiles, read_sent
from serving.job_records import Job, JobStoreError
from serving.jobs import JobStore
from serving.observe import job_id, set_up_logging
from serving.settings import Settings
from serving.worker_life import worker_name

if TYPE_CHECKING:
    from models.networks.predict import Predictor
    from models.registry import Registry
    from serving.loaded import LoadedModels
    from serving.scored import Answered

logger = logging.getLogger("dosewell.jobs")

BEAT_SECONDS = 1.0
POLL_SECONDS = 0.5
RETRY_SECONDS = 15.0    # before a job is tried again for which the registry, the disk or the database was not there


class LetGoError(Exception):
    """The job in hand is no longer this worker's, or the worker is to stop."""


class Worker:
    """Claims jobs and does them until `stop`."""

    def __init__(self, store: JobStore, files: JobFiles, settings: Settings, *, service_version: str) -> None:
        self.store, self.files, self.settings, self.service_version = store, files, settings, service_version
        self.name = worker_name()
        self.stopping = threading.Event()
        self._registry: Registry | None = None
        self._models: LoadedModels | None = None

    def run(self) -> None:
        """Until `stop`; a database that is away is waited for."""
        while not self.stopping.is_set():
            try:
                if not self.step():
                    self.stopping.wait(POLL_SECONDS)
            except JobStoreError as error:
                logger.error("no jobs can be claimed: %s", error)
                self.stopping.wait(RETRY_SECONDS)

    def stop(self) -> None:
        """Put the job in hand back and end."""
        self.stopping.set()

    def step(self) -> bool:
        """Do one job, or clear away deleted ones; False when there was nothing to do."""
        for gone in self.store.leftovers():
            self.files.remove(gone)
            self.store.end_delete(gone)
        job = self.store.claim(self.name)
        if job is None:
            return False
        job_id.set(job.id)
        try:
            self._do(job)
        finally:
            job_id.set("")
        return True

    def _do(self, job: Job) -> None:
        from serving import metrics

        started, answered = time.monotonic(), None
        logger.info("job begins", extra={"fields": {"model": job.model, "version": job.version, "wells": job.wells, "attempt": job.attempts,
                                                    "adapt": job.adapt}})
        with self._beating(job) as progress:
            try:
                answered = self._work(job, progress)
                kept, state = self.store.finish(job.id, self.name), "done"
            except LetGoError:
                self._let_go(job)
                return
            except Exception as error:  # whatever goes wrong in a job ends that job, not the worker
                kept, state = self._end_badly(job, error)
        seconds = time.monotonic() - started
        logger.info("job %s", state, extra={"fields": {"state": state, "seconds": round(seconds, 2)}})
        if not kept:
            self._let_go(job)
        elif state != "queued":
            metrics.note_job(job.model, adapt=job.adapt, state=state, wells=job.wells, seconds=seconds)
        if answered is not None and self.settings.shadow:
            self._compare(answered)

    def _work(self, job: Job, progress: Callable[[str, int, int], None]) -> Answered | None:
        from serving.engine import do_job

        folder = self.files.folder(job.id)
        if (folder / "result").is_dir():    # a worker may have been killed after it had written the result
            return None
        for half_written in folder.glob(".result.*"):
            shutil.rmtree(half_written, ignore_errors=True)
        return do_job(job, read_sent(folder), folder, load=self._load, registry=self._open_registry, progress=progress,
                      device=self.settings.device, service_version=self.service_version)

    def _compare(self, answered: Answered) -> None:
        """Let the challenger score what the job scored, unless another job waits or comes."""
        from models.registry import CHALLENGER
        from serving import metrics
        from serving.agreement import AgreementLog
        from serving.shadow import compare

        name, outcome = answered.version.name, "not_comparable"

        def on_images(_count: int) -> None:
            if self.stopping.is_set() or self.store.is_anything_queued():
                raise LetGoError
        try:
            on_images(0)
            known = self._open_registry().aliases_of(name).get(CHALLENGER)
            if known in (None, answered.version.version):
                return
            challenger, predictor = self._load(name, int(known))
            found = compare(answered, challenger, predictor, on_images=on_images)
            if found is not None:
                AgreementLog(self.settings.state / "agreement.jsonl").append(found)
                outcome = "compared"
        except LetGoError:
            outcome = "given_up"
        except Exception as error:  # the job is done; what goes wrong here concerns nobody who waits
            outcome = "failed"
            logger.warning("%s: the challenger could not be compared (%s: %s)", name, type(error).__name__, error)
        metrics.note_shadow(name, outcome)

    def _end_badly(self, job: Job, error: Exception) -> tuple[bool, str]:
        """(whether the job was still this worker's, its state)."""
        if _is_passing(error):
            logger.warning("job waits: %s", error)
            self.store.release(job.id, self.name, note=str(error)[:1000], after=RETRY_SECONDS)
            return True, "queued"
        status = status_of(error)
        if status == 500:
            logger.exception("job fails")
        state: Literal["refused", "failed"] = "refused" if status < 500 else "failed"   # nobody need get up at night for a plate of no use
        return self.store.fail(job.id, self.name, error_record(error), state=state), state

    def _let_go(self, job: Job) -> None:
        """The worker stops (the job goes back), or the job was deleted (its files go) or taken over (it is left alone)."""
        self.store.release(job.id, self.name)
        if self.store.is_deleting(job.id, self.name):
            self.files.remove(job.id)
            self.store.end_delete(job.id)
        logger.info("job let go")

    @contextmanager
    def _beating(self, job: Job) -> Iterator[Callable[[str, int, int], None]]:
        """Say every second that the worker lives, whatever it is busy with; gives the function that is told of progress."""
        at: list[Any] = ["starting", 0, 0]
        lost, over = threading.Event(), threading.Event()

        def beat() -> None:
            while not over.wait(BEAT_SECONDS):
                try:
                    if self.stopping.is_set():      # what it is busy with may take longer to end than it is waited for
                        self.store.release(job.id, self.name)
                    if not self.store.beat(job.id, self.name, stage=at[0], done=at[1], total=at[2]):
                        lost.set()
                except JobStoreError as error:
                    logger.warning("no sign of life could be given: %s", error)

        def progress(stage: str, done: int, total: int) -> None:
            at[:] = stage, done, total
            if lost.is_set() or self.stopping.is_set():
                raise LetGoError

        thread = threading.Thread(target=beat, name="beat", daemon=True)
        thread.start()
        try:
            yield progress
        finally:
            over.set()
            thread.join()

    def _open_registry(self) -> Registry:
        from models.registry import Registry

        if self._registry is None:
            self._registry = Registry(self.settings.tracking_uri or default_tracking_uri(), self.settings.state / "cache")
        return self._registry

    def _load(self, name: str, number: int) -> tuple[RegisteredVersion, Predictor]:
        """A version and its loaded model. Raises RefusedError, RegistryError."""
        from serving.loaded import LoadedModels

        registry = self._open_registry()
        if self._models is None:
            self._models = LoadedModels(lambda version: registry.load(version, device=self.settings.device),
                                        budget_bytes=self.settings.model_memory_bytes)
        version = registry.resolve(f"{name}/{number}")
        return version, self._models.get(version)


def _is_passing(error: Exception) -> bool:
    """Whether the same job may go well later without anybody sending it again. Where its files are gone, only that helps."""
    if isinstance(error, RefusedError | UnknownModelError | FileNotFoundError):
        return False
    return isinstance(error, RegistryError | JobStoreError) or (isinstance(error, OSError) and not isinstance(error, DosewellError))


def end_with(parent: int, *, stop: Callable[[], None]) -> None:
    """Call `stop` when the process that started this one is gone, so that no orphan goes on; firmly, if it does not end by itself."""
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        logger.error("the process that started this one is gone; it ends")
        stop()
        time.sleep(20)
        os._exit(1)     # the job is claimed again by the next worker
    threading.Thread(target=watch, name="parent", daemon=True).start()


def main() -> None:
    """One worker over the settings of the environment."""
    from serving.app import SERVICE_VERSION

    settings = Settings.from_environment()
    set_up_logging(settings.log)
    os.nice(5)  # people who wait for an answer come first
    worker = Worker(JobStore(settings.database), JobFiles(settings.jobs), settings, service_version=SERVICE_VERSION)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    if os.environ.get("DOSEWELL_WORKER_OF"):
        end_with(int(os.environ["DOSEWELL_WORKER_OF"]), stop=worker.stop)
    logger.info("worker starts", extra={"fields": {"worker": worker.name, "state": str(Path(settings.state))}})
    worker.run()


if __name__ == "__main__":
    main()
