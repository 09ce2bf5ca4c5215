"""Stage `report`: every scored screen and image set as one self-contained HTML page, and an index of them. One process for all."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from models.combinations import CombinationTables
from models.errors import Finding, InputError
from models.plates.screen import Screen
from models.report import (
    ReportTables,
    class_index_entry,
    index_entry,
    render_classes,
    render_index,
    render_report,
)
from models.report.inputs import flag_list
from models.single_doses import read_single_doses
from models.tables import CURVES, WELL_SCORES, check_table
from pipelines.class_report import ClassEntry, Entry, own_pages, read_class_entry, read_evaluation
from pipelines.command import add_params, run_command
from pipelines.imagesets import CLASSES
from pipelines.params import listed
from pipelines.screens import read_screen, whole_folder

INDEX = "index.html"
SCORE_FILES = ("wells.parquet", "curves.parquet", "quality.parquet", "findings.json", "lineage.json")


@dataclass(frozen=True, kw_only=True)
class ScoredEntry(Entry):
    """A scored screen with all that its page shows."""

    screen: Screen
    tables: ReportTables


def run(entries: Iterable[ScoredEntry], imagesets: Iterable[ClassEntry] = ()) -> Iterator[tuple[str, str]]:
    """(file name, HTML) of every page and of the index, one after the other: of a hundred screens one is in memory. The same entries give
    the same bytes.
    """
    lines = []
    for entry in entries:
        yield f"{entry.name}.html", render_report(entry.tables, screen=entry.screen, lineage=entry.lineage, metrics=entry.metrics,
                                                  gates=entry.gates, links={"All reports": INDEX, **entry.links})
        lines.append(index_entry(entry.tables, file=f"{entry.name}.html", screen=entry.screen, lineage=entry.lineage, gates=entry.gates))
    for images in imagesets:
        yield f"{images.name}.html", render_classes(images.tables, imageset=images.imageset, lineage=images.lineage, metrics=images.metrics,
                                                    gates=images.gates, links={"All reports": INDEX, **images.links})
        lines.append(class_index_entry(images.tables, file=f"{images.name}.html", imageset=images.imageset, lineage=images.lineage,
                                       gates=images.gates))
    yield INDEX, render_index(lines)


def read_entry(folder: Path, *, data: Path, evaluations: Path, bundles: Path, links: Mapping[str, str]) -> ScoredEntry:
    """A screen's scores, with the metrics and gates of the model that made them. links: words -> folder of pages named by screen.

    Raises InputError naming the file if one is missing, TableError if a table breaks its contract.
    """
    missing = [name for name in SCORE_FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} lacks {', '.join(missing)}; run the stage `score` for this screen")
    lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
    metrics, card = read_evaluation(lineage.get("model", ""), evaluations=evaluations, bundles=bundles)
    return ScoredEntry(name=folder.name, screen=read_screen(data / folder.name), tables=read_tables(folder), lineage=lineage,
                       metrics=metrics, gates=card.gates, links=own_pages(links, folder.name))


def read_tables(folder: Path) -> ReportTables:
    """The tables that the stage `score` wrote; flags become lists again, which Parquet gives back as arrays."""
    wells = pd.read_parquet(folder / "wells.parquet")
    wells = wells.assign(flags=pd.Series([flag_list(flags) for flags in wells["flags"]], index=wells.index, dtype=object))
    findings = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    return ReportTables(wells=check_table(wells, WELL_SCORES, keys=("plate", "well")),
                        curves=check_table(pd.read_parquet(folder / "curves.parquet"), CURVES),
                        quality=pd.read_parquet(folder / "quality.parquet"), findings=tuple(Finding(**record) for record in findings),
                        combinations=CombinationTables.read(folder), single_doses=read_single_doses(folder))


def write_pages(pages: Iterable[tuple[str, str]], out: Path) -> None:
    """Write the pages into `out`, replacing what was there as a whole."""
    with whole_folder(out) as folder:
        for name, page in pages:
            (folder / name).write_text(page, encoding="utf-8", newline="\n")


def relative(folder: Path, out: Path) -> str:
    """The address of `folder` for a page in `out`."""
    return quote(Path(os.path.relpath(folder, out)).as_posix())


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_params(parser)
    parser.add_argument("--scores", type=Path, required=True, help="one folder per scored screen")
    parser.add_argument("--data", type=Path, required=True, help="one folder per screen, with screen.yaml")
    parser.add_argument("--evaluate", type=Path, required=True, help="metrics.json per model")
    parser.add_argument("--models", type=Path, required=True, help="bundles, whose cards hold the judged gates")
    parser.add_argument("--validate", type=Path, required=True, help="pages of the data checks to link to, one per screen")
    parser.add_argument("--docs", type=Path, required=True, help="Data Docs to link to, one page per screen")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pages")
    arguments = parser.parse_args()
    scored = listed(arguments.params, "scores")      # what else lies there was scored when params.yaml still listed it
    folders, imagesets = (sorted(path.parent for path in arguments.scores.glob(f"*/{name}") if path.parent.name in scored)
                          for name in (SCORE_FILES[0], CLASSES))
    links = {"Checks of the data": relative(arguments.validate, arguments.out), "Data Docs": relative(arguments.docs, arguments.out)}
    places: dict[str, Any] = {"data": arguments.data, "evaluations": arguments.evaluate, "bundles": arguments.models, "links": links}
    write_pages(run((read_entry(folder, **places) for folder in folders), (read_class_entry(folder, **places) for folder in imagesets)),
                arguments.out)
    print(f"report: {len(folders)} screen(s), {len(imagesets)} image set(s), see {arguments.out / INDEX}")


if __name__ == "__main__":
    run_command(main)
