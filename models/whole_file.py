"""Files that are there whole or not at all: nobody reads half of one, and a process that is killed leaves what was there before."""

from __future__ import annotations

import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)      # of file systems that have none


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what shall be `path`: it takes that place when the block ends well, and vanishes when it raises. Each of several
    writers has a place of its own; the last to end has the path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    making, lock = _own_place(path)
    try:
        yield making
        making.replace(path)
    except BaseException:
        making.unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)


def write_whole(path: Path, data: str | bytes) -> Path:
    """Write a file, whole or not at all; text in UTF-8, with its line breaks as they are. Returns the path."""
    with whole_file(path) as making:
        making.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def lock_file(path: Path, *, mode: int = 0o666) -> int | None:
    """Make the file if need be, and lock it until the returned handle is closed or this process ends; None where another has it. Raises
    OSError where no file can be made or locked.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, mode)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return handle


def _own_place(path: Path) -> tuple[Path, int]:
    """A file beside `path` that no other writer has, and its lock. One that a killed writer left is written over."""
    number = 0
    while True:
        making = _place(path, number)
        try:
            lock = lock_file(making)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            making = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
            return making, os.open(making, os.O_RDWR | os.O_CREAT, 0o666)
        if lock is None:
            number += 1
        elif _is_at(making, lock):
            _drop_left(_place(path, number + 1))
            return making, lock
        else:
            os.close(lock)      # its writer has put it into its place since it was opened


def _place(path: Path, number: int) -> Path:
    """Where the first, second ... of several writers at once writes, from 0."""
    return path.with_name(f"{path.name}.{number}.partial" if number else f"{path.name}.partial")


def _drop_left(making: Path) -> None:
    """Remove what a killed writer left where another one wrote at the same time."""
    if making.exists() and (lock := lock_file(making)) is not None:
        if _is_at(making, lock):
            making.unlink()
        os.close(lock)


def _is_at(path: Path, handle: int) -> bool:
    """Whether an open file is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
