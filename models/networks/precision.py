"""May a model score in bfloat16? Where that moves its viabilities by next to nothing, measured on the real wells of its training screen.

bfloat16 keeps 8 bits of a number and is several times faster on a CPU that has it in hardware. The effect is measured when the model is
trained and stands in its card, which the predictor obeys. A CPU without it cannot measure it: the card then holds nothing and the model
scores in float32 everywhere. So the same training on two kinds of CPU may give two cards, as it may give weights that differ in the last
bits; one that was trained is not measured again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LARGEST_MEDIAN = 0.015  # difference of viability, in the median over wells
LARGEST = 0.05          # and in any well


@dataclass(frozen=True, kw_only=True)
class Bf16Effect:
    """How far bfloat16 moves the viability of a well (the probability of an image, where a model classifies images): in the median and at
    most, over so many wells.
    """

    median: float
    largest: float
    wells: int

    @property
    def allowed(self) -> bool:
        """Whether the model may score in bfloat16."""
        return self.wells > 0 and self.median <= LARGEST_MEDIAN and self.largest <= LARGEST


def effect_of_bf16(in_fp32: npt.ArrayLike, in_bf16: npt.ArrayLike) -> Bf16Effect | None:
    """The effect from the viabilities of the same wells, (N,) each; None where no well has one, or a number is lost in bfloat16."""
    one, other = np.asarray(in_fp32, dtype=float), np.asarray(in_bf16, dtype=float)
    known = np.isfinite(one)
    if not known.any() or not np.isfinite(other[known]).all():
        return None
    off = np.abs(one[known] - other[known])
    return Bf16Effect(median=round(float(np.median(off)), 6), largest=round(float(off.max()), 6), wells=int(known.sum()))
