"""The tables that flow through Dosewell, as column contracts, and the one check at the gates.

Each contract lists name, kind, unit and meaning; `check_table` returns a copy in contract order with the contract's
dtypes, or raises `TableError` naming every column at fault. Extra columns are kept, after the known ones.
Rows are never dropped. docs/tables.md is made from this module.
"""

from __future__ import annotations

import pandas as pd

from models.columns import Column, Contract, key, number, option
from models.columns import check_table as check_table  # who needs a contract finds its check beside it
from models.columns import no_rows as no_rows

ROLES = ("negative", "positive", "reference", "treated", "untreated", "empty")
MEASURED = "read-out"   # stands for the model where wells were measured, not predicted
DOSED_ROLES = ("treated", "reference")          # these must have a dose > 0
DOSELESS_ROLES = ("negative", "untreated", "empty")  # these have none; positive may have one
INFORMATIVE_FLAGS = frozenset({"training_well"})     # of a well: worth knowing, but no reason to distrust it
RELATIONS = ("=", ">", "<", "")
STATUSES = ("ok", "flat", "too_few_doses", "weakly_identified", "failed")
SCALES = ("percent_inhibition", "fraction_viability", "raw")
EVIDENCE = ("more", "less", "none", "")
CALLS = ("synergy", "antagonism", "mixed", "none", "")
EFFECTS = ("hit", "effect", "growth", "none", "")
EFFECT_STATUSES = ("ok", "no_value", "bad_controls", "no_scatter")
COMBINATION_STATUSES = ("ok", "no_value", "parts_missing", "bad_controls", "uncalibrated", "no_positive", "no_scatter")

_WELL = (
    key("plate", "plate name, unique within the screen"),
    key("well", "well name, row letters and a column of two digits: A01, H12, AF48"),
    Column("role", "str", "what the well is for", nullable=False, allowed=ROLES),
    Column("treatment", "str", "compound or combination; empty for wells without one"),
    number("dose", "dose; > 0 for treated and reference wells, NaN for negative, untreated, empty", "dose_unit"),
    Column("dose_unit", "str", "nM for all molar units after reading; ug/mL, % ... kept; one per treatment"),
    Column("replicate", "int", "replicate number, 1 or more", nullable=False),
)
_EXCLUSION = (
    option("excluded", "bool", "left out of training and curves by a person or a quality rule"),
    option("exclusion_reason", "str", "why, in words; of a well that is not excluded: why a person keeps it, whatever the rules say"),
)

LAYOUT = Contract("Layout", "well", (
    *_WELL,
    option("treatment_2", "str", "second compound of a combination"),
    option("dose_2", "float", "its dose", "dose_unit_2"),
    option("dose_unit_2", "str", "its unit"),
    option("readout", "float", "measured assay value of the same well", "assay's own (OD450, luminescence)"),
    *_EXCLUSION,
))

TREATMENTS = Contract("Treatments", "treatment", (
    key("treatment", "name as in the layout"),
    option("abbreviation", "str", "short name for plots"),
    option("class", "str", "drug class, colours plots"),
    option("subclass", "str", "finer class"),
    option("target", "str", "molecular target"),
    option("encapsulation_efficiency_percent", "float", "encapsulated drug / drug used", "%"),
    option("loading_capacity_percent", "float", "encapsulated drug / weight of the carrier", "%"),
))

IMAGE_SET = Contract("ImageSet", "image", (
    key("image_id", "unique name of the image"),
    key("path", "path inside images.zip"),
    Column("label", "str", "class or number as text; empty if unlabelled"),
    key("group", "unit of the split: images of one group never straddle it"),
    Column("mask_path", "str", "path of a mask inside images.zip, or empty", required=False),
))

WELL_SCORES = Contract("WellScores", "well", (
    *_WELL,
    number("logit", "what a classifying head gives before the sigmoid or softmax"),
    number("probability", "probability of the negative-control class (living)"),
    number("od", "optical density that a regression head gives", "OD450"),
    option("od_low", "float", "lower limit of the measured optical density, where the model gives one", "OD450"),
    option("od_high", "float", "upper limit", "OD450"),
    option("od_shared", "float", "the part of that half-width that replicates have in common", "OD450"),
    number("viability", "1 = negative control, 0 = positive control of the same plate; not clipped"),
    option("viability_low", "float", "lower limit of the measured viability, where the model gives one: one well's, not a mean's"),
    option("viability_high", "float", "upper limit"),
    option("viability_shared", "float", "the part of that half-width that a mean over replicates does not make smaller"),
    key("flags", "words that say why to distrust the well", "list"),
    Column("excluded", "bool", "left out of curves", nullable=False),
    key("model", "registered name of the model that scored it"),
    key("version", "its version, or the bundle's sha256[:12] outside the registry"),
))

IMAGE_QUALITY = Contract("ImageQuality", "well, site and channel", (
    key("plate", "plate name"),
    key("well", "well name"),
    Column("site", "int", "site within the well, from 1", nullable=False),
    key("channel", "channel as screen.yaml names it"),
    Column("height", "int", "of the image as it was read", "px", nullable=False),
    Column("width", "int", "of the image as it was read", "px", nullable=False),
    Column("planes", "int", "planes of its stack", nullable=False),
    Column("bits", "int", "per pixel, 8 or 16", nullable=False),
    Column("digest", "str", "the first 16 digits of the SHA-256 of all its pixels, by which copies are found; empty for a uniform image"),
    Column("brightest", "int", "highest grey value", nullable=False),
    number("saturated_share", "share of pixels at the highest grey value in any plane and colour"),
    number("background", "5th percentile", "grey values"),
    number("contrast", "99.9th percentile above the background", "grey values"),
    number("noise", "SD of the camera's noise", "grey values"),
    *(number(f"detail_{scale}", f"energy of structure about {scale} px large, against that of noise", "log2") for scale in (1, 2, 4, 8)),
    number("gradient", "rise of the background across the image, relative to it; empty for images below 64 px a side"),
    number("debris", "deviation of the largest bright or dark objects", "log2 grey values"),
))

CURVES = Contract("Curves", "group of wells (a treatment)", (
    Column("dose_unit", "str", "unit of every dose column of the row"),
    Column("scale", "str", "scale of the fitted response", nullable=False, allowed=SCALES),
    Column("model", "str", "curve model that was fitted"),
    Column("direction", "str", "rising or falling response, empty if flat", allowed=("rising", "falling", "")),
    number("bottom", "lower plateau", "scale"),
    number("top", "upper plateau", "scale"),
    number("log10_midpoint", "log10 of the midpoint parameter", "log10 dose_unit"),
    number("slope", "Hill slope at the midpoint, > 0"),
    number("asymmetry", "5PL exponent; 1 for symmetric models"),
    number("hormesis", "Brain-Cousens hormesis parameter; 0 elsewhere"),
    number("ec50", "relative EC50: half of the fitted span", "dose_unit"),
    number("ec50_low", "lower confidence limit; NaN = open", "dose_unit"),
    number("ec50_high", "upper confidence limit; NaN = open", "dose_unit"),
    Column("ec50_relation", "str", "=, or > / < when beyond the tested doses", allowed=RELATIONS),
    number("ic50", "absolute IC: the dose where the response crosses ic_level", "dose_unit"),
    number("ic50_low", "lower confidence limit; NaN = open", "dose_unit"),
    number("ic50_high", "upper confidence limit; NaN = open", "dose_unit"),
    Column("ic50_relation", "str", "=, or > / < when beyond the tested doses", allowed=RELATIONS),
    number("ic_level", "level of the absolute IC", "%"),
    option("level", "float", "confidence of the limits of ec50 and ic50; empty where none were asked for"),
    option("ic50_model_low", "float", "lower limit of ic50 that holds the model's own error too, where the model knows it; NaN = open",
            "dose_unit"),
    option("ic50_model_high", "float", "upper limit of ic50 that holds the model's own error too; NaN = open", "dose_unit"),
    option("model_error", "float", "80 % half-width (as limits of scores) by which the responses that make the score may be off together, "
                                   "by the model", "% inhibition"),
    option("control_error", "float", "80 % half-width of the same, by the medians of the controls, of read-outs", "% inhibition"),
    option("plates_error", "float", "80 % half-width by which the midpoint may be off from plate to plate", "log10 dose_unit"),
    option("uncalibrated", "bool", "the model learned from controls alone: the scale between them is its own (limits of scores hold it)"),
    option("zero_at", "float", "without positive controls: the viability that dead wells may read, by the lowest dose; at most 0.25"),
    number("rss", "residual sum of squares", "scale^2"),
    number("rmse", "root of rss / (n - parameters)", "scale"),
    number("r2", "1 - rss / total sum of squares"),
    number("log_likelihood", "Gaussian, at the maximum"),
    number("aicc", "corrected Akaike criterion, variance counted as a parameter"),
    number("p_flat", "p of no effect at all, calibrated for the design"),
    number("p_lack_of_fit", "p of the replicates' own scatter explaining the misfit; NaN without replicates"),
    number("rmse_doses", "rmse of the doses' means about the curve, per well; limits go by it where p_lack_of_fit < 0.1", "scale"),
    Column("n", "int", "responses used", nullable=False),
    Column("n_doses", "int", "distinct doses used", nullable=False),
    Column("n_outliers", "int", "responses flagged as outliers", nullable=False),
    number("dose_min", "lowest tested dose", "dose_unit"),
    number("dose_max", "highest tested dose", "dose_unit"),
    number("auc", "area under viability over log10 dose, normalised to 0-1", required=False),
    number("dss1", "FIMM drug sensitivity score 1", required=False),
    number("dss2", "FIMM drug sensitivity score 2", required=False),
    number("dss3", "FIMM drug sensitivity score 3", required=False),
    number("dss_asym", "iTReX asymmetric drug sensitivity score", required=False),
    Column("status", "str", "how far the row can be trusted", nullable=False, allowed=STATUSES),
    Column("reason", "str", "why it is not ok, or why a value is censored; empty if nothing to say"),
))

_COUNTED = (
    Column("n", "int", "wells used", nullable=False),
    Column("n_left_out", "int", "wells that are left out or have no viability", nullable=False),
    Column("n_flagged", "int", "wells used that carry a flag", nullable=False),
)

SINGLE_DOSES = Contract("SingleDoses", "dose of a treatment that has too few of them for a curve", (
    key("treatment", "name as in the layout"),
    number("dose", "dose", "dose_unit"),
    Column("dose_unit", "str", "its unit"),
    *_COUNTED,
    number("viability", "mean of the wells used"),
    number("inhibition", "effect: 100 (1 - viability)", "% inhibition"),
    number("inhibition_low", "lower limit, 95 %", "% inhibition"),
    number("inhibition_high", "upper limit, 95 %", "% inhibition"),
    number("p", "p of no effect at all, two-sided"),
    number("q", "p adjusted for the number of rows: the share of false calls among all with this q or less (Benjamini and Hochberg 1995)"),
    number("plate_z", "raw output against the median of all dosed wells of its plate, in 1.4826 MAD of them; mean of the wells used"),
    number("b_score", "the same against what the medians of its row and column let expect (B score; Brideau et al. 2003)"),
    number("level", "inhibition that a hit must surely exceed", "% inhibition"),
    Column("call", "str", "hit: surely above the level; effect: above 0; growth: below 0; none: no evidence; empty: cannot say",
           allowed=EFFECTS),
    Column("status", "str", "ok, or the first thing that forbids to judge", nullable=False, allowed=EFFECT_STATUSES),
    Column("reason", "str", "what forbids it, and what else to know; empty if nothing to say"),
))

_PAIR = (
    key("treatment", "first treatment, as the layout has it where it first names the pair"),
    key("treatment_2", "second treatment"),
)
_SAID = (
    Column("status", "str", "ok, or the first thing that forbids to judge", nullable=False, allowed=COMBINATION_STATUSES),
    Column("reason", "str", "what forbids it, and what else to know; empty if nothing to say"),
)
_KIND = Column("kind", "str", "what was expected of two treatments that do not interact: bliss, independent action", nullable=False)

COMBINATIONS = Contract("Combinations", "dose pair of two treatments", (
    *_PAIR,
    number("dose", "dose of the first", "dose_unit"),
    Column("dose_unit", "str", "its unit"),
    number("dose_2", "dose of the second", "dose_unit_2"),
    Column("dose_unit_2", "str", "its unit"),
    *_COUNTED,
    Column("n_1", "int", "wells used of the first alone at this dose", nullable=False),
    Column("n_2", "int", "wells used of the second alone at this dose", nullable=False),
    number("viability", "mean of the wells used"),
    number("inhibition", "effect together: 100 (1 - viability)", "% inhibition"),
    number("inhibition_1", "effect of the first alone, mean", "% inhibition"),
    number("inhibition_2", "effect of the second alone, mean", "% inhibition"),
    _KIND,
    number("expected", "effect of the two without interaction", "% inhibition"),
    number("excess", "inhibition - expected; > 0 more than expected", "% inhibition"),
    number("excess_low", "lower limit; the limits of all dose pairs of a pair and of its mean hold together, 95 times in 100",
           "% inhibition"),
    number("excess_high", "upper limit", "% inhibition"),
    number("excess_hsa", "above the stronger of the two alone", "% inhibition"),
    number("excess_zip", "of ZIP's fitted surfaces; NaN below 4 doses", "% inhibition"),
    number("excess_loewe", "above dose additivity; NaN below 4 doses of each alone", "% inhibition"),
    Column("evidence", "str", "of the excess: more or less than expected, or none: within the noise; empty: cannot say", allowed=EVIDENCE),
    *_SAID,
))

COMBINATION_PAIRS = Contract("CombinationPairs", "pair of treatments", (
    *_PAIR,
    Column("dose_unit", "str", "unit of the first one's doses"),
    Column("dose_unit_2", "str", "unit of the second one's"),
    _KIND,
    Column("n_dose_pairs", "int", "dose pairs of the layout", nullable=False),
    Column("n_judged", "int", "dose pairs with limits", nullable=False),
    Column("n", "int", "wells used that hold both", nullable=False),
    Column("n_left_out", "int", "wells of both that are left out or have no viability", nullable=False),
    Column("n_flagged", "int", "wells used that carry a flag", nullable=False),
    number("mean_excess", "mean over the dose pairs that have one", "% inhibition"),
    number("mean_low", "lower limit, together with those of the dose pairs", "% inhibition"),
    number("mean_high", "upper limit", "% inhibition"),
    number("mean_hsa", "mean of excess_hsa", "% inhibition"),
    number("mean_zip", "mean of excess_zip", "% inhibition"),
    number("mean_loewe", "mean of excess_loewe", "% inhibition"),
    *(number(f"{end}_{name}", meaning.format(end), unit) for end in ("highest", "lowest") for name, meaning, unit in (
        ("excess", "{} excess of a dose pair", "% inhibition"), ("low", "its lower limit", "% inhibition"),
        ("high", "its upper limit", "% inhibition"), ("dose", "where: dose of the first", "dose_unit"),
        ("dose_2", "where: dose of the second", "dose_unit_2"))),
    Column("n_more", "int", "dose pairs with evidence of more than expected", nullable=False),
    Column("n_less", "int", "dose pairs with evidence of less", nullable=False),
    number("noise", "standard deviation of one well, which the limits rest on", "% inhibition"),
    number("noise_df", "degrees of freedom of the limits"),
    Column("noise_from", "str", "where it is from: the larger one", allowed=("replicates", "negative controls", "")),
    Column("call", "str", "synergy, antagonism, mixed (depends on the doses), none (no evidence); empty: cannot say", allowed=CALLS),
    *_SAID,
))

IMAGE_CLASSES = Contract("ImageClasses", "image", (
    key("image_id", "name of the image"),
    Column("label", "str", "its label where it had one, else empty"),
    key("class", "the likelier of the model's two classes"),
    Column("probability", "float", "probability of the model's first class", nullable=False),
    number("logit", "what the head gives before the sigmoid or softmax"),
    number("unlikeness", "how far it looks from the images that the model learned from: above 1 it is flagged; empty where not known"),
    key("flags", "words that say why to distrust the row", "list"),
    key("model", "registered name of the model that classified it"),
    key("version", "its version, or the bundle's sha256[:12] outside the registry"),
))

CONTRACTS = (LAYOUT, TREATMENTS, IMAGE_SET, IMAGE_QUALITY, WELL_SCORES, CURVES, SINGLE_DOSES, COMBINATIONS, COMBINATION_PAIRS,
             IMAGE_CLASSES)


def combined(wells: pd.DataFrame) -> pd.Series:
    """Which wells of a Layout or WellScores hold a second treatment: (N,) bool."""
    if "treatment_2" not in wells or "dose_2" not in wells:
        return pd.Series(False, index=wells.index)
    return wells["treatment_2"].ne("") & wells["dose_2"].gt(0)


def left_out(wells: pd.DataFrame) -> pd.Series:
    """Which wells of a table its column `excluded` leaves out: (N,) bool; none where it has no such column, or says nothing of a well."""
    return wells["excluded"].fillna(False).astype(bool) if "excluded" in wells else pd.Series(False, index=wells.index)
