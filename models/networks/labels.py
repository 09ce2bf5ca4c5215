"""Which wells a model learns from, what it should answer for them, and how they are divided without leaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.errors import Finding, InputError
from models.networks.recipe import Recipe, SplitSpec, SplitUnit
from models.plates.images import WellImages
from models.plates.wells import parse_well, row_letters

LIVING, DEAD = 1.0, 0.0
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Labelled:
    """wells: Layout rows of the labelled images (row = well and site) with columns `target` (read-out, or 1 living and 0 dead)
    and `unit` (what the split must keep together); rows: their positions in the images given.
    """

    wells: pd.DataFrame
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.wells)

    @property
    def targets(self) -> np.ndarray:
        """float32 (N,)"""
        return self.wells["target"].to_numpy(np.float32)

    def strata(self, *, regression: bool) -> np.ndarray:
        """Labels that every fold should hold in like shares: the class, or nothing for a read-out."""
        return np.zeros(len(self), int) if regression else self.targets.astype(int)


def label_wells(images: WellImages, layout: pd.DataFrame, recipe: Recipe) -> Labelled:
    """The wells with a label for this recipe, in the order of the images. Excluded wells are left out.

    Raises InputError when there is nothing to learn from, or a class has no well.
    """
    joined = images.wells.assign(_row=np.arange(len(images))).merge(layout, on=["plate", "well"], how="inner", sort=False)
    joined = joined[~joined["excluded"]] if "excluded" in joined else joined
    if recipe.target == "control_class":
        chosen = joined[joined["role"].isin(["negative", "positive"])]
        chosen = chosen.assign(target=np.where(chosen["role"] == "negative", LIVING, DEAD))
    else:
        readout = joined["readout"] if "readout" in joined else pd.Series(np.nan, index=joined.index)
        chosen = joined.assign(target=readout)[readout.notna() & (joined["role"] != "empty")]
    _refuse_unlearnable(chosen, recipe)
    rows = chosen["_row"].to_numpy()
    return Labelled(chosen.drop(columns="_row").assign(unit=split_units(chosen, recipe.split.unit)).reset_index(drop=True), rows)


def _refuse_unlearnable(chosen: pd.DataFrame, recipe: Recipe) -> None:
    if recipe.target == "control_class":
        for role in ("negative", "positive"):
            if not (chosen["role"] == role).any():
                raise InputError(f"no {role} control well to learn from", [Finding(
                    rule="training_wells", severity="error", column="role", value=role,
                    message=f"the layout has no {role} control with an image; a model of system {recipe.system} learns from both")])
    elif len(chosen) < 8:
        raise InputError(f"{len(chosen)} wells with a read-out; at least 8 are needed", [Finding(
            rule="training_wells", severity="error", column="readout",
            message="fill the layout's readout column with the measured assay values of the imaged wells")])


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
    table = pd.DataFrame({"unit": units, "stratum": strata}).groupby("unit", sort=True)["stratum"].agg(lambda s: s.mode().iloc[0])
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


def assign_parts(units: np.ndarray, strata: np.ndarray, *, split: SplitSpec, seed: int) -> np.ndarray:
    """"train", "validation" or "test" for each row, (N,) of str: about the wanted shares of each stratum's units."""
    table = pd.DataFrame({"unit": units, "stratum": strata}).groupby("unit", sort=True)["stratum"].agg(lambda s: s.mode().iloc[0])
    generator = np.random.default_rng(seed)
    part_of: dict[object, str] = {}
    for _, group in table.groupby(table):
        names = generator.permutation(group.index.to_numpy())
        test = min(round(split.test * len(names)), len(names) - 1) if len(names) > 2 else 0
        validation = max(round(split.validation * len(names)), int(split.validation > 0)) if len(names) - test > 2 else 0
        validation = min(validation, len(names) - test - 1)  # rounding must leave a unit to train on
        part_of |= {name: "test" if place < test else "validation" if place < test + validation else "train"
                    for place, name in enumerate(names)}
    return np.array([part_of[unit] for unit in units])
