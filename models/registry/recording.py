"""What a new version leaves in MLflow: a run with its recipe and metrics, a registered name, and notes that a person reads."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path

import mlflow
import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, Schema, TensorSpec

from models.errors import BundleError
from models.networks.bundle import TRUNK, Card, FindTrunk, file_sha256
from models.records import to_record
from models.registered import CHAMPION, RunRecord, finite_numbers, flatten, output_names, read_epochs, trunk_name
from models.registry.connection import reaching
from models.version_notes import Noted, describe_model, describe_trunk, describe_version

EXPERIMENT = "dosewell"
_PACKAGES = ("numpy", "pandas", "pillow", "safetensors", "scipy", "tifffile", "torch")
_DISPLAY_LIMIT = 500  # characters of a parameter that the run shows; the card holds it whole


class Recorder:
    """Writes runs and versions through a client. artifacts: folder for those of an SQLite registry (see `Registry`)."""

    def __init__(self, client: MlflowClient, tracking_uri: str, *, artifacts: Path | None) -> None:
        self._client, self._uri, self._artifacts = client, tracking_uri, artifacts

    def version(self, bundle: Path, *, card: Card, record: RunRecord, tags: dict[str, str]) -> ModelVersion:
        """A run and the version that it made. Raises UnknownModelError, RegistryError."""
        with reaching(self._uri), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow asks for an input example; the signature is given instead
            recipe = {key: str(value)[:_DISPLAY_LIMIT] for key, value in flatten(to_record(card.recipe)).items()}
            run, source = self._run(bundle, card=card, record=record, recipe=recipe, tags=tags)
            self._require_name(card.name, tags={"sample": card.sample, "system": card.system}, description=describe_model(card))
            text = describe_version(card.gates, Noted(metrics=card.metrics, recipe=recipe, tags=tags), self._noted_champion(card.name))
            entry = self._client.create_model_version(card.name, source=source.model_uri, run_id=run, tags=tags,
                                                      model_id=source.model_id, description=text)
            self._client.set_tag(run, "mlflow.note.content", text)
            self._client.update_run(run, name=f"{card.name} v{entry.version}")     # so that charts of two trainings tell them apart
            return entry

    def _run(self, bundle: Path, *, card: Card, record: RunRecord, recipe: dict[str, str], tags: dict[str, str]) -> tuple[str, ModelInfo]:
        """The run's id, and the bundle as the run's model."""
        mlflow.set_tracking_uri(self._uri)
        mlflow.set_registry_uri(self._uri)
        with mlflow.start_run(experiment_id=self._experiment(), run_name=card.name, tags=tags) as run:
            mlflow.log_params(recipe)
            self._client.log_inputs(run.info.run_id, datasets=_datasets(card))
            info = mlflow.pyfunc.log_model(
                name=card.name, loader_module=__package__, data_path=str(bundle), signature=_signature(card),
                pip_requirements=[f"{name}=={installed_version(name)}" for name in _PACKAGES], tags=tags)
            mlflow.log_metrics(finite_numbers(record.metrics), model_id=info.model_id)
            self._log_epochs(run.info.run_id, record.epochs)
            if record.figures is not None and record.figures.is_dir():
                mlflow.log_artifacts(str(record.figures), "figures")
            return run.info.run_id, info

    def _noted_champion(self, name: str) -> Noted | None:
        """What the champion and its run say; None without a champion. Of a run that was deleted for good nothing but the tags is left."""
        number = self._client.get_registered_model(name).aliases.get(CHAMPION)
        if number is None:
            return None
        entry = self._client.get_model_version(name, str(number))
        try:
            noted = self._client.get_run(entry.run_id).data if entry.run_id else None
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            noted = None
        return Noted(version=int(number), tags=entry.tags, metrics=noted.metrics if noted else {}, recipe=noted.params if noted else {})

    def _log_epochs(self, run_id: str, epochs: Mapping[str, Path]) -> None:
        now = int(time.time() * 1000)
        points = [Metric(f"{first}/{name}", value, now, epoch) for first, path in epochs.items() if path.is_file()
                  for epoch, values in read_epochs(path) for name, value in values.items()]
        for start in range(0, len(points), 500):
            self._client.log_batch(run_id, metrics=points[start:start + 500])

    def trunk(self, card: Card, bundle: Path, find_trunk: FindTrunk) -> None:
        """Store the frozen trunk of a bundle once. Raises BundleError for another file, UnknownModelError, RegistryError."""
        if (bundle / TRUNK).is_file():
            return  # this model trained its trunk; the bundle holds it
        name, sha256 = trunk_name(card.trunk), card.trunk.sha256
        with reaching(self._uri):
            if self._client.search_model_versions(f"name = '{name}'"):
                return
        source = find_trunk(card.trunk)
        if file_sha256(source) != sha256:
            raise BundleError(f"{source} is not the trunk of {card.name}: sha256 {file_sha256(source)}, expected {sha256}")
        with reaching(self._uri):
            run = self._client.create_run(self._experiment(), run_name=name, tags={"sha256": sha256})
            self._client.log_artifact(run.info.run_id, str(source), "trunk")
            self._client.set_terminated(run.info.run_id)
            self._require_name(name, tags={"kind": "trunk"}, description=describe_trunk(card))
            self._client.create_model_version(name, source=f"runs:/{run.info.run_id}/trunk", run_id=run.info.run_id,
                                              tags={"sha256": sha256, "trunk": card.trunk.name, "weights": card.trunk.weights})

    def _require_name(self, name: str, *, tags: dict[str, str], description: str) -> None:
        """Register a name that is not there yet: another process may do the same now, or was killed before it gave the name a version."""
        try:
            self._client.create_registered_model(name, tags=tags, description=description)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(EXPERIMENT)
        if known is not None:
            return str(known.experiment_id)
        kind = {"mlflow.experimentKind": "custom_model_development"}  # so that the UI opens at the training runs
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=self._artifact_location(), tags=kind))

    def _artifact_location(self) -> str | None:
        if not self._uri.startswith("sqlite:///"):
            return None
        folder = self._artifacts or Path(self._uri.removeprefix("sqlite:///")).parent / "mlartifacts"
        return folder.absolute().as_uri()


def _datasets(card: Card) -> list[DatasetInput]:
    """What the model learned from, as the UI lists and filters it; MLflow's digest has room for 36 characters."""
    screen, md5 = card.lineage.get("screen"), card.lineage.get("data_md5", "")
    if not screen:
        return []
    return [DatasetInput(Dataset(screen, md5.removesuffix(".dir")[:36], "dvc", f"data/{screen}"),
                         [InputTag("mlflow.data.context", "training")])]


def _signature(card: Card) -> ModelSignature:
    planes, size = len(card.recipe.input.planes), card.recipe.input.size
    return ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, planes, size, size))]),
                          outputs=Schema([ColSpec("double", name) for name in output_names(card)]))
