"""What a rule looks at, and what a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from models.errors import Finding
from models.plates.layout import ParsedLayout
from models.plates.screen import Screen
from models.tables import DOSED_ROLES, left_out
from models.wells import add_row_column, has_well, well_keys
from models.words import listed
from validation.behaviour import MeasuredPlate, plate_signals
from validation.inventory import Inventory
from validation.layout_fit import Suspicion, suspicions
from validation.thresholds import Thresholds

Subject = Literal["layout", "controls", "doses", "readout", "images", "behaviour"]
SUBJECTS: tuple[Subject, ...] = ("layout", "controls", "doses", "readout", "images", "behaviour")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything known about a screen before a model sees it. inventory: None where only a layout is judged."""

    parsed: ParsedLayout
    screen: Screen
    thresholds: Thresholds
    inventory: Inventory | None = None

    @property
    def layout(self) -> pd.DataFrame:
        """All rows of the layout, also those that were not understood."""
        return self.parsed.layout

    @cached_property
    def wells(self) -> pd.DataFrame:
        """Those of `usable` that no person excluded."""
        return self.usable[~left_out(self.usable)]

    @cached_property
    def by_plate(self) -> dict[str, pd.DataFrame]:
        """The rows of `wells` by plate, in the layout's order."""
        return {str(plate): wells for plate, wells in self.wells.groupby("plate", sort=False)}

    @cached_property
    def usable(self) -> pd.DataFrame:
        """Rows with a usable well name, first mention of each well; with `row`, `column` from 0."""
        layout = self.layout
        usable = np.array([has_well(self.screen.plate_format, well) for well in layout["well"].tolist()], dtype=bool)
        kept = usable & ~layout.duplicated(["plate", "well"]).to_numpy()
        return add_row_column(layout if kept.all() else layout[kept])

    @cached_property
    def signals(self) -> dict[str, dict[str, pd.DataFrame]]:
        """plate -> source of signals -> signals of its wells; see behaviour.plate_signals."""
        images = dict(iter(self.inventory.readable.groupby("plate"))) if self.inventory is not None else {}
        return {plate: plate_signals(wells, images.get(plate)) for plate, wells in self.by_plate.items()}

    @cached_property
    def measured(self) -> list[MeasuredPlate]:
        """Each plate with each of its sources of signals."""
        return [MeasuredPlate(name, wells, signals, source) for name, wells in self.by_plate.items()
                for source, signals in self.signals[name].items()]

    @cached_property
    def series(self) -> dict[str, pd.DataFrame]:
        """Wells of each single treatment with a dose; not where one of its rows is wrong, because then it only looks incomplete."""
        wells = self.wells[(self.wells["role"] == "treated") & self.wells["dose"].gt(0)
                           & ~self.wells["treatment"].isin(self.faulty_treatments)]
        if "treatment_2" in wells.columns:
            wells = wells[wells["treatment_2"] == ""]
        return {str(treatment): group for treatment, group in wells.groupby("treatment", sort=False)}

    @cached_property
    def suspicions(self) -> dict[tuple[str, str], list[Suspicion]]:
        """(plate, source of signals) -> mistakes in the layout that would explain the plate, the likeliest first."""
        return {(plate.name, plate.source): suspicions(plate.wells, plate.signals, self.screen.plate_format) for plate in self.measured}

    @cached_property
    def faulty_treatments(self) -> frozenset[str]:
        """Treatments with a row in which something is wrong; what is odd about their doses may follow from that, and is not told."""
        layout, wrong = self.layout, {(finding.plate, finding.well) for finding in self.parsed.errors}
        rows = pd.Series([key in wrong for key in well_keys(layout)], index=layout.index, dtype=bool)
        rows |= layout.duplicated(["plate", "well"], keep=False) | (layout["role"].isin(DOSED_ROLES) & ~layout["dose"].gt(0))
        return frozenset(layout.loc[rows, "treatment"]) | {""}

    @cached_property
    def blamed(self) -> frozenset[tuple[str, str, str]]:
        """(plate, well, column) of cells that reading already called wrong; rules need not say it again."""
        return frozenset((finding.plate, finding.well, finding.column) for finding in self.parsed.errors)


@dataclass(frozen=True)
class Rule:
    """One thing that must hold. `title` says it as a sentence; `check` yields a finding for each place where it does not, under the
    rule's name or one of `says`, which tell ways to break it apart.
    """

    name: str
    subject: Subject
    title: str
    check: Callable[[Evidence], Iterable[Finding]]
    says: tuple[str, ...] = ()

    def findings(self, evidence: Evidence) -> Iterator[Finding]:
        """The rule's findings; none where the rule is about images and none were given."""
        if self.subject == "images" and evidence.inventory is None:
            return iter(())
        return iter(self.check(evidence))


def reading_rule(name: str, title: str, *says: str) -> Rule:
    """A rule of the layout that was judged while the layout was read: it repeats what was found then, under its name or `says`."""
    return Rule(name, "layout", title, lambda evidence: [one for one in evidence.parsed.findings if one.rule in (name, *says)], says)


def of_well(row: pd.Series, *, rule: str, column: str, value: object, message: str) -> Finding:
    """An error in one cell of a layout row."""
    return Finding(rule=rule, severity="error", plate=str(row["plate"]), well=str(row["well"]), column=column,
                   value=str(value), message=message)


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first; findings that differ in their wells only are one, with the first's value."""
    alike: dict[Finding, list[Finding]] = {}
    for finding in findings:
        alike.setdefault(replace(finding, well="", value=""), []).append(finding)
    found = (same[0] if len(same) == 1 else replace(same[0], well=listed(well for one in same for well in one.wells))
             for same in alike.values())
    return tuple(sorted(found, key=lambda finding: finding.severity))
