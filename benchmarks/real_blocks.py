"""BBBC013's two blocks as two "lines": every block's model on every block, for three label smoothings, on both scales.

    python -m benchmarks.real_blocks [--smoothing 0 0.1 0.4] [--input gfp_224]

Needs BBBC013 (DOSEWELL_SHARED) and ImageNet weights (DOSEWELL_WEIGHTS).

Frozen ImageNet MobileNetV2, one linear head a block on its own controls (recipe controls_mobilenet). On its own block a model is judged by
cross-fitted predictions, a row left out at a time. EC50s are of the final model's wells, as the product scores them (probability), and of
the same curve on logits.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from benchmarks.at_hand import IMAGENET, imagenet_network, shared
from models.dose_response import FitOptions, fit_curves, normalise_to_controls
from models.networks.backbones import state_sha256
from models.networks.bundle import TrunkReference
from models.networks.fitting import Fitted, fit_model
from models.networks.predict import Predictor
from models.networks.recipe import Recipe
from models.networks.starts import Start, draft_card
from models.plates.quality import QualityLimits
from pipelines import add_screen, compare, prepare
from pipelines.command import run_command
from pipelines.params import Params
from pipelines.prepared import PreparedScreen, read_prepared

BLOCKS = {"wortmannin": "A-D", "ly294002": "E-H"}
SHOWN = ["smoothing", "model", "screen", "relation", "accuracy", "auroc", "z_prime", "z_prime_logit", "ssmd", "ssmd_logit"]


def blocks_of(plate: Path, recipe: Recipe, folder: Path) -> dict[str, PreparedScreen]:
    """Both blocks, brought in and prepared by the product's commands."""
    found = {}
    for name, rows in BLOCKS.items():
        with contextlib.redirect_stdout(sys.stderr):    # what it says of the plate is no part of the tables
            add_screen.main([str(plate), "--name", name, "--rows", rows, "--sample", name, "--assay", "FKHR-EGFP translocation",
                             "--out", str(folder / "data")])
        prepare.run(folder / "data" / name, recipe.input, folder / "prepared" / name, kept=folder / "kept" / name)
        found[name] = read_prepared(folder / "data" / name, folder / "prepared" / name)
    return found


def trained(data: PreparedScreen, recipe: Recipe) -> tuple[Fitted, Predictor]:
    network = imagenet_network(recipe)
    known = TrunkReference(name=recipe.trunk.name, weights=IMAGENET, sha256=state_sha256(network.trunk.state_dict()))
    start = Start(network, known, None)
    fitted = fit_model(network, data.images, data.layout, recipe, device="cpu")
    card = draft_card(data.screen.name, recipe, data.screen, start, fitted, image_quality=QualityLimits(),
                      lineage={"screen": data.screen.name})
    return fitted, Predictor(fitted.network, card, "0" * 64, torch.device("cpu"))


def midpoints(predictor: Predictor, data: PreparedScreen) -> list[dict[str, object]]:
    """EC50 of the block's drug by this model, on both scales."""
    raw = predictor.predict(data.images).groupby(["plate", "well"])[["probability", "logit"]].median().reset_index()
    wells = data.layout.merge(raw, on=["plate", "well"])
    rows: list[dict[str, object]] = []
    for scale in ("probability", "logit"):
        treated = normalise_to_controls(wells, value=scale).query("role == 'treated'")
        curve = fit_curves(treated.assign(inhibition=100 * (1 - treated["viability"])), by="treatment", response="inhibition",
                           scale="percent_inhibition", options=FitOptions()).iloc[0]
        rows.append({"scale": scale, **{name: curve[name] for name in ("treatment", "ec50", "ec50_low", "ec50_high", "slope", "status")}})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoothing", type=float, nargs="+", default=[0.0, 0.1, 0.4])
    parser.add_argument("--input", default="gfp_224", help="how images are prepared: gfp_224 (the recipe's own) or gfp_dna_224")
    arguments = parser.parse_args()
    params = Params.read("params.yaml")
    base = replace(params.recipes["controls_mobilenet"], input=params.inputs[arguments.input])
    plate = shared("bbbc013")
    matrix, curves = [], []
    with tempfile.TemporaryDirectory() as folder:
        screens = blocks_of(plate, base, Path(folder))
        for smoothing in arguments.smoothing:
            found = {name: trained(data, replace(base, label_smoothing=smoothing)) for name, data in screens.items()}
            predictors = {name: predictor for name, (_, predictor) in found.items()}
            own = {name: fitted.predictions for name, (fitted, _) in found.items()}
            matrix.append(compare.run(predictors, screens, own).matrix.assign(smoothing=smoothing))
            curves += [{"smoothing": smoothing, "model": model, "screen": screen, **row} for model, predictor in predictors.items()
                       for screen, data in screens.items() for row in midpoints(predictor, data)]
    print(pd.concat(matrix)[SHOWN].round(3).to_string(index=False))
    print(pd.DataFrame(curves).round(3).to_string(index=False))


if __name__ == "__main__":
    run_command(main)
