"""Trunks in memory: one copy of each, shared by all the heads that stand on it, and one forward pass for all who wait for it.

An image's features do not depend on its company, to the last bit (models/networks/forward.py). So a plate gives the same numbers alone
and beside others, at the stage and in the service. `tests/models/networks/test_forward.py` holds this.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from models.networks.forward import Path, Precision, trunk_forward
from models.networks.heads import Network
from models.networks.recipe import TrunkSpec
from models.plates.images import Pixels


@dataclass(frozen=True, kw_only=True)
class TrunkKey:
    """What makes two trunks the same. sha256: of its weights; size: pixels of its images; spec: how they are normalised."""

    sha256: str
    name: str
    offset: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    device: str
    precision: Precision

    @classmethod
    def of(cls, spec: TrunkSpec, *, sha256: str, size: int, device: torch.device, precision: Precision) -> TrunkKey:
        """The key of a recipe's trunk."""
        return cls(sha256=sha256, name=spec.name, offset=spec.offset, mean=spec.mean, std=spec.std, size=size, device=str(device),
                   precision=precision)


@dataclass(eq=False)
class _Waiting:
    """Images whose features somebody waits for. taken, done: how many went into a pass, and came out of one."""

    pixels: Pixels
    features: np.ndarray
    taken: int = 0
    done: int = 0
    error: BaseException | None = None
    over: threading.Event = field(default_factory=threading.Event)


class Trunk:
    """A loaded trunk. network: holds normalisation and trunk (its head is nobody's); several threads may ask at once."""

    def __init__(self, network: Network, device: torch.device, *, size: int, path: Path, precision: Precision = "fp32") -> None:
        self.network, self.precision = network, precision
        self._forward = trunk_forward(network, device, size=size, path=path, precision=precision)
        copies = 1 if path == "torch" else 2    # torch's weights stay for features that scoring does not need; estimated alike
        self.bytes = copies * sum(item.numel() * item.element_size() for item in network.trunk.state_dict().values())
        self.passes = 0
        self._queue: deque[_Waiting] = deque()
        self._queued, self._turn = threading.Lock(), threading.Lock()

    @property
    def images(self) -> int:
        """How many images a pass takes at most."""
        return self._forward.images

    def features(self, pixels: Pixels) -> np.ndarray:
        """Pixels on 0-1 (N, C, H, W) float16 -> features (N, F) float32. Images of all threads that wait share the passes, in the order in
        which they came; whoever has the turn runs a pass for all.
        """
        mine = _Waiting(pixels, np.empty((len(pixels), self.network.feature_count), np.float32))
        if not len(pixels):
            return mine.features
        with self._queued:
            self._queue.append(mine)
        while not mine.over.is_set():
            with self._turn:
                if not mine.over.is_set():
                    self._run_pass()
        if mine.error is not None:
            raise mine.error
        return mine.features

    def _run_pass(self) -> None:
        parts = self._take()
        try:
            found = self._forward([wait.pixels[rows] for wait, rows in parts])     # (B, F)
        except BaseException as error:
            for wait, _ in parts:
                wait.error = error
                wait.over.set()
            return
        start = 0
        for wait, rows in parts:
            count = rows.stop - rows.start
            wait.features[rows] = found[start:start + count]
            start, wait.done = start + count, wait.done + count
            if wait.done == len(wait.pixels):
                wait.over.set()
        self.passes += 1

    def _take(self) -> list[tuple[_Waiting, slice]]:
        """The next images, as many as a pass takes, first come first served."""
        parts: list[tuple[_Waiting, slice]] = []
        room = self.images
        with self._queued:
            while room and self._queue:
                wait = self._queue[0]
                rows = slice(wait.taken, min(wait.taken + room, len(wait.pixels)))
                if not wait.over.is_set():      # it is when an earlier part of it failed
                    parts.append((wait, rows))
                    room -= rows.stop - rows.start
                wait.taken = rows.stop
                if wait.taken == len(wait.pixels) or wait.over.is_set():
                    self._queue.popleft()
        return parts


class TrunkPool:
    """The trunks that somebody holds, each once; one goes when the last of its models does."""

    def __init__(self) -> None:
        self._trunks: weakref.WeakValueDictionary[TrunkKey, Trunk] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, key: TrunkKey, make: Callable[[], Trunk]) -> Trunk:
        """The trunk with this key, made if nobody holds it; one is made at a time."""
        with self._lock:
            trunk = self._trunks.get(key)
            if trunk is None:
                trunk = make()
                self._trunks[key] = trunk
            return trunk

    def __len__(self) -> int:
        return len(self._trunks)


POOL = TrunkPool()
"""The trunks of this process."""
