"""What an effect in images may be worth, where a model learned from living and dead wells alone and saw nothing between them."""

from __future__ import annotations

import numpy as np

from models.dose_response.curves import Array

HALF = 50.0     # percent inhibition


def effect_band(ic_level: float) -> tuple[float, float]:
    """Inhibitions in images, in percent, between which a control classifier may stand where the true one is `ic_level`: 25 and 85 for 50.

    It has seen nothing between its controls, so the scale there is its own. At the true IC50 of 55 curves of six simulated patients the
    images stood at 2 to 68 % viability (5 to 95 % of the curves), and the confidence limits of the doses of these two levels held the truth
    of all (docs/accuracy.md). The band reaches further up, because a classifier calls a dying well dead early.
    """
    return 0.5 * ic_level, ic_level + 0.7 * (100 - ic_level)


def least_effect(seen: Array) -> Array:
    """The least true inhibition, in percent, that images may show as `seen`: straight lines from 0 over (85, 50) to 100."""
    return np.asarray(np.interp(seen, (0.0, effect_band(HALF)[1], 100.0), (0.0, HALF, 100.0)) + _beyond(seen))


def most_effect(seen: Array) -> Array:
    """The most: from 0 over (25, 50) to 100."""
    return np.asarray(np.interp(seen, (0.0, effect_band(HALF)[0], 100.0), (0.0, HALF, 100.0)) + _beyond(seen))


def _beyond(seen: Array) -> Array:
    """What lies outside 0 to 100 stays as it is."""
    return np.asarray(np.minimum(seen, 0.0) + np.maximum(seen - 100.0, 0.0))
