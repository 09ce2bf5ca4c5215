"""Phases I, II and III of system S2: which wells teach, with which labels, on the published three-plate layout too."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ParamsError
from models.networks import fitting
from models.networks.fitting import Before, Fitted, fit_model, planned_epochs
from models.networks.heads import build_network
from models.networks.phases import duplicate_sets, exchange_labels
from models.networks.recipe import Augmentation, OptimizerSpec, Recipe, SplitSpec
from models.plates.images import WellImages
from models.plates.layout import read_layout
from models.wells import wells_of
from tests.conftest import CONTROLS, Tiny

SHARED = Path(os.environ.get("DOSEWELL_SHARED", Path(__file__).parents[4] / "shared"))
ITREX = SHARED / "data" / "vendor_layouts" / "itrex" / "iTReX-Demo_MRA_Layout-Imaging-3Plates.xlsx"

QUICK = replace(CONTROLS, augmentation=Augmentation(flip=True, views=1),
                optimizer=OptimizerSpec(learning_rate=0.02, batch_size=8, epochs=12))
PHASE_1 = replace(QUICK, split=SplitSpec(validation_wells=10, folds=0))
PHASE_2 = replace(QUICK, split=SplitSpec(validation_wells=1, folds=4))
PHASE_3 = replace(QUICK, target="controls_and_duplicates", split=SplitSpec(validation=0.0, folds=0))


def wells(pairs: list[tuple[str, str, float]]) -> pd.DataFrame:
    return pd.DataFrame([{"plate": "P1", "well": well, "treatment": drug, "dose": dose, "dose_unit": "nM"} for well, drug, dose in pairs])


def test_duplicates_exchange_what_the_network_says_of_them() -> None:
    """Table I of the paper: (0.62, 0.50) becomes (0.50, 0.62). Another dose and another drug are no duplicates."""
    table = wells([("A01", "x", 1.0), ("A02", "y", 1.0), ("A03", "x", 1.0), ("A04", "x", 10.0), ("A05", "y", 1.0)])
    labels = exchange_labels(table, pd.Series([0.62, 0.3, 0.50, 0.9, 0.4]))
    np.testing.assert_allclose(labels, [0.50, 0.4, 0.62, np.nan, 0.3])


def test_of_several_replicates_each_gets_the_mean_of_the_others_and_sites_their_wells_median() -> None:
    table = wells([("A01", "x", 1.0), ("A02", "x", 1.0), ("A03", "x", 1.0)]).loc[[0, 0, 0, 1, 2]].set_index(pd.Index([9, 7, 5, 3, 1]))
    labels = exchange_labels(table, pd.Series([0.1, 0.2, 0.9, 0.6, 0.4], index=table.index))
    np.testing.assert_allclose(labels, [0.5, 0.5, 0.5, 0.3, 0.4])  # 0.2 is the median of A01
    assert labels.index.equals(table.index)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from([1.0, 10.0])), min_size=1, max_size=20), st.integers(0, 99))
def test_the_exchange_keeps_the_mean_of_each_set_and_never_gives_a_well_its_own_label(keys: list[tuple[str, float]], seed: int) -> None:
    names = list(wells_of(96))
    table = wells([(names[number], *key) for number, key in enumerate(keys)])
    raw = pd.Series(np.random.default_rng(seed).random(len(keys)))
    labels, sets = exchange_labels(table, raw), duplicate_sets(table)
    for number in set(sets):
        inside = sets == number
        if inside.sum() == 1:
            assert labels[inside].isna().all()
        else:
            assert labels[inside].mean() == pytest.approx(raw[inside].mean())
        changed = exchange_labels(table, raw.where(raw.index != raw[inside].index[0], 5.0))
        first = raw[inside].index[0]
        assert changed[first] == pytest.approx(labels[first], nan_ok=True)  # whatever the network says of the well itself


def test_combinations_are_duplicates_only_in_both_compounds() -> None:
    table = wells([("A01", "x", 1.0)] * 3).assign(well=["A01", "A02", "A03"], treatment_2=["u", "v", "u"], dose_2=1.0)
    assert duplicate_sets(table).tolist() == [0, 1, 0]
    alike = table.assign(treatment_2="u", dose_unit_2="nM")
    assert duplicate_sets(alike.assign(dose_2=[1.0, 2.0, 1.0])).tolist() == [0, 1, 0]
    assert duplicate_sets(alike.assign(dose_unit_2=["nM", "ug/mL", "nM"])).tolist() == [0, 1, 0]


def grey_images(layout: pd.DataFrame, *, seed: int = 0) -> WellImages:
    """Living wells bright, dead ones dark, treated ones between by their dose; (N, 3, 16, 16)."""
    level = layout["role"].map({"negative": 0.8, "positive": 0.2, "untreated": 0.8}).fillna(0.5 - 0.05 * np.log10(layout["dose"].fillna(1)))
    noise = np.random.default_rng(seed).normal(0, 0.05, (len(layout), 1, 16, 16))
    pixels = (level.to_numpy()[:, None, None, None] + noise).clip(0, 1).repeat(3, axis=1).astype(np.float16)
    return WellImages(layout[["plate", "well"]].assign(site=1).reset_index(drop=True), pixels, CONTROLS.input.planes)


def fit(images: WellImages, layout: pd.DataFrame, recipe: Recipe, start: torch.nn.Module | None = None, **options: object) -> Fitted:
    network = copy.deepcopy(start) if start is not None else build_network(recipe)
    return fit_model(network, images, layout, recipe, device="cpu", **options)


@pytest.fixture(scope="module")
def second(tiny: Tiny) -> Fitted:
    return fit(tiny.images, tiny.layout, replace(PHASE_2, split=SplitSpec(validation_wells=1, folds=0)))


def test_phase_three_learns_controls_smoothed_and_duplicates_as_phase_two_saw_them(
        second: Fitted, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[np.ndarray, np.ndarray]] = []
    true_train = fitting.train

    def watching(network, source, targets, parts, recipe, **options):
        given.append((targets.copy(), parts.copy()))
        return true_train(network, source, targets, parts, recipe, **options)

    monkeypatch.setattr(fitting, "train", watching)
    third = fit(tiny.images, tiny.layout, PHASE_3, second.network)
    ((targets, parts),) = given
    assert (parts == "train").all()
    assert len(parts) == 24 + 32
    assert set(np.round(third.predictions["target"], 6)) == {0.0, 1.0}  # the table keeps the classes
    labelled = fitting.label_wells(tiny.images, tiny.layout, PHASE_3, unlabelled=True).wells
    controls = labelled["role"].isin(["negative", "positive"]).to_numpy()
    np.testing.assert_allclose(targets[controls], np.where(labelled["role"][controls] == "negative", 0.8, 0.2), rtol=1e-6)
    with torch.no_grad():
        outputs = second.network(torch.from_numpy(tiny.images.pixels).float())
    raw = tiny.layout.assign(raw=outputs.softmax(dim=1)[:, 0].numpy())
    treated = raw[raw["role"] == "treated"].set_index("well")
    others = {well: treated[(treated["dose"] == row["dose"]) & (treated.index != well)]["raw"].mean() for well, row in treated.iterrows()}
    np.testing.assert_allclose(targets[~controls], labelled["well"][~controls].map(others), atol=1e-5)
    assert third.learnt_labels is not None
    assert len(third.learnt_labels) == 32
    np.testing.assert_allclose(third.learnt_labels["target"], targets[~controls])


def test_a_fold_of_phase_three_starts_from_a_phase_two_that_never_saw_its_wells(
        second: Fitted, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Recipe, set[str], str]] = []
    true_train = fitting.train
    known = fitting.label_wells(tiny.images, tiny.layout, PHASE_3, unlabelled=True).wells

    def watching(network, source, targets, parts, recipe, **options):
        seen.append((recipe, set(known["well"][np.isin(parts, ["train", "validation"])]), recipe.target))
        return true_train(network, source, targets, parts, recipe, **options)

    monkeypatch.setattr(fitting, "train", watching)
    recipe = replace(PHASE_3, split=replace(PHASE_3.split, folds=4))
    before = Before(build_network(PHASE_2), PHASE_2)
    told: list[str] = []
    third = fit(tiny.images, tiny.layout, recipe, second.network, before=before, on_epoch=lambda run, record: told.append(run))
    assert [target for _, _, target in seen] == ["control_class", "controls_and_duplicates"] * 4 + ["controls_and_duplicates"]
    table = third.predictions
    assert table["prediction_cv"].notna().all()
    for fold in range(4):
        answered = set(table["well"][table["fold"] == fold])
        for _, wells_seen, _ in seen[2 * fold:2 * fold + 2]:
            assert not answered & wells_seen
        assert not seen[2 * fold][1] & set(known["well"][known["role"] == "treated"])  # phase II learns from controls alone
    assert len(told) == planned_epochs(recipe, before) == 12 * (4 + 4 + 1)
    assert told[0] == "fold 1, phase II"
    assert ((table["prediction_cv"] > 0.5) == (table["target"] > 0.5)).all()


def test_phase_three_is_not_cross_fitted_from_a_model_that_saw_all_controls(second: Fitted, tiny: Tiny) -> None:
    with pytest.raises(ParamsError, match=r"split\.folds: cross-fitting phase III trains phase II anew in each fold"):
        fit(tiny.images, tiny.layout, replace(PHASE_3, split=SplitSpec(validation=0, folds=4)), second.network)


def test_a_duplicate_in_a_unit_that_is_held_out_teaches_nothing(tiny: Tiny) -> None:
    """Duplicates on two plates, folds by plate: the label of one would tell what the other plate looks like."""
    plates = [tiny.layout.assign(plate=name, replicate=number) for number, name in enumerate(["P1", "P2", "P3", "P4"])]
    layout = pd.concat(plates, ignore_index=True)
    layout = layout[(layout["role"] != "treated") | ~layout.duplicated(["plate", "treatment", "dose"])].reset_index(drop=True)
    images = grey_images(layout)
    recipe = replace(PHASE_3, split=SplitSpec(unit="plate", test=0.25, validation=0, folds=0))
    fitted = fit(images, layout, recipe)
    tested = set(fitted.predictions.loc[fitted.predictions["part"] == "test", "plate"])
    assert len(tested) == 1
    assert fitted.learnt_labels is not None
    assert not tested & set(fitted.learnt_labels["plate"])
    assert len(fitted.learnt_labels) == 3 * 8


@pytest.mark.shared
@pytest.mark.skipif(not ITREX.is_file(), reason=f"{ITREX} is not there; set DOSEWELL_SHARED")
def test_the_published_layout_gives_the_published_numbers_of_wells() -> None:
    """Table I: 88 + 102 and 10 + 10 wells of a control plate; 48 and 6 of a screen; 804 of which 750 are inferred by phase II."""
    places = np.random.default_rng(5).permutation(list(wells_of(384)))[:210]
    plate = pd.DataFrame({"plate": "INF_R_153_CE", "well": places, "role": np.repeat(["negative", "positive"], [98, 112]), "treatment": "",
                          "dose": np.nan, "dose_unit": "", "replicate": 1})
    first = fit(grey_images(plate), plate, PHASE_1)
    assert counts(first) == {("negative", "train"): 88, ("positive", "train"): 102, ("negative", "validation"): 10,
                             ("positive", "validation"): 10}
    layout = read_layout(ITREX, plate_format=384)
    layout = layout[layout["role"].isin(["negative", "positive", "treated"])].reset_index(drop=True)
    images = grey_images(layout)
    second = fit(images, layout, replace(PHASE_2, split=SplitSpec(validation_wells=1, folds=0)), first.network)
    assert counts(second) == {("negative", "train"): 27, ("positive", "train"): 21, ("negative", "validation"): 3,
                              ("positive", "validation"): 3}
    assert (second.predictions.query("part == 'validation'").groupby(["plate", "role"]).size() == 1).all()
    third = fit(images, layout, PHASE_3, second.network)
    assert counts(third) == {("negative", "train"): 30, ("positive", "train"): 24}
    assert third.learnt_labels is not None
    assert len(third.learnt_labels) == 750
    assert len(third.predictions) + len(third.learnt_labels) == 804
    pairs = third.learnt_labels.groupby(["treatment", "dose"])
    assert pairs.ngroups == 375
    assert (pairs.size() == 2).all()
    with torch.no_grad():
        inferred = second.network(torch.from_numpy(images.pixels).float()).softmax(dim=1)[:, 0].numpy()
    said = layout.assign(inferred=inferred).set_index(["plate", "well"])["inferred"]
    labels = third.learnt_labels.set_index(["plate", "well"])["target"]
    partner = third.learnt_labels.iloc[::-1].assign(turned=lambda t: t.index)
    for _, pair in partner.groupby(["treatment", "dose"]):
        (one, other) = (tuple(place) for place in pair[["plate", "well"]].to_numpy())
        assert labels[one] == pytest.approx(said[other], abs=1e-5)
        assert labels[other] == pytest.approx(said[one], abs=1e-5)


def counts(fitted: Fitted) -> dict[tuple[str, str], int]:
    return fitted.predictions.groupby(["role", "part"]).size().to_dict()
