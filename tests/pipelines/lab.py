"""Folders as labs have them, and what `add_screen` is asked to make of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models.plates.images import encode_tiff
from models.plates.readers import Source
from pipelines.screen_tables import Request


def pixels(value: int) -> np.ndarray:
    return np.full((8, 6), value, dtype=np.uint8)


def lab_folder(path: Path, *, wells: str = "AB", doses: tuple[float, ...] = (1, 10), bits: int = 8) -> Path:
    """Rows of one negative, one positive and treated wells each; channels gfp and dna; doses in uM."""
    path.mkdir(parents=True, exist_ok=True)
    lines, value = ["well,role,compound,dose,unit,file_gfp,file_dna"], 0
    for row in wells:
        roles = [("negative", "", "0"), ("positive", "killer", "100"), *(("treated", "drug", f"{dose:g}") for dose in doses)]
        for column, (role, compound, dose) in enumerate(roles, start=1):
            names = [f"{row}{column}_{channel}.tif" for channel in ("g", "d")]
            lines.append(f"{row}{column},{role},{compound},{dose},uM,{','.join(names)}")
            for name in names:
                value += 1
                (path / name).write_bytes(encode_tiff(pixels(value).astype(f"uint{bits}")))
    (path / "platemap.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def request(folder: Path, out: Path, **options: object) -> Request:
    return Request(source=Source(folder=folder, plate=folder.name), name="mine", out=out, **options)


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def edit(folder: Path, old: str, new: str) -> None:
    table = folder / "platemap.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def images_of(folder: Path, wells: Iterable[str], *, plate: str = "") -> Path:
    """A small image of each well, named after it."""
    (folder / plate).mkdir(parents=True, exist_ok=True)
    for number, well in enumerate(wells):
        (folder / plate / f"{well}.tif").write_bytes(encode_tiff(pixels(number % 250)))
    return folder


def layout_of(folder: Path, wells: Iterable[str], *, columns: str = "well,role,treatment,dose,unit") -> Path:
    """A negative, a positive, then treated wells in turns."""
    roles = ["negative,DMSO,,", "positive,killer,5,uM", "treated,drug,1,ug/mL", "treated,drug,10,ug/mL"]
    lines = [f"{well},{roles[number % 4]}" for number, well in enumerate(wells)]
    (folder / "layout.csv").write_text("\n".join([columns, *lines]) + "\n", encoding="utf-8")
    return folder
