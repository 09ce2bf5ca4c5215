"""The registered models and their versions: found, checked, fetched, loaded, and registered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import mlflow.pyfunc
from mlflow.entities.model_registry import ModelVersion
from mlflow.entities.model_registry import RegisteredModel as MlflowModel

from models.bundle_cache import BundleCache
from models.networks.bundle import TRUNK, Card, FindTrunk, TrunkReference, bundle_sha256, read_card
from models.registered import (
    CHALLENGER,
    CHAMPION,
    DVC_EXPERIMENT,
    RegisteredModel,
    RegisteredVersion,
    RunRecord,
    UnknownModelError,
    is_trunk,
    parse_reference,
    refusing,
    version_tags,
)
from models.registry.connection import all_pages, open_client, reaching
from models.registry.recording import Recorder
from models.tracking import absolute_uri

if TYPE_CHECKING:
    from models.networks.predict import Predictor

_NAMED = 30           # models or versions that a message lists


class Registry:
    """The registered models at a tracking URI (SQLite file, database or MLflow server), with a local cache of bundles.

    artifacts: folder for the artifacts of an SQLite registry (default: `mlartifacts` beside the file); a server or
    another database keeps its own.
    """

    def __init__(self, tracking_uri: str, cache: Path, *, artifacts: Path | None = None) -> None:
        self.tracking_uri = absolute_uri(tracking_uri)
        self._cache = BundleCache(cache.absolute(), download=self._download)
        self._client = open_client(self.tracking_uri)
        self._recorder = Recorder(self._client, self.tracking_uri, artifacts=artifacts)

    # -- reading ------------------------------------------------------------------------------------------------------

    def aliases(self) -> dict[str, dict[str, int]]:
        """model -> {alias: version}, of every registered model that is no trunk. MLflow reads the latest version of each with all its tags
        for that, a millisecond of processor time a model: ask for one by `aliases_of`.
        """
        with reaching(self.tracking_uri):
            models = all_pages(lambda token: self._client.search_registered_models(max_results=500, page_token=token))
        return {model.name: _aliases(model) for model in sorted(models, key=lambda model: model.name) if not is_trunk(model.name)}

    def aliases_of(self, name: str) -> dict[str, int]:
        """alias -> version of one model. Raises UnknownModelError, RegistryError."""
        with reaching(self.tracking_uri):
            return _aliases(self._client.get_registered_model(name))

    def list_models(self) -> tuple[RegisteredModel, ...]:
        """Every registered model that is no trunk, by name, with all its versions."""
        versions: dict[str, list[RegisteredVersion]] = {}
        aliases = self.aliases()
        with reaching(self.tracking_uri):
            entries = all_pages(lambda token: self._client.search_model_versions(max_results=1000, page_token=token))
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
            with reaching(self.tracking_uri):
                return _version(self._client.get_model_version(name, number), aliases)
        except UnknownModelError:
            with reaching(self.tracking_uri):
                found = all_pages(lambda token: self._client.search_model_versions(f"name = '{name}'", page_token=token))
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
        with reaching(self.tracking_uri):
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
        with reaching(self.tracking_uri):
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
            self._recorder.trunk(card, bundle, find_trunk)
            known = _version(self._recorder.version(bundle, card=card, record=record, tags=version_tags(card, sha256, record)), {})
        if card.gates_passed and DVC_EXPERIMENT not in record.tags and CHALLENGER not in known.aliases:
            self.set_alias(known, CHALLENGER)
        return self.resolve(f"{known.name}/{known.version}")

    def set_alias(self, version: RegisteredVersion, alias: str) -> None:
        """Move an alias to a version."""
        with reaching(self.tracking_uri):
            self._client.set_registered_model_alias(version.name, alias, str(version.version))

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
