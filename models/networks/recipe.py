"""What a model is: input, trunk, head, loss, augmentation, optimizer, split and gates, as frozen, range-checked dataclasses.

Each of the systems S1-S5 is a recipe, data rather than code. Checks raise ValueError whose message starts with the field,
so that the reader of params.yaml can put the YAML path before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from models.plates.prepare import InputSpec

System = Literal["viability", "profile", "treatment", "toxicity", "tumour"]
Target = Literal["readout", "control_class", "controls_and_duplicates", "label"]
Trained = Literal["head", "last", "all"]
Activation = Literal["relu", "leaky_relu"]
SplitUnit = Literal["well", "replicate", "row", "column", "plate", "group"]

INPUT_OF_TRUNK = {"toxicity_cnn": (1, 28), "tumour_cnn": (3, 128)}
"""(channels, pixels) of the trunks that read one size only; all others read 3 channels of any size."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class TrunkSpec:
    """The feature extractor. trained: "head" freezes the trunk, "last" trains its last `blocks` blocks too (see
    `models.networks.backbones.trunk_blocks`), "all" trains all of it.

    offset is added to the 0-1 pixels before mean and std are removed (seeds of S2 add 0.5); mean and std per channel.
    """

    name: str = "mobilenet_v2"
    trained: Trained = "head"
    blocks: int = 0
    offset: float = 0.0
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        _require(self.trained in get_args(Trained), f"trained must be one of {get_args(Trained)}, got {self.trained!r}")
        _require(self.blocks >= 0 and (self.blocks > 0) == (self.trained == "last"),
                 f"blocks must be 1 or more with trained: last, and 0 otherwise, got {self.blocks} with trained: {self.trained}")
        _require(len(self.mean) == len(self.std), f"std must have as many values as mean, got {len(self.std)} and {len(self.mean)}")
        _require(all(value > 0 for value in self.std), f"std must be > 0, got {self.std}")


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """Dense layers on the features; `hidden` widths, each followed by `activation` and dropout; `outputs` 1 (regression, or the logit
    of one class against the other: sigmoid) or 2 (a softmax pair: living and dead, first and second class).
    """

    hidden: tuple[int, ...] = ()
    outputs: int = 1
    dropout: float = 0.0
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        _require(self.outputs in (1, 2), f"outputs must be 1 or 2, got {self.outputs}")
        _require(self.activation in get_args(Activation), f"activation must be one of {get_args(Activation)}, got {self.activation!r}")
        _require(0 <= self.dropout < 1, f"dropout must lie in [0, 1), got {self.dropout}")
        _require(all(width > 0 for width in self.hidden), f"hidden must hold positive widths, got {self.hidden}")


@dataclass(frozen=True, kw_only=True)
class GanSpec:
    """A generative adversarial network that draws more training images of both classes (system S4).

    images: how many it adds, half of each class; epochs: batches of batch_size training images that it learns from; noise: length of the
    generator's input; sheets: sample sheets that are kept, evenly over the epochs.
    """

    images: int = 150
    epochs: int = 1500
    noise: int = 100
    batch_size: int = 32
    learning_rate: float = 2e-4
    sheets: int = 5

    def __post_init__(self) -> None:
        for name in ("images", "epochs", "noise", "sheets"):
            _require(getattr(self, name) >= 1, f"{name} must be 1 or more, got {getattr(self, name)}")
        _require(self.batch_size >= 2, f"batch_size must be 2 or more, got {self.batch_size}")
        _require(self.learning_rate > 0, f"learning_rate must be > 0, got {self.learning_rate}")


@dataclass(frozen=True, kw_only=True)
class CotrainingSpec:
    """Two learners label the unlabelled images; those that they agree on join the training images, and so on (system S4).

    rounds: at most; it ends earlier when no image joins. confidence: of both learners in their common class (0.5 = they agree).
    """

    rounds: int = 5
    confidence: float = 0.5

    def __post_init__(self) -> None:
        _require(self.rounds >= 1, f"rounds must be 1 or more, got {self.rounds}")
        _require(0.5 <= self.confidence < 1, f"confidence must lie in [0.5, 1), got {self.confidence}")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training images. quarter_turns: multiples of 90 degrees; rotation in degrees; crop = kept fraction of
    the side; shift = fraction of the side; scale, intensity, contrast, saturation = factors; brightness is added; hue in
    turns. views: how many augmented views of an image a frozen trunk's cache holds. mosaic: each training image is pieced together
    from itself and another one on a random pattern of so many patches a side, its label being the mean of theirs by area (0 = whole
    images). gan, cotraining: more training images than were labelled.
    """

    flip: bool = False
    quarter_turns: bool = False
    rotation: float = 0.0
    crop: float = 1.0
    shift: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    intensity: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    contrast: tuple[float, float] = (1.0, 1.0)
    saturation: tuple[float, float] = (1.0, 1.0)
    hue: float = 0.0
    views: int = 8
    mosaic: int = 0
    gan: GanSpec | None = None
    cotraining: CotrainingSpec | None = None

    def __post_init__(self) -> None:
        _require(0 <= self.rotation <= 180, f"rotation must lie in 0-180 degrees, got {self.rotation}")
        _require(0.1 <= self.crop <= 1, f"crop must keep 0.1-1 of the side, got {self.crop}")
        _require(0 <= self.shift < 1, f"shift must lie in [0, 1), got {self.shift}")
        _require(0 <= self.brightness <= 1, f"brightness must lie in 0-1, got {self.brightness}")
        _require(0 <= self.hue <= 0.5, f"hue must lie in 0-0.5 turns, got {self.hue}")
        _require(self.views >= 0, f"views must be 0 or more, got {self.views}")
        _require(self.mosaic == 0 or 2 <= self.mosaic <= 32, f"mosaic must be 0 or 2-32 patches a side, got {self.mosaic}")
        for name in ("scale", "intensity", "contrast", "saturation"):
            low, high = getattr(self, name)
            _require(0 < low <= high, f"{name} must be two factors, low <= high, got {(low, high)}")


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """learning_rate per step; batch_size images; epochs at most; patience epochs without a better validation loss (0 = never stop).

    precision: "bf16" runs the network's matrix work in bfloat16 (weights and loss stay float32): several times faster on CPUs and
    GPUs that do bfloat16 in hardware, half as fast on those that do not; scoring is always float32.
    """

    name: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 32
    epochs: int = 100
    patience: int = 0
    schedule: Literal["constant", "cosine"] = "constant"
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        _require(self.name in ("adam", "sgd"), f"name must be adam or sgd, got {self.name!r}")
        _require(self.schedule in ("constant", "cosine"), f"schedule must be constant or cosine, got {self.schedule!r}")
        _require(self.precision in ("fp32", "bf16"), f"precision must be fp32 or bf16, got {self.precision!r}")
        _require(0 < self.learning_rate < math.inf, f"learning_rate must be > 0, got {self.learning_rate}")
        _require(self.weight_decay >= 0, f"weight_decay must be >= 0, got {self.weight_decay}")
        for name in ("batch_size", "epochs"):
            _require(getattr(self, name) >= 1, f"{name} must be 1 or more, got {getattr(self, name)}")
        _require(self.patience >= 0, f"patience must be >= 0, got {self.patience}")


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """How wells are divided; a unit (all wells of a replicate set, row, plate ...) never straddles a split.

    test, validation: fractions of the units; folds: cross-fitting folds (0 = none).
    validation_unit: a finer unit for the validation part alone, which only picks the epoch; "" = unit.
    validation_wells: so many units of each class on each plate validate, in place of the fraction; 0 = the fraction counts.
    """

    unit: SplitUnit = "well"
    test: float = 0.0
    validation: float = 0.1
    folds: int = 4
    validation_unit: SplitUnit | Literal[""] = ""
    validation_wells: int = 0

    def __post_init__(self) -> None:
        _require(self.unit in get_args(SplitUnit), f"unit must be one of {get_args(SplitUnit)}, got {self.unit!r}")
        _require(0 <= self.test < 1 and 0 <= self.validation < 1 and self.test + self.validation < 1,
                 f"test and validation must be fractions that leave wells to train on, got {self.test} and {self.validation}")
        _require(self.folds == 0 or self.folds >= 4, f"folds must be 0 or at least 4, got {self.folds}")
        _require(self.validation_unit in ("", *get_args(SplitUnit)),
                 f"validation_unit must be one of {get_args(SplitUnit)}, got {self.validation_unit!r}")
        _require(self.validation_wells >= 0, f"validation_wells must be 0 or more, got {self.validation_wells}")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A bound that a metric must keep for the model to be registered as challenger."""

    metric: str
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        _require(self.minimum is not None or self.maximum is not None, "minimum or maximum must be given")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that defines a model but its data. See SplitSpec, Augmentation ... for units."""

    system: System
    target: Target
    input: InputSpec = field(default_factory=InputSpec)
    trunk: TrunkSpec = field(default_factory=TrunkSpec)
    head: HeadSpec = field(default_factory=HeadSpec)
    label_smoothing: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerSpec = field(default_factory=OptimizerSpec)
    split: SplitSpec = field(default_factory=SplitSpec)
    gates: tuple[Gate, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.system in get_args(System), f"system must be one of {get_args(System)}, got {self.system!r}")
        _require(self.target in get_args(Target), f"target must be one of {get_args(Target)}, got {self.target!r}")
        _require(0 <= self.label_smoothing < 1, f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")
        _require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")
        _require(len(self.input.planes) == len(self.trunk.mean),
                 f"trunk.mean must have one value per input plane ({len(self.input.planes)}), got {len(self.trunk.mean)}")
        planes, size = INPUT_OF_TRUNK.get(self.trunk.name, (3, self.input.size))
        _require((len(self.input.planes), self.input.size) == (planes, size),
                 f"trunk.name {self.trunk.name} reads {planes} channel(s) of {size} pixels, the input has {len(self.input.planes)} of "
                 f"{self.input.size}; choose another input or trunk")
        _require(self.target != "readout" or self.head.outputs == 1,
                 f"head.outputs must be 1 to predict a read-out, got {self.head.outputs}")
        _require(not self.augmentation.mosaic or self.trunk.trained != "head",
                 "augmentation.mosaic pieces pixels together, so it asks for a trunk that is trained (trunk.trained: last or all)")
        enlarged = self.augmentation.gan is not None or self.augmentation.cotraining is not None
        _require(not enlarged or (self.target == "label" and self.trunk.trained != "head"),
                 "augmentation.gan and augmentation.cotraining ask for labelled images (target: label) and a trunk that is trained")
        _require(self.augmentation.gan is None or (self.input.size % 4 == 0 and self.input.size <= 64),
                 f"augmentation.gan draws images of 8, 12 ... 64 pixels, the input has {self.input.size}")

    @property
    def is_regression(self) -> bool:
        """Whether the head predicts a measured value rather than a class."""
        return self.target == "readout"

    @property
    def answer_column(self) -> str:
        """Where a prediction has the head's answer: the measured value, or the probability of the first class."""
        return "od" if self.is_regression else "probability"

    @property
    def learns_controls(self) -> bool:
        """Whether the classes are the plate's controls: living (negative) and dead (positive)."""
        return self.target in ("control_class", "controls_and_duplicates")
