"""Stage `validate`: is each screen and image set fit to use? One process over all, a verdict and a page for each.

A refused screen does not fail this stage: it fails its own first cell, `prepare`, so that the other screens go on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from models.errors import Finding, InputError
from models.plates.layout import only_plate, parse_layout
from models.plates.spreadsheets import read_table
from pipelines.command import add_params, run_command
from pipelines.imagesets import IMAGES_ARCHIVE, IMAGES_TABLE, is_imageset, read_imageset
from pipelines.params import Params
from pipelines.screens import LAYOUT_FILE, plate_archives, read_screen
from validation.data_docs import write_index
from validation.evidence import Evidence
from validation.imageset_rules import gather_imageset, take_contents
from validation.kept import kept_inventory
from validation.pages import screen_page
from validation.rules import Thresholds
from validation.suites import validate_imageset, validate_screen
from validation.verdicts import Verdict, refused, write_verdict


@dataclass(frozen=True)
class Judged:
    """A verdict, what it rests on (None for an image set, and if the screen could not be read), and its page of Data Docs."""

    verdict: Verdict
    evidence: Evidence | None = None
    docs: str = ""
    kind: str = "screen"


def gather(folder: Path, thresholds: Thresholds, *, kept: Path) -> Evidence:
    """Read screen.yaml, layout.csv and every image of a screen's folder that is new. kept: folder of what is known of the others.

    Raises InputError (its kinds: ScreenError, TableError) if there is no such folder, screen or layout.
    """
    if not folder.is_dir():
        raise InputError(f"screen '{folder.name}' is not there", [Finding(
            rule="screen_missing", severity="error", value=folder.name,
            message=f"there is no folder data/{folder.name}; get it with `dvc pull`, make it with `python -m pipelines.add_screen "
                    f"SOURCE --name {folder.name}` (examples: `python -m pipelines.make_example`), or take it out of params.yaml")])
    screen = read_screen(folder)
    raw = read_table(folder / LAYOUT_FILE)      # first: a layout that cannot be read is told before hours of images
    inventory = kept_inventory(plate_archives(folder), kept / folder.name)
    parsed = parse_layout(raw, plate_format=screen.plate_format, default_plate=only_plate(inventory.plates))
    return Evidence(parsed=parsed, screen=screen, thresholds=thresholds, inventory=inventory)


def judge_folder(folder: Path, thresholds: Thresholds, *, kept: Path) -> Judged:
    """The verdict on a folder; what cannot be read is a refusal. kept: as of `gather`. Raises ScreenError only if the rules broke."""
    kind = "image set" if is_imageset(folder) else "screen"
    try:
        if is_imageset(folder):
            images = gather_imageset(read_imageset(folder), read_table(folder / IMAGES_TABLE), take_contents(folder / IMAGES_ARCHIVE))
            verdict, docs = validate_imageset(images)
            return Judged(verdict, docs=docs, kind=kind)
        evidence = gather(folder, thresholds, kept=kept)
    except InputError as error:
        return Judged(refused(folder.name, error.findings, message=error.summary), kind=kind)
    verdict, docs = validate_screen(evidence)
    return Judged(verdict, evidence, docs)


def run(names: Iterable[str], *, data: Path, thresholds: Thresholds, out: Path, docs: Path, kept: Path) -> list[Verdict]:
    """Judge the screens of these names; writes <out>/<screen>.json and .html, <docs>/<screen>.html and <docs>/index.html."""
    for folder in (out, docs):
        folder.mkdir(parents=True, exist_ok=True)
    verdicts = []
    for name in tqdm(list(names), desc="validate", unit="screen"):
        judged = judge_folder(data / name, thresholds, kept=kept)
        page = screen_page(judged.verdict, judged.evidence, kind=judged.kind)
        write_verdict(judged.verdict, out / f"{name}.json")
        (out / f"{name}.html").write_text(page, encoding="utf-8")
        (docs / f"{name}.html").write_text(judged.docs or page, encoding="utf-8")
        verdicts.append(judged.verdict)
    write_index(verdicts, docs / "index.html", reports=f"../{out.name}")
    return verdicts


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_params(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder of all screens")
    parser.add_argument("--out", type=Path, required=True, help="folder of verdicts and pages")
    parser.add_argument("--docs", type=Path, required=True, help="folder of the Data Docs")
    parser.add_argument("--kept", type=Path, required=True, help="folder for what is known of archives that did not change")
    arguments = parser.parse_args()
    params = Params.read(arguments.params)
    for verdict in run(params.sources, data=arguments.data, thresholds=params.validate, out=arguments.out, docs=arguments.docs,
                       kept=arguments.kept):
        print(f"{verdict.screen}: {'accepted' if verdict.accepted else 'REFUSED'}, {len(verdict.errors)} error(s), "
              f"{len(verdict.warnings)} warning(s); see {arguments.out / verdict.screen}.html")
        for finding in verdict.errors[:10]:
            print(f"  {finding}")


if __name__ == "__main__":
    run_command(main)
