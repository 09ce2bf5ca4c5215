"""Several read-outs of the same wells side by side: metabolic, image-based by each model, a baseline (Berker et al. 2022, figures 6-12).

Everything here takes and gives one long table, `readouts`: row = well and read-out, with the columns screen, readout (its name), plate,
well, role, treatment, dose, dose_unit, replicate, value (raw), viability, excluded.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from models.dose_response.checks import require_columns
from models.dose_response.fit import fit_curves
from models.dose_response.options import FitOptions
from models.dose_response.selection import HIT_THRESHOLD, call_hits
from models.dose_response.sensitivity import score_curves
from models.dose_response.statistics import correlation, correlation_interval
from models.dose_response.viability import normalise_to_controls
from models.tables import DOSED_ROLES, combined, left_out

COLUMNS = ("screen", "readout", "plate", "well", "role", "treatment", "dose", "dose_unit", "replicate", "value", "viability", "excluded")
WELL_KEYS = ("screen", "readout", "treatment", "dose")
CURVE_KEYS = ("screen", "readout", "treatment")
QUICK = FitOptions(interval="none")     # scores need no confidence limits


def readout_of(wells: pd.DataFrame, *, value: str, name: str, screen: str, positive: str = "") -> pd.DataFrame:
    """The wells as one read-out, with viability by the controls of their plate; rows kept, in order. Wells that hold two treatments are
    excluded: they are neither of one's curve nor duplicates of the wells that hold it alone.

    wells     Layout columns and `value`, the raw read-out; `excluded` where present
    positive  compound that kills for this read-out (screen.yaml, positive_control), "" = the role positive as it stands: its wells become
              positive controls, those of another one reference wells. A compound that is both a kill control and a dose series keeps the
              series apart; of a series alone, the highest dose counts as the control.
    Raises TableError when a column is missing.
    """
    require_columns(wells, ["plate", "well", "role", "treatment", "dose", "replicate", value], what=f"read-out {name} cannot be used")
    table = wells.assign(role=_roles(wells, positive), value=pd.to_numeric(wells[value], errors="coerce").astype("float64"),
                         excluded=combined(wells) | left_out(wells), dose_unit=wells.get("dose_unit", ""), screen=screen, readout=name)
    return normalise_to_controls(table, value="value")[list(COLUMNS)].reset_index(drop=True)


def _roles(wells: pd.DataFrame, positive: str) -> pd.Series:
    same = wells["treatment"].astype(str).str.casefold() == positive.casefold()
    if not positive or not same.any():
        return wells["role"]
    stated = same & (wells["role"] == "positive")
    series = same & wells["role"].isin(DOSED_ROLES)
    kills = stated if stated.any() else series & (wells["dose"] == wells.loc[series, "dose"].max())
    return wells["role"].mask(wells["role"] == "positive", "reference").mask(kills, "positive")


def score_readouts(readouts: pd.DataFrame, *, options: FitOptions = QUICK, by: Sequence[str] = CURVE_KEYS) -> pd.DataFrame:
    """Curves of treated wells with score columns, `hit` and `hit_reason`: a row per screen, read-out and treatment (columns of `by`), in
    the order of their first wells.
    """
    require_columns(readouts, ["role", "dose", "viability", "excluded", *by], what="read-outs cannot be scored")
    wells = readouts[(readouts["role"] == "treated") & ~readouts["excluded"]]
    wells = wells.assign(inhibition=100.0 * (1.0 - wells["viability"]))
    curves = fit_curves(wells, by=list(by), response="inhibition", scale="percent_inhibition", options=options)
    return call_hits(score_curves(curves, mode=options.mode))


def duplicate_wells(readouts: pd.DataFrame) -> pd.DataFrame:
    """Viabilities of replicates of the same screen, read-out, treatment and dose, pair by pair: those keys, replicate_1, replicate_2,
    first, second.

    n replicates give n (n - 1) / 2 pairs; the lower number stands first. Wells that are excluded or have no viability form no pair.
    Where numbers begin again on each plate, replicates are numbered through all of them (`_numbered_through`).
    """
    require_columns(readouts, [*WELL_KEYS, "plate", "role", "replicate", "excluded", "viability"], what="duplicates cannot be paired")
    wells = _numbered_through(readouts[(readouts["role"] == "treated") & ~readouts["excluded"]])
    return _pairs(wells[np.isfinite(wells["viability"])], keys=WELL_KEYS, value="viability")


def duplicate_scores(readouts: pd.DataFrame) -> pd.DataFrame:
    """The same for asymmetric DSS: each replicate's dilution series gets a curve of its own (Berker et al. 2022, figure 9)."""
    require_columns(readouts, [*WELL_KEYS, "plate", "role", "replicate", "excluded"], what="duplicates cannot be paired")
    wells = _numbered_through(readouts[(readouts["role"] == "treated") & ~readouts["excluded"]])
    scored = score_readouts(wells, by=[*CURVE_KEYS, "replicate"])
    return _pairs(scored[np.isfinite(scored["dss_asym"])], keys=CURVE_KEYS, value="dss_asym")


def _numbered_through(wells: pd.DataFrame) -> pd.DataFrame:
    """The wells with replicates of a treatment numbered from 1 in order of plate and number, where one number stands twice at a dose: two
    wells under one number are no pair.
    """
    of_treatment = [wells[name] for name in CURVE_KEYS]
    twice = wells.duplicated([*WELL_KEYS, "replicate"]).groupby(of_treatment).transform("any")
    through = wells.groupby(["plate", "replicate"]).ngroup().groupby(of_treatment).rank(method="dense").astype("int64")
    return wells.assign(replicate=wells["replicate"].mask(twice, through))


def _pairs(table: pd.DataFrame, *, keys: Sequence[str], value: str) -> pd.DataFrame:
    wide = table.pivot_table(index=list(keys), columns="replicate", values=value, sort=False)
    parts = [wide[[one, other]].dropna().set_axis(["first", "second"], axis=1).reset_index().assign(replicate_1=one, replicate_2=other)
             for one, other in combinations(sorted(wide.columns), 2)]
    columns = [*keys, "replicate_1", "replicate_2", "first", "second"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def reproducibility(pairs: pd.DataFrame, *, by: Sequence[str] = ("readout",)) -> pd.DataFrame:
    """How well duplicates agree: a row per group of `by` with pearson, its 95 % limits pearson_low and pearson_high (Fisher's z, which
    takes the pairs as independent), spearman, and the number n of pairs.
    """
    require_columns(pairs, [*by, "first", "second"], what="duplicates cannot be compared")
    return _correlated(pairs, "first", "second", by=list(by))


def compare_scores(scored: pd.DataFrame, *, reference: str, kind: str = "dss_asym", threshold: float = HIT_THRESHOLD) -> pd.DataFrame:
    """Each read-out's scores against those of the read-out `reference`, treatment by treatment (Berker et al. 2022, figure 11).

    scored: as `score_readouts` gives it. Columns: screen, readout, treatment, score, reference_score, mismatch: "" where both or
    neither reach the threshold, or one of the two has no score (NaN), else "only <read-out>".
    """
    require_columns(scored, [*CURVE_KEYS, kind], what="scores cannot be compared")
    wide = scored[[*CURVE_KEYS, kind]].rename(columns={kind: "score"})
    other = wide[wide["readout"] == reference].rename(columns={"score": "reference_score"}).drop(columns="readout")
    table = wide[wide["readout"] != reference].merge(other, on=["screen", "treatment"], how="left", validate="many_to_one")
    known = table[["score", "reference_score"]].notna().all(axis=1)
    here, there = table["score"] >= threshold, table["reference_score"] >= threshold
    words = np.select([known & here & ~there, known & there & ~here], ["only " + table["readout"].astype(str), f"only {reference}"], "")
    return table.assign(mismatch=pd.Series(words, index=table.index, dtype="str"))


def score_agreement(compared: pd.DataFrame, *, by: Sequence[str] = ("readout",)) -> pd.DataFrame:
    """`compare_scores` in a row per group: pearson with limits, spearman, n treatments with both scores, n_without, mismatches and
    mismatch_share (of n).
    """
    table = _correlated(compared, "reference_score", "score", by=list(by))
    groups = compared.assign(_one=compared["mismatch"] != "").groupby(list(by), sort=False)["_one"]
    mismatches, n = groups.sum().to_numpy(dtype=int), table["n"].to_numpy(dtype=int)
    return table.assign(n_without=groups.size().to_numpy(dtype=int) - n, mismatches=mismatches,
                        mismatch_share=np.divide(mismatches, n, out=np.full(len(n), np.nan), where=n > 0))


def uniformity(readouts: pd.DataFrame, *, by: Sequence[str] = ("readout",)) -> pd.DataFrame:
    """Whether treated wells fill the range between the controls (Berker et al. 2022, figure 7) or fall into two classes.

    A row per group: middle_share, the share of treated wells with a viability of 0.25-0.75 among those of 0-1 (0.5 when uniform, 0 for a
    read-out that only says living or dead), outside_share (below -0.2 or above 1.2), and n.
    """
    require_columns(readouts, [*by, "role", "viability", "excluded"], what="uniformity cannot be judged")
    wells = readouts[(readouts["role"] == "treated") & ~readouts["excluded"] & np.isfinite(readouts["viability"])]
    rows = []
    for name, group in wells.groupby(list(by), sort=False):
        values = group["viability"]
        inside = values[values.between(0, 1)]
        rows.append(dict(zip(by, name, strict=True)) | {
            "middle_share": float(inside.between(0.25, 0.75).mean()), "outside_share": float((~values.between(-0.2, 1.2)).mean()),
            "n": len(values)})
    return pd.DataFrame(rows, columns=[*by, "middle_share", "outside_share", "n"])


def _correlated(table: pd.DataFrame, first: str, second: str, *, by: list[str]) -> pd.DataFrame:
    rows = []
    for name, group in table.groupby(by, sort=False):
        found = correlation(group[first], group[second])
        low, high = correlation_interval(found.pearson, found.n)
        rows.append(dict(zip(by, name, strict=True)) | {"pearson": found.pearson, "pearson_low": low, "pearson_high": high,
                                                        "spearman": found.spearman, "n": found.n})
    return pd.DataFrame(rows, columns=[*by, "pearson", "pearson_low", "pearson_high", "spearman", "n"])
