"""Prometheus metrics of the service, over all its processes.

BentoML tells prometheus_client by an environment variable to share metrics between processes, before this module is
imported: so it must be imported late (by the worker, not by the command line). BentoML's own metrics are switched off: they have a label
for each address that was ever asked, with the id of every job and whatever a stranger makes up.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path

import psutil
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_CHAMPION = Gauge("dosewell_champion_version", "Version that serves; 0 = none", ["model"], multiprocess_mode="mostrecent")
_REFUSED = Gauge("dosewell_champion_refused", "1 while the champion in the registry is refused", ["model"], multiprocess_mode="mostrecent")
_REACHABLE = Gauge("dosewell_registry_reachable", "1 while the registry answers", multiprocess_mode="mostrecent")
_CHANGES = Counter("dosewell_promotion_changes", "Alias changes seen", ["model", "event"])
_REQUESTS = Counter("dosewell_requests", "Answers by the route that was asked, as in the OpenAPI document", ["method", "route", "status"])
_REQUEST_SECONDS = Histogram("dosewell_request_seconds", "Seconds from the first byte of a request to the last of its answer", ["route"],
                             buckets=(0.01, 0.1, 1, 3, 10, 30, 100, 300, 1000))
_WELLS = Counter("dosewell_scored_wells", "Wells scored", ["model"])
_SECONDS = Histogram("dosewell_score_seconds", "Seconds from a complete upload to the answer", ["model"],
                     buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000))
_JOBS = Counter("dosewell_jobs", "Jobs that ended: done, refused (the upload's fault) or failed (the service's)", ["kind", "state"])
_JOB_SECONDS = Histogram("dosewell_job_seconds", "Seconds that a job took once it was begun", ["kind"],
                         buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10000))
_QUEUE = Gauge("dosewell_jobs_in_state", "Jobs by state: queued, running, done, refused, failed", ["state"],
               multiprocess_mode="mostrecent")
_OLDEST = Gauge("dosewell_oldest_queued_job_seconds", "How long the oldest job has waited; 0 = none waits", multiprocess_mode="mostrecent")
_DATABASE = Gauge("dosewell_job_database_reachable", "1 while the table of jobs answers", multiprocess_mode="mostrecent")
_FREE = Gauge("dosewell_state_free_bytes", "Bytes that the disk of the state folder still takes", multiprocess_mode="mostrecent")

_SHADOW = Counter("dosewell_shadow_uploads", "Uploads that a challenger scored too (compared), or why it did not", ["model", "outcome"])
_LOADED = Gauge("dosewell_models_loaded", "Models in memory", multiprocess_mode="livesum")
_MEMORY = Gauge("dosewell_model_bytes", "Bytes of the weights in memory, a shared trunk counted once", multiprocess_mode="livesum")
_EVICTED = Counter("dosewell_models_evicted", "Models let go to stay within the memory budget")

_DISTANCE = Gauge("dosewell_drift_feature_distance", "Distance of the last plate's negative controls from the training's; 1 = like those",
                  ["model"], multiprocess_mode="mostrecent")
_SHIFT = Gauge("dosewell_drift_control_shift", "Shift of the last plate's controls against the training's, in control windows",
               ["model", "control"], multiprocess_mode="mostrecent")
_DRIFTED = Counter("dosewell_drifted_plates", "Plates that a person was warned are not like what the model learned from, and by which rule",
                   ["model", "rule"])
UNLIKE = ("drift", "structure_size", "inverted", "acquisition_mismatch")    # rules of models/scoring.py that say so

_METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")
_seen: set[str] = set()


def exposition() -> tuple[bytes, str]:
    """All metrics as Prometheus reads them, and their media type."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # has no annotations
    return generate_latest(registry), CONTENT_TYPE_LATEST


def keep_room() -> None:
    """Give this process's metrics files the disk that they claim.

    prometheus_client maps sparse files into memory; writing to a part of one for which a full disk has no room would end the process
    (SIGBUS). Without room now, it is tried again at the next look.
    """
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    for path in Path(folder).glob(f"*_{os.getpid()}.db") if folder and hasattr(os, "posix_fallocate") else ():
        with contextlib.suppress(OSError), path.open("r+b") as file:
            found = os.fstat(file.fileno())
            if found.st_blocks * 512 < found.st_size:
                os.posix_fallocate(file.fileno(), 0, found.st_size)


def forget_dead_processes() -> None:
    """Take what a process that was killed had in memory out of the sums: prometheus_client forgets only one that ends in order."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    for path in Path(folder).glob("gauge_live*_*.db") if folder else ():
        if not psutil.pid_exists(int(path.stem.rpartition("_")[2])):
            path.unlink(missing_ok=True)


def note_snapshot(versions: Mapping[str, int], refused: Iterable[str], *, reachable: bool) -> None:
    """What serves, what is refused, and whether the registry answers."""
    keep_room()
    refused = set(refused)
    _seen.update(versions, refused)
    for name in _seen:
        _CHAMPION.labels(name).set(versions.get(name, 0))
        _REFUSED.labels(name).set(name in refused)
    _REACHABLE.set(reachable)


def note_memory(*, models: int, size: int, evicted: int) -> None:
    """What is loaded now, and how many models had to go for it."""
    _LOADED.set(models)
    _MEMORY.set(size)
    _EVICTED.inc(evicted)


def note_change(model: str, event: str) -> None:
    """A promotion, refusal or withdrawal."""
    _CHANGES.labels(model, event).inc()


def note_request(method: str, route: str, status: int, seconds: float) -> None:
    """An answer. route: a template such as /jobs/{job}, never the address itself: labels stay few whatever is asked."""
    _REQUESTS.labels(method if method in _METHODS else "other", route, str(status)).inc()
    _REQUEST_SECONDS.labels(route).observe(seconds)


def note_score(model: str, *, wells: int, seconds: float) -> None:
    """A scored upload."""
    _WELLS.labels(model).inc(wells)
    _SECONDS.labels(model).observe(seconds)


def note_shadow(model: str, outcome: str) -> None:
    """An upload for the challenger: compared, no_room, not_comparable, failed, given_up."""
    _SHADOW.labels(model, outcome).inc()


def note_drift(model: str, plates: Iterable[Mapping[Hashable, float]], *, unlike: Mapping[str, int]) -> None:
    """How scored plates lie against the training's. plates: feature_distance, negative_shift, positive_shift; unlike: of how many a person
    was warned, by rule.
    """
    for plate in plates:
        _DISTANCE.labels(model).set(plate["feature_distance"])
        for control in ("negative", "positive"):
            _SHIFT.labels(model, control).set(plate[f"{control}_shift"])
    for rule, count in unlike.items():
        _DRIFTED.labels(model, rule).inc(count)


def note_job(model: str, *, adapt: bool, state: str, wells: int, seconds: float) -> None:
    """A job that ended."""
    keep_room()
    _JOBS.labels("adapt" if adapt else "score", state).inc()
    _JOB_SECONDS.labels("adapt" if adapt else "score").observe(seconds)
    if state == "done":
        _WELLS.labels(model).inc(wells)


def note_queue(counts: Mapping[str, int], *, oldest_seconds: float) -> None:
    """How many jobs are in each state, and how long the oldest of the queue has waited."""
    for state, count in counts.items():
        _QUEUE.labels(state).set(count)
    _OLDEST.set(oldest_seconds)


def note_database(*, reachable: bool) -> None:
    """Whether the table of jobs answers."""
    _DATABASE.set(reachable)


def note_disk(folder: Path) -> None:
    """What the disk of this folder still takes."""
    with contextlib.suppress(OSError):
        _FREE.set(shutil.disk_usage(folder).free)
