"""Stage `score`: a screen and the bundle that this pipeline trained -> WellScores, Curves and assay quality as Parquet; an image set ->
ImageClasses.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from models.classifying import classify_images
from models.kept import KeptFiles, kept_files
from models.networks.bundle import FindTrunk, trunk_finder
from models.networks.predict import Predictor, load_predictor
from models.plates.safe_csv import write_csv
from models.report.inputs import tables_of
from models.scoring import ScoredScreen, ScoringOptions, score_images
from pipelines.command import add_params, run_command
from pipelines.imagesets import CLASSES, is_imageset
from pipelines.kept_features import KeepingPredictor
from pipelines.lineage import commit_in_words, lineage_of
from pipelines.params import Params
from pipelines.prepared import PreparedImageSet, PreparedScreen, read_prepared, read_prepared_imageset


def run(data: PreparedScreen, predictor: Predictor, options: ScoringOptions, *, parent: Predictor | None = None) -> ScoredScreen:
    """Score a prepared screen; the version is the bundle's sha256[:12], since no registry is asked. parent: see `stranger_to`."""
    with tqdm(total=len(data.images), unit="well", desc=f"score {data.screen.name}") as bar:
        return score_images(data.images, data.layout, screen=data.screen, predictor=predictor, model=predictor.card.name,
                            version=predictor.sha256[:12], options=options, parent=parent, on_images=bar.update)


def stranger_to(data: PreparedScreen, predictor: Predictor, *, models: Path, find_trunk: FindTrunk, device: str) -> Predictor | None:
    """Of a model that has learned from the controls of this very screen, the nearest ancestor in `models` that has not (of phases II and
    III: phase I), which can tell whether they look as controls did before. None of other models, and where no such ancestor reads images
    as it does.
    """
    found = predictor
    while found.card.recipe.learns_controls and found.card.lineage.get("screen") == data.screen.name:
        if found.card.parent is None:
            return None
        found = load_predictor(models / found.card.parent.name, find_trunk=find_trunk, device=device)
    same_input = found.card.recipe.learns_controls and found.card.recipe.input == predictor.card.recipe.input
    return found if same_input and found is not predictor else None


def classify(data: PreparedImageSet, predictor: Predictor) -> pd.DataFrame:
    """ImageClasses of a prepared image set."""
    with tqdm(total=len(data.images), unit="image", desc=f"classify {data.screen.name}") as bar:
        return classify_images(data.images, data.layout, predictor=predictor, model=predictor.card.name, version=predictor.sha256[:12],
                               on_images=bar.update)


def write_classes(classes: pd.DataFrame, out: Path, *, lineage: dict[str, str]) -> None:
    """Write classes.parquet, the same as classes.csv, and lineage.json into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    classes.to_parquet(out / CLASSES, index=False)
    write_csv(classes, out / "classes.csv")
    (out / "lineage.json").write_text(json.dumps(lineage, indent=1, sort_keys=True) + "\n")


def write_scores(scored: ScoredScreen, out: Path, *, lineage: dict[str, str]) -> None:
    """Write the tables of `tables_of` and drift (Parquet), findings and lineage (JSON) into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for name, table in {**tables_of(scored), "drift": scored.drift}.items():
        table.to_parquet(out / f"{name}.parquet", index=False)
    findings = [finding.record() for finding in scored.findings]
    (out / "findings.json").write_text(json.dumps(findings, indent=1) + "\n")
    (out / "lineage.json").write_text(json.dumps(lineage, indent=1, sort_keys=True) + "\n")


def _lineage(data: PreparedScreen | PreparedImageSet, predictor: Predictor) -> dict[str, str]:
    return lineage_of(predictor, screen=data.screen.name, data_md5=data.data_md5, commit=commit_in_words())


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("screen", help="name of the screen, as in params.yaml")
    add_params(parser)
    parser.add_argument("--data", type=Path, required=True, help="the screen's folder")
    parser.add_argument("--prepared", type=Path, required=True, help="its prepared plates")
    parser.add_argument("--bundle", type=Path, required=True, help="the model that scores")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--kept", type=Path, required=True, help="folder for what trunks saw of plates that did not change")
    arguments = parser.parse_args()
    with kept_files(arguments.kept) as keep:
        print(_score(arguments, Params.read(arguments.params), keep))


def _score(arguments: argparse.Namespace, params: Params, keep: KeptFiles) -> str:
    find = trunk_finder([arguments.bundle.parent, arguments.bundle.parent.parent / "trunks"])
    predictor = KeepingPredictor.of(load_predictor(arguments.bundle, find_trunk=find, device=params.score.device), keep)
    if is_imageset(arguments.data):
        images = read_prepared_imageset(arguments.data, arguments.prepared)
        classes = classify(images, predictor)
        write_classes(classes, arguments.out, lineage=_lineage(images, predictor))
        return f"{arguments.screen}: {len(classes)} images, " + ", ".join(
            f"{count} {name}" for name, count in classes["class"].value_counts().items())
    data = read_prepared(arguments.data, arguments.prepared)
    parent = stranger_to(data, predictor, models=arguments.bundle.parent, find_trunk=find, device=params.score.device)
    scored = run(data, predictor, ScoringOptions(fit=params.score.fit), parent=parent and KeepingPredictor.of(parent, keep))
    write_scores(scored, arguments.out, lineage=_lineage(data, predictor))
    return f"{arguments.screen}: {len(scored.wells)} wells, {len(scored.curves)} curves, {len(scored.findings)} finding(s)"


if __name__ == "__main__":
    run_command(main)
