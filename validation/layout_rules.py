"""Rules about the layout table itself: columns, well names, uniqueness, roles, numbers, units."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd

from models.errors import Finding
from models.plates.vocabulary import CONDITION_WORDS, SAMPLE_WORDS, plain
from models.tables import DOSED_ROLES
from models.wells import PLATE_FORMATS, USUAL_FORMATS, in_format, row_letters, wells_of
from models.words import listed, some
from validation.evidence import Evidence, Rule, of_well, reading_rule

MOST_OUTSIDE = 1 / 8    # of a plate's wells that may be slips: a row of a plate of 96
_SIGNS = re.compile(r"[\s®™©]+|(?<=[^\W\d])[-_]|[-_](?=[^\W\d])")   # what one drug's name may have or not: "5-FU"; not "1-12"


def unique_wells(evidence: Evidence) -> Iterator[Finding]:
    """Each well is named once per plate."""
    again = evidence.layout.duplicated(["plate", "well"], keep=False) & (evidence.layout["well"] != "")
    for _, group in evidence.layout[again].groupby(["plate", "well"], sort=False) if again.any() else ():
        lines = [str(index + 2) for index in group.index]
        yield of_well(group.iloc[-1], rule="well_unique", column="well", value=group.iloc[-1]["well"],
                      message=f"well {group.iloc[-1]['well']} is named {len(group)} times on plate {group.iloc[-1]['plate']} "
                              f"(lines {', '.join(lines)}); keep one line and correct or remove the others")


def format_fits(evidence: Evidence) -> Iterator[Finding]:
    """The wells of each plate are not those of a smaller plate, shifted or with a slip: the format is often guessed from them."""
    for plate, wells in evidence.usable.groupby("plate", sort=False):
        if doubt := format_doubt(wells, evidence.screen.plate_format):
            yield Finding(rule="format_doubtful", severity="warning", plate=str(plate), column="well",
                          value=str(evidence.screen.plate_format), message=f"plate {plate} is taken as one of {doubt}")


def format_doubt(wells: pd.DataFrame, plate_format: int) -> str:
    """Why wells (with `row` and `column`) may be of a smaller plate, "" where they are not likely to. Below 96 wells only a plate that is
    filled is asked about, because the inner wells of a plate are as many as another one has.
    """
    smaller = next((size for size in PLATE_FORMATS if size < 96 <= plate_format and set(wells["well"]) == set(wells_of(size))), 0)
    if smaller:
        return f"{plate_format} wells, but its wells are those of a {smaller}-well plate: correct plate_format in screen.yaml if it is one"
    smaller = max((size for size in USUAL_FORMATS if size < plate_format), default=0)
    if not smaller or wells.empty:
        return ""
    ends = [(int(wells[name].min()), int(wells[name].max())) for name in ("row", "column")]
    outside = [well for well in wells["well"] if not in_format(well, smaller)]
    if not outside or all(last - first < size for (first, last), size in zip(ends, PLATE_FORMATS[smaller], strict=True)):
        (top, bottom), (left, right) = ends
        why = (f"its wells span rows {row_letters(top)}-{row_letters(bottom)} and columns {left + 1}-{right + 1}, no more than a plate of "
               f"{smaller} has: are they shifted by a row or column?")
    elif len(outside) <= MOST_OUTSIDE * len(wells):
        why = f"all its {len(wells)} wells but {some(outside)} are those of a plate of {smaller}: is that a slip?"
    else:
        return ""
    return f"{plate_format} wells, but {why} Correct the wells, or plate_format in screen.yaml; if they lie so, go on"


def one_condition(evidence: Evidence) -> Iterator[Finding]:
    """All wells are of one cell line or patient, and of one time."""
    for column in evidence.layout.columns:
        if plain(str(column)) not in (*CONDITION_WORDS, *SAMPLE_WORDS):
            continue
        values = evidence.layout.loc[evidence.layout["role"] != "empty", column].astype("str").str.strip()
        named = dict.fromkeys(values[values != ""].str.casefold())
        if len(named) > 1 and (plain(str(column)) in CONDITION_WORDS or _each_treated(evidence.layout, values.str.casefold())):
            yield Finding(rule="one_condition", severity="error", column=str(column), value=str(len(named)), message=(
                f"column '{column}' tells {len(named)} apart ({some(values[values != ''])}), whose wells would make one curve per "
                "treatment, on one scale: give each a table of its own, with its own controls, or remove the column if they are "
                "replicates"))


def _each_treated(layout: pd.DataFrame, values: pd.Series) -> bool:
    """Whether each value stands at several doses, and a dose has several of them: samples that got the same, and no numbers of wells."""
    dosed = layout[layout["role"].isin(DOSED_ROLES) & layout["dose"].gt(0)].assign(named=values).query("named != ''")
    doses = dosed.drop_duplicates(["treatment", "dose", "named"])
    return bool(doses.groupby("named").size().gt(1).all() and doses.duplicated(["treatment", "dose"]).any())


def treatments_named(evidence: Evidence) -> Iterator[Finding]:
    """Each treated or reference well names its treatment."""
    layout = evidence.layout
    nameless = layout["role"].isin(DOSED_ROLES) & (layout["treatment"] == "")
    for _, row in layout[nameless].iterrows() if nameless.any() else ():
        if not any(finding.column == "treatment" for finding in evidence.parsed.errors):
            yield of_well(row, rule="treatment_named", column="treatment", value="",
                          message=(
                f"a {row['role']} well names no treatment (NA, nan, none, null and - count as empty); fill it in, with a longer name if it "
                "is called so, or set its role to untreated or empty"))


def treatments_spelled_alike(evidence: Evidence) -> Iterator[Finding]:
    """Two spellings of one treatment would become two curves."""
    names = [name for name in dict.fromkeys(evidence.layout["treatment"]) if name]
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(_SIGNS.sub("", name.casefold()), []).append(name)
    for group in spellings.values():
        if len(group) > 1:
            yield Finding(rule="treatment_spelling", severity="warning", column="treatment", value=group[1],
                          message=f"treatments {some(map(repr, group))} differ only in case, blanks, hyphens or trademark signs and are "
                                  "scored apart; spell them alike if they are one")


def doses_by_role(evidence: Evidence) -> Iterator[Finding]:
    """Treated and reference wells have a dose above zero; no dose is negative."""
    if any(finding.rule == "column_missing" and finding.column == "dose" for finding in evidence.parsed.errors):
        return
    layout, dosed = evidence.layout, evidence.layout["role"].isin(DOSED_ROLES)
    wrong = layout["dose"].lt(0) | (dosed & ~layout["dose"].gt(0))
    for _, row in layout[wrong].iterrows() if wrong.any() else ():
        dose = row["dose"]
        if (row["plate"], row["well"], "dose") in evidence.blamed:
            continue
        what = (f"the dose {dose:g} is negative; give it as a number above zero (not as its logarithm)" if dose < 0 else
                f"a {row['role']} well has {'dose 0' if dose == 0 else 'no dose'}; give its dose, or set its role to "
                f"{'positive, if it is the control of dead wells' if row['role'] == 'reference' else 'negative or untreated'}")
        yield of_well(row, rule="dose_by_role", column="dose", value="" if dose != dose else f"{dose:g}", message=what)


def one_unit_per_treatment(evidence: Evidence) -> Iterator[Finding]:
    """All doses of a treatment have one unit (molar units are converted, so they agree), be it given alone or second."""
    layout = evidence.layout
    units = {unit for name in ("dose_unit", "dose_unit_2") if name in layout for unit in layout[name].unique()}
    if len(units - {""}) < 2:
        return
    given = _given(layout)
    mixed = given[given.groupby("treatment")["unit"].transform("nunique") > 1]
    for treatment, group in mixed.groupby("treatment", sort=False):
        usual = group["unit"].value_counts().index[0]
        for (plate, column, unit), odd in group[group["unit"] != usual].groupby(["plate", "column", "unit"], sort=False):
            yield Finding(rule="one_unit", severity="error", plate=str(plate), well=listed(odd["well"]), column=str(column),
                          value=str(unit), message=f"treatment {treatment} is given in {unit} here and in {usual} elsewhere, "
                                  "which cannot be converted; use one unit for it")


def _given(layout: pd.DataFrame) -> pd.DataFrame:
    """plate, well, treatment, unit, column (dose_unit or dose_unit_2) of each treatment with a dose."""
    parts = [layout[["plate", "well"]].assign(treatment=layout[f"treatment{suffix}"], unit=layout[f"dose_unit{suffix}"],
                                              column=f"dose_unit{suffix}")
             for suffix in ("", "_2") if f"dose_unit{suffix}" in layout.columns]
    given = pd.concat(parts) if len(parts) > 1 else parts[0]
    return given[(given["unit"] != "") & (given["treatment"] != "")]


RULES = (
    reading_rule("table_repaired", "The layout file needed no repair"),
    reading_rule("columns", "The layout has each column that is needed, once",
                 "column_missing", "column_repeated", "column_unused", "plate_default"),
    reading_rule("well_name", "Each row names a well and a plate", "well_renamed", "plate_name"),
    reading_rule("well_format", "Each well lies inside the plate format"),
    Rule("format_doubtful", "layout", "The wells are not those of a smaller plate, shifted or with a slip", format_fits),
    Rule("well_unique", "layout", "Each well is named once per plate", unique_wells),
    Rule("one_condition", "layout", "All wells are of one cell line or patient, and of one time", one_condition),
    reading_rule("role", "Each well has a known role", "role_unknown", "role_default"),
    Rule("treatment_named", "layout", "Treated and reference wells name their treatment", treatments_named),
    Rule("treatment_spelling", "layout", "Each treatment has one spelling", treatments_spelled_alike),
    reading_rule("number", "Doses, replicates and read-outs are numbers", "flag", "replicate", "decimal_comma", "decimal_point",
                 "readout_overflow"),
    Rule("dose_by_role", "layout", "Treated and reference wells have a dose above zero", doses_by_role),
    reading_rule("dose_logarithm", "Doses are doses, not their logarithms"),
    reading_rule("dose_pooled", "Replicates of a dose have one dose"),
    reading_rule("dose_of_control", "Negative, untreated and empty wells have no dose"),
    reading_rule("unit", "Each dose has one known unit", "unit_unknown", "unit_missing", "unit_contradicted", "unit_default"),
    Rule("one_unit", "layout", "Each treatment has one dose unit", one_unit_per_treatment),
)
