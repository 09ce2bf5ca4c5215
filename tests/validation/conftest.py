"""A small good screen that tests spoil: 96-well plate, controls of both kinds, two drugs of six doses in duplicate."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.errors import InputError
from models.plates.images import encode_tiff, member_name
from models.plates.layout import parse_layout
from models.plates.screen import Screen
from models.plates.spreadsheets import read_table
from models.wells import wells_of
from validation.evidence import Evidence
from validation.inventory import take_inventory
from validation.rules import judge_screen
from validation.thresholds import Thresholds
from validation.verdicts import Verdict, refused

DRUGS = ("cisplatin", "gemcitabine", "topotecan", "olaparib", "doxorubicin", "trametinib")
DOSES = (1, 10, 100, 1_000, 10_000, 100_000)


def small_image(effect: float, rng: np.random.Generator) -> np.ndarray:
    """16x16 grey values: a living well (effect 0) is bright and rough, a dead one (effect 1) dim and smooth."""
    return rng.normal(150 - 60 * effect, 30 - 20 * effect, (16, 16)).clip(1, 254).astype(np.uint8)


@dataclass
class Draft:
    """A screen before it is written. `layout` has text columns; `file`, if set, is written as layout.csv instead."""

    layout: pd.DataFrame
    images: dict[str, dict[str, bytes]]
    screen: dict[str, Any]
    file: bytes | None = None
    infos: dict[str, zipfile.ZipInfo] = field(default_factory=dict)

    def at(self, role: str, place: int = 0) -> int:
        """Row of the layout where the well of that role stands, counted from 0."""
        return int(self.layout.index[self.layout["role"] == role][place])

    def member(self, row: int) -> str:
        """Archive member of a layout row."""
        return member_name(self.layout.at[row, "well"])

    def csv(self, delimiter: str = ",", encoding: str = "utf-8") -> bytes:
        """The layout as a file."""
        return self.layout.to_csv(index=False, sep=delimiter).encode(encoding)

    def write(self, folder: Path) -> Path:
        """Write screen.yaml, layout.csv and images/<plate>.zip."""
        (folder / "images").mkdir(parents=True)
        (folder / "layout.csv").write_bytes(self.csv() if self.file is None else self.file)
        for plate, members in self.images.items():
            with zipfile.ZipFile(folder / "images" / f"{plate}.zip", "w") as archive:
                for name, data in members.items():
                    archive.writestr(self.infos.get(name, zipfile.ZipInfo(name)), data)
        fields = "".join(f"{name}: {value}\n" for name, value in self.screen.items())
        (folder / "screen.yaml").write_text(fields, encoding="utf-8")
        return folder

    def evidence(self, folder: Path) -> Evidence:
        """Everything that the rules look at, by way of files. Raises InputError where they cannot be read."""
        self.write(folder)
        screen = Screen.from_dict(self.screen)
        parsed = parse_layout(read_table(folder / "layout.csv"), plate_format=screen.plate_format)
        return Evidence(parsed=parsed, screen=screen, thresholds=Thresholds(),
                        inventory=take_inventory((folder / "images").glob("*.zip")))

    def judge(self, folder: Path) -> Verdict:
        """The verdict, as pipeline and service come to it."""
        try:
            evidence = self.evidence(folder)
        except InputError as error:
            return refused(self.screen["name"], error.findings)
        return judge_screen(evidence.parsed, evidence.screen, inventory=evidence.inventory, thresholds=evidence.thresholds)


def make_draft(plates: tuple[str, ...] = ("P1",), *, drugs: int = 2, controls: int = 6, seed: int = 1) -> Draft:
    """A good draft: per plate negative, positive, 6 reference and 12 wells a drug, scattered; 6 drugs and 9 controls fill it."""
    given: list[tuple[str, str, float]] = [("negative", "DMSO", 0)] * controls + [("positive", "staurosporine", 1_000)] * controls
    given += [("reference", "staurosporine", dose) for dose in DOSES]
    given += [("treated", drug, dose) for drug in DRUGS[:drugs] for dose in DOSES for _ in range(2)]
    rows, images = [], {}
    for number, plate in enumerate(plates):
        rng = np.random.default_rng(seed + number)
        wells = sorted(rng.permutation(list(wells_of(96)))[:len(given)])
        rng.shuffle(wells)
        images[plate] = {}
        for well, (role, treatment, dose) in sorted(zip(map(str, wells), given, strict=True)):
            effect = {"negative": 0.0, "positive": 1.0}.get(role, dose / (dose + 300))
            rows.append({"plate": plate, "well": well, "role": role, "treatment": treatment,
                         "dose": f"{dose:g}" if dose else "", "dose_unit": "nM" if dose else ""})
            images[plate][member_name(well)] = encode_tiff(small_image(effect, rng))
    screen = {"name": "small", "sample": "A549", "channels": ["brightfield"], "plate_format": 96, "controls": "both"}
    return Draft(pd.DataFrame(rows, dtype="str"), images, screen)


@pytest.fixture
def draft() -> Draft:
    """A good screen of one plate."""
    return make_draft()


@pytest.fixture
def two_plates() -> Draft:
    """A good screen of two plates."""
    return make_draft(("P1", "P2"))


@pytest.fixture
def full_plates() -> Draft:
    """A good screen of three plates, each with all of its 96 wells in use."""
    return make_draft(("P1", "P2", "P3"), drugs=6, controls=9)
