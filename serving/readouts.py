"""From a plate reader's table to viability, curves, scores and figures, without images and without a model.

POST /curves and the command `curves` share it. Needs neither torch nor a registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from models.combinations import NAMES
from models.dose_response import FitOptions
from models.plates.layout import ParsedLayout, parse_layout
from models.plates.readers.base import FILE_COLUMNS, Found
from models.plates.readers.platemaps import read_layout_table
from models.plates.readers.readouts import attach_readout, read_readouts
from models.plates.safe_csv import write_csv
from models.plates.screen import Controls, Screen
from models.plates.vocabulary import KNOWN_UNITS, canonical_unit
from models.report import ReportOptions, treatment_table
from models.report.inputs import ALWAYS, ScoredTables, tables_of
from models.scoring import Exclusion, ScoredScreen, ScoringOptions, score_measured
from models.single_doses import NAME as SINGLE
from models.tables import DOSED_ROLES
from models.wells import PLATE_FORMATS, USUAL_FORMATS, usual_format
from models.whole_file import whole_file
from validation.rules import judge_screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from models.networks.bundle import GateResult

SAMPLE = "not stated"
PANELS = 20     # curves on a page
RESULT_FILES = ("report.html", *(f"{name}.csv" for name in (*ALWAYS, "hits", SINGLE, *NAMES, "gr", "classes")), "answer.json", "panel.pdf",
                "waterfall.pdf", "plates.pdf")
"""Of the commands that write a result into a folder, each of which writes some of them."""


@dataclass(frozen=True, kw_only=True)
class ReadoutOptions:
    """What is asked of a table of read-outs.

    fit: curve options; exclusions: wells left out by a person; keep: wells that stay in whatever the table says; controls: which
    controls normalise, "auto" = those that the table has; plate_format: wells, 0 = the smallest that holds all wells of the table;
    readout: which of several read-outs of a plate reader's file; name: title of the report; roles: role -> the treatment whose wells
    have it, such as positive -> BzCl; columns: contract column -> column of the table, where its name is not understood; dose_unit: of
    doses for which the table names none, "" = nM, which is told; expected_ic50: as in screen.yaml; hit_score, hit_threshold: by which
    the report calls hits.
    """

    fit: FitOptions = field(default_factory=FitOptions)
    exclusions: tuple[Exclusion, ...] = ()
    keep: tuple[Exclusion, ...] = ()
    controls: Literal["auto", "both", "negative", "none"] = "auto"
    plate_format: int = 0
    readout: str = ""
    name: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    dose_unit: str = ""
    expected_ic50: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    hit_score: str = ReportOptions.hit_score
    hit_threshold: float = ReportOptions.hit_threshold

    def __post_init__(self) -> None:
        _ = self.report     # checks what it is made of
        if self.plate_format and self.plate_format not in PLATE_FORMATS:
            raise ValueError(f"plate_format: must be one of {sorted(PLATE_FORMATS)}, or 0 to find it out, got {self.plate_format}")
        if self.dose_unit and not canonical_unit(self.dose_unit):
            raise ValueError(f"dose_unit: must be one of {', '.join(KNOWN_UNITS)}, got {self.dose_unit!r}")

    @property
    def report(self) -> ReportOptions:
        """When a treatment is called a hit."""
        return ReportOptions(hit_score=self.hit_score, hit_threshold=self.hit_threshold)


@dataclass(frozen=True, kw_only=True)
class ReadoutTable:
    """A table that was understood, and the screen as which it is judged. said: what was matched, in words."""

    parsed: ParsedLayout
    screen: Screen
    said: tuple[str, ...] = ()


def read_readout_table(table: Path, readouts: Sequence[Path] = (), *, options: ReadoutOptions | None = None) -> ReadoutTable:
    """Read a layout with a column of read-outs, or a layout and the plate reader's own files.

    Raises InputError (TableError) for what is no table, and for read-outs that do not fit the plates.
    """
    options = options or ReadoutOptions()
    raw = read_layout_table(table, columns=options.columns, roles=options.roles)
    said: tuple[str, ...] = ()
    if readouts:
        found = Found(convention="", files=pd.DataFrame(columns=list(FILE_COLUMNS)), raw_layout=raw, channels=())
        values = read_readouts(*readouts)
        joined = attach_readout(found, values, tuple(readouts), name=options.readout)
        raw, said = joined.raw_layout, joined.said
    wells = options.plate_format or smallest_format(raw)
    parsed = parse_layout(raw, plate_format=wells, dose_unit=options.dose_unit or None)
    screen = Screen(name=options.name or table.stem, sample=SAMPLE, plate_format=wells, assay="plate-reader table",
                    expected_ic50=options.expected_ic50,
                    controls=controls_of(parsed.layout) if options.controls == "auto" else options.controls)
    return ReadoutTable(parsed=parsed, screen=screen, said=said)


def smallest_format(raw: pd.DataFrame) -> int:
    """The smallest usual format that holds every well that can be read as one."""
    return usual_format(parse_layout(raw, plate_format=USUAL_FORMATS[-1]).layout["well"])


def controls_of(layout: pd.DataFrame) -> Controls:
    """The controls that every plate has."""
    roles = [set(group) for _, group in layout.groupby("plate", sort=False)["role"]]
    if not all("negative" in found for found in roles):
        return "none"
    return "both" if all("positive" in found for found in roles) else "negative"


def score_table(table: ReadoutTable, options: ReadoutOptions | None = None) -> ScoredScreen:
    """Viability, curves, scores and plate quality. Raises ScreenError with the rules' findings for a table that is no use."""
    options = options or ReadoutOptions()
    verdict = judge_screen(table.parsed, table.screen)
    verdict.require()
    scored = score_measured(table.parsed.layout, screen=table.screen,
                            options=ScoringOptions(fit=options.fit, exclusions=options.exclusions, keep=options.keep))
    return replace(scored, findings=(*verdict.findings, *scored.findings))


def write_tables(scored: ScoredTables, out: Path, *, screen: Screen, gates: Sequence[GateResult] = (),
                 report: ReportOptions | None = None) -> list[Path]:
    """wells.csv, curves.csv, quality.csv, and those of hits (the report's verdicts), single doses and combinations where there are some;
    returns their paths.
    """
    tables = {**tables_of(scored), "hits": treatment_table(scored, screen=screen, gates=gates, options=report)}
    return [write_csv(table, out / f"{name}.csv") for name, table in tables.items() if len(table) or name in ALWAYS]


def left_before(out: Path, written: Sequence[Path]) -> list[str]:
    """Files of an earlier result in the folder that this one does not have. They would pass for a part of it, so a person is told; they are
    not deleted, for files of a person's own may be called so too.
    """
    return [name for name in RESULT_FILES if (out / name).is_file() and name not in {path.name for path in written}]


def write_figures(scored: ScoredScreen, out: Path, *, score: str = "dss_asym", threshold: float = 10.0) -> list[Path]:
    """panel.pdf (all curves), waterfall.pdf (where there are scores), plates.pdf (a heat map per plate); returns their paths."""
    from models.dose_response.plots import plot_plate, plot_waterfall

    wells, curves = scored.wells, scored.curves
    if len(scored.single_doses):    # they have no curve to draw
        curves = curves[~curves["treatment"].isin(scored.single_doses["treatment"])]
    raw = bool(len(curves)) and bool((curves["scale"] == "raw").all())
    value, label = ("readout", "read-out") if wells["viability"].isna().all() else ("viability", "viability")
    response = wells["readout"] if raw else 100 * (1 - wells["viability"])
    drawn = wells.assign(response=response)[wells["role"].isin(DOSED_ROLES) & ~wells["excluded"]]
    figures: dict[str, Callable[[], list[Figure]]] = {
        "panel.pdf": lambda: panels(curves, drawn, by="treatment", response="response"),
        "waterfall.pdf": lambda: [plot_waterfall(curves, score=score, threshold=threshold)],
        "plates.pdf": lambda: [plot_plate(plate, value=value, title=str(name), label=label)
                               for name, plate in wells.groupby("plate", sort=False)]}
    if curves.empty:
        del figures["panel.pdf"], figures["waterfall.pdf"]
    elif score not in curves or curves[score].isna().all():
        del figures["waterfall.pdf"]
    return [write_pages(draw(), out / name) for name, draw in figures.items()]


def panels(curves: pd.DataFrame, wells: pd.DataFrame, *, by: str, response: str) -> list[Figure]:
    """All curves, a page for every PANELS of them."""
    from models.dose_response.plots import plot_panel

    return [plot_panel(curves.iloc[first:first + PANELS], wells, by=by, dose="dose", response=response)
            for first in range(0, len(curves), PANELS)]


def write_pages(pages: Sequence[Figure], path: Path) -> Path:
    """A PDF of the figures; the same figures give the same bytes."""
    from matplotlib.backends.backend_pdf import PdfPages

    with whole_file(path) as making, PdfPages(making, metadata={"CreationDate": None}) as file:     # no clock
        for page in pages:
            file.savefig(page)
    return path


