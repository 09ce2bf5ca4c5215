"""Rules about controls: are those that the screen declares on each plate, enough, balanced, well placed, and where they should be?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from models.errors import Finding
from models.plates.vocabulary import canonical_role
from models.wells import PLATE_FORMATS, parse_wells
from models.words import are, have, listed, number, some
from validation.behaviour import TURNS, turned
from validation.evidence import Evidence, Rule

KINDS = {"both": ("negative", "positive"), "negative": ("negative",), "none": ()}


def controls_present(evidence: Evidence) -> Iterator[Finding]:
    """Each plate holds enough wells of each declared kind of control."""
    needed, declared = evidence.thresholds.min_controls, evidence.screen.controls
    for plate, wells in evidence.by_plate.items():
        for kind in KINDS[declared]:
            found = wells.loc[wells["role"] == kind, "well"]
            if len(found) < needed:
                said = number(len(found), f"{kind} control well") if len(found) else f"no {kind} control well"
                yield Finding(rule="controls_present", severity="error", plate=plate, well=listed(found), column="role",
                              value=str(len(found)), message=(
                    f"plate {plate} has {said}, where {needed} are needed; mark them in the layout (role {kind}), or change "
                    f"the controls that are declared ('controls: {declared}' in screen.yaml) if the plate was made without"))


def controls_everywhere(evidence: Evidence) -> Iterator[Finding]:
    """No kind of control stands on some plates only, and is used on none, because the screen cannot declare it."""
    for kind, instead in (("negative", "there is no viability and no IC50"), ("positive", "nobody knows what a dead well reads")):
        having = [plate for plate, wells in evidence.by_plate.items() if (wells["role"] == kind).any()]
        lacking = [plate for plate in evidence.by_plate if plate not in having]
        if having and lacking and kind not in KINDS[evidence.screen.controls]:
            yield Finding(rule="controls_everywhere", severity="warning", column="role", value=kind, message=(
                f"{number(len(having), 'plate')} ({some(having)}) {have(len(having))} {kind} controls, {some(lacking)} "
                f"{have(len(lacking))} none: they are used on no plate, so that {instead}; mark those of {some(lacking)} in the layout "
                f"(role {kind}), or give plates without them a table of their own"))


def controls_balanced(evidence: Evidence) -> Iterator[Finding]:
    """Neither kind of control outnumbers the other by far."""
    for plate, wells in evidence.by_plate.items():
        counts = {kind: int((wells["role"] == kind).sum()) for kind in ("negative", "positive")}
        rarer = min(counts, key=lambda kind: counts[kind])
        if counts[rarer] and max(counts.values()) > evidence.thresholds.max_control_ratio * counts[rarer]:
            yield Finding(rule="controls_balanced", severity="warning", plate=plate, well=listed(wells.loc[wells["role"] == rarer, "well"]),
                          column="role", value=f"{counts['negative']}:{counts['positive']}", message=(
                f"plate {plate} has {counts['negative']} negative and {counts['positive']} positive control wells; the rarer kind "
                "sets how well viability is known, give it more wells next time"))


def controls_spread(evidence: Evidence) -> Iterator[Finding]:
    """The controls of a kind do not all stand in one column, in one row, or on the plate's edge."""
    rows, columns = PLATE_FORMATS[evidence.screen.plate_format]
    for plate, wells in evidence.by_plate.items():
        for kind in KINDS[evidence.screen.controls]:
            controls = wells[wells["role"] == kind]
            edge = controls["row"].isin((0, rows - 1)) | controls["column"].isin((0, columns - 1))
            where = ("in one column" if controls["column"].nunique() == 1 else "in one row" if controls["row"].nunique() == 1
                     else "on the edge of the plate" if edge.all() else "")
            if where and len(controls) > 1:
                yield Finding(rule="controls_spread", severity="warning", plate=plate, well=listed(controls["well"]), column="role",
                              value=kind, message=(
                    f"all {len(controls)} {kind} control wells of plate {plate} stand {where}; a pipetting or edge effect there "
                    "shifts every result, spread them next time"))


def controls_named(evidence: Evidence) -> Iterator[Finding]:
    """Positive control wells hold a compound that the screen names as positive control; "PC" on a drawn plate names none."""
    named = {name.casefold() for name in evidence.screen.positive_control.values()}
    for plate, wells in evidence.by_plate.items():
        positive = wells[(wells["role"] == "positive") & (wells["treatment"] != "")]
        positive = positive[positive["treatment"].map(canonical_role) != "positive"]
        other = positive[~positive["treatment"].str.casefold().isin(named)]
        if named and len(other):
            yield Finding(rule="controls_named", severity="warning", plate=plate, well=listed(other["well"]), column="treatment",
                          value=str(other.iloc[0]["treatment"]), message=(
                f"plate {plate} has {number(len(other), 'positive control well')} with {some(other['treatment'])}, but screen.yaml names "
                f"{some(sorted(named))}; set their role to reference, or correct positive_control"))


def controls_alike(evidence: Evidence) -> Iterator[Finding]:
    """The controls of a kind hold one thing on each plate: of several vehicles or kills, one median would stand for all."""
    for plate, wells in evidence.by_plate.items():
        for kind in KINDS[evidence.screen.controls]:
            held = wells[(wells["role"] == kind) & (wells["treatment"] != "")]
            counts = held["treatment"].str.casefold().str.split().str.join(" ").value_counts(sort=False)
            if len(counts) > 1:
                named = ", ".join(f"{name} in {number(count, 'well')}" for name, count in counts.head(4).items())
                yield Finding(rule="controls_mixed", severity="warning", plate=plate, well=listed(held["well"]),
                              column="treatment", value=str(len(counts)), message=(
                    f"{kind} controls of plate {plate} hold {len(counts)} things ({named}), and the median of all is one "
                    f"{'100' if kind == 'negative' else '0'} % for every treatment: compare how they read. If they differ, keep those "
                    f"that match the treatments (role {'untreated' if kind == 'negative' else 'reference'} for the others), or give each "
                    "group a table of its own"))


def controls_follow_pattern(evidence: Evidence) -> Iterator[Finding]:
    """Where screen.yaml names the wells of a role, each plate has that role there and nowhere else; excluded wells count."""
    pattern = {role: set(parse_wells(wells)) for role, wells in evidence.screen.control_pattern.items()}
    for plate, wells in evidence.usable.groupby("plate", sort=False):
        found = _roles(wells, pattern)
        for role in (role for role in pattern if found[role] != pattern[role]):
            lacking, extra = pattern[role] - found[role], found[role] - pattern[role]
            parts = [f"{number(len(group), 'well')} should {text} ({some(listed(group).split(', '))})"
                     for group, text in ((lacking, f"be {role} and {are(len(lacking))} not"),
                                         (extra, f"not be {role} and {are(len(extra))}")) if group]
            yield Finding(rule="control_pattern", severity="error", plate=str(plate), well=listed(lacking | extra), column="role",
                          value=role, message=(
                f"plate {plate} does not follow the control_pattern of screen.yaml: {'; '.join(parts)}"
                f"{_turn_that_fits(evidence, wells, pattern)}; correct the layout, or control_pattern"))


def _roles(wells: pd.DataFrame, pattern: dict[str, set[str]]) -> dict[str, set[str]]:
    return {role: set(wells.loc[wells["role"] == role, "well"]) for role in pattern}


def _turn_that_fits(evidence: Evidence, wells: pd.DataFrame, pattern: dict[str, set[str]]) -> str:
    fits = [turn for turn in TURNS if _roles(turned(wells, turn, evidence.screen.plate_format), pattern) == pattern]
    return f" (it would if it were {fits[0]})" if fits else ""


RULES = (
    Rule("controls_present", "controls", "Each plate has enough controls of each declared kind", controls_present),
    Rule("controls_everywhere", "controls", "Each kind of control stands on every plate or on none", controls_everywhere),
    Rule("controls_balanced", "controls", "Negative and positive controls are balanced", controls_balanced),
    Rule("controls_spread", "controls", "Controls are spread over the plate", controls_spread),
    Rule("controls_named", "controls", "Positive controls hold the compound that the screen names", controls_named),
    Rule("controls_mixed", "controls", "Controls of a kind hold one thing", controls_alike),
    Rule("control_pattern", "controls", "Controls stand where the screen says", controls_follow_pattern),
)
