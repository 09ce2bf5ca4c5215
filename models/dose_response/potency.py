"""Is a treatment less potent on one sample than on another: by how many times, within which limits, and surely?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from models.dose_response.checks import require_columns
from models.dose_response.curves import inhibition
from models.dose_response.doubts import only_the_dose_is_open
from models.dose_response.viability import NORMAL_95
from models.errors import Finding, TableError

FALSE_CALLS = 0.05      # expected share among all treatments that are called higher or lower
LEVEL = 0.95            # confidence of the limits that are compared
COLUMNS = ("ic50_first", "ic50_second", "fold", "fold_low", "fold_high", "fold_relation", "p", "q", "call", "reason")
NEEDED = ("dose_unit", "status", "reason", "ic50", "ic50_low", "ic50_high", "ic50_relation", "ic_level", "scale", "bottom", "top", "rmse",
          "rmse_doses", "n", "n_doses", "dose_min", "dose_max")


def compare_potency(first: pd.DataFrame, second: pd.DataFrame, *, by: str = "treatment") -> pd.DataFrame:
    """A row per treatment that both samples have, in the order of `first`: `by`, the two IC50s, and

    fold             IC50 on the second sample over that on the first
    fold_low, _high  its 95 % limits, from the IC50s' own (MOVER: Zou and Donner 2008, Stat Med 27:1693), those with a model's error where a
                     curve has them; NaN = open
    fold_relation    "=", ">" or "<" where one of the two IC50s is censored, "" where nothing can be said
    p, q             of no difference; q corrected for the number of treatments (Benjamini and Hochberg 1995); a censored one has no p
    call             higher, lower (IC50 on the second, q <= 0.05; of a censored one by its limit), none (no evidence), "" = cannot say
    first, second    Curves. Raises TableError when a column is missing, or a treatment has several curves.
    """
    for table, which in ((first, "first"), (second, "second")):
        what = f"potencies cannot be compared, in the {which} curves"
        require_columns(table, [by, *NEEDED], what=what)
        _require_one_each(table, by, what=what)
    there = {row[by]: row for row in second.to_dict("records")}
    rows = [{by: row[by], **_compared(row, there[row[by]])} for row in first.to_dict("records") if row[by] in there]
    found = pd.DataFrame(rows, columns=[by, *(name for name in COLUMNS if name != "q")])
    known = found["p"].notna().to_numpy()
    found["q"] = np.nan
    if known.any():
        found.loc[known, "q"] = stats.false_discovery_control(found.loc[known, "p"].astype(float))
    judged = known & found["q"].gt(FALSE_CALLS).to_numpy()
    found.loc[judged, "call"] = "none"
    return found[[by, *COLUMNS]]


def _require_one_each(curves: pd.DataFrame, by: str, *, what: str) -> None:
    """Raise TableError, one finding per treatment that has several curves: which of them to compare, nobody said."""
    count = curves[by].value_counts(sort=False)
    several = [Finding(rule="key_repeated", severity="error", column=by, value=str(name),
                       message=f"'{name}' has {number} curves; expected one. Compare tables of one sample each")
               for name, number in count[count > 1].items()]
    if several:
        raise TableError(f"{what}: {len(several)} with several curves, first {several[0].message}", several)


def _compared(first: dict[Any, Any], second: dict[Any, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"ic50_first": first["ic50"], "ic50_second": second["ic50"], "fold": np.nan, "fold_low": np.nan,
                           "fold_high": np.nan, "fold_relation": "", "p": np.nan, "call": "", "reason": _why_not(first, second)}
    if row["reason"]:
        return row
    (a, a_low, a_high), (b, b_low, b_high) = _logs(first), _logs(second)
    sides = first["ic50_relation"], second["ic50_relation"]
    by = b - a
    relation = "=" if sides == ("=", "=") else ">" if sides[1] == ">" or sides[0] == "<" else "<"
    if relation == "=":
        low, high = by - np.hypot(b - b_low, a_high - a), by + np.hypot(b_high - b, a - a_low)
        error = (by - low if by > 0 else high - by) / NORMAL_95
        row["p"] = 2 * stats.norm.sf(abs(by) / error) if error > 0 else np.nan
    else:       # a limit alone, and no more certain than both together
        low, high = (b_low - a_high, np.nan) if relation == ">" else (np.nan, b_high - a_low)
    call = "higher" if low > 0 else "lower" if high < 0 else "none" if np.isfinite([low, high]).any() else ""
    row["reason"] = "" if call else "nothing tells how far the IC50 lies beyond the tested doses"
    return row | {"fold": 10.0**by, "fold_low": 10.0**low, "fold_high": 10.0**high, "fold_relation": relation, "call": call}


def _logs(row: dict[Any, Any]) -> tuple[float, float, float]:
    """log10 of IC50 and its limits; an end of the tested doses is no limit of what lies beyond, unless the curve is flat and far enough
    from the level.
    """
    low, high = (row.get(f"ic50_model_{end}", np.nan) for end in ("low", "high"))
    low, high = row["ic50_low"] if np.isnan(low) else low, row["ic50_high"] if np.isnan(high) else high
    if row["status"] == "flat":
        least, most = _effects_of_flat(row)
        low, high = row["dose_max"] if most < row["ic_level"] else np.nan, row["dose_min"] if least > row["ic_level"] else np.nan
    value, low, high = np.log10([row["ic50"], low, high])
    return float(value), float(low), float(high)


def _effects_of_flat(row: dict[Any, Any]) -> tuple[float, float]:
    """The least and the most inhibition, in percent, that any tested dose of a flat curve may have: what the curve runs between, and 97.5 %
    of the t of a dose's mean beyond. A dose counts as one well where the means of doses scatter more than their wells say.
    """
    error = max(row["rmse"] / np.sqrt(row["n"] / row["n_doses"]), row["rmse_doses"])
    reach = stats.t.ppf(0.975, max(row["n_doses"] - 1, 1)) * error
    low, high = sorted((row["bottom"], row["top"]))
    least, most = sorted(inhibition(np.array([low - reach, high + reach]), row["scale"]).tolist())
    return least, most


def _why_not(first: dict[Any, Any], second: dict[Any, Any]) -> str:
    for row, which in ((first, "first"), (second, "second")):
        if row["ic50_relation"] not in ("=", ">", "<"):
            return f"no IC50 on the {which} sample"
        if row["status"] == "weakly_identified" and not only_the_dose_is_open(row["reason"]):
            return f"the curve on the {which} sample is in doubt: {row['reason']}"
        if row.get("uncalibrated") is True:
            return f"the model of the {which} sample learned from controls only: its IC50s compare within that screen alone"
        if (level := row.get("level", LEVEL)) != LEVEL:
            return (f"the curve on the {which} sample has no limits" if np.isnan(level) else
                    f"the limits on the {which} sample are of {100 * level:g} %") + f"; fit it again with level {LEVEL}"
    for name, what in (("dose_unit", "doses in {} and in {}"), ("ic_level", "IC{:g} and IC{:g}")):
        if first[name] != second[name]:
            return what.format(first[name], second[name])
    same = first["ic50_relation"] == second["ic50_relation"]
    return "both IC50s lie beyond the tested doses, on the same side" if same and first["ic50_relation"] != "=" else ""
