"""Small PNGs of wells, from the plate archives that were uploaded.

All wells of a plate share one grey scale per channel, so that a dark, empty well looks dark beside a living one. The scale is
taken from a few wells spread over the plate: their 1st and 99.8th percentiles.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from models.errors import InputError
from models.plates.images import PlateArchive, planes_of
from models.wells import canonical_well

SIZE = 256              # pixels of the longer side
SAMPLED = 12            # wells that the grey scale is taken from
PERCENTILES = (1.0, 99.8)


def thumbnail(archive: Path, well: str, *, channel: int = 0) -> bytes | None:
    """PNG of the first site's middle plane of a well; None where the plate has no such image.

    Raises InputError for what is no well name, ImageError for an image that cannot be read.
    """
    well = canonical_well(well)
    with PlateArchive(archive) as plate:
        plane = _middle(plate, well, channel)
    if plane is None:
        return None
    return small_png(plane, _scale(archive, archive.stat().st_mtime_ns, channel))


def small_png(plane: np.ndarray, scale: tuple[float, float] | None = None, *, size: int = SIZE) -> bytes:
    """PNG of (H, W) or (H, W, 3) pixels of 8 or 16 bits, at most `size` high and wide. scale: grey values of black and white; None = the
    image's own, or where it has a single one those of its depth.
    """
    low, high = scale or map(float, np.percentile(plane, PERCENTILES))
    if low == high:
        low, high = 0.0, float(np.iinfo(plane.dtype).max)
    grey = np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-6), 0.0, 1.0)
    image = Image.fromarray(np.rint(255 * grey).astype(np.uint8))
    image.thumbnail((size, size), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _middle(plate: PlateArchive, well: str, channel: int) -> np.ndarray | None:
    """(H, W) or (H, W, 3): one plane is read, not the stack."""
    chosen = plate.members[(plate.members["well"] == well) & (plate.members["channel"] == channel)].sort_values(["site", "plane"])
    if chosen.empty:
        return None
    members = chosen.loc[chosen["site"] == chosen["site"].iloc[0], "member"].tolist()
    planes = planes_of(plate.read(members[len(members) // 2]))
    return planes[len(planes) // 2]


@lru_cache(maxsize=64)
def _scale(archive: Path, changed: int, channel: int) -> tuple[float, float]:
    """The grey values that become black and white; `changed` makes a rewritten archive count anew."""
    with PlateArchive(archive) as plate:
        wells = list(dict.fromkeys(plate.members["well"]))
        values = []
        for well in wells[::max(1, len(wells) // SAMPLED)]:
            try:
                plane = _middle(plate, well, channel)
            except InputError:
                continue    # an unreadable well says nothing of the others
            if plane is not None:
                values.append(plane[::2, ::2].ravel())
    low, high = np.percentile(np.concatenate(values), PERCENTILES) if values else (0.0, 255.0)
    return float(low), float(high)
