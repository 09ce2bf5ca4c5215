"""A real plate through the documented commands: folder -> screens -> `dvc repro` -> registry -> champion -> the same IC50s by HTTP.

BBBC013, U2OS cells whose FKHR-EGFP moves into the nucleus: two drugs, nine doses, four replicates, MobileNetV2 with ImageNet weights.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines import servers
from serving.cli import DEFAULT_URL

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("DOSEWELL_SHARED", ROOT.parent / "shared"))
PLATE, WEIGHTS = SHARED / "data" / "bbbc013", SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"
DRUGS = {"wortmannin": ("A-D", 6.0, 14.0), "LY294002": ("E-H", 2200.0, 5500.0)}     # rows, and the range in nM that holds the EC50
SCREENS = {drug: f"bbbc013-{drug.lower()}" for drug in DRUGS}

pytestmark = [pytest.mark.shared, pytest.mark.skipif(not (PLATE.is_dir() and WEIGHTS.is_file()),
                                                     reason=f"{PLATE} or {WEIGHTS.name} is not there; set DOSEWELL_SHARED"),
              pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")]   # the service, until it is stopped


def environment(project: Path) -> dict[str, str]:
    """Commands of this Python, working on the project's own code, registry and caches."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DOSEWELL_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return kept | {"PATH": path, "PYTHONPATH": str(project), "DOSEWELL_WEIGHTS": str(WEIGHTS.parent), "DVC_NO_ANALYTICS": "1",
                   "DVC_SITE_CACHE_DIR": str(project.parent / "dvc-site"), **servers.QUIET}


def call(project: Path, *command: str) -> str:
    """Run a command in the project; its output, which is shown when it fails."""
    done = subprocess.run(command, cwd=project, env=environment(project), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


def module(project: Path, name: str, *arguments: str) -> str:
    return call(project, sys.executable, "-m", name, *arguments)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab's repository: the code, and the recipes without the example's screens and models."""
    folder = tmp_path_factory.mktemp("real") / "lab"
    for name in ("models", "validation", "pipelines", "serving"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copyfile(ROOT / name, folder / name)
    params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {key: {} for key in ("screens", "trunks", "models", "scores")}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    call(folder, "git", "init", "--quiet")
    call(folder, "dvc", "init", "--quiet")
    call(folder, "git", "add", ".")
    call(folder, "git", "-c", "user.name=lab", "-c", "user.email=lab@example.org", "commit", "--quiet", "--message", "start")
    return folder


@pytest.fixture(scope="module")
def scored(project: Path) -> Path:
    """The project after the commands of docs/bring_your_plate.md and `dvc repro`."""
    for drug, (rows, _, _) in DRUGS.items():
        screen = SCREENS[drug]
        module(project, "pipelines.add_screen", str(PLATE), "--name", screen, "--rows", rows, "--sample", "U2OS",
               "--assay", "FKHR-EGFP translocation")
        module(project, "pipelines.add_model", f"profile-{screen}", "--screen", screen, "--recipe", "controls_mobilenet",
               "--parent", "trunks/mobilenet_v2", "--weights", WEIGHTS.name)
    call(project, "dvc", "add", "--quiet", "data")
    module(project, "pipelines.repro")
    return project


@pytest.fixture(scope="module")
def service(scored: Path) -> Iterator[str]:
    """The service with both models promoted; its address."""
    for screen in SCREENS.values():
        module(scored, "serving.cli", "promote", f"profile-{screen}", "1")
    port = servers.free_port()
    with contextlib.chdir(scored):
        try:
            yield servers.start("real-plate", servers.service_command(port), port=port, health="/readyz", environment={
                **environment(scored), "MLFLOW_TRACKING_URI": f"sqlite:///{scored / 'mlflow.db'}"}).url
        finally:
            servers.stop("real-plate")


def curve(project: Path, drug: str) -> pd.Series:
    curves = pd.read_parquet(project / "artifacts" / "scores" / SCREENS[drug] / "curves.parquet")
    assert curves["treatment"].tolist() == [drug]
    return curves.iloc[0]


@pytest.mark.parametrize("drug", DRUGS)
def test_controls_of_a_row_that_was_left_out_are_told_apart(scored: Path, drug: str) -> None:
    folder = scored / "artifacts" / "evaluate" / f"profile-{SCREENS[drug]}"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["accuracy_cv"] == 1
    assert metrics["z_prime_cv"] >= 0.6
    predictions = pd.read_csv(folder / "predictions.csv")
    assert set(predictions.groupby(predictions["well"].str[0])["fold"].nunique()) == {1}     # a row is one fold
    assert predictions["fold"].nunique() == 4


@pytest.mark.parametrize("drug", DRUGS)
def test_the_ec50_is_that_of_the_classical_read_out(scored: Path, drug: str) -> None:
    found = curve(scored, drug)
    low, high = DRUGS[drug][1:]
    assert (found["status"], found["ec50_relation"], found["dose_unit"], found["n_doses"]) == ("ok", "=", "nM", 9)
    assert low <= found["ec50"] <= high
    assert found["ec50_low"] < found["ec50"] < found["ec50_high"]
    assert low <= found["ic50"] <= high


@pytest.mark.parametrize("drug", DRUGS)
def test_the_endpoint_answers_as_the_stage(scored: Path, service: str, tmp_path: Path, drug: str) -> None:
    assert service != DEFAULT_URL
    data = scored / "data" / SCREENS[drug]
    said = module(scored, "serving.cli", "score", str(data / "images"), "--layout", str(data / "layout.csv"), "--screen",
                  str(data / "screen.yaml"), "--model", f"profile-{SCREENS[drug]}", "--url", service, "--out", str(tmp_path))
    assert drug in said
    answered, found = pd.read_csv(tmp_path / "curves.csv").iloc[0], curve(scored, drug)
    columns = ["ec50", "ec50_low", "ec50_high", "ic50", "ic50_low", "ic50_high", "slope", "bottom", "top", "auc", "dss3"]
    np.testing.assert_allclose(answered[columns].astype(float), found[columns].astype(float), rtol=1e-9)
    wells = pd.read_parquet(scored / "artifacts" / "scores" / SCREENS[drug] / "wells.parquet")
    again = pd.read_csv(tmp_path / "wells.csv")
    assert again["well"].tolist() == wells["well"].tolist()
    np.testing.assert_allclose(again[["logit", "viability"]], wells[["logit", "viability"]], rtol=1e-6)
    lineage = json.loads((tmp_path / "answer.json").read_text())["lineage"]
    receipt = json.loads((scored / "artifacts" / "registered" / f"profile-{SCREENS[drug]}.json").read_text())
    assert (lineage["bundle_sha256"], lineage["version"]) == (receipt["bundle_sha256"], "1")
