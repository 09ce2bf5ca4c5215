"""Layouts that lie wrong on their plate, or name the controls the wrong way round: how many are found, and how many right ones are blamed.

    OMP_NUM_THREADS=1 python -m benchmarks.layout_mixups [--seeds 10] [--bbbc013 FOLDER]

Simulated 96-well plates of four designs (bright field with its OD450 read-out, and spheroids under Hoechst) are judged by their images
alone and by their read-outs alone: as they are, turned each way that the rules know, and with negative and positive controls swapped;
each plate by itself, and one wrong plate beside two other right ones. False alarms are counted on the right plates, on plates where no drug
and no control does anything, and on plates whose rims are darker. With a folder of BBBC013 (platemap.csv and images/) its real plate is
judged the same way: whole, by halves (two drugs), and with a seeded tenth of its wells left out. Prints two tables.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from tqdm import tqdm

from models.plates.images import member_name, write_plate
from models.plates.layout import ParsedLayout, parse_layout
from models.plates.screen import Screen
from models.plates.simulate import CELL_LINES, sample_look, simulate_brightfield, simulate_readout, simulate_spheroids, true_viability
from models.plates.simulate.examples import random_curves
from models.wells import add_row_column, well_name, wells_of
from pipelines.command import run_command
from validation import behaviour_rules
from validation.behaviour import TURNS
from validation.evidence import Evidence
from validation.inventory import Inventory, take_inventory
from validation.thresholds import Thresholds

SIZE = 48           # pixels of a simulated image
DOSES = (1, 10, 100, 1_000, 10_000)
ERRORS = ("layout_turned", "controls_swapped", "controls_disagree")
SWAP = "controls swapped"
Wells = list[tuple[str, str, float]]    # role, treatment, dose


@dataclass(frozen=True)
class Plate:
    """A plate as it is: its layout, its inventory, and what its wells read."""

    layout: pd.DataFrame
    inventory: Inventory | None
    readout: pd.Series | None
    assay: str = ""


def scattered(rng: np.random.Generator) -> pd.DataFrame:
    """Controls and treatments at random places."""
    given: Wells = [("negative", "DMSO", np.nan)] * 8 + [("positive", "staurosporine", 250.0)] * 8
    given += [("treated", f"drug {number}", dose) for number in range(8) for dose in DOSES for _ in range(2)]
    return _layout(dict(zip(rng.permutation(list(wells_of(96))), given, strict=True)))


def corners(rng: np.random.Generator) -> pd.DataFrame:
    """Halves of the two outer columns hold negative, the other halves positive controls; a treatment a row, duplicates side by side."""
    return _by_row(rng, {(row, column): "negative" if (row < 4) == (column == 0) else "positive" for row in range(8) for column in (0, 11)})


def alternating(rng: np.random.Generator) -> pd.DataFrame:
    """The kinds of controls alternate down both outer columns; a treatment a row."""
    return _by_row(rng, {(row, column): ("negative", "positive")[row % 2] for row in range(8) for column in (0, 11)})


def columns(rng: np.random.Generator) -> pd.DataFrame:
    """All negative controls on the left, all positive ones on the right; a treatment a row, doses rising towards the positive ones."""
    return _by_row(rng, {(row, column): ("negative", "positive")[column // 11] for row in range(8) for column in (0, 11)})


DESIGNS: dict[str, Callable[[np.random.Generator], pd.DataFrame]] = {
    "scattered": scattered, "corners": corners, "alternating": alternating, "columns": columns}


def _by_row(rng: np.random.Generator, controls: dict[tuple[int, int], str]) -> pd.DataFrame:
    given = {well_name(row, column): (role, "DMSO" if role == "negative" else "staurosporine", np.nan if role == "negative" else 250.0)
             for (row, column), role in controls.items()}
    given |= {well_name(row, column): ("treated", f"drug {drug}", DOSES[(column - 1) // 2])
              for row, drug in enumerate(rng.permutation(8)) for column in range(1, 11)}
    return _layout(given)


def _layout(given: dict[str, tuple[str, str, float]]) -> pd.DataFrame:
    rows = [{"plate": "P1", "well": well, "role": role, "treatment": treatment, "dose": dose, "dose_unit": "" if dose != dose else "nM",
             "replicate": 1} for well, (role, treatment, dose) in sorted(given.items())]
    return pd.DataFrame(rows)


def simulated(design: str, kind: str, *, seed: int, folder: Path, look: str = "usual") -> Plate:
    """A plate of a design. kind: brightfield or spheroids; look: usual, dead (nothing does anything) or rim (darker at the rim)."""
    layout = DESIGNS[design](np.random.default_rng([seed, 1]))
    truth = true_viability(layout, random_curves(layout, seed=seed))
    truth = truth * 0 + 1 if look == "dead" else truth
    images = (simulate_brightfield(layout, line=CELL_LINES["A549"], truth=truth, size=SIZE, seed=seed, plate="P1") if kind == "brightfield"
              else ((well, stack[0]) for well, stack in simulate_spheroids(
                  layout, look=sample_look("PAT_1"), truth=truth, planes=1, size=SIZE, seed=seed, plate="P1")))
    rim = set(add_row_column(layout).query("row in (0, 7) or column in (0, 11)")["well"]) if look == "rim" else set()
    dimmed = ((member_name(well), (pixels * (0.85 if well in rim else 1.0)).astype(pixels.dtype)) for well, pixels in images)
    write_plate(folder / "P1.zip", dimmed)
    readout = simulate_readout(layout, line=CELL_LINES["A549"], truth=truth, seed=seed) if kind == "brightfield" else None
    if readout is not None and rim:
        readout = readout * np.where(layout["well"].isin(rim), 0.85, 1.0)
    return Plate(layout, take_inventory([folder / "P1.zip"]), readout, "CCK-8 (OD450)" if kind == "brightfield" else "")


def real(folder: Path, scratch: Path) -> Plate:
    """The plate of BBBC013."""
    table = pd.read_csv(folder / "platemap.csv", dtype="str").assign(plate="P1")
    write_plate(scratch / "P1.zip", ((member_name(str(row["well"]), channel=channel), tifffile.imread(folder / "images" / str(row[name])))
                                     for _, row in table.iterrows() for channel, name in enumerate(("file_gfp", "file_dna"))))
    return Plate(parse_layout(table, plate_format=96).layout, take_inventory([scratch / "P1.zip"]), None)


def mixed_up(layout: pd.DataFrame, mistake: str) -> pd.DataFrame:
    """The layout with every row under a wrong well, or with its controls the wrong way round."""
    if mistake == SWAP:
        return layout.assign(role=layout["role"].replace({"negative": "positive", "positive": "negative"}))
    places = add_row_column(layout)
    row, column = TURNS[mistake](places["row"], places["column"], 7, 11)
    inside = row.between(0, 7) & column.between(0, 11)
    names = [well_name(*place) for place in zip(row[inside], column[inside], strict=True)]
    return layout[inside].assign(well=pd.Series(names, index=layout.index[inside], dtype="str"))


def blamed(plates: list[tuple[Plate, pd.DataFrame]], *, source: str) -> set[str]:
    """Names of the plates, P1 ..., that the rules call wrong, by one source of signals."""
    layouts, tables, assay = [], [], ""
    for number, (plate, layout) in enumerate(plates, 1):
        name = f"P{number}"
        read = layout["well"].map(dict(zip(plate.layout["well"], plate.readout, strict=True))) if plate.readout is not None else np.nan
        layouts.append(layout.assign(plate=name, **({"readout": read} if source == "read-out" else {})))
        tables.append(plate.inventory.images.assign(plate=name) if plate.inventory is not None else pd.DataFrame())
        assay = plate.assay
    inventory = Inventory(pd.concat(tables, ignore_index=True), (), tuple(f"P{number}" for number in range(1, len(plates) + 1)))
    channels = tuple(f"c{number}" for number in range(inventory.images["channel"].max() + 1))
    evidence = Evidence(parsed=ParsedLayout(pd.concat(layouts, ignore_index=True), ()), thresholds=Thresholds(),
                        screen=Screen.from_dict({"name": "s", "sample": "x", "assay": assay, "channels": channels}),
                        inventory=inventory if source == "images" else None)
    return {finding.plate for rule in behaviour_rules.RULES for finding in rule.findings(evidence) if finding.rule in ERRORS}


def cases(seeds: int, folder: Path) -> Iterator[dict[str, Any]]:
    """A record per plate judged: data, source, mistake ("" for none), plates, found (the wrong one), blamed (a right one)."""
    for design in DESIGNS:
        for kind in ("brightfield", "spheroids"):
            made = [simulated(design, kind, seed=seed, folder=folder) for seed in range(seeds + 2)]
            for source in ("images", "read-out") if kind == "brightfield" else ("images",):
                about = {"data": f"{design}, {kind}", "source": source}
                yield from _judged(made, about, source=source)
                for look in ("dead", "rim"):
                    for seed in range(seeds):
                        plate = simulated(design, kind, seed=1_000 + seed, folder=folder, look=look)
                        found = blamed([(plate, plate.layout)], source=source)
                        yield about | {"mistake": "", "look": look, "plates": 1, "found": False, "blamed": bool(found)}


def _judged(made: list[Plate], about: dict[str, Any], *, source: str) -> Iterator[dict[str, Any]]:
    for number, plate in enumerate(made[:-2]):
        right = [(other, other.layout) for other in made[number + 1:number + 3]]
        for mistake in ("", *TURNS, SWAP):
            layout = mixed_up(plate.layout, mistake) if mistake else plate.layout
            for beside in ([], right):
                found = blamed([(plate, layout), *beside], source=source)
                yield about | {"mistake": mistake, "look": "usual", "plates": 1 + len(beside), "found": bool(mistake) and "P1" in found,
                               "blamed": bool(found - {"P1"} if mistake else found)}


def cases_of_bbbc013(plate: Plate, seeds: int) -> Iterator[dict[str, Any]]:
    """The same for parts of a real plate."""
    row = plate.layout["well"].str[0]
    rng = np.random.default_rng(0)
    parts = {"whole": [np.ones(len(row), bool)], "half": [row.isin(list("ABCD")).to_numpy(), row.isin(list("EFGH")).to_numpy()],
             "nine tenths": [rng.random(len(row)) < 0.9 for _ in range(seeds)]}
    for part, masks in parts.items():
        for mask in masks:
            for mistake in ("", *TURNS, SWAP):
                layout = plate.layout[mask]
                found = blamed([(plate, mixed_up(layout, mistake) if mistake else layout)], source="images")
                yield {"data": f"bbbc013, {part}", "source": "images", "mistake": mistake, "look": "usual", "plates": 1,
                       "found": bool(mistake and found), "blamed": bool(not mistake and found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--bbbc013", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        judged = cases(arguments.seeds, Path(folder))
        if arguments.bbbc013:
            judged = chain(judged, cases_of_bbbc013(real(arguments.bbbc013, Path(folder)), arguments.seeds))
        table = pd.DataFrame(tqdm(judged, desc="plates judged", unit="plate"))
    found = table[table["mistake"] != ""].pivot_table(index=["data", "source", "plates"], columns="mistake", values="found", sort=False)
    print(found.map("{:.0%}".format).to_string(), "\n")
    alarms = table.pivot_table(index=["data", "source"], columns=["look"], values="blamed", aggfunc=["sum", "size"], sort=False)
    print(alarms.to_string())
    wrong = table[table["mistake"] != ""]
    print(f"\nfound: {wrong['found'].mean():.1%} of {len(wrong)} wrong layouts; "
          f"right plates blamed: {table['blamed'].sum()} of {len(table)} judgements")


if __name__ == "__main__":
    run_command(main)
