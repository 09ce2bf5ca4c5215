"""Are single doses called as promised? Simulated primary screens of read-outs with known truth, seeded.

    python -m benchmarks.single_doses [--screens 200]
    python -m benchmarks.single_doses --models artifacts/models [--screens 5]       after `make demo`

Prints the table for docs/primary_screens.md: how often a screen in which nothing acts has any call (promised: at most 1 in 20), which share
of all calls is false (promised: at most 1 in 20), how often the limits of a row hold its truth (19 in 20), and how often treatments of
known effect are called a hit, or at least an effect. Each screen has 300 treatments at one dose; in the mixed one a tenth of them act.
With --models the example's primary screen of each simulated cell line instead, read from its images by the line's model.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.simulated import images_of, predictor_of
from models.effects import with_viability
from models.plates.simulate.brightfield import CELL_LINES
from models.plates.simulate.examples import further_examples
from models.scoring import score_images
from models.single_doses import single_doses
from models.wells import wells_of
from pipelines.command import run_command

TREATMENTS = 300
EFFECTS = (20.0, 40.0, 60.0, 80.0, 95.0)    # % inhibition, six treatments each


@dataclass(frozen=True, kw_only=True)
class Design:
    """wells: of each treatment, each on a plate of its own; controls: of each kind on a plate; even, in_proportion: scatter of viability,
    the latter relative to it; tails: degrees of freedom of Student's t that wells scatter by, 0 for Gauss.
    """

    name: str
    wells: int = 2
    controls: int = 16
    even: float = 0.06
    in_proportion: float = 0.0
    tails: int = 0


DESIGNS = (Design(name="2 wells, 16 controls of each kind"), Design(name="1 well", wells=1), Design(name="3 wells", wells=3),
           Design(name="2 wells, 4 controls of each kind", controls=4), Design(name="2 wells, scatter 10 %", even=0.10),
           Design(name="2 wells, scatter 8 % of what lives + 2 %", even=0.02, in_proportion=0.08),
           Design(name="2 wells, far outliers (Student's t of 3)", tails=3))


def screen(design: Design, *, acting: bool, seed: int) -> pd.DataFrame:
    """Wells with read-outs, and `truth`, the true % inhibition of each."""
    rng = np.random.default_rng(seed)
    effects = np.repeat(EFFECTS, TREATMENTS // 10 // len(EFFECTS)) if acting else np.empty(0)
    truth = np.concatenate([effects, np.zeros(TREATMENTS - len(effects))])
    controls = np.repeat([0.0, 100.0], design.controls)
    names = [""] * len(controls) + [f"t{number}" for number in range(TREATMENTS)]
    roles = ["negative"] * design.controls + ["positive"] * design.controls + ["treated"] * TREATMENTS
    places = np.random.default_rng(7).permutation(list(wells_of(384)))[:len(roles)]
    plates = []
    for plate in range(design.wells):
        inhibition = np.concatenate([controls, truth])
        alive = 1 - inhibition / 100
        draw = rng.standard_t(design.tails, len(alive)) / 3**0.5 if design.tails else rng.normal(size=len(alive))
        read = 0.1 + 1.4 * (alive + draw * (design.even + design.in_proportion * alive))
        plates.append(pd.DataFrame({"plate": f"P{plate + 1}", "well": places, "role": roles,
                                    "treatment": names, "dose": np.where(np.array(names) == "", np.nan, 1000.0),
                                    "dose_unit": np.where(np.array(names) == "", "", "nM"), "readout": read, "truth": inhibition}))
    table = pd.concat(plates, ignore_index=True)
    return table.assign(excluded=False, flags=pd.Series([[]] * len(table), dtype=object))


def judged(design: Design, *, acting: bool, seed: int) -> pd.DataFrame:
    """SingleDoses with `truth`."""
    wells = screen(design, acting=acting, seed=seed)
    found = single_doses(with_viability(wells, controls="both", value="readout"), {}, controls="both", value="readout")
    return found.assign(truth=found["treatment"].map(wells.groupby("treatment")["truth"].first()))


def measure(design: Design, screens: int) -> dict[str, object]:
    """A row of the table."""
    still = [judged(design, acting=False, seed=seed) for seed in range(screens)]
    mixed = pd.concat([judged(design, acting=True, seed=seed).assign(screen=seed) for seed in range(screens)])
    called = mixed["call"].isin(("hit", "effect", "growth")).astype(int)
    false = called.where(mixed["truth"] == 0, 0).groupby(mixed["screen"]).sum() / called.groupby(mixed["screen"]).sum().clip(lower=1)
    inside = (mixed["inhibition_low"] <= mixed["truth"]) & (mixed["truth"] <= mixed["inhibition_high"])
    hits = (mixed["call"] == "hit").groupby(mixed["truth"]).mean()
    effects = mixed["call"].isin(("hit", "effect")).groupby(mixed["truth"]).mean()
    return {"screen": design.name, "nothing acts: screens with a call": np.mean([(one["call"] != "none").any() for one in still]),
            "false among the calls": false.mean(), "limits hold": inside.mean(),
            **{f"hit at {effect:g} %": hits[effect] for effect in EFFECTS[1:]},
            **{f"effect at {effect:g} %": effects[effect] for effect in EFFECTS[:3]}}


def from_images(models: Path, screens: int) -> pd.DataFrame:
    """A row per cell line: what its model makes of the images of so many primary screens (72 treatments on two plates, 8 of them act)."""
    rows = []
    for line, look in CELL_LINES.items():
        predictor = predictor_of(models, f"viability-{line}")
        for seed in range(1, screens + 1):
            primary = next(example for example in further_examples(seed=seed) if example.name.startswith("primary"))
            example = replace(primary, sample=line, lines={line: look})
            scored = score_images(images_of(example, predictor.card.recipe.input), example.layout, screen=example.screen(),
                                  predictor=predictor, model=predictor.card.name, version="1")
            true = 100 * (1 - example.truth()["viability"].groupby(example.layout["treatment"]).mean())
            rows.append(scored.single_doses.assign(line=line, truth=scored.single_doses["treatment"].map(true)))
    return pd.DataFrame({line: image_row(part) for line, part in pd.concat(rows).groupby("line")}).T


def image_row(found: pd.DataFrame) -> pd.Series:
    """found: SingleDoses of one cell line with `truth`, % inhibition."""
    inside = (found["inhibition_low"] <= found["truth"]) & (found["truth"] <= found["inhibition_high"])
    acts, called, hit = found["truth"] > 1, found["call"].isin(("hit", "effect", "growth")), found["call"] == "hit"
    return pd.Series({"treatments": len(found), "limits hold": inside.sum(), "that act": acts.sum(),
                      "limits hold of these": inside[acts].sum(), "these called": called[acts].sum(),
                      "called of the others": called[~acts].sum(), "hits": hit.sum(),
                      "least truth of a hit": found["truth"][hit].min()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screens", type=int, help="of each kind and design (200), or of each cell line (5)")
    parser.add_argument("--models", type=Path, help="folder of models")
    arguments = parser.parse_args()
    if arguments.models:
        print(from_images(arguments.models, arguments.screens or 5).to_string())
        return
    screens = arguments.screens or 200
    since = time.process_time()
    table = pd.DataFrame([measure(design, screens) for design in DESIGNS]).set_index("screen")
    print((100 * table).round(1).to_string())
    print(f"{2 * screens * len(DESIGNS)} screens of {TREATMENTS} treatments, {time.process_time() - since:.0f} processor seconds")


if __name__ == "__main__":
    run_command(main)
