"""A model on disk: all that serving needs, nothing that can execute.

    <bundle>/card.json             recipe, output meaning, acquisition, metrics, gates, lineage, hashes
    <bundle>/weights.safetensors   the head
    <bundle>/trunk.safetensors     only where this model trained its trunk; a frozen trunk is referenced by its sha256 and
                                   stored once, with the model that trained it or as published weights

The same inputs give the same bytes: no clock, no run id, no path, no git commit stands in a bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.errors import BundleError, ParamsError
from models.networks.calibration import Calibration
from models.networks.drift import Reference
from models.networks.looks import Looks
from models.networks.precision import Bf16Effect
from models.networks.recipe import Recipe
from models.networks.uncertainty import Uncertainty
from models.plates.quality import QualityLimits
from models.records import from_record, to_record

FORMAT_VERSION = 1
CARD, HEAD, TRUNK = "card.json", "weights.safetensors", "trunk.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrunkReference:
    """Which trunk a head belongs to. weights: the published name, or the model that trained it; sha256 of trunk.safetensors."""

    name: str
    weights: str
    sha256: str


FindTrunk = Callable[[TrunkReference], Path]
"""Where the weights file of a frozen trunk lies; raises BundleError or RefusedError where it cannot be had."""


@dataclass(frozen=True, kw_only=True)
class Parent:
    """What a model was fine-tuned from: its name and the sha256 of its bundle."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate: the metric's value against its bounds, and why it passed or not."""

    metric: str
    value: float | None
    minimum: float | None
    maximum: float | None
    passed: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """card.json. sample: the cell line or patient sample it was trained for; acquisition: screen fields that images must share;
    training_wells: [plate, well, part] of every labelled well; thresholds: out-of-distribution limits of the raw output; validation:
    the limits of the data checks (validation/thresholds.py) that its own screens had to keep, and that served plates are judged by;
    calibration: of a classifier's probabilities, None where no temperature improves them;
    uncertainty: interval of a well, None where the model gives none; image_quality: the limits that its own wells' images had to keep,
    and that the images it scores are judged by; classes: of a model of labelled images, the first being what `probability` is of;
    bf16: what bfloat16 does to its answers, None where that was not measured, which means float32; reference: its training's controls,
    by which drift is told, None where there were too few; looks, training_images: of a model of labelled images, how those look, and
    the fingerprints of those that it learned from (looks.py).
    """

    name: str
    system: str
    recipe: Recipe
    output: str
    sample: str
    kind: str = "cell_line"
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    trunk: TrunkReference
    weights_sha256: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    gates: tuple[GateResult, ...] = ()
    parent: Parent | None = None
    training_wells: tuple[tuple[str, str, str], ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, int | float] = field(default_factory=dict)
    uncertainty: Uncertainty | None = None
    calibration: Calibration | None = None
    image_quality: QualityLimits = field(default_factory=QualityLimits)
    classes: tuple[str, ...] = ()
    bf16: Bf16Effect | None = None
    reference: Reference | None = None
    looks: Looks | None = None
    training_images: tuple[str, ...] = ()
    lineage: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def gates_passed(self) -> bool:
        """Whether every gate passed; False where none was judged, because an unjudged model must not serve."""
        return bool(self.gates) and all(gate.passed for gate in self.gates)

    def gate_failures(self) -> list[str]:
        """Reasons of the gates that failed."""
        return [gate.reason for gate in self.gates if not gate.passed] if self.gates else ["no gate was judged"]


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def bundle_sha256(folder: Path) -> str:
    """The bundle's identity: the hash of its card, which holds the hashes of everything else."""
    return file_sha256(folder / CARD)


def write_bundle(folder: Path, card: Card, *, head: bytes, trunk: bytes | None) -> None:
    """Write a bundle; `head` and `trunk` are safetensors bytes. The hashes in the card are set here."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HEAD).write_bytes(head)
    card = replace(card, weights_sha256=hashlib.sha256(head).hexdigest())
    if trunk is not None:
        (folder / TRUNK).write_bytes(trunk)
        card = replace(card, trunk=replace(card.trunk, sha256=hashlib.sha256(trunk).hexdigest()))
    write_card(folder, card)


def write_card(folder: Path, card: Card) -> None:
    """Write card.json with sorted keys and NaN as null."""
    record = _null_nan(to_record(card))
    (folder / CARD).write_text(json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _null_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _null_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_null_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def read_card(folder: Path) -> Card:
    """The card of a bundle whose files are exactly those expected, with the hashes that the card states.

    Raises BundleError naming the file that is missing, foreign, altered, or of another format version.
    """
    path = folder / CARD
    if not path.is_file():
        raise BundleError(f"{folder} has no {CARD}; it is not a model bundle")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record.get("format_version")
        if version != FORMAT_VERSION:
            raise BundleError(f"{path} has format version {version!r}; this Dosewell reads {FORMAT_VERSION}; upgrade it or train again")
        record["metrics"] = {name: float("nan") if value is None else value for name, value in record["metrics"].items()}
        card = from_record(Card, record, path=CARD)
    except (ValueError, KeyError, AttributeError, ParamsError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from None
    _check_files(folder, card)
    return card


def _check_files(folder: Path, card: Card) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if foreign := found - {CARD, HEAD, TRUNK}:
        raise BundleError(f"{folder} holds files that no bundle has: {', '.join(sorted(foreign))}; refused")
    if HEAD not in found:
        raise BundleError(f"{folder} has no {HEAD}")
    expected = {HEAD: card.weights_sha256} | ({TRUNK: card.trunk.sha256} if TRUNK in found else {})
    for name, sha256 in expected.items():
        if (actual := file_sha256(folder / name)) != sha256:
            raise BundleError(f"{folder / name} has sha256 {actual[:12]}..., its card says {sha256[:12]}...; it was altered or damaged")


def trunk_finder(folders: Iterable[Path]) -> FindTrunk:
    """A function that finds a referenced trunk file by its hash, in the subfolders of these folders."""
    folders = tuple(folders)

    def find(reference: TrunkReference) -> Path:
        for path in sorted(path for folder in folders for path in folder.glob(f"*/{TRUNK}")):
            if file_sha256(path) == reference.sha256:
                return path
        raise BundleError(f"trunk {reference.name} ({reference.weights}, sha256 {reference.sha256[:12]}...) is not in "
                          f"{', '.join(map(str, folders))}; run `dvc pull` or `dvc repro` to get it")

    return find
