"""Files that are there whole or not at all, whoever else writes them, and whatever a killed writer left."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.whole_file import whole_file, write_whole


def test_each_of_two_writers_at_once_has_a_place_of_its_own(tmp_path: Path) -> None:
    """They shared one: the first to end put the other's half file into the place, and the other failed."""
    path = tmp_path / "plate.csv"
    with whole_file(path) as slow:
        slow.write_text("half of the sl")
        with whole_file(path) as quick:
            quick.write_text("quick")
        assert path.read_text() == "quick"
        slow.write_text("slow, whole")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("plate.csv", "slow, whole")]


def test_one_that_fails_takes_nothing_from_the_other(tmp_path: Path) -> None:
    path = tmp_path / "plate.csv"
    with whole_file(path) as good:
        good.write_text("good")
        with pytest.raises(IsADirectoryError), whole_file(path) as bad:
            bad.parent.write_text("bad")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("plate.csv", "good")]


def test_many_writers_leave_one_whole_file(tmp_path: Path) -> None:
    path, texts = tmp_path / "plate.csv", [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=lambda text=text: [write_whole(path, text) for _ in range(25)]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert [file.name for file in tmp_path.iterdir()] == ["plate.csv"]


@contextmanager
def killed_while_writing(path: Path) -> Iterator[None]:
    """Another process is at the file during the block, and is killed at its end."""
    code = f"""
from pathlib import Path
from models.whole_file import whole_file
with whole_file(Path({str(path)!r})) as making:
    making.write_text("much more than what comes after it")
    print("there", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        yield
        writer.send_signal(signal.SIGKILL)


def test_what_a_killed_writer_left_is_written_over(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "plate.csv", "before")
    with killed_while_writing(path):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == ["plate.csv", "plate.csv.partial"]
    assert path.read_text() == "before"
    write_whole(path, "after")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("plate.csv", "after")]


def test_what_two_killed_writers_left_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "plate.csv"
    with killed_while_writing(path), killed_while_writing(path):
        write_whole(path, "whole")
        assert len(list(tmp_path.glob("*.partial"))) == 2       # who lives keeps what is his
    write_whole(path, "after")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("plate.csv", "after")]


def test_a_file_system_without_locks_takes_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    monkeypatch.setattr(fcntl, "flock", flock)
    path = tmp_path / "plate.csv"
    with whole_file(path) as one:
        one.write_text("one")
        write_whole(path, "other")
    assert path.read_text() == "one"
