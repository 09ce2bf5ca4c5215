"""What the registry says about models, as frozen data, and what it notes about them. No MLflow in here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from models.errors import BundleError, RefusedError, RegistryError
from models.networks.bundle import Card, TrunkReference, bundle_sha256, read_card
from models.plates.images import WellImages

if TYPE_CHECKING:
    from models.networks.predict import Predictor

CHAMPION, CHALLENGER = "champion", "challenger"     # aliases: of the version that serves, of the newest whose gates passed
TRUNK_PREFIX = "trunk-"
_REFERENCE = re.compile(r"(?P<name>[^@/:\s]{1,256})(?:@(?P<alias>[\w.-]{1,256})|/(?P<version>\d{1,9}))?")
T = TypeVar("T")


class UnknownModelError(RegistryError):
    """The registry answers, but has no such model, version or alias."""


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """One version of a registered model. tags: what `register` noted (git_commit, data_md5, gates, ...)."""

    name: str
    version: int
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def bundle_sha256(self) -> str:
        """Hash that the fetched bundle must have; "" when the version was not registered by Dosewell."""
        return self.tags.get("bundle_sha256", "")

    @property
    def gates_passed(self) -> bool:
        """Whether the model kept all bounds of its recipe."""
        return self.tags.get("gates") == "pass"

    def require_gates(self) -> None:
        """Raises RefusedError unless the model kept them."""
        if not self.gates_passed:
            raise RefusedError(f"{self} is refused: gates {self.tags.get('gates', 'were never judged')}")

    def require_bundle(self, sha256: str) -> None:
        """Raises RefusedError unless it is of this bundle."""
        if self.bundle_sha256 != sha256:
            raise RefusedError(f"{self} is another model than it was (bundle {self.bundle_sha256[:12]}, before {sha256[:12]}): the "
                               "registry was made anew; send the plates again")

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A registered model: its aliases (alias -> version) and versions, newest first."""

    name: str
    aliases: Mapping[str, int]
    versions: tuple[RegisteredVersion, ...]


DVC_EXPERIMENT = "dvc_experiment"      # tag: the name of the experiment (`dvc exp run`) that made a version


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What the MLflow run of a model shows: metrics, CSVs of metrics per epoch (first part of their name -> file; files that are not
    there are left out), figures, and tags for run and version.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: Mapping[str, Path] = field(default_factory=dict)
    figures: Path | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def parse_reference(reference: str) -> tuple[str, str, str]:
    """(name, alias, version number) of "name", "name@alias" or "name/3", "" for what it does not state. Raises UnknownModelError."""
    match = _REFERENCE.fullmatch(reference)
    if match is None or is_trunk(match["name"]):
        raise UnknownModelError(f"'{reference[:100]}' names no model; expected name, name@alias or name/version")
    return match["name"], match["alias"] or "", match["version"] or ""


def is_trunk(name: str) -> bool:
    """Whether a registered model is a stored trunk, trunk-<sha12>, rather than a model that answers."""
    return re.fullmatch(TRUNK_PREFIX + "[0-9a-f]{12}", name) is not None


def trunk_name(reference: TrunkReference) -> str:
    """Registered name of a frozen trunk."""
    return TRUNK_PREFIX + reference.sha256[:12]


def version_tags(card: Card, sha256: str, record: RunRecord) -> dict[str, str]:
    """Tags of a version: where it comes from, what it is for, and whether it kept its gates."""
    lineage = {key: str(value) for key, value in card.lineage.items() if value not in (None, "")}
    parent = {"parent": f"{card.parent.name} {card.parent.sha256}"} if card.parent else {}
    gates = "pass" if card.gates_passed else "fail: " + "; ".join(card.gate_failures())
    return {**lineage, **parent, "sample": card.sample, "system": card.system, "gates": gates[:2000],
            "bundle_sha256": sha256, **record.tags}


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists of mappings as one level: {"a": {"b": 1}} -> {"a.b": 1}."""
    if isinstance(values, Mapping):
        items = [(str(key), value) for key, value in values.items()]
    elif isinstance(values, list) and any(isinstance(item, Mapping) for item in values):
        items = [(str(index), value) for index, value in enumerate(values)]
    else:
        return {prefix: values}
    return {name: leaf for key, value in items for name, leaf in flatten(value, f"{prefix}.{key}" if prefix else key).items()}


def finite_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the (nested) values; no truth values, no NaN."""
    return {name: float(value) for name, value in flatten(values).items()
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)}


def read_epochs(path: Path) -> list[tuple[int, dict[str, float]]]:
    """(epoch, metrics) of each row of a CSV: its column `epoch`, else the row's number, and the finite numbers of the others."""
    table = pd.read_csv(path).apply(pd.to_numeric, errors="coerce")
    numbers = [{str(name): float(value) for name, value in row.items() if math.isfinite(value)} for row in table.to_dict("records")]
    return [(int(row.pop("epoch", index)), row) for index, row in enumerate(numbers)]


def refusing(version: RegisteredVersion, read: Callable[[], T]) -> T:
    """The result of `read`; a bundle that cannot be used becomes a refusal of the version."""
    try:
        return read()
    except (BundleError, UnknownModelError) as error:
        raise RefusedError(f"{version} is refused: {error}") from error


def card_if_sound(bundle: Path, sha256: str) -> Card | None:
    """The card of a bundle that is whole and has this hash, else None."""
    try:
        return read_card(bundle) if bundle_sha256(bundle) == sha256 else None
    except (BundleError, OSError):
        return None


def output_names(card: Card) -> list[str]:
    """Columns of an answer: od of a regressing head, else logit and probability."""
    return ["od"] if card.recipe.is_regression else ["logit", "probability"]


class ImagePredictor:
    """What MLflow calls: pixels float32 (N, C, H, W) on 0-1 to one row per image. MLflow knows no float16, which `prepare_plate` makes and
    compiled trunks take.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, pixels: np.ndarray, params: Mapping[str, object] | None = None) -> pd.DataFrame:
        """Columns od, or logit and probability (of the living class)."""
        card = self.predictor.card
        wells = pd.DataFrame({"plate": "", "well": "", "site": range(len(pixels))})
        predicted = self.predictor.predict(WellImages(wells, np.asarray(pixels, np.float16), card.recipe.input.planes))
        return predicted[output_names(card)]
