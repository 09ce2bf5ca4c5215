"""The parts of the page as plain values, so that the template only arranges them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from models.dose_response.score_limits import score_limits
from models.errors import Finding
from models.plates.quality import RULE
from models.plates.screen import Controls
from models.report.combinations import pair_words
from models.report.figures import Bar, CurveValues, curve_panel, dose_span, waterfall
from models.report.inputs import (
    SCORE_NAMES,
    ReportOptions,
    ScoredTables,
    curve_names,
    doubtful_flags,
    is_raw,
    learned_plates,
    number,
    score_column,
    text,
    wells_by_curve,
)
from models.report.plate_figures import content_words, heat_values, plate_map
from models.report.single_doses import single_dose_words
from models.report.verdicts import KIND_WORDS, GateResult, PlateQuality, Verdict, judge, plate_qualities, plate_words
from models.report.words import (
    NO_VALUE,
    NONE,
    Estimate,
    count,
    fixed,
    flag_words,
    half_dose,
    plain,
    reason_words,
    slope_text,
    status_words,
    trusted,
)
from models.tables import DOSED_ROLES

_ORDER = {"hit": 0, "unsure": 1, "none": 2, "unscored": 3}
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
class PlateView:
    """A plate's heat map and its verdict."""

    quality: PlateQuality
    numbers: list[tuple[str, str]]
    map: Markup


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Wells of one plate that share the same reasons for distrust."""

    plate: str
    words: list[str]
    used: str
    wells: list[tuple[str, str]]     # (well, what is in it)


@dataclass(frozen=True)
class FindingGroup:
    """One finding and all the places where it was made."""

    severity: str
    message: str
    places: list[str]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the top of the page and the index say."""

    treatments: int
    hits: int
    unsure: int
    raw: bool
    score: str
    headline: str
    plates: list[PlateQuality]
    plate_words: str
    failed_gates: list[str]


def verdicts(scored: ScoredTables, *, controls: Controls, gates: Sequence[GateResult],
             options: ReportOptions) -> tuple[list[Verdict], list[PlateQuality]]:
    """The verdict on every curve, in the order of `scored.curves`, and on every plate."""
    plates = plate_qualities(scored.quality, list(dict.fromkeys(scored.wells["plate"].astype(str))), controls=controls,
                             learned=learned_plates(scored.wells))
    by_name = {plate.plate: plate for plate in plates}
    score = score_column(scored.curves, options.hit_score)
    failed = [gate.metric for gate in gates if not gate.passed]
    found = []
    curves = scored.curves if is_raw(scored.curves) or not len(scored.curves) else score_limits(scored.curves, kind=score)
    for (_, row), wells in zip(curves.iterrows(), wells_by_curve(scored.curves, scored.wells), strict=True):
        own = [by_name[name] for name in dict.fromkeys(wells["plate"].astype(str))]
        found.append(judge(row, score=score, plates=own or plates, failed_gates=failed, options=options))
    return found, plates


def summarise(scored: ScoredTables, *, controls: Controls, gates: Sequence[GateResult], options: ReportOptions) -> Summary:
    """Counts and plain words of a scored screen."""
    found, plates = verdicts(scored, controls=controls, gates=gates, options=options)
    hits, unsure = (sum(verdict.kind == kind for verdict in found) for kind in ("hit", "unsure"))
    raw = is_raw(scored.curves)
    score = score_column(scored.curves, options.hit_score)
    failed = [gate.reason or gate.metric for gate in gates if not gate.passed]
    shaky = " Do not rely on it." if failed or any(plate.grade == "bad" for plate in plates) else ""
    return Summary(treatments=len(found), hits=hits, unsure=unsure, raw=raw, score=SCORE_NAMES[score],
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
        half = "ec50" if raw else "ic50"
        return " ".join(f"{name}: {half_dose(row, half).sentence(half.upper())}."
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
    names, groups = curve_names(scored.curves, scored.wells), wells_by_curve(scored.curves, scored.wells)
    rows = [_treatment(scored.curves.iloc[index], wells, curve=index, name=names[index], verdict=found[index], score=score)
            for index, wells in enumerate(groups)]
    return sorted(rows, key=lambda row: (_ORDER[row.verdict.kind], -row.score_value if not math.isnan(row.score_value) else math.inf))


def half_name(row: Any) -> str:
    """The column of the half-effect dose that a curve is judged by."""
    return "ec50" if text(row, "scale") == "raw" else "ic50"


def _treatment(row: pd.Series, wells: pd.DataFrame, *, curve: int, name: str, verdict: Verdict, score: str) -> Treatment:
    half = half_name(row)
    estimate, status = half_dose(row, half), text(row, "status")
    measured = wells["od" if half == "ec50" and wells["od"].notna().any() else "probability" if half == "ec50" else "viability"]
    lost = int(measured.isna().sum())
    return Treatment(
        name=name, curve=curve, verdict=verdict, half=estimate, status=status,
        status_words=status_words(row), reason=text(row, "reason"),
        slope=slope_text(row), slope_sort=_sortable(row, "slope", unless=_NO_SHAPE),
        auc=trusted(row, "auc", decimals=2), auc_sort=_sortable(row, "auc"),
        score=trusted(row, score, decimals=1), score_value=_sortable(row, score),
        r2=trusted(row, "r2", decimals=2, unless=_NO_SHAPE), r2_sort=_sortable(row, "r2", unless=_NO_SHAPE), doses=dose_span(row),
        unseen=f"{count(lost, 'well')} without a value {'is' if lost == 1 else 'are'} not drawn" if lost else "")


def panels(scored: ScoredTables, rows: Sequence[Treatment], *, values: CurveValues) -> dict[int, Markup]:
    """The panel of each row, by its curve."""
    groups = wells_by_curve(scored.curves, scored.wells)
    return {row.curve: curve_panel(scored.curves.iloc[[row.curve]], groups[row.curve], name=row.name,
                                   half=half_name(scored.curves.iloc[row.curve]), values=values) for row in rows}


def _sortable(row: Any, name: str, unless: tuple[str, ...] = ()) -> float:
    return math.nan if text(row, "status") in (*NO_VALUE, *unless) else number(row, name)


def score_waterfall(rows: Sequence[Treatment], *, score: str, threshold: float) -> Markup:
    """The waterfall of the table's rows; nothing where too few rows have a score to rank them."""
    if sum(not math.isnan(row.score_value) for row in rows) <= FEW:
        return Markup("")
    return waterfall([Bar(row.name, row.score_value, row.verdict.kind) for row in rows], score=score, threshold=threshold)


def plate_views(scored: ScoredTables, plates: Sequence[PlateQuality], *, plate_format: int) -> list[PlateView]:
    """Every plate's heat map, all on one colour scale."""
    values, _, limits = heat_values(scored.wells)
    views = []
    for plate in plates:
        own = scored.wells[scored.wells["plate"].astype(str) == plate.plate]
        views.append(PlateView(quality=plate, numbers=quality_numbers(plate.row),
                               map=plate_map(own, plate_format=plate_format, limits=limits, values=values.loc[own.index])))
    return views


def quality_numbers(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of a plate's quality, without those that could not be computed."""
    named = (("Z′ robust", "z_prime_robust", 2), ("Z′ (mean abs. deviation)", "z_prime_mad_mean", 2), ("SSMD", "ssmd", 1),
             ("signal / background", "signal_background", 1), ("CV negative", "cv_negative", 2), ("CV positive", "cv_positive", 2),
             ("edge effect", "edge_effect", 2), ("row trend", "row_trend", 2), ("column trend", "column_trend", 2),
             ("negative wells", "n_negative", 0), ("positive wells", "n_positive", 0))
    return [(called, fixed(number(row, name), decimals)) for called, name, decimals in named if not math.isnan(number(row, name))]


def doubts(wells: pd.DataFrame) -> list[Doubt]:
    """Wells that are flagged as doubtful or left out, grouped by plate and reason, in the order of the table."""
    groups: dict[tuple[str, tuple[str, ...], str, str], list[tuple[str, str]]] = {}
    for _, well in wells.iterrows():
        flags, excluded = tuple(doubtful_flags(well.get("flags"))), bool(well.get("excluded"))
        if flags or excluded:
            key = (text(well, "plate"), flags, _use(well), reason_words(text(well, "exclusion_reason"), excluded=excluded))
            groups.setdefault(key, []).append((text(well, "well"), content_words(well) or text(well, "role")))
    return [Doubt(plate=plate, words=[*map(flag_words, flags), *filter(None, [reason])] or ["left out; no reason was given"],
                  used=used, wells=own)
            for (plate, flags, used, reason), own in groups.items()]


def _use(well: pd.Series) -> str:
    """What became of a doubtful well."""
    if well.get("excluded"):
        return "left out by a rule" if text(well, "exclusion_reason").startswith(RULE) else "left out"
    role = text(well, "role")
    if role in DOSED_ROLES:
        return "used in its curve, with doubt"
    return "used as control, with doubt" if role in ("negative", "positive") else "not used"


def finding_groups(findings: Sequence[Finding]) -> list[FindingGroup]:
    """Findings that differ only in their well, together, in order of first appearance."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        message = finding.message.replace(f"well {finding.well} ", "", 1) if finding.well else finding.message
        groups.setdefault((finding.severity, finding.rule, message), []).append(finding)
    return [FindingGroup(severity, message if len(alike) > 1 else alike[0].message, _places(alike))
            for (severity, _, message), alike in groups.items()]


def _places(alike: Sequence[Finding]) -> list[str]:
    """Plate and well of each; what the message of a single one says already is not said again."""
    told = alike[0].message if len(alike) == 1 else ""
    places = (" ".join(word for word in (one.plate, one.well) if word and word not in told) for one in alike)
    return [place for place in places if place]


def metric_rows(metrics: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested metrics as (name, value) in words, in their order."""
    rows: list[tuple[str, str]] = []
    for key, value in metrics.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += metric_rows(value, f"{name} / ")
        elif isinstance(value, list | tuple):
            rows.append((name, count(len(value), "value") if len(value) > 6 else ", ".join(map(_metric, value))))
        else:
            rows.append((name, _metric(value)))
    return rows


def _metric(value: object) -> str:
    if value is None:
        return NONE
    return plain(float(value), 4) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def kind_words() -> dict[str, str]:
    """Words of the verdict kinds, for the template."""
    return {str(kind): words for kind, words in KIND_WORDS.items()}
