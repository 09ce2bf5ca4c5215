"""Counted cells against boxes that people drew: precision and recall, as Saini et al. 2020 (Table 1) reports them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class BoxMatch:
    """pairs (k, 2): row of the found box, row of the drawn one; found, drawn: how many there are."""

    pairs: np.ndarray
    found: int
    drawn: int

    @property
    def precision(self) -> float:
        """Share of the found cells that somebody drew; NaN without any."""
        return len(self.pairs) / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        """Share of the drawn cells that were found; NaN without any."""
        return len(self.pairs) / self.drawn if self.drawn else float("nan")


def match_boxes(found: pd.DataFrame, drawn: pd.DataFrame, *, overlap: float = 0.2) -> BoxMatch:
    """One-to-one pairs of boxes (columns x_min, y_min, x_max, y_max) that overlap by more than `overlap` (intersection over union), chosen
    to overlap most in all.

    Boxes drawn by hand are loose, so a fifth is enough to say that they mean the same cell; centres must lie inside each other's box too.
    """
    first, second = (table[["x_min", "y_min", "x_max", "y_max"]].to_numpy(float) for table in (found, drawn))
    if not len(first) or not len(second):
        return BoxMatch(np.empty((0, 2), int), len(first), len(second))
    low, high = np.maximum(first[:, None, :2], second[None, :, :2]), np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    ratio = shared / (areas[0][:, None] + areas[1][None] - shared)
    ratio = np.where((ratio > overlap) & _centred(first, second) & _centred(second, first).T, ratio, 0.0)
    rows, columns = linear_sum_assignment(-ratio)
    real = ratio[rows, columns] > 0
    return BoxMatch(np.column_stack([rows[real], columns[real]]), len(first), len(second))


def _centred(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether the centre of each box (n) lies in each other box (m): (n, m)."""
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    return np.asarray(((others[None, :, :2] <= centre) & (centre <= others[None, :, 2:])).all(axis=2))
