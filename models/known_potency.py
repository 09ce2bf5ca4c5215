"""Does a compound whose IC50 is known act at its usual doses on each plate?

A dilution that carried over, a stock of ten times the strength, a reading at 24 hours in place of 72, or twice the cells shift all
curves of a plate along the doses. Each of them stays a perfect curve: neither wells nor controls nor images show it. A compound that went
the same way through the same hands, and whose IC50 is known from before, does (Assay Guidance Manual: a reference compound in every run).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from models.dose_response import FitOptions
from models.dose_response.doubts import TOO_HIGH_WORDS, TOO_LOW_WORDS
from models.dose_response.words import dose_words, stated
from models.effects import treatment_curves
from models.errors import Finding
from models.plates.screen import Screen
from models.tables import DOSED_ROLES
from models.words import some

OFF, UNCHECKED = "potency_off", "potency_unchecked"     # rules of the findings
_COMMON = "Where its stock is sound, doses, cells or hours are not as usual for all treatments of the plate, and IC50s are off as far"


def potency_findings(wells: pd.DataFrame, *, screen: Screen, value: str) -> list[Finding]:
    """A warning for each plate on which a compound of `expected_ic50` surely acts at other doses, whatever the scatter of its wells and
    of the plate's controls; and for each compound that cannot be judged on some of the plates. column: "above" or "below" of the former.

    wells: WellScores, with `value`, the column of raw outputs.
    """
    expected = {name.strip().casefold(): (name, float(limits[0]), float(limits[1])) for name, limits in screen.expected_ic50.items()}
    found: list[Finding] = []
    unchecked: dict[str, list[str]] = {name: [] for name in expected}
    known = wells["treatment"].str.strip().str.casefold()
    for plate, own in wells.groupby("plate", sort=False) if expected else ():
        kept = own[~own["role"].isin(DOSED_ROLES) | known[own.index].isin(list(expected))]
        curves = treatment_curves(kept, FitOptions(), controls=screen.controls, value=value)
        rows = {str(row["treatment"]).strip().casefold(): row for _, row in curves.iterrows() if row.get("ic50_relation")}
        for key, (name, low, high) in expected.items():
            if key in rows:
                found += _judged(rows[key], str(plate), name, low, high)
            else:
                unchecked[key].append(str(plate))
    return [*found, *(_unchecked(expected[key][0], plates) for key, plates in unchecked.items() if plates)]


def potency_words(findings: Iterable[Finding]) -> dict[str, str]:
    """plate -> why its curves are in doubt, of plates on which a known compound acts at other doses."""
    words: dict[str, str] = {}
    for one in findings:
        if one.rule == OFF:
            said = (f"the IC50 of a known compound is {one.value} on plate {one.plate}: where its doses, cells or hours are not as usual, "
                    f"{TOO_HIGH_WORDS if one.column == 'above' else TOO_LOW_WORDS}")
            words[one.plate] = f"{words[one.plate]}; {said}" if one.plate in words else said
    return words


def _judged(row: pd.Series, plate: str, name: str, low: float, high: float) -> list[Finding]:
    least, most = _limits(row)
    if least <= high and most >= low:
        return []
    unit = str(row["dose_unit"])
    reads, wanted = stated(row["ic50"], row["ic50_relation"], unit), f"{dose_words(low, '')} to {dose_words(high, unit)}"
    return [Finding(rule=OFF, severity="warning", plate=plate, column="above" if least > high else "below",
                    value=f"{reads} ({name}, expected {wanted})",
                    message=f"{name} has an IC50 of {reads} on plate {plate}, where expected_ic50 gives {wanted}. {_COMMON}; look "
                            "at dilution, incubation and seeding, and use none of them before")]


def _limits(row: pd.Series) -> tuple[float, float]:
    """The widest limits of the IC50 of a curve, 0 and infinite where they are open. A flat curve is as far off as its doses reach."""
    least, most = (row.reindex([f"ic50_{end}", f"ic50_model_{end}"]).astype(float).to_numpy() for end in ("low", "high"))
    open_low, open_high = bool(np.isnan(least[0])), bool(np.isnan(most[0]))
    if row["status"] == "flat":
        open_low, open_high = row["ic50_relation"] != ">", row["ic50_relation"] != "<"
        least, most = np.array([row["ic50"]]), np.array([row["ic50"]])
    return 0.0 if open_low else float(np.nanmin(least)), np.inf if open_high else float(np.nanmax(most))


def _unchecked(name: str, plates: list[str]) -> Finding:
    return Finding(rule=UNCHECKED, severity="warning", column="treatment", value=name, message=(
        f"expected_ic50 names {name}, but plates {some(plates)} give no IC50 of it: nothing tells whether doses, cells and "
        "hours are as usual there; is it spelt as in the layout, and does it stand there at four doses or more?"))
