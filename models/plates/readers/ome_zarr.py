"""OME-Zarr plates, versions 0.4 and 0.5: SOURCE is a plate (<plate>.zarr/<row>/<column>/<image>), or holds several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import InputError
from models.plates.ome_zarr import ZarrImage, is_plate, ome_attributes, plate_images, read_image
from models.plates.readers.base import Found, Source, channel_words
from models.plates.readers.files import found_with_layout, last_timepoint, plate_names
from models.plates.tiff import part_name
from models.wells import PLATE_FORMATS, well_or_text

WHOLE_PLATES = {shape: wells for wells, shape in PLATE_FORMATS.items() if wells >= 96}  # fewer rows and columns may be a part of a plate


class OmeZarrConvention:
    """See the module."""

    name = "ome_zarr"

    def detect(self, source: Source) -> bool:
        """The folder, or one at most two below, is an OME-Zarr plate."""
        return source.folder.is_dir() and bool(_plates(source.folder))

    def read(self, source: Source) -> Found:
        """The images of the last time point (or acquisition). Raises InputError without a plate, and for broken metadata."""
        plates = _plates(source.folder)
        if not plates:
            ome_attributes(source.folder)   # says so if the metadata cannot be read
            raise InputError(f"{source.folder.name}/ is no OME-Zarr plate, and holds none")
        names = plate_names([path.resolve() for path in plates], source)
        rows, first = [], None
        for plate in plates:
            for well, site, acquisition, group in plate_images(plate):
                image = read_image(group)
                first = first or image
                rows += _rows(image, group, acquisition, {"plate": names[plate.resolve()].removesuffix(".zarr").removesuffix(".ome"),
                                                          "well": well_or_text(well), "site": site})
        if first is None:
            raise InputError(f"{source.folder.name}/ holds no image; its plates name no wells")
        files, late = last_timepoint(pd.DataFrame(rows), source)
        labels = {f"c{number}": label for number, label in enumerate(first.labels)}
        labels |= dict.fromkeys(sorted(set(files["channel"]) - set(labels)), "")
        return found_with_layout(self.name, source, files.drop(columns="timepoint"), channels=channel_words(labels), findings=late,
                                 facts=_facts(plates[0], first), said=(_said(plates, first),))


def _plates(folder: Path) -> list[Path]:
    """Plates in or below the folder; nothing is looked for inside of a plate."""
    if is_plate(folder):
        return [folder]
    below = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    found = [path for path in below if is_plate(path)]
    return found or [path for one in below if not (one / ".zgroup").exists() for path in sorted(one.iterdir())
                     if path.is_dir() and is_plate(path)]


def _rows(image: ZarrImage, group: Path, acquisition: int, place: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per channel and time. Several acquisitions (rounds of staining) count as time points, where images have none of their own."""
    times = image.length("t")
    return [{**place, "timepoint": time if times > 1 else acquisition, "channel": f"c{channel}", "plane": 0, "path": group,
             "part": part_name(time=time, channel=channel)}
            for time in range(times) for channel in range(image.length("c"))]


def _facts(plate: Path, image: ZarrImage) -> dict[str, Any]:
    stated = ome_attributes(plate)["plate"]
    shape = (len(stated.get("rows", [])), len(stated.get("columns", [])))
    facts = {"plate_format": WHOLE_PLATES.get(shape), "pixel_size_um": image.pixel_size_um}
    return {name: value for name, value in facts.items() if value is not None}


def _said(plates: list[Path], image: ZarrImage) -> str:
    version = "0.5" if (plates[0] / "zarr.json").is_file() else "0.4"
    sizes = ", ".join(f"{image.length(axis)} {word}" for axis, word in (("t", "time(s)"), ("c", "channel(s)"), ("z", "plane(s)"))
                      if axis in image.axes)
    return f"OME-Zarr {version}, images of {sizes + ', ' if sizes else ''}{image.length('y')}x{image.length('x')} pixels"
