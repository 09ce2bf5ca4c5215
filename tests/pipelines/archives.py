"""Screens of tiny plates, and their scoring as archives: planned, noted, cut off."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.networks.bundle import read_card, write_card
from models.networks.drift import DIMENSIONS, Reference
from models.networks.structure import Structure
from models.plates.images import write_plate
from models.plates.layout import write_layout
from models.plates.screen import Channel, Screen
from models.scoring import ScoringOptions
from pipelines.params import ScoreParams
from pipelines.plate_tasks import ModelPlace, Outcome
from pipelines.pools import InlineExecutor
from pipelines.score_archive import Planned, plan
from pipelines.screens import write_screen
from tests.serving.tiny import MODEL, tiny_layout, well_image

OPTIONS = ScoringOptions(fit=ScoreParams().fit)


def make_screen(folder: Path, *, sample: str = "TINY", plates: tuple[str, ...] = ("P1",), **fields: Any) -> Path:
    """A screen of tiny plates with the same layout."""
    for number, plate in enumerate(plates):
        rng = np.random.default_rng(number)
        write_plate(_into(folder / "images") / f"{plate}.zip", (
            (f"{row['well']}_s1_c0_z0.tif", well_image(row, rng)) for _, row in tiny_layout(plate).sort_values("well").iterrows()))
    write_layout(pd.concat([tiny_layout(plate) for plate in plates], ignore_index=True), folder / "layout.csv")
    write_screen(folder, Screen(name=folder.name, sample=sample, channels=(Channel(name="brightfield"),), magnification=10.0,
                                **{"positive_control": {"image": "kill"}} | fields))
    return folder


def _into(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Recording(InlineExecutor):
    """Runs tasks here and notes them; is interrupted at the task of number `stop`."""

    def __init__(self, *, stop: int = -1) -> None:
        self.done: list[tuple[str, str]] = []
        self.stop = stop

    def submit(self, fn: Callable[..., Outcome], /, *args: Any, **kwargs: Any) -> Future[Outcome]:
        if len(self.done) == self.stop:
            raise KeyboardInterrupt
        task = args[0]
        self.done.append((fn.__name__, task.out.name))
        return super().submit(fn, *args, **kwargs)


def planned_in(tmp_path: Path, bundle: Path, *screens: Path) -> list[Planned]:
    """The plan of screens, with the bundle where its trunk is found."""
    kept, trunks = tmp_path / "out" / "models" / MODEL, tmp_path / "out" / "trunks"
    if not kept.is_dir():
        kept.parent.mkdir(parents=True)
        bundle.rename(kept)
        (bundle.parent / "trunk-0").rename(_into(trunks) / "trunk-0")
    return plan(screens, tmp_path / "out", [ModelPlace(bundle=kept, device="cpu")], options=OPTIONS)


def with_reference(bundle: Path) -> None:
    """A card that knows how its training's controls looked."""
    own = Reference(value="od", negative=0.0, positive=None, gap=1.0, z_prime=None, wells=8, feature_mean=(0.0,) * DIMENSIONS,
                    feature_whitening=tuple((0.0,) * row + (1.0,) for row in range(DIMENSIONS)),
                    structure=Structure(spectrum=tuple(np.linspace(0.1, 0.5, 9)), spread=0.1))
    write_card(bundle, replace(read_card(bundle), reference=own))
