"""How many wells does a model need? Its head trained on ever more of them, again and again, and judged by wells that it did not see.

    python -m pipelines.sample_size viability-A549 [--draws 30] [--sizes 6] [--out artifacts/sample_size]

A hundred heads and more on the features of one frozen trunk train as one batched computation (models/networks/sample_size.py). Writes
<model>.csv (a row per draw and size), <model>.png, and prints what the last wells brought: whether a plate wants more controls, or a line
more wells with a read-out, or fewer would do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from models.dose_response.plots import GREY, PALETTE
from models.networks.sample_size import refuse_whole, sample_sizes
from models.networks.starts import read_start
from pipelines.command import add_places, run_command, whole_number
from pipelines.figures import save_figure
from pipelines.params import Params
from pipelines.prepared import PreparedScreen, read_source, sound_wells

NAMES = {"r2": "r2 of unseen wells", "rmse": "RMSE of unseen wells, read-out", "z_prime": "Z' of unseen controls",
         "accuracy": "accuracy on unseen images", "auroc": "AUROC of unseen wells"}
BAND = (0.1, 0.9)       # of the draws


def over_draws(table: pd.DataFrame) -> pd.DataFrame:
    """A row per size: wells, draws, and of each metric its median and the limits between which four of five draws lie (_low, _high)."""
    metrics = [name for name in NAMES if name in table]
    groups = table.groupby("wells")
    found = [groups.size().rename("draws")]
    for name in metrics:
        found += [groups[name].median().rename(name), *(groups[name].quantile(share).rename(f"{name}_{end}")
                                                        for share, end in zip(BAND, ("low", "high"), strict=True))]
    return pd.concat(found, axis=1).reset_index()


def in_words(sizes: pd.DataFrame) -> str:
    """What the most wells gave, and what they brought over about half as many."""
    name = next(name for name in NAMES if name in sizes)
    most = sizes.iloc[-1]
    half = sizes.iloc[(sizes["wells"] - most["wells"] / 2).abs().argmin()]
    text = (f"{NAMES[name]}: {most[name]:.3f} with {most['wells']:.0f} to learn from "
            f"({most[f'{name}_low']:.3f} to {most[f'{name}_high']:.3f} in four of five draws)")
    more = most["wells"] - half["wells"]
    brought = f", {half[name]:.3f} with {half['wells']:.0f}: the last {more:.0f} brought {most[name] - half[name]:+.3f}"
    return text + brought if more else text


def draw_sizes(sizes: pd.DataFrame, *, title: str) -> Figure:
    """Each metric by the number of wells that taught: the median, and the band of four in five draws."""
    metrics = [name for name in NAMES if name in sizes]
    figure = Figure(figsize=(4.4 * len(metrics), 3.6), layout="constrained")
    for number, (name, axes) in enumerate(zip(metrics, figure.subplots(1, len(metrics)), strict=True)):
        axes.fill_between(sizes["wells"], sizes[f"{name}_low"], sizes[f"{name}_high"], color=PALETTE[number], alpha=0.2, linewidth=0,
                          label="four of five draws")
        axes.plot(sizes["wells"], sizes[name], color=PALETTE[number], marker="o", markersize=4, linewidth=1.4, label="median")
        axes.set(xlabel="wells to learn from", ylabel=NAMES[name])
        axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model on a frozen trunk, in the section `models` of params.yaml")
    parser.add_argument("--draws", type=whole_number(1), default=30,
                        help="random choices of wells per number of wells (default: %(default)s)")
    parser.add_argument("--sizes", type=whole_number(2), default=6, help="how many numbers of wells, evenly spread on a logarithmic scale")
    add_places(parser)
    parser.add_argument("--out", type=Path, default=Path("artifacts/sample_size"),
                        help="folder for the table and the figure (default: %(default)s)")
    arguments = parser.parse_args()
    params = Params.read(arguments.params)
    spec = params.model(arguments.model)
    recipe = params.recipe_of(arguments.model)
    refuse_whole(recipe)
    data = read_source(arguments.data / spec.screen, arguments.artifacts / "prepared" / spec.screen)
    data = sound_wells(data, params.image_quality) if isinstance(data, PreparedScreen) else data
    start = read_start(arguments.artifacts / spec.parent, recipe)
    with tqdm(unit="epoch", desc=f"heads of {arguments.model}", disable=None) as bar:     # None: no bar in a log
        def on_epochs(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        table = sample_sizes(start.network, data.images, data.layout, recipe, draws=arguments.draws, sizes=arguments.sizes,
                             device=params.train.device, on_epochs=on_epochs)
    sizes = over_draws(table)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.round(6).to_csv(arguments.out / f"{arguments.model}.csv", index=False)
    picture = arguments.out / f"{arguments.model}.png"
    save_figure(draw_sizes(sizes, title=f"{arguments.model}: {arguments.draws} draws of each size"), picture)
    print(f"{sizes.round(3).to_string(index=False)}\n\n{in_words(sizes)}\n{picture}")


if __name__ == "__main__":
    run_command(main)
