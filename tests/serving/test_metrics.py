"""Metrics files have the disk that they claim, so that a full one does not end the process that writes to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from models.errors import Finding
from serving.metrics import forget_dead_processes, keep_room, note_drift
from serving.scoring import unlike_training


def sparse(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(2**20)
    return path


def blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve a file's disk")
def test_metrics_files_are_given_their_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = sparse(tmp_path / f"counter_{os.getpid()}.db"), sparse(tmp_path / "counter_1.db")
    mine.write_bytes(b"kept" + mine.read_bytes()[4:8])
    with mine.open("r+b") as file:
        file.truncate(2**20)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    keep_room()
    assert blocks(mine) >= mine.stat().st_size == 2**20
    assert mine.read_bytes()[:4] == b"kept"
    assert blocks(other) == 0


def test_what_a_killed_process_had_loaded_counts_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    dead, mine = tmp_path / f"gauge_livesum_{killed.pid}.db", tmp_path / f"gauge_livesum_{os.getpid()}.db"
    counted = tmp_path / f"counter_{killed.pid}.db"     # what it did stays done
    for path in (dead, mine, counted):
        path.touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    forget_dead_processes()
    assert sorted(tmp_path.iterdir()) == sorted([mine, counted])


def test_plates_unlike_the_trainings_are_counted_by_rule() -> None:
    """Those of another magnification were not counted, nor those that are exported black for white."""
    def warned(rule: str, *plates: str) -> list[Finding]:
        return [Finding(rule=rule, severity="warning", plate=plate, message="") for plate in plates]
    findings = [*warned("structure_size", "P1", "P2"), *warned("inverted", "P1"), *warned("acquisition_mismatch", ""), *warned("cv", "P1")]
    unlike = unlike_training(findings, plates=3)
    assert unlike == {"drift": 0, "structure_size": 2, "inverted": 1, "acquisition_mismatch": 3}
    note_drift("of-this-test", [], unlike=unlike)
    assert REGISTRY.get_sample_value("dosewell_drifted_plates_total", {"model": "of-this-test", "rule": "structure_size"}) == 2


def test_without_a_folder_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in the working folder."""
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    dead, mine = sparse(tmp_path / f"gauge_livesum_{killed.pid}.db"), sparse(tmp_path / f"counter_{os.getpid()}.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    forget_dead_processes()
    keep_room()
    assert dead.exists()
    assert blocks(mine) == 0
