"""The fast path gives torch's numbers, for any number of images and from several threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from models.networks.forward import forward_of
from models.networks.heads import Network, build_network
from models.networks.recipe import HeadSpec, Recipe, TrunkSpec
from models.plates.prepare import InputSpec
from tests.conftest import CONTROLS

CPU = torch.device("cpu")
RESNET = replace(CONTROLS, input=InputSpec(size=64), trunk=TrunkSpec(name="resnet18", offset=0.5), head=HeadSpec(hidden=(16,), outputs=2))


@pytest.fixture(scope="module")
def network() -> Network:
    """Random weights, with batch statistics of some images, so that outputs are of ordinary size."""
    network = build_network(RESNET)
    with torch.no_grad():
        for seed in range(6):
            network.train()(images(8, seed=seed))
    return network.eval()


def images(count: int, *, seed: int = 100) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_compiled_outputs_are_those_of_torch(network: Network) -> None:
    slow, fast = (forward_of(network, RESNET, CPU, path=path) for path in ("torch", "openvino"))
    for count in (32, 1, 7):
        wanted, found = slow(images(count)), fast(images(count))
        assert found.shape == wanted.shape == (count, 2)
        assert wanted.std() > 0.01 or count == 1
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(fast, [images(5, seed=seed) for seed in range(12)]))
    for seed, answer in enumerate(answers):
        torch.testing.assert_close(answer, slow(images(5, seed=seed)), atol=1e-4, rtol=0)


def test_small_trunks_of_our_own_and_other_devices_stay_with_torch(network: Network) -> None:
    with torch.no_grad():
        small = build_network(CONTROLS).eval()
        own = forward_of(small, CONTROLS, CPU)
        pixels = torch.rand(3, 3, 16, 16)
        assert torch.equal(own(pixels), small(pixels.contiguous(memory_format=torch.channels_last)))


def test_a_recipe_of_a_published_trunk_takes_the_fast_path_by_itself(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Recipe] = []
    monkeypatch.setattr("models.networks.forward._openvino", lambda network, *, size: taken.append(size))
    forward_of(network, RESNET, CPU)
    assert taken == [64]
    forward_of(network, RESNET, torch.device("meta"))
    forward_of(network, RESNET, CPU, path="torch")
    assert taken == [64]
