"""Another batch of cells, another day at the microscope: how wrong do scores get, and is it said?

    python -m benchmarks.batches [--plates 2] [--only magnified] [--models artifacts/models]          after `make demo`
    python -m benchmarks.batches --plate FOLDER

New plates of each simulated cell line (six compounds, as in benchmarks.uncertainty) and of patient 1 (spheroids, 15 drugs), as the sample's
model learned to see them and changed in one way each: light and camera, or the cells of a line. Limits are measured on training screens
and cannot hold what these never showed; so what counts is that such a plate is told: `wrong and unsaid` are IC50s outside their limits
"with the model's error" on plates without a warning about their images.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, zoom
from tqdm import tqdm

from benchmarks.at_hand import bring_in
from benchmarks.simulated import example_named, images_of, predictor_of, six_compounds
from benchmarks.truth import curves_with_truth, held, named
from models.dose_response.selection import HIT_THRESHOLD
from models.networks.structure import structure_of
from models.plates.images import PlateArchive
from models.plates.projections import project, resize_area
from models.plates.simulate.brightfield import CELL_LINES, CellLine
from models.plates.simulate.examples import Example, random_curves
from models.scoring import score_images
from pipelines.command import run_command

PATIENT = "PAT_1"
FIRST_SEED = 3000   # far from the seeds of the example screens, and of the other benchmarks
OF_IMAGES = {"drift", "structure_size", "out_of_distribution", "saturated_output", "inverted"}    # the model knows no such images

Optics = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Seen(Example):
    """An example whose images went through other optics, which see grey values of 8 bits: cameras of spheroids have 12."""

    optics: Optics

    def images(self, plate: str) -> Iterator[tuple[str, np.ndarray]]:
        for number, (well, pixels) in enumerate(super().images(plate)):
            rng, scale = np.random.default_rng([self.seed, number]), 1 if pixels.dtype == np.uint8 else 16
            planes = pixels.reshape(-1, *pixels.shape[-2:]) / scale
            changed = scale * np.stack([self.optics(plane, rng) for plane in planes]).reshape(pixels.shape)
            yield well, np.clip(np.round(changed), 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def magnified(pixels: np.ndarray, factor: float) -> np.ndarray:
    """The middle of the image larger, or the image smaller with its mirrored surroundings; of the same size."""
    size = pixels.shape[0]
    if factor < 1:
        rest = size - round(factor * size)
        return np.pad(resize_area(pixels, size - rest), ((rest // 2, rest - rest // 2),) * 2, mode="symmetric")
    found = zoom(pixels, factor, order=1)
    start = (found.shape[0] - size) // 2
    return found[start:start + size, start:start + size]


def contrast(pixels: np.ndarray, factor: float) -> np.ndarray:
    middle = np.median(pixels)
    return middle + factor * (pixels - middle)


def still(change: Callable[[np.ndarray], np.ndarray]) -> Optics:
    """Optics without chance."""
    return lambda pixels, _: change(pixels)


def noisy(pixels: np.ndarray, rng: np.random.Generator, *, sd: float) -> np.ndarray:
    return pixels + rng.normal(0, sd, pixels.shape)


OPTICS: dict[str, Optics] = {
    "as in training": still(np.asarray),
    **{f"light x {factor:g}": still(partial(np.multiply, factor)) for factor in (0.7, 0.85, 1.15)},
    **{f"contrast x {factor:g}": still(partial(contrast, factor=factor)) for factor in (0.6, 0.8, 1.25)},
    **{f"blur, SD {sd:g} px": still(partial(gaussian_filter, sigma=sd)) for sd in (0.6, 1.0, 1.5)},
    **{f"noise, SD {sd:g}": partial(noisy, sd=sd) for sd in (3, 6)},
    **{f"magnified x {factor:g}": still(partial(magnified, factor=factor)) for factor in (0.5, 0.7, 0.9, 1.1, 1.4, 2)}}


def seeded(line: CellLine, *, factor: float) -> CellLine:
    return replace(line, cells=round(factor * line.cells))


def grown(line: CellLine, *, factor: float) -> CellLine:
    return replace(line, radius=factor * line.radius)


def staying(line: CellLine, *, more: float) -> CellLine:
    return replace(line, dead_stay=min(max(line.dead_stay + more, 0.0), 1.0))


CELLS: dict[str, Callable[[CellLine], CellLine]] = {
    **{f"cells seeded x {factor:g}": partial(seeded, factor=factor) for factor in (0.6, 0.8, 1.25)},
    **{f"cells' radius x {factor:g}": partial(grown, factor=factor) for factor in (0.85, 1.15)},
    "dead cells stay, + 0.2": partial(staying, more=0.2), "dead cells stay, - 0.2": partial(staying, more=-0.2),
    "debris x 2": lambda line: replace(line, debris=2 * line.debris)}


def plates_of(sample: str, batch: str, count: int) -> Iterator[Seen]:
    """New plates of a cell line or of patient 1, the same wells and curves in every batch."""
    line = CELL_LINES.get(sample)
    for number in range(count):
        seed = FIRST_SEED + number
        if line:
            made = replace(six_compounds(sample, seed=seed), lines={sample: CELLS[batch](line) if batch in CELLS else line})
        else:
            base = example_named("patient-1")
            made = replace(base, curves=random_curves(base.layout, seed=seed), seed=seed)
        fields = {name: getattr(made, name) for name in Example.__dataclass_fields__}
        yield Seen(**fields, optics=OPTICS.get(batch, OPTICS["as in training"]))


def run(models: Path, *, plates: int, only: str = "") -> pd.DataFrame:
    """A row per curve: batch, sample, plate, what came out, whether the plate is told, by the size of what it shows (resized) or at all, or
    its results withheld, and rmse of its wells. only: what is in the names of the batches.
    """
    rows = []
    for batch in tqdm([name for name in (*OPTICS, *CELLS) if only in name], desc="batches", unit="batch"):
        for sample in (*CELL_LINES, *([PATIENT] if batch in OPTICS else [])):
            predictor = predictor_of(models, f"{'profile' if sample == PATIENT else 'viability'}-{sample}")
            for example in plates_of(sample, batch, plates):
                scored = score_images(images_of(example, predictor.card.recipe.input), example.full_layout(), screen=example.screen(),
                                      predictor=predictor, model=predictor.card.name, version="1")
                wells = scored.wells.merge(example.truth()[["plate", "well", "viability"]], on=["plate", "well"], suffixes=("", "_true"))
                error = (wells["viability"] - wells["viability_true"])[wells["role"] == "treated"]
                rules = {finding.rule for finding in scored.findings}
                rows.append(curves_with_truth(scored, example).assign(
                    batch=batch, sample=sample, plate=f"{batch} {sample} {example.seed}", told=bool(rules & OF_IMAGES),
                    resized="structure_size" in rules, withheld=bool(scored.curves["status"].eq("failed").all()),
                    rmse=float((error**2).mean() ** 0.5)))
    return pd.concat(rows, ignore_index=True)


def batch_row(curves: pd.DataFrame) -> pd.Series:
    """What came out of a batch."""
    within = named(curves)
    outside = ~held(within["ic50_model_low"], within["ic50_true"], within["ic50_model_high"])
    off = 10 ** (within["ic50"] / within["ic50_true"]).map(np.log10).abs()
    scores = curves[curves["dss_asym_low"].notna()]
    plates = curves.drop_duplicates("plate")
    return pd.Series({
        "RMSE of wells": plates["rmse"].mean(), "plates told": plates["told"].mean(), "of another size": plates["resized"].mean(),
        "withheld": plates["withheld"].mean(),
        "told or withheld": (plates["told"] | plates["withheld"]).mean(), "IC50s": len(within), "off by (median)": off.median(),
        "by (worst)": off.max(), "outside their limits": outside.sum(), "wrong and unsaid": (outside & ~within["told"]).sum(),
        "limits of scores hold": held(scores["dss_asym_low"], scores["dss_asym_true"], scores["dss_asym_high"]).mean(),
        "surely hits": (scores["dss_asym_low"] >= HIT_THRESHOLD).sum(),
        "of these truly below": ((scores["dss_asym_low"] >= HIT_THRESHOLD) & (scores["dss_asym_true"] < HIT_THRESHOLD)).sum()})


def real_fields(source: Path, *, size: int = 96) -> pd.DataFrame:
    """Of the negative controls of a real plate, by channel: a quarter of their fields is learned from; the size is told of what their other
    corners show, in as many pixels, at several magnifications. Share of 12 pairs of quarters that are told, and the sizes, median.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        screen, layout, archives = bring_in(source, Path(folder))
        with PlateArchive(archives[0]) as archive:
            for number, channel in enumerate(screen.channels):
                fields = [project(archive.read_stack(well, site=1, channel=number), "mip")
                          for well in layout.loc[layout["role"] == "negative", "well"]]
                corners = {(factor, flip): [resize_area(field[::flip[0], ::flip[1]][:side, :side], size) for field in fields]
                           for factor in (0.5, 0.7, 0.9, 1.0, 1.1, 1.4, 2.0) for side in [round(len(fields[0]) / 2 / factor)]
                           for flip in product((1, -1), repeat=2)}
                for (one, own), (factor, other) in product(corners, repeat=2):
                    if one == 1 and own != other and (known := structure_of(corners[one, own])):
                        found = float(np.median(known.sizes(corners[factor, other])))
                        rows.append({"channel": channel.name, "magnified": factor, "size": found,
                                     "told": abs(np.log(found)) > np.log(known.limit(len(fields)))})
    return pd.DataFrame(rows).groupby(["channel", "magnified"], sort=False).agg(told=("told", "mean"), size=("size", "median"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plates", type=int, default=2, help="new plates per sample and batch")
    parser.add_argument("--only", default="", help="batches whose names hold this, such as magnified")
    parser.add_argument("--models", type=Path, default=Path("artifacts/models"))
    parser.add_argument("--plate", type=Path, help="a real plate, as add_screen reads it: how large its structures are told to be, no more")
    arguments = parser.parse_args()
    if arguments.plate:
        print(real_fields(arguments.plate).round(2).to_string())
        return
    curves = run(arguments.models, plates=arguments.plates, only=arguments.only)
    spheroids = curves["sample"] == PATIENT
    for title, part in (("cell lines", curves[~spheroids]), ("spheroids", curves[spheroids])):
        if part.empty:
            continue
        print(f"\n{title}\n")
        print(pd.concat([part.groupby("batch", sort=False).apply(batch_row), batch_row(part).to_frame("all").T]).round(2).to_string())


if __name__ == "__main__":
    run_command(main)
