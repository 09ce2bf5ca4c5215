"""Penultimate features, their principal components and map, and hits whose phenotypes complement each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from models.errors import InputError
from models.networks.bundle import Card, TrunkReference
from models.networks.embed import complementary_hits, penultimate_features, principal_components, t_sne, top_dose_wells
from models.networks.heads import build_network
from models.networks.predict import Predictor
from models.networks.recipe import HeadSpec
from tests.conftest import CONTROLS, Tiny


def predictor(hidden: tuple[int, ...]) -> Predictor:
    recipe = replace(CONTROLS, head=HeadSpec(hidden=hidden, outputs=2))
    card = Card(name="m", system="profile", recipe=recipe, output="", sample="s", weights_sha256="",
                trunk=TrunkReference(name="small_cnn", weights="none", sha256=""))
    return Predictor(build_network(recipe).eval(), card, "0" * 64, torch.device("cpu"))


@pytest.mark.parametrize(("hidden", "width"), [((), 256), ((10,), 10), ((12, 7), 7)])
def test_features_are_what_enters_the_last_layer(tiny: Tiny, hidden: tuple[int, ...], width: int) -> None:
    model = predictor(hidden)
    features = penultimate_features(model, tiny.images)
    assert features.shape == (len(tiny.images), width)
    last = model.network.head[-1]
    with torch.no_grad():
        outputs = last(torch.from_numpy(features).float())
    logit = (outputs[:, 0] - outputs[:, 1]).numpy()
    np.testing.assert_allclose(logit, model.predict(tiny.images)["logit"], atol=1e-4)


def test_principal_components_keep_the_variance_and_the_distances() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 60)) + 5
    components = principal_components(features, variance=0.999999)
    assert components.shape == (40, 3)
    assert components.var(axis=0).sum() == pytest.approx(features.var(axis=0).sum())
    assert (np.diff(components.var(axis=0)) <= 0).all()
    distance = np.linalg.norm(features[3] - features[17])
    assert np.linalg.norm(components[3] - components[17]) == pytest.approx(distance)
    fewer = principal_components(features, variance=0.3)
    np.testing.assert_allclose(fewer, components[:, :fewer.shape[1]])


@pytest.mark.parametrize(("features", "message"), [(np.zeros((1, 4)), "at least 2 wells"), (np.ones((5, 4)), "same features")])
def test_nothing_to_reduce_is_said(features: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        principal_components(features)


def test_the_map_keeps_groups_together_and_is_repeatable() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat([0, 1], 15)
    components = rng.normal(size=(30, 5)) + 12 * groups[:, None]
    places = t_sne(components, seed=3)
    np.testing.assert_array_equal(places, t_sne(components, seed=3))
    away = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(30)
    assert (groups[away.argmin(axis=1)] == groups).all()
    with pytest.raises(InputError, match="at least 4 wells"):
        t_sne(components[:3])


def wells() -> pd.DataFrame:
    rows = [("negative", "", np.nan)] * 2 + [("untreated", "", np.nan)] + [("reference", "sts", 10.0)]
    rows += [("treated", name, dose) for name in "abc" for dose in (1.0, 10.0) for _ in range(2)]
    return pd.DataFrame(rows, columns=["role", "treatment", "dose"])


def test_the_map_shows_top_doses_and_controls() -> None:
    table = wells()
    chosen = table.iloc[top_dose_wells(table)]
    assert chosen["role"].value_counts().to_dict() == {"treated": 6, "negative": 2, "untreated": 1}
    assert set(chosen.loc[chosen["role"] == "treated", "dose"]) == {10.0}
    excluded = table.assign(excluded=table["treatment"] == "a")
    assert "a" not in set(excluded.iloc[top_dose_wells(excluded)]["treatment"])
    paired = table.assign(treatment_2=np.where(table.index == table.index[-1], "a", ""), dose_2=10.0)
    assert len(top_dose_wells(paired)) == len(top_dose_wells(table)) - 1


def test_complementary_hits_are_the_distant_ones() -> None:
    table = wells()
    table = table.iloc[top_dose_wells(table)].reset_index(drop=True)
    centre = {"a": [0.0, 0.0], "b": [0.5, 0.0], "c": [9.0, 0.0], "": [50.0, 0.0]}
    components = np.array([centre[name] for name in table["treatment"]]) + np.random.default_rng(0).normal(0, 0.1, (len(table), 2))
    scored = pd.DataFrame({"treatment": ["a", "b", "c"], "dss_asym": [12.0, 30.0, 20.0], "hit": [True, True, True]})
    pairs = complementary_hits(components, table, scored)
    assert list(zip(pairs["treatment_1"], pairs["treatment_2"], strict=True)) == [("c", "a"), ("b", "c"), ("b", "a")]
    assert pairs["distance_over_duplicates"].iloc[0] > 10
    only = complementary_hits(components, table, scored.assign(hit=[True, True, False]))
    assert only[["treatment_1", "treatment_2"]].to_numpy().tolist() == [["b", "a"]]
    assert complementary_hits(components, table, scored.assign(hit=False)).empty
