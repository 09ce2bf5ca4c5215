"""Trunks: published state dicts fit by name, and starting weights are had, or refused with a way out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from models.errors import WeightsError
from models.networks.backbones import (
    OWN,
    TIMM,
    TORCHVISION,
    SmallCNN,
    build_trunk,
    parameter_count,
    starting_state,
    state_bytes,
    state_sha256,
    trunk_names,
)


def published(name: str) -> nn.Module:
    """torchvision's own network, as its weights are published."""
    options = {"init_weights": False} if name == "inception_v3" else {}
    return getattr(torchvision.models, name)(weights=None, **options)


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_published_states_fit_by_name(name: str) -> None:
    with torch.device("meta"):  # no memory, no time
        whole, trunk = published(name).state_dict(), build_trunk(name)
    classifier = f"{TORCHVISION[name].classifier}."
    expected = {key: value.shape for key, value in whole.items() if not key.startswith((classifier, "AuxLogits."))}
    assert {key: value.shape for key, value in trunk.state_dict().items()} == expected
    first = next(layer for layer in published_classifier(name) if isinstance(layer, nn.Linear))
    assert trunk.feature_count == first.in_features


def published_classifier(name: str) -> list[nn.Module]:
    with torch.device("meta"):
        return list(getattr(published(name), TORCHVISION[name].classifier).modules())


def test_features_are_those_that_reach_the_published_classifier(tmp_path: Path) -> None:
    name = "resnet18"
    torch.manual_seed(3)
    whole = published(name).eval()
    save_file({key: value.contiguous() for key, value in whole.state_dict().items()}, tmp_path / "w.safetensors")
    trunk = build_trunk(name).eval()
    trunk.load_state_dict(starting_state(name, str(tmp_path / "w.safetensors"), seed=0))
    images, seen = torch.rand(2, 3, 64, 64), []
    getattr(whole, TORCHVISION[name].classifier).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        whole(images)
        torch.testing.assert_close(trunk(images), seen[0])


def test_inception_undoes_imagenet_scaling_as_its_published_weights_want() -> None:
    """torchvision sets transform_input whenever it loads published weights; ImageNet-scaled grey then arrives on -1..1."""
    with torch.device("meta"):
        trunk = build_trunk("inception_v3")
    scaled = (torch.full((1, 3, 2, 2), 0.75) - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225])[:, None, None]
    torch.testing.assert_close(trunk._transform_input(scaled), torch.full((1, 3, 2, 2), 0.5))


def test_the_small_trunk() -> None:
    trunk = SmallCNN().eval()
    for size in (16, 24, 97):
        assert trunk(torch.rand(2, 3, size, size)).shape == (2, 256)
    convolutions = 9 * (3 * 16 + 16 * 32 + 32 * 64 + 64 * 128)
    assert parameter_count(trunk) == convolutions + 2 * (16 + 32 + 64 + 128)
    assert sum(parameter.numel() for parameter in trunk.parameters() if parameter.dim() == 4) == convolutions


def test_unknown_trunks_are_refused_with_the_known_ones() -> None:
    with pytest.raises(WeightsError, match=r"unknown trunk 'resnet19'; known: small_cnn, toxicity_cnn, tumour_cnn, mobilenet_v2"):
        build_trunk("resnet19")
    assert set(trunk_names()) == {*OWN, *TORCHVISION, *TIMM}


def test_random_weights_are_those_of_the_seed() -> None:
    torch.manual_seed(99)
    first = state_sha256(starting_state("small_cnn", "none", seed=1))
    torch.rand(5)
    assert state_sha256(starting_state("small_cnn", "none", seed=1)) == first
    assert state_sha256(starting_state("small_cnn", "none", seed=2)) != first


def test_the_hash_of_a_state_is_that_of_its_numbers() -> None:
    state = starting_state("small_cnn", "none", seed=1)
    shuffled = {key: state[key].to(memory_format=torch.channels_last) if state[key].dim() == 4 else state[key] for key in reversed(state)}
    assert state_bytes(shuffled) == state_bytes(state)
    assert state_sha256(state) == hashlib.sha256(state_bytes(state)).hexdigest()
    name = next(iter(state))
    assert state_sha256({**state, name: state[name] + 1e-6}) != state_sha256(state)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "w.safetensors").write_bytes(state_bytes(starting_state("small_cnn", "none", seed=5)))
    return tmp_path / "w.safetensors"


def test_weights_come_from_a_file_by_path_or_by_folder(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = state_sha256(starting_state("small_cnn", "none", seed=5))
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert state_sha256(starting_state("small_cnn", str(weights), seed=0, sha256=sha256)) == expected
    monkeypatch.setenv("DOSEWELL_WEIGHTS", str(weights.parent))
    assert state_sha256(starting_state("small_cnn", "w.safetensors", seed=0)) == expected


def test_weights_that_cannot_be_used_say_why(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOSEWELL_WEIGHTS", str(tmp_path / "store"))
    with pytest.raises(WeightsError, match=r"'gone\.safetensors' not found .*store/gone\.safetensors.*set DOSEWELL_WEIGHTS"):
        starting_state("small_cnn", "gone.safetensors", seed=0)
    with pytest.raises(WeightsError, match=r"w\.safetensors has sha256 [0-9a-f]{64}, params\.yaml expects 000"):
        starting_state("small_cnn", str(weights), seed=0, sha256="000")
    with pytest.raises(WeightsError, match="do not fit the trunk mobilenet_v2"):
        starting_state("mobilenet_v2", str(weights), seed=0)
    with pytest.raises(WeightsError, match=r"small_cnn has no published weights 'IMAGENET1K_V1'"):
        starting_state("small_cnn", "IMAGENET1K_V1", seed=0)
    with pytest.raises(WeightsError, match=r"no weights 'IMAGENET1K_V9' for mobilenet_v2; it has IMAGENET1K_V1, IMAGENET1K_V2"):
        starting_state("mobilenet_v2", "IMAGENET1K_V9", seed=0)
    weights.write_bytes(b"<html>not found</html>")
    with pytest.raises(WeightsError, match=r"w\.safetensors is no safetensors file"):
        starting_state("small_cnn", str(weights), seed=0)


def test_timms_weights_are_named_or_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network and without a cache; nothing is asked for."""
    import timm

    def unreachable(name: str, **_: object) -> None:
        raise FileNotFoundError(f"no {name} here")

    with pytest.raises(WeightsError, match=r"timm has no weights 'IMAGENET1K_V1' for inception_resnet_v2; it has .*tf_in1k"):
        starting_state_of_timm("IMAGENET1K_V1", monkeypatch)
    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(WeightsError, match=r"cannot download timm/inception_resnet_v2\.tf_in1k .*no inception.*weights: none"):
        starting_state_of_timm("tf_in1k", monkeypatch)


def starting_state_of_timm(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.networks.backbones.build_trunk", lambda name: nn.Identity())  # the trunk itself takes seconds
    starting_state("inception_resnet_v2", weights, seed=0)


def test_no_network_is_a_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, **_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", unreachable)
    with pytest.raises(WeightsError, match=r"cannot download https://.*no route to host.*weights: none"):
        starting_state("mobilenet_v2", "IMAGENET1K_V2", seed=0)
