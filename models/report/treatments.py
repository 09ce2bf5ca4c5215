"""What came out of a screen as plain values: its verdicts, its summary, and a row and a panel per treatment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from models.dose_response.score_limits import score_limits
from models.networks.bundle import GateResult
from models.plates.screen import Controls
from models.report.combinations import pair_words
from models.report.inputs import (
    SCORE_NAMES,
    ReportOptions,
    Row,
    ScoredTables,
    common_level,
    curve_names,
    half_name,
    half_title,
    is_raw,
    learned_plates,
    number,
    response,
    score_column,
    text,
    wells_by_curve,
)
from models.report.panels import curve_panel, dose_span, panels_of
from models.report.single_doses import single_dose_words
from models.report.verdicts import PlateQuality, Verdict, judge, plate_qualities, plate_words
from models.report.waterfall import Bar, waterfall
from models.report.words import NO_VALUE, Estimate, count, half_dose, slope_text, status_words, trusted

_ORDER = {"hit": 0, "unsure": 1, "none": 2, "unscored": 3}
MOST_PANELS = 2_000     # 5 kB each: a page of 100,000 curves would have half a gigabyte
FEW = 3  # so many treatments are named at the top instead of counted
_NO_SHAPE = ("flat",)  # statuses without a slope or a meaningful R2


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """One row of the table. curve: its row in `scored.curves`."""

    name: str
    curve: int
    verdict: Verdict
    half: Estimate
    slope: str
    slope_sort: float
    auc: str
    auc_sort: float
    score: str
    score_value: float
    r2: str
    r2_sort: float
    status: str
    status_words: str
    reason: str
    doses: str
    unseen: str            # wells of it that could not be drawn


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the top of the page and the index say."""

    treatments: int
    hits: int
    unsure: int
    raw: bool
    level: float            # percent inhibition of the doses that are stated; NaN: of the raw read-out half of its change
    score: str
    headline: str
    plates: list[PlateQuality]
    plate_words: str
    failed_gates: list[str]

    @property
    def half(self) -> str:
        """What these doses are called."""
        return half_title(self.level)


def verdicts(scored: ScoredTables, *, controls: Controls, gates: Sequence[GateResult],
             options: ReportOptions) -> tuple[list[Verdict], list[PlateQuality]]:
    """The verdict on every curve, in the order of `scored.curves`, and on every plate."""
    plates = plate_qualities(scored.quality, list(dict.fromkeys(scored.wells["plate"].astype(str))), controls=controls,
                             learned=learned_plates(scored.wells))
    by_name = {plate.plate: plate for plate in plates}
    score = score_column(scored.curves, options.hit_score)
    failed = [gate.metric for gate in gates if not gate.passed]
    names = scored.wells["plate"].astype(str).to_numpy()
    found = []
    curves = scored.curves if is_raw(scored.curves) or not len(scored.curves) else score_limits(scored.curves, kind=score)
    for row, places in zip(curves.to_dict("records"), wells_by_curve(scored.curves, scored.wells), strict=True):
        own = [by_name[name] for name in dict.fromkeys(names[places])]
        found.append(judge(row, score=score, plates=own or plates, failed_gates=failed, options=options))
    return found, plates


def summarise(scored: ScoredTables, *, found: Sequence[Verdict], plates: list[PlateQuality], gates: Sequence[GateResult],
              options: ReportOptions) -> Summary:
    """Counts and plain words of a scored screen. found, plates: of `verdicts`."""
    hits, unsure = (sum(verdict.kind == kind for verdict in found) for kind in ("hit", "unsure"))
    raw = is_raw(scored.curves)
    score = score_column(scored.curves, options.hit_score)
    failed = [gate.reason or gate.metric for gate in gates if not gate.passed]
    shaky = " Do not rely on it." if failed or any(plate.grade == "bad" for plate in plates) else ""
    return Summary(treatments=len(found), hits=hits, unsure=unsure, raw=raw, level=common_level(scored.curves), score=SCORE_NAMES[score],
                   headline=_headline(scored, hits=hits, unsure=unsure, raw=raw, failed_gates=failed) + shaky,
                   plates=plates, plate_words=plate_words(plates),
                   failed_gates=failed)


def _headline(scored: ScoredTables, *, hits: int, unsure: int, raw: bool, failed_gates: Sequence[str]) -> str:
    """What came out: of curves, of single doses, of pairs of treatments."""
    single = single_dose_words(scored, failed_gates=failed_gates)
    curves = _curves_in_words(scored, hits=hits, unsure=unsure, raw=raw) if len(scored.curves) or not single else ""
    return " ".join(filter(None, (curves, single))) + pair_words(scored, failed_gates=failed_gates)


def _curves_in_words(scored: ScoredTables, *, hits: int, unsure: int, raw: bool) -> str:
    curves, total = scored.curves, count(len(scored.curves), "treatment")
    if not len(curves):
        return "No treatment could be fitted."
    if len(curves) <= FEW:
        half, called = "ec50" if raw else "ic50", half_title(common_level(curves))
        return " ".join(f"{name}: {half_dose(row, half).sentence(called)}."
                        for name, (_, row) in zip(curve_names(curves, scored.wells), curves.iterrows(), strict=True))
    if raw:
        usable = int(((curves["status"] == "ok") & (curves["ec50_relation"] == "=")).sum())
        return f"{usable} of {count(len(curves), 'curve')} on the raw read-out {'has' if usable == 1 else 'have'} a well-determined EC50."
    if unsure == len(curves):
        return f"None of the {total} can be judged."
    doubtful = f" {unsure} cannot be judged." if unsure else " All of them could be judged."
    return f"{hits or 'No'} {'hit' if hits == 1 else 'hits'} among {total}.{doubtful}"


def treatments(scored: ScoredTables, *, found: Sequence[Verdict], options: ReportOptions) -> list[Treatment]:
    """Rows of the table: hits first, then what cannot be said, then the rest; higher scores first."""
    score = score_column(scored.curves, options.hit_score)
    names, groups, records = (curve_names(scored.curves, scored.wells), wells_by_curve(scored.curves, scored.wells),
                              scored.curves.to_dict("records"))
    lost = {scale: response(scored.wells, scale).isna().to_numpy() for scale in {text(row, "scale") for row in records}}
    rows = [_treatment(row, curve=index, name=names[index], verdict=found[index], score=score,
                       lost=int(lost[text(row, "scale")][groups[index]].sum())) for index, row in enumerate(records)]
    return sorted(rows, key=lambda row: (_ORDER[row.verdict.kind], -row.score_value if not math.isnan(row.score_value) else math.inf))


def _treatment(row: Row, *, curve: int, name: str, verdict: Verdict, score: str, lost: int) -> Treatment:
    """lost: wells of it without a value."""
    half = half_name(row)
    estimate, status = half_dose(row, half), text(row, "status")
    return Treatment(
        name=name, curve=curve, verdict=verdict, half=estimate, status=status,
        status_words=status_words(row), reason=text(row, "reason"),
        slope=slope_text(row), slope_sort=_sortable(row, "slope", unless=_NO_SHAPE),
        auc=trusted(row, "auc", decimals=2), auc_sort=_sortable(row, "auc"),
        score=trusted(row, score, decimals=1), score_value=_sortable(row, score),
        r2=trusted(row, "r2", decimals=2, unless=_NO_SHAPE), r2_sort=_sortable(row, "r2", unless=_NO_SHAPE), doses=dose_span(row),
        unseen=f"{count(lost, 'well')} without a value {'is' if lost == 1 else 'are'} not drawn" if lost else "")


def panels(scored: ScoredTables, rows: Sequence[Treatment]) -> dict[int, Markup]:
    """The panel of each of the first MOST_PANELS rows, by its curve."""
    shown, wells = rows[:MOST_PANELS], scored.wells.to_dict("records")
    drawn = panels_of(scored.curves.iloc[[row.curve for row in shown]], scored.wells)
    return {row.curve: curve_panel(panel, wells, name=row.name) for row, panel in zip(shown, drawn, strict=True)}


def _sortable(row: Row, name: str, unless: tuple[str, ...] = ()) -> float:
    return math.nan if text(row, "status") in (*NO_VALUE, *unless) else number(row, name)


def score_waterfall(rows: Sequence[Treatment], *, score: str, threshold: float) -> Markup:
    """The waterfall of the table's rows; nothing where too few rows have a score to rank them."""
    if sum(not math.isnan(row.score_value) for row in rows) <= FEW:
        return Markup("")
    return waterfall([Bar(row.name, row.score_value, row.verdict.kind) for row in rows], score=score, threshold=threshold)
