"""Which wells or images a model learns from, and what it should answer for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.errors import Finding, InputError
from models.networks.phases import duplicate_sets
from models.networks.recipe import Recipe
from models.networks.splits import split_units
from models.plates.images import WellImages
from models.tables import left_out

LIVING, DEAD = 1.0, 0.0


@dataclass(frozen=True)
class Labelled:
    """wells: Layout rows of the images that teach (row = well and site) with columns `target` (read-out, or 1 for living or the first
    class and 0 for the other; NaN where the training itself finds the label: duplicates of phase III, unlabelled images of
    co-training) and `unit` (what the split must keep together); rows: their positions in the images given.
    """

    wells: pd.DataFrame
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.wells)

    @property
    def targets(self) -> np.ndarray:
        """float32 (N,)"""
        return self.wells["target"].to_numpy(np.float32)

    @property
    def known(self) -> np.ndarray:
        """Which rows have a label to begin with, bool (N,)."""
        return np.asarray(self.wells["target"].notna())

    def strata(self, *, regression: bool) -> np.ndarray:
        """Labels that every fold should hold in like shares: the class, or nothing for a read-out. -1 where not known."""
        return np.zeros(len(self), int) if regression else np.where(self.known, self.targets, -1).astype(int)


def label_wells(images: WellImages, layout: pd.DataFrame, recipe: Recipe, *, unlabelled: bool = False) -> Labelled:
    """The wells with a label for this recipe, in the order of the images. Excluded wells are left out.

    unlabelled: with those too that a training finds a label for itself (phase III, co-training).
    Raises InputError when there is nothing to learn from, or a class has no well.
    """
    joined = images.wells.assign(_row=np.arange(len(images))).merge(layout, on=["plate", "well"], how="inner", sort=False)
    joined = joined[~left_out(joined)]
    if recipe.target == "label":
        chosen = _images_with_label(joined, recipe, unlabelled=unlabelled and recipe.augmentation.cotraining is not None)
    elif recipe.learns_controls:
        chosen = _controls(joined, recipe, duplicates=unlabelled and recipe.target == "controls_and_duplicates")
    else:
        readout = joined["readout"] if "readout" in joined else pd.Series(np.nan, index=joined.index)
        chosen = joined.assign(target=readout)[readout.notna() & (joined["role"] != "empty")]
        _refuse_few(len(chosen))
    rows = chosen["_row"].to_numpy()
    return Labelled(chosen.drop(columns="_row").assign(unit=split_units(chosen, recipe.split.unit)).reset_index(drop=True), rows)


def _images_with_label(joined: pd.DataFrame, recipe: Recipe, *, unlabelled: bool) -> pd.DataFrame:
    """Labelled images, or all."""
    if "target" not in joined:
        raise InputError("no labelled image to learn from", [Finding(
            rule="training_wells", severity="error", column="label",
            message=f"a model of system {recipe.system} learns from an image set with labels; this is a plate with a layout. "
                    "Bring labelled images in with `python -m pipelines.add_imageset`")])
    missing = [kind for kind, target in (("first", 1.0), ("second", 0.0)) if not (joined["target"] == target).any()]
    if missing:
        raise InputError(f"no image of the {missing[0]} class to learn from", [Finding(
            rule="training_wells", severity="error", column="label",
            message=f"images.csv has no label of the {missing[0]} of imageset.yaml's classes; a model learns from both")])
    return joined if unlabelled else joined[joined["target"].notna()]


def _controls(joined: pd.DataFrame, recipe: Recipe, *, duplicates: bool) -> pd.DataFrame:
    """Both controls; with duplicates the treated wells too that have one to take their label from (phase III)."""
    role = joined["role"] if "role" in joined else pd.Series("", index=joined.index)
    for name in ("negative", "positive"):
        if not (role == name).any():
            raise InputError(f"no {name} control well to learn from", [Finding(
                rule="training_wells", severity="error", column="role", value=name,
                message=f"the layout has no {name} control with an image; a model of system {recipe.system} learns from both")])
    target = role.map({"negative": LIVING, "positive": DEAD}).astype(float)
    wanted = target.notna()
    if duplicates:
        treated = joined[role == "treated"]
        places = treated["plate"] + ":" + treated["well"]
        wanted = wanted | (places.groupby(duplicate_sets(treated)).transform("nunique") > 1).reindex(joined.index, fill_value=False)
    return joined.assign(target=target)[wanted]


def _refuse_few(count: int) -> None:
    if count < 8:
        raise InputError(f"{count} wells with a read-out; at least 8 are needed", [Finding(
            rule="training_wells", severity="error", column="readout",
            message="fill the layout's readout column with the measured assay values of the imaged wells")])
