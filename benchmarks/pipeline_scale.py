"""What DVC itself costs with many patients: the pipeline of dvc.yaml with so many more screens and models, its commands replaced by ones
that only write their outputs. Processor seconds of the first `dvc repro`, of `dvc status`, and of `dvc repro` after one changed layout.

    python -m benchmarks.pipeline_scale [--patients 10 30 60]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.timing import command_seconds
from pipelines.command import run_command

ROOT = Path(__file__).parents[1]
CODE = ("models", "pipelines", "validation")


def with_patients(params: dict[str, Any], count: int) -> dict[str, Any]:
    """params.yaml with patients added as the example's patient-1: a screen, a phase-II model and what scores it."""
    for number in range(2, count + 2):
        screen, model = f"patient-{number}", f"profile-PAT_{number}"
        params["screens"][screen] = params["screens"]["patient-1"]
        params["models"][model] = params["models"]["profile-PAT_1"] | {"screen": screen}
        params["scores"][screen] = model
    return params


def without_work(stages: dict[str, Any], screens: list[str]) -> dict[str, Any]:
    """Every command replaced by one that writes the stage's name into its outputs."""
    for name, stage in stages.items():
        cell = stage.get("do", stage)
        outs = [next(iter(out)) if isinstance(out, dict) else out for part in ("outs", "metrics", "plots") for out in cell.get(part, [])]
        files = [out if Path(out).suffix else f"{out}/done" for out in outs]
        if name == "validate":
            files += [f"{outs[0]}/{screen}.json" for screen in screens]
        cell["cmd"] = [f"mkdir -p {Path(file).parent} && echo {file} > {file}" for file in files]
    return {"stages": stages}


def make_project(folder: Path, patients: int) -> None:
    """A git and DVC repository with the code that stages depend on and a few bytes of data per screen."""
    params = with_patients(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")), patients)
    stages = without_work(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"], list(params["screens"]))
    for name, content in (("params.yaml", params), ("dvc.yaml", stages)):
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    for code in CODE:
        shutil.copytree(ROOT / code, folder / code, ignore=shutil.ignore_patterns("__pycache__"))
    for screen in params["screens"]:
        images = folder / "data" / screen / "images"
        images.mkdir(parents=True)
        for file in (images / "plate.zip", images.parent / "layout.csv", images.parent / "screen.yaml"):
            file.write_text(f"{screen} {file.name}", encoding="utf-8")
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def timed(folder: Path, command: str) -> float:
    """Processor seconds of a DVC command."""
    return command_seconds("dvc", command, "--quiet", folder=folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[10, 30, 60])
    asked = parser.parse_args().patients
    print("patients  cells  lines of dvc.lock  first repro s  per cell s  status s  one layout changed s")
    for patients in asked:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_project(folder, patients)
            first, status = timed(folder, "repro"), timed(folder, "status")
            (folder / "data" / "patient-2" / "layout.csv").write_text("changed", encoding="utf-8")
            changed = timed(folder, "repro")
            lock = (folder / "dvc.lock").read_text(encoding="utf-8")
            cells, lines = len(yaml.safe_load(lock)["stages"]), lock.count("\n")
            print(f"{patients:8d} {cells:6d} {lines:18d} {first:14.0f} {first / cells:11.1f} {status:9.1f} {changed:21.1f}", flush=True)


if __name__ == "__main__":
    run_command(main)
