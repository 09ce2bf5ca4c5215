"""The only reader of params.yaml: one frozen, range-checked dataclass per section.

A message about a bad value starts with its YAML path: "recipes.viability.optimizer.learning_rate must be > 0, got -1".
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from models.dose_response.options import FitOptions
from models.errors import InputError, ParamsError
from models.networks.recipe import Recipe
from models.plates.prepare import InputSpec
from models.plates.quality import QualityLimits
from models.records import from_record, to_record
from pipelines.gate_names import recipe_problem
from pipelines.screens import name_problem
from pipelines.yaml_text import read_yaml
from validation.rules import Thresholds

T = TypeVar("T")
Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True)
class ScreenEntry:
    """A screen or image set of data/: `input` names the section of `inputs` that it is prepared with."""

    input: str


@dataclass(frozen=True, kw_only=True)
class TrunkEntry:
    """Starting weights of a trunk. weights: none | torchvision name | file.safetensors; sha256 of that file; seed for none."""

    name: str
    weights: str = "none"
    sha256: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model to train. screen: whose labels it learns, of `screens` or `imagesets`; parent: trunks/<name> (starting weights) or
    models/<name> (fine-tuned from that model).
    """

    screen: str
    recipe: str
    parent: str

    def __post_init__(self) -> None:
        section, name = self.descent
        if section not in ("trunks", "models") or not name:
            raise ValueError(f"parent must read trunks/<name> or models/<name>, got {self.parent!r}")

    @property
    def descent(self) -> tuple[str, str]:
        """The section of params.yaml that the parent stands in, trunks or models, and its name there."""
        section, _, name = self.parent.partition("/")
        return section, name


@dataclass(frozen=True, kw_only=True)
class TrainParams:
    """device: auto | cpu | cuda | mps."""

    device: Device = "auto"


@dataclass(frozen=True, kw_only=True)
class ScoreParams:
    """device as in train; fit: options of the dose-response curves."""

    device: Device = "auto"
    fit: FitOptions = field(default_factory=FitOptions)


ENTRIES: dict[str, Any] = {"screens": ScreenEntry, "imagesets": ScreenEntry, "inputs": InputSpec, "recipes": Recipe, "trunks": TrunkEntry,
                           "models": ModelEntry}     # sections whose keys are names -> what each name stands for
SETTINGS: dict[str, Any] = {"validate": Thresholds, "image_quality": QualityLimits, "train": TrainParams, "score": ScoreParams}


@dataclass(frozen=True, kw_only=True)
class Params:
    """params.yaml as a whole."""

    screens: Mapping[str, ScreenEntry]
    inputs: Mapping[str, InputSpec]
    recipes: Mapping[str, Recipe]
    trunks: Mapping[str, TrunkEntry]
    models: Mapping[str, ModelEntry]
    scores: Mapping[str, str]
    imagesets: Mapping[str, ScreenEntry] = field(default_factory=dict)
    validate: Thresholds = field(default_factory=Thresholds)
    image_quality: QualityLimits = field(default_factory=QualityLimits)
    train: TrainParams = field(default_factory=TrainParams)
    score: ScoreParams = field(default_factory=ScoreParams)

    @classmethod
    def read(cls, path: str | Path) -> Params:
        """Read and check params.yaml. Raises ParamsError, naming the YAML path, for anything wrong or dangling."""
        return cls.parse(_values(path))

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Params:
        """Parameters from the mapping that params.yaml holds. Raises ParamsError."""
        sections = _sections(values, known=[item.name for item in fields(cls)])
        inputs = {name: recipe.get("input") for name, recipe in sections["recipes"].items()}
        sections["recipes"] = {name: {**recipe, "input": _named(sections["inputs"], inputs[name], f"recipes.{name}.input", "inputs")}
                               for name, recipe in sections["recipes"].items()}
        entries: dict[str, Any] = {
            section: {name: from_record(kind, item, path=f"{section}.{name}") for name, item in sections[section].items()}
            for section, kind in ENTRIES.items()}
        for name, recipe in entries["recipes"].items():
            if problem := recipe_problem(recipe):
                raise ParamsError(f"recipes.{name}.{problem}")
        params = cls(**entries, scores=sections["scores"],
                     **{section: from_record(kind, sections[section], path=section) for section, kind in SETTINGS.items()})
        params._check_names()
        params._check_parents()
        params._check_inputs(inputs)
        return params

    @property
    def sources(self) -> dict[str, ScreenEntry]:
        """Screens and image sets: what models learn from and what is scored."""
        return {**self.screens, **self.imagesets}

    def model(self, name: str) -> ModelEntry:
        """The model of this name. Raises InputError, naming those that there are."""
        return asked_for(self.models, name, "model")

    def recipe_of(self, model: str) -> Recipe:
        """The recipe of a model. Raises InputError, naming the models that there are."""
        return self.recipes[self.model(model).recipe]

    def input_of(self, source: str) -> InputSpec:
        """What a screen or image set is prepared for. Raises InputError, naming those that there are."""
        return self.inputs[asked_for(self.sources, source, "screen or image set").input]

    def _check_names(self) -> None:
        if twice := sorted(set(self.screens) & set(self.imagesets)):
            raise ParamsError(f"imagesets.{twice[0]}: a screen has the same name; data/{twice[0]} is one or the other")
        for name, model in self.models.items():
            _named(self.sources, model.screen, f"models.{name}.screen", "screens and imagesets")
            _named(self.recipes, model.recipe, f"models.{name}.recipe", "recipes")
            section, parent = model.descent
            _named(self.trunks if section == "trunks" else self.models, parent, f"models.{name}.parent", section)
        for screen, scorer in self.scores.items():
            _named(self.sources, screen, f"scores.{screen}", "screens and imagesets")
            _named(self.models, scorer, f"scores.{screen}", "models")
        for section, found in (("screens", self.screens), ("imagesets", self.imagesets)):
            for name, entry in found.items():
                _named(self.inputs, entry.input, f"{section}.{name}.input", "inputs")

    def _check_parents(self) -> None:
        """A model takes over its parent's trunk, so both must have the same; no model is its own ancestor."""
        for name, model in self.models.items():
            section, parent = model.descent
            trunk = self.trunks[parent].name if section == "trunks" else self.recipe_of(parent).trunk.name
            if trunk != (own := self.recipes[model.recipe].trunk.name):
                raise ParamsError(f"models.{name}.parent: {model.parent} has the trunk {trunk}, but recipe {model.recipe} has {own}; "
                                  "choose another parent or recipe")
            if self.recipes[model.recipe].target == "controls_and_duplicates":
                self._check_phase_two(name, section, parent)
            seen = [name]
            while section == "models":
                if parent in seen:
                    raise ParamsError(f"models.{name}.parent: models may not descend in a circle ({' < '.join([*seen, parent])})")
                seen.append(parent)
                section, parent = self.models[parent].descent

    def _check_phase_two(self, name: str, section: str, parent: str) -> None:
        """Phase III takes its drug wells' labels from its parent, so that must be a model of the same screen's controls."""
        earlier = self.models.get(parent) if section == "models" else None
        own, wanted = self.models[name], self.recipe_of(name)
        if earlier is None or (earlier.screen, self.recipes[earlier.recipe].target, self.recipes[earlier.recipe].head) != (
                own.screen, "control_class", wanted.head):
            raise ParamsError(f"models.{name}.parent: recipe {own.recipe} (phase III) goes on from a model of screen {own.screen} whose "
                              f"recipe has target control_class and the same head (phase II), got {section}/{parent}")

    def _check_inputs(self, input_names: Mapping[str, str]) -> None:
        """A screen is prepared once, so every model that reads it must ask for that input. input_names: recipe -> its input."""
        used = {(f"models.{name}", model.screen, model.recipe) for name, model in self.models.items()}
        used |= {(f"scores.{screen}", screen, self.models[scorer].recipe) for screen, scorer in self.scores.items()}
        for path, screen, recipe in sorted(used):
            section = "screens" if screen in self.screens else "imagesets"
            if (found := self.sources[screen].input) != input_names[recipe]:
                raise ParamsError(f"{path}: recipe {recipe} reads input '{input_names[recipe]}', but {section}.{screen}.input is "
                                  f"'{found}'; make them the same")
            if (section == "imagesets") != (self.recipes[recipe].target == "label"):
                raise ParamsError(f"{path}: recipe {recipe} has target {self.recipes[recipe].target}, which does not fit "
                                  f"{section}.{screen}: target label is for image sets, the others are for screens")

    def model_hash(self, name: str) -> str:
        """sha256 over all parameters that define a model's training: its entry, its recipe without the gates, the limits of its images."""
        record = {"model": to_record(self.model(name)), "recipe": to_record(replace(self.recipe_of(name), gates=())),
                  "image_quality": to_record(self.image_quality)}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _sections(values: Mapping[str, Any], *, known: list[str]) -> dict[str, Mapping[str, Any]]:
    """Every section as a mapping, empty ones too; the entries of `recipes` are mappings as well. Raises ParamsError."""
    for name, section in values.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            raise ParamsError(f"{name}: unknown section" + (f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"))
        if section is not None and not isinstance(section, Mapping):
            raise ParamsError(f"{name}: expected a mapping, got {section!r}")
    sections = {name: values.get(name) or {} for name in known}
    for kind in ENTRIES:
        if wrong := list(filter(name_problem, sections[kind])):
            raise ParamsError(f"{kind}.{wrong[0]}: {name_problem(wrong[0])}")
    for name, recipe in sections["recipes"].items():
        if not isinstance(recipe, Mapping):
            raise ParamsError(f"recipes.{name}: expected a mapping, got {recipe!r}")
    return sections


def asked_for(known: Mapping[str, T], name: str, what: str) -> T:
    """What a command line names. Raises InputError, naming those that there are."""
    if name not in known:
        raise InputError(f"params.yaml has no {what} '{name}'; it has {', '.join(known) or 'none'}")
    return known[name]


def _named(known: Mapping[str, Any], name: object, path: str, section: str) -> Any:
    """What another entry names. Raises ParamsError with the path of that entry."""
    if not isinstance(name, str) or name not in known:
        way = ("; list starting weights there (add_model does, with --weights: none for random ones, a torchvision name, or a file)"
               if section == "trunks" else "")
        raise ParamsError(f"{path}: '{name}' is not in {section}; known: {', '.join(known) or 'none'}{way}")
    return known[name]


def _values(path: str | Path) -> Mapping[str, Any]:
    """The sections that the file holds. Raises ParamsError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = read_yaml(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParamsError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, Mapping):
        raise ParamsError(f"{path}: expected a mapping of sections, got {values!r}")
    return values


def listed(path: str | Path, section: str) -> tuple[str, ...]:
    """The names of a section of params.yaml: what of a folder of artifacts still counts. Nothing else of the file need be right.

    Raises ParamsError.
    """
    return tuple(_sections(_values(path), known=[item.name for item in fields(Params)])[section])


def entry_of(path: str | Path, section: str, name: str) -> dict[str, Any]:
    """An entry of `recipes` or `inputs` as it stands in params.yaml. Raises ParamsError as `Params.read` does, and for an unknown name."""
    Params.read(path)
    return dict(_named(_values(path).get(section) or {}, name, section.removesuffix("s"), section))
