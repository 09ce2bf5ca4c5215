"""The model registry: bundles as MLflow registered model versions, found by name and alias, fetched and verified by hash.

An MLflow entry holds a bundle (card.json and safetensors, no pickle, no code). It loads as a pyfunc through this module
(`loader_module`), so `mlflow.pyfunc.load_model("models:/viability-A549@champion")` works wherever Dosewell is installed.
A frozen trunk is registered once as `trunk-<sha12>` and shared by all models that stand on it.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")   # MLflow reads it when imported
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")     # else the working folder's uv.lock goes into every entry
os.environ.setdefault("MLFLOW_LOG_UV_FILES", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")   # else it takes four minutes to say that a server is away
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("PGCONNECT_TIMEOUT", "10")                # of a database whose machine is away: else as long as TCP tries

import mlflow
import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.entities.model_registry import RegisteredModel as MlflowModel
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.store.entities import PagedList
from mlflow.types import ColSpec, Schema, TensorSpec
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from models.bundle_cache import BundleCache
from models.errors import BundleError, RegistryError
from models.networks.bundle import TRUNK, Card, FindTrunk, TrunkReference, bundle_sha256, file_sha256, read_card
from models.records import to_record
from models.registered import (
    DVC_EXPERIMENT,
    ImagePredictor,
    RegisteredModel,
    RegisteredVersion,
    RunRecord,
    UnknownModelError,
    finite_numbers,
    flatten,
    is_trunk,
    output_names,
    parse_reference,
    read_epochs,
    refusing,
    trunk_name,
    version_tags,
)
from models.tracking import absolute_uri, without_password
from models.version_notes import Noted, describe_model, describe_trunk, describe_version

if TYPE_CHECKING:
    from models.networks.predict import Predictor

EXPERIMENT = "dosewell"
CHAMPION, CHALLENGER = "champion", "challenger"
_PACKAGES = ("numpy", "pandas", "pillow", "safetensors", "scipy", "tifffile", "torch")
_NAMED = 30           # models or versions that a message lists
_DISPLAY_LIMIT = 500  # characters of a parameter that the run shows; the card holds it whole

logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # warns that a uv environment has no pip
logging.getLogger("mlflow.store.model_registry.abstract_store").setLevel(logging.WARNING)   # tells of each version that a server makes


@contextmanager
def _reaching(uri: str) -> Iterator[None]:
    """MLflow's exceptions as ours: no such thing, or not reachable."""
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:     # the latter of a database that is away when it is first asked
        text = without_password(f"the registry at {uri} cannot be used: {str(error).splitlines()[0][:400]}")
        if isinstance(error, MlflowException) and error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise UnknownModelError(text.replace("cannot be used", "says", 1)) from error
        raise RegistryError(text) from error
    except OSError as error:
        raise RegistryError(without_password(f"the registry at {uri} cannot be reached: {error}")) from error
    except ImportError as error:    # of a driver or of a store's client
        raise RegistryError(without_password(f"the registry at {uri} cannot be used without the package {error.name}, which is not "
                                             "installed (PostgreSQL: extra postgres; S3: extra s3)")) from error


class Registry:
    """The registered models at a tracking URI (SQLite file, database or MLflow server), with a local cache of bundles.

    artifacts: folder for the artifacts of an SQLite registry (default: `mlartifacts` beside the file); a server or
    another database keeps its own.
    """

    def __init__(self, tracking_uri: str, cache: Path, *, artifacts: Path | None = None) -> None:
        self.tracking_uri, self._artifacts = absolute_uri(tracking_uri), artifacts
        self._cache = BundleCache(cache.absolute(), download=self._download)
        with _reaching(self.tracking_uri), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SQLAlchemy deprecations inside MLflow's own models
            if not self.tracking_uri.startswith("http"):
                create_engine(self.tracking_uri, poolclass=NullPool).connect().close()   # one that is away MLflow tries for two minutes
            self._client = MlflowClient(self.tracking_uri, registry_uri=self.tracking_uri)

    # -- reading ------------------------------------------------------------------------------------------------------

    def aliases(self) -> dict[str, dict[str, int]]:
        """model -> {alias: version}, of every registered model that is no trunk. MLflow reads the latest version of each with all its tags
        for that, a millisecond of processor time a model: ask for one by `aliases_of`.
        """
        with _reaching(self.tracking_uri):
            models = _all_pages(lambda token: self._client.search_registered_models(max_results=500, page_token=token))
        return {model.name: _aliases(model) for model in sorted(models, key=lambda model: model.name) if not is_trunk(model.name)}

    def aliases_of(self, name: str) -> dict[str, int]:
        """alias -> version of one model. Raises UnknownModelError, RegistryError."""
        with _reaching(self.tracking_uri):
            return _aliases(self._client.get_registered_model(name))

    def list_models(self) -> tuple[RegisteredModel, ...]:
        """Every registered model that is no trunk, by name, with all its versions."""
        versions: dict[str, list[RegisteredVersion]] = {}
        aliases = self.aliases()
        with _reaching(self.tracking_uri):
            entries = _all_pages(lambda token: self._client.search_model_versions(max_results=1000, page_token=token))
        for entry in sorted(entries, key=lambda entry: -int(entry.version)):
            versions.setdefault(entry.name, []).append(_version(entry, aliases.get(entry.name, {})))
        return tuple(RegisteredModel(name=name, aliases=named, versions=tuple(versions.get(name, ())))
                     for name, named in aliases.items())

    def resolve(self, reference: str) -> RegisteredVersion:
        """The version that "name" (its champion), "name@alias" or "name/3" means.

        Raises UnknownModelError for a malformed reference and for an unknown name, alias or version; RegistryError when
        the registry cannot be reached.
        """
        name, alias, number = parse_reference(reference)
        try:
            known = self.aliases_of(name)
        except UnknownModelError:
            raise UnknownModelError(f"no model '{name}' is registered; {_offered(self.aliases(), name)}") from None
        if not number and (alias or CHAMPION) not in known:
            raise UnknownModelError(f"model '{name}' has no alias '{alias or CHAMPION}' (aliases: {', '.join(known) or 'none'}); "
                                    f"set it in the MLflow UI, or name a version as {name}/1")
        return self._version(name, number or str(known[alias or CHAMPION]), known)

    def version(self, name: str, number: int) -> RegisteredVersion:
        """A version by its number, in one request, without its aliases. Raises UnknownModelError, RegistryError."""
        return self._version(name, str(number), {})

    def _version(self, name: str, number: str, aliases: Mapping[str, int]) -> RegisteredVersion:
        try:
            with _reaching(self.tracking_uri):
                return _version(self._client.get_model_version(name, number), aliases)
        except UnknownModelError:
            with _reaching(self.tracking_uri):
                found = _all_pages(lambda token: self._client.search_model_versions(f"name = '{name}'", page_token=token))
            numbers = sorted((int(entry.version) for entry in found), reverse=True)
            raise UnknownModelError(f"model '{name}' has no version {number}; versions: "
                                    f"{', '.join(map(str, numbers[:_NAMED])) or 'none'}") from None

    def check(self, version: RegisteredVersion) -> Card:
        """The card of a version whose bundle, gates and trunk are as they should be; brings them into the cache, loads nothing.

        Raises RefusedError, RegistryError.
        """
        folder, card = self._cache.bundle(version, check_gates=True)
        if not (folder / TRUNK).is_file():
            refusing(version, lambda: self.find_trunk(card.trunk))
        return card

    def fetch(self, version: RegisteredVersion, *, check_gates: bool = True) -> Path:
        """The verified bundle folder of a version, from the cache or downloaded.

        Raises RefusedError for failed gates, a hash other than the registered one, and foreign or missing content.
        """
        return self._cache.bundle(version, check_gates=check_gates)[0]

    def find_trunk(self, reference: TrunkReference) -> Path:
        """The weights file of a frozen trunk, by hash, from the cache or downloaded. Raises RefusedError, RegistryError."""
        return self._cache.trunk(reference)

    def _download(self, name: str, version: str, folder: Path) -> Path:
        """Put the content of a version's artifact into the folder; where it is there."""
        with _reaching(self.tracking_uri):
            uri = self._client.get_model_version_download_uri(name, version)
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=self.tracking_uri))

    def load(self, version: RegisteredVersion, *, check_gates: bool = True, device: str = "auto") -> Predictor:
        """The predictor of a version, verified. Raises RefusedError, RegistryError."""
        from models.networks.predict import load_predictor  # torch takes seconds that registering need not pay

        folder = self.fetch(version, check_gates=check_gates)
        return refusing(version, lambda: load_predictor(folder, find_trunk=self.find_trunk, device=device))

    # -- writing ------------------------------------------------------------------------------------------------------

    def find(self, name: str, sha256: str) -> RegisteredVersion | None:
        """The version of a model with this bundle hash, if it is registered."""
        with _reaching(self.tracking_uri):
            found = self._client.search_model_versions(f"name = '{name}' and tags.bundle_sha256 = '{sha256}'")
        return _version(found[0], self.aliases_of(name)) if found else None

    def register(self, bundle: Path, *, find_trunk: FindTrunk, record: RunRecord | None = None) -> RegisteredVersion:
        """Register a bundle under its card's name; the same bundle again gives the version that is there.

        One MLflow run per version: recipe as params, metrics, metrics per epoch, figures. The alias `challenger` moves to
        the version, new or known, when its gates passed, unless an experiment made it: who only tries something changes nothing that others
        use. Raises BundleError, RegistryError.
        """
        card, sha256, record = read_card(bundle), bundle_sha256(bundle), record or RunRecord()
        known = self.find(card.name, sha256)
        if known is None:
            self._register_trunk(card, bundle, find_trunk)
            with _reaching(self.tracking_uri), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow asks for an input example; the signature is given instead
                known = self._log_version(bundle, card=card, record=record, tags=version_tags(card, sha256, record))
        if card.gates_passed and DVC_EXPERIMENT not in record.tags and CHALLENGER not in known.aliases:
            self.set_alias(known, CHALLENGER)
        return self.resolve(f"{known.name}/{known.version}")

    def set_alias(self, version: RegisteredVersion, alias: str) -> None:
        """Move an alias to a version."""
        with _reaching(self.tracking_uri):
            self._client.set_registered_model_alias(version.name, alias, str(version.version))

    def _log_version(self, bundle: Path, *, card: Card, record: RunRecord, tags: dict[str, str]) -> RegisteredVersion:
        mlflow.set_tracking_uri(self.tracking_uri)
        mlflow.set_registry_uri(self.tracking_uri)
        recipe = {key: str(value)[:_DISPLAY_LIMIT] for key, value in flatten(to_record(card.recipe)).items()}
        with mlflow.start_run(experiment_id=self._experiment(), run_name=card.name, tags=tags) as run:
            mlflow.log_params(recipe)
            self._client.log_inputs(run.info.run_id, datasets=_datasets(card))
            info = mlflow.pyfunc.log_model(
                name=card.name, loader_module=__name__, data_path=str(bundle), signature=_signature(card),
                pip_requirements=[f"{name}=={installed_version(name)}" for name in _PACKAGES], tags=tags)
            mlflow.log_metrics(finite_numbers(record.metrics), model_id=info.model_id)
            self._log_epochs(run.info.run_id, record.epochs)
            if record.figures is not None and record.figures.is_dir():
                mlflow.log_artifacts(str(record.figures), "figures")
        self._require_name(card.name, tags={"sample": card.sample, "system": card.system}, description=describe_model(card))
        text = describe_version(card.gates, Noted(metrics=card.metrics, recipe=recipe, tags=tags), self._noted_champion(card.name))
        entry = self._client.create_model_version(card.name, source=info.model_uri, run_id=run.info.run_id, tags=tags,
                                                  model_id=info.model_id, description=text)
        self._client.set_tag(run.info.run_id, "mlflow.note.content", text)
        self._client.update_run(run.info.run_id, name=f"{card.name} v{entry.version}")     # so that charts of two trainings tell them apart
        return _version(entry, {})

    def _noted_champion(self, name: str) -> Noted | None:
        """What the champion and its run say; None without a champion. Of a run that was deleted for good nothing but the tags is left."""
        number = self.aliases_of(name).get(CHAMPION)
        if number is None:
            return None
        entry = self._client.get_model_version(name, str(number))
        try:
            noted = self._client.get_run(entry.run_id).data if entry.run_id else None
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            noted = None
        return Noted(version=number, tags=entry.tags, metrics=noted.metrics if noted else {}, recipe=noted.params if noted else {})

    def _log_epochs(self, run_id: str, epochs: Mapping[str, Path]) -> None:
        now = int(time.time() * 1000)
        points = [Metric(f"{first}/{name}", value, now, epoch) for first, path in epochs.items() if path.is_file()
                  for epoch, values in read_epochs(path) for name, value in values.items()]
        for start in range(0, len(points), 500):
            self._client.log_batch(run_id, metrics=points[start:start + 500])

    def _register_trunk(self, card: Card, bundle: Path, find_trunk: FindTrunk) -> None:
        if (bundle / TRUNK).is_file():
            return  # this model trained its trunk; the bundle holds it
        name, sha256 = trunk_name(card.trunk), card.trunk.sha256
        with _reaching(self.tracking_uri):
            if self._client.search_model_versions(f"name = '{name}'"):
                return
        source = find_trunk(card.trunk)
        if file_sha256(source) != sha256:
            raise BundleError(f"{source} is not the trunk of {card.name}: sha256 {file_sha256(source)}, expected {sha256}")
        with _reaching(self.tracking_uri):
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
        if not self.tracking_uri.startswith("sqlite:///"):
            return None
        folder = self._artifacts or Path(self.tracking_uri.removeprefix("sqlite:///")).parent / "mlartifacts"
        return folder.absolute().as_uri()


def _all_pages(page: Callable[[str | None], PagedList]) -> list[Any]:
    """Everything that a search finds; MLflow gives it page by page."""
    items = page(None)
    found = list(items)
    while items.token:
        items = page(items.token)
        found += items
    return found


def _aliases(model: MlflowModel) -> dict[str, int]:
    return {alias: int(number) for alias, number in model.aliases.items()}


def _offered(names: Collection[str], wanted: str) -> str:
    """What is there, to somebody who asked for what is not: all names, or of hundreds those that are spelt most alike."""
    if len(names) <= _NAMED:
        return f"registered: {', '.join(names) or 'none'}"
    alike = get_close_matches(wanted, names, n=5)
    return f"{len(names)} are registered{', the most alike: ' if alike else ''}{', '.join(alike)}"


def _version(entry: ModelVersion, aliases: Mapping[str, int]) -> RegisteredVersion:
    """MLflow's version as ours; it leaves aliases empty in search results, so they come from the model."""
    number = int(entry.version)
    return RegisteredVersion(name=entry.name, version=number, run_id=entry.run_id or "", tags=dict(entry.tags),
                             aliases=tuple(alias for alias, target in aliases.items() if target == number))


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


def _load_pyfunc(path: str) -> ImagePredictor:
    """MLflow's loader hook. A frozen trunk comes from the registry that `mlflow.set_tracking_uri` names."""
    from models.networks.predict import load_predictor

    with tempfile.TemporaryDirectory(prefix="dosewell-") as cache:
        registry = Registry(mlflow.get_tracking_uri(), Path(cache))
        return ImagePredictor(load_predictor(Path(path), find_trunk=registry.find_trunk))
