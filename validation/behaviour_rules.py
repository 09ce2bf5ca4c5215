"""Rules about behaviour: do controls and control series act as the layout says? They find layouts that lie wrong on the plate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.errors import Finding
from validation.behaviour import TURNS, coherence, effect, plate_signals, rank_correlation, replicate_groups, separation, turned
from validation.evidence import Evidence, Rule, some

COHERENCE_GAIN = 0.3    # of adjusted r2 among replicates that a turned layout must bring
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


def _plates(evidence: Evidence) -> Iterator[_Plate]:
    """Plates that have signals and both kinds of controls."""
    for name, wells in evidence.wells.groupby("plate", sort=False):
        signals, source = plate_signals(wells, evidence.inventory)
        plate = _Plate(str(name), wells, signals, source)
        if signals.shape[1] and all(plate.controls()):
            yield plate


def layout_lies_right(evidence: Evidence) -> Iterator[Finding]:
    """No turned or shifted layout explains controls and replicates better than the layout as it is."""
    for plate in _plates(evidence):
        own = _fit(plate, plate.wells)
        best, fit = "", own
        for turn in TURNS:
            candidate = _fit(plate, turned(plate.wells, turn, evidence.screen.plate_format))
            if candidate[1] > fit[1]:
                best, fit = turn, candidate
        if best and fit[0] >= evidence.thresholds.swap_confidence and fit[0] >= own[0] and fit[1] - own[1] > COHERENCE_GAIN:
            yield Finding(rule="layout_turned", severity="error", plate=plate.name, column="well", value=best, message=(
                f"plate {plate.name} behaves as if its layout were {best}: by the {plate.source}, replicate wells then agree "
                f"(r2 {fit[1]:.2f}, as it is {own[1]:.2f}) and {fit[0]:.0%} of the controls act as their kind (as it is {own[0]:.0%}); "
                "check how the plate stood in the reader and correct the wells"))


def _fit(plate: _Plate, wells: pd.DataFrame) -> tuple[float, float]:
    """(separation of controls, coherence of replicates) under a layout; -1 where not computable."""
    wells = wells[wells["well"].isin(plate.signals.index)]
    negative, positive = plate.controls(wells)
    figures = (separation(plate.signals, negative, positive),
               coherence(plate.signals.loc[wells["well"]], replicate_groups(wells)) if len(wells) else float("nan"))
    return tuple(-1.0 if np.isnan(figure) else figure for figure in figures)  # type: ignore[return-value]


def controls_not_swapped(evidence: Evidence) -> Iterator[Finding]:
    """The more of a treatment, the more a well resembles the positive control, not the negative."""
    for plate in _plates(evidence):
        if not separation(plate.signals, *plate.controls()) >= evidence.thresholds.swap_confidence:
            continue
        effects = effect(plate.signals, *plate.controls())
        dosed = plate.wells[(plate.wells["role"] == "treated") & plate.wells["dose"].gt(0) & plate.wells["well"].isin(effects.index)]
        ranks = dosed.groupby("treatment")["dose"].rank(pct=True)
        rho = rank_correlation(ranks, dosed["well"].map(effects)) if len(dosed) >= MIN_WELLS else float("nan")
        if rho <= -SURE_SERIES:
            yield Finding(rule="controls_swapped", severity="error", plate=plate.name, column="role", value=f"{rho:.2f}", message=(
                f"negative and positive controls of plate {plate.name} seem swapped: by the {plate.source}, wells resemble the negative "
                f"controls more the higher their dose (rank correlation {rho:.2f}); check the roles, or the order of the doses"))


def controls_act_as_their_kind(evidence: Evidence) -> Iterator[Finding]:
    """No single control well acts like the other kind, where the kinds are clearly apart."""
    for plate in _plates(evidence):
        negative, positive = plate.controls()
        share = separation(plate.signals, negative, positive)
        if not 0.5 < share < 1:
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
        if not separation(plate.signals, *plate.controls()) >= evidence.thresholds.swap_confidence:
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
    Rule("control_stray", "behaviour", "Each control well acts as its kind", controls_act_as_their_kind),
    Rule("control_series", "behaviour", "Control series fall with their dose", control_series_fall),
)
