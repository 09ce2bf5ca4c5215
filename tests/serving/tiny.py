"""The smallest things that are real: a bundle with random weights, a plate of flat grey wells, and a server on a free port."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
from mlflow import MlflowClient

from models.errors import RegistryError
from models.networks.backbones import state_bytes
from models.networks.bundle import Card, GateResult, TrunkReference, trunk_finder, write_bundle
from models.networks.calibration import Calibration
from models.networks.heads import build_network
from models.networks.looks import fingerprint, looks_of
from models.networks.recipe import Gate, Recipe, TrunkSpec
from models.plates.images import encode_tiff, write_plate
from models.plates.imageset import prepare_image
from models.plates.layout import write_layout
from models.plates.prepare import InputSpec
from models.registered import RegisteredVersion
from models.registry import CHAMPION, Registry
from models.wells import wells_of
from pipelines.servers import free_port
from serving.job_records import NewJob
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
MODEL, CLASSIFIER, SAMPLE = "viability-TINY", "toxicity-TINY", "TINY"
SCREEN: dict[str, Any] = {"name": "tiny", "sample": SAMPLE, "channels": ["brightfield"], "magnification": 10.0, "plate_format": 96,
                          "positive_control": {"image": "kill"}}


def tiny_bundle(folder: Path, *, seed: int = 0, passed: bool = True, name: str = MODEL, own_trunk: bool = False) -> Path:
    """A bundle whose frozen trunk (seed 0) lies beside it as <parent>/trunk-0/trunk.safetensors."""
    recipe = Recipe(system="viability", target="readout", seed=seed, input=InputSpec(size=32), trunk=TrunkSpec(name="small_cnn"),
                    gates=(Gate(metric="r2_cv", minimum=0.5),))
    trunk = state_bytes(build_network(replace(recipe, seed=0)).trunk.state_dict())
    (folder.parent / "trunk-0").mkdir(parents=True, exist_ok=True)
    (folder.parent / "trunk-0" / "trunk.safetensors").write_bytes(trunk)
    value = 0.9 if passed else 0.1
    card = Card(
        name=name, system="viability", recipe=recipe, output="od", sample=SAMPLE, acquisition={"magnification": 10.0},
        trunk=TrunkReference(name="small_cnn", weights="none, seed 0", sha256=hashlib.sha256(trunk).hexdigest()), weights_sha256="",
        metrics={"r2_cv": value}, lineage={"data_md5": "d" * 32, "params_hash": "p" * 64},
        gates=(GateResult(metric="r2_cv", value=value, minimum=0.5, maximum=None, passed=passed, reason=f"r2_cv is {value}"),))
    write_bundle(folder, card, head=state_bytes(build_network(recipe).head.state_dict()), trunk=trunk if own_trunk else None)
    return folder


def noise(seed: int, brightest: int) -> np.ndarray:
    """What `tiny_classifier` takes for images."""
    return np.random.default_rng(seed).integers(0, brightest, (40, 48)).astype(np.uint8)


def known_image(seed: int = 0) -> np.ndarray:
    """One that it learned from, in colour."""
    return np.random.default_rng(seed).integers(0, 255, (50, 50, 3)).astype(np.uint8)


def tiny_classifier(folder: Path, *, name: str = CLASSIFIER) -> Path:
    """A bundle that tells toxic from nontoxic images, on the trunk of `tiny_bundle`; it learned `known_image` and others of noise."""
    recipe = Recipe(system="toxicity", target="label", input=InputSpec(planes=("image:mid",) * 3, size=32),
                    trunk=TrunkSpec(name="small_cnn"), gates=(Gate(metric="accuracy_cv", minimum=0.5),))
    trunk = state_bytes(build_network(recipe).trunk.state_dict())
    taught = [noise(seed, 40 + 6 * seed) for seed in range(40)] + [known_image(seed) for seed in range(20)]
    card = Card(
        name=name, system="toxicity", recipe=recipe, output="probability of the first class", sample=SAMPLE,
        acquisition={"magnification": 10.0, "bit_depth": 8}, classes=("toxic", "nontoxic"),
        trunk=TrunkReference(name="small_cnn", weights="none, seed 0", sha256=hashlib.sha256(trunk).hexdigest()), weights_sha256="",
        metrics={"accuracy_cv": 0.9}, training_wells=(("tiny-set", "taught", "train"), ("tiny-set", "tested", "test")),
        looks=looks_of(np.stack([prepare_image(picture, recipe.input) for picture in taught]), range(len(taught))),
        training_images=(fingerprint(prepare_image(known_image(), recipe.input)),),
        calibration=Calibration(temperature=4.0, images=30, loss=0.6, loss_calibrated=0.5),
        lineage={"data_md5": "d" * 32, "params_hash": "p" * 64},
        gates=(GateResult(metric="accuracy_cv", value=0.9, minimum=0.5, maximum=None, passed=True, reason="accuracy_cv is 0.9"),))
    write_bundle(folder, card, head=state_bytes(build_network(recipe).head.state_dict()), trunk=trunk)
    return folder


def tiny_layout(plate: str = "P1") -> pd.DataFrame:
    """16 negative and 16 positive wells, and 2 treatments x 8 doses x 4 replicates."""
    rows = [{"role": role, "treatment": "", "dose": np.nan, "dose_unit": "", "replicate": number + 1}
            for role in ("negative", "positive") for number in range(16)]
    rows += [{"role": "treated", "treatment": name, "dose": float(10**dose), "dose_unit": "nM", "replicate": number + 1}
             for name in ("alpha", "beta") for dose in range(8) for number in range(4)]
    wells = list(wells_of(96))
    order = np.random.default_rng(0).permutation(96)  # no role fills a row
    return pd.DataFrame([{"plate": plate, "well": wells[place], **row} for place, row in zip(order, rows, strict=True)])


def well_image(row: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """Bright where cells live, with noise; 40x40, 8 bits."""
    dead = {"negative": 0.0, "positive": 1.0}.get(row["role"])
    level = 200 - 120 * (dead if dead is not None else row["dose"] / (row["dose"] + 3e3))
    return np.clip(rng.normal(level, 6, (40, 40)), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class TinyPlate:
    """Files of a plate: archive, layout table, and each image as bytes under its member name."""

    archive: Path
    layout: Path
    table: pd.DataFrame
    images: dict[str, bytes]

    def csv(self, table: pd.DataFrame) -> bytes:
        """Another layout as CSV."""
        buffer = io.StringIO()
        table.to_csv(buffer, index=False)
        return buffer.getvalue().encode()


def tiny_plate(folder: Path, plate: str = "P1") -> TinyPlate:
    """Write a plate into `folder`."""
    table, rng = tiny_layout(plate), np.random.default_rng(1)
    images = {f"{row['well']}_s1_c0_z0.tif": well_image(row, rng) for _, row in table.sort_values("well").iterrows()}
    write_plate(folder / f"{plate}.zip", images.items())
    write_layout(table, folder / "layout.csv")
    return TinyPlate(folder / f"{plate}.zip", folder / "layout.csv", table, {name: encode_tiff(item) for name, item in images.items()})


@functools.cache
def _empty_database() -> bytes:
    """MLflow takes seconds to make its tables: once per test run."""
    with tempfile.TemporaryDirectory() as folder:
        Registry(f"sqlite:///{folder}/mlflow.db", Path(folder)).aliases()
        return (Path(folder) / "mlflow.db").read_bytes()


def tiny_registry(folder: Path) -> Registry:
    """An empty registry: folder/mlflow.db, folder/mlartifacts, folder/cache."""
    (folder / "mlflow.db").write_bytes(_empty_database())
    return Registry(f"sqlite:///{folder}/mlflow.db", folder / "cache")


def two_versions(registry: Registry, folder: Path) -> Registry:
    """The registry with versions 1 and 2, which passed their gates; 1 is champion, 2 challenger. folder: of their bundles."""
    for number in (1, 2):
        registry.register(tiny_bundle(folder / "models" / f"m{number}", seed=number), find_trunk=trunk_finder([folder / "models"]))
    registry.set_alias(registry.resolve(f"{MODEL}/1"), CHAMPION)
    return registry


class Server:
    """`python -m serving.cli serve` in a process of its own, on a free port: ready within its block, and stopped behind it."""

    def __init__(self, state: Path, tracking_uri: str, **settings: str) -> None:
        self.port, self.state = free_port(), state
        self.url, self.log = f"http://127.0.0.1:{self.port}", state / "server.log"
        state.mkdir(parents=True, exist_ok=True)
        self._environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking_uri, "DOSEWELL_STATE": str(state), "PYTHONPATH": str(ROOT),
                       "DOSEWELL_POLL_SECONDS": "0.2", "DOSEWELL_RETRY_SECONDS": "1", "DOSEWELL_GRACE_SECONDS": "1", **settings}
        self.process = self._start()

    @property
    def database(self) -> str:
        """Where its table of jobs is."""
        return self._environment.get("DOSEWELL_DATABASE_URL") or f"sqlite:///{self.state / 'jobs.db'}"

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "serving.cli", "serve", "--port", str(self.port)], cwd=self.state,
                                    env=self._environment, stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self) -> Server:
        try:
            self.wait()
        except BaseException:   # of a person, too, who does not wait
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_again(self) -> None:
        """After it was killed: on the same port, over the same folder, until it is ready."""
        self.process.wait(timeout=PATIENCE)
        self.process = self._start()
        self.wait()

    def wait(self) -> None:
        """Until /readyz answers 200."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False, timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(f"the server did not become ready:\n{self.log.read_text()}")

    def stop(self) -> None:
        """SIGTERM, which ends workers too."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def stored(registry: Registry, version: RegisteredVersion) -> Path:
    """The bundle of a version where the registry keeps it."""
    uri = MlflowClient(registry.tracking_uri).get_model_version_download_uri(version.name, str(version.version))
    return next((Path(uri.removeprefix("file://")) / "data").iterdir())


class Away:
    """A registry whose connection can be cut."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.cut = registry, False

    def __getattr__(self, name: str) -> object:
        if self.cut:
            raise RegistryError("the registry cannot be reached: cut")
        return getattr(self.registry, name)


def wait(http: httpx.Client, job: str) -> dict:
    until(lambda: http.get(f"/jobs/{job}").json()["state"] in ("done", "failed", "refused"))
    return http.get(f"/jobs/{job}").json()


def new_job(number: int = 0, *, owner: str = "anna") -> NewJob:
    return NewJob(fingerprint=f"{number:064d}", owner=owner, model="m", version=1, adapt=False, screen=f"s{number}", sample="S", plates=1,
                  wells=96)
