"""What the benchmarks share, and that those run which no other test or figure would miss."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import at_hand, job_table, layout_mixups, many_models, single_doses
from benchmarks.processes import PeakMemory, family, no_child_left
from benchmarks.projection import highest_memory
from benchmarks.timing import command_seconds, in_turn
from benchmarks.truth import held
from models.errors import DosewellError
from serving.jobs import JobStore
from tests.serving.tiny import Server
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent


def test_calls_take_turns_and_the_first_round_warms_up() -> None:
    made: list[str] = []
    found = in_turn({"one": lambda: made.append("one"), "other": lambda: made.append("other")}, rounds=2)
    assert made == ["one", "other"] * 3
    assert {name: len(times) for name, times in found.items()} == {"one": 2, "other": 2}


def test_a_command_is_timed_with_what_it_starts_and_a_failure_is_shown(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    assert command_seconds(sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])",
                           folder=tmp_path) > 0.3
    with pytest.raises(SystemExit, match="no such plate"):
        command_seconds(sys.executable, "-c", "raise SystemExit('no such plate')", folder=tmp_path)


def test_memory_is_that_of_the_process_not_of_its_parent() -> None:
    """What Linux calls the highest memory of a process counts in that of the one which started it."""
    kept = np.ones(40_000_000)  # 305 MB
    found = subprocess.run([sys.executable, "-c", "from benchmarks.projection import highest_memory; print(highest_memory())"], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout
    assert float(found) < 250 < highest_memory()
    assert kept.sum() == 40_000_000


def test_peak_memory_and_the_end_of_what_was_started() -> None:
    with no_child_left():
        child = subprocess.Popen([sys.executable, "-c", "import time; input(); kept = b'x' * 50 * 2**20; time.sleep(600)"],
                                 stdin=subprocess.PIPE, start_new_session=True)
        with PeakMemory(lambda: family(child.pid), every=0.01) as memory:
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.close()
            until(lambda: memory.extra_mb > 40)
    assert child.poll() is not None


class Impatient(Server):
    """A server whose starter does not wait."""

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def wait(self) -> None:
        raise KeyboardInterrupt


def test_whoever_does_not_wait_for_a_server_leaves_none(tmp_path: Path) -> None:
    server = Impatient(tmp_path, "sqlite:///none.db")
    with pytest.raises(KeyboardInterrupt), server:
        pass
    assert server.process.poll() == -15


def test_an_open_side_of_limits_bounds_nothing() -> None:
    low, high = pd.Series([1.0, np.nan, 1.0, np.nan]), pd.Series([2.0, 2.0, np.nan, np.nan])
    assert held(low, pd.Series([3.0, 3.0, 3.0, np.inf]), high).tolist() == [False, False, True, True]


def test_missing_data_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_hand, "SHARED", tmp_path)
    with pytest.raises(DosewellError, match=r"reference data livedead.*DOSEWELL_SHARED"):
        at_hand.shared("livedead")


def test_the_table_of_jobs_is_asked_what_the_service_asks(tmp_path: Path) -> None:
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    job_table.fill(store, 40, 10)
    assert dict(store.counts())["queued"] == 10
    for ask in job_table.questions(store).values():
        ask()
    assert dict(store.counts()) | {"running": 1, "queued": 10} == dict(store.counts())     # one was claimed, one is new
    store.close()


def test_screens_of_single_doses_are_judged() -> None:
    found = single_doses.judged(single_doses.DESIGNS[0], acting=True, seed=0)
    assert len(found) == single_doses.TREATMENTS
    assert (found.loc[found["truth"] == 95, "call"] == "hit").all()


@pytest.mark.parametrize("seeds", [1, 2])
def test_no_plate_is_judged_beside_itself(monkeypatch: pytest.MonkeyPatch, seeds: int) -> None:
    seen = []
    monkeypatch.setattr(layout_mixups, "simulated", lambda *_, seed, **__: SimpleNamespace(layout=pd.DataFrame(), seed=seed))
    monkeypatch.setattr(layout_mixups, "mixed_up", lambda layout, _: layout)
    monkeypatch.setattr(layout_mixups, "blamed", lambda plates, **_: seen.append([plate.seed for plate, _ in plates]) or set())
    assert len(list(layout_mixups.cases(seeds, Path()))) == len(seen)
    assert {len(plates) for plates in seen} == {1, 3}
    assert [plates for plates in seen if len(set(plates)) < len(plates)] == []


def test_the_look_at_the_registry_is_that_of_the_last_start(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text('{"message": "the registry was looked at", "seconds": 9.5}\nnot a record\n{"message": "other"}\n'
                   '{"message": "the registry was looked at", "seconds": 2.5}\n', encoding="utf-8")
    assert many_models._looked(log) == 2.5


def test_every_benchmark_is_in_the_list() -> None:
    """With what it shows, how long it takes, what it needs, and the page that has its figures, which names it."""
    commands = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    rows = [re.split(r" *\| *", line.strip("| ")) for line in page.splitlines() if line.startswith("| `")]
    told = {re.findall(r"`(\w+)", row[0])[0]: row for row in rows}
    assert sorted(told) == sorted(commands)
    for name, row in told.items():
        assert len(row) == 5, name
        (file,) = set(re.findall(r"\((\w+\.md)", row[4]))
        assert f"python -m benchmarks.{name}" in (ROOT / "docs" / file).read_text(encoding="utf-8"), (name, file)


def test_every_benchmark_ends_well_when_it_is_ended() -> None:
    """SIGTERM ends what it started, and an error is a sentence."""
    commands = [path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert len(commands) > 30
    assert [path.name for path in commands if "    run_command(main)\n" not in path.read_text(encoding="utf-8")] == []
