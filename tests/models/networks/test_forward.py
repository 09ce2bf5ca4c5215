"""The fast path gives torch's numbers, and an image's features do not depend on its company, to the last bit."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import DosewellError
from models.networks import forward as forwards
from models.networks.forward import PASS, Precision, TorchForward, bf16_wanted, has_bf16, path_of, trunk_forward
from models.networks.heads import Network, build_network
from models.networks.recipe import HeadSpec, TrunkSpec
from models.networks.trunks import Trunk, TrunkKey, TrunkPool
from models.plates.prepare import InputSpec
from tests.conftest import CONTROLS
from tests.waiting import PATIENCE, until

CPU = torch.device("cpu")
RESNET = replace(CONTROLS, input=InputSpec(size=64), trunk=TrunkSpec(name="resnet18", offset=0.5), head=HeadSpec(hidden=(16,), outputs=2))
SMALL = replace(CONTROLS, input=InputSpec(size=48), trunk=TrunkSpec(name="small_cnn"))


def seen(recipe: object) -> Network:
    """Random weights, with batch statistics of some images, so that outputs are of ordinary size."""
    network = build_network(recipe)
    size = recipe.input.size
    with torch.no_grad():
        for seed in range(6):
            network.train()(images(8, size=size, seed=seed))
    return network.eval()


@pytest.fixture(scope="module")
def network() -> Network:
    return seen(RESNET)


def images(count: int, *, seed: int = 100, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def pixels_of(count: int, *, seed: int = 100, size: int = 64) -> np.ndarray:
    """As prepared images are kept."""
    return images(count, seed=seed, size=size).numpy().astype(np.float16)


def test_compiled_features_are_those_of_torch(network: Network) -> None:
    slow, fast = trunk_forward(network, CPU, size=64, path="torch"), trunk_forward(network, CPU, size=64, path="openvino")
    for count in (32, 1, 7):
        wanted, found = slow([pixels_of(count)]), fast([pixels_of(count)])
        assert found.shape == wanted.shape == (count, 512)
        assert found.dtype == wanted.dtype == np.float32
        assert wanted.std() > 0.01
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)
    parts = [pixels_of(5, seed=seed) for seed in range(4)]
    np.testing.assert_array_equal(fast(parts), np.concatenate([fast([part]) for part in parts]))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(fast, [[pixels_of(5, seed=seed)] for seed in range(12)]))
    for seed, answer in enumerate(answers):
        np.testing.assert_allclose(answer, slow([pixels_of(5, seed=seed)]), atol=1e-4, rtol=1e-4)


def test_a_pass_that_is_over_holds_no_images(network: Network) -> None:
    """A plate's images are not kept in memory by what has read them."""
    for path in ("torch", "openvino"):
        forward, pixels = trunk_forward(network, CPU, size=64, path=path), pixels_of(3)
        gone = weakref.ref(pixels)
        features = forward([pixels])
        del pixels
        assert gone() is None
        assert np.isfinite(features).all()


def test_images_that_no_network_reads_are_refused_and_the_next_ones_are_not(network: Network) -> None:
    forward = trunk_forward(network, CPU, size=64, path="openvino")
    for wrong in (pixels_of(2, size=32), pixels_of(2).astype(np.float32)):
        with pytest.raises(RuntimeError):
            forward([wrong])
    assert forward([pixels_of(2)]).shape == (2, 512)


@pytest.mark.skipif(not has_bf16(), reason="this CPU has no bfloat16")
def test_bfloat16_is_near_float32_and_not_the_same(network: Network) -> None:
    plain, short = (trunk_forward(network, CPU, size=64, path="openvino", precision=precision) for precision in ("fp32", "bf16"))
    wanted, found = plain([pixels_of(4)]), short([pixels_of(4)])
    assert 0 < np.abs(found - wanted).max() < 0.2 * np.abs(wanted).max()


KINDS: list[tuple[str, str, Precision]] = [("small", "torch", "fp32"), ("resnet", "openvino", "fp32"), ("resnet", "openvino", "bf16"),
                                           ("resnet", "torch", "fp32")]


@pytest.mark.parametrize(("kind", "path", "precision"), KINDS)
def test_features_do_not_depend_on_company(network: Network, kind: str, path: str, precision: Precision) -> None:
    if precision == "bf16" and not has_bf16():
        pytest.skip("this CPU has no bfloat16")
    body, size = (network, 64) if kind == "resnet" else (seen(SMALL), 48)
    trunk = Trunk(body, CPU, size=size, path=path, precision=precision)
    pixels = pixels_of(2 * PASS + 5, size=size)
    whole = trunk.features(pixels)
    order = np.random.default_rng(0).permutation(len(pixels))
    np.testing.assert_array_equal(trunk.features(pixels[order]), whole[order])
    for rows in (slice(0, 1), slice(3, 10), slice(PASS - 1, PASS + 1), slice(60, 69)):
        np.testing.assert_array_equal(trunk.features(pixels[rows]), whole[rows])
    assert trunk.features(pixels[:0]).shape == (0, body.feature_count)


def test_threads_that_wait_share_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one pass runs, four requests of a few images come in: one more pass answers them all, each with its own numbers."""
    trunk = Trunk(seen(SMALL), CPU, size=48, path="torch")
    requests = [pixels_of(5, size=48, seed=seed) for seed in range(4)]
    wanted = [trunk.features(pixels) for pixels in requests]
    inner, first, go_on = TorchForward.__call__, threading.Event(), threading.Event()

    def slow(self: TorchForward, parts: list[np.ndarray]) -> np.ndarray:
        first.set()
        assert go_on.wait(PATIENCE)
        return inner(self, parts)
    monkeypatch.setattr(TorchForward, "__call__", slow)
    trunk.passes = 0
    with ThreadPoolExecutor(5) as pool:
        before = pool.submit(trunk.features, requests[0])
        assert first.wait(PATIENCE)
        answers = [pool.submit(trunk.features, pixels) for pixels in requests]
        until(lambda: len(trunk._queue) == 4)
        go_on.set()
        for answer, features in zip([before, *answers], [wanted[0], *wanted], strict=True):
            np.testing.assert_array_equal(answer.result(PATIENCE), features)
    assert trunk.passes == 2


def test_a_pass_that_fails_fails_for_those_in_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = Trunk(seen(SMALL), CPU, size=48, path="torch")
    pixels = pixels_of(PASS + 3, size=48)
    with monkeypatch.context() as broken:
        broken.setattr(TorchForward, "__call__", lambda self, parts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trunk.features(pixels)
    assert trunk.features(pixels).shape == (PASS + 3, 256)
    assert not trunk._queue


def test_a_trunk_is_in_memory_once_and_goes_with_its_last_model() -> None:
    pool, made = TrunkPool(), []

    def make() -> Trunk:
        made.append(Trunk(build_network(SMALL).eval(), CPU, size=48, path="torch"))
        return made.pop()
    key = TrunkKey.of(SMALL.trunk, sha256="a" * 64, size=48, device=CPU, precision="fp32")
    one, other = pool.get(key, make), pool.get(key, make)
    assert one is other
    assert pool.get(replace(key, size=64), make) is not one
    assert len(pool) == 1       # nobody held the other
    del one, other
    assert len(pool) == 0


def test_which_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_of("resnet18", CPU) == "openvino"
    assert path_of("small_cnn", CPU) == "torch"
    assert path_of("resnet18", torch.device("meta")) == "torch"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert path_of("resnet18", CPU) == "torch"
    forwards.has_bf16.cache_clear()
    assert not has_bf16()
    forwards.has_bf16.cache_clear()


def test_bfloat16_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOSEWELL_PRECISION", "fp32")
    assert not bf16_wanted()
    monkeypatch.setenv("DOSEWELL_PRECISION", "")
    assert bf16_wanted()
    monkeypatch.setenv("DOSEWELL_PRECISION", "half")
    with pytest.raises(DosewellError, match=r"DOSEWELL_PRECISION must be auto or fp32, got 'half'"):
        bf16_wanted()
