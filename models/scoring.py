"""Images + layout + model -> viability -> curves -> scores: the one function that the stage `score` and the service share.

The same road is taken by measured read-outs (`score_measured`), and again, from the raw outputs on, by wells that a person leaves
out or takes back (`refit_wells`). Importing this module costs no torch: only a `Predictor` brings it along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.combinations import CombinationTables, combination_tables
from models.control_places import RULE as PLACE
from models.control_places import place_findings, place_words
from models.control_range import (
    ABOVE,
    ALL_SINK,
    ALL_SUNKEN,
    ALONE,
    BELOW,
    at_ceiling,
    end_words,
    plate_words,
    range_findings,
    say_curves,
    say_plates,
)
from models.dose_response import FitOptions, assay_quality
from models.dose_response.between_plates import with_between_plates
from models.dose_response.plate_agreement import with_disagreements
from models.dose_response.stray_wells import with_stray_wells
from models.effects import (
    DISAGREE,
    LIMITS,
    SCATTER,
    STRAY,
    combination_findings,
    disagreement_findings,
    plate_differences,
    scatter_findings,
    stray_findings,
    strays,
    treatment_curves,
    weight_findings,
    with_viability,
)
from models.errors import Finding, InputError, TableError
from models.flagged import TAUGHT, strange_plates, taught_findings, well_findings
from models.known_potency import OFF, UNCHECKED, potency_findings, potency_words
from models.networks.bundle import Card
from models.networks.drift import alive_words, drift_findings, plate_drift, size_findings, size_words, with_structure_sizes
from models.networks.inversion import inversion_findings
from models.networks.saturation import saturation_findings
from models.networks.scope import scope_findings
from models.overlap import RULE as OVERLAP
from models.overlap import overlap_findings, overlapping, withhold
from models.plates.images import WellImages
from models.plates.quality import judge_wells, leave_out
from models.plates.screen import Screen
from models.single_doses import single_doses
from models.suitability import check_model, imaging_findings, sample_findings
from models.tables import LAYOUT, MEASURED, SINGLE_DOSES, WELL_SCORES, check_table, left_out, no_rows
from models.wells import site_medians, well_keys, well_or_text

if TYPE_CHECKING:
    from models.networks.predict import Predictor

SCORED = [name for name in WELL_SCORES.names() if name not in LAYOUT.names()]   # of a layout that was a table of results they give way
REFITTED = (OVERLAP, ABOVE, ALL_SINK, ALL_SUNKEN, ALONE, BELOW, DISAGREE, OFF, PLACE, SCATTER, STRAY, TAUGHT,
            UNCHECKED)      # findings that what is left out changes
RAW_OUTPUTS = ("od", "probability", "readout")  # what viability is made from: the first that a table holds


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """A well that a person leaves out of the curves, or keeps in them, and why; "b3" is B03, as in a layout."""

    plate: str
    well: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "well", well_or_text(self.well))


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """fit: curve options; exclusions: wells left out by a person; keep: wells that a person keeps whatever the rules say of their
    images, or the layout of them; force: score another sample than the model's, flagged.
    """

    fit: FitOptions = field(default_factory=FitOptions)
    exclusions: tuple[Exclusion, ...] = ()
    keep: tuple[Exclusion, ...] = ()
    force: bool = False


@dataclass(frozen=True)
class ScoredScreen:
    """wells: WellScores, one row per layout row; curves: Curves with score columns, one row per treatment; quality: one row per
    plate (assay_quality); findings: what a person should know; drift: one row per plate (models/networks/drift.py), none where the model
    keeps nothing of its training's controls; combinations: what pairs of treatments do together, without rows where no well holds two;
    single_doses: SingleDoses, without rows where every treatment has doses enough for a curve.
    """

    wells: pd.DataFrame
    curves: pd.DataFrame
    quality: pd.DataFrame
    findings: tuple[Finding, ...]
    drift: pd.DataFrame = field(default_factory=lambda: plate_drift(pd.DataFrame(), None))
    combinations: CombinationTables = field(default_factory=CombinationTables)
    single_doses: pd.DataFrame = field(default_factory=lambda: no_rows(SINGLE_DOSES))


def score_images(images: WellImages, layout: pd.DataFrame, *, screen: Screen, predictor: Predictor, model: str, version: str,
                 options: ScoringOptions | None = None, parent: Predictor | None = None,
                 on_images: Callable[[int], object] = lambda count: None) -> ScoredScreen:
    """Score a screen's images with one model.

    images: as the model's card asks; layout: Layout; model, version: names that every row carries; parent: of a model that has learned from
    these very controls, the one that it was adapted from: only that can tell whether they look as controls did before.
    Every row of the layout comes back; wells without an image have NaN and the flag "no_image", those with a bad one are flagged and,
    unless a person keeps them, left out, by the limits in the model's card.
    Raises InputError for a model that classifies single images, SampleMismatch when the screen's sample is not the model's and
    `options.force` is not set, and TableError when the layout breaks its contract.
    """
    options = options or ScoringOptions()
    check_model(screen, predictor.card, force=options.force)
    layout = check_table(layout, LAYOUT, keys=("plate", "well"))
    raw = predictor.predict(images, on_images=on_images)
    if parent is None:
        raw = with_structure_sizes(raw, images, layout, predictor.card.reference)
        before, seen, judge = None, images, predictor
    else:
        seen, judge = images.take(images.have_role(layout, "negative", "positive")), parent
        before = with_structure_sizes(parent.predict(seen), seen, layout, parent.card.reference)
    scored = score_predicted(raw, images.quality, layout, screen=screen, card=predictor.card, model=model, version=version, options=options,
                             before=None if before is None else (before, judge.card))
    return replace(scored, findings=(*inversion_findings(seen, raw if before is None else before, layout, judge), *scored.findings))


def score_predicted(raw: pd.DataFrame, quality: pd.DataFrame, layout: pd.DataFrame, *, screen: Screen, card: Card, model: str, version: str,
                    options: ScoringOptions | None = None, before: tuple[pd.DataFrame, Card] | None = None) -> ScoredScreen:
    """`score_images` from what the network said on. raw: of `Predictor.predict` and `with_structure_sizes`, all plates; quality:
    ImageQuality of the same images; before: what the parent says of the controls, and its card.
    """
    options = options or ScoringOptions()
    layout = check_table(layout, LAYOUT, keys=("plate", "well"))
    seen, known = before or (raw, card)
    findings = [*sample_findings(screen.sample, card, force=options.force), *imaging_findings(screen, known, quality)]
    judged = judge_wells(quality, layout, card.image_quality)
    wells = _with_raw(layout, raw, card, judged.flags).assign(model=model, version=version)
    wells = leave_out(with_persons(wells, options), card.image_quality, raw="od" if card.recipe.is_regression else "logit")
    drift = _drift(wells, seen, known, model=model if before is None else known.name)
    value = card.recipe.answer_column
    findings += [*judged.findings, *drift_findings(drift), *size_findings(drift, model=model),
                 *saturation_findings(wells, value=value, model=model)]
    scored = _scored(wells, value=value, screen=screen, options=options, findings=findings, drift=drift)
    return replace(scored, findings=(*scored.findings, *scope_findings(card)))     # of every plate: what is of this one first


def score_measured(layout: pd.DataFrame, *, screen: Screen, options: ScoringOptions | None = None) -> ScoredScreen:
    """Score measured read-outs: the same as `score_images` with the layout's column `readout` in the place of a model's output.

    Wells without a read-out come back with NaN and the flag "no_readout"; `model` is "read-out". Raises TableError when the layout
    breaks its contract or has no read-out at all.
    """
    layout = check_table(layout, LAYOUT, keys=("plate", "well"))
    if "readout" not in layout or layout["readout"].isna().all():
        raise TableError("the table has no read-out", [Finding(
            rule="column_missing", severity="error", column="readout",
            message=f"no column holds measured values; columns found: {', '.join(map(str, layout.columns))}. Name it readout, signal, "
                    "luminescence or od, say which it is (--columns readout=..., in a request options.columns), or give the plate reader's "
                    "file beside the table")])
    missing = layout["readout"].isna() & (layout["role"] != "empty")
    flags = pd.Series([["no_readout"] if gone else [] for gone in missing], index=layout.index, dtype=object)
    own = layout.drop(columns=SCORED, errors="ignore")
    wells = own.assign(logit=np.nan, probability=np.nan, od=np.nan, flags=flags, model=MEASURED, version="measured")
    options = options or ScoringOptions()
    return _scored(with_persons(wells, options), value="readout", screen=screen, options=options, findings=())


def refit_wells(wells: pd.DataFrame, *, screen: Screen, exclusions: Iterable[Exclusion], fit: FitOptions,
                drift: pd.DataFrame | None = None) -> ScoredScreen:
    """Scored wells again from their raw outputs on, with just these wells left out; nothing is scored anew.

    wells: WellScores as scored, whatever was left out then; drift: as scored, and it stays. The findings of the scoring are not repeated,
    but for those that depend on what is left out (REFITTED).
    """
    wells = wells.drop(columns=["viability", *LIMITS, "excluded", "exclusion_reason"], errors="ignore")
    value = next((name for name in RAW_OUTPUTS if name in wells and wells[name].notna().any()), "od")
    options = ScoringOptions(fit=fit, exclusions=tuple(exclusions))
    scored = _scored(with_persons(wells, options), value=value, screen=screen, options=options, findings=(), drift=drift)
    return replace(scored, findings=tuple(finding for finding in scored.findings if finding.rule in REFITTED))


def _scored(wells: pd.DataFrame, *, value: str, screen: Screen, options: ScoringOptions, findings: Iterable[Finding],
            drift: pd.DataFrame | None = None) -> ScoredScreen:
    """value: the column of raw outputs that viability is made from; drift: None of wells that no model saw."""
    drift = plate_drift(wells, None) if drift is None else drift
    wells = with_viability(wells, controls=screen.controls, value=value)
    curves, quality = treatment_curves(wells, options.fit, controls=screen.controls, value=value), assay_quality(wells, value=value)
    stray = strays(curves, wells, options.fit, controls=screen.controls, value=value)
    apart, between = plate_differences(curves, wells, options.fit, controls=screen.controls, value=value)
    bad = overlapping(quality, controls=screen.controls)
    curves = with_between_plates(with_stray_wells(curves, stray), between, level=options.fit.level)
    curves = with_disagreements(curves, apart)
    sound = wells[~wells["plate"].isin(list(bad))]      # of plates whose controls overlap no more is said
    ranges = range_findings(sound, controls=screen.controls)
    places = place_findings(sound, curves, value=value, controls=screen.controls, plate_format=screen.plate_format)
    potencies = potency_findings(sound, screen=screen, value=value)
    curves = say_plates(curves, wells, place_words(places))
    curves = say_plates(curves, wells, potency_words(potencies))
    curves = say_curves(curves, end_words(curves, wells, ranges))
    curves = say_plates(curves, wells, alive_words(drift) | plate_words(ranges) | strange_plates(wells))
    curves = say_plates(curves, wells, size_words(drift[drift["model"].isin(wells["model"])]))    # an adapted model has learned this size
    if value == "readout" and screen.controls != "none":
        curves = say_plates(curves, wells, at_ceiling(wells, value=value))
    curves = withhold(curves, wells, bad)
    return ScoredScreen(check_table(wells, WELL_SCORES, keys=("plate", "well")), curves, quality,
                        (*findings, *overlap_findings(bad), *ranges, *places, *potencies, *disagreement_findings(apart, curves),
                         *scatter_findings(between), *stray_findings(stray), *combination_findings(wells), *taught_findings(wells),
                         *weight_findings(wells, options.fit), *well_findings(wells)), drift,
                        combinations=combination_tables(wells, bad, controls=screen.controls, value=value),
                        single_doses=single_doses(wells, bad, controls=screen.controls, value=value, level=options.fit.ic_level))


def _with_raw(layout: pd.DataFrame, raw: pd.DataFrame, card: Card, image_flags: list[list[str]]) -> pd.DataFrame:
    """Layout rows with the median over sites of each raw output, and flags: those of their images, and of what the model says."""
    medians = site_medians(raw, ["logit", "probability", "od"])
    own = layout.drop(columns=SCORED, errors="ignore")
    wells = own.merge(medians, on=["plate", "well"], how="left", validate="one_to_one")
    trained = {(plate, well) for plate, well, part in card.training_wells if part in ("train", "validation")}
    if card.uncertainty is not None:
        half = card.uncertainty.half_width(wells["od"])
        wells = wells.assign(od_low=wells["od"] - half, od_high=wells["od"] + half,
                             od_shared=card.uncertainty.shared_half_width(wells["od"]))
    value, strange = wells[card.recipe.answer_column], _outside(wells, card)
    flags = [[*(["no_image"] if missing else []), *own, *(["out_of_distribution"] if odd else []),
              *(["training_well"] if key in trained else [])] for missing, own, odd, key in
             zip(value.isna().tolist(), image_flags, strange.tolist(), well_keys(wells), strict=True)]
    return wells.assign(flags=pd.Series(flags, index=wells.index, dtype=object))


def _drift(wells: pd.DataFrame, raw: pd.DataFrame, card: Card, *, model: str) -> pd.DataFrame:
    if card.reference is None:
        return plate_drift(wells, None)
    columns = [card.reference.value, "feature_distance", *(["structure_size"] if "structure_size" in raw else [])]
    seen = wells.drop(columns=card.reference.value).merge(site_medians(raw, columns), on=["plate", "well"], how="left")
    return plate_drift(seen, card.reference, model=model)


def _outside(wells: pd.DataFrame, card: Card) -> np.ndarray:
    """Which wells give a raw output beyond the limits that the card has for it, (N,) bool; outputs that are missing are not outside."""
    found = np.zeros(len(wells), dtype=bool)
    for column, name in ((card.recipe.answer_column, "raw"), ("logit", "logit")):
        values = wells[column].to_numpy(dtype=float)
        found |= (values < card.thresholds.get(f"{name}_low", -np.inf)) | (values > card.thresholds.get(f"{name}_high", np.inf))
    return found


def with_persons(wells: pd.DataFrame, options: ScoringOptions) -> pd.DataFrame:
    """The wells with `excluded` and `exclusion_reason` as the layout has them and the options change them."""
    reasons = wells["exclusion_reason"] if "exclusion_reason" in wells else pd.Series("", index=wells.index, dtype="str")
    places = {key: row for row, key in enumerate(well_keys(wells))}     # a person may have left out thousands
    out_now, why = left_out(wells).to_numpy(copy=True), reasons.to_numpy(dtype=object, copy=True)
    for choice, out in [*((item, True) for item in options.exclusions), *((item, False) for item in options.keep)]:
        row = places.get((choice.plate, choice.well))
        if row is None:
            raise InputError(f"cannot {'exclude' if out else 'keep'} well {choice.well} of plate {choice.plate}", [Finding(
                rule="exclusion_unknown", severity="error", plate=choice.plate, well=choice.well,
                message="the layout has no such well; check plate and well names")])
        out_now[row], why[row] = out, choice.reason or ("" if out else "kept by a person")
    return wells.assign(excluded=out_now, exclusion_reason=pd.Series(why, index=wells.index, dtype=reasons.dtype))
