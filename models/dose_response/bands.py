"""Pointwise confidence band of a fitted curve, by the delta method."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from models.dose_response.curves import (
    HORMESIS,
    LEFT,
    LN10,
    LOG_ASYMMETRY,
    LOG_SLOPE,
    MIDPOINT,
    MODELS,
    RIGHT,
    Array,
    curve_parameters,
    curve_values,
    log10_or_none,
    scaled_distance,
    shape_terms,
)
from models.dose_response.doubts import scatter

_RIDGE = 1e-9
_PLATEAUS = np.array([0.0, 1e300])        # doses at which every curve has reached its plateaus


def confidence_band(curve: pd.Series, tested: npt.ArrayLike, dose: npt.ArrayLike, *, level: float = 0.95) -> tuple[Array, Array]:
    """Lower and upper limit (doses,) of the mean response of one Curves row at `dose`, in its scale.

    tested: the doses of the wells that were fitted. NaN where nothing was fitted or no degrees of freedom are left. The
    band is local (first order, bounds of parameters ignored) and kept within the bands of the two plateaus, which a
    monotonic curve cannot leave; the interval of EC50 comes from the profile instead.
    """
    doses = np.atleast_1d(np.asarray(dose, dtype=float))
    free = MODELS[curve["model"]].free if curve["model"] in MODELS else ()
    free = () if HORMESIS in free else free                # no band for Brain-Cousens
    spare = float(curve["n"]) - len(free)
    if not free or spare <= 0 or not np.isfinite(curve["slope"]):
        return np.full(len(doses), np.nan), np.full(len(doses), np.nan)
    p, sign = curve_parameters(curve.to_frame().T.reset_index(drop=True))
    design = _jacobian(np.asarray(tested, dtype=float), curve, p, sign)[:, list(free)]
    here = _jacobian(np.concatenate([doses, _PLATEAUS]), curve, p, sign)[:, list(free)]
    normal = design.T @ design
    covariance = np.linalg.pinv(normal + _RIDGE * np.diag(np.diag(normal)), hermitian=True)
    se = np.sqrt(np.maximum(np.einsum("di,ij,dj->d", here, covariance, here), 0.0))
    width = stats.t.ppf(0.5 + level / 2.0, spare) * float(scatter(curve.to_frame().T)[0]) * se
    half, end_half = width[:-2], width[-2:]
    y = curve_values(curve.to_frame().T, doses)[0]
    ends = curve_values(curve.to_frame().T, _PLATEAUS)[0]
    return (np.maximum(y - half, (ends - end_half).min()), np.minimum(y + half, (ends + end_half).max()))


def _jacobian(dose: Array, curve: pd.Series, p: Array, sign: Array) -> Array:
    """Derivatives (doses, 5) of the response by the parameters of curves.py."""
    z = scaled_distance(log10_or_none(dose)[:, None], p)
    g, by_z, by_s = shape_terms(MODELS[curve["model"]].shape, z, p[LOG_ASYMMETRY], sign)
    span = p[RIGHT] - p[LEFT]
    columns: list[Array] = [np.zeros_like(g)] * 5
    columns[LEFT], columns[RIGHT] = 1.0 - g, g
    columns[MIDPOINT], columns[LOG_SLOPE] = -span * by_z * LN10 * np.exp(p[LOG_SLOPE]), span * by_z * z
    if by_s is not None:
        columns[LOG_ASYMMETRY] = span * by_s
    return np.concatenate(columns, axis=1)
