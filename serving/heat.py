"""GET /jobs/{id}/wells/{plate}/{well}/heat: where the model that scored a well looks, as small images to lay over each other."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.networks.heat import Heat, heat_of
from models.networks.predict import Predictor
from models.plates.images import PlateArchive, WellImages
from models.plates.prepare import prepare_plate
from models.wells import canonical_well
from serving.results import Result
from serving.snapshot import Served

SIZE = 384              # pixels of the images that are answered
RAISES, LOWERS = (0, 114, 178), (213, 94, 0)    # blue and vermilion of Okabe and Ito, told apart by everybody
_OPAQUE = 0.75          # of the strongest place


def heat_answer(result: Result, archive: Path, well: str, served: Served, *, method: str = "gradcam") -> dict[str, Any] | None:
    """Images as data addresses: seen (what the network reads), raises and lowers (transparent where nothing pushes viability that way,
    null where nothing does anywhere); None where the plate has no image of the well.

    Raises InputError for what is no well name, or another method; ImageError for a bad image.
    """
    well = canonical_well(well)
    channels = [channel.name for channel in result.scored.screen.channels]
    images = prepared_well(archive, well, served.predictor, channels=channels)
    if not len(images):
        return None
    heat = heat_of(served.predictor, images, method=method)
    return {"plate": archive.stem, "well": well, "site": int(images.wells["site"].iloc[0]), "method": heat.method,
            "reads": list(dict.fromkeys(images.channels)), "model": served.version.name, "version": str(served.version.version),
            "seen": _address(Image.fromarray(_bytes(heat.seen[0]))), "raises": _over(heat.raises[0], RAISES),
            "lowers": _over(heat.lowers[0], LOWERS), "words": words_of(heat)}


def prepared_well(archive: Path, well: str, predictor: Predictor, *, channels: Sequence[str]) -> WellImages:
    """The first site of a well as the network read it; without rows where the plate has none.

    An input whose intensities are scaled over the whole plate needs the whole plate; another one only its well.
    """
    spec = predictor.card.recipe.input
    with PlateArchive(archive) as plate:
        if spec.intensity != "plate":
            plate.places = [place for place in plate.places if place.well == well]
        images = prepare_plate(plate, spec, channels=channels)
    mine = np.flatnonzero((images.wells["well"] == well).to_numpy())
    return images.take(mine[:1])


def words_of(heat: Heat) -> str:
    """What the maps show, and what they do not."""
    ways = [name for name, maps in (("raises", heat.raises), ("lowers", heat.lowers)) if maps[0].any()]
    if not ways:
        return "Nothing in this image pushes viability either way by this method; that says nothing of whether it is right."
    only = f"Only places that {ways[0].removesuffix('s')} viability were found. " if len(ways) == 1 else ""
    return (f"{only}Each map is scaled to its own strongest place, so colours of two wells cannot be compared. It shows where the network "
            "looked, not why cells died.")


def _bytes(values: np.ndarray) -> np.ndarray:
    """0-1 as grey values, stretched to the image's own range so that dim images are seen."""
    low, high = np.percentile(values, (0.5, 99.8))
    return np.rint(255 * np.clip((values - low) / max(float(high - low), 1e-6), 0, 1)).astype(np.uint8)


def _over(heat: np.ndarray, colour: tuple[int, int, int]) -> str | None:
    """A map as an image of one colour whose opacity is the heat; None for one without any."""
    if not heat.any():
        return None
    pixels = np.empty((*heat.shape, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = colour, np.rint(255 * _OPAQUE * np.clip(heat, 0, 1))
    return _address(Image.fromarray(pixels))


def _address(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.resize((SIZE, SIZE), Image.Resampling.BILINEAR).save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
