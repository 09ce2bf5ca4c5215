"""Rules about dose series, replicates, combinations and the read-out table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from models.errors import Finding
from validation.evidence import Evidence, Rule, some


def _series(evidence: Evidence) -> Iterator[tuple[str, pd.DataFrame]]:
    """Wells of each single treatment with a dose; not of those with a dose that was not understood, which look incomplete."""
    wrong = {(one.plate, one.well) for one in evidence.parsed.errors if one.column == "dose"}
    unread = [(plate, well) in wrong
              for plate, well in zip(evidence.layout["plate"], evidence.layout["well"], strict=True)]
    wells = evidence.wells[(evidence.wells["role"] == "treated") & evidence.wells["dose"].gt(0)
                           & ~evidence.wells["treatment"].isin(evidence.layout.loc[unread, "treatment"])]
    if "treatment_2" in wells.columns:
        wells = wells[wells["treatment_2"] == ""]
    return ((str(treatment), group) for treatment, group in wells.groupby("treatment", sort=False))


def _about(treatment: str, *, rule: str, value: object, message: str, column: str = "dose") -> Finding:
    return Finding(rule=rule, severity="warning", column=column, value=str(value), message=f"treatment {treatment} {message}")


def enough_doses(evidence: Evidence) -> Iterator[Finding]:
    """Each treatment has enough distinct doses for a curve."""
    for treatment, wells in _series(evidence):
        doses = np.unique(wells["dose"])
        if len(doses) < evidence.thresholds.min_doses:
            yield _about(treatment, rule="dose_count", value=len(doses), message=(
                f"has {len(doses)} dose(s) ({some(f'{dose:g}' for dose in doses)}); a curve needs {evidence.thresholds.min_doses}, "
                "so it gets viabilities but no IC50"))


def constant_dilution(evidence: Evidence) -> Iterator[Finding]:
    """Neighbouring doses of a treatment differ by a constant factor."""
    for treatment, wells in _series(evidence):
        doses = np.unique(wells["dose"])
        if len(doses) < 3:
            continue
        steps = doses[1:] / doses[:-1]
        usual = float(np.median(steps))
        worst = int(np.argmax(np.abs(np.log(steps / usual))))
        if abs(steps[worst] / usual - 1) > evidence.thresholds.dilution_tolerance and not _customary(doses):
            yield _about(treatment, rule="dose_ratio", value=f"{steps[worst]:.3g}", message=(
                f"goes from {doses[worst]:g} to {doses[worst + 1]:g} (a factor of {steps[worst]:.3g}, elsewhere {usual:.3g}); "
                "is a dose missing or mistyped?"))


def _customary(doses: np.ndarray) -> bool:
    """Whether the doses are a customary series of round numbers, 1-2-5-10, 1-3-10 or 1-5-10, whose steps alternate."""
    digits = {f"{dose:.2e}".partition("e")[0] for dose in doses}
    return digits <= {"1.00", "2.00", "2.50", "3.00", "5.00"} and bool((doses[1:] / doses[:-1] <= 10.001).all())


def wide_doses(evidence: Evidence) -> Iterator[Finding]:
    """The doses of a treatment span a useful range."""
    for treatment, wells in _series(evidence):
        low, high = wells["dose"].min(), wells["dose"].max()
        if low < high and np.log10(high / low) < evidence.thresholds.min_dose_decades:
            yield _about(treatment, rule="dose_range", value=f"{low:g}-{high:g}", message=(
                f"is tested from {low:g} to {high:g} only; its IC50 will rarely lie inside, test a wider range"))


def enough_replicates(evidence: Evidence) -> Iterator[Finding]:
    """Each dose of a treatment stands in enough wells. One finding names all treatments at fault."""
    needed, few = evidence.thresholds.min_replicates, []
    for treatment, wells in _series(evidence):
        if wells.groupby("dose").size().min() < needed:
            few.append(treatment)
    if few:
        yield Finding(rule="replicates", severity="warning", column="replicate", value=few[0], message=(
            f"{len(few)} treatment(s) have doses in fewer than {needed} wells ({some(few)}); "
            "their scatter cannot be told from an effect"))


def combinations_complete(evidence: Evidence) -> Iterator[Finding]:
    """A well with a second treatment also has its dose, and the reverse; the two treatments differ."""
    if "treatment_2" not in evidence.wells.columns:
        return
    wells = evidence.wells[evidence.wells["role"] == "treated"]
    named, dosed = wells["treatment_2"] != "", wells["dose_2"] > 0
    unread = pd.Series([evidence.is_blamed(row, "dose_2") for _, row in wells.iterrows()], index=wells.index, dtype=bool)
    for wrong, message in (
        (named & ~dosed & ~unread, "name a second treatment without its dose; give dose_2 (and dose_unit_2)"),
        (dosed & ~named, "have dose_2 without treatment_2; name the second treatment"),
        (named & (wells["treatment_2"] == wells["treatment"]), "combine a treatment with itself; name two, or one with the summed dose"),
    ):
        for plate, group in wells[wrong].groupby("plate", sort=False):
            first = group.iloc[0]
            yield Finding(rule="combination", severity="warning", plate=str(plate), well=str(first["well"]), column="dose_2",
                          value=str(first["treatment_2"]),
                          message=f"{len(group)} well(s) of plate {plate} ({some(group['well'])}) {message}")


def readouts_complete(evidence: Evidence) -> Iterator[Finding]:
    """A plate with a read-out has one in (nearly) every well that holds cells."""
    for plate, wells in _read(evidence):
        missing = wells[wells["readout"].isna()]
        if len(missing):
            refused = len(missing) > evidence.thresholds.max_missing_readouts * len(wells)
            yield Finding(rule="readout_missing", severity="error" if refused else "warning", plate=plate,
                          well=str(missing.iloc[0]["well"]), column="readout", value=str(len(missing)), message=(
                f"{len(missing)} of {len(wells)} wells of plate {plate} have no read-out ({some(missing['well'])}); "
                "fill them in, or remove the column if there was no assay"))


def readouts_in_range(evidence: Evidence) -> Iterator[Finding]:
    """No read-out is below zero, and none sits at the reader's upper limit."""
    for plate, wells in _read(evidence):
        below, top = wells[wells["readout"] < 0], wells[wells["readout"] == wells["readout"].max()]
        for rule, group, count, what in (
            ("readout_negative", below, 1, "below zero; is the blank subtracted twice?"),
            ("readout_saturated", top, evidence.thresholds.saturated_readouts,
             "exactly the plate's highest value, as a saturated reader gives it; dilute, or read again"),
        ):
            if len(group) >= count and wells["readout"].nunique() > 1:
                yield Finding(rule=rule, severity="warning", plate=plate, well=str(group.iloc[0]["well"]), column="readout",
                              value=f"{group.iloc[0]['readout']:g}",
                              message=f"{len(group)} read-out(s) of plate {plate} ({some(group['well'])}) are {what}")


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
    Rule("dose_range", "doses", "Doses span a useful range", wide_doses),
    Rule("replicates", "doses", "Each dose is replicated", enough_replicates),
    Rule("combination", "doses", "Combinations name and dose both treatments", combinations_complete),
    Rule("readout_missing", "readout", "Each well of an assay has a read-out", readouts_complete),
    Rule("readout_range", "readout", "Read-outs lie inside the reader's range", readouts_in_range),
)
