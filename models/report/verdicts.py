"""Plain verdicts: how good a plate is, and whether a treatment is a hit, with the reason for each."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from models.dose_response.doubts import doubt_of_plate, only_the_dose_is_open, stands_for_nothing
from models.plates.screen import Controls
from models.report.inputs import SCORE_NAMES, ReportOptions, Row, number, text
from models.report.words import count, fixed, status_words, why_no_value

Grade = Literal["excellent", "care", "bad", "unknown"]
Kind = Literal["hit", "unsure", "none", "unscored"]

GRADE_WORDS: dict[Grade, str] = {"excellent": "excellent", "care": "usable with care", "bad": "do not use",
                                 "unknown": "cannot be computed"}
LEARNED = ", but by wells that the model learned from"
KIND_WORDS: dict[Kind, str] = {"hit": "hit", "unsure": "cannot say", "none": "no hit", "unscored": "not scored"}


@dataclass(frozen=True, kw_only=True)
class PlateQuality:
    """One plate's controls, judged by Z' (plain): > 0.5 excellent, 0 to 0.5 usable with care, < 0 do not use."""

    plate: str
    grade: Grade
    z_prime: float
    words: str                     # one sentence
    by_design: bool = False        # no Z' because the screen declares no positive control
    learned: bool = False          # the model learned from its controls, so they lie further apart than new ones would
    row: Mapping[str, Any]         # the plate's row of the quality table


@dataclass(frozen=True)
class Verdict:
    """Whether a treatment is a hit, and why."""

    kind: Kind
    reason: str


def grade_of(z_prime: float) -> Grade:
    """The grade of a Z' value; NaN is unknown."""
    if math.isnan(z_prime):
        return "unknown"
    return "excellent" if z_prime > 0.5 else "care" if z_prime >= 0 else "bad"


def plate_qualities(quality: pd.DataFrame, plates: Sequence[str], *, controls: Controls,
                    learned: Collection[str] = ()) -> list[PlateQuality]:
    """The verdict on every plate that has wells, in that order; a plate without a quality row is unknown.

    controls: what the screen declares; where it has no positive control, a missing Z' is by design. learned: plates whose controls the
    model learned from.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    if "plate" in quality.columns:
        rows = {text(row, "plate"): {str(name): value for name, value in row.items()} for row in quality.to_dict("records")}
    nothing = {"reason": "no quality values were computed"}
    return [_plate_quality(plate, rows.get(plate, nothing), controls=controls, learned=plate in learned) for plate in plates]


def _plate_quality(plate: str, row: Mapping[str, Any], *, controls: Controls, learned: bool) -> PlateQuality:
    z_prime, robust = number(row, "z_prime"), number(row, "z_prime_robust")
    grade = grade_of(z_prime)
    if grade == "unknown":
        words = f"Z′ cannot be computed because {_because(row)}"
    else:
        words = f"Z′ {fixed(z_prime, 2)}: {GRADE_WORDS[grade]}{LEARNED if learned else ''}"
        if not math.isnan(robust) and grade_of(robust) != grade:
            words += f" (robust Z′ {fixed(robust, 2)}, {GRADE_WORDS[grade_of(robust)]}: single control wells stand out)"
        words += f"; {because}" if (because := text(row, "reason")) else ""
    return PlateQuality(plate=plate, grade=grade, z_prime=z_prime, words=words, row=row,
                        by_design=grade == "unknown" and controls != "both", learned=learned and grade != "unknown")


def plate_words(plates: Sequence[PlateQuality]) -> str:
    """How good the plates are, in a line."""
    words = {"excellent": "excellent", "care": "usable with care", "bad": "not to be used", "unknown": "without a computable Z′"}
    counted = [(sum(plate.grade == grade for plate in plates), text_) for grade, text_ in words.items()]
    parts = [f"{n} {text_}" for n, text_ in counted if n]
    but = LEARNED if any(plate.learned for plate in plates) else ""
    if len(parts) == 1:
        return f"{count(len(plates), 'plate')}, {'all ' if len(plates) > 1 else ''}{parts[0].partition(' ')[2]}{but}"
    return f"{count(len(plates), 'plate')}: " + ", ".join(parts) + but if plates else "No plates."


def _because(row: Mapping[str, Any]) -> str:
    few = [f"{'no' if wells == 0 else 'only one'} {role} control" for role in ("negative", "positive")
           if (wells := number(row, f"n_{role}")) < 2]
    if few and "left out" in text(row, "reason"):
        return f"too few of its controls are left: {text(row, 'reason')}"
    if few:
        return f"the plate has {' and '.join(few)} (at least 2 wells are needed)"
    return text(row, "reason").rstrip(".") or "its controls give no usable values"


def judge(row: Row, *, score: str, plates: Sequence[PlateQuality], failed_gates: Sequence[str], options: ReportOptions) -> Verdict:
    """The verdict on one curve.

    A hit has a score above the threshold by more than noise and the model's error, a curve whose wells are in no doubt (what it leaves
    open is the dose at most), plates with Z' >= 0 (curves of others come with a status that says so) and a model that passed its gates. A
    screen that declares no positive control has no Z'; its hits say so. What fails a check is "cannot say", never a silent no; so is a
    score that these alone may have put on its side of it.
    row: of Curves, with the limits of its score (score_limits) where they are known.
    """
    if text(row, "scale") == "raw":
        return Verdict("unscored", "without viability there is no DSS, so no hit is called")
    value, status = number(row, score), text(row, "status")
    if (why := why_no_value(row)) or math.isnan(value):
        return Verdict("unsure", why or "no score could be computed")
    named = f"{SCORE_NAMES[score]} {fixed(value, 1)}"
    doubt = f"the model did not pass its own checks ({', '.join(failed_gates)})" if failed_gates else ""
    if value < options.hit_threshold:
        low = f"{named} is below {options.hit_threshold:g}"
        doubt = doubt or doubt_of_plate(text(row, "reason")) or _by_noise(row, score, status, options)
        return Verdict("unsure", f"{low}, but {doubt}") if doubt else Verdict("none", low)
    curve, reason = "curve ok", text(row, "reason")
    if status == "flat" and text(row, "ic50_relation") == "<":
        doubt = "it acts so at every dose, so that nothing shows that the dose matters; test lower doses"
    elif status == "weakly_identified" and only_the_dose_is_open(reason) and number(row, f"{score}_low") >= options.hit_threshold:
        curve = f"surely so, though the dose is weakly determined ({reason})"
    elif status != "ok":
        doubt = f"the curve is {status_words(row)}" + (f" ({reason})" if reason else "")
    if doubt or (doubt := _unknown(plates) or _by_noise(row, score, status, options)):
        return Verdict("unsure", f"{named} would be a hit, but {doubt}")
    return Verdict("hit", f"{named} ≥ {options.hit_threshold:g}, {curve}, {_control_words(plates)}")


def _by_noise(row: Row, score: str, status: str, options: ReportOptions) -> str:
    """Words for limits of the score on both sides of the threshold, plates that disagree, or wells that follow no such curve, so
    that it has no IC50; "" where not.
    """
    if stands_for_nothing(status, text(row, "reason"), text(row, "ic50_relation")):
        return text(row, "reason")
    low, high = number(row, f"{score}_low"), number(row, f"{score}_high")
    if not low < options.hit_threshold <= high:
        return ""
    off = any(number(row, name) > 0 for name in ("model_error", "uncalibrated"))
    within = "its noise and the model’s error" if off else "its noise"
    return f"within {within} it may lie on either side ({fixed(low, 1)} to {fixed(high, 1)})"


def _control_words(plates: Sequence[PlateQuality]) -> str:
    if any(plate.by_design for plate in plates):
        return "plate quality unknown (no positive control)"
    return "controls usable with care" if any(plate.grade == "care" for plate in plates) else "controls ok"


def _unknown(plates: Sequence[PlateQuality]) -> str:
    unknown = [plate.plate for plate in plates if plate.grade == "unknown" and not plate.by_design]
    return f"the quality of plate {', '.join(unknown)} cannot be computed" if unknown else ""
