"""Rules about dose series, replicates, combinations and the read-out table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from models.errors import Finding, Severity
from models.words import are, have, listed, number, some
from validation.control_rules import KINDS
from validation.evidence import Evidence, Rule

PRIMARY_SCREEN = 8      # treatments with too few doses for a curve, from which on that is how the screen was made
FEWEST_ALIKE, SHARED = 3, 0.75      # treatments, and share of all, with the same doses, beside which another's tell of a slipped unit
THOUSANDS = (-6.0, -3.0, 3.0, 6.0)  # log10 of what units differ by
OD_SCALE = 10   # optical densities lie below: data sheets of plate readers end at OD 4 (0.01 % of the light), and what they print beyond
                # is noise of a few units; luminescence and fluorescence count in hundreds and more


def _about(treatment: str, wells: pd.DataFrame, *, rule: str, value: object, message: str) -> Finding:
    """A warning about a treatment; `wells` are drawn if they stand on one plate."""
    one = wells["plate"].nunique() == 1
    return Finding(rule=rule, severity="warning", plate=str(wells["plate"].iloc[0]) if one else "",
                   well=listed(wells["well"]) if one else "", column="dose", value=str(value), message=f"treatment {treatment} {message}")


def enough_doses(evidence: Evidence) -> Iterator[Finding]:
    """Each treatment has enough distinct doses for a curve. Many that have not are a primary screen, and one finding."""
    needed = evidence.thresholds.min_doses
    doses_of = {treatment: np.unique(wells["dose"]) for treatment, wells in evidence.series.items()}
    few = {treatment: doses for treatment, doses in doses_of.items() if len(doses) < needed}
    if len(few) > PRIMARY_SCREEN:
        yield Finding(rule="dose_count", severity="warning", column="dose", value=str(len(few)), message=(
            f"{len(few)} treatments have fewer than {needed} doses ({some(few)}); a curve needs {needed}, so each of their doses gets an "
            "effect with limits, and no IC50"))
        return
    for treatment, doses in few.items():
        wells = evidence.series[treatment]
        yield _about(treatment, wells, rule="dose_count", value=len(doses), message=(
            f"has {number(len(doses), 'dose')} ({some(f'{dose:g}' for dose in doses)} {_unit(wells)}); a curve needs {needed}, so each "
            "gets an effect with limits, and the treatment no IC50"))


def _unit(wells: pd.DataFrame) -> str:
    return str(wells["dose_unit"].iloc[0])


def constant_dilution(evidence: Evidence) -> Iterator[Finding]:
    """Neighbouring doses of a treatment differ by a constant factor."""
    for treatment, wells in evidence.series.items():
        doses = np.unique(wells["dose"])
        if len(doses) < 3:
            continue
        steps = doses[1:] / doses[:-1]
        usual = float(np.median(steps))
        worst = int(np.argmax(np.abs(np.log(steps / usual))))
        if abs(steps[worst] / usual - 1) > evidence.thresholds.dilution_tolerance and not _customary(doses):
            either_side = wells[wells["dose"].isin(doses[worst:worst + 2])]
            yield _about(treatment, either_side, rule="dose_ratio", value=f"{steps[worst]:.3g}", message=(
                f"goes from {doses[worst]:g} to {doses[worst + 1]:g} {_unit(wells)} (a factor of {steps[worst]:.3g}, elsewhere "
                f"{usual:.3g}); is a dose missing or mistyped?"))


def _customary(doses: np.ndarray) -> bool:
    """Whether the doses are a customary series of round numbers, 1-2-5-10, 1-3-10 or 1-5-10, whose steps alternate."""
    digits = {f"{dose:.2e}".partition("e")[0] for dose in doses}
    return digits <= {"1.00", "2.00", "2.50", "3.00", "5.00"} and bool((doses[1:] / doses[:-1] <= 10.001).all())


def doses_like_others(evidence: Evidence) -> Iterator[Finding]:
    """No treatment has the doses that the others share, times or over a thousand: a unit that slipped, and with it an IC50."""
    series = {treatment: tuple(np.unique(wells["dose"])) for treatment, wells in evidence.series.items()}
    usual, many = Counter(series.values()).most_common(1)[0] if series else ((), 0)
    if many < max(FEWEST_ALIKE, SHARED * len(series)):
        return
    for treatment, doses in series.items():
        factors = {round(float(np.log10(dose / other)), 2) for dose, other in zip(doses, usual, strict=False)}
        if len(doses) == len(usual) and len(factors) == 1 and (factor := factors.pop()) in THOUSANDS:
            wells = evidence.series[treatment]
            yield _about(treatment, wells, rule="dose_unit_slip", value=f"{doses[0]:g}-{doses[-1]:g}", message=(
                f"has doses of {doses[0]:g} to {doses[-1]:g} {_unit(wells)}, those of {many} others ({usual[0]:g} to {usual[-1]:g}) "
                f"{'times' if factor > 0 else 'over'} {10 ** abs(factor):g}: is its unit right? If not, its IC50 is off as much"))


def wide_doses(evidence: Evidence) -> Iterator[Finding]:
    """The doses of a treatment span a useful range."""
    for treatment, wells in evidence.series.items():
        low, high = wells["dose"].min(), wells["dose"].max()
        if low < high and np.log10(high / low) < evidence.thresholds.min_dose_decades:
            yield _about(treatment, wells, rule="dose_range", value=f"{low:g}-{high:g}", message=(
                f"is tested from {low:g} to {high:g} {_unit(wells)} only; its IC50 will rarely lie inside, test a wider range"))


def enough_replicates(evidence: Evidence) -> Iterator[Finding]:
    """Each dose of a treatment stands in enough wells, on whichever plates. One finding per plate names its wells at fault."""
    needed = evidence.thresholds.min_replicates
    few = []
    for wells in evidence.series.values():
        thin = wells.groupby("dose")["dose"].transform("size") < needed
        if thin.any():
            few.append(wells[thin])
    for plate, wells in pd.concat(few).groupby("plate", sort=False) if few else ():
        treatments = list(dict.fromkeys(wells["treatment"]))
        patient = evidence.screen.kind == "patient"
        second = "; phase III of a patient's model, which labels each well by its duplicate, needs two" if patient else ""
        yield Finding(rule="replicates", severity="warning", plate=str(plate), well=listed(wells["well"]), column="replicate",
                      value=treatments[0], message=(
            f"{number(len(treatments), 'treatment')} of plate {plate} ({some(treatments)}) {have(len(treatments))} doses in fewer "
            f"than {needed} wells; their scatter cannot be told from an effect{second}"))


def combinations_complete(evidence: Evidence) -> Iterator[Finding]:
    """A well with a second treatment also has its dose, and the reverse; the two treatments differ.

    Where no well states a second dose, the second treatment is taken as given alike to all (an add-on): a warning.
    """
    if "treatment_2" not in evidence.wells.columns:
        return
    wells = evidence.wells[evidence.wells["role"] == "treated"]
    named, dosed = wells["treatment_2"] != "", wells["dose_2"] > 0
    unread = pd.Series([(plate, well, "dose_2") in evidence.blamed for plate, well in zip(wells["plate"], wells["well"], strict=True)],
                       index=wells.index, dtype=bool)
    grade: Severity = "error" if dosed.any() else "warning"
    problems: tuple[tuple[pd.Series, Severity, str], ...] = (
        (named & ~dosed & ~unread, grade, "name a second treatment without its dose; give dose_2 (and dose_unit_2)"),
        (dosed & ~named, "error", "have dose_2 without treatment_2; name the second treatment"),
        (named & (wells["treatment_2"] == wells["treatment"]), "error",
         "combine a treatment with itself; name two, or one with the summed dose"))
    for wrong, severity, message in problems:
        for plate, group in wells[wrong].groupby("plate", sort=False):
            yield Finding(rule="combination", severity=severity, plate=str(plate), well=listed(group["well"]), column="dose_2",
                          value=str(group["treatment_2"].iloc[0]), message=f"{number(len(group), 'well')} of plate {plate} {message}")


def combinations_have_parts(evidence: Evidence) -> Iterator[Finding]:
    """Both parts of a combination are tested alone at its doses, without which no synergy can be computed."""
    if "treatment_2" not in evidence.wells.columns:
        return
    wells = evidence.wells[(evidence.wells["role"] == "treated") & evidence.wells["dose"].gt(0)]
    single = wells[wells["treatment_2"] == ""]
    alone = set(zip(single["treatment"], single["dose"], strict=True))
    pairs = wells[(wells["treatment_2"] != "") & wells["dose_2"].gt(0)]
    for (first, second), group in pairs.groupby(["treatment", "treatment_2"], sort=False):
        parts = {(first, dose) for dose in group["dose"]} | {(second, dose) for dose in group["dose_2"]}
        lacking = sorted(parts - alone)
        if lacking:
            yield _about(f"{first} + {second}", group, rule="combination_parts", value=len(lacking), message=(
                f"has no wells with {some(f'{name} {dose:g}' for name, dose in lacking)} alone; its viabilities are scored, but not "
                "whether the two help each other (synergy)"))


def readouts_complete(evidence: Evidence) -> Iterator[Finding]:
    """A plate with a read-out has one in (nearly) every well that holds cells."""
    for plate, wells in _read(evidence):
        missing = wells[wells["readout"].isna()]
        if len(missing):
            refused = len(missing) > evidence.thresholds.max_missing_readouts * len(wells)
            yield Finding(rule="readout_missing", severity="error" if refused else "warning", plate=plate, well=listed(missing["well"]),
                          column="readout", value=str(len(missing)), message=(
                f"{len(missing)} of {number(len(wells), 'well')} of plate {plate} {have(len(missing))} no read-out; "
                "fill them in, exclude the wells, or remove the column if there was no assay"))


def controls_have_readouts(evidence: Evidence) -> Iterator[Finding]:
    """On plates with read-outs, enough controls of each declared kind have one: viability is measured from them."""
    for plate, wells in _read(evidence):
        for kind in KINDS[evidence.screen.controls]:
            controls = wells[wells["role"] == kind]
            read = controls["readout"].notna()
            if read.sum() < min(evidence.thresholds.min_controls, len(controls)):
                unread, count = listed(controls["well"][~read]), int(read.sum())
                yield Finding(rule="readout_controls", severity="warning", plate=plate, well=unread, column="readout",
                              value=str(count), message=(
                    f"{count} of {number(len(controls), f'{kind} control well')} of plate {plate} {have(count)} a read-out; "
                    f"viability by read-outs {'rests on so few' if count else 'cannot be computed'}: read the plate again"))


def readouts_in_range(evidence: Evidence) -> Iterator[Finding]:
    """No read-out is below zero, none is an optical density that no reader measures, and none sits at the reader's upper limit."""
    limits = evidence.thresholds
    for plate, wells in _read(evidence):
        values = wells["readout"]
        is_od = values.median() < limits.max_od and values.max() < OD_SCALE
        at_top = values == values.max()
        stuck = at_top.sum() >= limits.saturated_readouts and values.nunique() > 1
        for rule, group, what in (
            ("readout_negative", wells[values < 0], "below zero; is the blank subtracted twice?"),
            ("readout_high", wells[(values > limits.max_od) & is_od],
             f"above OD {limits.max_od:g}, where too little light is left to measure; dilute, or read again"),
            ("readout_saturated", wells[at_top & stuck], "exactly the plate's highest value, as a saturated reader gives it; "
                                                         "dilute, or read again"),
        ):
            if len(group):
                yield Finding(rule=rule, severity="warning", plate=plate, well=listed(group["well"]), column="readout",
                              value=f"{group['readout'].iloc[0]:g}", message=(
                    f"{number(len(group), 'read-out')} of plate {plate} {are(len(group))} {what}"))


def _read(evidence: Evidence) -> Iterator[tuple[str, pd.DataFrame]]:
    """Wells with cells, per plate that has any read-out."""
    if "readout" not in evidence.wells.columns:
        return
    for plate, wells in evidence.wells[evidence.wells["role"] != "empty"].groupby("plate", sort=False):
        if wells["readout"].notna().any():
            yield str(plate), wells


RULES = (
    Rule("dose_count", "doses", "Each treatment has enough doses for a curve", enough_doses),
    Rule("dose_ratio", "doses", "Doses are diluted by a constant factor", constant_dilution),
    Rule("dose_unit_slip", "doses", "No treatment's doses are a thousand times those of all others", doses_like_others),
    Rule("dose_range", "doses", "Doses span a useful range", wide_doses),
    Rule("replicates", "doses", "Each dose is replicated", enough_replicates),
    Rule("combination", "doses", "Combinations name and dose both treatments", combinations_complete),
    Rule("combination_parts", "doses", "Both parts of a combination are tested alone too", combinations_have_parts),
    Rule("readout_missing", "readout", "Each well of an assay has a read-out", readouts_complete),
    Rule("readout_controls", "readout", "Enough controls of each kind have a read-out", controls_have_readouts),
    Rule("readout_range", "readout", "Read-outs lie inside the reader's range", readouts_in_range,
         ("readout_negative", "readout_high", "readout_saturated")),
)
