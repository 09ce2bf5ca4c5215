"""Trunks: image (B, C, H, W) -> features (B, F), and where their starting weights come from.

`small_cnn`, `toxicity_cnn` and `tumour_cnn` are ours and need torch only, so that the demo and bare GPU boxes do without torchvision's
seven-second import; all others are published networks (torchvision's, and timm's for the one that torchvision has not) with the
classifying layer taken off, so that their published state dicts fit by name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor, nn

from models.errors import WeightsError
from models.networks.recipe import INPUT_OF_TRUNK

State = dict[str, Tensor]

LEAK = 0.1  # slope of LeakyReLU below zero; the paper of S4, which uses it, does not state one


class SmallCNN(nn.Module):
    """Four 3x3 convolutions (16-32-64-128) with 2x2 pools and batch norm, then mean and maximum over the image: 256 features.

    The pools come first: batch norm and ReLU then see a quarter of the pixels, which halves the time of a training step on a CPU.
    """

    feature_count = 256

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 128)
        self.blocks = nn.Sequential(*(nn.Sequential(
            nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(outside), nn.ReLU(inplace=True))
            for inside, outside in pairwise(widths)))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 256)"""
        maps = self.blocks(images)                       # (B, 128, H/16, W/16)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class StackedCNN(nn.Module):
    """Three 3x3 convolutions (32-64-128), each followed by its activation and a 2x2 maximum pool, then flattened.

    padding: 1 keeps the size, 0 loses a pixel on every side; round_up: the pools keep an odd last row and column. Flattened, so that
    the image's size is part of the network: `size` pixels, `planes` channels.
    """

    def __init__(self, *, planes: int, size: int, padding: int, round_up: bool, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        widths = (planes, 32, 64, 128)
        self.blocks = nn.Sequential(*(nn.Sequential(
            nn.Conv2d(inside, outside, 3, padding=padding), activation(), nn.MaxPool2d(2, ceil_mode=round_up))
            for inside, outside in pairwise(widths)))
        for _ in range(3):
            size = (size + 2 * padding - 2 + round_up) // 2
        self.feature_count = widths[-1] * size * size

    def forward(self, images: Tensor) -> Tensor:
        """(B, planes, size, size) -> (B, F)"""
        return cast(Tensor, self.blocks(images).flatten(1))


def _toxicity_cnn() -> StackedCNN:
    """System S4 (Saini et al. 2020, Table 2): 28 -> 14 -> 7 -> 4 pixels."""
    planes, size = INPUT_OF_TRUNK["toxicity_cnn"]
    return StackedCNN(planes=planes, size=size, padding=1, round_up=True, activation=partial(nn.LeakyReLU, LEAK))


def _tumour_cnn() -> StackedCNN:
    """System S5, as its Keras listing has it: 128 -> 63 -> 30 -> 14 pixels."""
    planes, size = INPUT_OF_TRUNK["tumour_cnn"]
    return StackedCNN(planes=planes, size=size, padding=0, round_up=False, activation=nn.ReLU)


OWN: dict[str, Callable[[], nn.Module]] = {"small_cnn": SmallCNN, "toxicity_cnn": _toxicity_cnn, "tumour_cnn": _tumour_cnn}


@dataclass(frozen=True)
class _Published:
    """A published network: the attribute that holds its classifying layers, and the features that reach them."""

    classifier: str
    feature_count: int


TIMM = {"inception_resnet_v2": _Published("classif", 1536)}
TORCHVISION = {
    "mobilenet_v2": _Published("classifier", 1280),
    "resnet18": _Published("fc", 512),
    "resnet101": _Published("fc", 2048),
    "inception_v3": _Published("fc", 2048),
    "densenet121": _Published("classifier", 1024),
    "vgg16": _Published("classifier", 25088),   # 512 x 7 x 7: the dense 4096-4096 layers belong to the recipe's head
    "vgg19": _Published("classifier", 25088),
}


PUBLISHED = TORCHVISION | TIMM


def trunk_names() -> tuple[str, ...]:
    """Names that `build_trunk` knows."""
    return (*OWN, *PUBLISHED)


def build_trunk(name: str) -> nn.Module:
    """A trunk with random weights; attribute `feature_count` gives F. Raises WeightsError for unknown names."""
    if name in OWN:
        return OWN[name]()
    if name not in PUBLISHED:
        raise WeightsError(f"unknown trunk '{name}'; known: {', '.join(trunk_names())}")
    published = PUBLISHED[name]
    network = _timm_trunk(name) if name in TIMM else _torchvision_trunk(name)
    setattr(network, published.classifier, nn.Identity())
    network.feature_count = published.feature_count  # type: ignore[assignment]  # a plain int beside the layers
    return network


def _torchvision_trunk(name: str) -> nn.Module:
    import torchvision  # here, because it takes seconds that our own trunks need not pay

    # published Inception weights expect ImageNet's mean and std to be undone, which transform_input does
    options = {"aux_logits": False, "init_weights": True, "transform_input": True} if name == "inception_v3" else {}
    return cast(nn.Module, getattr(torchvision.models, name)(weights=None, **options))


def _timm_trunk(name: str, *, weights: str = "") -> nn.Module:
    """timm's network without classes; with its published weights of that tag, which it downloads or has in its cache."""
    import timm

    return cast(nn.Module, timm.create_model(f"{name}.{weights}" if weights else name, pretrained=bool(weights), num_classes=0))


def trunk_blocks(trunk: nn.Module) -> list[nn.Module]:
    """The parts of a trunk in order, of which `trunk.blocks` of a recipe counts the last: residual stages, inception blocks, single
    convolutions of VGG. Together they hold all of its parameters; a batch norm that stands alone belongs to the part before it.
    """
    parts = [part for part in trunk.children() if next(part.parameters(), None) is not None]
    if len(parts) == 1 and isinstance(parts[0], nn.Sequential):
        return trunk_blocks(parts[0])
    blocks: list[nn.Module] = []
    for part in parts:
        if blocks and isinstance(part, nn.BatchNorm2d):
            blocks[-1] = nn.Sequential(blocks[-1], part)
        else:
            blocks.append(part)
    return blocks


def starting_state(name: str, weights: str, *, seed: int, sha256: str = "") -> State:
    """The trunk's starting weights.

    weights: "none" (random, from `seed`), a torchvision name such as IMAGENET1K_V2 (timm's trunk: timm's tag, tf_in1k), or a
    safetensors file: a path, or a name inside the folder that the environment variable DOSEWELL_WEIGHTS names.
    Raises WeightsError when they cannot be had, do not fit the trunk, or have another hash than `sha256` (of the file).
    """
    torch.manual_seed(seed)
    trunk = build_trunk(name)
    if weights != "none":
        state = _from_file(weights, sha256) if weights.endswith(".safetensors") else _from_library(name, weights)
        prefix = f"{PUBLISHED[name].classifier}." if name in PUBLISHED else "\0"
        state = {key: value for key, value in state.items() if not key.startswith((prefix, "AuxLogits."))}
        try:
            trunk.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise WeightsError(f"the weights '{weights}' do not fit the trunk {name}: {error}") from None
    return dict(trunk.state_dict())


def weights_file(weights: str) -> Path:
    """A weights file by its path, or by its name in the folder DOSEWELL_WEIGHTS. Raises WeightsError when it is in neither place."""
    candidates = [Path(weights).expanduser(), Path(os.environ.get("DOSEWELL_WEIGHTS", ".")) / weights]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        looked = " and ".join(dict.fromkeys(map(str, candidates)))
        raise WeightsError(f"weights file '{weights}' not found (looked for {looked}); put it there, set "
                           "DOSEWELL_WEIGHTS to its folder, or name torchvision weights such as IMAGENET1K_V2 in params.yaml")
    return path


def _from_file(weights: str, sha256: str) -> State:
    path = weights_file(weights)
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise WeightsError(f"{path} has sha256 {found}, params.yaml expects {sha256}; get the right file or correct the hash")
    try:
        return load_bytes(data)
    except SafetensorError as error:
        raise WeightsError(f"{path} is no safetensors file ({error}); download or convert it again") from None


def _from_library(name: str, weights: str) -> State:
    if name not in PUBLISHED:
        raise WeightsError(f"the trunk {name} has no published weights '{weights}'; use weights: none or a .safetensors file")
    return _from_timm(name, weights) if name in TIMM else _from_torchvision(name, weights)


def _from_torchvision(name: str, weights: str) -> State:
    import torchvision

    try:
        entry = torchvision.models.get_model_weights(name)[weights]
    except KeyError:
        known = ", ".join(item.name for item in torchvision.models.get_model_weights(name))
        raise WeightsError(f"torchvision has no weights '{weights}' for {name}; it has {known}") from None
    try:
        state: State = entry.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise _unreachable(entry.url, error) from None
    return state


def _from_timm(name: str, weights: str) -> State:
    import timm

    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    if weights not in known:
        raise WeightsError(f"timm has no weights '{weights}' for {name}; it has {', '.join(known)}")
    try:
        return dict(_timm_trunk(name, weights=weights).state_dict())
    except OSError as error:
        raise _unreachable(f"timm/{name}.{weights} from the Hugging Face hub", error) from None


def _unreachable(source: str, error: OSError) -> WeightsError:
    return WeightsError(f"cannot download {source} ({error}); download it on another machine, save it as safetensors and "
                        "name that file as weights, or use weights: none")


def state_bytes(state: State) -> bytes:
    """The state as safetensors, tensors sorted by name: the same numbers give the same bytes."""
    return save_bytes({key: state[key].detach().cpu().contiguous() for key in sorted(state)})


def state_sha256(state: State) -> str:
    """sha256 of `state_bytes`: the name by which a frozen trunk is referenced and stored once."""
    return hashlib.sha256(state_bytes(state)).hexdigest()


def parameter_count(module: nn.Module) -> int:
    """How many weights there are to learn."""
    return sum(parameter.numel() for parameter in module.parameters())
