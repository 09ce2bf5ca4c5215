"""What the wells of one plate say about a curve that is pooled over several: residuals plate by plate, and how sure they are.

The variance of a plate's mean residual, or of the shift of its curve, holds the scatter of wells about their plate's own curve, and what
the medians of the plate's controls may be wrong by, which moves all its wells alike. No plate has to have a curve that is well determined
by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.dose_response.control_error import control_errors
from models.dose_response.curves import sensitivities, well_values
from models.dose_response.fit import as_arrays, fit_arrays
from models.dose_response.options import FitOptions
from models.dose_response.viability import MEDIAN_ERROR

FEW = 4             # degrees of freedom below which the noise of a treatment's wells is not trusted alone
ENOUGH = 8          # degrees of freedom of all treatments together from which on they tell the noise of one
MIDDLE = 1.4        # SD of wells between the controls over that of negative controls, at most, where nothing else tells
_NOISE = FitOptions(interval="none")
_FREE = 4           # parameters of a plate's own curve


@dataclass(frozen=True, kw_only=True)
class PlateResiduals:
    """Wells of treatments on several plates about their pooled curves.

    curves: Curves rows of these treatments. used: their wells, with plate, treatment, dose, response. plates: a row per treatment and
    plate: treatment, plate, n, effect (mean response), mean (of the residuals), variance and df (of that mean), shift (of the plate's curve
    from the pooled one, log10 dose, by one step of least squares), shift_variance.
    """

    curves: pd.DataFrame
    used: pd.DataFrame
    plates: pd.DataFrame


def plate_residuals(curves: pd.DataFrame, usable: pd.DataFrame, wells: pd.DataFrame, *, value: str,
                    positive: bool) -> PlateResiduals | None:
    """None where no treatment with a curve lies on several plates.

    curves: Curves by treatment. usable: the wells that they were fitted to, with plate, treatment, dose and response, on the scale of the
    curves. wells: with plate, role, `excluded` and `value`, the raw read-out, of which the controls are taken; positive: whether
    positive controls are 0 %.
    """
    used = usable[usable["response"].notna() & (usable["dose"] > 0)]
    plates = used.groupby("treatment")["plate"].nunique()
    many = curves["treatment"].isin(plates.index[plates > 1]) & curves["slope"].notna()
    if not many.any():
        return None
    curves = curves[many].reset_index(drop=True)
    used = used[used["treatment"].isin(curves["treatment"])]
    raw = str(curves["scale"].iloc[0]) == "raw"
    row = used["treatment"].map(dict(zip(curves["treatment"], range(len(curves)), strict=True))).to_numpy(dtype=np.intp)
    dose = used["dose"].to_numpy(dtype=float)
    residual = used["response"].to_numpy(dtype=float) - well_values(curves, row, dose)
    steep = sensitivities(curves, row, dose)
    about = used.assign(residual=residual, steep=steep, moment=residual * steep, square=steep**2)
    table = about.groupby(["treatment", "plate"], sort=False).agg(
        mean=("residual", "mean"), effect=("response", "mean"), n=("residual", "size"),
        steep=("steep", "sum"), moment=("moment", "sum"), square=("square", "sum")).reset_index()
    errors = pd.DataFrame() if raw else control_errors(wells, value=value, positive=positive)
    table = table.join(_noise(used, errors), on="treatment")
    square = table["square"].where(table["square"] > 0)
    shifts = _variances(table, errors, of_wells=table["noise"] / square, gain=table["steep"] / square)
    means = _variances(table, errors, of_wells=table["noise"] / table["n"], gain=1.0)
    table = table.assign(variance=means["variance"], df=means["df"], shift=table["moment"] / square, shift_variance=shifts["variance"])
    return PlateResiduals(curves=curves, used=used, plates=table.drop(columns=["steep", "moment", "square"]))


def _noise(used: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """Variance of a well's response about its plate's own curve, by treatment (the index): noise, noise_df.

    Of few degrees of freedom it may come out low by chance: then it is drawn up to that of all treatments together, which counts like
    ENOUGH wells more; where they are few too, that of the negative controls stands for it, if larger.
    """
    rss, df = _about_own_curves(used)
    noise, few = rss / df.where(df > 0), df < FEW
    if df.sum() >= ENOUGH:
        usual = rss.sum() / df.sum()
        joined = ((rss + ENOUGH * usual) / (df + ENOUGH)).clip(lower=usual)
        return pd.DataFrame({"noise": noise.mask(few, joined), "noise_df": df.mask(few, df + ENOUGH)})
    if errors.empty:
        return pd.DataFrame({"noise": noise, "noise_df": df})
    places = used.drop_duplicates(["treatment", "plate"])[["treatment", "plate"]].join(errors, on="plate")
    square = (100 * MIDDLE * places["sd_negative"]) ** 2 * places["df_negative"]
    total = places.assign(square=square).dropna().groupby("treatment")[["square", "df_negative"]].sum().reindex(df.index)
    control = total["square"] / total["df_negative"]
    chosen = few & control.notna() & ~(noise > control)
    return pd.DataFrame({"noise": noise.mask(chosen, control), "noise_df": df.mask(chosen, total["df_negative"])})


def _about_own_curves(used: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Sum of squares of wells about a 4PL of their plate, and its degrees of freedom, by treatment; both 0 where no well is to spare."""
    grouped = used.groupby(["treatment", "plate"], sort=False)
    number = grouped.ngroup().to_numpy()
    dose, response = as_arrays(number, used["dose"].to_numpy(dtype=float), used["response"].to_numpy(dtype=float))
    rss, size = fit_arrays(dose, response, scale="raw", options=_NOISE).rss, np.bincount(number)
    spare = np.where(np.isfinite(rss), np.maximum(size - _FREE, 0), 0)
    treatment = used["treatment"].to_numpy(dtype=object)[np.unique(number, return_index=True)[1]]
    total = pd.DataFrame({"rss": np.where(spare > 0, rss, 0.0), "df": spare.astype(float)}).groupby(treatment, sort=False).sum()
    return total["rss"], total["df"]


def _variances(table: pd.DataFrame, errors: pd.DataFrame, *, of_wells: pd.Series, gain: pd.Series | float) -> pd.DataFrame:
    """variance and df (Satterthwaite) of what is taken of each plate's residuals: that of their wells, and of their controls' medians, of
    which it holds `gain` times what they move all wells by.

    Plates of a treatment share one estimate of noise, so each has its share of the degrees of freedom. Controls too few to tell their
    scatter are taken to scatter as the wells do.
    """
    df = table["noise_df"] * table["n"] / table.groupby("treatment")["n"].transform("sum")
    parts = [(of_wells, df)]
    if not errors.empty:
        here = errors.reindex(table["plate"]).set_axis(table.index)
        for role, share in (("negative", 100 - table["effect"]), ("positive", table["effect"])):
            known = here[role].notna()
            error = here[role].where(known, MEDIAN_ERROR * np.sqrt(table["noise"]) / 100)
            parts.append(((share * error * gain) ** 2, here[f"df_{role}"].where(known & (here[f"df_{role}"] > 0), df)))
    variance = sum(part for part, _ in parts)
    square = sum(part**2 / spare.where(spare > 0) for part, spare in parts)
    return pd.DataFrame({"variance": variance, "df": variance**2 / square})
