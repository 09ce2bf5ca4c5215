"""Models in memory: loaded when they are first asked for, shared trunks once, the least recently used let go under a budget."""

from __future__ import annotations

import gc
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pandas as pd

from models.errors import RefusedError
from models.networks.predict import Predictor
from models.networks.trunks import Trunk
from models.plates.images import WellImages
from models.registered import RegisteredVersion
from serving import metrics

logger = logging.getLogger("dosewell.models")

Key = tuple[str, int, str]


class LoadedModels:
    """Predictors by version. A request that holds one that was let go keeps it to its end.

    budget_bytes: for weights, of heads and of trunks, each trunk counted once; the model asked for last stays even if it alone is larger.
    """

    def __init__(self, load: Callable[[RegisteredVersion], Predictor], *, budget_bytes: float = float("inf")) -> None:
        self._load, self._budget = load, budget_bytes
        self._models: OrderedDict[Key, Predictor] = OrderedDict()   # the latest stands last
        self._loading: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, version: RegisteredVersion) -> Predictor:
        """The version's predictor; those who ask for the same one while it is loaded wait, others do not. Raises what loading raises."""
        key = (version.name, version.version, version.bundle_sha256)
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        try:
            with loading:
                found = self._use(key)
                if found is None:
                    found = self._load(version)
                    self._keep(key, found)
                return found
        finally:
            with self._lock:
                self._loading.pop(key, None)

    @property
    def bytes(self) -> int:
        """Memory of the loaded weights; an estimate, since a compiled trunk does not tell."""
        return _bytes(list(self._models.values()))

    def __len__(self) -> int:
        return len(self._models)

    def _use(self, key: Key) -> Predictor | None:
        with self._lock:
            if key in self._models:
                self._models.move_to_end(key)
            return self._models.get(key)

    def _keep(self, key: Key, predictor: Predictor) -> None:
        gone = []
        with self._lock:
            self._models[key] = predictor
            while len(self._models) > 1 and self.bytes > self._budget:
                gone.append(self._models.popitem(last=False)[0])
            metrics.note_memory(models=len(self._models), size=self.bytes, evicted=len(gone))
        if gone:
            logger.info("%d model(s) were let go to stay within the memory budget: %s", len(gone), ", ".join(
                f"{name} version {number}" for name, number, _ in gone))
            gc.collect()


def _bytes(predictors: list[Predictor]) -> int:
    trunks: dict[int, Trunk] = {id(predictor.trunk): predictor.trunk for predictor in predictors}
    return sum(predictor.head_bytes for predictor in predictors) + sum(trunk.bytes for trunk in trunks.values())


def warm(predictor: Predictor) -> None:
    """One pass over a black image. Raises RefusedError unless the answer is a number."""
    spec = predictor.card.recipe.input
    pixels = np.zeros((1, len(spec.planes), spec.size, spec.size), np.float16)
    answer = predictor.predict(WellImages(pd.DataFrame({"plate": [""], "well": [""], "site": [1]}), pixels, spec.planes))
    if not np.isfinite(answer[["logit", "od"]].to_numpy(float)).any():
        raise RefusedError(f"{predictor.card.name} is refused: it answers no number for a black image")
