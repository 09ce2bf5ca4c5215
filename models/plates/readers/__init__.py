"""From a folder as a lab or a microscope left it to a table of image files; one module per convention.

A convention is an object with a name, `detect` and `read` (see `Convention`); `CONVENTIONS` lists them in the order in which
they are asked. To add one: write its module, and put it into the list.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

from models.errors import Finding, InputError
from models.plates.pixels import IMAGE_SUFFIXES
from models.plates.readers.archive import ArchiveConvention
from models.plates.readers.base import FILE_COLUMNS, Convention, Found, Source
from models.plates.readers.cellvoyager import CellVoyagerConvention
from models.plates.readers.files import LOOK_AT, images_in
from models.plates.readers.imagexpress import ImageXpressConvention
from models.plates.readers.itrade import ITradeConvention
from models.plates.readers.ome_zarr import OmeZarrConvention
from models.plates.readers.opera_phenix import OperaPhenixConvention
from models.plates.readers.pattern import PatternConvention
from models.plates.readers.table import TableConvention

CONVENTIONS: tuple[Convention, ...] = (
    ArchiveConvention(), OmeZarrConvention(), TableConvention(), CellVoyagerConvention(), OperaPhenixConvention(), ITradeConvention(),
    ImageXpressConvention(), PatternConvention())     # the most particular first, guesses last

__all__ = ["CONVENTIONS", "FILE_COLUMNS", "Convention", "Found", "Source", "read_source"]


def read_source(source: Source, *, convention: str = "auto") -> Found:
    """What is in the source, by the named convention or the first that recognises it.

    Raises InputError if none does, or if the one that does finds something wrong.
    """
    if not source.folder.is_dir():
        raise InputError(f"{source.folder} is not a folder; expected the folder in which the images lie")
    known = {item.name: item for item in CONVENTIONS}
    convention = "pattern" if source.pattern and convention == "auto" else convention
    if convention != "auto":
        if convention not in known:
            raise InputError(f"no convention '{convention}'; known: auto, {', '.join(known)}")
        return known[convention].read(source)
    for item in CONVENTIONS:
        if item.detect(source):
            return item.read(source)
    none = "" if images_in(source.folder) else (
        f"{source.folder.name}/ holds no image of a kind that is read ({', '.join(IMAGE_SUFFIXES)}, OME-Zarr){_kinds(source.folder)}; "
        "export the images as one of these")
    raise InputError(f"{source.folder.name}/ is in no known form", [Finding(
        rule="convention_unknown", severity="error", value=source.folder.name,
        message=none or f"{source.folder.name}/ was not recognised by any of: {', '.join(known)}. Put a table (CSV or XLSX) beside the "
                "images with a row per well and a column of file names (--platemap names another), or say how the images are called, with "
                "--pattern '{well}_s{site}_w{channel}.tif' (* stands for anything)")])


def _kinds(folder: Path) -> str:
    """", only 96 .czi and 1 .csv": the endings of the first files of a folder, the commonest first."""
    seen = Counter(path.suffix.lower() for path in islice(folder.rglob("*"), LOOK_AT) if path.is_file() and path.suffix)
    return f", only {' and '.join(f'{count} {suffix}' for suffix, count in seen.most_common(3))}" if seen else ""
