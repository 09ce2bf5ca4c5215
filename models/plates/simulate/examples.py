"""The example screens: what is on their plates, and the curves that their images are made from.

Potencies are invented for the example; they say nothing about the real compounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from models.plates.images import member_name
from models.plates.screen import Channel, Controls, SampleKind, Screen
from models.plates.simulate.brightfield import CELL_LINES, MIXED_LINES, CellLine, brightfield_masks, simulate_brightfield, simulate_readout
from models.plates.simulate.faults import Fault
from models.plates.simulate.spheroids import sample_look, simulate_spheroids, spheroid_masks
from models.plates.simulate.truth import Boosts, TrueCurve, curve_table, true_viability
from models.tables import DOSED_ROLES
from models.wells import wells_of

VERSION = 1     # raise when the simulation changes, so that older example data is told apart
SIMULATED = "simulated"     # the camera of example screens, by which a model that learned from them is known

DOXORUBICIN_NM = (0.1, 1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 100_000)
STAUROSPORINE = TrueCurve(midpoint=18, slope=1.5)
STAUROSPORINE_SERIES_NM = (0.1, 1, 10, 100, 1_000)
KILL_NM = {"staurosporine": 250.0, "benzethonium": 100_000.0}
HELDOUT_CURVES = {
    "bortezomib": TrueCurve(midpoint=12, slope=1.4, bottom=0.02),
    "doxorubicin": CELL_LINES["A549"].doxorubicin,
    "gemcitabine": TrueCurve(midpoint=60, slope=1.0, bottom=0.35),
    "cisplatin": TrueCurve(midpoint=9_000, slope=1.2),
    "carboplatin": TrueCurve(midpoint=450_000, slope=1.1),
    "sucrose": TrueCurve(midpoint=float("inf")),
}
COMBINED: Boosts = {("doxorubicin", "cisplatin"): 0.0, ("bortezomib", "gemcitabine"): 60.0}    # independent; synergistic
PRIMARY_NM, PRIMARY_TREATMENTS = 1_000.0, 72
PRIMARY_INHIBITION = (95.0, 90.0, 85.0, 75.0, 65.0, 50.0, 40.0, 30.0)   # % at that dose, of the treatments that do anything
PATIENT_DRUGS: dict[str, tuple[TrueCurve, str, str]] = {  # curve, class, target
    "bortezomib": (TrueCurve(midpoint=9, slope=1.6), "proteasome inhibitor", "PSMB5"),
    "panobinostat": (TrueCurve(midpoint=25, slope=1.4), "epigenetic", "HDAC"),
    "topotecan": (TrueCurve(midpoint=60, slope=1.1, bottom=0.05), "chemotherapy", "TOP1"),
    "doxorubicin": (TrueCurve(midpoint=150, slope=1.2, bottom=0.02), "chemotherapy", "TOP2A"),
    "paclitaxel": (TrueCurve(midpoint=15, slope=1.0, bottom=0.35), "chemotherapy", "TUBB"),
    "vincristine": (TrueCurve(midpoint=6, slope=1.0, bottom=0.4), "chemotherapy", "TUBB"),
    "navitoclax": (TrueCurve(midpoint=600, slope=1.3), "apoptosis modulator", "BCL2"),
    "trametinib": (TrueCurve(midpoint=70, slope=0.9, bottom=0.3), "kinase inhibitor", "MEK1"),
    "selumetinib": (TrueCurve(midpoint=800, slope=1.0, bottom=0.35), "kinase inhibitor", "MEK1"),
    "dasatinib": (TrueCurve(midpoint=250, slope=1.0, bottom=0.15), "kinase inhibitor", "SRC"),
    "palbociclib": (TrueCurve(midpoint=3_000, slope=1.0, bottom=0.2), "kinase inhibitor", "CDK4"),
    "everolimus": (TrueCurve(midpoint=5, slope=0.8, bottom=0.65), "kinase inhibitor", "MTOR"),
    "temozolomide": (TrueCurve(midpoint=90_000, slope=1.0), "chemotherapy", "DNA"),
    "vemurafenib": (TrueCurve(midpoint=float("inf")), "kinase inhibitor", "BRAF"),
    "larotrectinib": (TrueCurve(midpoint=float("inf")), "kinase inhibitor", "NTRK"),
}
PATIENT_DOSES_NM = (1, 10, 100, 1_000, 10_000)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A simulated screen: what screen.yaml will say, its Layout, and how its wells are drawn.

    lines: cell line -> bright-field wells of that line (the layout's column `line`, where several); empty: spheroids of
    `sample`. curves: treatment -> true curve; doxorubicin of a line is that line's own. size px, planes of a stack.
    faults: plate -> well -> what is wrong with its image. boosts: of pairs of treatments that are not independent (truth.py).
    """

    name: str
    sample: str
    kind: SampleKind
    layout: pd.DataFrame
    curves: Mapping[str, TrueCurve]
    lines: Mapping[str, CellLine] = field(default_factory=dict)
    controls: Controls = "both"
    positive_control: Mapping[str, str] = field(default_factory=dict)
    treatments: pd.DataFrame | None = None
    plate_format: int = 96
    size: int = 128
    planes: int = 1
    seed: int = 1
    faults: Mapping[str, Mapping[str, Fault]] = field(default_factory=dict)
    boosts: Boosts = field(default_factory=dict)

    @property
    def plates(self) -> list[str]:
        """Plate names in order of the layout."""
        return list(dict.fromkeys(self.layout["plate"]))

    def truth(self) -> pd.DataFrame:
        """plate, well, viability (and line, where there are several) of each well, in order of the layout."""
        viability = pd.concat([true_viability(part, curves, self.boosts) for _, part, curves in self._parts()]).reindex(self.layout.index)
        names = ["plate", "well", *(["line"] if "line" in self.layout else [])]
        return self.layout[names].assign(viability=viability)

    def true_curves(self) -> pd.DataFrame:
        """`curve_table` of the screen, with a column `line` where there are several."""
        tables = [curve_table(part, curves).assign(**({"line": name} if len(self.lines) > 1 else {}))
                  for name, part, curves in self._parts()]
        return pd.concat(tables, ignore_index=True)

    def full_layout(self) -> pd.DataFrame:
        """The layout with its read-out, where the lines have one."""
        if not self.lines:
            return self.layout
        truth = self.truth()["viability"]
        readout = pd.concat([simulate_readout(part, line=self.lines[name], truth=truth, seed=self.seed)
                             for name, part, _ in self._parts()])
        return self.layout.assign(readout=readout.reindex(self.layout.index))

    def images(self, plate: str) -> Iterator[tuple[str, np.ndarray]]:
        """(well, pixels) of one plate; uint8 (H, W) of cell lines, uint16 (planes, H, W) of spheroids."""
        truth, faults = self.truth()["viability"], self.faults.get(plate)
        for name, part, _ in self._parts():
            if self.lines:
                yield from simulate_brightfield(part, line=self.lines[name], truth=truth, size=self.size, seed=self.seed,
                                                plate=plate, faults=faults)
            else:
                yield from simulate_spheroids(part, look=sample_look(self.sample), truth=truth, planes=self.planes,
                                              size=self.size, seed=self.seed, plate=plate, faults=faults)

    def masks(self, plate: str) -> Iterator[tuple[str, np.ndarray]]:
        """(well, where its cells or nuclei are: bool (H, W)) of one plate without faults."""
        truth = self.truth()["viability"]
        for name, part, _ in self._parts():
            if self.lines:
                yield from brightfield_masks(part, line=self.lines[name], truth=truth, size=self.size, seed=self.seed, plate=plate)
            else:
                yield from spheroid_masks(part, look=sample_look(self.sample), truth=truth, size=self.size, seed=self.seed, plate=plate)

    def members(self, plate: str) -> Iterator[tuple[str, np.ndarray]]:
        """(member name, plane) of one plate's archive."""
        for well, pixels in self.images(plate):
            for plane, image in enumerate(pixels if pixels.ndim == 3 else pixels[None]):
                yield member_name(well, plane=plane), image

    def screen(self) -> Screen:
        """What screen.yaml says of it."""
        brightfield = bool(self.lines)
        return Screen(
            name=self.name, sample=self.sample, kind=self.kind, assay="CCK-8 (OD450)" if brightfield else "nuclear morphology of spheroids",
            channels=(Channel(name="brightfield") if brightfield else Channel(name="hoechst", stain="Hoechst 33342"),),
            magnification=10.0, pixel_size_um=1.3 if brightfield else 2.4, camera=SIMULATED, bit_depth=8 if brightfield else 16,
            plate_format=self.plate_format, controls=self.controls, positive_control=dict(self.positive_control),
            source=f"simulated by pipelines.make_example, version {VERSION}, seed {self.seed}; potencies are invented")

    def _parts(self) -> Iterator[tuple[str, pd.DataFrame, Mapping[str, TrueCurve]]]:
        """(line, its rows of the layout, its true curves)."""
        if "line" not in self.layout:
            yield next(iter(self.lines), ""), self.layout, self.curves
            return
        for name, line in self.lines.items():
            yield name, self.layout[self.layout["line"] == name], {**self.curves, "doxorubicin": line.doxorubicin}


def example_screens(*, seed: int = 1) -> list[Example]:
    """The screens of the demonstration, in the order in which the pipeline wants them."""
    return [_pretraining(seed), *(_cell_line(line, seed) for line in CELL_LINES.values()), _control_plate(seed),
            _patient(seed), _heldout(seed)]


def further_examples(*, seed: int = 1) -> list[Example]:
    """Screens that the demonstration does without."""
    return [_combinations(seed), _primary(seed)]


def random_curves(layout: pd.DataFrame, *, seed: int) -> dict[str, TrueCurve]:
    """A true curve for each dosed treatment: about a quarter inactive, a quarter partial, the others complete.

    Staurosporine is always active. Midpoints lie within the doses of the treatment.
    """
    curves = {}
    dosed = layout[layout["role"].isin(DOSED_ROLES)]
    for name, doses in sorted(dosed.groupby("treatment")["dose"]):
        rng = np.random.default_rng([seed, *str(name).encode()])
        low, high = np.log10(doses.min()), np.log10(doses.max())
        midpoint, slope = round(10 ** rng.uniform(low + 0.2 * (high - low), high - 0.1 * (high - low)), 3), round(rng.uniform(0.8, 1.8), 2)
        kind, bottom = rng.random(), round(rng.uniform(0.3, 0.7), 2)
        curves[str(name)] = (STAUROSPORINE if str(name).lower() == "staurosporine" else
                             TrueCurve(midpoint=float("inf")) if kind < 0.25 else
                             TrueCurve(midpoint=float(midpoint), slope=slope, bottom=bottom if kind < 0.5 else 0.0))
    return curves


def _wells(role: str, treatment: str = "", *, doses: tuple[float, ...] = (float("nan"),), replicates: int) -> list[dict[str, object]]:
    """One row per dose and replicate; no plate and well yet."""
    return [{"role": role, "treatment": treatment, "dose": float(dose), "dose_unit": "nM" if dose == dose else "",
             "replicate": replicate} for replicate in range(1, replicates + 1) for dose in doses]


def _on_plate(rows: list[dict[str, object]], plate: str, *, seed: int) -> pd.DataFrame:
    """The rows at random places of a 96-well plate, in plate order."""
    names = np.array(list(wells_of(96)))
    places = np.random.default_rng([seed, *plate.encode()]).permutation(len(names))[:len(rows)]
    table = pd.DataFrame(rows).assign(plate=plate, well=names[places])
    first = ["plate", "well"]
    return table[first + [name for name in table if name not in first]].sort_values("well", ignore_index=True)


def _line_rows() -> list[dict[str, object]]:
    return (_wells("treated", "doxorubicin", doses=DOXORUBICIN_NM, replicates=8) + _wells("negative", "DMSO", replicates=8))


def _cell_line(line: CellLine, seed: int) -> Example:
    plate = f"{line.name}-plate-1"
    return Example(name=line.name.lower(), sample=line.name, kind="cell_line", controls="negative", lines={line.name: line},
                   layout=_on_plate(_line_rows(), plate, seed=seed), curves={"doxorubicin": line.doxorubicin}, seed=seed)


def _pretraining(seed: int) -> Example:
    """Four plates; replicate sets of a plate belong to different lines, so that each split holds all of them."""
    names, plates = list(MIXED_LINES), []
    for number in range(1, 5):
        rows = [row | {"line": names[(int(str(row["replicate"])) + number) % len(names)]} for row in _line_rows()]
        plates.append(_on_plate(rows, f"pretrain-plate-{number}", seed=seed))
    return Example(name="pretrain-brightfield", sample="mixed-lines", kind="cell_line", controls="negative", lines=MIXED_LINES,
                   layout=pd.concat(plates, ignore_index=True), curves={}, seed=seed)


def _heldout(seed: int) -> Example:
    doses = (1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)
    rows = [row for name in HELDOUT_CURVES for row in _wells("treated", name, doses=doses, replicates=2)]
    rows += _wells("negative", "DMSO", replicates=12)
    rows += _wells("positive", "benzethonium", doses=(KILL_NM["benzethonium"],), replicates=12)
    return Example(name="heldout-a549", sample="A549", kind="cell_line", lines={"A549": CELL_LINES["A549"]},
                   positive_control={"image": "benzethonium", "metabolic": "benzethonium"}, curves=HELDOUT_CURVES,
                   layout=_on_plate(rows, "A549-heldout-1", seed=seed), seed=seed + 1)


def _combinations(seed: int) -> Example:
    """A plate for each pair: both drugs alone and in all pairs of five doses, in duplicate."""
    plates = []
    for number, (first, second) in enumerate(COMBINED, 1):
        doses = [tuple(round(HELDOUT_CURVES[name].midpoint * 4.0**power, 3) for power in range(-2, 3)) for name in (first, second)]
        rows = [row for name, own in zip((first, second), doses, strict=True) for row in _wells("treated", name, doses=own, replicates=2)]
        rows += [row | {"treatment_2": second, "dose_2": dose, "dose_unit_2": "nM"} for dose in doses[1]
                 for row in _wells("treated", first, doses=doses[0], replicates=2)]
        rows += _wells("negative", "DMSO", replicates=12)
        rows += _wells("positive", "benzethonium", doses=(KILL_NM["benzethonium"],), replicates=8)
        plates.append(_on_plate(rows, f"A549-pair-{number}", seed=seed))
    layout = pd.concat(plates, ignore_index=True).fillna({"treatment_2": "", "dose_unit_2": ""})
    return Example(name="combinations-a549", sample="A549", kind="cell_line", lines={"A549": CELL_LINES["A549"]}, layout=layout,
                   positive_control={"image": "benzethonium", "metabolic": "benzethonium"}, curves=HELDOUT_CURVES, boosts=COMBINED,
                   seed=seed + 2)


def _primary(seed: int) -> Example:
    """A primary screen: two plates with a well of each treatment at one dose; most do nothing."""
    names = [f"compound {number:02d}" for number in range(1, PRIMARY_TREATMENTS + 1)]
    acting = np.random.default_rng([seed, PRIMARY_TREATMENTS]).choice(names, size=len(PRIMARY_INHIBITION), replace=False)
    curves = dict.fromkeys(names, TrueCurve(midpoint=float("inf"))) | {
        str(name): TrueCurve(midpoint=PRIMARY_NM * (100 - effect) / effect, slope=1.0)
        for name, effect in zip(acting, PRIMARY_INHIBITION, strict=True)}
    rows = [row for name in names for row in _wells("treated", name, doses=(PRIMARY_NM,), replicates=1)]
    rows += _wells("negative", "DMSO", replicates=12)
    rows += _wells("positive", "benzethonium", doses=(KILL_NM["benzethonium"],), replicates=12)
    plates = [_on_plate(rows, f"A549-primary-{number}", seed=seed).assign(replicate=number) for number in (1, 2)]
    return Example(name="primary-a549", sample="A549", kind="cell_line", lines={"A549": CELL_LINES["A549"]},
                   layout=pd.concat(plates, ignore_index=True), positive_control={"image": "benzethonium", "metabolic": "benzethonium"},
                   curves=curves, seed=seed + 3)


def _control_plate(seed: int) -> Example:
    rows = _wells("negative", "DMSO", replicates=48)
    rows += _wells("positive", "staurosporine", doses=(KILL_NM["staurosporine"],), replicates=48)
    return Example(name="inf-r-153-ce", sample="INF_R_153", kind="cell_line", positive_control={"image": "staurosporine"},
                   layout=_on_plate(rows, "INF_R_153-controls", seed=seed), curves={}, size=96, planes=3, seed=seed)


def _patient(seed: int) -> Example:
    """Two plates; each holds one of the duplicates of every drug and dose, 8 + 8 controls and a staurosporine series."""
    plates = []
    for number in (1, 2):
        rows = [row | {"replicate": number} for name in PATIENT_DRUGS
                for row in _wells("treated", name, doses=PATIENT_DOSES_NM, replicates=1)]
        rows += [row | {"replicate": number} for row in
                 _wells("reference", "staurosporine", doses=STAUROSPORINE_SERIES_NM, replicates=1)]
        rows += _wells("negative", "DMSO", replicates=8)
        rows += _wells("positive", "staurosporine", doses=(KILL_NM["staurosporine"],), replicates=8)
        plates.append(_on_plate(rows, f"PAT_1-P{number}", seed=seed))
    treatments = pd.DataFrame([{"treatment": name, "abbreviation": name[:4].upper(), "class": kind, "target": target}
                               for name, (_, kind, target) in PATIENT_DRUGS.items()])
    curves = {name: curve for name, (curve, _, _) in PATIENT_DRUGS.items()} | {"staurosporine": STAUROSPORINE}
    return Example(name="patient-1", sample="PAT_1", kind="patient", positive_control={"image": "staurosporine"},
                   treatments=treatments, layout=pd.concat(plates, ignore_index=True), curves=curves, size=96, planes=3,
                   seed=seed)
