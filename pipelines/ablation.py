"""What pre-training is worth: phase II of a sample again from the starting weights alone, and from phase I of several lengths.

    python -m pipelines.ablation profile-PAT_1 [--lengths 0 5 15 50] [--out artifacts/ablation]

MODEL is a phase-II model of system profile whose parent is a phase-I model. Writes epochs.csv (validation loss of phase II by epoch), the
table ablation.csv (the lowest of it, and the cross-fitted metrics) and ablation.png (Berker et al., figure 5). Losses are means over the
final training and the folds of phase II, each with its own validation wells, because the few of one alone say little. A recipe without
validation wells gives an eighth of its controls for this.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from models.dose_response.plots import GREY, PALETTE
from models.errors import InputError
from models.networks.evaluate import control_metrics
from models.networks.fitting import fit_model
from models.networks.heads import Network, build_network
from models.networks.recipe import Recipe
from models.networks.starts import read_start
from models.networks.train import smoothed_floor
from pipelines.command import add_places, run_command, whole_number
from pipelines.figures import save_figure
from pipelines.params import Params
from pipelines.prepared import PreparedScreen, read_prepared, sound_wells


@dataclass(frozen=True)
class Pretraining:
    """Where phase II starts. name: as the figure calls it; phase_1: epochs of phase I."""

    name: str
    phase_1: int
    network: Network


def phase_two(start: Pretraining, data: PreparedScreen, recipe: Recipe, *, device: str) -> tuple[pd.DataFrame, dict[str, object]]:
    """(rows: pretraining, epoch, validation_loss, loss; the summary) of phase II from this start."""
    told: list[dict[str, object]] = []
    fitted = fit_model(start.network, data.images, data.layout, recipe, device=device,
                       on_epoch=lambda run, record: told.append({"run": run, **record}))
    epochs = pd.DataFrame(told).groupby("epoch")[["loss", "validation_loss"]].mean().reset_index()
    if epochs["validation_loss"].isna().all():
        raise InputError("the phase-II recipe has no validation wells (split.validation: 0), so there is no validation loss to compare")
    own = fitted.predictions
    values = "prediction_cv", "logit_cv"
    found = control_metrics(own["target"].to_numpy(float), *(own[name].to_numpy(float) for name in values))
    best = int(epochs["validation_loss"].to_numpy(float).argmin())
    summary = {"pretraining": start.name, "phase_1_epochs": start.phase_1, "at_epoch": best + 1,
               "lowest_validation_loss": float(epochs["validation_loss"].iloc[best]),
               **{f"{name}_cv": found[name] for name in ("accuracy", "auroc", "z_prime")}}
    return epochs.assign(pretraining=start.name), summary


def pretrainings(trunk: Path, first: PreparedScreen, recipe_1: Recipe, recipe_2: Recipe, *, lengths: list[int],
                 device: str) -> Iterator[Pretraining]:
    """Random weights; then, from the starting weights in `trunk`, phase I of each length (0 = the starting weights alone)."""
    start = read_start(trunk, recipe_2)
    if not start.trunk.weights.startswith("none"):
        yield Pretraining("nothing", 0, build_network(recipe_2))
    for length in sorted(set(lengths)):
        network = read_start(trunk, recipe_1).network
        if length:
            shorter = replace(recipe_1, optimizer=replace(recipe_1.optimizer, epochs=length))
            network = fit_model(network, first.images, first.layout, shorter, device=device).network
        twin = build_network(recipe_2)
        twin.trunk.load_state_dict(network.trunk.state_dict())
        if recipe_1.head == recipe_2.head and length:
            twin.head.load_state_dict(network.head.state_dict())
        yield Pretraining(f"{start.trunk.weights} + phase I, {length} epochs" if length else start.trunk.weights, length, twin)


def draw(epochs: pd.DataFrame, *, floor: float, title: str) -> Figure:
    """Validation loss of phase II by epoch, a line per pre-training; the lowest loss that smoothed labels allow is dashed."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, (name, rows) in enumerate(epochs.groupby("pretraining", sort=False)):
        axes.plot(rows["epoch"] + 1, rows["validation_loss"], color=PALETTE[number % len(PALETTE)], label=str(name), linewidth=1.4)
    axes.axhline(floor, color=GREY, linestyle="--", linewidth=1, label=f"lowest possible ({floor:.4f})")
    axes.set(xlabel="epoch of phase II", ylabel="validation loss", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7, title="pre-training", title_fontsize=7)
    return figure


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a phase-II model in the section `models` of params.yaml")
    parser.add_argument("--lengths", type=whole_number(0), nargs="+",
                        help="epochs of phase I; default: none, a tenth, a third and all of its recipe's")
    add_places(parser)
    parser.add_argument("--out", type=Path, default=Path("artifacts/ablation"),
                        help="folder for the table and the figure (default: %(default)s)")
    arguments = parser.parse_args()
    params, root = Params.read(arguments.params), arguments.artifacts
    name, first = arguments.model, phase_one_of(params, arguments.model)
    recipe_1, recipe_2, device = params.recipe_of(first), with_validation(params.recipe_of(name)), params.train.device
    plate_1, plate_2 = (sound_wells(read_prepared(arguments.data / screen, root / "prepared" / screen), params.image_quality)
                        for screen in (params.model(first).screen, params.model(name).screen))
    whole = recipe_1.optimizer.epochs
    starts = pretrainings(root / params.model(first).parent, plate_1, recipe_1, recipe_2, device=device,
                          lengths=arguments.lengths or [0, max(1, whole // 10), max(1, whole // 3), whole])
    found = [phase_two(start, plate_2, recipe_2, device=device) for start in tqdm(starts, unit="pre-training", desc="ablation")]
    table, epochs = pd.DataFrame([summary for _, summary in found]), pd.concat([rows for rows, _ in found], ignore_index=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.round(6).to_csv(arguments.out / "ablation.csv", index=False)
    epochs.round(6).to_csv(arguments.out / "epochs.csv", index=False)
    figure = draw(epochs, floor=smoothed_floor(recipe_2.label_smoothing), title=f"phase II of {name}")
    save_figure(figure, arguments.out / "ablation.png")
    print(f"{table.round(4).to_string(index=False)}\n\n{arguments.out}")


def with_validation(recipe: Recipe) -> Recipe:
    """The recipe, with an eighth of its units to validate by where it has none."""
    has = recipe.split.validation or recipe.split.validation_wells
    return recipe if has else replace(recipe, split=replace(recipe.split, validation=0.125))


def phase_one_of(params: Params, name: str) -> str:
    """The phase-I parent of a phase-II model. Raises InputError where `name` is no such model."""
    section, parent = params.model(name).descent
    if section != "models" or any(params.recipe_of(model).target != "control_class" for model in (name, parent)):
        raise InputError(f"'{name}' is no phase-II model: it must learn a screen's controls from a parent that learned a control plate's")
    return parent


if __name__ == "__main__":
    run_command(main)
