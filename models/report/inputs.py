"""What a report is made from, and the reading of its tables that every part of the page shares."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.combinations import CombinationTables
from models.dose_response.options import FitOptions
from models.dose_response.words import ic_name
from models.errors import Finding
from models.single_doses import NAME as SINGLE
from models.tables import CURVES, DOSED_ROLES, INFORMATIVE_FLAGS, SINGLE_DOSES, combined, no_rows

Row = pd.Series | Mapping[Any, Any]     # of one of the tables, as pandas or as a record
Places = npt.NDArray[np.intp]           # of rows in a table, from 0
SCORE_NAMES = {"dss_asym": "DSS_asym", "dss1": "DSS1", "dss2": "DSS2", "dss3": "DSS3"}


class ScoredTables(Protocol):
    """A scored screen, as `models.scoring.ScoredScreen` has it; a protocol, so that reporting needs no torch."""

    @property
    def wells(self) -> pd.DataFrame:
        """WellScores."""

    @property
    def curves(self) -> pd.DataFrame:
        """Curves with score columns."""

    @property
    def quality(self) -> pd.DataFrame:
        """A row per plate, columns of assay_quality."""

    @property
    def combinations(self) -> CombinationTables:
        """What pairs of treatments do together; without rows where no well holds two."""

    @property
    def single_doses(self) -> pd.DataFrame:
        """SingleDoses: treatments with too few doses for a curve."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a person should know."""


ALWAYS = ("wells", "curves", "quality")


def tables_of(scored: ScoredTables) -> dict[str, pd.DataFrame]:
    """The tables by the names of their files: ALWAYS, and those of single doses and of pairs of treatments where there are some."""
    single = {SINGLE: scored.single_doses} if len(scored.single_doses) else {}
    return {**{name: getattr(scored, name) for name in ALWAYS}, **single, **scored.combinations.named()}


@dataclass(frozen=True, kw_only=True)
class ReportTables:
    """A scored screen read back from its files."""

    wells: pd.DataFrame
    curves: pd.DataFrame
    quality: pd.DataFrame
    findings: tuple[Finding, ...] = ()
    combinations: CombinationTables = field(default_factory=CombinationTables)
    single_doses: pd.DataFrame = field(default_factory=lambda: no_rows(SINGLE_DOSES))


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """When a treatment is called a hit.

    hit_score      score column that is judged: dss_asym, dss1, dss2 or dss3
    hit_threshold  its least value for a hit, 0-100 (10 in the patient-by-patient profiling paper)
    """

    hit_score: str = "dss_asym"
    hit_threshold: float = 10.0

    def __post_init__(self) -> None:
        if self.hit_score not in SCORE_NAMES:
            raise ValueError(f"hit_score must be one of {', '.join(SCORE_NAMES)}, got {self.hit_score!r}")
        if not 0 <= self.hit_threshold <= 100:
            raise ValueError(f"hit_threshold must lie in 0-100, got {self.hit_threshold!r}")


def doubtful_flags(value: Any) -> list[str]:
    """The flags that are a reason to distrust the well."""
    return [flag for flag in flag_list(value) if flag not in INFORMATIVE_FLAGS]


def flag_list(value: Any) -> list[str]:
    """The flags of a well as a list, whatever a file format made of it (list, tuple, numpy array, None, NaN, one word)."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return []
    if isinstance(value, str):
        return [value] if value else []
    return [str(item) for item in value]


def number(row: Row, name: str) -> float:
    """A numeric cell of a row; NaN where the column or the value is missing."""
    value = row.get(name)
    return float("nan") if value is None or pd.isna(value) else float(value)


def known(value: float) -> float | None:
    """A number as JSON has it."""
    return None if math.isnan(value) else float(value)


def text(row: Row, name: str) -> str:
    """A text cell of a row; empty where the column or the value is missing."""
    value = row.get(name)
    return "" if value is None or (not isinstance(value, str) and pd.isna(value)) else str(value)


def curve_keys(curves: pd.DataFrame, wells: pd.DataFrame) -> list[str]:
    """The columns that say which wells a curve is made of: those of Curves that are not its contract's and that wells have."""
    known = set(CURVES.names())
    return [name for name in curves.columns if name not in known and name in wells.columns] or ["treatment"]


def wells_by_curve(curves: pd.DataFrame, wells: pd.DataFrame) -> list[Places]:
    """Where in `wells` the dosed wells of every curve stand, in the order of `curves`; not those that hold a second treatment, which no
    curve is made of.
    """
    keys = [name for name in curve_keys(curves, wells) if name in curves.columns]
    dosed = np.flatnonzero(wells["role"].isin(DOSED_ROLES) & (pd.to_numeric(wells["dose"]) > 0) & ~combined(wells))
    if not keys:
        return [dosed] * len(curves)
    named = wells[keys].iloc[dosed].itertuples(index=False, name=None)
    groups: dict[Hashable, list[int]] = {key: [] for key in curves[keys].itertuples(index=False, name=None)}
    for place, key in zip(dosed.tolist(), named, strict=True):
        if key in groups:       # thousands of treatments of a primary screen have no curve
            groups[key].append(place)
    return [np.array(groups[key], dtype=np.intp) for key in curves[keys].itertuples(index=False, name=None)]


def curve_names(curves: pd.DataFrame, wells: pd.DataFrame) -> list[str]:
    """What a person calls each curve: the treatment, and whatever else tells curves apart."""
    keys = [name for name in curve_keys(curves, wells) if name in curves.columns]
    others = [name for name in keys if name != "treatment"]
    names = []
    for row in curves[keys].to_dict("records"):
        extra = ", ".join(f"{name.replace('_', ' ')} {text(row, name)}" for name in others)
        names.append(" · ".join(filter(None, (text(row, "treatment"), extra))) or "unnamed")
    return names


def is_raw(curves: pd.DataFrame) -> bool:
    """Whether the screen has curves of the raw read-out only, so neither viability nor IC50 nor DSS."""
    return len(curves) > 0 and bool((curves["scale"] == "raw").all())


def half_name(row: Row) -> str:
    """The column of the half-effect dose that a curve is judged by."""
    return "ec50" if text(row, "scale") == "raw" else "ic50"


def effect_level(row: Row) -> float:
    """Percent inhibition at which that dose is read off a curve; NaN on the raw scale, where it is half of the fitted change."""
    return math.nan if half_name(row) == "ec50" else number(row, "ic_level")


def common_level(curves: pd.DataFrame) -> float:
    """`effect_level` of all: one fit asks for one."""
    return math.nan if is_raw(curves) else float(curves["ic_level"].iloc[0]) if len(curves) else FitOptions.ic_level


def half_title(level: float) -> str:
    """What the dose of an `effect_level` is called: IC50, IC25 ..., and EC50 of the raw read-out."""
    return "EC50" if math.isnan(level) else ic_name(level)


def raw_measure(wells: pd.DataFrame) -> tuple[str, str]:
    """(column, what it is called) of the raw output: a model's optical density, probability or logit, else the measured read-out."""
    for name, called in (("od", "OD"), ("probability", "probability alive"), ("logit", "logit"), ("readout", "read-out")):
        if name in wells.columns and wells[name].notna().any():
            return name, called
    return "od", "OD"


def response(wells: pd.DataFrame, scale: str) -> pd.Series:
    """The responses to draw: viability in percent, or the raw read-out where curves are raw."""
    if scale == "raw":
        name = raw_measure(wells)[0]
        return wells[name].astype(float) if name in wells.columns else pd.Series(np.nan, index=wells.index)
    return 100.0 * wells["viability"].astype(float)


def has_limits(wells: pd.DataFrame) -> bool:
    """Whether the model gives intervals of wells."""
    return "od_low" in wells.columns and bool(wells["od_low"].notna().any())


def response_limits(wells: pd.DataFrame, scale: str) -> np.ndarray:
    """(rows, 2): lower and upper limit of what `response` gives; NaN where the model gives none."""
    column, factor = ("viability", 100.0) if scale != "raw" else (raw_measure(wells)[0], 1.0)
    names = [f"{column}_low", f"{column}_high"]
    return factor * wells[names].to_numpy(dtype=float) if set(names) <= set(wells) else np.full((len(wells), 2), np.nan)


def score_column(curves: pd.DataFrame, preferred: str) -> str:
    """The preferred score column, or the first other one that holds a value."""
    names = [preferred, *(name for name in SCORE_NAMES if name != preferred)]
    return next((name for name in names if name in curves.columns and curves[name].notna().any()), preferred)


def learned_plates(wells: pd.DataFrame) -> set[str]:
    """Plates of which a control well was among those that the model learned from."""
    seen = [role in ("negative", "positive") and "training_well" in flag_list(flags)
            for role, flags in zip(wells["role"], wells["flags"], strict=True)]
    return set(wells.loc[seen, "plate"].astype(str))
