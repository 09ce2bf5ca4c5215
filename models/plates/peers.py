"""Which wells a well may be compared with: the controls of its plate, and its peers, which got the same treatment at the same dose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

ENOUGH = 3          # peers that make a well's expectation; fewer are joined by the next best kind
MIN_CONTROLS = 3    # wells of a kind on a plate whose median is trusted
LIVING_ROLES = ("negative", "untreated")


@dataclass(frozen=True)
class References:
    """Row numbers of a table of wells. controls: plate -> a list of rows per kind of control that the plate has enough of;
    alike: for each row, those of the same treatment and dose, on any plate, never itself; peers: for each row, what it is best
    compared with; plates: plate -> its rows; usable: (N,) bool, which rows may serve as a reference.
    """

    controls: Mapping[str, list[np.ndarray]]
    alike: list[np.ndarray]
    peers: list[np.ndarray]
    plates: Mapping[str, np.ndarray]
    usable: np.ndarray

    def peers_median(self, values: np.ndarray) -> np.ndarray:
        """For each row the median of its peers' values, (N,); NaN values do not count, and none of them gives NaN."""
        there, rows = self._peers_table
        ordered = np.sort(np.where(there, values[rows], np.nan), axis=1)    # NaN comes last
        known = (~np.isnan(ordered)).sum(axis=1)
        each = np.arange(len(ordered))
        middle = (ordered[each, np.maximum(known - 1, 0) // 2] + ordered[each, np.minimum(known // 2, ordered.shape[1] - 1)]) / 2
        return np.where(known > 0, middle, np.nan)

    @cached_property
    def _peers_table(self) -> tuple[np.ndarray, np.ndarray]:
        """(which places of the table hold a peer, peers), both (N, most peers of a row)."""
        counts = np.array([len(peers) for peers in self.peers])
        there = np.arange(max(1, counts.max(initial=0))) < counts[:, None]
        rows = np.zeros(there.shape, dtype=int)
        rows[there] = np.concatenate(self.peers) if len(self.peers) else []
        return there, rows


def find_references(wells: pd.DataFrame, *, usable: np.ndarray) -> References:
    """wells: columns of Layout; usable: (N,) bool, which rows may serve as a reference (images that no person left out).

    Peers are sought on the well's own plate first, then on the others, then among the neighbouring doses of the treatment, until
    there are three.
    """
    plates = {str(plate): np.flatnonzero(wells["plate"] == plate) for plate in wells["plate"].unique()}
    roles = wells["role"].to_numpy()
    kinds = [np.isin(roles, LIVING_ROLES), roles == "positive"]
    controls = {plate: [chosen for kind in kinds if len(chosen := rows[kind[rows] & usable[rows]]) >= MIN_CONTROLS]
                for plate, rows in plates.items()}
    alike, near = _by_dose(wells, usable)
    plate = pd.factorize(wells["plate"])[0]
    peers = [_enough(_choices(same, beside, on_plate=plate == own)) for own, same, beside in zip(plate, alike, near, strict=True)]
    return References(controls, alike, peers, plates, usable)


def _choices(same: np.ndarray, beside: np.ndarray, *, on_plate: np.ndarray) -> Iterator[np.ndarray]:
    """Peers from the nearest to the farthest: of the dose and of those next to it, on the well's plate and on all."""
    yield same[on_plate[same]]
    yield same
    yield np.concatenate([same, beside[on_plate[beside]]])
    yield np.concatenate([same, beside])


def _by_dose(wells: pd.DataFrame, usable: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each row, the usable rows of the same treatment at the same dose, and at the doses next to it; never the row itself."""
    series, step = _series_and_step(wells)
    rows: dict[tuple[int, int], list[int]] = {}
    places = list(zip(series.tolist(), step.tolist(), strict=True))
    for row in np.flatnonzero(usable).tolist():
        rows.setdefault(places[row], []).append(row)
    members = {place: np.array(own, dtype=int) for place, own in rows.items()}
    nobody = np.empty(0, dtype=int)
    alike = [(own := members.get(place, nobody))[own != row] for row, place in enumerate(places)]
    near = {(own, dose): np.concatenate([members.get((own, dose + away), nobody) for away in (-1, 1)])
            for own, dose in dict.fromkeys(places)}
    return alike, [near[place] for place in places]


def _enough(choices: Iterable[np.ndarray]) -> np.ndarray:
    """The first choice that is enough, else the last."""
    chosen = np.empty(0, dtype=int)
    for chosen in choices:
        if len(chosen) >= ENOUGH:
            break
    return chosen


def _series_and_step(wells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(N,) number of the dose series that each well belongs to, and the place of its dose in that series from 0."""
    names = [name for name in ("role", "treatment", "treatment_2", "dose_2") if name in wells]
    series = wells.groupby(names, dropna=False, sort=False).ngroup().to_numpy()
    step = wells["dose"].fillna(0.0).groupby(series).rank(method="dense").to_numpy().astype(int) - 1
    return series, step
