"""Heat maps: every head's shape, frozen trunks, both signs; random weights change them, and they find what matters."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.explanation import randomised, share_inside, similarity
from models.errors import InputError
from models.networks.backbones import OWN
from models.networks.explain import METHODS, Method, explain, spatial_layer
from models.networks.heads import Network, Normalise, frozen_parts
from pipelines.params import Params


class Toy(nn.Module):
    """A small convolutional network whose head gives (N, 1) or (N, 2)."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1),
                                   nn.ReLU(inplace=True))
        self.head = nn.Linear(16, outputs)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.trunk(images)
        return cast(Tensor, self.head(torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)))


def discs(count: int, seed: int = 0) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Noisy images (N, 3, 32, 32) with 0-3 bright discs, the masks of the discs, and their share of the image."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((32, 32))
    masks = np.zeros((count, 32, 32), bool)
    for number in range(count):
        for _ in range(number % 4):
            y, x = rng.uniform(6, 26, 2)
            masks[number] |= np.hypot(rows - y, columns - x) < 4.5
    pixels = 0.3 + 0.4 * masks + rng.normal(0, 0.08, masks.shape)
    return torch.from_numpy(np.repeat(pixels[:, None], 3, axis=1)).float(), masks, masks.mean(axis=(1, 2))


@pytest.fixture(scope="module")
def trained() -> dict[int, Toy]:
    """Networks that learned how much of the image is disc, one per shape of the answer."""
    images, _, share = discs(96)
    target = torch.from_numpy(share * 10 - 0.5).float()
    found = {}
    for outputs in (1, 2):
        torch.manual_seed(1)
        network = Toy(outputs)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(60):
            answer = network(images)
            answer = answer[:, 0] if outputs == 1 else answer[:, 0] - answer[:, 1]
            optimizer.zero_grad()
            nn.functional.mse_loss(answer, target).backward()
            optimizer.step()
        found[outputs] = network
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("outputs", [1, 2])
def test_maps_fall_on_what_raises_the_answer(trained: dict[int, Toy], method: Method, outputs: int) -> None:
    images, masks, share = discs(8, seed=9)
    images, masks, share = images[3::4], masks[3::4], share[3::4]
    found = explain(trained[outputs].requires_grad_(False), images, method=method)      # frozen as a whole
    assert found.raises.shape == found.lowers.shape == (2, 32, 32)
    assert found.raises.min() >= 0
    np.testing.assert_allclose(found.raises.max(axis=(1, 2)), 1)
    inside = share_inside(found.raises, masks)
    assert (inside > 1.2 * share).all()
    assert not np.array_equal(found.raises, found.lowers)


RECIPES = Params.read(Path(__file__).parents[3] / "params.yaml").recipes
NETWORKS = {(recipe.trunk.name, recipe.head.outputs): name for name, recipe in RECIPES.items()}


@pytest.mark.parametrize("name", NETWORKS.values())
def test_every_network_of_the_recipes_is_explained(name: str) -> None:
    """Each trunk with each of its heads, frozen as the recipe has it; drawn small where the trunk takes any size."""
    recipe = RECIPES[name]
    with torch.device("meta"):
        network = Network(recipe)
    network = network.to_empty(device="cpu")
    torch.manual_seed(0)
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point() and tensor.ndim < 2:
            tensor.data.fill_(0.5)
        elif tensor.is_floating_point():        # drawing 100 million weights takes seconds: the widest layers have one row for all
            rows = 1 if tensor.numel() > 5_000_000 else len(tensor)
            tensor.data.copy_(torch.randn(rows, *tensor.shape[1:]) * tensor[0].numel()**-0.5)
    network.normalise = Normalise(recipe.trunk)
    for part in frozen_parts(network, recipe.trunk):
        part.requires_grad_(False)
    size = recipe.input.size if recipe.trunk.name in OWN else 96
    images = torch.rand(2, len(recipe.input.planes), size, size)
    found = explain(network, images)
    assert found.raises.shape == found.lowers.shape == (2, size, size)
    assert np.isfinite(found.raises).all()
    assert (found.raises.any() or found.lowers.any())
    assert {found.raises.max(), found.lowers.max()} <= {0.0, 1.0}


def test_random_weights_change_the_map(trained: dict[int, Toy]) -> None:
    images, _, _ = discs(8, seed=4)
    images = images[3::4]
    network = trained[1]
    twin = randomised(network, seed=3)
    assert not torch.equal(twin.head.weight, network.head.weight)
    before, after = explain(network, images), explain(twin, images)
    assert (np.nan_to_num(similarity(before.raises, after.raises)) < 0.7).all()
    np.testing.assert_allclose(similarity(before.raises, before.raises), 1)


def test_the_network_is_left_as_it_was(trained: dict[int, Toy]) -> None:
    network = trained[1].train()
    explain(network, discs(2)[0])
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.trunk[4]._forward_hooks


def test_the_last_layer_with_rows_and_columns_is_looked_at(trained: dict[int, Toy]) -> None:
    images = discs(2)[0]
    assert spatial_layer(trained[1], images) == "trunk"


def test_a_map_of_nothing_is_zero_and_has_no_share() -> None:
    network = Toy(1)
    nn.init.zeros_(network.head.weight)
    found = explain(network, discs(2)[0])
    assert not found.raises.any()
    assert np.isnan(share_inside(found.raises, np.ones((2, 32, 32), bool))).all()


def test_wrong_requests_are_refused(trained: dict[int, Toy]) -> None:
    images = discs(2)[0]
    with pytest.raises(InputError, match="method must be one of"):
        explain(trained[1], images, method=cast(Method, "lime"))
    with pytest.raises(InputError, match=r"\(N, C, H, W\)"):
        explain(trained[1], images[0])
    with pytest.raises(InputError, match="no layer with rows"):
        spatial_layer(nn.Sequential(nn.Flatten(), nn.Linear(3072, 1)), images)
