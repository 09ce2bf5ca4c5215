"""`make demo`: what it promotes, and that nothing goes on when it is ended. The chain itself is too long for a test."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipelines.demo import served_models
from pipelines.params import Params
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]


def test_what_scores_is_promoted_and_what_a_new_patients_model_is_trained_from() -> None:
    assert served_models(Params.read(ROOT / "params.yaml")) == [
        "viability-A549", "viability-HEK293", "viability-NCI-H1975", "profile-PAT_1", "profile-INF_R_153_CE"]


def test_a_command_that_is_told_to_end_ends_what_it_started() -> None:
    """DVC's training went on when `make demo` was gone."""
    training = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_DFL); time.sleep(600)"
    dvc = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{training}'])"
    script = ("import subprocess, sys; from pipelines.command import run_command; "
              f"run_command(lambda: subprocess.run([sys.executable, '-c', {dvc!r}]))")
    command = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    own = psutil.Process(command.pid)
    until(lambda: len(own.children(recursive=True)) == 2)
    below = own.children(recursive=True)
    command.send_signal(signal.SIGTERM)
    assert command.wait(timeout=PATIENCE) == 128 + signal.SIGTERM
    assert [process for process in below if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.skipif(sys.platform != "linux", reason="the system is asked in Linux' way")
def test_a_stage_whose_dvc_is_killed_ends_and_another_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It went on beside the next `dvc repro`, and both wrote the same files."""
    stage = ("import time; from pathlib import Path; from pipelines.command import run_command; "
             "run_command(lambda: (Path({mark!r}).touch(), time.sleep(600)))")
    ends = []
    for name in ("train@viability-A549", ""):
        mark = tmp_path / f"began {name}"
        if name:
            monkeypatch.setenv("DVC_STAGE", name)
        else:
            monkeypatch.delenv("DVC_STAGE")
        run = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stage.format(mark=str(mark))!r}])"
        dvc = subprocess.Popen([sys.executable, "-c", run], cwd=ROOT)
        until(mark.is_file)
        (own,) = psutil.Process(dvc.pid).children()
        dvc.kill()
        dvc.wait()
        _, left = psutil.wait_procs([own], timeout=PATIENCE if name else 2)
        ends.append(left == [])
        for process in left:
            process.kill()
    assert ends == [True, False]
