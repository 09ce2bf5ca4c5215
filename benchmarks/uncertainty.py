"""Do the intervals of wells hold the truth on plates that no model has seen, and do weights by them make better curves?

    python -m benchmarks.uncertainty [--plates 6] [--models artifacts/models]          after `make demo`
    python -m benchmarks.uncertainty --plates 8 --together 4

For each simulated cell line: new plates (other wells, cells and read-out noise than in training), half of them as in training (one
compound, 11 doses x 8 replicates, negative controls), half with six compounds of random curves (6 doses x 2 replicates, both controls).
They share microscope and staining with the training plate, so nothing is said here about another batch.
--together: sets of so many replicate plates of six compounds, scored as one screen and their first plate alone; --plates: sets a line.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.simulated import example_named, images_of, predictor_of, six_compounds
from benchmarks.truth import curves_with_truth, held, named
from models.dose_response import FitOptions, normalise_to_controls, score_limits
from models.dose_response.selection import HIT_THRESHOLD
from models.plates.prepare import join_images
from models.plates.simulate.brightfield import CELL_LINES
from models.plates.simulate.examples import Example
from models.scoring import ScoredScreen, ScoringOptions, score_images
from pipelines.command import run_command

FIRST_SEED = 1000   # far from the seeds of the example screens
FIRST_REPLICATE = 7000


def new_plates(line: str, count: int) -> Iterator[tuple[str, Example]]:
    """(design, plate) in turn: the design of the training plate, and six compounds in duplicate."""
    for number in range(count):
        seed = FIRST_SEED + number
        yield (("as trained", replace(example_named(line.lower()), seed=seed)) if number % 2 == 0 else
               ("six compounds", six_compounds(line, seed=seed)))


def wells_with_truth(scored: ScoredScreen, example: Example) -> pd.DataFrame:
    """Scored wells with what was measured in them, and the true viability; excluded: negative controls, which are 1 by definition."""
    controls = "positive" if example.controls == "both" else None
    measured = normalise_to_controls(scored.wells, value="readout", positive=controls)["viability"]
    truth = example.truth().rename(columns={"viability": "true"})[["plate", "well", "true"]]
    wells = scored.wells.assign(measured=measured).merge(truth, on=["plate", "well"])
    return wells[wells["role"] == "treated"]


def score_row(curves: pd.DataFrame) -> pd.Series:
    known = curves[curves["dss_asym_low"].notna()]
    noise = score_limits(known.drop(columns=["model_error", "control_error", "zero_at"], errors="ignore"))
    true, hit = known["dss_asym_true"], known["dss_asym_low"] >= HIT_THRESHOLD
    return pd.Series({"scores": len(known), "mean error": (known["dss_asym"] - true).mean(),
                      "noise alone holds": coverage(noise["dss_asym_low"], true, noise["dss_asym_high"]),
                      "limits hold": coverage(known["dss_asym_low"], true, known["dss_asym_high"]),
                      "median half-width": ((known["dss_asym_high"] - known["dss_asym_low"]) / 2).median(),
                      "surely hits by noise alone": (noise["dss_asym_low"] >= HIT_THRESHOLD).sum(), "surely hits": hit.sum(),
                      "of these truly below": (hit & (true < HIT_THRESHOLD)).sum(), "truly hits": (true >= HIT_THRESHOLD).sum()})


def coverage(low: pd.Series, value: pd.Series, high: pd.Series) -> float:
    return float(held(low, value, high).mean())


def well_row(wells: pd.DataFrame) -> pd.Series:
    low, high = wells["viability_low"], wells["viability_high"]
    return pd.Series({"wells": len(wells), "measured inside": coverage(low, wells["measured"], high),
                      "truth inside": coverage(low, wells["true"], high), "median half-width": ((high - low) / 2).median(),
                      "RMSE to measured": ((wells["viability"] - wells["measured"]) ** 2).mean() ** 0.5,
                      "mean error": (wells["viability"] - wells["measured"]).mean()})


def curve_row(curves: pd.DataFrame) -> pd.Series:
    error = (curves["ic50"] / curves["ic50_true"]).map(np.log10)
    closed = curves[["ic50_model_low", "ic50_model_high"]].notna().all(axis=1)
    return pd.Series({
        "curves": len(curves), "log10 RMSE": (error**2).mean() ** 0.5, "median |log10|": error.abs().median(),
        "95 % interval holds": coverage(curves["ic50_low"], curves["ic50_true"], curves["ic50_high"]),
        "median width, fold": (curves["ic50_high"] / curves["ic50_low"]).median(),
        "model limits hold": coverage(curves["ic50_model_low"], curves["ic50_true"], curves["ic50_model_high"]), "closed": closed.mean(),
        "median model width, fold": (curves["ic50_model_high"] / curves["ic50_model_low"])[closed].median()})


def run(models: Path, *, plates: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    wells, curves = [], []
    for line in CELL_LINES:
        predictor = predictor_of(models, f"viability-{line}")
        assert predictor.card.uncertainty is not None, f"{predictor.card.name} gives no interval; run the stage `evaluate` again"
        for design, example in new_plates(line, plates):
            images = images_of(example, predictor.card.recipe.input)
            for weights in ("equal", "interval"):
                options = ScoringOptions(fit=FitOptions(weights=weights))
                scored = score_images(images, example.full_layout(), screen=example.screen(), predictor=predictor, options=options,
                                      model=predictor.card.name, version=predictor.sha256[:12])
                curves.append(curves_with_truth(scored, example).assign(line=line, design=design, weights=weights))
            wells.append(wells_with_truth(scored, example).assign(line=line, design=design))
    return pd.concat(wells, ignore_index=True), pd.concat(curves, ignore_index=True)


def together(models: Path, *, sets: int, plates: int) -> pd.DataFrame:
    """Curves of replicate plates of six compounds, `plates` scored as one screen, and one of them."""
    curves = []
    for line, number in product(CELL_LINES, range(sets)):
        predictor, seed = predictor_of(models, f"viability-{line}"), FIRST_REPLICATE + 10 * number
        each = [replace(six_compounds(line, seed=seed), seed=seed + place) for place in range(plates)]     # the same curves on each
        images, layouts = [], []
        for place, example in enumerate(each):
            name, found = f"P{place + 1}", images_of(example, predictor.card.recipe.input)
            images.append(replace(found, wells=found.wells.assign(plate=name), quality=found.quality.assign(plate=name)))
            layouts.append(example.full_layout().assign(plate=name))
        for count in (1, plates):
            scored = score_images(join_images(images[:count]), pd.concat(layouts[:count], ignore_index=True), screen=each[0].screen(),
                                  predictor=predictor, model=predictor.card.name, version=predictor.sha256[:12])
            curves.append(curves_with_truth(scored, each[0]).assign(line=line, plates=count))
    return pd.concat(curves, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plates", type=int, default=6, help="new plates per cell line")
    parser.add_argument("--models", type=Path, default=Path("artifacts/models"))
    parser.add_argument("--together", type=int, default=0, help="replicate plates that are scored as one screen")
    arguments = parser.parse_args()
    if arguments.together:
        curves = together(arguments.models, sets=arguments.plates, plates=arguments.together)
        for rows, of in ((named(curves), curve_row), (curves, score_row)):
            print(pd.concat([rows.groupby(["plates"]).apply(of), rows.groupby(["plates", "line"]).apply(of)]).round(3).to_string(), "\n")
        return
    wells, curves = run(arguments.models, plates=arguments.plates)
    print("wells: 95 % interval of each treated well\n")
    print(pd.concat([wells.groupby(["line", "design"]).apply(well_row), wells.groupby(["design"]).apply(well_row)]).round(3).to_string())
    bands = pd.cut(wells["measured"], [-np.inf, 0.2, 0.4, 0.6, 0.8, np.inf])
    print("\nby measured viability\n", wells.groupby(bands, observed=True).apply(well_row).round(3).to_string(), sep="")
    print("\nIC50 within the tested doses, wells weighted equally or by their interval\n")
    equally, chosen = curves[curves["weights"] == "equal"], named(curves)
    print(pd.concat([chosen.groupby(["design", "weights"]).apply(curve_row),
                     named(equally).groupby(["line", "design"]).apply(curve_row)]).round(3).to_string())
    print("\nDSS_asym: its limits (each kept 9 times in 10, so together 8), and hits\n")
    print(pd.concat([equally.groupby("design").apply(score_row), equally.groupby(["line", "design"]).apply(score_row)])
          .round(3).to_string())


if __name__ == "__main__":
    run_command(main)
