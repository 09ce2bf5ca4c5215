"""`make repro`: `dvc repro --keep-going`, then what the refused screens left undone for the others.

DVC skips the stages over all screens (compare, register, report) when one cell failed. They are run once more by themselves, so that one
bad plate does not keep the other patients from their results.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from models.errors import DosewellError
from pipelines.command import run_command

GROUPED = ("compare", "register", "report")
VERDICTS = Path("artifacts/validate")


def reproduce() -> dict[str, float]:
    """Run the pipeline with its output shown; seconds per stage. Raises DosewellError naming refused screens and failed stages."""
    if not Path("data").exists():
        _run([sys.executable, "-m", "pipelines.make_example"])
    code, seconds = _timed_repro()
    if code:
        for stage in GROUPED:
            _run(["dvc", "repro", "--single-item", stage], check=False)
        raise DosewellError("the pipeline did not finish for every screen:\n" + "\n".join(
            refused_screens() or ["see the failed stage above; `dvc repro <stage>` runs it alone"]))
    return seconds


def refused_screens() -> list[str]:
    """A line per refused screen, with the page that shows what and where."""
    verdicts = [json.loads(path.read_text()) for path in sorted(VERDICTS.glob("*.json"))]
    return [f"screen {verdict['screen']} was refused: see {VERDICTS / verdict['screen']}.html" for verdict in verdicts
            if not verdict["accepted"]]


def _timed_repro() -> tuple[int, dict[str, float]]:
    """Exit status of `dvc repro --keep-going`, and the wall seconds between its lines "Running stage"."""
    seconds: dict[str, float] = {}
    stage, since = "start", time.monotonic()
    with subprocess.Popen(["dvc", "repro", "--keep-going"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("Running stage"):
                seconds[stage] = time.monotonic() - since
                stage, since = line.split("'")[1], time.monotonic()
    seconds[stage] = time.monotonic() - since
    return process.returncode, seconds


def _run(command: list[str], *, check: bool = True) -> None:
    if subprocess.run(command, check=False).returncode and check:
        raise DosewellError(f"{' '.join(command)} failed; see above")


def main() -> None:
    """Command line."""
    reproduce()


if __name__ == "__main__":
    run_command(main)
