"""Doses and units of a raw layout, as labs write them: in which units, not as logarithms, and one a level where a dispenser noted them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from models.errors import Finding
from models.plates.dose_levels import one_dose, with_one_dose_a_level
from models.plates.layout_cells import MOST_TOLD, Cells, numbers, say_number
from models.plates.vocabulary import KNOWN_UNITS, MOLAR, canonical_unit
from models.tables import DOSED_ROLES, DOSELESS_ROLES

LOG_DOSES, LARGEST_LOG = 5, 12.0     # doses of a treatment that may be logarithms, at least, and the largest: -log10 M of a picomolar dose


def read_dose(cells: Cells, suffix: str, default_unit: str | None) -> pd.Series:
    """dose and dose_unit (or dose_2, dose_unit_2), molar doses in nM; returns which are stated as 0."""
    dose, unit = f"dose{suffix}", f"dose_unit{suffix}"
    if suffix:
        cells.out[f"treatment{suffix}"] = cells.text(f"treatment{suffix}")
    doses, beside = numbers(cells, dose)
    units = _read_unit(cells, dose, unit, doses, beside, default_unit)
    _refuse_logarithms(cells, dose, doses, units)
    scaled = (doses * units.map(MOLAR).fillna(1.0).astype("float64")).map(one_dose)
    cells.each(np.isinf(scaled), dose, rule="number", say=lambda value: say_number(value, dose))
    scaled = scaled.mask(np.isinf(scaled), np.nan)
    zero = scaled.eq(0)
    doseless = cells.out["role"].isin(DOSELESS_ROLES) if not suffix else zero
    unused = doseless & scaled.gt(0)
    stated = ", ".join(dict.fromkeys(cells.text(dose)[unused][:MOST_TOLD]))
    cells.once(unused, dose, rule="dose_of_control", say=lambda count, _:
                f"{count} negative, untreated or empty well(s) state a dose ({stated[:60]}); it is not used as one")
    scaled = scaled.mask(doseless | (cells.out["role"].eq("positive") & scaled.eq(0)), np.nan)
    cells.out[dose] = scaled
    cells.out[unit] = units.mask(units.isin(tuple(MOLAR)), "nM").where(scaled.notna(), "").astype("str")
    return zero


def _read_unit(cells: Cells, dose: str, unit: str, doses: pd.Series, beside: pd.Series, default_unit: str | None) -> pd.Series:
    """The unit of each dose, canonical or "": of its column, beside the dose in its cell, or of the header, where no two of them differ."""
    header, column = cells.header_units.get(dose, ""), cells.text(unit)
    stated = column.where(column != "", beside)
    stated = stated.where(stated != "", canonical_unit(header)).astype("str")
    if unit not in cells.raw.columns and not stated.any():
        if not default_unit and doses.gt(0).any():
            cells.findings.append(_no_unit(unit, header, doses))
        stated = pd.Series(default_unit or "nM", index=doses.index, dtype="str")
    units = _canonical_units(stated)
    needed = doses.gt(0) & ~cells.out["role"].isin(DOSELESS_ROLES)
    cells.each((units == "") & (stated != ""), unit, rule="unit_unknown", say=lambda text:
                f"'{text}' is not a unit; use one of {', '.join(KNOWN_UNITS)}")
    cells.each((stated == "") & needed, unit, rule="unit_missing", say=lambda _:
                f"the dose has no unit; fill in {unit} (one of {', '.join(KNOWN_UNITS)})")
    other = _canonical_units(beside).mask(beside == "", canonical_unit(header))
    cells.each(needed & (column != "") & (units != "") & (other != "") & (units != other), unit, rule="unit_contradicted", say=lambda text:
                f"column {unit} says '{text}', and the dose's own cell or its header another unit; correct the wrong one")
    return units


def _refuse_logarithms(cells: Cells, dose: str, doses: pd.Series, units: pd.Series) -> None:
    """An error where the doses of every treatment rise by equal steps, of one at most: those are logarithms, and IC50s of them nonsense."""
    dosed = cells.out["role"].isin(DOSED_ROLES) & doses.gt(0) & (units.isin(tuple(MOLAR)) | units.str.endswith("g/mL"))
    series = [np.unique(own) for _, own in doses[dosed].groupby(cells.text(dose.replace("dose", "treatment"))[dosed], sort=False)]
    series = [own for own in series if len(own) >= LOG_DOSES]
    if series and all(_is_even(own) for own in series):
        first, unit = series[0], units[dosed].iloc[0]
        cells.at(doses[dosed].index[0], rule="dose_logarithm", column=dose, value=f"{first[0]:g}", message=(
            f"the doses of every treatment rise by equal steps ({', '.join(f'{one:.3g}' for one in first[:3])} ... {first[-1]:.3g} {unit}),"
            " as their logarithms do; give the doses themselves. If these are the doses, write them in a smaller unit (1 uM as 1000 nM)"))


def _is_even(doses: np.ndarray) -> bool:
    """Whether rising doses lie as far apart as log10 of a dilution series does: equal steps of one at most."""
    steps = np.diff(doses)
    return bool(steps.max() <= min(1.1 * steps.min(), 1.001) and doses[-1] <= LARGEST_LOG)


def _no_unit(unit: str, header: str, doses: pd.Series) -> Finding:
    """That no unit is stated: a warning, or an error where the header holds something else that nobody should pass over."""
    if header:
        return Finding(rule="unit_unknown", severity="error", column=unit, value=header, message=(
            f"'{header}' in the header of the doses is not a unit; write one of {', '.join(KNOWN_UNITS)} there, or add a column {unit}"))
    return Finding(rule="unit_default", severity="warning", column=unit, value="nM", message=(
        f"the layout names no {unit}; doses ({doses[doses > 0].min():g} to {doses.max():g}) are read as nM. Add a column {unit} if that "
        "is wrong"))


def _canonical_units(texts: pd.Series) -> pd.Series:
    return texts.map({text: canonical_unit(text) for text in texts.unique()}).astype("str")


def alone_at_dose_0(wells: pd.DataFrame, zero: pd.Series, zero_2: pd.Series) -> None:
    """A matrix of two drugs with its edges: at dose 0 of one of them a well holds the other alone. zero, zero_2: doses stated as 0."""
    named = wells["role"].isin(DOSED_ROLES) & wells["treatment_2"].ne("")
    second = named & zero & wells["dose_2"].gt(0)
    for name in ("treatment", "dose", "dose_unit"):
        wells.loc[second, name] = wells.loc[second, f"{name}_2"]
    alone = second | (named & zero_2 & wells["dose"].gt(0))
    wells.loc[alone, ["treatment_2", "dose_unit_2"]] = ""
    wells.loc[alone, "dose_2"] = np.nan


def pool_doses(cells: Cells) -> None:
    """One dose a level, where a dispenser's own doses are given."""
    given = cells.out
    cells.out = with_one_dose_a_level(given)
    for dose in (name for name in ("dose", "dose_2") if name in given):
        pooled = pd.DataFrame({"treatment": given[dose.replace("dose", "treatment")], "was": given[dose], "now": cells.out[dose]})
        pooled = pooled[pooled["was"].notna() & pooled["was"].ne(pooled["now"])]
        cells.once(pd.Series(given.index.isin(pooled.index)), dose, rule="dose_pooled", say=partial(_pooled_words, pooled))


def _pooled_words(pooled: pd.DataFrame, count: int, _: str) -> str:
    return (f"{count} dose(s) of {pooled['treatment'].nunique()} treatment(s) lie within a tenth of others, as dispensers report what each "
            f"well got; each is taken as the median of its level ({pooled['was'].iloc[0]:g} as {pooled['now'].iloc[0]:g})")
