"""The command `features`: a profile per well, for programs of image-based profiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import InputError
from models.networks.embed import penultimate_features
from models.plates.readers.platemaps import read_layout_table
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
