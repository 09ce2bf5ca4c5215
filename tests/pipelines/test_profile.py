"""The command `profile`: read-outs of a tiny screen side by side, the map of phenotypes, hits."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.dose_response.statistics import correlation
from models.errors import InputError
from models.plates.images import PlateArchive, member_name, write_plate
from models.plates.screen import Channel
from pipelines import profile
from pipelines.params import Params
from pipelines.profile_figures import spread_out


@pytest.fixture(scope="module")
def folder(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chain's artifacts; its patient has metabolic readings too, from the truth, and expected hits."""
    data = tmp_path_factory.mktemp("profile") / "data"
    shutil.copytree(chain / "data" / "patient-1", data / "patient-1")
    layout, truth = (pd.read_csv(data / "patient-1" / name) for name in ("layout.csv", "truth/wells.csv"))
    assert (layout["well"] == truth["well"]).all()
    noise = np.random.default_rng(0).normal(0, 30, len(layout))
    layout.assign(readout=(100 + 900 * truth["viability"] + noise).round(1)).to_csv(data / "patient-1" / "layout.csv", index=False)
    treatments = pd.read_csv(data / "patient-1" / "treatments.csv")
    treatments.assign(expected_hit=treatments["treatment"].isin(["bortezomib", "topotecan"])).to_csv(
        data / "patient-1" / "treatments.csv", index=False)
    return data


@pytest.fixture(scope="module")
def profiled(chain: Path, folder: Path) -> profile.ProfiledScreen:
    found = profile.read_profiled("patient-1", Params.read(chain / "params.yaml"), data=folder, artifacts=chain / "artifacts")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def out(profiled: profile.ProfiledScreen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    profile.write_profiles([profiled], out)
    return out


def test_every_read_out_has_every_well(profiled: profile.ProfiledScreen) -> None:
    readouts = profile.screen_readouts(profiled)
    assert readouts.groupby("readout", sort=False).size().to_dict() == dict.fromkeys(
        ["metabolic", "mean of stack", "phase II"], len(profiled.data.layout))
    controls = readouts.groupby(["readout", "plate", "role"])["viability"].median().unstack()
    np.testing.assert_allclose(controls["negative"], 1)
    np.testing.assert_allclose(controls["positive"], 0, atol=1e-12)


def test_the_mean_of_the_stack_is_that_of_all_planes(profiled: profile.ProfiledScreen, folder: Path) -> None:
    row = profiled.stack_means.iloc[7]
    with PlateArchive(folder / "patient-1" / "images" / f"{row['plate']}.zip") as archive:
        assert row["value"] == pytest.approx(archive.read_stack(row["well"], site=1, channel=0).mean())


def test_the_mean_of_a_screen_that_came_projected_is_that_of_its_projection(profiled: profile.ProfiledScreen, tmp_path: Path) -> None:
    planes = [np.full((8, 8), value, np.uint8) for value in (90, 20, 40)]
    write_plate(tmp_path / "images" / "P1.zip", ((member_name("A01", channel=number), plane) for number, plane in enumerate(planes)))
    channels = tuple(Channel(name=f"hoechst_{projection}") for projection in ("mip", "mid", "mos"))
    data = replace(profiled.data, screen=replace(profiled.data.screen, channels=channels))
    assert profile.mean_of_stack(tmp_path, data).values.tolist() == [["P1", "A01", 40.0]]


def test_tables_agree_with_each_other(out: Path, profiled: profile.ProfiledScreen) -> None:
    pairs = pd.read_csv(out / "duplicate_wells.csv")
    assert pairs.groupby("readout").size().unique().tolist() == [75]
    found = pd.read_csv(out / "reproducibility_wells.csv").set_index("readout")
    part = pairs[pairs["readout"] == "phase II"]
    assert found.loc["phase II", "pearson"] == pytest.approx(correlation(part["first"], part["second"]).pearson, abs=1e-4)
    compared = pd.read_csv(out / "image_against_metabolic.csv", keep_default_na=False)
    scores = pd.read_csv(out / "scores.csv").set_index(["readout", "treatment"])["dss_asym"]
    row = compared[compared["readout"] == "phase II"].iloc[3]
    assert float(row["reference_score"]) == pytest.approx(scores["metabolic", row["treatment"]], abs=1e-5)
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics) == {"metabolic", "mean of stack", "phase II"}
    assert metrics["metabolic"]["dss_r"] > 0.9
    assert metrics["phase II"]["metabolic_dss_r"] > 0.5


def test_figures_and_lists_of_the_screen_are_there(out: Path) -> None:
    assert {path.name for path in out.glob("*.png")} == {
        "quality.png", "uniformity.png", "scores.png", "duplicates_wells.png", "duplicates_scores.png", "image_against_metabolic.png",
        "expected_hits.png"}
    places = pd.read_csv(out / "patient-1" / "phenotypes.csv", keep_default_na=False)
    assert places["role"].value_counts().to_dict() == {"treated": 30, "negative": 16, "positive": 16}
    assert set(places.loc[places["treatment"] == "bortezomib", "class"]) == {"proteasome inhibitor"}
    hits = pd.read_csv(out / "patient-1" / "hits.csv")
    assert hits["dss_asym"].is_monotonic_decreasing
    called = set(hits.loc[hits["hit"], "treatment"])
    pairs = pd.read_csv(out / "patient-1" / "complementary_hits.csv")
    assert set(pairs["treatment_1"]) | set(pairs["treatment_2"]) <= called
    assert (out / "patient-1" / "waterfall.png").stat().st_size > 5_000
    assert (out / "patient-1" / "phenotypes.png").stat().st_size > 20_000


def test_screens_without_a_model_or_treated_wells_are_left_out(chain: Path, folder: Path, tmp_path: Path) -> None:
    params = Params.read(chain / "params.yaml")
    assert profile.read_profiled("a549", params, data=chain / "data", artifacts=chain / "artifacts") is None
    with pytest.raises(InputError, match="no screen has a trained model of system profile"):
        profile.write_profiles([], tmp_path)


def test_thumbnails_are_spread_out() -> None:
    places = np.array([[0, 0], [0.1, 0], [10, 0], [0, 10], [10.1, 0]])
    chosen = spread_out(places, count=3)
    assert len(set(chosen.tolist())) == 3
    assert not {2, 4} <= set(chosen.tolist())
    assert len(spread_out(np.zeros((4, 2)), count=3)) == 1
