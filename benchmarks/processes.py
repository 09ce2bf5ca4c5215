"""What a server's processes take, while others ask it: processor seconds and memory."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

import psutil

MB = 2**20


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started, itself first."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def processor_seconds(processes: Iterable[psutil.Process]) -> float:
    """That they have used so far, all together; one that has ended counts no longer."""
    found = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found += sum(process.cpu_times()[:2])
    return found


def memory_mb(processes: Iterable[psutil.Process]) -> float:
    """Resident memory now, all together; one that has ended has none."""
    found = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found += process.memory_info().rss / MB
    return found


@contextlib.contextmanager
def no_child_left() -> Iterator[None]:
    """Ends all that was started within the block: Ctrl-C does not reach processes in a session of their own."""
    try:
        yield
    finally:
        left = psutil.Process().children(recursive=True)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


class PeakMemory:
    """Most memory of some processes together while the block lasts: `most_mb`, and `extra_mb` above what they had before.

    processes: asked for them each time, since a server may start others; every: seconds between two looks.
    """

    def __init__(self, processes: Callable[[], list[psutil.Process]], *, every: float) -> None:
        self._processes, self._every, self._over = processes, every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.most_mb = self._before = 0.0

    @property
    def extra_mb(self) -> float:
        return self.most_mb - self._before

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            with contextlib.suppress(psutil.Error):     # its parent may be gone
                self.most_mb = max(self.most_mb, memory_mb(self._processes()))

    def __enter__(self) -> PeakMemory:
        self.most_mb = self._before = memory_mb(self._processes())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
