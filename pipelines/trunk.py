"""Stage `trunk`: the starting weights of a trunk, from a published name, a file, or a seed, checked and stored once."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from models.networks.backbones import starting_state, state_bytes, state_sha256
from models.networks.bundle import TRUNK
from pipelines.command import add_params, run_command
from pipelines.params import Params, TrunkEntry, asked_for


def run(entry: TrunkEntry, out: Path) -> str:
    """Write trunk.safetensors and trunk.json (name, weights, sha256) into `out`; returns the sha256."""
    state = starting_state(entry.name, entry.weights, seed=entry.seed, sha256=entry.sha256)
    weights = f"none, seed {entry.seed}" if entry.weights == "none" else Path(entry.weights).name
    out.mkdir(parents=True, exist_ok=True)
    (out / TRUNK).write_bytes(state_bytes(state))
    sha256 = state_sha256(state)
    (out / "trunk.json").write_text(json.dumps({"name": entry.name, "weights": weights, "sha256": sha256}, indent=1) + "\n")
    return sha256


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trunk", help="name in the section `trunks` of params.yaml")
    add_params(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    arguments = parser.parse_args()
    entry = asked_for(Params.read(arguments.params).trunks, arguments.trunk, "trunk")
    print(f"{arguments.trunk}: sha256 {run(entry, arguments.out)}")


if __name__ == "__main__":
    run_command(main)
