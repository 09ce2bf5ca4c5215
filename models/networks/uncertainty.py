"""How far a read-out model's answer for a well may lie from the assay: conformal intervals from cross-fitted residuals.

Conformal prediction with locally scaled residuals (Lei et al. 2018, J. Am. Stat. Assoc. 113:1094, section 5.2), on cross-fitted
predictions in the place of a held-out set (Barber et al. 2021, Ann. Stat. 49:486). The half-width at an output x is w(x) = q s(x):

    s(x)  mean absolute residual of the wells whose prediction lies near x: a Gaussian kernel, drawn to the mean of all wells where
          few lie near
    q     the ceil((n + 1) level)-th smallest |residual| / s over the n wells, s without the well's own unit (replicate set)

It holds what varies between the units of the training screen. What it has not seen, such as another batch of cells or another
microscope, it cannot hold. Pure numpy and pandas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.networks.phases import SAME, duplicate_sets

Array = npt.NDArray[np.float64]

LEVEL = 0.95            # as the intervals of the curves
BANDWIDTH = 0.1         # of the kernel, as a share of the range of outputs
PRIOR_WELLS = 5.0       # so many wells of average residual stand beside those near x
GRID = 33
GROUPS = 10             # of units, each left out once when coverage is measured


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """The interval's ingredients, kept in the card. half_widths: at the outputs of the same place, both in the unit of the read-out;
    wells: how many residuals it rests on; coverage: share of wells inside their interval, each unit judged by the others alone;
    shared: share of the error's variance that replicates have in common (`shared_variance`), so that no mean over them takes it away;
    shared_half_widths: that part of half_widths, place by place, empty in cards that know the mean share alone.
    """

    level: float
    outputs: tuple[float, ...]
    half_widths: tuple[float, ...]
    wells: int
    coverage: float
    shared: float
    shared_half_widths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (len(self.outputs) == len(self.half_widths) > 0 and all(width > 0 for width in self.half_widths)):
            raise ValueError("half_widths must be positive, one for each of outputs")
        if not all(low < high for low, high in zip(self.outputs, self.outputs[1:], strict=False)):
            raise ValueError("outputs must rise")
        if not 0 <= self.shared <= 1:
            raise ValueError(f"shared must lie in 0-1, got {self.shared}")
        if self.shared_half_widths and not (len(self.shared_half_widths) == len(self.outputs) and all(
                0 <= part <= whole for part, whole in zip(self.shared_half_widths, self.half_widths, strict=True))):
            raise ValueError("shared_half_widths must be a part of half_widths, one for each of outputs")

    def half_width(self, output: npt.ArrayLike) -> Array:
        """Half-widths at raw outputs (N,), in their unit; beyond the outputs seen, the width at the nearest one."""
        return np.interp(np.asarray(output, dtype=float), self.outputs, self.half_widths)

    def shared_half_width(self, output: npt.ArrayLike) -> Array:
        """The part of `half_width` that wells of one output have in common, whatever their number."""
        if not self.shared_half_widths:
            return self.half_width(output) * math.sqrt(self.shared)
        return np.interp(np.asarray(output, dtype=float), self.outputs, self.shared_half_widths)


def held_out_wells(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per well that was predicted without having been learnt from: plate, well, unit, role and what it holds, target, predicted.

    predictions: table of `models.networks.fitting.Fitted`; cross-fitted predictions where there are any, else those of the test part;
    a well is the median of its sites.
    """
    held_out = predictions["prediction_cv"].fillna(predictions["prediction"].where(predictions["part"] == "test"))
    rows = predictions.assign(predicted=held_out)[held_out.notna() & predictions["target"].notna()]
    named = {name: (name, "first") for name in ("unit", "role", *SAME) if name in rows}
    named |= {"target": ("target", "median"), "predicted": ("predicted", "median")}
    return rows.groupby(["plate", "well"], sort=False).agg(**named).reset_index()


def measure_uncertainty(predictions: pd.DataFrame, *, level: float = LEVEL) -> Uncertainty | None:
    """Intervals of a read-out model from its held-out predictions; None where too few wells allow none (19 at level 0.95),
    or fewer than three units: each is judged by the others, of which one more is left out.

    Classifiers have none: between their two controls there is no measured value that a residual could be taken from.
    """
    wells = held_out_wells(predictions)
    predicted, residuals = wells["predicted"].to_numpy(float), (wells["predicted"] - wells["target"]).abs().to_numpy(float)
    units = np.unique(wells["unit"].astype(str), return_inverse=True)[1]
    if len(wells) < least_wells(level) or len(np.unique(units)) < 3 or np.ptp(predicted) == 0 or not residuals.any():
        return None
    grid = np.linspace(predicted.min(), predicted.max(), GRID)
    fit = _Conformal(predicted, residuals, units, level)
    widths = np.round(fit.half_width(grid), 6)
    mean, near = shared_variance(wells), shared_variance_near(wells, grid)
    parts = np.minimum(np.round(widths * np.sqrt(np.maximum(near, mean)), 6), widths)
    return Uncertainty(level=level, outputs=tuple(np.round(grid, 6).tolist()), half_widths=tuple(widths.tolist()),
                       wells=len(wells), coverage=round(_coverage(predicted, residuals, units, level), 4), shared=round(mean, 4),
                       shared_half_widths=tuple(parts.tolist()))


def shared_variance(wells: pd.DataFrame) -> float:
    """1 - (variance of the error between wells of the same treatment and dose) / (its mean square over all wells), in 0-1.

    The intraclass correlation about zero: 0 where errors of replicates have nothing in common, 1 where they are the same (and where no
    treatment and dose was repeated, so that nothing is known). wells: as `held_out_wells` gives them.
    """
    return float(_shared_variance(wells, np.ones((1, len(wells))))[0])


def shared_variance_near(wells: pd.DataFrame, outputs: Array) -> Array:
    """`shared_variance` (m,) of wells whose prediction lies near each of the outputs (m,): by the kernel of the module's docstring.

    A model that was right on average may read all dead wells too high and all half-dead ones too low, as one does that cannot tell such
    wells apart; a mean over replicates shows it no better than one well.
    """
    predicted = wells["predicted"].to_numpy(float)
    return _shared_variance(wells, _near(outputs, predicted) + PRIOR_WELLS / len(wells))


def _shared_variance(wells: pd.DataFrame, weights: Array) -> Array:
    """(m,) of weights (m, wells)."""
    error = wells["predicted"] - wells["target"]
    groups = error.groupby([wells["role"], duplicate_sets(wells)])
    square, within = weights @ error.to_numpy() ** 2, weights @ (error - groups.transform("mean")).to_numpy() ** 2
    spare = weights @ (1 - 1 / groups.transform("size")).to_numpy()
    known = (spare > 0) & (square > 0)
    return np.clip(1 - np.divide(within * weights.sum(axis=1), spare * square, out=np.zeros(len(square)), where=known), 0.0, 1.0)


def _near(outputs: Array, predicted: Array) -> Array:
    """The kernel (m, n): how near the predictions (n,) lie to outputs (m,)."""
    return np.asarray(np.exp(-0.5 * ((outputs[:, None] - predicted[None, :]) / (BANDWIDTH * np.ptp(predicted))) ** 2))


def least_wells(level: float) -> int:
    """Fewest residuals from which an interval of this level can be made."""
    return math.ceil(round(level / (1 - level), 9))


@dataclass(frozen=True)
class _Conformal:
    """Predicted values, absolute residuals and unit numbers of n wells, each (n,)."""

    predicted: Array
    residuals: Array
    units: npt.NDArray[np.intp]
    level: float

    def half_width(self, outputs: Array) -> Array:
        """w(x) of the module's docstring at outputs (m,)."""
        own = self.units[:, None] == self.units[None, :]
        scores = self.residuals / self._scale(self.predicted, own)
        place = min(math.ceil(round((len(scores) + 1) * self.level, 9)), len(scores))
        return np.sort(scores)[place - 1] * self._scale(outputs, np.zeros((len(outputs), len(scores)), dtype=bool))

    def _scale(self, outputs: Array, without: npt.NDArray[np.bool_]) -> Array:
        """s at outputs (m,); without (m, n): wells that do not count there."""
        near = _near(outputs, self.predicted) * ~without      # (m, n)
        mean = (~without @ self.residuals) / (~without).sum(axis=1)
        return np.asarray((near @ self.residuals + PRIOR_WELLS * mean) / (near.sum(axis=1) + PRIOR_WELLS))


def _coverage(predicted: Array, residuals: Array, units: npt.NDArray[np.intp], level: float) -> float:
    """Share of wells inside the interval that the other groups of units give them."""
    groups = units % min(GROUPS, len(np.unique(units)))
    inside = np.zeros(len(units), dtype=bool)
    for group in np.unique(groups):
        rest = groups != group
        fit = _Conformal(predicted[rest], residuals[rest], units[rest], level)
        inside[~rest] = residuals[~rest] <= fit.half_width(predicted[~rest])
    return float(inside.mean())
