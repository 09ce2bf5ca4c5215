"""Where many tasks run: in this process, in several processes of this machine, or on a Ray cluster. All are executors of the standard
library, so that whoever hands out tasks need not know which.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from models.errors import DosewellError

P = ParamSpec("P")
T = TypeVar("T")
_RETRIES = 3    # of a task whose node died
_PATIENCE = 10  # seconds, with a cluster that does not answer


@dataclass(frozen=True)
class Pool:
    """executor: runs the tasks; capacity: how many run at a time at the moment."""

    executor: Executor
    capacity: Callable[[], int]


class InlineExecutor(Executor):
    """Runs each task at once, in this process."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The future of a task that is over."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class RayExecutor(Executor):
    """Runs each task on a node of a Ray cluster that has `threads` processors free; again elsewhere when its node dies.

    Functions and their arguments reach the nodes by Ray's own means; the project, its data and the results must lie on storage that all
    nodes see at the same path.
    """

    def __init__(self, address: str, *, threads: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")     # else `uv run` has the project copied to nodes and installed anew
        try:
            import ray
        except ImportError:
            raise DosewellError("scoring on a Ray cluster needs the package ray: `uv sync --extra ray`, on every node") from None
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING,
                     runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}})
        except (OSError, ValueError, RuntimeError) as error:    # a refused connection is an OSError
            raise DosewellError(f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]}); start one with `ray start --head` "
                                "and name its address, or leave --ray out and use --workers") from None
        self._ray, self._threads = ray, threads
        self._call = ray.remote(num_cpus=threads, max_retries=_RETRIES)(_call)

    def capacity(self) -> int:
        """Tasks that the cluster as it is now runs at a time."""
        resources: dict[str, float] = self._ray.cluster_resources()     # type: ignore[no-untyped-call]  # Ray has no annotation there
        return max(1, int(resources.get("CPU", 0) // self._threads))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The future of a task of the cluster."""
        return self._call.remote(fn, *args, **kwargs).future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # as the standard library has it
        """Leave the cluster; what runs there for us is ended."""
        self._ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at "host:port": Ray itself would go on trying for many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return fn(*args, **kwargs)


@contextmanager
def open_pool(*, workers: int, ray: str, threads: int) -> Iterator[Pool]:
    """A pool that ends with the block, whatever ends it; tasks that were not begun are forgotten then.

    workers: processes of this machine; 1 is this process. ray: address of a cluster ("auto": this machine's), in the place of
    processes; "" for none. threads: of each task; 0 shares this machine's processors out among the workers, and takes 2 on a cluster.
    """
    if workers < 1 or threads < 0:
        raise DosewellError(f"--workers must be 1 or more and --threads 0 or more, got {workers} and {threads}")
    pool = _ray_pool(ray, threads or 2) if ray else _own_pool(workers, threads or max(1, (os.cpu_count() or 1) // workers))
    try:
        yield pool
    finally:
        pool.executor.shutdown(cancel_futures=True)


def _ray_pool(address: str, threads: int) -> Pool:
    executor = RayExecutor(address, threads=threads)
    return Pool(executor, executor.capacity)


def _own_pool(workers: int, threads: int) -> Pool:
    if workers == 1:
        return Pool(InlineExecutor(), lambda: 1)
    os.environ["OMP_NUM_THREADS"] = str(threads)    # read by torch when a worker imports it, and through it by OpenVINO
    return Pool(ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")), lambda: workers)
