"""How fast do networks score on this CPU: the fast path beside eager torch, all in one run.

    python -m benchmarks.forward [--trunk mobilenet_v2 --batch 32] [--repeats 5]

Random weights with batch statistics of the images, 224 x 224, head of one output. Wall clock and processor time, the least of some
repeats taken in turn; the latter counts little of what else the machine does. bf16 is timed where the CPU has it in hardware.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.timing import least
from models.networks.forward import Forward, Precision, has_bf16, trunk_forward
from models.networks.heads import Network, build_network
from models.networks.recipe import HeadSpec, Recipe, TrunkSpec
from pipelines.command import run_command

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
SIZES = {"mobilenet_v2": 32, "resnet18": 32, "vgg19": 8}   # trunk -> batch


def network_of(trunk: str, images: torch.Tensor) -> tuple[Network, Recipe]:
    recipe = Recipe(system="profile", target="control_class", trunk=TrunkSpec(name=trunk), head=HeadSpec(outputs=1))
    network = build_network(recipe)
    with torch.no_grad():
        network.train()(images)     # batch norm sees the images, so that outputs are of ordinary size
    return network.eval(), recipe


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    facts = dict(line.partition(":")[::2] for line in lines if ":" in line)
    named = {name.strip(): value.strip() for name, value in facts.items()}
    has = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in named.get("flags", "").split()]
    return f"{named.get('model name', '?')}, {torch.get_num_threads()} threads, {' '.join(has)}"


def through(forward: Forward, network: Network, pixels: np.ndarray) -> torch.Tensor:
    """The network's answers by a path of its trunk."""
    answers: torch.Tensor = network.head(torch.from_numpy(forward([pixels])))
    return answers


@torch.inference_mode()
def compare(trunk: str, *, batch: int, repeats: int) -> pd.DataFrame:
    pixels = np.random.default_rng(1).random((batch, 3, 224, 224), np.float32).astype(np.float16)     # as prepared images are kept
    images = torch.from_numpy(pixels).float()
    with torch.inference_mode(mode=False):
        network, _ = network_of(trunk, images)
        last = network_of(trunk, images)[0].to(memory_format=torch.channels_last)
    across, cpu_device = images.contiguous(memory_format=torch.channels_last), torch.device("cpu")
    paths: dict[str, Callable[[], torch.Tensor]] = {"torch, eager": lambda: network(images), "torch, channels last": lambda: last(across)}
    compiling = {}
    for precision in PRECISIONS if has_bf16() else PRECISIONS[:1]:
        started, name = time.process_time(), f"OpenVINO, {precision}"
        forward = trunk_forward(network, cpu_device, size=224, path="openvino", precision=precision)
        compiling[name] = time.process_time() - started
        paths[name] = partial(through, forward, network, pixels)
    if has_bf16():
        def autocast() -> torch.Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return last(across)
        paths["torch, channels last, bf16"] = autocast
    found, wanted = least(paths, rounds=repeats), paths["torch, eager"]()
    base = found["torch, eager"]
    return pd.DataFrame([{
        "trunk": trunk, "batch": batch, "path": name, "images/s": batch / wall, "times eager (wall)": base[0] / wall,
        "times eager (processor)": base[1] / processor,
        "largest logit difference": float((paths[name]().float() - wanted).abs().max()), "compiling, s": compiling.get(name, np.nan),
    } for name, (wall, processor) in found.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trunk", choices=SIZES, help="only this one")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(cpu())
    chosen = {arguments.trunk: SIZES[arguments.trunk]} if arguments.trunk else SIZES
    for trunk, batch in chosen.items():
        print(compare(trunk, batch=arguments.batch or batch, repeats=arguments.repeats).round(6).to_string(index=False), flush=True)


if __name__ == "__main__":
    run_command(main)
