"""What stands beside the results as plain values, so that a template only arranges them: plates, doubtful wells, findings, metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from models.errors import Finding
from models.plates.quality import RULE
from models.report.inputs import Row, ScoredTables, doubtful_flags, number, text
from models.report.plate_figures import content_words, heat_values, plate_map
from models.report.verdicts import PlateQuality
from models.report.words import NONE, count, fixed, flag_words, plain, reason_words
from models.tables import DOSED_ROLES


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
    doubtful = [bool(out) or bool(doubtful_flags(flags)) for out, flags in zip(wells["excluded"], wells["flags"], strict=True)]
    for well in wells[doubtful].to_dict("records"):
        excluded = bool(well["excluded"])
        key = (text(well, "plate"), tuple(doubtful_flags(well["flags"])), _use(well),
               reason_words(text(well, "exclusion_reason"), excluded=excluded))
        groups.setdefault(key, []).append((text(well, "well"), content_words(well) or text(well, "role")))
    return [Doubt(plate=plate, words=[*map(flag_words, flags), *filter(None, [reason])] or ["left out; no reason was given"],
                  used=used, wells=own)
            for (plate, flags, used, reason), own in groups.items()]


def _use(well: Row) -> str:
    """What became of a doubtful well."""
    if well.get("excluded"):
        return "left out by a rule" if text(well, "exclusion_reason").startswith(RULE) else "left out"
    role = text(well, "role")
    if role in DOSED_ROLES:
        return "used in its curve, with doubt"
    return "used as control, with doubt" if role in ("negative", "positive") else "not used"


def read_first(findings: Sequence[Finding]) -> str:
    """What the top of a page says of findings about whole plates; "" without any."""
    told = {finding.plate: finding for finding in findings if finding.plate and not finding.well}
    number = len(finding_groups([finding for finding in findings if finding.plate in told and not finding.well]))
    named = f"plate {next(iter(told))}" if len(told) == 1 else f"{len(told)} plates"
    return f"Read “What to distrust” first: {count(number, 'finding')} on {named}." if told else ""


def finding_groups(findings: Sequence[Finding]) -> list[FindingGroup]:
    """Findings that differ only in their plate and well, together, in order of first appearance."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        message = finding.message.replace(f"well {finding.well} ", "each of the wells ", 1) if finding.well else finding.message
        if finding.plate:
            message = re.sub(rf"\bplate {re.escape(finding.plate)}(?![\w-])", "each of the plates", message)
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
