"""Several processes over one folder: who writes, and what is cleared away of those that ended."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from serving.locks import ProcessLock, own_folder
from serving.promotion_log import Change, PromotionLog
from tests.serving.tiny import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from serving.locks import own_folder
held = own_folder(Path(sys.argv[1]))
print(flush=True)
time.sleep(99)
"""


def change(version: int, model: str = "m") -> Change:
    return Change(at="2026-01-01", model=model, event="serving", version_from=None, version_to=version)


def test_a_lock_is_free_again_when_its_holder_ends(tmp_path: Path) -> None:
    first, second = ProcessLock(tmp_path / "a.lock"), ProcessLock(tmp_path / "a.lock")
    assert (first.held(), second.held(), first.held()) == (True, False, True)
    first.release()
    assert (second.held(), first.held()) == (True, False)


def test_a_file_system_without_locks_takes_no_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS may be: whoever looks after the workers asks every second, until no file could be opened any more."""
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr("serving.locks.fcntl.flock", flock)
    lock, before = ProcessLock(tmp_path / "lock"), psutil.Process().num_fds()
    for _ in range(3):
        with pytest.raises(OSError, match="No locks"):
            lock.held()
    assert psutil.Process().num_fds() == before


def test_uploads_of_the_living_stay_and_those_of_the_killed_go(tmp_path: Path) -> None:
    (tmp_path / "left-by-an-older-release").mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (theirs,) = [path for path in tmp_path.iterdir() if path.is_dir()]
        mine, lock = own_folder(tmp_path)
        assert {path for path in tmp_path.iterdir() if path.is_dir()} == {mine, theirs}
        other.kill()
    again, other_lock = own_folder(tmp_path)
    assert {path for path in tmp_path.iterdir() if path.is_dir()} == {mine, again}
    for held in (lock, other_lock):
        held.release()


def test_one_of_several_writes_the_log_and_the_next_one_adds_what_is_missing(tmp_path: Path) -> None:
    first, second = PromotionLog(tmp_path / "log.jsonl"), PromotionLog(tmp_path / "log.jsonl")
    assert first.take_over({})
    assert not second.take_over({})
    first.append(change(1))
    first.append(change(2))
    first.close()   # it saw no more; the second one saw 1, 2, 3, and a model of its own
    assert second.take_over({"m": change(3), "n": change(1, "n")})
    assert [(line.model, line.version_to) for line in second.read()] == [("m", 1), ("m", 2), ("m", 3), ("n", 1)]
    second.close()
    assert first.take_over({"m": change(3)})
    assert len(first.read()) == 4
