"""Folders of small images as a reader finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.plates.images import encode_tiff
from models.plates.readers import Found

LAYOUT = "well,role,treatment,dose,unit\nB02,negative,DMSO,,\nB03,treated,drug,5,nM\nD08,treated,drug,50,nM\n"
HTD = ('"HTSInfoFile", Version 1.0\n"XWells", 24\n"YWells", 16\n"NWavelengths", 2\n"WaveName1", "DAPI"\n"WaveName2", "Texas Red"\n'
       '"EndFile"\n')


def files_in(folder: Path, *names: str, layout: str = LAYOUT) -> Path:
    """Images of these names, each with its own grey value, and a layout beside them."""
    for value, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_tiff(np.full((8, 8), value, dtype=np.uint16)))
    if layout:
        (folder / "layout.csv").write_text(layout, encoding="utf-8")
    return folder


def places(found: Found) -> list[tuple[object, ...]]:
    rows = found.files[["plate", "well", "site", "channel", "plane"]].itertuples(index=False, name=None)
    return sorted(zip(*zip(*rows, strict=True), [path.name for path in found.files["path"]], strict=True))
