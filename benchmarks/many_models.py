"""Hundreds of registered models: how long until the service is ready, what the first answer of a cold model takes, and what memory.

    python -m benchmarks.many_models [--models 300] [--trunk mobilenet_v2] [--folder DIR]

Registers `--models` linear heads on one frozen trunk (random weights) in a registry of its own, promotes all, and starts the service on
it: once with an empty cache, once again with what the first run left. Wall clock, and in brackets processor seconds of the service, which
count little of what else the machine does. The folder, if named, is kept and its registry used again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from benchmarks.processes import family, memory_mb, processor_seconds
from benchmarks.tiny_service import client
from models.networks.backbones import state_bytes
from models.networks.bundle import Card, GateResult, TrunkReference, trunk_finder, write_bundle
from models.networks.heads import Network, build_head, build_network
from models.networks.precision import Bf16Effect
from models.networks.recipe import Gate, Recipe, TrunkSpec
from models.plates.prepare import InputSpec
from models.registry import CHAMPION, Registry
from tests.serving.tiny import SAMPLE, SCREEN, Server, tiny_plate

import torch  # isort: skip  # the registry's variables are set first
from torch import nn  # isort: skip
from pipelines.command import run_command

MakeHead = Callable[[Network, Recipe], nn.Module]


def random_head(network: Network, recipe: Recipe) -> nn.Module:
    """A head that has learned nothing."""
    return build_head(recipe.head, network.feature_count)


def write_models(folder: Path, *, count: int, trunk: str, bf16: bool, head: MakeHead) -> None:
    """Bundles folder/models/m<number>, and the trunk beside them; bf16: their cards say that bfloat16 changes nothing."""
    recipe = Recipe(system="viability", target="readout", input=InputSpec(size=224), trunk=TrunkSpec(name=trunk),
                    gates=(Gate(metric="r2_cv", minimum=0.5),))
    network = settled(build_network(recipe))
    weights = state_bytes(network.trunk.state_dict())
    (folder / "models" / "trunk-0").mkdir(parents=True, exist_ok=True)
    (folder / "models" / "trunk-0" / "trunk.safetensors").write_bytes(weights)
    reference = TrunkReference(name=trunk, weights="none, seed 0", sha256=hashlib.sha256(weights).hexdigest())
    gate = GateResult(metric="r2_cv", value=0.9, minimum=0.5, maximum=None, passed=True, reason="r2_cv is 0.9")
    for number in range(count):
        torch.manual_seed(number)
        card = Card(name=f"viability-L{number:03d}", system="viability", recipe=replace(recipe, seed=number), output="od", sample=SAMPLE,
                    acquisition={"magnification": 10.0}, trunk=reference, weights_sha256="", metrics={"r2_cv": 0.9}, gates=(gate,),
                    training_wells=tuple(("P1", f"{row}{column:02d}", "train") for row in "ABCDEFGH" for column in range(1, 13)),
                    bf16=Bf16Effect(median=0.0, largest=0.0, wells=96) if bf16 else None,
                    lineage={"data_md5": "d" * 32, "params_hash": "p" * 64})
        write_bundle(folder / "models" / f"m{number:03d}", card, trunk=None,
                     head=state_bytes(head(network, recipe).state_dict()))


@torch.no_grad()
def settled(network: Network) -> Network:
    """The network with running statistics of a batch of noise: with those that it is born with, a deep trunk's activations shrink to
    nothing, it gives all images one and the same answer, and there is no curve to fit.
    """
    for layer in network.trunk.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    network.train()(torch.rand(16, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    return network.eval()


def register(folder: Path, *, count: int, trunk: str, bf16: bool = False, head: MakeHead = random_head) -> Registry:
    """A registry in the folder that has the models, all champions."""
    registry = Registry(f"sqlite:///{folder}/mlflow.db", folder / "registering")
    missing = count - len(registry.aliases())
    if missing > 0:
        write_models(folder, count=count, trunk=trunk, bf16=bf16, head=head)
        find = trunk_finder([folder / "models"])
        for bundle in tqdm(sorted((folder / "models").glob("m*")), desc="register", unit="model"):
            registry.set_alias(registry.register(bundle, find_trunk=find), CHAMPION)
    return registry


def largest_mb(pid: int) -> float:
    """Memory of the process that answers: it is the largest of those that the server started."""
    return max(memory_mb([process]) for process in family(pid)[1:])


def run(folder: Path, registry: Registry, *, count: int, label: str) -> None:
    """Start, ask a few models for the first time, ask all, and say what it took."""
    plate = tiny_plate(folder)
    layout = plate.table[plate.table["role"].isin(["negative", "positive"])]
    images = [("images", (f"{well}_s1_c0_z0.tif", plate.images[f"{well}_s1_c0_z0.tif"])) for well in layout["well"]]
    started = time.perf_counter()
    with (Server(folder / "state", registry.tracking_uri, DOSEWELL_JOB_WORKERS="0", DOSEWELL_POLL_SECONDS="1") as server,
          client(server) as http):
        pid = server.process.pid
        ready, ready_cpu, at_start = time.perf_counter() - started, processor_seconds(family(pid)), largest_mb(pid)

        def ask(number: int) -> tuple[float, float]:
            begun, before = time.perf_counter(), processor_seconds(family(pid))
            answer = http.post("/score", files=[*images, ("layout", ("layout.csv", plate.csv(layout)))], data={
                "model": f"viability-L{number:03d}", "screen": json.dumps(SCREEN)})
            assert answer.status_code == 200, answer.text[:300]
            return time.perf_counter() - begun, processor_seconds(family(pid)) - before
        first, second, again = ask(0), ask(1), ask(1)
        rest = [ask(number) for number in range(2, count)]
        slowest = max(rest, default=(0.0, 0.0), key=lambda item: item[1])
        print(f"{label}: ready in {_both((ready, ready_cpu))} of the start, of which looking at the registry {_looked(server.log):.1f} s; "
              f"first answer (32 wells, trunk compiled) {_both(first)}, next cold model {_both(second)}, warm {_both(again)}, slowest of "
              f"{len(rest)} cold ones {_both(slowest)}; memory {at_start:.0f} MB when ready, {largest_mb(pid):.0f} MB with all loaded",
              flush=True)


def _looked(log: Path) -> float:
    """Seconds of the first look at the registry, as the service's log has them."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    return next((float(line["seconds"]) for line in reversed(lines) if line.get("message") == "the registry was looked at"), float("nan"))


def _both(times: tuple[float, float]) -> str:
    return f"{times[0]:.2f} s ({times[1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--trunk", default="mobilenet_v2")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dosewell-many-")))
        folder.mkdir(parents=True, exist_ok=True)
        registry = register(folder.absolute(), count=arguments.models, trunk=arguments.trunk)
        shutil.rmtree(folder / "state", ignore_errors=True)     # of a run before, with its cache
        for label in ("empty cache", "full cache"):
            run(folder.absolute(), registry, count=arguments.models, label=label)


if __name__ == "__main__":
    run_command(main)
