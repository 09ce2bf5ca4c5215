"""Were a plate's images exported with black and white exchanged? The model itself can tell: it looks at them both ways.

Nothing in a bright-field image says which way round it is, and its controls may stay apart as they should. But of two readings, as the
images are and exchanged (1 - p for pixels p in 0-1), one looks to the network like the controls that it learned from (drift.py). A plate
that does as it is costs nothing: only one that looks strange is looked at again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.errors import Finding
from models.plates.images import WellImages

if TYPE_CHECKING:
    from models.networks.predict import Predictor

STRANGE = 1.2   # times the training's own distance: farther negative controls are looked at exchanged, nearer ones look right
GAIN = 1.5      # times as near that they must come by it
WELLS = 16      # negative controls of a plate that are looked at


def inversion_findings(images: WellImages, raw: pd.DataFrame, layout: pd.DataFrame, predictor: Predictor) -> list[Finding]:
    """A warning for each plate whose negative controls look like the training's with black and white exchanged, and not as they are.

    raw: what the predictor says of the images, in their order; layout: plate, well, role.
    """
    if predictor.card.reference is None:
        return []
    negative = images.have_role(layout, "negative")
    distance = raw["feature_distance"].to_numpy(float)
    plates = images.wells["plate"].to_numpy()
    found = []
    for plate in dict.fromkeys(plates[negative]):
        rows = np.flatnonzero(negative & (plates == plate) & np.isfinite(distance))[:WELLS]
        as_is = _rms(distance[rows]) if len(rows) else 0.0
        if as_is > STRANGE and (exchanged := _exchanged(images.take(rows), predictor)) <= min(STRANGE, as_is / GAIN):
            found.append(_finding(str(plate), predictor.card.name, as_is=as_is, exchanged=exchanged))
    return found


def _finding(plate: str, model: str, *, as_is: float, exchanged: float) -> Finding:
    return Finding(rule="inverted", severity="warning", plate=plate, column="channels", value=model, message=(
        f"plate {plate} looks as if black and white were exchanged: its negative controls look {as_is:.1f} times as different from the "
        f"training's as those do from each other, and exchanged {exchanged:.1f} times. If so, its numbers mean nothing: export the images "
        "as the camera took them, and score them again"))


def _exchanged(images: WellImages, predictor: Predictor) -> float:
    turned = WellImages(images.wells, (1 - np.asarray(images.pixels, np.float32)).astype(np.float16), images.channels)
    return _rms(predictor.predict(turned)["feature_distance"].to_numpy(float))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
