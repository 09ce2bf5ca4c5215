"""The stage `score`, at the end of the chain: every well is there, near the truth it was simulated from."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import SampleMismatch
from models.networks.bundle import Parent, bundle_sha256, read_card, trunk_finder, write_card
from models.networks.predict import load_predictor
from models.scoring import ScoringOptions
from models.tables import CURVES, WELL_SCORES, check_table
from pipelines import score
from pipelines.prepared import read_prepared


@pytest.mark.parametrize("screen", ["hek293", "patient-1"])
def test_every_well_of_the_layout_is_scored(chain: Path, screen: str) -> None:
    folder = chain / "artifacts" / "scores" / screen
    wells, layout = pd.read_parquet(folder / "wells.parquet"), pd.read_csv(chain / "data" / screen / "layout.csv")
    assert wells[["plate", "well"]].astype("str").equals(layout[["plate", "well"]].astype("str"))
    assert wells["viability"].notna().all()
    check_table(wells.assign(flags=wells["flags"].map(list)), WELL_SCORES, keys=("plate", "well"))
    curves = pd.read_parquet(folder / "curves.parquet")
    check_table(curves, CURVES)
    dosed = layout[layout["role"].isin(["treated", "reference"])]
    assert curves["treatment"].tolist() == list(dict.fromkeys(dosed["treatment"]))
    assert pd.read_parquet(folder / "quality.parquet")["plate"].tolist() == list(dict.fromkeys(layout["plate"]))
    assert isinstance(json.loads((folder / "findings.json").read_text()), list)


def test_predicted_viability_follows_the_truth(chain: Path) -> None:
    for screen, least in (("hek293", 0.9), ("patient-1", 0.6)):
        wells = pd.read_parquet(chain / "artifacts" / "scores" / screen / "wells.parquet")
        truth = pd.read_csv(chain / "data" / screen / "truth" / "wells.csv")
        both = wells.merge(truth, on=["plate", "well"], suffixes=("", "_true"))
        assert len(both) == len(wells)
        assert np.corrcoef(both["viability"], both["viability_true"])[0, 1] > least


def test_lineage_names_model_data_and_commit(chain: Path) -> None:
    lineage = json.loads((chain / "artifacts" / "scores" / "hek293" / "lineage.json").read_text())
    sha256 = bundle_sha256(chain / "artifacts" / "models" / "viability-HEK293")
    assert (lineage["model"], lineage["bundle_sha256"], lineage["version"]) == ("viability-HEK293", sha256, sha256[:12])
    assert lineage["data_md5"].endswith(".dir")
    assert set(lineage) == {"model", "version", "bundle_sha256", "screen", "data_md5", "params_hash", "git_commit", "precision"}


def test_the_same_input_gives_the_same_files(chain: Path, tmp_path: Path) -> None:
    models = chain / "artifacts" / "models"
    predictor = load_predictor(models / "profile-PAT_1", find_trunk=trunk_finder([models, models.parent / "trunks"]), device="cpu")
    data = read_prepared(chain / "data" / "patient-1", chain / "artifacts" / "prepared" / "patient-1")
    score.write_scores(score.run(data, predictor, ScoringOptions()), tmp_path, lineage={})
    for name in ("wells.parquet", "curves.parquet", "quality.parquet", "findings.json"):
        assert (tmp_path / name).read_bytes() == (chain / "artifacts" / "scores" / "patient-1" / name).read_bytes(), name


def test_controls_that_a_model_learned_from_are_judged_by_phase_one(chain: Path, tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts, models, screen = chain / "artifacts", tmp_path / "models", "patient-1"
    shutil.copytree(artifacts / "trunks", tmp_path / "trunks")
    for name, parent, taught in (("phase-1", "", "control-plate"), ("phase-2", "phase-1", screen), ("phase-3", "phase-2", screen)):
        shutil.copytree(artifacts / "models" / "profile-PAT_1", models / name)
        card = read_card(models / name)
        write_card(models / name, replace(card, name=name, parent=Parent(name=parent, sha256="0" * 64) if parent else None,
                                          lineage={**card.lineage, "screen": taught}))
        monkeypatch.setattr("sys.argv", list(map(str, (
            "pipelines.score", screen, "--params", chain / "params.yaml", "--data", chain / "data" / screen,
            "--prepared", artifacts / "prepared" / screen, "--bundle", models / name, "--out", tmp_path / name))))
        score.main()
        judges = pd.read_parquet(tmp_path / name / "drift.parquet")["model"]
        assert set(judges) == {"phase-1"}, name


def test_the_model_of_another_line_is_refused(chain: Path) -> None:
    predictor = load_predictor(chain / "artifacts" / "models" / "viability-A549", find_trunk=trunk_finder([]), device="cpu")
    data = read_prepared(chain / "data" / "hek293", chain / "artifacts" / "prepared" / "hek293")
    with pytest.raises(SampleMismatch, match="model viability-A549 is for A549, not HEK293"):
        score.run(data, predictor, ScoringOptions())
    scored = score.run(data, predictor, ScoringOptions(force=True))
    assert scored.findings[0].rule == "sample_mismatch"
