"""How many bad wells the image quality rules find, and how many good ones they take for bad.

    python -m benchmarks.image_quality [--seeds 3] [--size 1080] [--plate bbbc013=FOLDER]

Simulated plates of both kinds (bright-field lines, spheroids of patients), as in the example and with drugs that kill at every dose,
without faults and with: out of focus, overexposed, empty, dusty and copied wells (the goal: >= 95 % found, <= 2 % of the sound wells
flagged), and hazy and unevenly lit ones. --size: pixels of their sides, of a field that grows with them. A real plate is read through
`python -m pipelines.add_screen`; all its wells count as sound.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.at_hand import bring_in
from models.plates.images import PlateArchive, write_plate
from models.plates.prepare import InputSpec, prepare_plate
from models.plates.quality import QualityLimits, judge_wells
from models.plates.simulate.brightfield import CELL_LINES, CellLine
from models.plates.simulate.examples import Example, example_screens
from models.plates.simulate.faults import FAULT_KINDS, FaultKind, random_faults
from models.plates.simulate.truth import TrueCurve
from pipelines.command import run_command

GOAL: tuple[FaultKind, ...] = ("defocus", "overexposed", "empty", "dust", "duplicate")
FLAG_OF: dict[FaultKind, str] = {"defocus": "out_of_focus", "overexposed": "saturated", "empty": "empty_well", "dust": "debris",
                                 "duplicate": "duplicate_image", "haze": "background", "gradient": "uneven_light"}
PLANES = {True: ("brightfield:mid",), False: ("hoechst:mip",)}     # bright field?
LETHAL = TrueCurve(midpoint=1e-3, slope=1.5)   # nothing lives at any dose


@dataclass(frozen=True)
class Case:
    """A simulated screen. drugs: usual, or lethal at every dose."""

    drugs: str
    screen: Example

    @property
    def kind(self) -> str:
        return "bright field" if self.screen.lines else "spheroids"


def cases(seed: int) -> Iterator[Case]:
    """The example's screens with other random numbers, and the same with lethal drugs."""
    for screen in example_screens(seed=seed):
        if screen.name in (*(line.lower() for line in CELL_LINES), "heldout-a549", "patient-1"):
            yield Case("usual", replace(screen, seed=seed))
            yield Case("lethal", replace(screen, seed=seed, curves=dict.fromkeys(screen.curves, LETHAL), lines={
                name: _with_lethal_drug(line) for name, line in screen.lines.items()}))


def _with_lethal_drug(line: CellLine) -> CellLine:
    return replace(line, doxorubicin=LETHAL)


def with_faults(screen: Example, kinds: Sequence[FaultKind], *, each: int, seed: int) -> Example:
    """The screen with `each` wells of every kind of fault on each plate."""
    plates = screen.layout.groupby("plate", sort=False)["well"]
    return replace(screen, faults={
        str(plate): random_faults(wells.tolist(), kinds=kinds, each=each, rng=np.random.default_rng([seed, place]))
        for place, (plate, wells) in enumerate(plates)})


def flags_of(screen: Example, limits: QualityLimits) -> pd.DataFrame:
    """plate, well, fault ("" for a sound one, the original of a copy counts as copied too) and flags of each well."""
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for plate in screen.plates:
            path = Path(folder) / f"{plate}.zip"
            write_plate(path, screen.members(plate))
            with PlateArchive(path) as archive:
                parts.append(prepare_plate(archive, InputSpec(planes=PLANES[bool(screen.lines)], size=8),
                                           channels=[channel.name for channel in screen.screen().channels]).quality)
    judged = judge_wells(pd.concat(parts, ignore_index=True), screen.layout, limits)
    faults = {(plate, well): fault.kind for plate, own in screen.faults.items() for well, fault in own.items()}
    faults |= {(plate, fault.source): "duplicate" for plate, own in screen.faults.items() for fault in own.values() if fault.source}
    keys = list(zip(screen.layout["plate"], screen.layout["well"], strict=True))
    return screen.layout[["plate", "well", "role", "dose"]].assign(
        fault=[faults.get(key, "") for key in keys], flags=pd.Series(judged.flags, index=screen.layout.index, dtype=object))


def detection(wells: pd.DataFrame) -> pd.DataFrame:
    """Per kind of plate and fault: wells, % flagged at all, % with the flag that names the fault; fault "" are the sound wells."""
    named = [FLAG_OF.get(fault, "") in flags for fault, flags in zip(wells["fault"], wells["flags"], strict=True)]
    groups = wells.assign(flagged=wells["flags"].map(bool), named=named).groupby(["kind", "drugs", "fault"], sort=False)
    return (100 * groups[["flagged", "named"]].mean()).round(2).assign(wells=groups.size())


def simulated(seeds: Sequence[int], limits: QualityLimits, *, each: int = 2, size: int | None = None) -> pd.DataFrame:
    """Flags of all cases, without faults (column faulty False) and with all kinds of them. size: px, the example's own if None."""
    found = []
    for seed in seeds:
        for case in cases(seed):
            sound = case.screen if size is None else replace(case.screen, size=size)
            for faulty in (False, True):
                screen = with_faults(sound, FAULT_KINDS, each=each, seed=seed) if faulty else sound
                found.append(flags_of(screen, limits).assign(kind=case.kind, drugs=case.drugs, faulty=faulty, screen=screen.name))
    return pd.concat(found, ignore_index=True)


def real(source: Path, limits: QualityLimits) -> pd.DataFrame:
    """Flags of a real plate, all of whose wells count as sound."""
    with tempfile.TemporaryDirectory() as folder:
        screen, layout, archives = bring_in(source, Path(folder))
        names = [channel.name for channel in screen.channels]
        spec, parts = InputSpec(planes=tuple(f"{name}:mip" for name in names), size=8), []
        for path in archives:
            with PlateArchive(path) as archive:
                parts.append(prepare_plate(archive, spec, channels=names).quality)
    judged = judge_wells(pd.concat(parts, ignore_index=True), layout, limits)
    return layout[["plate", "well", "role"]].assign(flags=pd.Series(judged.flags, index=layout.index, dtype=object))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="sets of simulated plates (default: 3)")
    parser.add_argument("--size", type=int, help="pixels of the simulated images' sides (default: the example's 128 and 96)")
    parser.add_argument("--plate", action="append", default=[], metavar="NAME=FOLDER", help="a real plate, as add_screen reads it")
    arguments = parser.parse_args()
    limits = QualityLimits()
    wells = simulated(range(1, arguments.seeds + 1), limits, size=arguments.size)
    clean, faulty = wells[~wells["faulty"]], wells[wells["faulty"]]
    print("Plates with faults: share of wells that are flagged at all, and with the flag that names the fault")
    print(detection(faulty).to_string())
    goal = faulty[faulty["fault"].isin(GOAL)]
    for kind, own in goal.groupby("kind", sort=False):
        print(f"{kind}: {100 * own['flags'].map(bool).mean():.1f} % of {len(own)} out of focus, overexposed, empty, dusty or copied wells "
              f"found; {100 * faulty[(faulty['fault'] == '') & (faulty['kind'] == kind)]['flags'].map(bool).mean():.2f} % of their sound "
              "neighbours flagged")
    print("\nPlates without faults: % of wells flagged")
    print((100 * clean["flags"].map(bool).groupby([clean["kind"], clean["drugs"]]).mean()).round(2).to_string())
    for item in arguments.plate:
        name, _, folder = item.partition("=")
        found = real(Path(folder), limits)
        flagged = found[found["flags"].map(bool)]
        print(f"\n{name}: {len(flagged)} of {len(found)} wells flagged ({100 * len(flagged) / len(found):.1f} %)")
        print(flagged.to_string(index=False) if len(flagged) else "")


if __name__ == "__main__":
    run_command(main)
