"""A model that reads the truth off its images, and scoring with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from models.dose_response import FitOptions
from models.networks.bundle import Card, TrunkReference
from models.networks.heads import build_network
from models.networks.predict import Predictor, output_columns
from models.networks.recipe import Recipe
from models.plates.images import WellImages
from models.plates.screen import Screen
from models.scoring import ScoredScreen, ScoringOptions, score_images
from tests.conftest import READOUT, tiny_images, tiny_layout

SCREEN = Screen.from_dict({"name": "s", "sample": "X", "magnification": 10.0, "pixel_size_um": 1.3})


class Reader(Predictor):
    """Reads the brightness of an image as OD, or the OD as a logit of life: an oracle instead of a network."""

    def predict(self, images: WellImages, *, on_images: Callable[[int], object] = lambda count: None) -> pd.DataFrame:
        level = 2 * images.pixels.astype(np.float32).mean(axis=(1, 2, 3))
        regression = self.card.recipe.is_regression
        return images.wells.assign(**output_columns((level if regression else 4 * (level - 0.8))[:, None], regression=regression),
                                   feature_distance=1.0)


def reader(recipe: Recipe = READOUT, **changes: object) -> Reader:
    values: dict[str, object] = {"name": "viability-X", "system": recipe.system, "recipe": recipe, "output": "", "sample": "X",
                                 "acquisition": {"magnification": 10.0, "pixel_size_um": 1.3, "bit_depth": None}, "weights_sha256": "",
                                 "trunk": TrunkReference(name="small_cnn", weights="none", sha256="")}
    return Reader(build_network(recipe), Card(**{**values, **changes}), "f" * 64, torch.device("cpu"))


def score(layout: pd.DataFrame | None = None, images: WellImages | None = None, *, screen: Screen = SCREEN,
          predictor: Predictor | None = None, **options: object) -> ScoredScreen:
    layout = tiny_layout() if layout is None else layout
    return score_images(tiny_images(layout, noise=0) if images is None else images, layout, screen=screen,
                        predictor=predictor or reader(), model="viability-X", version="7",
                        options=ScoringOptions(fit=FitOptions(interval="none"), **options))


def rules(scored: ScoredScreen) -> list[str]:
    """Findings about data; what a kind of model can say at all stands in every answer, and images without noise are all alike."""
    return [finding.rule for finding in scored.findings
            if not finding.rule.endswith("_scope") and finding.rule not in ("effect_scale", "saturated_output")]


def with_failed_positives(layout: pd.DataFrame, *, left_alive: int) -> pd.DataFrame:
    """The layout, with read-outs of living cells in so many of its positive controls."""
    failed = layout.index[layout["role"] == "positive"][:left_alive]
    living = layout.loc[layout["role"] == "negative", "readout"].to_numpy()
    return layout.assign(readout=layout["readout"].mask(layout.index.isin(failed), pd.Series(living[:len(failed)] - 0.01, index=failed)))
