"""Rules about controls: are those that the screen declares on each plate, enough, balanced, and well placed?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from models.errors import Finding
from models.plates.wells import PLATE_FORMATS
from validation.evidence import Evidence, Rule, some

KINDS = {"both": ("negative", "positive"), "negative": ("negative",), "none": ()}


def _plates(evidence: Evidence) -> Iterator[tuple[str, pd.DataFrame]]:
    return ((str(plate), wells) for plate, wells in evidence.wells.groupby("plate", sort=False))


def controls_present(evidence: Evidence) -> Iterator[Finding]:
    """Each plate holds enough wells of each declared kind of control."""
    needed, declared = evidence.thresholds.min_controls, evidence.screen.controls
    for plate, wells in _plates(evidence):
        for kind in KINDS[declared]:
            count = int((wells["role"] == kind).sum())
            if count < needed:
                found = f"{count or 'no'} {kind} control well{'s' * (count > 1)}"
                yield Finding(rule="controls_present", severity="error", plate=plate, column="role", value=str(count), message=(
                    f"plate {plate} has {found}, where {needed} are needed; mark them in the layout (role {kind}), or change "
                    f"'controls: {declared}' in screen.yaml if the plate was made without"))


def controls_balanced(evidence: Evidence) -> Iterator[Finding]:
    """Neither kind of control outnumbers the other by far."""
    for plate, wells in _plates(evidence):
        negative, positive = (int((wells["role"] == kind).sum()) for kind in ("negative", "positive"))
        if negative and positive and max(negative, positive) > evidence.thresholds.max_control_ratio * min(negative, positive):
            yield Finding(rule="controls_balanced", severity="warning", plate=plate, column="role", value=f"{negative}:{positive}",
                          message=f"plate {plate} has {negative} negative and {positive} positive control wells; the rarer kind "
                                  "sets how well viability is known, give it more wells next time")


def controls_spread(evidence: Evidence) -> Iterator[Finding]:
    """The controls of a kind do not all stand in one column, in one row, or on the plate's edge."""
    rows, columns = PLATE_FORMATS[evidence.screen.plate_format]
    for plate, wells in _plates(evidence):
        for kind in KINDS[evidence.screen.controls]:
            controls = wells[wells["role"] == kind]
            edge = controls["row"].isin((0, rows - 1)) | controls["column"].isin((0, columns - 1))
            where = ("in one column" if controls["column"].nunique() == 1 else "in one row" if controls["row"].nunique() == 1
                     else "on the edge of the plate" if edge.all() else "")
            if where and len(controls) > 1:
                yield Finding(rule="controls_spread", severity="warning", plate=plate, column="role", value=kind, message=(
                    f"all {len(controls)} {kind} control wells of plate {plate} stand {where} ({some(controls['well'])}); "
                    "a pipetting or edge effect there shifts every result, spread them next time"))


def controls_named(evidence: Evidence) -> Iterator[Finding]:
    """Positive control wells hold a compound that the screen names as positive control."""
    named = {name.casefold() for name in evidence.screen.positive_control.values()}
    for plate, wells in _plates(evidence):
        positive = wells[(wells["role"] == "positive") & (wells["treatment"] != "")]
        other = positive[~positive["treatment"].str.casefold().isin(named)]
        if named and len(other):
            yield Finding(rule="controls_named", severity="warning", plate=plate, well=str(other.iloc[0]["well"]), column="treatment",
                          value=str(other.iloc[0]["treatment"]), message=(
                f"{len(other)} positive control well(s) hold {some(other['treatment'])}, but screen.yaml names {some(sorted(named))}; "
                "set their role to reference, or correct positive_control"))


RULES = (
    Rule("controls_present", "controls", "Each plate has enough controls of each declared kind", controls_present),
    Rule("controls_balanced", "controls", "Negative and positive controls are balanced", controls_balanced),
    Rule("controls_spread", "controls", "Controls are spread over the plate", controls_spread),
    Rule("controls_named", "controls", "Positive controls hold the compound that the screen names", controls_named),
)
