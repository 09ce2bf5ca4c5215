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
    """Row numbers of a table of wells. controls: plate -> a list of rows per kind of control that the plate has enough of; peers: for each
    row, what it is best compared with, never itself; plates: plate -> its rows; usable: (N,) bool, which rows may serve as a reference;
    alike: (N,) int, the same for wells of one treatment at one dose, on any plate.
    """

    controls: Mapping[str, list[np.ndarray]]
    peers: list[np.ndarray]
    plates: Mapping[str, np.ndarray]
    usable: np.ndarray
    alike: np.ndarray

    def peers_median(self, values: np.ndarray) -> np.ndarray:
        """For each row the median of its peers' values, (N,); NaN values do not count, and none of them gives NaN."""
        there, rows = self._peers_table
        ordered = np.sort(np.where(there, values[rows], np.nan), axis=1)    # NaN comes last
        known = (~np.isnan(ordered)).sum(axis=1)
        each = np.arange(len(ordered))
        middle = (ordered[each, np.maximum(known - 1, 0) // 2] + ordered[each, np.minimum(known // 2, ordered.shape[1] - 1)]) / 2
        return np.where(known > 0, middle, np.nan)

    def others_alike(self, which: np.ndarray) -> np.ndarray:
        """For each row how many other usable wells of its treatment and dose are among `which`, (N,) bool."""
        counted = which & self.usable
        return np.bincount(self.alike, weights=counted)[self.alike] - counted

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
    plates = {str(plate): np.asarray(rows) for plate, rows in wells.groupby("plate", sort=False).indices.items()}
    roles = wells["role"].to_numpy()
    kinds = [np.isin(roles, LIVING_ROLES), roles == "positive"]
    controls = {plate: [chosen for kind in kinds if len(chosen := rows[kind[rows] & usable[rows]]) >= MIN_CONTROLS]
                for plate, rows in plates.items()}
    series, step = _series_and_step(wells)
    places = _Places(series, step, pd.factorize(wells["plate"])[0], usable)
    peers = [_enough(places.peers(row)) for row in range(len(wells))]
    return References(controls, peers, plates, usable, alike=pd.DataFrame({"series": series, "step": step}).groupby(
        ["series", "step"]).ngroup().to_numpy())


class _Places:
    """Where wells stand: their dose series, the step of their dose in it, and the plate, (N,) int each."""

    def __init__(self, series: np.ndarray, step: np.ndarray, plate: np.ndarray, usable: np.ndarray) -> None:
        self._doses = list(zip(series.tolist(), step.tolist(), strict=True))
        self._plate = plate
        of_dose: dict[tuple[int, int], list[int]] = {}
        on_plate: dict[tuple[tuple[int, int], int], list[int]] = {}
        for row in np.flatnonzero(usable).tolist():
            of_dose.setdefault(self._doses[row], []).append(row)
            on_plate.setdefault((self._doses[row], int(plate[row])), []).append(row)
        self._of_dose = {dose: np.array(rows, dtype=int) for dose, rows in of_dose.items()}
        self._on_plate = {place: np.array(rows, dtype=int) for place, rows in on_plate.items()}

    def peers(self, row: int) -> Iterator[np.ndarray]:
        """A well's peers from the nearest to the farthest: of the dose and of those next to it, on the well's plate and on all.

        Each is made when it is asked for: the controls of a screen of a thousand plates are thousands, of which a well needs three.
        """
        nobody = np.empty(0, dtype=int)
        dose, plate = self._doses[row], self._plate[row]
        here = self._on_plate.get((dose, int(plate)), nobody)
        yield here[here != row]
        same = self._of_dose.get(dose, nobody)
        same = same[same != row]
        yield same
        beside = np.concatenate([self._of_dose.get((dose[0], dose[1] + away), nobody) for away in (-1, 1)])
        yield np.concatenate([same, beside[self._plate[beside] == plate]])
        yield np.concatenate([same, beside])


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
