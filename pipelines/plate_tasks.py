"""Scoring an archive, cut into tasks that any process on any machine can do: a plate's raw outputs, then a screen's scores from those.

A task knows paths only, and leaves its result on disk, whole or not at all: what was done is not done again, and a thousand plates are
never in memory together.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import DosewellError, Finding, InputError
from models.networks.bundle import bundle_sha256, trunk_finder
from models.networks.drift import with_structure_sizes
from models.networks.inversion import inversion_findings
from models.networks.predict import Predictor, load_predictor
from models.plates.data_hash import data_md5, file_md5
from models.plates.layout import ParsedLayout, only_plate, parse_layout
from models.plates.screen import Screen
from models.plates.spreadsheets import read_table
from models.records import from_record, to_record
from models.report import render_report
from models.scoring import ScoringOptions, score_predicted
from pipelines.lineage import lineage_of
from pipelines.report import read_tables
from pipelines.score import write_scores
from pipelines.screens import LAYOUT_FILE, SCREEN_FILE, read_screen, whole_folder
from validation.inventory import Inventory
from validation.reading import PlateReader
from validation.rules import judge_screen
from validation.thresholds import thresholds_of

STATE = "state.json"
REPORT = "report.html"
INDEX = "index.html"


@dataclass(frozen=True, kw_only=True)
class ModelPlace:
    """A bundle on disk, OUT/models/<name>, whose frozen trunk lies in OUT/trunks; and the device that it is to compute on."""

    bundle: Path
    device: str

    def load(self) -> Predictor:
        """The predictor; a process keeps the last few."""
        return _loaded(self, bundle_sha256(self.bundle))


@functools.lru_cache(maxsize=4)
def _loaded(place: ModelPlace, _sha256: str) -> Predictor:      # of what lies there now: it may have been trained again
    return load_predictor(place.bundle, find_trunk=trunk_finder([place.bundle.parents[1] / "trunks"]), device=place.device)


@dataclass(frozen=True, kw_only=True)
class PlateTask:
    """archive: of the screen in `screen`; out: folder of the plate's raw outputs; state: what they are made from."""

    screen: Path
    archive: Path
    model: ModelPlace
    out: Path

    @property
    def state(self) -> str:
        """Changes with the archive, the screen's record and the model."""
        found = self.archive.stat()
        return _digest(f"{self.archive.name}\0{found.st_size}\0{found.st_mtime_ns}", self.screen / SCREEN_FILE, self.model.bundle)

    @property
    def done(self) -> bool:
        """Whether the raw outputs of this very plate and model are there."""
        return _state_of(self.out) == self.state


@dataclass(frozen=True, kw_only=True)
class ScreenTask:
    """plates: of the screen, done; out: folder of its scores; options: as `models.scoring` takes them; commit: of the code."""

    screen: Path
    plates: tuple[PlateTask, ...]
    model: ModelPlace
    out: Path
    options: ScoringOptions
    commit: str

    @property
    def state(self) -> str:
        """Changes with the plates, the layout and the options."""
        return _digest("\0".join(task.state for task in self.plates) + json.dumps(to_record(self.options), sort_keys=True),
                       self.screen / LAYOUT_FILE, self.model.bundle)

    @property
    def done(self) -> bool:
        """Whether these very scores are there."""
        return _state_of(self.out) == self.state


@dataclass(frozen=True, kw_only=True)
class PlateRecord:
    """What state.json says of a plate's raw outputs. state: what they are made from; md5: of the archive; plates, findings: of its
    inventory and its images; unprepared: why the images cannot be prepared, "" where they were; reasons: the findings of that.
    """

    state: str
    md5: str
    plates: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    unprepared: str = ""
    reasons: tuple[Finding, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> PlateRecord:
        """The record of the raw outputs in this folder."""
        return from_record(cls, _record_in(folder), path=STATE)


@dataclass(frozen=True)
class Outcome:
    """What became of a task: nothing to say, or why it could not be done."""

    error: str = ""
    findings: tuple[Finding, ...] = ()


def predict_plate(task: PlateTask) -> Outcome:
    """Write what the network says of a plate, the measures of its images and its inventory into `task.out`.

    Images that cannot be prepared are noted there and told when the rules have judged the screen: they say it better.
    """
    return _told(lambda: _predict_plate(task))


def _predict_plate(task: PlateTask) -> None:
    state, screen, predictor = task.state, read_screen(task.screen), task.model.load()
    reader = PlateReader([task.archive], screen, predictor.card.recipe.input)
    inventory = reader.inventory()
    with whole_folder(task.out) as folder:
        inventory.images.to_parquet(folder / "images.parquet", index=False)
        record = PlateRecord(state=state, md5=file_md5(task.archive), plates=inventory.plates, findings=inventory.findings)
        try:
            images = reader.images()
        except InputError as error:
            record = replace(record, unprepared=error.summary, reasons=error.findings)
        else:
            raw = predictor.predict(images)
            layout = _layout(task.screen, screen, plates=inventory.plates).layout
            record = replace(record, findings=(*record.findings, *inversion_findings(images, raw, layout, predictor)))
            raw = with_structure_sizes(raw, images, layout, predictor.card.reference)
            raw.to_parquet(folder / "raw.parquet", index=False)
            images.quality.to_parquet(folder / "quality.parquet", index=False)
        (folder / STATE).write_text(json.dumps(to_record(record), indent=1) + "\n", encoding="utf-8")


def score_screen(task: ScreenTask) -> Outcome:
    """Judge the screen by the rules of the service, and write its scores and its report into `task.out`."""
    return _told(lambda: _score_screen(task))


def _score_screen(task: ScreenTask) -> None:
    screen, predictor = read_screen(task.screen), task.model.load()
    card = predictor.card
    records = [PlateRecord.read(plate.out) for plate in task.plates]
    inventory = _inventory(task.plates, records)
    parsed = _layout(task.screen, screen, plates=inventory.plates)
    verdict = judge_screen(parsed, screen, inventory=inventory, thresholds=thresholds_of(card))
    verdict.require()
    if unprepared := [record.unprepared for record in records if record.unprepared]:
        raise InputError("; ".join(unprepared), [found for record in records for found in record.reasons])
    scored = score_predicted(_joined(task.plates, "raw"), _joined(task.plates, "quality"), parsed.layout, screen=screen, card=card,
                             model=card.name, version=predictor.sha256[:12], options=task.options)
    scored = replace(scored, findings=(*verdict.findings, *scored.findings))
    known = {f"images/{plate.archive.name}": record.md5 for plate, record in zip(task.plates, records, strict=True)}
    lineage = lineage_of(predictor, screen=task.screen.name, data_md5=data_md5(task.screen, known=known), commit=task.commit)
    with whole_folder(task.out) as folder:
        write_scores(scored, folder, lineage=lineage)
        page = render_report(read_tables(folder), screen=screen, lineage=lineage, metrics=card.metrics, gates=card.gates,
                             links={"All reports": f"../../{INDEX}"})
        (folder / REPORT).write_text(page, encoding="utf-8", newline="\n")
        (folder / STATE).write_text(json.dumps({"state": task.state}) + "\n", encoding="utf-8")


def _layout(folder: Path, screen: Screen, *, plates: Sequence[str]) -> ParsedLayout:
    return parse_layout(read_table(folder / LAYOUT_FILE), plate_format=screen.plate_format, default_plate=only_plate(plates))


def _inventory(plates: Sequence[PlateTask], records: Sequence[PlateRecord]) -> Inventory:
    """The screen's inventory from those of its plates."""
    images = pd.concat([pd.read_parquet(task.out / "images.parquet") for task in plates], ignore_index=True)
    return Inventory(images, tuple(found for record in records for found in record.findings),
                     tuple(name for record in records for name in record.plates))


def _joined(plates: Sequence[PlateTask], name: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(task.out / f"{name}.parquet") for task in plates], ignore_index=True)


def _told(work: Callable[[], None]) -> Outcome:
    """The outcome of some work; only what is no fault of the data is raised: an exception loses its findings between processes."""
    try:
        work()
    except InputError as error:
        return Outcome(error.summary, error.findings)
    except DosewellError as error:
        return Outcome(str(error))
    return Outcome()


def _state_of(folder: Path) -> str:
    """What the content of a folder was made from; "" where there is none."""
    return str(_record_in(folder)["state"]) if (folder / STATE).is_file() else ""


def _record_in(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / STATE).read_text(encoding="utf-8")))


def _digest(text: str, file: Path, bundle: Path) -> str:
    return hashlib.sha256(f"{text}\0{file_md5(file)}\0{bundle_sha256(bundle)}".encode()).hexdigest()
