"""How labelled images are divided, without leaks: parts (train, validation, test) and cross-fitting folds, always by whole units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.errors import InputError
from models.networks.recipe import SplitSpec, SplitUnit
from models.wells import parse_well, row_letters

PARTS = ("train", "validation", "test")


def split_units(wells: pd.DataFrame, unit: SplitUnit) -> pd.Series:
    """The unit of each well as text, unique over plates: wells of one unit never stand on both sides of a split."""
    plates = wells["plate"].astype(str)
    if unit == "plate":
        return plates
    if unit in ("replicate", "group"):
        return plates + ":" + wells["replicate" if unit == "replicate" else "group"].astype(str)
    if unit == "well":
        return plates + ":" + wells["well"].astype(str)
    places = [parse_well(name) for name in wells["well"]]
    return plates + ":" + pd.Series([row_letters(row) if unit == "row" else str(column + 1) for row, column in places],
                                    index=wells.index)


def assign_folds(units: np.ndarray, strata: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """Fold number 0 .. folds-1 of each row, (N,): whole units dealt out in a seeded order, each stratum in turn.

    Raises InputError when there are fewer units than folds, or leaving a fold out leaves a stratum without a row.
    """
    table = _by_unit(units, strata)
    if len(table) < folds:
        raise InputError(f"{len(table)} split units for {folds} folds; choose a finer split.unit (well) or fewer folds (0 = none)")
    order = np.random.default_rng(seed).permutation(len(table))
    shuffled = table.iloc[order].sort_values(kind="stable")
    fold_of = dict(zip(shuffled.index, np.arange(len(shuffled)) % folds, strict=True))
    found = np.array([fold_of[unit] for unit in units])
    if any(len(np.unique(strata[found != fold])) < len(np.unique(strata)) for fold in range(folds)):
        raise InputError("all wells of one class lie in the same split unit, so that cross-fitting would learn from the other class "
                         "alone; choose a finer split.unit (well) or no folds (0)")
    return found


def assign_parts(units: np.ndarray, strata: np.ndarray, *, split: SplitSpec, seed: int, plates: np.ndarray | None = None,
                 fine_units: np.ndarray | None = None) -> np.ndarray:
    """"train", "validation" or "test" for each row, (N,) of str: about the wanted shares of each stratum's units.

    plates: of each row, for `split.validation_wells`; fine_units: by `split.validation_unit`, where the recipe names one.
    """
    by_wells = bool(split.validation_wells) and plates is not None
    generator = np.random.default_rng(seed)
    part_of: dict[object, str] = {}
    for _, group in (table := _by_unit(units, strata)).groupby(table):
        names = generator.permutation(group.index.to_numpy())
        test = min(round(split.test * len(names)), len(names) - 1) if len(names) > 2 else 0
        validation = max(round(split.validation * len(names)), int(split.validation > 0)) if len(names) - test > 2 else 0
        validation = 0 if by_wells or fine_units is not None else min(validation, len(names) - test - 1)  # a unit must be left to train on
        part_of |= {name: "test" if place < test else "validation" if place < test + validation else "train"
                    for place, name in enumerate(names)}
    parts = np.array([part_of[unit] for unit in units], dtype=object)
    if by_wells or fine_units is not None:
        finer = units if fine_units is None else fine_units
        blocks = np.zeros(len(units), int) if plates is None or not by_wells else plates
        chosen = _validating(finer, strata, blocks, parts == "train", split, generator)
        parts[np.isin(finer, chosen) & (parts == "train")] = "validation"
    return parts.astype(str)


@dataclass(frozen=True)
class Draw:
    """Rows that teach and rows that judge, positions. number: draws of one number judge by the same rows, and each teaches with those of
    the smaller one before and more. units: that teach, of the smallest stratum.
    """

    number: int
    units: int
    train: np.ndarray
    test: np.ndarray


def nested_draws(units: np.ndarray, strata: np.ndarray, *, draws: int, sizes: int, seed: int) -> list[Draw]:
    """A third of the units held out to judge, of the others ever more to teach: `sizes` numbers of them from one of each stratum to all,
    evenly spread on a logarithmic scale, for each of `draws` seeded orders. As many units in every draw.

    Raises InputError when there are fewer than three units, or they do not suffice for every stratum.
    """
    orders, pools = [], []
    by_unit = _by_unit(units, strata)
    for number in range(draws):
        judge = assign_folds(units, strata, folds=3, seed=seed + number) == 0
        free = by_unit[~by_unit.index.isin(np.unique(units[judge]))]
        order = free.iloc[np.random.default_rng(seed + number).permutation(len(free))]
        orders.append((judge, order))
        pools.append(order.value_counts())
    most = pd.concat(pools, axis=1).min(axis=1).astype(int)       # of each stratum, in every draw
    found = []
    for share in np.geomspace(1 / most.min(), 1, sizes):
        wanted = (most * share).round().clip(lower=1).astype(int)
        for number, (judge, order) in enumerate(orders):
            taught = order[order.groupby(order).cumcount() < order.map(wanted)].index
            found.append(Draw(number, int(wanted.min()), np.flatnonzero(np.isin(units, taught)), np.flatnonzero(judge)))
    return [draw for place, draw in enumerate(found) if place < draws or len(draw.train) != len(found[place - draws].train)]


def _validating(units: np.ndarray, strata: np.ndarray, blocks: np.ndarray, free: np.ndarray, split: SplitSpec,
                generator: np.random.Generator) -> np.ndarray:
    """The units, of those that are free, that validate: a number of each stratum and block, or a share of all of a stratum."""
    chosen: list[str] = []
    for kind in np.unique(strata):
        for block in np.unique(blocks):
            here = (strata == kind) & (blocks == block)
            names = generator.permutation(np.unique(units[here & free]))
            wanted = split.validation_wells or round(split.validation * len(np.unique(units[here])))
            chosen += names[:max(0, min(wanted, len(names) - 1))].tolist()
    return np.array(chosen, dtype=object)


def _by_unit(units: np.ndarray, strata: np.ndarray) -> pd.Series:
    """Stratum of each unit, sorted by unit: that of most of its rows, the lowest of several."""
    return pd.crosstab(units, strata).idxmax(axis=1)
