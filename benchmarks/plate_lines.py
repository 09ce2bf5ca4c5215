"""Is a row, column or quarter told that reads otherwise than the rest, and are even plates left in peace? Simulated, seeded.

    python -m benchmarks.plate_lines [--screens 20]

Plates of 384 wells with 20 treatments of 8 doses in duplicate. `scattered`: every well anywhere, anew on each plate; `doses in columns`: a
treatment in a row, its doses from left to right, twice, alike on each plate.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
from tqdm import tqdm

from models.control_places import RULE
from models.plates.screen import Screen
from models.scoring import score_measured
from models.wells import parse_well, wells_of
from pipelines.command import run_command

SEED, FORMAT = 7, 384
DOSES = 10.0 ** np.linspace(0.0, 4.0, 8)
SCREEN = Screen.from_dict({"name": "s", "sample": "X", "plate_format": FORMAT})
FAULTS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {     # the place that should be told, its wells
    "nothing": ("", lambda row, column: np.zeros(len(row), dtype=bool)),
    "column 7 reads 20 % less": ("column 7", lambda row, column: column == 6),
    "row F reads 20 % less": ("row F", lambda row, column: row == 5),
    "a quarter reads 20 % less": ("from B01 on", lambda row, column: (row % 2 == 1) & (column % 2 == 0))}


def contents(layout: str, rng: np.random.Generator) -> pd.DataFrame:
    """A plate: well, role, treatment, dose."""
    names = [str(name) for name in wells_of(FORMAT)]
    if layout == "scattered":
        what = ([("negative", "", np.nan)] * 32 + [("positive", "", np.nan)] * 32
                + [("treated", f"drug {number}", dose) for number in range(20) for dose in DOSES for _ in range(2)])
        places = list(rng.permutation(names))
    else:
        places = [name for name in names if parse_well(name)[1] in (*range(2, 10), *range(12, 20), 0, 1, 22, 23)]
        what = [("negative" if column in (0, 22) else "positive", "", np.nan) if column in (0, 1, 22, 23) else
                ("treated", f"drug {row}", DOSES[(column - 2) % 10]) for row, column in map(parse_well, places)]
    return pd.DataFrame(what, columns=["role", "treatment", "dose"]).assign(well=places[:len(what)])


def screen(layout: str, plates: int, noise: float, fault: str, *, rng: np.random.Generator) -> pd.DataFrame:
    """A layout with read-outs, with the fault on all plates."""
    middles, slopes = 10 ** rng.uniform(0.5, 5.0, 20), rng.uniform(0.6, 3.0, 20)
    parts, wells = [], FAULTS[fault][1]
    for plate in range(plates):
        table = contents(layout, rng)
        number = table["treatment"].str.removeprefix("drug ").replace("", "0").astype(int).to_numpy()
        living = np.where(table["role"] == "treated", 1 / (1 + (table["dose"] / middles[number]) ** slopes[number]),
                          table["role"] == "negative")
        row, column = np.array([parse_well(name) for name in table["well"]]).T
        signal = (50 + 950 * living * (1 + noise * rng.standard_normal(len(table)))) * np.where(wells(row, column), 0.8, 1.0)
        parts.append(table.assign(plate=f"P{plate + 1}", replicate=1, dose_unit=np.where(table["dose"].notna(), "nM", ""),
                                  readout=signal + 10 * rng.standard_normal(len(table))))
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--screens", type=int, default=20)
    screens = parser.parse_args().screens
    rows = []
    for layout, (plates, noise), fault in tqdm([*product(("scattered", "doses in columns"), ((1, 0.05), (3, 0.05), (3, 0.1)), FAULTS)]):
        rng, place, right, wrong = np.random.default_rng(SEED), FAULTS[fault][0], 0, 0
        for _ in range(screens):
            scored = score_measured(screen(layout, plates, noise, fault, rng=rng), screen=SCREEN)
            said = [one.message for one in scored.findings if one.rule == RULE]
            true = [message for message in said if place and place in message]
            right, wrong = right + bool(true), wrong + (len(said) > len(true))
        rows.append({"layout": layout, "plates": plates, "noise": noise, "fault on all plates": fault, "told": right / screens,
                     "screens with a warning of another place": wrong / screens})
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    run_command(main)
