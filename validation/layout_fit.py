"""How well a layout explains what a plate's wells show, and whether a mistake in the layout explains it better.

The model of a plate: wells that got the same are alike; along the doses of a treatment, wells leave the level of the negative controls on
a sigmoid curve, whose midpoint may lie below the lowest dose. What the layout leaves unexplained is compared with what it leaves when it is
turned, shifted, or has its kinds of controls exchanged. Each well is predicted from the other wells of its kind, not from itself
(leave one out), so that the likelihoods of all layouts can be compared without a correction for how many groups they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.tables import DOSED_ROLES
from validation.behaviour import TURNS, turned_names

Values = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

SWAPPED = "with negative and positive controls exchanged"
MISTAKES = (*TURNS, SWAPPED)
MIN_WELLS = 16          # with signals, under the layout and under the mistake
MIN_SERIES = 3          # doses of a treatment that are fitted as a curve; fewer: as wells that are alike or not
SLOPES = (1.0, 2.5)     # of the sigmoids tried, per decade of dose x ln 10
MIDPOINTS = 10          # of the sigmoids tried, from the lowest dose to half a decade above the highest
LEAST_NOISE = 0.03      # share of the variance that counts as unexplained in any case, so that chance cannot explain all
CUT = 1e-9              # of the largest variance: directions of the signals with less are rounding
LEVERAGE = 0.8          # weight of a well on its own curve, at most: what is left of it is divided by 1 - weight
FAR = 2.0               # SDs (root mean square over directions) to which farther wells are pulled in, so that a few cannot decide
ABOUT = 3.0             # nats: mistakes that lie so near the likeliest one explain a plate about as well
PULLS = 3               # rounds of pulling in: far wells widen the SD, so that one round leaves them too far


@dataclass(frozen=True)
class Suspicion:
    """A mistake that would explain a plate. gain: log-likelihood (nats) by which it does so better than the layout as it is;
    explained, as_is: shares, 0-1, of what differs most between the wells, with the mistake undone and as it is.
    """

    mistake: str
    gain: float
    explained: float
    as_is: float


@dataclass(frozen=True)
class _Plan:
    """What a layout says about its rows, by position. alike: groups of wells; series: wells of a treatment and log10 of their doses."""

    negative: Rows
    alike: tuple[Rows, ...]
    series: tuple[tuple[Rows, Values], ...]


def suspicions(wells: pd.DataFrame, signals: pd.DataFrame, plate_format: int) -> list[Suspicion]:
    """Every mistake with what speaks for it, the likeliest first; [] where there are too few wells to say.

    wells: layout rows of one plate with `row` and `column`; signals: index well, float columns (`behaviour.plate_signals`).
    Rows whose dose cannot be used (missing, zero, infinite) explain nothing and are left out; other rules name them.
    """
    doses = wells["dose"].to_numpy(dtype="float64")
    usable = ~wells["role"].isin(DOSED_ROLES).to_numpy() | ((doses > 0) & np.isfinite(doses))
    wells = wells[usable].reset_index(drop=True)
    plan, values = _plan(wells), signals.to_numpy(dtype="float64")
    places = {well: place for place, well in enumerate(signals.index.tolist())}
    named = _places(wells["well"].tolist(), places)
    both = {"negative", "positive"} <= set(wells.loc[wells["well"].isin(places), "role"])  # one kind alone has nothing to be exchanged with
    found = [_suspicion(mistake, plan if mistake != SWAPPED else _plan(_exchanged(wells)), plan, values, named=named,
                        meant=named if mistake == SWAPPED else _places(turned_names(wells, mistake, plate_format), places))
             for mistake in MISTAKES if both or mistake != SWAPPED]
    return sorted((one for one in found if one is not None), key=lambda one: -one.gain)


def _exchanged(wells: pd.DataFrame) -> pd.DataFrame:
    return wells.assign(role=wells["role"].replace({"negative": "positive", "positive": "negative"}))


def _places(wells: Iterable[str], places: Mapping[str, int]) -> Rows:
    """The row of the signals of each well; -1: none."""
    return np.array([places.get(well, -1) for well in wells], dtype=np.intp)


def _plan(wells: pd.DataFrame) -> _Plan:
    columns = [wells[name].tolist() for name in ("role", "treatment", "treatment_2") if name in wells]
    if "dose_2" in wells:
        columns.append([dose if dose == dose else None for dose in wells["dose_2"].tolist()])   # missing ones are alike
    roles, doses, kinds = np.array(columns[0], dtype=object), wells["dose"].to_numpy(dtype="float64"), dict[tuple[object, ...], list[int]]()
    for row, kind in enumerate(zip(*columns, strict=True)):
        kinds.setdefault(kind, []).append(row)
    alike, series = list[Rows](), list[tuple[Rows, Values]]()
    for kind, numbers in kinds.items():
        rows, role = np.array(numbers, dtype=np.intp), kind[0]
        own = doses[rows]
        if role == "negative":
            continue
        if np.unique(own[own > 0]).size >= MIN_SERIES and role in DOSED_ROLES:
            series.append((rows[own > 0], np.log10(own[own > 0])))
        else:
            alike += [rows[own == dose] for dose in np.unique(own[~np.isnan(own)])]
            alike.append(rows[np.isnan(own)])
    return _Plan(np.flatnonzero(roles == "negative"), tuple(group for group in alike if len(group)), tuple(series))


def _suspicion(mistake: str, plan: _Plan, own_plan: _Plan, signals: Values, *, named: Rows, meant: Rows) -> Suspicion | None:
    """What speaks for a mistake: what the layout with it undone explains of the wells, against what the layout as it is does.

    named: the row of the signals (wells, K) that each layout row names; meant: the one that it means if the mistake was made; -1: none.
    """
    named = np.where(np.isin(named, meant), named, -1)
    meant = np.where(np.isin(meant, named), meant, -1)
    seen = signals[meant[meant >= 0]]
    if len(seen) < max(MIN_WELLS, 2 * signals.shape[1]) or (seen == seen[0]).all():
        return None
    values = _whitened(seen)
    table = np.full((len(signals), values.shape[1]), np.nan)
    table[meant[meant >= 0]] = values
    left, as_is = (_unexplained(np.where(places[:, None] >= 0, table[places], np.nan), rule)
                   for places, rule in ((meant, plan), (named, own_plan)))
    gain = len(seen) / 2 * sum(np.log(np.linalg.eigvalsh(share) + LEAST_NOISE).sum() * sign for share, sign in ((as_is, 1), (left, -1)))
    share, direction = np.linalg.eigh(left)
    return Suspicion(mistake, float(gain), 1 - float(share[0]), 1 - float(direction[:, 0] @ as_is @ direction[:, 0]))


def _whitened(values: Values) -> Values:
    """Signals (n, K) in directions (n, <= K) that are uncorrelated and of variance 1, after far wells were pulled in."""
    for _ in range(PULLS):
        values = _white(values)
        values = values / np.maximum(1, np.sqrt((values**2).mean(axis=1, keepdims=True)) / FAR)
    return _white(values)


def _white(values: Values) -> Values:
    centred = values - values.mean(axis=0)
    variance, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = variance > CUT * variance[-1]
    return np.asarray(centred @ directions[:, kept] / np.sqrt(variance[kept]))


def _unexplained(values: Values, plan: _Plan) -> Values:
    """(K, K) covariance of what the plan leaves unexplained of whitened values (rows of the layout, K); NaN rows are left out.

    What is left of a well is told by the others of its kind (leave one out), so that a plan cannot explain an odd well by giving it
    a kind of its own, and a well whose partners lie off the plate explains nothing.
    """
    there = ~np.isnan(values[:, 0])
    rest = np.full_like(values, np.nan)
    negative = plan.negative[there[plan.negative]]
    rest[negative] = _off_others(values[negative])
    for group in plan.alike:
        rows = group[there[group]]
        rest[rows] = _off_others(values[rows])
    start = values[negative].mean(axis=0) if len(negative) else None
    for rows, doses in plan.series:
        kept = there[rows]
        if kept.any():
            rest[rows[kept]] = _off_curve(values[rows[kept]], doses[kept], start)
    left = rest[there]
    return np.asarray(left.T @ left / len(left))


def _off_others(values: Values) -> Values:
    """(n, K) minus the mean of the other rows; a row alone stays as it is."""
    return values if len(values) < 2 else (values - values.mean(axis=0)) * len(values) / (len(values) - 1)


def _off_curve(values: Values, doses: Values, start: Values | None) -> Values:
    """values (n, K) minus the best of the sigmoids over log10 doses (n,) that leave `start` (lowest dose's mean where there is none).

    Each row is compared with the height that the others give, up to LEVERAGE.
    """
    away = values - (values[doses == doses.min()].mean(axis=0) if start is None else start)
    shapes, squares = _sigmoids(tuple(doses.tolist()))              # (S, n), (S,)
    heights = shapes @ away / squares[:, None]                      # (S, K)
    best = int(np.argmax((heights**2).sum(axis=1) * squares))
    leverage = np.minimum(shapes[best] ** 2 / squares[best], LEVERAGE)
    return np.asarray((away - shapes[best][:, None] * heights[best]) / (1 - leverage)[:, None])


@lru_cache(maxsize=1024)     # the mistakes mostly keep a treatment's wells together
def _sigmoids(doses: tuple[float, ...]) -> tuple[Values, Values]:
    """Sigmoids of the SLOPES and MIDPOINTS over log10 doses, and one that is past its midpoint at every dose, (S, n); the sum of each one's
    squares, (S,). Not to be written to.
    """
    midpoints = np.linspace(min(doses), max(doses) + 0.5, MIDPOINTS)
    shapes = 1 / (1 + 10 ** (np.array(SLOPES)[:, None] * (midpoints[:, None, None] - np.array(doses))))          # (midpoints, slopes, n)
    shapes = np.vstack([shapes.reshape(-1, len(doses)), np.ones(len(doses))])
    return shapes, (shapes**2).sum(axis=1)


def likeliest(found: list[Suspicion]) -> list[Suspicion]:
    """The likeliest mistake, and those that explain the plate about as well (within ABOUT nats): symmetric layouts have several."""
    return [one for one in found if one.gain > found[0].gain - ABOUT]
