"""`make demo`: the whole chain on the example data, from simulated plates to IC50s of a held-out plate over HTTP."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import DosewellError
from models.instructions import VARIABLE
from models.registered import UnknownModelError
from models.registry import CHALLENGER, CHAMPION, Registry
from models.tracking import default_tracking_uri
from pipelines import servers
from pipelines.command import run_command
from pipelines.params import Params
from pipelines.register import CACHE, register_missing
from pipelines.repro import reproduce

HELD_OUT, MODEL, OUT = Path("data/heldout-a549"), "viability-A549", Path("var/demo")


class Clock:
    """Seconds of each step, for the table at the end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step and time it."""
        print(f"\n== {name}", flush=True)
        since = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - since


def served_models(params: Params) -> list[str]:
    """What scores the screens, and the phase I that a patient's model descends from: a new patient's is trained from it (docs/page.md)."""
    scorers = list(dict.fromkeys(params.scores.values()))
    patients = [params.models[name] for name in scorers if params.recipes[params.models[name].recipe].system == "profile"]
    parents = [model.parent.removeprefix("models/") for model in patients if model.parent.startswith("models/")]
    return list(dict.fromkeys([*scorers, *parents]))


def promote(registry: Registry, names: list[str]) -> None:
    """Move `champion` to each model's challenger. Normally a person does this in the MLflow UI."""
    print("Normally a person compares the versions and does this in the MLflow UI (`make up`): open a registered model, and move its\n"
          f"alias `{CHAMPION}` to the version that shall serve. The demo does it for you:")
    for name in names:
        try:
            version = registry.resolve(f"{name}@{CHALLENGER}")
        except UnknownModelError:
            print(f"  {name}: no version passed its gates; nothing to promote")
            continue
        registry.set_alias(version, CHAMPION)
        print(f"  {name}: version {version.version} is {CHAMPION}")


def score_held_out(url: str) -> None:
    """Score the held-out plate over HTTP with the public command line; tables and report go to var/demo."""
    command = [sys.executable, "-m", "serving.cli", "score", str(HELD_OUT / "images"), "--layout", str(HELD_OUT / "layout.csv"),
               "--screen", str(HELD_OUT / "screen.yaml"), "--model", MODEL, "--url", url, "--out", str(OUT)]
    if subprocess.run(command, check=False).returncode:
        raise DosewellError("scoring the held-out plate failed; see above")


def run(clock: Clock) -> dict[str, float]:
    """All steps; returns the seconds of each pipeline stage."""
    with clock.step("example data"):
        subprocess.run([sys.executable, "-m", "pipelines.make_example"], check=True)
    with clock.step("pipeline: dvc repro"):
        stages = reproduce()
    with clock.step("registry"):
        registry = Registry(default_tracking_uri(), CACHE)
        params = Params.read("params.yaml")
        register_missing(Path("artifacts/models"), evaluations=Path("artifacts/evaluate"), trunks=Path("artifacts/trunks"),
                         registry=registry, names=params.models)
        promote(registry, served_models(params))
    try:
        with clock.step("start the service"):
            port = servers.free_port()
            service = servers.start("demo-service", servers.service_command(port), port=port, health="/readyz",
                                    environment={"MLFLOW_TRACKING_URI": default_tracking_uri(), "DOSEWELL_STATE": str(OUT / "state")})
            print(f"scoring service at {service.url}")
        with clock.step(f"score the held-out plate {HELD_OUT.name} with {MODEL} over HTTP"):
            score_held_out(service.url)
    finally:
        servers.stop("demo-service")
    return stages


def main() -> None:
    """Command line."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    clock = Clock()
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    os.environ.setdefault(VARIABLE, "portable")     # dvc.lock was made so: whoever runs the demo sees the same bytes
    stages = run(clock)
    print("\nwhere the time went, in seconds:")
    for name, seconds in clock.seconds.items():
        print(f"  {seconds:6.1f}  {name}")
        if name.startswith("pipeline"):
            print("".join(f"  {stage:>14.1f}  {label}\n" for label, stage in stages.items() if label != "start" or stage > 1), end="")
    print(f"\nreport of the held-out plate: {OUT / 'report.html'}\nreports of the screens:       artifacts/report/index.html\n"
          "what `validate` saw:          artifacts/data_docs/index.html\nnext: `make up` starts MLflow and the service to stay")


if __name__ == "__main__":
    run_command(main)
