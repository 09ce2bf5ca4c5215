"""`dvc repro` that is killed again and again: whether it goes on by itself, and ends with what a run without kills gives.

    python -m benchmarks.pipeline_kills [--kills 12] [--seed 0]

Two clones of the commit, each with two tiny simulated screens, a model and one that is fine-tuned from it. In one `dvc repro` runs through;
in the other it is killed (SIGKILL) at random moments, by turns DVC alone and all of its processes, and started again by the same command.
Compared are the hashes of all outputs in dvc.lock, and how often the registry has each model and runs of it. Takes five minutes on two
cores.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import yaml
from mlflow import MlflowClient

from benchmarks.processes import no_child_left
from models.plates.simulate.examples import example_screens
from models.registry import EXPERIMENT
from pipelines.command import run_command
from pipelines.make_example import make_example
from tests.pipelines.chain import ROOT, SIZE, tiny_params

SCREENS = ("a549", "hek293")


def project(folder: Path) -> Path:
    """A clone with tiny screens and params.yaml, nothing run yet."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    params = tiny_params()
    params["models"] = {name: model for name, model in params["models"].items() if model["screen"] in SCREENS}
    for section in ("screens", "scores"):
        params[section] = {name: item for name, item in params[section].items() if name in SCREENS}
    whole = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    (folder / "params.yaml").write_text(yaml.safe_dump({**whole, **params, "imagesets": {}}), encoding="utf-8")
    for name in ("dvc.lock", "data.dvc"):
        (folder / name).unlink()
    make_example(folder / "data", [replace(screen, size=SIZE, planes=min(screen.planes, 2)) for screen in example_screens()
                                   if screen.name in SCREENS], progress=False)
    subprocess.run(["dvc", "add", "--quiet", "data"], cwd=folder, check=True)
    return folder


def repro(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """`dvc repro`, begun, in a group of processes of its own."""
    return subprocess.Popen(["dvc", "repro"], cwd=folder, stdout=log.open("wb"), stderr=subprocess.STDOUT, start_new_session=True,
                            env={**os.environ, "PYTHONPATH": str(folder), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"})


def finish(folder: Path, log: Path) -> None:
    """Run it to its end."""
    if repro(folder, log).wait():
        sys.exit(f"{folder.name}: dvc repro failed:\n{log.read_text(encoding='utf-8')[-2000:]}")


def kill_often(folder: Path, log: Path, *, kills: int, longest: float) -> Counter[str]:
    """Kill it so often, at any second up to `longest`, unless it is done before; the stages that it was at."""
    met = Counter[str]()
    for number in range(kills):
        process = repro(folder, log)
        try:
            process.wait(timeout=random.uniform(5, longest))
            break
        except subprocess.TimeoutExpired:
            (os.killpg if number % 2 else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
        stages = [line.split("'")[1] for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("Running stage")]
        met[stages[-1] if stages else "before the first"] += 1
        print(f"killed at {stages[-1:] or 'the start'}", flush=True)
    return met


def hashes(folder: Path) -> dict[str, list[str]]:
    """Stage -> the hashes of its outputs."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {name: [out["md5"] for out in stage["outs"]] for name, stage in stages.items()}


def registered(folder: Path) -> dict[str, int]:
    """How many versions and runs there are of each name."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db", registry_uri=f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    found = Counter(f"runs of {run.info.run_name}" for run in runs)
    found.update(f"versions of {entry.name}" for entry in client.search_model_versions())
    return dict(found)


def main() -> None:
    """Print what was met and what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="dosewell-kills-") as name, no_child_left():
        whole, killed = project(Path(name) / "whole"), project(Path(name) / "killed")
        began = time.monotonic()
        finish(whole, Path(name) / "whole.log")
        seconds = time.monotonic() - began
        met = kill_often(killed, Path(name) / "killed.log", kills=arguments.kills, longest=seconds / 3)
        finish(killed, Path(name) / "killed.log")
        wanted, found = hashes(whole), hashes(killed)
        print(f"a run without kills: {seconds:.0f} s; killed at: {', '.join(f'{stage} x {count}' for stage, count in met.items())}")
        print(f"stages whose outputs differ: {[stage for stage in wanted if wanted[stage] != found.get(stage)] or 'none'} of {len(wanted)}")
        print(f"without kills: {registered(whole)}\nwith kills:    {registered(killed)}")


if __name__ == "__main__":
    run_command(main)
