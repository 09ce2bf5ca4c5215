"""`make repro`: `dvc repro --keep-going`, then what the refused screens left undone for the others.

DVC skips the stages over all screens (compare, register, report) when one cell failed. They are run once more by themselves, so that one
bad plate does not keep the other patients from their results.

`--jobs N` runs the cells of a stage side by side, as DVC's manual has it ("Parallel stage execution"): N times `dvc repro` with a share of
the cells each, stage after stage, and then `dvc repro` over all, which finds nothing left to do in them and tells what failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from models.errors import DosewellError
from models.instructions import VARIABLE
from pipelines.command import run_command
from pipelines.params import Params
from pipelines.yaml_text import read_yaml, unfinished_merge

GROUPED = ("compare", "register", "report")
MERGED = (Path("params.yaml"), Path("data.dvc"), Path("dvc.lock"))     # what two people change on two branches
VERDICTS, LOCK = Path("artifacts/validate"), Path("dvc.lock")


def reproduce(*, jobs: int = 1) -> dict[str, float]:
    """Run the pipeline with its output shown, `jobs` cells at a time; seconds per stage of what the last `dvc repro` ran.

    Ends with a line on whether the results are those of the committed dvc.lock. Raises DosewellError naming refused screens and failed
    stages.
    """
    if shutil.which("dvc") is None:
        raise DosewellError("`dvc` is not found, because this terminal does not use the project's environment: type "
                            "`source .venv/bin/activate` in the project's folder, or use `make repro`")
    if not Path("data").exists():
        _run([sys.executable, "-m", "pipelines.make_example"])
    _require_merged()
    if jobs > 1:
        _run_side_by_side(Params.read("params.yaml"), jobs)
    code, seconds = _timed_repro()
    if code:
        for stage in GROUPED:
            _run(["dvc", "repro", "--single-item", stage], check=False)
        raise DosewellError("the pipeline did not finish for every screen:\n" + "\n".join(
            refused_screens() or ["see the failed stage above; `dvc repro <stage>` runs it alone"]))
    print(compared_with_commit(), flush=True)
    return seconds


def _require_merged() -> None:
    """Raises DosewellError for a file of the pipeline that holds an unfinished merge, of which DVC says only that it is no YAML."""
    for path in filter(Path.is_file, MERGED):
        if problem := unfinished_merge(path.read_text(encoding="utf-8")):
            raise DosewellError(f"{path}: {problem}")


def compared_with_commit() -> str:
    """Whether the stages' outputs are those of the committed dvc.lock, by their hashes, in a line."""
    committed = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], check=False, capture_output=True, text=True)
    if committed.returncode:
        return f"{LOCK} is not committed yet; commit it with the code, so that others can tell whether they get the same results"
    before, now = (_hashes(text) for text in (committed.stdout, LOCK.read_text(encoding="utf-8")))
    other = [name for name in now if now[name] != before.get(name)]
    if not other:
        return f"all {len(now)} stages gave what the committed {LOCK} says, byte for byte"
    way = "" if os.environ.get(VARIABLE) == "portable" else f" ({VARIABLE}=portable makes x86 processors agree)"
    return (f"{len(other)} of {len(now)} stages gave other results than the committed {LOCK} ({', '.join(other[:3])}"
            f"{' ...' if len(other) > 3 else ''}): data, parameters or code have changed, or another processor rounds otherwise{way}; "
            f"`dvc metrics diff` compares, and committing {LOCK} keeps them")


def _hashes(lock: str) -> dict[str, list[str]]:
    """Stage -> the hashes of its outputs."""
    return {name: [out["md5"] for out in stage.get("outs", ())] for name, stage in read_yaml(lock).get("stages", {}).items()}


def refused_screens() -> list[str]:
    """A line per refused screen, with the page that shows what and where."""
    verdicts = [json.loads(path.read_text()) for path in sorted(VERDICTS.glob("*.json"))]
    return [f"screen {verdict['screen']} was refused: see {VERDICTS / verdict['screen']}.html" for verdict in verdicts
            if not verdict["accepted"]]


def waves(params: Params) -> list[list[str]]:
    """The cells of dvc.yaml, such that those of a wave need only cells of the waves before it: of the models, parents first."""
    prepared = [*(f"prepare@{name}" for name in params.screens), *(f"prepare_imageset@{name}" for name in params.imagesets)]
    found = [["validate"], [*prepared, *(f"trunk@{name}" for name in params.trunks)]]
    left, done = params.models, set[str]()
    while left:     # ends: Params refuses parents that are not there or go round in a circle
        ready = [name for name, model in left.items() if model.parent.startswith("trunks/") or model.parent.removeprefix("models/") in done]
        found += [[f"{stage}@{name}" for name in ready] for stage in ("train", "evaluate")]
        done.update(ready)
        left = {name: model for name, model in left.items() if name not in done}
    return [*found, [f"score@{name}" for name in params.scores]]


def _run_side_by_side(params: Params, jobs: int) -> None:
    """Every wave, in `jobs` shares. Failures are left for the `dvc repro` over all to tell."""
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}   # else each job takes all cores, and they wait for another
    for cells in waves(params):
        shares = [cells[number::jobs] for number in range(min(jobs, len(cells)))]
        command = ["dvc", "--wait-for-lock", "repro", "--single-item", "--keep-going"]
        running = [subprocess.Popen([*command, *share], env=threads | os.environ) for share in shares]
        for process in running:
            process.wait()


def _timed_repro() -> tuple[int, dict[str, float]]:
    """Exit status of `dvc repro --keep-going`, and the wall seconds between its lines "Running stage"."""
    seconds: dict[str, float] = {}
    stage, since = "start", time.monotonic()
    with subprocess.Popen(["dvc", "repro", "--keep-going"], stdout=subprocess.PIPE, encoding="utf-8", errors="replace") as process:
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time; the machine's cores are shared out among them")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"argument --jobs: 1 or more, got {arguments.jobs}")
    reproduce(jobs=arguments.jobs)


if __name__ == "__main__":
    run_command(main)
