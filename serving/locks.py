"""A lock between processes that share a folder. The system frees it when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from pathlib import Path

from models.whole_file import lock_file


class ProcessLock:
    """One of several processes holds it at a time. The file says nothing; that it is locked does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def held(self) -> bool:
        """Whether this process has it; takes it if nobody has. Never waits. Raises OSError where no file can be made or locked."""
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = lock_file(self.path, mode=0o600)
        return self._handle is not None

    def release(self) -> None:
        """Let another process have it."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None

    def __del__(self) -> None:
        self.release()


def own_folder(root: Path) -> tuple[Path, ProcessLock]:
    """A new folder below `root` for this process, and the lock that says so; folders of processes that have ended are removed."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".gate").open("w") as gate:    # one process at a time: another one's lock may be half made
        fcntl.flock(gate, fcntl.LOCK_EX)
        for path in [path for path in root.iterdir() if path.is_dir()]:
            lock = ProcessLock(path.with_suffix(".lock"))
            if lock.held():
                shutil.rmtree(path, ignore_errors=True)
                lock.path.unlink()
                lock.release()
        own = ProcessLock(root / f"{uuid.uuid4().hex}.lock")
        own.held()
        own.path.with_suffix("").mkdir()
    return own.path.with_suffix(""), own
