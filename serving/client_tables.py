"""Answers of the service as tables, and as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from models.classifying import is_judged
from models.columns import Contract
from models.combinations import CombinationTables
from models.errors import Finding
from models.networks.bundle import GateResult
from models.plates.safe_csv import write_csv
from models.plates.screen import Screen
from models.report import render_report, render_text
from models.single_doses import NAME as SINGLE
from models.tables import COMBINATION_PAIRS, COMBINATIONS, CURVES, IMAGE_CLASSES, SINGLE_DOSES, WELL_SCORES, check_table
from models.whole_file import write_whole
from models.words import number
from serving.readouts import write_tables

TOLD = 20   # findings in a summary


@dataclass(frozen=True, kw_only=True)
class Scores:
    """An answer as tables: wells (WellScores), curves (Curves), quality (a row per plate), flags as `findings`; combinations: pairs
    of treatments, `doses` (Combinations) and `pairs` (CombinationPairs), without rows where no well holds two; single_doses: SingleDoses,
    without rows where every treatment has doses enough for a curve; the screen as it was
    understood; lineage as a mapping; answer: all of it as it came, with the job's id where there was one.
    """

    wells: pd.DataFrame
    curves: pd.DataFrame
    quality: pd.DataFrame
    combinations: CombinationTables
    single_doses: pd.DataFrame
    findings: tuple[Finding, ...]
    screen: Screen
    lineage: Mapping[str, str]
    answer: Mapping[str, Any]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Scores:
        """From the JSON of POST /score or of a job's result."""
        return cls(wells=_table(answer["wells"], WELL_SCORES), curves=_table(answer["curves"], CURVES),
                   quality=pd.DataFrame(answer["quality"]), combinations=CombinationTables(
                       _table(answer.get("combinations") or [], COMBINATIONS),
                       _table(answer.get("combination_pairs") or [], COMBINATION_PAIRS)),
                   single_doses=_table(answer.get(SINGLE) or [], SINGLE_DOSES), findings=tuple(Finding(**flag) for flag in answer["flags"]),
                   screen=Screen.from_dict(answer["screen"]), lineage=answer["lineage"], answer=answer)

    @property
    def job(self) -> str:
        """Id of the job that made it; "" without one."""
        return str(self.answer.get("job", ""))

    def write(self, folder: Path) -> list[Path]:
        """wells.csv, curves.csv, quality.csv, those of hits, single doses and combinations where there are some, answer.json, and
        report.html: one page that works offline. Returns their paths.
        """
        metrics = (self.answer.get("adapted") or {}).get("metrics") or {}
        gates = [GateResult(**gate) for gate in self.answer["gates"]]
        page = render_report(self, screen=self.screen, lineage=self.lineage, gates=gates, metrics=metrics)
        return [write_whole(folder / "report.html", page), *write_tables(self, folder, screen=self.screen, gates=gates),
                _write_answer(self.answer, folder)]

    def summary(self) -> str:
        """Plate quality and curves in words, and the first warnings."""
        counts = f"{number(len(self.wells), 'well')}, {number(len(self.curves), 'treatment')}"
        head = f"{self.lineage['model']} version {self.lineage['version']}: {counts}"
        return "\n".join([head, render_text(self, screen=self.screen), *_told(self.findings)])


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Classes of images: `images` (ImageClasses), flags as `findings`, lineage; answer: all of it as it came."""

    images: pd.DataFrame
    findings: tuple[Finding, ...]
    lineage: Mapping[str, str]
    answer: Mapping[str, Any]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Classes:
        """From the JSON of POST /classify."""
        return cls(images=_table(answer["images"], IMAGE_CLASSES), findings=tuple(Finding(**flag) for flag in answer["flags"]),
                   lineage=answer["lineage"], answer=answer)

    def write(self, folder: Path) -> list[Path]:
        """classes.csv and answer.json. Returns their paths."""
        return [write_csv(self.images, folder / "classes.csv"), _write_answer(self.answer, folder)]

    def summary(self) -> str:
        """How many images of each class, how many that are of none, and the warnings."""
        judged = self.images["flags"].map(is_judged).astype(bool)
        unsure = self.images["flags"].map(lambda flags: "unsure" in flags).astype(bool) & judged
        counts = self.images.loc[judged & ~unsure, "class"].value_counts()
        told = ", ".join([f"{counts.get(name, 0)} {name}" for name in self.answer["classes"]] + [f"{unsure.sum()} undecided"]
                         + ([f"{(~judged).sum()} that the model does not know"] if not judged.all() else []))
        head = f"{self.lineage['model']} version {self.lineage['version']}: {number(len(self.images), 'image')}, {told}"
        return "\n".join([head, *_told(self.findings)])


def _write_answer(answer: Mapping[str, Any], folder: Path) -> Path:
    return write_whole(folder / "answer.json", json.dumps(answer, indent=1) + "\n")


def _told(findings: tuple[Finding, ...]) -> Iterable[str]:
    yield from ["", *map(str, findings[:TOLD])] if findings else []
    if len(findings) > TOLD:
        yield f"... and {len(findings) - TOLD} more"


def _table(records: list[dict[str, Any]], contract: Contract) -> pd.DataFrame:
    """Records as a checked table; none at all is a table without rows, as for a plate of controls only."""
    return check_table(pd.DataFrame(records, columns=None if records else contract.names()), contract)
