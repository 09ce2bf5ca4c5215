"""What noise, controls, plates, and a model's own error may have done to a drug sensitivity score.

A score is an area above a floor, so nearly a weighted sum of the responses: the trapezoid's weight of each dose that acts above the floor,
times the mean of its wells. Its standard error follows from the scatter about the curve, and needs neither a slope nor a midpoint that is
well determined: a drug that kills from the second dose on has a sure score and an unsure EC50.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from models.dose_response.checks import require_columns
from models.dose_response.curves import Array, well_values
from models.dose_response.doubts import scatter
from models.dose_response.effect_scale import least_effect, most_effect
from models.dose_response.sensitivity import THRESHOLD

SURE = 0.9      # of each limit by itself; half-widths of errors (`model_error` and the like) are those of it, 80 % on both sides
_FREE = 4       # parameters of a curve
_MOST = 64      # doses of a curve that are laid out; more are no better


def score_limits(scored: pd.DataFrame, *, kind: str = "dss_asym") -> pd.DataFrame:
    """A copy of `scored` with `{kind}_low` and `{kind}_high`: the score lies above the one, and below the other, 9 times in 10 (SURE).

    scored: Curves with the score column `kind`, a DSS. The wells are taken to stand evenly over the doses, and these evenly over their
    range on log10, as nearly all designs have it. The limits hold the scatter of wells, and that between two doses nobody has looked.
    Where curves have them, they also hold `control_error` and `model_error`: all responses above the floor are off by it together;
    `plates_error`: the curve lies that far off along the doses; `zero_at`: dead wells may read so much; and `uncalibrated`: a classifier
    of controls may read a half-dead well as anything within `effect_band`. NaN where no well is to spare for the noise, or there is no
    score. Raises TableError when a column is missing.
    """
    require_columns(scored, [kind, "rmse", "n", "n_doses", "dose_min", "dose_max", "scale", "top"], what="scores have no limits")
    limits = np.full((2, len(scored)), np.nan)
    known = np.flatnonzero(scored[[kind, "rmse", "dose_min", "dose_max"]].notna().all(axis=1) & (scored["n_doses"] > 1))
    if len(known):
        curves = scored.iloc[known].reset_index(drop=True)
        area = _Area.of(curves, kind)
        score = curves[kind].to_numpy(dtype=float)
        half = special.stdtrit((curves["n"] - _FREE).clip(lower=1).to_numpy(dtype=float), SURE) * area.standard_error()
        for name, slope in (("model_error", area.slope), ("control_error", area.slope), ("plates_error", area.per_decade())):
            half = np.hypot(half, slope * _column(curves, name))
        q = _column(curves, "zero_at")      # then an effect y is truly y / (1 - q)
        below, above = (area.difference(read) * _column(curves, "uncalibrated") for read in (least_effect, most_effect))
        limits[:, known] = np.maximum(score - half + below, 0.0), score + half + above + area.slope * area.mean() * q / (1 - q)
    return scored.assign(**{f"{kind}_low": limits[0], f"{kind}_high": limits[1]})


def mean_of_acting(values: pd.Series, inhibition: pd.Series, treatment: pd.Series) -> pd.Series:
    """Mean of `values` by treatment (the index), over the wells that make a sensitivity score: those above its floor, all where none is.

    values, inhibition (percent, NaN of wells that take no part), treatment: row = well.
    """
    codes, names = pd.factorize(treatment)
    value, effect = values.to_numpy(dtype=float), inhibition.to_numpy(dtype=float)
    used = np.isfinite(value) & np.isfinite(effect)
    mean = np.full(len(names), np.nan)
    for part in (used, used & (effect > THRESHOLD)):
        count = np.bincount(codes[part], minlength=len(names))
        total = np.bincount(codes[part], weights=value[part], minlength=len(names))
        mean = np.where(count > 0, total / np.maximum(count, 1), mean)
    return pd.Series(mean, index=names)


def _column(curves: pd.DataFrame, name: str) -> Array:
    """An optional column (N,), 0 where it is not there."""
    return np.asarray(curves[name].astype("float64").fillna(0.0) if name in curves else np.zeros(len(curves)), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class _Area:
    """The trapezoid's sum of the responses above the floor, of N curves laid out at D doses in all.

    row (D,): of which curve; effect (D,): percent inhibition; weight (D,): of each dose; floor (N,): percent; error (N,): SD of a dose's
    mean; active (D,): how likely it lies above the floor; factor (N,): points of the score per percent of the mean effect above the floor;
    slope (N,): how much the score rises when all active responses do by 1 %; span (N,), doses (N,); decades (N,): of doses.
    """

    row: npt.NDArray[np.intp]
    effect: Array
    weight: Array
    floor: Array
    error: Array
    active: Array
    factor: Array
    slope: Array
    span: Array
    doses: npt.NDArray[np.intp]
    decades: Array

    @classmethod
    def of(cls, curves: pd.DataFrame, kind: str) -> _Area:
        """The areas of curves with a score of this kind."""
        doses = curves["n_doses"].clip(upper=_MOST).to_numpy(dtype=np.intp)
        row = np.repeat(np.arange(len(curves)), doses)
        place = (np.arange(len(row)) - np.repeat(np.cumsum(doses) - doses, doses)) / (doses - 1)[row]      # 0 lowest dose, 1 highest
        low, high = (np.log10(curves[name].to_numpy(dtype=float)) for name in ("dose_min", "dose_max"))
        fraction = (curves["scale"] == "fraction_viability").to_numpy()
        effect = well_values(curves, row, 10.0 ** (low[row] + place * (high - low)[row]))
        effect = np.where(fraction[row], 100.0 * (1.0 - effect), effect)
        top = np.where(fraction, 100.0 * (1.0 - curves["bottom"]), curves["top"]).astype(float)
        floor = 0.1 * np.clip(top, 100.0, 110.0) if kind == "dss_asym" else np.full(len(top), THRESHOLD)
        error = scatter(curves) * np.where(fraction, 100.0, 1.0) / np.sqrt(curves["n"] / doses)
        weight = np.where((place == 0) | (place == 1), 0.5, 1.0) / (doses - 1)[row]
        with np.errstate(divide="ignore", invalid="ignore"):
            active = np.where(error[row] > 0, special.ndtr((effect - floor[row]) / error[row]), effect > floor[row]).astype(float)
        part: Array = np.bincount(row, weights=weight * active).astype(float)
        factor = _factor(kind, floor, top, part)
        span = (curves["top"] - curves["bottom"]).abs().to_numpy(dtype=float) * np.where(fraction, 100.0, 1.0)
        return cls(row=row, effect=effect, weight=weight, floor=floor, error=np.asarray(error), active=active, factor=factor,
                   slope=factor * part, span=span, doses=doses, decades=high - low)

    def standard_error(self) -> Array:
        """Standard error of the score (N,); each response counts by how likely it lies above the floor."""
        variance = np.bincount(self.row, weights=(self.weight * self.active * self.error[self.row]) ** 2)
        variance += np.bincount(self.row[1:], weights=_between(self.effect, self.row, self.span, self.doses), minlength=len(self.floor))
        return np.asarray(self.factor * np.sqrt(variance))

    def mean(self) -> Array:
        """Mean effect (N,) above the floor, percent."""
        part = np.bincount(self.row, weights=self.weight * self.active)
        return np.bincount(self.row, weights=self.weight * self.active * self.effect) / np.where(part > 0, part, 1.0)

    def per_decade(self) -> Array:
        """How much the score changes (N,) when the curve moves along the doses, per decade: what leaves at one end less what enters at the
        other.
        """
        above = np.maximum(self.effect - self.floor[self.row], 0.0)
        last = np.cumsum(self.doses) - 1
        return np.asarray(self.factor * np.abs(above[last] - above[last - self.doses + 1]) / self.decades)

    def difference(self, read: Callable[[Array], Array]) -> Array:
        """How much the score would differ (N,) if every effect were `read` of it."""
        floor = self.floor[self.row]
        change = np.maximum(read(self.effect) - floor, 0.0) - np.maximum(self.effect - floor, 0.0)
        return np.asarray(self.factor * np.bincount(self.row, weights=self.weight * change))


def _between(effect: Array, row: npt.NDArray[np.intp], span: Array, doses: npt.NDArray[np.intp]) -> Array:
    """Variance of the mean effect for want of doses between two neighbours, (wells - 1,).

    A curve that rises from one dose to the next may do so anywhere between them: its area there is uniform over the rise times the gap. The
    more neighbours share the rise, the less is left open.
    """
    rise = np.where(row[1:] == row[:-1], np.abs(np.diff(effect)), 0.0)
    share = np.divide(rise, span[row[1:]], out=np.zeros_like(rise), where=span[row[1:]] > 0)
    return np.asarray((share * rise / (doses - 1)[row[1:]]) ** 2 / 12.0)


def _factor(kind: str, floor: Array, top: Array, part: Array) -> Array:
    """Points of a score per percent of the mean effect above the floor (sensitivity.py). part: of the doses that is active."""
    if kind == "dss_asym":
        return 50.0 / (100.0 - floor)
    one = 100.0 / (100.0 - floor)
    if kind == "dss1":
        return one
    log_top = np.log10(np.where(top > THRESHOLD, np.minimum(top, 100.0), 10.0))
    return one / log_top if kind == "dss2" else one * 2.0 / log_top * part
