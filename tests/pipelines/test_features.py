"""The command `features`: a profile per well, for programs of image-based profiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import InputError
from models.networks.embed import penultimate_features
from models.plates.readers.platemaps import read_layout_table
from pipelines.features import dose_map
from pipelines.profile_figures import plot_dose_map
from tests.pipelines.chain import call, predictor_of, prepared_screen


def test_a_row_per_well_with_its_place_and_the_features_of_its_images(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, data = predictor_of(chain, "profile-PAT_1"), prepared_screen(chain, "patient-1")
    monkeypatch.chdir(chain)
    out = tmp_path / "new" / "wells.parquet"
    call(f"python -m pipelines.features profile-PAT_1 --params params.yaml --out {out}".split())
    profiles = pd.read_parquet(out)
    assert profiles[["Metadata_Plate", "Metadata_Well"]].to_numpy().tolist() == data.layout[["plate", "well"]].to_numpy().tolist()
    assert profiles["Metadata_role"].tolist() == data.layout["role"].tolist()
    assert set(profiles["Metadata_model"]) == {"profile-PAT_1"}
    names = [name for name in profiles.columns if name.startswith("feature_")]
    features = penultimate_features(predictor, data.images)
    assert features.shape[1] == len(names) == len(profiles.columns) - sum(profiles.columns.str.startswith("Metadata_"))
    plate, well = profiles.loc[7, ["Metadata_Plate", "Metadata_Well"]]
    own = data.images.wells["plate"].eq(plate) & data.images.wells["well"].eq(well)
    assert profiles.loc[7, names].astype(float).to_numpy() == pytest.approx(np.median(features[own.to_numpy()], axis=0), rel=1e-6)
    assert f"{len(profiles)} wells, {len(names)} features" in capsys.readouterr().out
    call(f"python -m pipelines.features profile-PAT_1 --params params.yaml --out {tmp_path / 'wells.csv'}".split())
    assert read_layout_table(tmp_path / "wells.csv")["Metadata_role"].tolist() == profiles["Metadata_role"].tolist()   # and goes in again
    with pytest.raises(InputError, match=r"ends with one of \.parquet, \.csv"):
        call(f"python -m pipelines.features profile-PAT_1 --params params.yaml --out {tmp_path / 'wells.gct'}".split())


def test_wells_are_mapped_by_what_the_model_sees_and_coloured_by_dose(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 4A of the S1 paper: neighbours on the map have neighbouring doses."""
    monkeypatch.chdir(chain)
    call(f"python -m pipelines.features viability-A549 --params params.yaml --out {tmp_path / 'w.csv'} --map {tmp_path / 'm.png'}".split())
    assert (tmp_path / "m.png").stat().st_size > 10_000
    places, layout = pd.read_csv(tmp_path / "m.csv"), prepared_screen(chain, "a549").layout
    assert places[["plate", "well"]].to_numpy().tolist() == layout.loc[layout["role"] != "empty", ["plate", "well"]].to_numpy().tolist()
    assert places["dose"].notna().sum() == layout["dose"].notna().sum()
    dosed = places[places["dose"] > 0]
    at, dose = dosed[["t_sne_1", "t_sne_2"]].to_numpy(), np.log10(dosed["dose"].to_numpy())
    away = np.linalg.norm(at[:, None] - at[None], axis=2) + np.diag(np.full(len(at), np.inf))
    assert np.abs(dose - dose[away.argmin(axis=1)]).mean() < 0.6 * np.abs(dose[:, None] - dose[None]).mean()


def test_what_has_no_dose_is_not_mapped() -> None:
    with pytest.raises(InputError, match="no well of it has a dose"):
        dose_map(pd.DataFrame({"Metadata_Plate": ["P"], "Metadata_Well": ["A01"], "feature_0001": [1.0]}), title="")


def test_doses_of_each_unit_have_their_own_colours() -> None:
    wells = pd.DataFrame({"role": ["treated"] * 4 + ["negative"], "dose": [1.0, 10.0, 5.0, 50.0, np.nan],
                          "dose_unit": ["nM", "nM", "ug/mL", "ug/mL", ""]})
    figure = plot_dose_map(np.arange(10.0).reshape(5, 2), wells, title="two units")
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel().startswith("log10")] == ["log10 dose, nM", "log10 dose, ug/mL"]
