"""A new patient whose plate went wrong: does the model that was adapted to it know?

    python -m benchmarks.new_patient [--patients 3] [--only positive] [--models artifacts/models]          after `make demo`

Simulated patients (other looks and random curves, two plates of 8 + 8 controls, as benchmarks.control_classifiers) are adapted from the
demo's phase I by the recipe of its patient 1 and scored, as a job with `adapt` does: as they should be, with positive controls that leave
cells alive, at another magnification, and out of focus. `wrong` are curves that are `ok` though their IC50 or score lies outside its own
limits, and hits and "no hits" that are none.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.batches import OPTICS, Seen
from benchmarks.simulated import another_patient, images_of, predictor_of
from benchmarks.truth import held, true_dss
from models.dose_response import call_hits
from models.dose_response.selection import HIT_THRESHOLD
from models.networks.bundle import read_card, trunk_finder
from models.networks.fitting import fit_model
from models.networks.observe import observe
from models.networks.predict import Predictor
from models.networks.starts import draft_card, read_start
from models.plates.quality import QualityLimits
from models.scoring import ScoredScreen, score_images
from pipelines.command import run_command

PARENT, SIBLING, FIRST_SEED = "profile-INF_R_153_CE", "profile-PAT_1", 4000
ALIVE = {"as it should be": 0.0, "positive control leaves 30 % alive": 0.3, "positive control leaves 50 % alive": 0.5}
CHANGES = (*ALIVE, *(name for name in OPTICS if name.startswith(("magnified x 0.5", "magnified x 0.7", "magnified x 1.4", "blur"))))


@dataclass(frozen=True, kw_only=True)
class Visit(Seen):
    """A patient's plates; alive: true viability of the positive controls, which layout and controls take for 0."""

    alive: float = 0.0

    def truth(self) -> pd.DataFrame:
        found = super().truth()
        return found.assign(viability=found["viability"].mask(self.layout["role"] == "positive", self.alive))


def visit(number: int, change: str) -> Visit:
    made = another_patient(f"PAT_C{number}", seed=FIRST_SEED + number)
    return Visit(**{one.name: getattr(made, one.name) for one in fields(made)}, alive=ALIVE.get(change, 0.0),
                 optics=OPTICS.get(change, OPTICS["as in training"]))


def adapted(example: Visit, models: Path, parent: Predictor) -> ScoredScreen:
    """The patient's own model, and what it says of the plates that it learned from."""
    recipe, screen, layout = read_card(models / SIBLING).recipe, example.screen(), example.full_layout()
    images = images_of(example, recipe.input)
    start = read_start(models / PARENT, recipe, find_trunk=trunk_finder([models, models.parent / "trunks"]))
    fitted = fit_model(start.network, images, layout, recipe, device="cpu")
    card = draft_card("profile", recipe, screen, start, fitted, image_quality=QualityLimits(), lineage={"screen": screen.name})
    own = Predictor(fitted.network, observe(card, fitted, images, layout), "0" * 64, torch.device("cpu"))
    return score_images(images, layout, screen=screen, predictor=own, model="profile", version="1", parent=parent)


def row(example: Visit, scored: ScoredScreen) -> dict[str, object]:
    true = example.true_curves()
    curves = call_hits(scored.curves).merge(true[["treatment", "ic50", "ic50_relation"]], on="treatment", suffixes=("", "_true"))
    dss, ok = curves["treatment"].map(true_dss(true)), curves["status"] == "ok"
    ic50 = curves["ic50_true"].where(curves["ic50_relation_true"] == "=", np.inf)     # none acts below the lowest dose
    within = held(curves["ic50_model_low"], ic50, curves["ic50_model_high"])
    decided = ~curves["hit_reason"].str.startswith(("undecided", "no score"))
    rules = {finding.rule for finding in scored.findings}
    return {"told": bool(rules & {"drift", "structure_size", "below_controls"}), "ok": int(ok.sum()),
            "IC50 wrong": int((ok & (curves["ic50_relation"] == "=") & ~within).sum()),
            "score wrong": int((ok & ~dss.between(curves["dss_asym_low"], curves["dss_asym_high"])).sum()),
            "true hits": int((dss >= HIT_THRESHOLD).sum()), "hits": int(curves["hit"].sum()),
            "of these none": int((curves["hit"] & (dss < HIT_THRESHOLD)).sum()), "no hits": int((decided & ~curves["hit"]).sum()),
            "of these hits": int((decided & ~curves["hit"] & (dss >= HIT_THRESHOLD)).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=3)
    parser.add_argument("--only", default="", help="changes whose names hold this")
    parser.add_argument("--models", type=Path, default=Path("artifacts/models"))
    arguments = parser.parse_args()
    models: Path = arguments.models
    parent = predictor_of(models, PARENT)
    cases = [(change, number) for change in CHANGES if arguments.only in change for number in range(arguments.patients)]
    rows = [{"change": change, **row(example := visit(number, change), adapted(example, models, parent))}
            for change, number in tqdm(cases, unit="patient")]
    print(pd.DataFrame(rows).groupby("change", sort=False).sum().to_string())


if __name__ == "__main__":
    run_command(main)
