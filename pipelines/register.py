"""Stage `register`: every trained model as an MLflow registered model version, once per bundle hash."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from models.networks.bundle import bundle_sha256, read_card, trunk_finder
from models.registered import DVC_EXPERIMENT, RegisteredVersion, RunRecord
from models.registry import Registry
from models.tracking import default_tracking_uri
from pipelines.command import add_params, run_command
from pipelines.lineage import git_commit
from pipelines.params import listed

CACHE = Path("var/registry-cache")


def run(models: Path, *, evaluations: Path, trunks: Path, registry: Registry, tags: Mapping[str, str],
        names: Collection[str]) -> list[RegisteredVersion]:
    """Register the bundles in `models`/<name> of these names, by name; known ones stay as they are.

    evaluations: <name>/metrics.json, epochs.csv and figures/ of each model. trunks: <name>/trunk.safetensors of published
    trunks. tags: noted on new versions, e.g. git_commit. Raises BundleError, RegistryError.
    """
    find_trunk = trunk_finder([models, trunks])
    bundles = bundles_in(models, names)
    return [registry.register(bundle, find_trunk=find_trunk, record=run_record(evaluations / bundle.name, tags))
            for bundle in tqdm(bundles, desc="register", unit="model", disable=not bundles)]


def register_missing(models: Path, *, evaluations: Path, trunks: Path, registry: Registry,
                     names: Collection[str]) -> list[RegisteredVersion]:
    """Register the bundles that the registry lacks by hash and return those, so that a clone with a full cache has a full registry."""
    lacking = [bundle.name for bundle in bundles_in(models, names)
               if registry.find(read_card(bundle).name, bundle_sha256(bundle)) is None]
    return run(models, evaluations=evaluations, trunks=trunks, registry=registry, tags=commit_tags(), names=lacking)


def bundles_in(models: Path, names: Collection[str]) -> list[Path]:
    """The bundle folders of these models, by name; others that lie there are of models that params.yaml lists no longer."""
    return sorted(path.parent for path in models.glob("*/card.json") if path.parent.name in names)


def run_record(evaluation: Path, tags: Mapping[str, str]) -> RunRecord:
    """What the stage `evaluate` left for a model; all of it is optional."""
    metrics = evaluation / "metrics.json"
    return RunRecord(metrics=json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {},
                     epochs={"epoch": evaluation / "epochs.csv", "gan": evaluation / "tables" / "gan.csv"},
                     figures=evaluation / "figures", tags=tags)


def commit_tags() -> dict[str, str]:
    """The git commit of the working folder, whether tracked files differ from it, and the name of the DVC experiment that runs the stage:
    `dvc exp apply` of it brings back what differs.
    """
    commit, dirty = git_commit()
    experiment = os.environ.get("DVC_EXP_NAME")
    return {"git_commit": commit, "git_dirty": str(dirty).lower(), **({DVC_EXPERIMENT: experiment} if experiment else {})}


def receipt(version: RegisteredVersion) -> dict[str, Any]:
    """What the stage's output says of a version: no clock and no run, so that the same bundle gives the same file."""
    return {"name": version.name, "version": version.version, "bundle_sha256": version.bundle_sha256,
            "gates": version.tags.get("gates", "")}


def main() -> None:
    """Command line: python -m pipelines.register."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_params(parser)
    parser.add_argument("--models", type=Path, default=Path("artifacts/models"), help="bundles, a folder each (default: %(default)s)")
    parser.add_argument("--evaluations", type=Path, default=Path("artifacts/evaluate"),
                        help="metrics and figures of each model (default: %(default)s)")
    parser.add_argument("--trunks", type=Path, default=Path("artifacts/trunks"), help="published trunks (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("artifacts/registered"),
                        help="folder for a receipt per model (default: %(default)s)")
    arguments = parser.parse_args()
    registry, tags = Registry(default_tracking_uri(), CACHE), commit_tags()
    versions = run(arguments.models, evaluations=arguments.evaluations, trunks=arguments.trunks, registry=registry, tags=tags,
                   names=listed(arguments.params, "models"))
    arguments.output.mkdir(parents=True, exist_ok=True)
    for version in versions:
        text = json.dumps(receipt(version), indent=1, sort_keys=True) + "\n"
        (arguments.output / f"{version.name}.json").write_text(text, encoding="utf-8")
        print(f"{version.name} version {version.version}: gates {version.tags.get('gates', '')}")
    if DVC_EXPERIMENT in tags:
        print("The challengers stay as they are, because this is an experiment; outside of one `python -m pipelines.register` moves them.")


if __name__ == "__main__":
    run_command(main)
