"""Networks: recipes, trunks and heads, training, evaluation and bundles.

Names that need torch are imported on first use, so that stages which only read recipes and cards start quickly.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from models.networks.recipe import Recipe

# How long torch's threads spin for one another, read when torch is loaded: by default 30 times as long, in which time on a machine that
# others use too nothing is done. docs/train_and_promote.md has the figures.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

if TYPE_CHECKING:
    from models.networks.heads import Network, build_network
    from models.networks.predict import Predictor, load_predictor

__all__ = ["Network", "Predictor", "Recipe", "build_network", "load_predictor"]


def __getattr__(name: str) -> Any:
    if name in ("Network", "build_network"):
        from models.networks import heads

        return getattr(heads, name)
    if name in ("Predictor", "load_predictor"):
        from models.networks import predict

        return getattr(predict, name)
    raise AttributeError(f"module 'models.networks' has no attribute '{name}'")
