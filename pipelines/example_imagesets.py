"""Simulated image sets on disk, for `python -m pipelines.make_example --imageset NAME`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from models.plates.images import encode_tiff, write_archive
from models.plates.simulate.imagesets import Drawn, ExampleSet
from pipelines.imagesets import FILES, IMAGES_ARCHIVE, read_imageset, write_imageset
from pipelines.screens import whole_folder

TRUTH = "truth"


def make_imageset(out: Path, example: ExampleSet, *, force: bool = False, progress: bool = True) -> str:
    """Write the set to `out`/<name> unless it is there; returns a line that says what was done.

    truth/images.csv: the true class of every image, and counted cells; truth/cells.csv: every cell, where the set counts them.
    """
    target = out / example.name
    if not force and all((target / name).is_file() for name in FILES):
        other = "" if read_imageset(target).source == example.imageset.source else ", but made by another version; --force makes it again"
        return f"{target}: already there{other}"
    seen: dict[str, Drawn] = {}
    with whole_folder(target) as folder:
        write_archive(folder / IMAGES_ARCHIVE, _members(example, seen, progress=progress))
        truth, cells = _truth(seen)
        labels = truth["label"].where(~truth["image_id"].isin(example.unlabelled), "")
        table = example.wanted[["image_id", "group"]].assign(path=[example.path(name) for name in example.wanted["image_id"]],
                                                             label=labels.to_numpy())
        write_imageset(folder, example.imageset, table[["image_id", "path", "label", "group"]])
        (folder / TRUTH).mkdir()
        truth.to_csv(folder / TRUTH / "images.csv", index=False, lineterminator="\n")
        if len(cells):
            cells.to_csv(folder / TRUTH / "cells.csv", index=False, lineterminator="\n")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) / 1e6
    return f"{target}: made, {len(seen)} images ({(labels != '').sum()} labelled), {size:.1f} MB"


def _members(example: ExampleSet, seen: dict[str, Drawn], *, progress: bool) -> Iterator[tuple[str, bytes]]:
    with tqdm(total=len(example.wanted), desc=example.name, unit="image", disable=not progress, leave=False) as bar:
        for image_id, drawn in example.images():
            seen[image_id] = drawn
            bar.update()
            yield example.path(image_id), encode_tiff(drawn.pixels)


def _truth(seen: dict[str, Drawn]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows: list[dict[str, Any]] = []
    for image_id, drawn in seen.items():
        counts = {} if drawn.cells is None else {state: int((drawn.cells["state"] == state).sum()) for state in ("living", "dead")}
        rows.append({"image_id": image_id, "label": drawn.label, **counts})
    cells = [drawn.cells.assign(image_id=image_id) for image_id, drawn in seen.items() if drawn.cells is not None]
    return pd.DataFrame(rows), pd.concat(cells, ignore_index=True) if cells else pd.DataFrame()
