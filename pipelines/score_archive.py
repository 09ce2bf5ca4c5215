"""Score an archive: many screens, plate by plate, on the processors of this machine or of a Ray cluster.

    python -m pipelines.score_archive data/* --model viability-A549 --out scores          (the registered champion)
    python -m pipelines.score_archive data/* --bundle artifacts/models/viability-A549 --out scores --workers 4
    python -m pipelines.score_archive data/* --model viability-A549 --model viability-HEK293 --out scores --ray auto

Each SCREEN is a folder as `python -m pipelines.add_screen` makes it; of several models the one of its sample scores it. What is judged,
flagged and computed is what the stage `score` and the service give. OUT then holds scores/<screen>/ (tables, lineage, report.html),
plates.csv (a row for every plate with its status), curves.csv of all screens, single_doses.csv and combination_pairs.csv where there are
such wells, and index.html. A screen that is refused stops alone, and makes the exit status 1. What is done is not done again: run the same
command to go on after an interruption, or after a layout was mended.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from models.errors import DosewellError, InputError, SampleMismatch
from models.networks.bundle import CARD, TRUNK, Card, TrunkReference, bundle_sha256, read_card, trunk_finder
from models.plates.safe_csv import write_csv
from models.plates.screen import Screen
from models.registry import Registry
from models.report import IndexEntry, index_entry, render_index
from models.scoring import ScoringOptions
from models.single_doses import NAME as SINGLE
from models.suitability import check_model, same_sample
from models.tracking import default_tracking_uri
from pipelines.command import run_command
from pipelines.lineage import commit_in_words
from pipelines.params import Params
from pipelines.plate_tasks import INDEX, REPORT, ModelPlace, Outcome, PlateTask, ScreenTask, predict_plate, score_screen
from pipelines.pools import Pool, open_pool
from pipelines.register import CACHE
from pipelines.report import read_tables
from pipelines.screens import LAYOUT_FILE, read_screen, require_archives, whole_folder

FURTHER = (SINGLE, "combination_pairs")    # tables of all screens, where one has them
PLATE_COLUMNS = ("screen", "plate", "status", "reason", "wells", "images", "scored", "left_out")


@dataclass(frozen=True)
class Planned:
    """A screen and its tasks; outcome: why it has none."""

    folder: Path
    task: ScreenTask | None = None
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def plates(self) -> tuple[PlateTask, ...]:
        """Its plates."""
        return self.task.plates if self.task else ()


def plan(folders: Sequence[Path], out: Path, models: Sequence[ModelPlace], *, options: ScoringOptions) -> list[Planned]:
    """The tasks of each screen; one that no model can score, or that has no plate, is refused before an image is read.

    Raises InputError for two folders of one name, and for two models of one sample.
    """
    names = [folder.resolve().name for folder in folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"several screens are called {', '.join(twice)}; results are kept by name, so rename all but one of each")
    cards = [(model, read_card(model.bundle)) for model in models]
    samples = [card.sample for _, card in cards]
    if twice := sorted({name for name in samples if sum(same_sample(name, other) for other in samples) > 1}):
        raise InputError(f"several models are for {', '.join(twice)}; name one of each sample, and another --out for the other")
    commit = commit_in_words()
    return [_planned(folder.resolve(), out, cards, options=options, commit=commit) for folder in folders]


def _planned(folder: Path, out: Path, cards: Sequence[tuple[ModelPlace, Card]], *, options: ScoringOptions, commit: str) -> Planned:
    try:
        screen = read_screen(folder)
        model, card = _model_for(screen, cards)
        check_model(screen, card, force=options.force)
        if not (folder / LAYOUT_FILE).is_file():
            raise InputError(f"{folder} has no layout.csv; `python -m pipelines.add_screen` brings a screen in with its layout")
        archives = require_archives(folder)
    except InputError as error:
        return Planned(folder, outcome=Outcome(error.summary, error.findings))
    plates = tuple(PlateTask(screen=folder, archive=path, model=model, out=out / "parts" / folder.name / path.stem) for path in archives)
    return Planned(folder, ScreenTask(screen=folder, plates=plates, model=model, out=out / "scores" / folder.name, options=options,
                                      commit=commit))


def _model_for(screen: Screen, cards: Sequence[tuple[ModelPlace, Card]]) -> tuple[ModelPlace, Card]:
    """The only model, or that of the screen's sample. Raises SampleMismatch where there is none."""
    found = cards if len(cards) == 1 else [(model, card) for model, card in cards if same_sample(card.sample, screen.sample)]
    if not found:
        raise SampleMismatch(f"none of the models is for {screen.sample}, but for {', '.join(card.sample for _, card in cards)}; name that "
                             "sample's model with another --model")
    return found[0]


def run(planned: Sequence[Planned], pool: Pool, *, progress: bool = True) -> list[Outcome]:
    """Do what is not done yet; what became of each screen. Raises DosewellError when a worker process dies."""
    outcomes = [item.outcome for item in planned]
    with tqdm(total=sum(len(item.plates) for item in planned), unit="plate", desc="score", disable=not progress) as bar:
        try:
            for number, outcome, plates in _outcomes(planned, pool):
                if outcome is not None:
                    outcomes[number] = outcome
                bar.update(plates)
        except BrokenProcessPool:
            raise DosewellError("a worker process was killed, perhaps because memory ran out; what is done is kept: run the same command "
                                "again, with fewer --workers") from None
    return outcomes


def _outcomes(planned: Sequence[Planned], pool: Pool) -> Iterator[tuple[int, Outcome | None, int]]:
    """(screen's number, what became of it or None while it has plates to come, plates just done) as tasks end.

    A screen's plates are begun in order, as many as the pool can take and as many again to wait, so that its scores follow soon.
    """
    todo: deque[tuple[int, PlateTask | ScreenTask]] = deque()
    missing = [0] * len(planned)
    for number, item in enumerate(planned):
        plates = [plate for plate in item.plates if not plate.done]
        missing[number] = len(plates)
        yield number, None, len(item.plates) - len(plates)
        todo += [(number, plate) for plate in plates]
        if item.task and not plates and not item.task.done:
            todo.append((number, item.task))
    running: dict[Future[Outcome], tuple[int, PlateTask | ScreenTask]] = {}
    while todo or running:
        while todo and len(running) < 2 * pool.capacity():
            number, task = todo.popleft()
            begun = pool.executor.submit(score_screen, task) if isinstance(task, ScreenTask) else pool.executor.submit(predict_plate, task)
            running[begun] = number, task
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            number, task = running.pop(future)
            outcome = future.result()
            if isinstance(task, ScreenTask) or outcome.error:
                yield number, outcome, int(isinstance(task, PlateTask))
                continue
            missing[number] -= 1
            yield number, None, 1
            whole = planned[number].task
            if not missing[number] and whole:
                todo.appendleft((number, whole))


def plate_table(planned: Sequence[Planned], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """PLATE_COLUMNS, a row for each plate of each screen's layout and archives, in order; one for a screen that has neither.

    status: scored, or refused with the reason; wells of the layout, images (wells and sites) that were read, wells with a raw output,
    wells left out of the curves.
    """
    rows = [row for item, outcome in zip(planned, outcomes, strict=True) for row in _plate_rows(item, outcome)]
    return pd.DataFrame(rows, columns=list(PLATE_COLUMNS))


def _plate_rows(item: Planned, outcome: Outcome) -> Iterator[dict[str, object]]:
    if outcome.error or item.task is None:
        reason = "; ".join(found.message for found in outcome.findings if found.severity == "error") or outcome.error
        for plate in [task.archive.stem for task in item.plates] or [""]:
            yield {"screen": item.folder.name, "plate": plate, "status": "refused", "reason": reason}
        return
    wells = pd.read_parquet(item.task.out / "wells.parquet", columns=["plate", "logit", "od", "excluded"])
    images = pd.concat([pd.read_parquet(plate.out / "raw.parquet", columns=["plate"]) for plate in item.plates])["plate"].value_counts()
    for name, rows in wells.groupby("plate", sort=False):
        yield {"screen": item.folder.name, "plate": name, "status": "scored", "reason": "", "wells": len(rows),
               "images": int(images.get(name, 0)), "scored": int((rows["logit"].notna() | rows["od"].notna()).sum()),
               "left_out": int(rows["excluded"].sum())}


def write_summary(planned: Sequence[Planned], outcomes: Sequence[Outcome], out: Path) -> pd.DataFrame:
    """Write plates.csv, curves.csv, index.html, and those of FURTHER that a screen has; returns the first."""
    plates = plate_table(planned, outcomes)
    write_csv(plates.astype(dict.fromkeys(PLATE_COLUMNS[4:], "Int64")), out / "plates.csv")
    scored = [item.task for item, outcome in zip(planned, outcomes, strict=True) if item.task and not outcome.error]
    for name in ("curves", *FURTHER):
        found = [pd.read_parquet(path).assign(screen=task.screen.name) for task in scored
                 if (path := task.out / f"{name}.parquet").is_file()]
        if found or name not in FURTHER:
            table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["screen"])
            write_csv(table[["screen", *table.columns.drop("screen")]], out / f"{name}.csv")
        else:
            (out / f"{name}.csv").unlink(missing_ok=True)   # of a run before a layout was mended
    (out / INDEX).write_text(render_index([_entry(task) for task in scored]), encoding="utf-8", newline="\n")
    return plates


def _entry(task: ScreenTask) -> IndexEntry:
    lineage = json.loads((task.out / "lineage.json").read_text(encoding="utf-8"))
    return index_entry(read_tables(task.out), file=f"scores/{task.screen.name}/{REPORT}", screen=read_screen(task.screen), lineage=lineage,
                       gates=read_card(task.model.bundle).gates)


def find_models(arguments: argparse.Namespace, out: Path, *, device: str) -> list[ModelPlace]:
    """The models of --bundle and --model, in OUT. Raises BundleError, RegistryError."""
    found = [(bundle, trunk_finder([bundle.parent, bundle.parent.parent / "trunks"])) for bundle in arguments.bundle]
    if arguments.model:
        registry = Registry(default_tracking_uri(), CACHE)
        found += [(registry.fetch(registry.resolve(name)), registry.find_trunk) for name in arguments.model]
    if not found:
        raise InputError("no model: name a registered one with --model, or a bundle's folder with --bundle")
    return [ModelPlace(bundle=_keep_model(bundle, find, out), device=device) for bundle, find in found]


def _keep_model(bundle: Path, find_trunk: Callable[[TrunkReference], Path], out: Path) -> Path:
    """Copy a bundle, and the trunk that it stands on, into OUT, where every node finds them and they stay with their scores."""
    card = read_card(bundle)
    kept, trunk = out / "models" / card.name, out / "trunks" / card.trunk.sha256[:12]
    if not (bundle / TRUNK).is_file() and not trunk.is_dir():
        with whole_folder(trunk) as folder:
            shutil.copy2(find_trunk(card.trunk), folder / TRUNK)
    if not (kept / CARD).is_file() or bundle_sha256(kept) != bundle_sha256(bundle):
        with whole_folder(kept) as folder:
            shutil.copytree(bundle, folder, dirs_exist_ok=True)
    return kept


def tell(planned: Sequence[Planned], outcomes: Iterable[Outcome], plates: pd.DataFrame, out: Path) -> int:
    """Say what became of the screens; how many were refused."""
    refused = [(item, outcome) for item, outcome in zip(planned, outcomes, strict=True) if outcome.error]
    done = plates[plates["status"] == "scored"]
    print(f"{len(planned) - len(refused)} of {len(planned)} screens scored: {len(done)} plates, {int(done['wells'].sum())} wells, "
          f"{int(done['scored'].sum())} with an image that gave a number, {int(done['left_out'].sum())} left out of the curves; "
          f"see {out / INDEX} and {out / 'plates.csv'}")
    for item, outcome in refused:
        print(f"refused: {item.folder.name}: {outcome.error}")
        for finding in [found for found in outcome.findings if found.severity == "error"][:5]:
            print(f"  {finding}")
    return len(refused)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("screens", type=Path, nargs="+", metavar="SCREEN", help="folder with screen.yaml, layout.csv and images/*.zip")
    parser.add_argument("--model", action="append", default=[], help="registered model: NAME (its champion), NAME@alias or NAME/version; "
                        "may be given for each sample")
    parser.add_argument("--bundle", action="append", type=Path, default=[], help="a bundle's folder instead: artifacts/models/NAME")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, and of what is done so far")
    parser.add_argument("--workers", type=int, default=1, help="processes of this machine (default: 1)")
    parser.add_argument("--ray", default="", metavar="ADDRESS", help="a Ray cluster instead of processes; auto: this machine's")
    parser.add_argument("--threads", type=int, default=0,
                        help="processors for each task (default: the machine's, shared out; 2 on a cluster)")
    parser.add_argument("--force", action="store_true", help="also score screens of another sample than the model's; they are flagged")
    parser.add_argument("--params", default="params.yaml",
                        help="file whose section `score` says how curves are fitted, and on which device")
    arguments = parser.parse_args(argv)
    params, out = Params.read(arguments.params), arguments.out.resolve()
    models = find_models(arguments, out, device=params.score.device)
    planned = plan(arguments.screens, out, models, options=ScoringOptions(fit=params.score.fit, force=arguments.force))
    with open_pool(workers=arguments.workers, ray=arguments.ray, threads=arguments.threads) as pool:
        outcomes = run(planned, pool)
    if tell(planned, outcomes, write_summary(planned, outcomes, out), out):
        raise DosewellError("some screens were refused; put right what is said of them and run the same command again: only those are "
                            "scored then")


if __name__ == "__main__":
    run_command(main)
