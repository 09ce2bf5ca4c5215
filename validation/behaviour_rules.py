"""Rules about behaviour: do controls and control series act as the layout says? They find layouts that lie wrong on the plate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.errors import Finding
from validation.behaviour import TURNS, by_chance, coherence, effect, rank_correlation, replicate_groups, separation, turned
from validation.evidence import Evidence, Rule, some

CHANCE = 1e-3           # probability, over all turns, that so many controls fall into place by chance; below it they suffice
COHERENCE_GAIN = 0.2    # of adjusted r2 among replicates that a turned layout must bring where the controls do not suffice
COHERENCE_ALONE = 0.5   # of adjusted r2 that it must bring where there are not both kinds of controls to ask
SEPARATION_GAIN = 0.2   # of the share of controls that act as their kind
SPARE_WELLS = 24        # replicate wells that must be there to judge by coherence alone
CLEARLY_APART = 0.85    # share of controls that act as their kind, from which on a stray one is strange
OPPOSITE = 0.7          # cosine between a plate's way from negative to positive and that of the others, below minus which they disagree
FEW_CONTROLS = 6        # wells of each kind that it takes to call one strange
SURE_SERIES = 0.5       # |Spearman| of effect on dose, over all treated wells, that shows which way effects go
MIN_WELLS = 8           # treated wells for that


@dataclass(frozen=True)
class _Plate:
    """One plate's wells with signals. negative, positive: names of its control wells; source: of the signals."""

    name: str
    wells: pd.DataFrame
    signals: pd.DataFrame
    source: str

    def controls(self, wells: pd.DataFrame | None = None) -> tuple[list[str], list[str]]:
        """(negative, positive) control wells that have a signal, by the plate's own or another layout."""
        table = self.wells if wells is None else wells
        negative, positive = ([str(well) for well in table.loc[table["role"] == role, "well"] if well in self.signals.index]
                              for role in ("negative", "positive"))
        return negative, positive


def _signals(evidence: Evidence) -> Iterator[_Plate]:
    """Each plate with each of its sources of signals."""
    for name, wells in evidence.wells.groupby("plate", sort=False):
        for source, signals in evidence.signals[str(name)].items():
            yield _Plate(str(name), wells, signals, source)


def _plates(evidence: Evidence) -> Iterator[_Plate]:
    """The same, where both kinds of controls have signals."""
    return (plate for plate in _signals(evidence) if all(plate.controls()))


def layout_lies_right(evidence: Evidence) -> Iterator[Finding]:
    """No turned or shifted layout explains controls and replicates much better than the layout as it is."""
    for plate in _signals(evidence):
        alone = not all(plate.controls())
        own = _fit(plate, plate.wells, alone=alone)
        if own[1] >= 1 - COHERENCE_ALONE if alone else own[0] >= 1 - SEPARATION_GAIN:
            continue    # no turned layout could be that much better
        turn, fit = max(((turn, _fit(plate, turned(plate.wells, turn, evidence.screen.plate_format), alone=alone)) for turn in TURNS),
                        key=lambda one: one[1])
        unlikely = by_chance(fit[0], sum(map(len, plate.controls()))) * len(TURNS) < CHANCE
        told = (fit[1] - own[1] > COHERENCE_ALONE if alone else
                fit[0] >= evidence.thresholds.swap_confidence and fit[0] - own[0] > SEPARATION_GAIN
                and (unlikely or fit[1] - own[1] > COHERENCE_GAIN))
        if told:
            controls = "" if alone else f" and {fit[0]:.0%} of the controls act as their kind (as it is {own[0]:.0%})"
            yield Finding(rule="layout_turned", severity="error", plate=plate.name, column="well", value=turn, message=(
                f"plate {plate.name} behaves as if its layout were {turn}: by the {plate.source}, replicate wells then agree with "
                f"r2 {fit[1]:.2f} (as it is {own[1]:.2f}){controls}; check how the plate stood in the reader and correct the wells"))


def _fit(plate: _Plate, wells: pd.DataFrame, *, alone: bool) -> tuple[float, float]:
    """(separation of controls, coherence of replicates) under a layout; a figure that cannot be computed is 0."""
    wells = wells[wells["well"].isin(plate.signals.index)]
    if wells.empty:
        return 0.0, 0.0
    groups = replicate_groups(wells)
    figures = (separation(plate.signals, *plate.controls(wells)),
               coherence(plate.signals.loc[groups.index], groups, spare_wells=SPARE_WELLS if alone else MIN_WELLS))
    return tuple(0.0 if np.isnan(figure) else figure for figure in figures)  # type: ignore[return-value]


def controls_not_swapped(evidence: Evidence) -> Iterator[Finding]:
    """The more of a treatment, the more a well resembles the positive control, not the negative."""
    for plate in _plates(evidence):
        if not separation(plate.signals, *plate.controls()) >= CLEARLY_APART:
            continue
        effects = effect(plate.signals, *plate.controls())
        dosed = plate.wells[(plate.wells["role"] == "treated") & plate.wells["dose"].gt(0) & plate.wells["well"].isin(effects.index)]
        ranks = dosed.groupby("treatment")["dose"].rank(pct=True)
        rho = rank_correlation(ranks, dosed["well"].map(effects)) if len(dosed) >= MIN_WELLS else float("nan")
        if rho <= -SURE_SERIES:
            yield Finding(rule="controls_swapped", severity="error", plate=plate.name, column="role", value=f"{rho:.2f}", message=(
                f"negative and positive controls of plate {plate.name} seem swapped: by the {plate.source}, wells resemble the negative "
                f"controls more the higher their dose (rank correlation {rho:.2f}); check the roles, or the order of the doses"))


def plates_agree(evidence: Evidence) -> Iterator[Finding]:
    """On every plate the way from negative to positive controls is the same."""
    ways: dict[str, dict[str, np.ndarray]] = {}
    for plate in _plates(evidence):
        negative, positive = plate.controls()
        way = (plate.signals.loc[positive].median() - plate.signals.loc[negative].median()).to_numpy(dtype="float64")
        if separation(plate.signals, negative, positive) >= CLEARLY_APART and way.any():
            ways.setdefault(plate.source, {})[plate.name] = way / np.linalg.norm(way)
    for source, directions in ways.items():
        total = np.sum(list(directions.values()), axis=0) if len({len(way) for way in directions.values()}) == 1 else np.zeros(1)
        for name, way in directions.items():
            others = total - way
            if np.linalg.norm(others) > 0 and float(way @ others) < -OPPOSITE * np.linalg.norm(others):
                yield Finding(rule="controls_disagree", severity="error", plate=name, column="role", value=source, message=(
                    f"on plate {name} negative and positive controls differ the other way round than on the other plates, by the "
                    f"{source}; they were probably swapped on it: check the roles, or how the plate stood in the reader"))


def controls_act_as_their_kind(evidence: Evidence) -> Iterator[Finding]:
    """No single control well acts like the other kind, where the kinds are clearly apart."""
    for plate in _plates(evidence):
        negative, positive = plate.controls()
        share = separation(plate.signals, negative, positive)
        if not CLEARLY_APART <= share < 1 or min(len(negative), len(positive)) < FEW_CONTROLS:
            continue
        effects = effect(plate.signals, negative, positive)
        for kind, wells, wrong in (("negative", negative, effects > 0.5), ("positive", positive, effects < 0.5)):
            strays = [well for well in wells if wrong[well]]
            if 0 < len(strays) <= len(wells) / 3:
                yield Finding(rule="control_stray", severity="warning", plate=plate.name, well=strays[0], column="role", value=kind,
                              message=f"by the {plate.source}, {kind} control well(s) {some(strays)} of plate {plate.name} act like the "
                                      "other kind; check what was pipetted there, exclude them with a reason if it was wrong")


def control_series_fall(evidence: Evidence) -> Iterator[Finding]:
    """Viability falls along the doses of a reference compound."""
    for plate in _plates(evidence):
        if not separation(plate.signals, *plate.controls()) >= CLEARLY_APART:
            continue
        viability = 1 - effect(plate.signals, *plate.controls())
        chosen = plate.wells[(plate.wells["role"] == "reference") & plate.wells["well"].isin(viability.index)]
        for treatment, series in chosen.groupby("treatment", sort=False):
            rho = rank_correlation(series["dose"], series["well"].map(viability)) if series["dose"].nunique() >= 3 else float("nan")
            if rho > evidence.thresholds.series_correlation:
                yield Finding(rule="control_series", severity="warning", plate=plate.name, column="dose", value=f"{rho:.2f}", message=(
                    f"the control series of {treatment} on plate {plate.name} does not fall with its dose (rank correlation "
                    f"{rho:.2f} by the {plate.source}, expected {evidence.thresholds.series_correlation:g} or less); "
                    "its dilution or the plate is in doubt"))


RULES = (
    Rule("layout_turned", "behaviour", "The layout lies on the plate as the plate behaves", layout_lies_right),
    Rule("controls_swapped", "behaviour", "Positive controls act like high doses, negative ones like low doses", controls_not_swapped),
    Rule("controls_disagree", "behaviour", "Controls differ in the same way on every plate", plates_agree),
    Rule("control_stray", "behaviour", "Each control well acts as its kind", controls_act_as_their_kind),
    Rule("control_series", "behaviour", "Control series fall with their dose", control_series_fall),
)
