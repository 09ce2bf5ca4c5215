"""Are pairs of drugs called as promised? Simulated plates of read-outs with known truth, seeded.

    python -m benchmarks.combinations [--plates 200]

Prints the table for docs/combinations.md: how often independent pairs are called (promised: at most 1 in 20), how often synergy and
antagonism are found, and how often all limits of a pair hold the truth at once (promised: 19 in 20).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.combinations import combination_tables
from models.effects import with_viability
from pipelines.command import run_command

FIRST, SECOND = 800.0, 300.0    # doses of half effect
Truth = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Design:
    """A plate: doses of each drug, replicates, controls of each kind, and the scatter of a viability: even, and in proportion to it."""

    name: str
    truth: str = "independent"
    doses: int = 6
    replicates: int = 2
    controls: int = 16
    even: float = 0.05
    in_proportion: float = 0.0


def survive(dose: np.ndarray, middle: float) -> np.ndarray:
    return np.asarray(1 / (1 + dose / middle))


TRUTHS: dict[str, Truth] = {
    "independent": lambda a, b: survive(a, FIRST) * survive(b, SECOND),
    "6 x as potent": lambda a, b: survive(a * (1 + 5 * (1 - survive(b, SECOND))), FIRST) * survive(b, SECOND),
    "31 x as potent": lambda a, b: survive(a * (1 + 30 * (1 - survive(b, SECOND))), FIRST) * survive(b, SECOND),
    "antagonism": lambda a, b: (survive(a / (1 + 10 * (1 - survive(b, SECOND))), FIRST)
                                * survive(b / (1 + 5 * (1 - survive(a, FIRST))), SECOND))}
DESIGNS = (
    Design(name="6 x 6 doses, 2 wells each"), Design(name="the same, scatter 8 % of what lives + 2 %", even=0.02, in_proportion=0.08),
    Design(name="4 x 4 doses, 3 wells each", doses=4, replicates=3), Design(name="6 x 6, 2 wells, 4 controls of each kind", controls=4),
    Design(name="6 x 6, 1 well each", replicates=1),
    Design(name="6 x 6, 2 wells", truth="6 x as potent"), Design(name="6 x 6, 2 wells", truth="31 x as potent"),
    Design(name="6 x 6, 3 wells, scatter 3 %", truth="6 x as potent", replicates=3, even=0.03),
    Design(name="6 x 6, 2 wells", truth="antagonism"))


def plate(design: Design, seed: int) -> pd.DataFrame:
    """Wells of one plate with read-outs, each with its true viability."""
    doses = 10.0 ** np.linspace(1, 4, design.doses)
    grid = [(a, b) for a in (0.0, *doses) for b in (0.0, *doses) if a + b] * design.replicates
    a, b = np.array([(0.0, 0.0)] * (2 * design.controls) + grid).T
    role = np.repeat(["negative", "positive", "treated"], [design.controls, design.controls, len(grid)])
    both, unit = (a > 0) & (b > 0), {True: "nM", False: ""}
    truth = np.where(role == "positive", 0.0, TRUTHS[design.truth](a, b))
    noise = np.random.default_rng(seed).standard_normal((2, len(truth)))
    table = pd.DataFrame({
        "plate": "P1", "role": role, "treatment": np.where(a > 0, "A", np.where(b > 0, "B", "")), "dose": np.where(a > 0, a, b),
        "treatment_2": np.where(both, "B", ""), "dose_2": np.where(both, b, np.nan), "truth": truth, "excluded": False,
        "readout": 0.1 + 1.4 * (truth * (1 + design.in_proportion * noise[0]) + design.even * noise[1])})
    return table.assign(dose_unit=(role == "treated"), dose_unit_2=both, flags=pd.Series([[]] * len(truth), dtype=object)).replace(
        {"dose_unit": unit, "dose_unit_2": unit})


def one(design: Design, seed: int) -> tuple[str, bool, float, float]:
    """(call, whether all limits hold the truth, mean excess, half-width of its limits) of a plate."""
    wells = with_viability(plate(design, seed), controls="both", value="readout")
    found = combination_tables(wells, {}, controls="both", value="readout")
    pair, doses = found.pairs.iloc[0], found.doses
    a, b = doses["dose"].to_numpy(), doses["dose_2"].to_numpy()
    truth = 100 * (TRUTHS["independent"](a, b) - TRUTHS[design.truth](a, b))
    held = bool(((doses["excess_low"] <= truth) & (truth <= doses["excess_high"])).all()
                and pair["mean_low"] <= truth.mean() <= pair["mean_high"])
    return pair["call"], held, pair["mean_excess"], pair["mean_high"] - pair["mean_excess"]


def measure(design: Design, plates: int) -> dict[str, object]:
    """A row of the table."""
    found = pd.DataFrame([one(design, seed) for seed in range(plates)], columns=["call", "held", "mean", "half"])
    share = {name: (found["call"] == name).mean() for name in ("synergy", "antagonism", "none")}
    return {"truth": design.truth, "plate": design.name, "mean excess, %": round(found["mean"].mean(), 1),
            "its limits, +-": round(found["half"].mean(), 1), **share, "all limits hold": found["held"].mean()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plates", type=int, default=200)
    plates, since = parser.parse_args().plates, time.monotonic()
    print(pd.DataFrame([measure(design, plates) for design in DESIGNS]).to_string(index=False))
    print(f"{plates} plates a row, {time.monotonic() - since:.0f} s")


if __name__ == "__main__":
    run_command(main)
