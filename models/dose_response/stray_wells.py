"""Single wells that lie far off the curve which the others make, and drag it.

Each well is judged by the curve that is fitted without it: its distance from that curve over what noise and the curve's own uncertainty
there allow (a deleted, externally studentised residual), by Student's t, times the number of wells that were looked at. At the lowest and
the highest dose a well is judged only beside a replicate: elsewhere nobody knows how the curve goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from models.dose_response.bands import confidence_band
from models.dose_response.curves import MODELS, Array, doses_at, well_values
from models.dose_response.doubts import Row, with_changes
from models.dose_response.fit import as_arrays, fit_arrays
from models.dose_response.options import FitOptions
from models.dose_response.sensitivity import score_curves
from models.dose_response.words import dose_words, ic_name, stated

LEVEL = 0.01        # share of curves without a stray well of which one is called so by chance
_LOOK = 0.2         # a quick p up to which a curve is fitted again without its worst well
FOLD = 1.5          # by which an IC50 moves without the well, from which on the well drags the curve: beyond its own limits (ELSEWHERE)
SCORE = 2.0         # or points of DSS_asym
_LEAST = 20.0       # percent inhibition off the curve below which no well is worth a word
_BAND = 0.95


@dataclass(frozen=True, kw_only=True)
class StrayWell:
    """A well off its curve. off: percent inhibition above it; before, without: the curve's row with the well and without it."""

    treatment: str
    plate: str
    well: str
    dose: float
    off: float
    p: float
    before: dict[str, Any]
    without: dict[str, Any]

    @property
    def drags(self) -> bool:
        """Whether the curve's IC50 or score are others without the well."""
        old, new = self.before, self.without
        if old["ic50_relation"] != new["ic50_relation"] or abs(old["dss_asym"] - new["dss_asym"]) >= SCORE:
            return True
        return bool(old["ic50_relation"] == "=" and abs(np.log(old["ic50"] / new["ic50"])) >= np.log(FOLD))


def stray_wells(curves: pd.DataFrame, usable: pd.DataFrame, options: FitOptions) -> list[StrayWell]:
    """The worst well of each curve, where it is stray: treatments in the order of `curves`.

    curves: Curves by treatment, on scale percent_inhibition, with dss_asym. usable: their wells, with plate, well, treatment, dose,
    dose_unit and response. Nothing is said with robust losses, which look after strays themselves, and in modes that imitate a published
    pipeline.
    """
    if options.loss != "squares" or options.mode != "clean" or curves.empty:
        return []
    used = usable[usable["response"].notna() & (usable["dose"] > 0)].reset_index(drop=True)
    worst = _worst(curves, used)
    if worst.empty:
        return []
    parts = [used[(used["treatment"] == row["treatment"]) & (used.index != place)] for place, row in worst.iterrows()]
    fitted = _fitted(parts, options)
    judged = (_judged(curves.loc[curves["treatment"] == row["treatment"]].iloc[0], without, row, part)
              for (_, row), (_, without), part in zip(worst.iterrows(), fitted.iterrows(), parts, strict=True))
    return [one for one in judged if one is not None]


def _fitted(parts: list[pd.DataFrame], options: FitOptions) -> pd.DataFrame:
    """Curves of tables of wells, a row each, with score and IC50, without tests: no null is simulated for a design that lacks a well."""
    wells = pd.concat([part.assign(number=number) for number, part in enumerate(parts)])
    number, dose, response = (wells[name].to_numpy() for name in ("number", "dose", "response"))
    model = options.model if options.model != "auto" else "4pl"
    fit = fit_arrays(*as_arrays(number, dose.astype(float), response.astype(float)), options=replace(options, model=model))
    grouped = wells.groupby("number")
    n, lowest, highest = grouped["dose"].size().to_numpy(), grouped["dose"].min().to_numpy(), grouped["dose"].max().to_numpy()
    spare = (n - len(MODELS[model].free)).astype(float)
    table = pd.DataFrame({
        "scale": "percent_inhibition", "model": model, "direction": np.where(fit.rising, "rising", "falling"),
        "bottom": fit.bottom, "top": fit.top, "log10_midpoint": fit.log10_midpoint, "slope": fit.slope, "asymmetry": fit.asymmetry,
        "hormesis": fit.hormesis, "n": n,
        "rmse": np.sqrt(fit.rss / np.where(spare > 0, spare, np.nan)), "dose_min": lowest, "dose_max": highest})
    rows, level = np.arange(len(table)), options.ic_level
    above = well_values(table, rows, lowest) >= level
    relation = np.where(above, "<", np.where(well_values(table, rows, highest) < level, ">", "="))
    ic50 = np.where(relation == "<", lowest, np.where(relation == ">", highest, doses_at(table, level=level)))
    return score_curves(table, kinds=("dss_asym",)).assign(
        ic50=ic50, ic50_relation=relation, ic_level=level, dose_unit=grouped["dose_unit"].first())


def _worst(curves: pd.DataFrame, used: pd.DataFrame) -> pd.DataFrame:
    """The well of each curve that lies farthest off it, of curves where that might be more than noise."""
    row = pd.Index(curves["treatment"]).get_indexer(used["treatment"])
    dose = used["dose"].to_numpy(dtype=float)
    residual = used["response"].to_numpy(dtype=float) - well_values(curves, row, dose)
    counts = curves["n"].to_numpy(dtype=float)
    if not (np.abs(residual) >= _least(counts[row])).any():     # nothing lies far enough off, as on most plates
        return used.iloc[:0]
    used = used.assign(residual=residual, row=row)
    wells = used[_is_supported(row, dose) & used["residual"].notna()]
    if wells.empty:
        return wells
    farthest = wells.loc[wells["residual"].abs().groupby(wells["row"]).idxmax()]
    n = counts[farthest["row"]]
    rss = curves["rss"].to_numpy(dtype=float)[farthest["row"]]
    spare = n - _free(curves).take(farthest["row"].to_numpy()) - 1
    square = farthest["residual"].to_numpy() ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.sqrt(square / (1 - 4 / n) / (np.maximum(rss - square / (1 - 4 / n), 0.0) / spare))
    near = (spare >= 2) & (n * two_sided(statistic, np.maximum(spare, 1)) < _LOOK) & (np.sqrt(square) >= _least(n))
    return farthest[near].sort_values("row")


def _least(n: Array) -> Array:
    """Residual off a curve of n wells from which on the well may lie _LEAST off the curve that the others make; with some room."""
    return np.asarray(0.8 * _LEAST * (1 - 4 / np.maximum(n, 1.0)))


def _free(curves: pd.DataFrame) -> Array:
    """Parameters of each curve's model (N,)."""
    return np.array([len(MODELS[name].free) if name in MODELS else 4 for name in curves["model"]], dtype=float)


def _is_supported(row: npt.NDArray[np.intp], dose: Array) -> npt.NDArray[np.bool_]:
    """Which wells of curves `row` have a replicate, or doses on both sides."""
    table = pd.DataFrame({"row": row, "dose": dose})
    doses = table.groupby("row")["dose"]
    inner = (table["dose"] > doses.transform("min")) & (table["dose"] < doses.transform("max"))
    return np.asarray(inner | (table.groupby(["row", "dose"])["dose"].transform("size") > 1), dtype=bool)


def two_sided(statistic: Array, df: Array) -> Array:
    """p of Student's t, both tails."""
    return np.asarray(2.0 * special.stdtr(df, -np.abs(statistic)))


def _judged(before: pd.Series, without: pd.Series, well: pd.Series, others: pd.DataFrame) -> StrayWell | None:
    """The well, if the curve without it leaves it out in the cold."""
    spare = float(without["n"]) - len(MODELS[without["model"]].free) if without["model"] in MODELS else 0.0
    if spare < 2 or not np.isfinite(without["slope"]):
        return None
    dose, tries = np.array([float(well["dose"])]), len(others) + 1
    off = float(well["response"]) - float(well_values(without.to_frame().T, np.array([0]), dose)[0])
    if abs(off) < _LEAST or not tries * _p(off, float(without["rmse"]), spare) < LEVEL:     # even if the curve were known
        return None
    low, high = confidence_band(without, others["dose"].to_numpy(dtype=float), dose, level=_BAND)
    own = float((high - low)[0]) / 2 / float(special.stdtrit(spare, (1 + _BAND) / 2))
    p = tries * _p(off, float(np.hypot(float(without["rmse"]), own)), spare)
    if not p < LEVEL:
        return None
    return StrayWell(treatment=str(well["treatment"]), plate=str(well["plate"]), well=str(well["well"]), dose=float(dose[0]), off=off, p=p,
                     before=_plain(before), without=_plain(without))


def _p(off: float, error: float, spare: float) -> float:
    return float(two_sided(np.array([off / error]), np.array([spare]))[0]) if error > 0 else 0.0


def _plain(row: pd.Series) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def with_stray_wells(curves: pd.DataFrame, found: list[StrayWell]) -> pd.DataFrame:
    """The curves, those with a stray well saying so and counting it in n_outliers.

    Where it drags the curve, one that was ok is weakly_identified, and the limits of the IC50 reach to the one without it.
    """
    return with_changes(curves, {one.treatment: partial(_told, one) for one in found})


def _told(one: StrayWell, row: Row) -> Row:
    dragged = {"status": "weakly_identified" if row["status"] == "ok" else row["status"], **_limits(row, one.without)} if one.drags else {}
    return {"n_outliers": row["n_outliers"] + 1, "reason": "; ".join(filter(None, [in_words(one), row["reason"]])), **dragged}


def _limits(row: Row, without: dict[str, Any]) -> Row:
    if not row["ic50_relation"] or without["ic50_relation"] == "":
        return {}
    value, relation = without["ic50"], without["ic50_relation"]
    return {"ic50_low": np.nan if relation == "<" else np.min([row["ic50_low"], value]),
            "ic50_high": np.nan if relation == ">" else np.max([row["ic50_high"], value])}


def in_words(one: StrayWell) -> str:
    """What a person should know of it: the reason of the curve."""
    unit = str(one.before["dose_unit"])
    place = f"well {one.well} of plate {one.plate} ({dose_words(one.dose, unit)}) lies {abs(one.off):.0f} points of inhibition " \
            f"{'above' if one.off > 0 else 'below'} the curve of the others (p {one.p:.1g})"
    if not one.drags:
        return f"{place}; it hardly moves the curve"
    return (f"{place} and drags it: {_ic50(one.before)}, DSS_asym {one.before['dss_asym']:.1f}, without it {_ic50(one.without)}, "
            f"{one.without['dss_asym']:.1f}")


def _ic50(row: dict[str, Any]) -> str:
    called = ic_name(row["ic_level"])
    return f"{called} {stated(row['ic50'], row['ic50_relation'], row['dose_unit'])}" if row["ic50_relation"] else f"no {called}"
