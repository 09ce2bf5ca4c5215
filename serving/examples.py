"""GET /examples: simulated plates to start from, for models that learned from simulated plates; made when first asked for.

A model of real plates is never offered one: its answer would look like a result and mean nothing.
"""

from __future__ import annotations

import json
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

from models.plates.images import write_plate
from models.plates.layout import write_layout
from models.plates.simulate.examples import SIMULATED, VERSION, Example, example_screens, further_examples
from serving.plain import plain
from serving.snapshot import Snapshot

OFFERED = ("heldout-a549", "patient-1", "primary-a549", "combinations-a549")
_making = threading.Lock()


@cache
def _examples() -> dict[str, Example]:
    known = {example.name: example for example in (*example_screens(), *further_examples())}
    return {name: known[name] for name in OFFERED}


def examples_answer(snapshot: Snapshot) -> dict[str, Any]:
    """The examples that a served model fits: name, sample, model, what it is (pairs: of treatments in one well; single: treatments at one
    dose), and its files.
    """
    found = []
    for example in _examples().values():
        models = [name for name, served in snapshot.served.items() if served.card.sample == example.sample
                  and served.card.acquisition.get("camera") == SIMULATED]
        if models:
            found.append({"name": example.name, "sample": example.sample, "model": models[0], "plates": len(example.plates),
                          "wells": len(example.layout), "pairs": len(example.boosts), "single": _at_one_dose(example),
                          "assay": example.screen().assay,
                          "files": list(_files(example))})
    return {"examples": found}


def _at_one_dose(example: Example) -> int:
    treated = example.layout[example.layout["role"] == "treated"]
    return int((treated.groupby("treatment")["dose"].nunique() == 1).sum())


def example_file(name: str, file: str, *, folder: Path) -> Path | None:
    """A file of an example, made if it is not there yet; None for a name that no example has."""
    example = _examples().get(name)
    if example is None or file not in _files(example):
        return None
    path = folder / f"version-{VERSION}" / name / file
    if not path.is_file():
        with _making:  # two people may ask at the same time, and nobody waits here for what is there
            if not path.is_file():
                _make(example, path)
    return path


def _files(example: Example) -> tuple[str, ...]:
    return ("layout.csv", "screen.json", *(f"{plate}.zip" for plate in example.plates))


def _make(example: Example, path: Path) -> None:
    """Write the file aside and put it in place whole: another process may look for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        _write(example, made)
        made.replace(path)


def _write(example: Example, path: Path) -> None:
    if path.name == "layout.csv":
        write_layout(example.full_layout(), path)
    elif path.name == "screen.json":
        path.write_text(json.dumps(plain(example.screen().to_dict()), indent=1), encoding="utf-8")
    else:
        write_plate(path, example.members(path.stem))
