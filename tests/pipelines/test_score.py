"""The stage `score`, at the end of the chain: every well is there, near the truth it was simulated from."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from models.errors import SampleMismatch
from models.networks.bundle import Parent, bundle_sha256, read_card, write_card
from models.networks.trunks import Trunk
from models.plates.prepare import load_prepared, save_prepared
from models.scoring import ScoringOptions
from models.tables import CURVES, WELL_SCORES, check_table
from pipelines import score
from tests.pipelines.chain import predictor_of, prepared_screen


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
    scored = score.run(prepared_screen(chain, "patient-1"), predictor_of(chain, "profile-PAT_1"), ScoringOptions())
    score.write_scores(scored, tmp_path, lineage={})
    for name in ("wells.parquet", "curves.parquet", "quality.parquet", "findings.json"):
        assert (tmp_path / name).read_bytes() == (chain / "artifacts" / "scores" / "patient-1" / name).read_bytes(), name


def score_main(chain: Path, patch: pytest.MonkeyPatch, screen: str, prepared: Path, bundle: Path, out: Path, *, kept: Path,
               params: Path | None = None) -> None:
    patch.setattr("sys.argv", list(map(str, (
        "pipelines.score", screen, "--params", params or chain / "params.yaml", "--data", chain / "data" / screen,
        "--prepared", prepared, "--bundle", bundle, "--out", out, "--kept", kept))))
    score.main()


def test_curves_are_fitted_as_params_yaml_asks(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were fitted by the defaults, whatever stood there."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(yaml.safe_load((chain / "params.yaml").read_text()) | {
        "score": {"device": "cpu", "fit": {"model": "3pl", "ic_level": 30}}}))
    artifacts, screen = chain / "artifacts", "patient-1"
    score_main(chain, monkeypatch, screen, artifacts / "prepared" / screen, artifacts / "models" / "profile-PAT_1", tmp_path / "out",
               kept=tmp_path / "kept", params=tmp_path / "params.yaml")
    asked, usual = (pd.read_parquet(folder / "curves.parquet") for folder in (tmp_path / "out", artifacts / "scores" / screen))
    assert set(usual["ic_level"]) == {50}
    assert set(asked["ic_level"]) == {30}
    assert "3pl" in set(asked["model"])
    assert not set(asked["model"]) & {"4pl", "5pl"}


def test_a_new_plate_alone_is_shown_to_the_network_and_the_tables_are_those_of_a_run_from_scratch(
        chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models of one frozen trunk share what it saw; a plate that changes, or another trunk, is looked at."""
    screen, models, kept, numbers = "patient-1", tmp_path / "models", tmp_path / "kept", count()
    shutil.copytree(chain / "artifacts" / "prepared" / screen, tmp_path / "prepared")
    shutil.copytree(chain / "artifacts" / "trunks", tmp_path / "trunks")
    for name, parent in (("phase-1", None), ("phase-2", Parent(name="phase-1", sha256="0" * 64))):
        shutil.copytree(chain / "artifacts" / "models" / "profile-PAT_1", models / name)
        card = read_card(models / name)
        taught = screen if parent else "control-plate"
        write_card(models / name, replace(card, name=name, parent=parent, lineage={**card.lineage, "screen": taught}))
    seen: list[int] = []
    features = Trunk.features
    monkeypatch.setattr(Trunk, "features", lambda trunk, pixels: (seen.append(len(pixels)), features(trunk, pixels))[1])

    def again() -> int:
        """Images that were shown to a trunk, beside those of a run from scratch."""
        out = tmp_path / f"{next(numbers)}"
        seen.clear()
        score_main(chain, monkeypatch, screen, tmp_path / "prepared", models / "phase-2", out / "now", kept=kept)
        shown = sum(seen)
        score_main(chain, monkeypatch, screen, tmp_path / "prepared", models / "phase-2", out / "fresh", kept=out / "kept")
        files = sorted(path.name for path in (out / "fresh").iterdir())
        assert [name for name in files if (out / "now" / name).read_bytes() != (out / "fresh" / name).read_bytes()] == []
        assert len(files) >= 6
        assert {path.name for path in kept.iterdir()} == {path.name for path in (out / "kept").iterdir()}
        return shown

    prepared, controls = tmp_path / "prepared", 16     # of a plate, which the parent is shown
    for suffix in (".safetensors", ".quality.csv"):
        (prepared / f"PAT_1-P2{suffix}").rename(tmp_path / f"later{suffix}")
    assert again() == 96 + controls
    for suffix in (".safetensors", ".quality.csv"):
        (tmp_path / f"later{suffix}").rename(prepared / f"PAT_1-P2{suffix}")
    assert again() == 96 + controls
    assert again() == 0
    plate = load_prepared(prepared / "PAT_1-P1.safetensors")
    pixels = np.array(plate.pixels)
    pixels[-1] = 1 - pixels[-1]     # one image of it
    save_prepared(replace(plate, pixels=pixels), prepared / "PAT_1-P1.safetensors")
    assert again() >= 96
    card = read_card(models / "phase-2")
    write_card(models / "phase-2", replace(card, recipe=replace(card.recipe, trunk=replace(card.recipe.trunk, offset=0.25))))
    assert again() >= 2 * 96
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert again() >= 2 * 96
    finally:
        torch.set_num_threads(threads)


def test_controls_that_a_model_learned_from_are_judged_by_phase_one(chain: Path, tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts, models, screen = chain / "artifacts", tmp_path / "models", "patient-1"
    shutil.copytree(artifacts / "trunks", tmp_path / "trunks")
    for name, parent, taught in (("phase-1", "", "control-plate"), ("phase-2", "phase-1", screen), ("phase-3", "phase-2", screen)):
        shutil.copytree(artifacts / "models" / "profile-PAT_1", models / name)
        card = read_card(models / name)
        write_card(models / name, replace(card, name=name, parent=Parent(name=parent, sha256="0" * 64) if parent else None,
                                          lineage={**card.lineage, "screen": taught}))
        score_main(chain, monkeypatch, screen, artifacts / "prepared" / screen, models / name, tmp_path / name, kept=tmp_path / "kept")
        judges = pd.read_parquet(tmp_path / name / "drift.parquet")["model"]
        assert set(judges) == {"phase-1"}, name


def test_the_model_of_another_line_is_refused(chain: Path) -> None:
    predictor, data = predictor_of(chain, "viability-A549"), prepared_screen(chain, "hek293")
    with pytest.raises(SampleMismatch, match="model viability-A549 is for A549, not HEK293"):
        score.run(data, predictor, ScoringOptions())
    scored = score.run(data, predictor, ScoringOptions(force=True))
    assert scored.findings[0].rule == "sample_mismatch"
