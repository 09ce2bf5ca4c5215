"""Two treatments in a well: is their effect more than expected of two that do not interact, or within the plate's own noise?

Judged by Bliss independence, which needs no fitted curve, so that the plate's noise can be carried through to the excess
(models/dose_response/excess.py). HSA, ZIP and Loewe stand beside it for comparison, without limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from models.dose_response import synergy
from models.dose_response.excess import (
    Effects,
    Noise,
    bliss_covariance,
    joint_half_widths,
    mean_variance,
    median_variance,
    noise_of,
    pooled,
)
from models.dose_response.synergy import Kind
from models.dose_response.viability import NORMAL_95, shared_error
from models.plates.dose_levels import one_dose
from models.plates.screen import Controls
from models.tables import COMBINATION_PAIRS, COMBINATIONS, DOSED_ROLES, INFORMATIVE_FLAGS, check_table, combined, no_rows

NAMES = ("combinations", "combination_pairs")   # of the tables as files and in answers
KIND: Kind = "bliss"
OTHERS = tuple(kind for kind in get_args(Kind) if kind != KIND)
DOSES = ["dose", "dose_2"]
NO_FLOOR = "less than expected, but the screen has no positive control: dead wells stay above 0 %, which looks the same"


@dataclass(frozen=True)
class CombinationTables:
    """doses: Combinations, a row per dose pair; pairs: CombinationPairs, a row per pair of treatments. No rows where no well holds two."""

    doses: pd.DataFrame = field(default_factory=lambda: no_rows(COMBINATIONS))
    pairs: pd.DataFrame = field(default_factory=lambda: no_rows(COMBINATION_PAIRS))

    @classmethod
    def read(cls, folder: Path) -> CombinationTables:
        """Both tables from a folder of Parquet files named as in `named`; without rows where the folder lacks them."""
        paths = [folder / f"{name}.parquet" for name in NAMES]
        if not all(path.is_file() for path in paths):
            return cls()
        doses, pairs = (pd.read_parquet(path) for path in paths)
        return cls(check_table(doses, COMBINATIONS), check_table(pairs, COMBINATION_PAIRS))

    def named(self) -> dict[str, pd.DataFrame]:
        """The tables by the names of their files; none where there is no pair, so that nothing is written then."""
        return dict(zip(NAMES, (self.doses, self.pairs), strict=True)) if len(self.pairs) else {}


@dataclass(frozen=True)
class _Obstacle:
    """What forbids to judge a whole pair: status and reason, both empty if nothing does."""

    status: str = ""
    reason: str = ""


def combination_tables(wells: pd.DataFrame, overlapping: Mapping[str, str], *, controls: Controls, value: str) -> CombinationTables:
    """The tables of all pairs of treatments, over all plates, as the curves are.

    wells: WellScores with viability; those that are left out take no part. overlapping: plate -> what is wrong with its controls
    (models/overlap.py); pairs with wells on one get no excess. controls: what the screen declares; value: the raw column that viability is
    made from. Every well that is treated with two is counted in one row.
    """
    if not (combined(wells) & wells["role"].isin(DOSED_ROLES)).any():
        return CombinationTables()
    wells = wells.reset_index(drop=True)
    treated = _treated(wells, value)
    pairs = treated.loc[treated["both"], ["treatment", "treatment_2"]].drop_duplicates()
    found = []
    for first, second in pairs.itertuples(index=False, name=None):
        own = _of_pair(treated, first, second)
        plates = list(dict.fromkeys(own.loc[own["y"].notna(), "plate"]))
        floor = wells[wells["plate"].isin(plates) & wells["role"].isin(("negative", "positive")) & ~wells["excluded"]]
        obstacle = _obstacle(own, [overlapping[plate] for plate in plates if plate in overlapping], controls=controls, value=value)
        found.append(_Pair((first, second), own, floor.assign(y=100 * (1 - floor["viability"])), plates, controls, obstacle).tables())
    return CombinationTables(check_table(pd.concat([rows for rows, _ in found], ignore_index=True), COMBINATIONS),
                             check_table(pd.DataFrame([summary for _, summary in found]), COMBINATION_PAIRS))


def _treated(wells: pd.DataFrame, value: str) -> pd.DataFrame:
    """Dosed wells with y (percent inhibition, NaN where left out), bare (read, but without controls to compute it by), shift (what
    replicates share of the model's error), flagged, both (two treatments); pairs named alike, whichever treatment a row names first.
    """
    own = wells[wells["role"].isin(DOSED_ROLES) & (wells["treatment"] != "")]
    both = combined(own)
    doubtful = [not INFORMATIVE_FLAGS.issuperset(flags) for flags in own["flags"]]
    table = own[["plate", "treatment", "dose", "dose_unit"]].assign(
        **{name: own.get(name, empty) for name, empty in (("treatment_2", ""), ("dose_2", np.nan), ("dose_unit_2", ""))},
        y=(100 * (1 - own["viability"])).mask(own["excluded"]), shift=100 * shared_error(own), flagged=doubtful, both=both,
        bare=~own["excluded"] & own[value].notna() & own["viability"].isna())
    return _named_alike(table.astype({"dose": float, "dose_2": float}))


def _named_alike(table: pd.DataFrame) -> pd.DataFrame:
    """The wells, with the two treatments of a pair in the order in which its first well names them."""
    named: dict[frozenset[str], str] = {}
    turned = np.zeros(len(table), dtype=bool)
    for row, (first, second, both) in enumerate(zip(table["treatment"], table["treatment_2"], table["both"], strict=True)):
        turned[row] = both and named.setdefault(frozenset((first, second)), first) != first
    other = {f"{name}{here}": f"{name}{there}" for name in ("treatment", "dose", "dose_unit") for here, there in (("", "_2"), ("_2", ""))}
    return pd.concat([table[~turned], table[turned].rename(columns=other)]).loc[table.index]


def _of_pair(treated: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Wells of both, and of each alone at dose 0 of the other; alone only in the units in which they are combined."""
    both = treated[treated["both"] & (treated["treatment"] == first) & (treated["treatment_2"] == second)]
    alone = treated[~treated["both"]]
    one = alone[(alone["treatment"] == first) & alone["dose_unit"].isin(both["dose_unit"])].assign(dose_2=0.0)
    other = alone[(alone["treatment"] == second) & alone["dose_unit"].isin(both["dose_unit_2"])]
    other = other.assign(dose_2=other["dose"], dose=0.0)
    own = pd.concat([both, one, other])
    return own.assign(**{name: own[name].map(one_dose) for name in DOSES})


def _obstacle(own: pd.DataFrame, overlapping: list[str], *, controls: Controls, value: str) -> _Obstacle:
    if controls == "none":
        return _Obstacle("no_value", "the screen has no controls to compute viability by")
    if own["y"].isna().all() and own["bare"].any():
        bare = ", ".join(dict.fromkeys(own.loc[own["bare"], "plate"]))
        return _Obstacle("no_value", f"the controls that are left on plate {bare} give no viability")
    if overlapping:
        return _Obstacle("bad_controls", "; ".join(overlapping))
    if value == "probability":
        return _Obstacle("uncalibrated", "the model learned from controls only; between them its viability is not calibrated, and what two "
                                         "treatments do together cannot be expected from what each does alone")
    return _Obstacle()


@dataclass(frozen=True)
class _Pair:
    """One pair. own: as `_of_pair` gives it; floor: its plates' control wells that are used, with y."""

    names: tuple[str, str]
    own: pd.DataFrame
    floor: pd.DataFrame
    plates: list[str]
    controls: Controls
    obstacle: _Obstacle

    def tables(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Its rows of Combinations, and its row of CombinationPairs."""
        used = self.own[self.own["y"].notna()]
        noise = noise_of(pooled(used["y"], [used["dose"], used["dose_2"]]), self._negatives())
        rows, half = self._with_limits(self._rows(used), used, noise)
        return rows, self._summary(rows, noise, half)

    def _negatives(self) -> tuple[float, float]:
        negative = self.floor[self.floor["role"] == "negative"]
        return pooled(negative["y"], [negative["plate"]])

    def _rows(self, used: pd.DataFrame) -> pd.DataFrame:
        """The dose pairs in ascending order, with means and excesses."""
        both = self.own[self.own["both"]]
        groups = both.assign(left_out=both["y"].isna(), counted=both["flagged"] & both["y"].notna()).groupby(
            [*DOSES, "dose_unit", "dose_unit_2"], dropna=False, sort=True)
        rows = groups.agg(n=("y", "count"), n_left_out=("left_out", "sum"), n_flagged=("counted", "sum"),
                          inhibition=("y", "mean")).reset_index()
        alone = used[~used["both"]]
        for place, name, other in ((1, "dose", "dose_2"), (2, "dose_2", "dose")):
            single = alone[alone[other] == 0].groupby(name)["y"].agg(["mean", "count"])
            rows[f"inhibition_{place}"] = rows[name].map(single["mean"]).astype(float)
            rows[f"n_{place}"] = rows[name].map(single["count"]).fillna(0).astype(int)
        for kind in (KIND, *OTHERS):
            found = synergy(used, dose_1="dose", dose_2="dose_2", response="y", kind=kind)
            cells = found.groupby([used["dose"], used["dose_2"]])[["expected", "excess"]].mean()
            own = cells.reindex(pd.MultiIndex.from_frame(rows[DOSES]))
            if kind == KIND:
                rows["expected"] = own["expected"].to_numpy()
            rows["excess" if kind == KIND else f"excess_{kind}"] = own["excess"].to_numpy()
        first, second = self.names
        return rows.assign(treatment=first, treatment_2=second, kind=KIND, viability=1 - rows["inhibition"] / 100)

    def _with_limits(self, rows: pd.DataFrame, used: pd.DataFrame, noise: Noise) -> tuple[pd.DataFrame, float]:
        """The rows with limits, evidence, status and reason; and the half-width of their mean excess."""
        status = np.where(rows["n"] == 0, "no_value", np.where(rows["excess"].isna(), "parts_missing", "ok")).astype(object)
        half, mean_half = np.full(len(rows), np.nan), np.nan
        judged = np.flatnonzero(status == "ok")
        if self.obstacle.status:
            status[judged] = self.obstacle.status
            if self.obstacle.status == "bad_controls":
                rows = rows.assign(**dict.fromkeys(("expected", "excess", *(f"excess_{kind}" for kind in OTHERS)), np.nan))
        elif not np.isfinite(noise.sd):
            status[judged] = "no_scatter"
        elif len(judged):
            half[judged], mean_half = joint_half_widths(self._covariance(rows.iloc[judged], used, noise), noise.df)
        rows = rows.assign(excess_low=rows["excess"] - half, excess_high=rows["excess"] + half)
        more, less = (rows["excess_low"] > 0).to_numpy(), (rows["excess_high"] < 0).to_numpy()
        if self.controls != "both":
            status[less] = "no_positive"
        evidence = np.where(status != "ok", "", np.where(more, "more", np.where(less, "less", "none")))
        rows = rows.assign(status=status, evidence=evidence)
        return rows.assign(reason=[self._reason(row) for row in rows.to_dict("records")]), mean_half

    def _covariance(self, rows: pd.DataFrame, used: pd.DataFrame, noise: Noise) -> np.ndarray:
        groups = used.groupby(DOSES)
        means = groups["y"].agg(["mean", "count", "var"])
        share = pd.crosstab([used["dose"], used["dose_2"]], used["plate"], normalize="index").reindex(columns=self.plates, fill_value=0.0)
        place = {doses: number for number, doses in enumerate(means.index)}
        at = [np.array([place[doses] for doses in zip(*columns, strict=True)], dtype=np.intp) for columns in (
            (rows["dose"], rows["dose_2"]), (rows["dose"], [0.0] * len(rows)), ([0.0] * len(rows), rows["dose_2"]))]
        effects = Effects(means["mean"].to_numpy(float), mean_variance(means, noise).to_numpy(float),
                          share.loc[means.index].to_numpy(float),
                          np.stack([self._median_variance(role, noise) for role in ("negative", "positive")]),
                          groups["shift"].mean().to_numpy(float) / NORMAL_95)
        return bliss_covariance(effects, *at)

    def _median_variance(self, role: str, noise: Noise) -> np.ndarray:
        """Variance (plates,) of the median of each plate's controls of a role, in viability^2; a single control scatters as wells do."""
        if role == "positive" and self.controls != "both":
            return np.zeros(len(self.plates))
        groups = self.floor[self.floor["role"] == role].groupby("plate")["y"]
        sd = groups.std().reindex(self.plates).fillna(noise.sd).to_numpy(float) / 100
        return median_variance(sd, groups.count().reindex(self.plates).to_numpy().astype(float))

    def _reason(self, row: Mapping[Any, Any]) -> str:
        if row["status"] == "ok":
            return ""
        if row["status"] == "no_value":
            return self.obstacle.reason or "no well of it is used: all are left out or have no viability"
        if row["status"] == "parts_missing":
            lacking = [f"{name} {row[dose]:g} {row[unit]}".strip() for name, dose, unit, n in (
                (self.names[0], "dose", "dose_unit", "n_1"), (self.names[1], "dose_2", "dose_unit_2", "n_2")) if row[n] == 0]
            return f"no well with {' and none with '.join(lacking)} alone is used"
        if row["status"] == "no_scatter":
            return "neither replicates nor several negative controls tell how much wells scatter, so the excess cannot be told from noise"
        if row["status"] == "no_positive":
            return NO_FLOOR
        return self.obstacle.reason

    def _summary(self, rows: pd.DataFrame, noise: Noise, half: float) -> dict[str, Any]:
        """The row of CombinationPairs. half: half-width of the mean excess."""
        mean, head = float(rows["excess"].mean()), rows.iloc[0]
        counts = {f"n_{name}": int((rows["evidence"] == name).sum()) for name in ("more", "less")}
        ends = {f"{end}_{name}": value for end, largest in (("highest", True), ("lowest", False))
                for name, value in _extreme(rows, largest=largest).items()}
        summary = {
            **{name: head[name] for name in ("treatment", "treatment_2", "dose_unit", "dose_unit_2", "kind")},
            "n_dose_pairs": len(rows), "n_judged": int(rows["excess_low"].notna().sum()),
            **{name: int(rows[name].sum()) for name in ("n", "n_left_out", "n_flagged")},
            "mean_excess": mean, "mean_low": mean - half, "mean_high": mean + half,
            **{f"mean_{kind}": float(rows[f"excess_{kind}"].mean()) for kind in OTHERS}, **ends, **counts,
            "noise": noise.sd, "noise_df": noise.df, "noise_from": noise.source}
        return {**summary, **_call(summary, rows, obstacle=self.obstacle, anchored=self.controls == "both")}


def _extreme(rows: pd.DataFrame, *, largest: bool) -> dict[str, float]:
    names = {"excess": "excess", "low": "excess_low", "high": "excess_high", "dose": "dose", "dose_2": "dose_2"}
    known = rows[rows["excess"].notna()]
    if known.empty:
        return dict.fromkeys(names, np.nan)
    row = known.iloc[int(known["excess"].argmax() if largest else known["excess"].argmin())]
    return {name: float(row[column]) for name, column in names.items()}


def _call(summary: dict[str, Any], rows: pd.DataFrame, *, obstacle: _Obstacle, anchored: bool) -> dict[str, str]:
    """call, status and reason of a pair: what holds for any dose pair, or for their mean. anchored: the screen has positive controls."""
    flagged = f"{summary['n_flagged']} of its wells are flagged, but used" if summary["n_flagged"] else ""
    if not summary["n_judged"]:
        first = rows.iloc[0]
        why = obstacle if obstacle.status else _Obstacle(first["status"], first["reason"])
        return {"call": "", "status": why.status, "reason": _joined(why.reason, flagged)}
    more = summary["n_more"] > 0 or summary["mean_low"] > 0
    less = summary["n_less"] > 0 or summary["mean_high"] < 0
    said = [_lost(summary, rows), flagged]
    if not anchored and not more and (less or (rows["status"] == "no_positive").any()):
        return {"call": "", "status": "no_positive", "reason": _joined(NO_FLOOR, *said)}
    call = "mixed" if more and less and anchored else "synergy" if more else "antagonism" if less else "none"
    if call == "synergy" and summary["mean_loewe"] <= summary["mean_high"] - summary["mean_excess"]:
        said.append(f"not by Loewe (mean excess {summary['mean_loewe']:.1f} %): two drugs that act alike look so by Bliss, too")
    return {"call": call, "status": "ok", "reason": _joined(*said)}


def _lost(summary: dict[str, Any], rows: pd.DataFrame) -> str:
    lost = rows[rows["excess_low"].isna()]
    reasons = list(dict.fromkeys(lost["reason"]))
    more = " ..." if len(reasons) > 1 else ""
    return f"{len(lost)} of {summary['n_dose_pairs']} dose pairs cannot be judged: {reasons[0]}{more}" if reasons else ""


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
