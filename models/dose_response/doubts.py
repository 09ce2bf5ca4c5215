"""Curves that the wells do not bear out, whatever their parameters look like: bent the other way, or made by a single well; and how a
doubt is put into a table of curves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.dose_response.batches import Batch
from models.dose_response.curves import LEFT, NO_DOSE, RIGHT, Array
from models.dose_response.engine import BatchFit
from models.dose_response.words import ic_name

Bools = npt.NDArray[np.bool_]
Row = dict[Any, Any]
MISFIT_LEVEL = 0.001    # of the lack of fit test, up to which a curve may be called no curve of these wells
MISFIT = 10.0           # root mean square of what the means of doses lie off, in percent inhibition, from which on it is
BENT_LEVEL = 0.1        # of the lack of fit test, up to which the curve is off the means of doses by more than wells scatter
LEAST_FREEDOM = 2.0     # degrees of the F by which limits then go: the one that five doses leave opens them without end, and holds no more
                        # curves (docs/curve_accuracy.md)
ELSEWHERE = 1.5         # times the IC50, or one over it, from which on such means cross its level elsewhere: as far as a sound curve's own
                        # limits lie (1.2 to 1.6 times, 8 doses twice, noise 5 to 10 %: docs/curve_accuracy.md)
# The following were set by what they tell of sound curves (7 in 1,000 at most) and of such as they are meant for: docs/curve_accuracy.md
BACK, UNTREATED, SKIP_SIGMA = 25.0, 20.0, 3.0   # percent inhibition that a skipped dose lies below both of its neighbours, its own at most,
                        # and standard errors of the difference: at a noise of 15 %, 25 points alone told 49 in 1,000 sound curves
ALONE = 0.25            # share of the way between the plateaus within which all wells but one lie
BEYOND = -50.0          # percent inhibition of the mean of a dose, at most, that is no scatter: viability of 150 % and more
STEEP = 9.5             # slope from which on doses lie too far apart to tell how steep it is: fits bound it at 10
LOOSE = 10.0            # fold; an IC50 whose limits, any of them, lie further apart is about that
DEADER = 150.0          # percent inhibition of the mean of a dose, from which on the wells are deader than the positive controls

MISFIT_WORDS = ("the curve does not go through the wells: replicates agree with each other, and their effect does not rise steadily with "
                "the dose; look at the plot")
SCATTERED_WORDS = ("the wells lie further apart than the controls scatter, and their effect does not rise steadily with the dose: it comes "
                   "and goes, or wells went wrong; look at the plot, and repeat it with two wells a dose")
FLAT_WORDS = "no dependence on dose beyond noise"
DEADER_WORDS = "wells read far below the positive controls: these do not stand for dead cells, and the IC50 is too low"
BEYOND_WORDS = ("wells read 150 % of the negative controls or more: they grow, the compound disturbs the read-out, or the controls are not "
                "what untreated wells are")
LEFT_OUT_WORDS = "wells left out: excluded, or without a usable response or dose"
OPEN_DOSE_WORDS = ("EC50 outside the tested doses", "slope at its bound", "midpoint at its bound", "a plateau at its bound",
                   "asymmetry at its bound", "the interval of EC50 is open")
_OPEN_IC = re.compile(r"the interval of IC\S+ is open")
BEYOND_DOSES_WORDS = ("the effect stays below the IC level up to the top dose", "the effect is above the IC level from the lowest dose on")
ELSEWHERE_WORDS = "the means of the doses cross the IC level elsewhere than the curve (see the plot), and the limits reach to there"
TOO_HIGH_WORDS, TOO_LOW_WORDS = "an IC50 comes out too high", "an IC50 comes out too low"
STRANGE_WORDS = "read beyond all that the model learned from"
OTHER_SIZE_WORDS = "times as large as in training"
SKIPPED_WORDS = ("a dose between two that act reads as if nothing had been given, in all of its wells: was it skipped? Repeat it, or "
                 "leave its wells out")
APART = "plates disagree beyond their noise"
ALONE_WORDS = "all of the effect, or all that lacks of it, is in a single well: repeat that dose"


def doubt_of_plate(reason: str) -> str:
    """The part of a curve's `reason` by which its whole plate hides effects or means nothing, so that no score is surely low; or ""."""
    words = (TOO_HIGH_WORDS, STRANGE_WORDS, OTHER_SIZE_WORDS)
    return next((part for part in reason.split("; ") if any(said in part for said in words)), "")


def stands_for_nothing(status: str, reason: str, ic50_relation: str) -> bool:
    """Whether a score says nothing, be it low or high: of plates that disagree, or of wells that follow no such curve (no IC50)."""
    return status == "weakly_identified" and (APART in reason or not ic50_relation)


def open_words(ic_level: float) -> str:
    """The doubt of an IC without a limit: "the interval of IC25 is open"."""
    return f"the interval of {ic_name(ic_level)} is open"


def only_the_dose_is_open(reason: str) -> bool:
    """Whether a weakly identified curve, by its `reason`, leaves open the place of its midpoint and nothing that its score rests on.

    A drug that kills from the lowest doses on has a plateau or a midpoint that no well determines, or that one does, and an area above its
    curve that all of them do. (What a single well alone does makes no score that is surely high.)
    """
    of_dose = (*OPEN_DOSE_WORDS, *BEYOND_DOSES_WORDS, ELSEWHERE_WORDS, ALONE_WORDS)
    return all(part in of_dose or part.endswith(LEFT_OUT_WORDS) or _OPEN_IC.fullmatch(part) for part in reason.split("; "))


def misfits(batch: Batch, rss: Array, p_lack_of_fit: Array, *, scale: str) -> Bools:
    """Curves (N,) that lie far off the means of doses, by more than the replicates' own scatter explains.

    Far is MISFIT on scale percent_inhibition, as much on fraction_viability, and that share of the responses' range on raw.
    """
    unit = batch.response_range() / 100.0 if scale == "raw" else np.full(len(rss), 1.0 if scale == "percent_inhibition" else 0.01)
    off = np.sqrt(np.maximum(rss - batch.within, 0.0) / batch.n)
    return np.asarray((p_lack_of_fit < MISFIT_LEVEL) & (off >= MISFIT * unit))


def scatter(curves: pd.DataFrame) -> Array:
    """The SD of a well about its curve that limits go by (N,), on the curves' scale, of Curves.

    Of bent curves that of the doses' means: the wells of a dose are off together, by the shape of the curve, or the dispensing.
    """
    rmse = curves["rmse"].to_numpy(dtype=float)
    if "p_lack_of_fit" not in curves:
        return rmse
    bent = curves["p_lack_of_fit"].to_numpy(dtype=float) < BENT_LEVEL
    return np.where(bent, np.fmax(curves["rmse_doses"].to_numpy(dtype=float), rmse), rmse)


def means_cross(batch: Batch, level: Array, *, near: Array) -> Array:
    """Where the means of doses, joined by straight lines, cross the level (N,) nearest to `near` (N,), both as x of the batch; else NaN."""
    x, y = batch.x, batch.y - level
    here = (y[:-1] * y[1:] <= 0) & (x[:-1] > NO_DOSE) & (y[:-1] != y[1:])
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.where(here, x[:-1] - y[:-1] * (x[1:] - x[:-1]) / (y[1:] - y[:-1]), np.nan)
        nearest = np.argmin(np.where(np.isfinite(at), np.abs(at - near), np.inf), axis=0)
    return np.asarray(np.take_along_axis(at, nearest[None], axis=0)[0])


def beyond_controls(effect: Array, count: Array) -> tuple[Bools, Bools]:
    """Curves (N,) at some doses of which two wells or more lie far above the negative controls, and far below the positive ones.

    effect: percent inhibition (D, N); count: wells of each dose.
    """
    above, below = ((count * side).sum(axis=0) >= 2 for side in (effect <= BEYOND, effect >= DEADER))
    return np.asarray(above), np.asarray(below)


def skips(effect: Array, count: Array, noise: Array) -> Bools:
    """Curves (N,) with a dose of two wells or more that does next to nothing between two that act, by more than noise.

    effect: percent inhibition (D, N) of the means of doses, in order; count: wells of each dose; noise: SD (N,) of wells of one dose.
    """
    own, n = effect[1:-1], count[1:-1]
    far = np.fmax(BACK, SKIP_SIGMA * noise * np.sqrt(1 / n + 1 / np.minimum(count[:-2], count[2:])))
    back = (np.minimum(effect[:-2], effect[2:]) - own >= far) & (own <= UNTREATED) & (n >= 2)
    return np.asarray(back.any(axis=0))


def rests_on_one(batch: Batch, fit: BatchFit) -> Bools:
    """Curves (N,) of which all wells but one lie near one plateau: were that well wrong, there would be no curve."""
    span = fit.p[RIGHT] - fit.p[LEFT]
    with np.errstate(divide="ignore", invalid="ignore"):
        way = (batch.y - fit.p[LEFT]) / span
    sides = [(batch.count * side).sum(axis=0) == 1 for side in (way > ALONE, way < 1.0 - ALONE)]
    return np.asarray(np.any(sides, axis=0), dtype=bool)


def with_changes(curves: pd.DataFrame, changes: Mapping[str, Callable[[Row], Row]]) -> pd.DataFrame:
    """Curves by treatment; of those in `changes` the row gets what their function makes of it, columns that are there already."""
    if not changes:
        return curves
    rows = [row | changes[row["treatment"]](row) if row["treatment"] in changes else row for row in curves.to_dict("records")]
    return pd.DataFrame(rows, index=curves.index, columns=curves.columns).astype(curves.dtypes)
