"""System S2 at the paper's size: seconds of phases I, II and III of one three-plate screen, and where they go.

    python -m benchmarks.gpu_phases [--epochs 200] [--phases 1 2 3] [--profile 30] [--device cuda]      on a machine with a GPU
    python -m benchmarks.gpu_phases --small --epochs 2                                                    anywhere

As published: VGG19 with 2 outputs, all trained, 224 pixels, batch 1, bf16, 200 epochs; 210 wells of a control plate, then 54 controls and
750 drug wells of a screen. Needs no data and no weights: random images and weights take as long. Fewer epochs are told as such, and
multiplied up. Paper (Quadro RTX 6000): 45, 15 and 150 to 180 minutes. --small: the recipes of the example.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile

from models.networks.device import pick_device
from models.networks.fitting import fit_model
from models.networks.heads import Network, build_network
from models.networks.recipe import Recipe
from models.plates.images import WellImages
from models.wells import wells_of
from pipelines.command import run_command
from pipelines.params import Params

PAPER_MINUTES = {"phase I": "45", "phase II": "15", "phase III": "150-180"}
PUBLISHED = {"phase I": "profile_phase1", "phase II": "profile", "phase III": "profile_phase3"}
SMALL = {"phase I": "profile_phase1_small", "phase II": "profile_phase2_small", "phase III": "profile_phase3_small"}


@dataclass(frozen=True)
class Timing:
    """Seconds and steps of one phase; epochs that were run of those that the recipe asks for."""

    phase: str
    seconds: float
    steps: int
    epochs: int
    of: int

    def told(self) -> str:
        whole = self.seconds / self.epochs * self.of / 60
        each = 1000 * self.seconds / max(self.steps, 1)
        return (f"{self.phase:>9}: {self.steps} steps in {self.seconds:.1f} s, {each:.1f} ms each; "
                f"{self.of} epochs {'took' if self.epochs == self.of else 'would take'} {whole:.1f} min (paper "
                f"{PAPER_MINUTES[self.phase]})")


def control_plate() -> pd.DataFrame:
    """98 living and 112 dead wells on a 384-well plate (Table I)."""
    return pd.DataFrame({"plate": "CE", "well": list(wells_of(384))[:210], "role": np.repeat(["negative", "positive"], [98, 112]),
                         "treatment": "", "dose": np.nan, "dose_unit": "", "replicate": 1})


def screen(drugs: int = 75) -> pd.DataFrame:
    """Three plates of 10 + 8 controls, and `drugs` x 5 doses x 2 duplicates spread over them."""
    rows = [(f"P{plate}", role, "", np.nan, 1) for plate in (1, 2, 3) for role, count in (("negative", 10), ("positive", 8))
            for _ in range(count)]
    rows += [(f"P{drug % 3 + 1}", "treated", f"drug {drug}", 10.0**dose, copy) for drug in range(drugs) for dose in range(5)
             for copy in (1, 2)]
    table = pd.DataFrame(rows, columns=["plate", "role", "treatment", "dose", "replicate"])
    names = np.array(list(wells_of(384)))
    return table.assign(well=names[table.groupby("plate").cumcount()], dose_unit=np.where(table["dose"].notna(), "nM", ""))


def random_images(layout: pd.DataFrame, recipe: Recipe) -> WellImages:
    """Noise, a little brighter where cells live, so that the loss has something to fall for; float16 (N, C, size, size)."""
    rng, spec = np.random.default_rng(0), recipe.input
    level = layout["role"].map({"negative": 0.35, "positive": 0.15}).fillna(0.25).to_numpy()
    pixels = np.empty((len(layout), len(spec.planes), spec.size, spec.size), np.float16)
    for row, mean in enumerate(level):
        pixels[row] = (mean + 0.1 * rng.standard_normal(pixels.shape[1:], dtype=np.float32)).clip(0, 1)
    return WellImages(layout[["plate", "well"]].assign(site=1).reset_index(drop=True), pixels, spec.planes)


def run(recipes: Mapping[str, Recipe], *, epochs: int, device: str, drugs: int = 75) -> list[Timing]:
    """The phases of `recipes`, each going on from the one before, without cross-fitting."""
    found: list[Timing] = []
    network: Network | None = None
    for phase, recipe in recipes.items():
        layout = control_plate() if phase == "phase I" else screen(drugs)
        short = replace(recipe, optimizer=replace(recipe.optimizer, epochs=epochs), split=replace(recipe.split, folds=0))
        images = random_images(layout, short)
        start = build_network(short) if network is None else network
        since, fitted = time.perf_counter(), fit_model(start, images, layout, short, device=device)
        if pick_device(device).type == "cuda":
            torch.cuda.synchronize()
        seconds, network = time.perf_counter() - since, fitted.network
        taught = int((fitted.predictions["part"] == "train").sum()) + (0 if fitted.learnt_labels is None else len(fitted.learnt_labels))
        steps = epochs * -(-taught // recipe.optimizer.batch_size)
        found.append(Timing(phase, seconds, steps, epochs, recipe.optimizer.epochs))
        print(found[-1].told(), flush=True)
    return found


def profiled(recipe: Recipe, *, steps: int, device: str) -> str:
    """Where the time of `steps` steps of this recipe goes, by operation."""
    layout = control_plate().groupby("role").head(max(2, steps // 2)).reset_index(drop=True)
    short = replace(recipe, optimizer=replace(recipe.optimizer, epochs=1), split=replace(recipe.split, folds=0, test=0.0, validation=0.0,
                                                                                       validation_wells=0))
    images, network = random_images(layout, short), build_network(short)
    fit_model(network, images, layout, short, device=device)        # warm: kernels are chosen, memory is there
    cuda = pick_device(device).type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as watch:
        fit_model(network, images, layout, short, device=device)
    return str(watch.key_averages().table(sort_by="self_cuda_time_total" if cuda else "self_cpu_time_total", row_limit=15))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--phases", type=int, nargs="+", choices=(1, 2, 3), default=[1, 2, 3])
    parser.add_argument("--profile", type=int, default=0, help="steps to profile")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    known = Params.read("params.yaml").recipes
    names = list((SMALL if arguments.small else PUBLISHED).items())
    recipes = {phase: known[name] for number, (phase, name) in enumerate(names, start=1) if number in arguments.phases}
    device = pick_device(arguments.device)
    print(torch.cuda.get_device_name() if device.type == "cuda" else f"{device}, {torch.get_num_threads()} threads")
    run(recipes, epochs=arguments.epochs, device=arguments.device)
    if arguments.profile:
        print(profiled(next(iter(recipes.values())), steps=arguments.profile, device=arguments.device))


if __name__ == "__main__":
    run_command(main)
