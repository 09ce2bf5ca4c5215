"""Labels and splits: no unit straddles, every row has its place, classes are shared out evenly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.errors import InputError
from models.networks.labels import label_wells
from models.networks.recipe import SplitSpec
from models.networks.splits import PARTS, assign_folds, assign_parts, split_units
from tests.conftest import CONTROLS, READOUT, Tiny, tiny_images, tiny_layout

units_and_classes = st.integers(4, 40).flatmap(lambda count: st.tuples(
    st.lists(st.integers(0, count - 1), min_size=count, max_size=4 * count), st.lists(st.integers(0, 1), min_size=count, max_size=count)))


def spread(drawn: tuple[list[int], list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows' units, and a class for each that all rows of a unit share."""
    rows, classes = drawn
    return np.array([f"u{unit}" for unit in rows]), np.array([classes[unit] for unit in rows])


@given(units_and_classes, st.integers(4, 6), st.integers(0, 5))
def test_folds_keep_units_whole_and_share_classes_out(drawn: tuple[list[int], list[int]], folds: int, seed: int) -> None:
    units, classes = spread(drawn)
    per_class = [len(set(units[classes == kind])) for kind in np.unique(classes)]
    assume(len(set(units)) >= folds and min(per_class) >= 2)
    found = assign_folds(units, classes, folds=folds, seed=seed)
    assert set(found) == set(range(folds))  # every row has a fold, no fold is empty
    table = pd.DataFrame({"unit": units, "fold": found, "class": classes}).drop_duplicates()
    assert table["unit"].is_unique  # one fold per unit
    counts = table.groupby(["class", "fold"]).size().unstack(fill_value=0).reindex(columns=range(folds), fill_value=0)
    assert ((counts.max(axis=1) - counts.min(axis=1)) <= 1).all()
    np.testing.assert_array_equal(found, assign_folds(units, classes, folds=folds, seed=seed))


@given(units_and_classes, st.floats(0, 0.6), st.floats(0, 0.39), st.integers(0, 5))
def test_parts_keep_units_whole_and_each_class_trains(
        drawn: tuple[list[int], list[int]], test: float, validation: float, seed: int) -> None:
    units, classes = spread(drawn)
    found = assign_parts(units, classes, split=SplitSpec(test=test, validation=validation), seed=seed)
    assert set(found) <= set(PARTS)
    table = pd.DataFrame({"unit": units, "part": found, "class": classes}).drop_duplicates()
    assert table["unit"].is_unique
    for _, part in table.groupby("class")["part"]:
        shares = part.value_counts()
        assert shares.get("train", 0) >= 1
        if len(part) > 2:
            assert abs(shares.get("test", 0) - test * len(part)) <= 1
        if test == 0:
            assert "test" not in shares
        if validation == 0:
            assert "validation" not in shares
        if validation > 0 and len(part) - shares.get("test", 0) > 2:
            assert shares.get("validation", 0) >= 1


def test_another_seed_is_another_split() -> None:
    units, classes = np.arange(40).astype(str), np.arange(40) % 2
    splits = {tuple(assign_parts(units, classes, split=SplitSpec(test=0.25), seed=seed)) for seed in range(5)}
    assert len(splits) == 5
    assert len({tuple(assign_folds(units, classes, folds=4, seed=seed)) for seed in range(5)}) == 5


def test_published_sizes_of_system_s1() -> None:
    """264 images in 24 replicate sets of 11 doses: 66 for testing are six sets."""
    units = np.repeat([f"set{number}" for number in range(24)], 11)
    parts = assign_parts(units, np.zeros(264, int), split=SplitSpec(unit="replicate", test=0.25, validation=0.15), seed=1)
    assert [(parts == part).sum() for part in PARTS] == [154, 44, 66]


def test_too_few_units_or_a_class_in_one_unit_are_refused() -> None:
    with pytest.raises(InputError, match=r"3 split units for 4 folds; choose a finer split\.unit"):
        assign_folds(np.array(["a", "b", "c", "c"]), np.array([0, 1, 0, 0]), folds=4, seed=0)
    columns, classes = np.repeat(["1", "2", "3", "4", "5"], 4), np.repeat([1, 0, 0, 0, 0], 4)
    with pytest.raises(InputError, match="all wells of one class lie in the same split unit"):
        assign_folds(columns, classes, folds=4, seed=0)


@pytest.mark.parametrize(("unit", "expected"), [
    ("well", ["P1:A01", "P1:A12", "P1:H01", "P2:A01"]), ("row", ["P1:A", "P1:A", "P1:H", "P2:A"]),
    ("column", ["P1:1", "P1:12", "P1:1", "P2:1"]), ("plate", ["P1", "P1", "P1", "P2"]), ("replicate", ["P1:1", "P1:2", "P1:1", "P2:1"])])
def test_units_by_name(unit: str, expected: list[str]) -> None:
    wells = pd.DataFrame({"plate": ["P1", "P1", "P1", "P2"], "well": ["A01", "A12", "H01", "A01"], "replicate": [1, 2, 1, 1]},
                         index=[7, 3, 5, 1])
    found = split_units(wells, unit)
    assert found.tolist() == expected
    assert found.index.equals(wells.index)


def test_control_classes_are_labelled_in_the_order_of_the_images(tiny: Tiny) -> None:
    images = tiny_images(tiny.layout, sites=2)
    shuffled = images.take(np.random.default_rng(1).permutation(len(images)))
    found = label_wells(shuffled, tiny.layout, CONTROLS)
    assert len(found) == 2 * 24
    assert (np.diff(found.rows) > 0).all()
    pd.testing.assert_frame_equal(found.wells[["plate", "well", "site"]], shuffled.wells.iloc[found.rows].reset_index(drop=True))
    assert (found.targets == (found.wells["role"] == "negative")).all()
    assert found.targets.dtype == np.float32
    assert found.wells.groupby("well")["unit"].nunique().max() == 1  # both sites in one unit
    np.testing.assert_array_equal(found.strata(regression=False), found.targets)
    assert not found.strata(regression=True).any()


def test_read_outs_are_labels_where_they_were_measured(tiny: Tiny) -> None:
    layout = tiny.layout.assign(excluded=False)
    layout.loc[0, "readout"] = np.nan
    layout.loc[1, "excluded"] = True
    layout.loc[2, "role"] = "empty"
    found = label_wells(tiny.images, layout, READOUT)
    assert sorted(found.wells["well"]) == sorted(layout["well"].drop([0, 1, 2]))
    expected = found.wells.merge(layout, on=["plate", "well"])["readout_y"]
    np.testing.assert_allclose(found.targets, expected.astype(np.float32))


def test_nothing_to_learn_from_is_refused(tiny: Tiny) -> None:
    for role in ("negative", "positive"):
        with pytest.raises(InputError, match=f"no {role} control well to learn from") as caught:
            label_wells(tiny.images, tiny.layout[tiny.layout["role"] != role], CONTROLS)
        assert caught.value.findings[0].value == role
    with pytest.raises(InputError, match="7 wells with a read-out; at least 8"):
        label_wells(tiny.images, tiny.layout.iloc[:7], READOUT)
    with pytest.raises(InputError, match="0 wells with a read-out"):
        label_wells(tiny.images, tiny.layout.drop(columns="readout"), READOUT)


def test_a_layout_well_without_an_image_is_no_label() -> None:
    layout = tiny_layout()
    images = tiny_images(layout.iloc[5:])
    found = label_wells(images, layout, replace(READOUT, split=SplitSpec(unit="well")))
    assert set(found.wells["well"]) == set(layout["well"].iloc[5:])


def test_a_drug_well_without_a_duplicate_takes_no_part_in_phase_three() -> None:
    layout = tiny_layout()
    lowest = layout["dose"] == layout["dose"].min()
    alone = layout[~lowest | (layout["replicate"] == 1)]
    found = label_wells(tiny_images(alone), alone, replace(CONTROLS, target="controls_and_duplicates"), unlabelled=True).wells
    assert found["role"].value_counts().to_dict() == {"treated": 7 * 4, "negative": 12, "positive": 12}
    assert not found["dose"].eq(layout["dose"].min()).any()
