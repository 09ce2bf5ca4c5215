"""Treatments with too few doses for a curve, as in a primary screen: does a dose do anything, and does it surely do much?

An effect is compared with the scatter of wells, and with what the controls' medians and the model leave uncertain; of hundreds of
treatments that do nothing, some look as if they did, so that calls are corrected for their number (Benjamini and Hochberg 1995). Beside
it stands how far the wells lie from the other wells of their plate, which needs no controls (robust z; Malo et al. 2006, Nature
Biotechnology 24:167): what stands out from the controls only may be the controls' fault. And how far from their row and column (B score):
what only stands out with these may be the plate's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from models.dose_response.batches import MIN_DOSES
from models.dose_response.excess import Noise, mean_variance, median_variance, noise_of, pooled
from models.dose_response.unknown_zero import dead_level
from models.dose_response.viability import NORMAL_95, shared_error
from models.plates.dose_levels import one_dose
from models.plates.median_polish import PLATE_WELLS, b_scores
from models.plates.screen import Controls
from models.separation import MAD_TO_SD
from models.tables import DOSED_ROLES, INFORMATIVE_FLAGS, SINGLE_DOSES, check_table, combined, no_rows

NAME = "single_doses"       # of the table as a file and in answers
CONFIDENCE = 0.95           # of the limits of each row
FALSE_CALLS = 0.05          # expected share among all rows that are called anything but none
USUAL_Z = 2.0               # nearer to the plate's median than that, a well is one of many; as for what its row and column lets expect
NO_CONTROLS = "the screen has no controls to compute viability by; plate_z says how far the wells lie from the others of their plate"
UNCALIBRATED = ("the model learned from controls only; between them its viability is not calibrated, so whether the effect exceeds "
                "{level:g} % cannot be said")

Array = npt.NDArray[np.float64]
KEYS = ["treatment", "dose", "dose_unit"]


def read_single_doses(folder: Path) -> pd.DataFrame:
    """SingleDoses from a folder of Parquet files; without rows where it lacks them."""
    path = folder / f"{NAME}.parquet"
    return check_table(pd.read_parquet(path), SINGLE_DOSES) if path.is_file() else no_rows(SINGLE_DOSES)


def single_doses(wells: pd.DataFrame, overlapping: dict[str, str], *, controls: Controls, value: str, level: float = 50.0) -> pd.DataFrame:
    """SingleDoses: a row per dose of each treatment that has fewer than four of them, over all plates, in the order of the layout.

    wells: WellScores with viability; those that are left out take no part, nor do those that hold two treatments. overlapping: plate ->
    what is wrong with its controls (models/overlap.py). controls: what the screen declares; value: the raw column that viability is made
    from; level: % inhibition that a hit must surely exceed.
    """
    dosed = wells[wells["role"].isin(DOSED_ROLES) & (wells["treatment"] != "") & (wells["dose"] > 0)].reset_index(drop=True)
    alone = dosed[~combined(dosed)]
    doses = alone["dose"].map(one_dose)
    few = doses.groupby(alone["treatment"]).transform("nunique") < MIN_DOSES
    if not few.any():
        return no_rows(SINGLE_DOSES)
    own = _measured(alone, dosed, value)[few].assign(dose=doses[few])
    rows = _counted(own)
    noise = noise_of(pooled(own["y"], [own[name] for name in KEYS]), _scatter_of_negatives(wells))
    spoiled = _plates_in_words(own, overlapping)
    rows = rows.assign(level=level, status=_statuses(rows, spoiled, noise, controls=controls))
    judged = (rows["status"] == "ok").to_numpy()
    error = np.full(len(rows), np.nan)
    if judged.any():
        error[judged] = np.sqrt(_variance(own, wells, noise, rows[KEYS][judged], controls=controls))
    rows = _with_limits(rows, error, noise)
    if controls == "negative":
        rows = rows.assign(inhibition_high=_if_dead_wells_read(rows, own, dosed))
    rows = rows.assign(call=_calls(rows, calibrated=value != "probability"))
    reasons = [_reason(row, said, controls=controls, calibrated=value != "probability")
               for row, said in zip(rows.to_dict("records"), spoiled.reindex(pd.MultiIndex.from_frame(rows[KEYS])).fillna(""), strict=True)]
    return check_table(rows.assign(reason=reasons), SINGLE_DOSES)


def _measured(alone: pd.DataFrame, dosed: pd.DataFrame, value: str) -> pd.DataFrame:
    """The wells with y (% inhibition, NaN where left out), shift (half-width of the model's error that replicates share, % inhibition),
    plate_z, b_score, flagged. dosed: all wells of the screen that hold a treatment, which tell what is usual on a plate.
    """
    out = alone["excluded"]
    raw = dosed[value].mask(dosed["excluded"])
    plates = raw.groupby(dosed["plate"])
    away = raw - plates.transform("median")
    spread = MAD_TO_SD * away.abs().groupby(dosed["plate"]).transform("median")
    known = (plates.transform("count") >= PLATE_WELLS) & (spread > 0)
    return alone.assign(y=(100 * (1 - alone["viability"])).mask(out), shift=100 * shared_error(alone), plate_z=(away / spread).where(known),
                        b_score=b_scores(raw, dosed["plate"], dosed["well"]),
                        flagged=[not INFORMATIVE_FLAGS.issuperset(flags) for flags in alone["flags"]])


def _counted(own: pd.DataFrame) -> pd.DataFrame:
    """A row per treatment and dose with means and counts."""
    groups = own.assign(lost=own["y"].isna(), doubtful=own["flagged"] & own["y"].notna()).groupby(KEYS, sort=False)
    rows = groups.agg(n=("y", "count"), n_left_out=("lost", "sum"), n_flagged=("doubtful", "sum"), inhibition=("y", "mean"),
                      plate_z=("plate_z", "mean"), b_score=("b_score", "mean")).reset_index()
    return rows.assign(viability=1 - rows["inhibition"] / 100)


def _scatter_of_negatives(wells: pd.DataFrame) -> tuple[float, float]:
    negative = wells[(wells["role"] == "negative") & ~wells["excluded"]]
    return pooled(100 * (1 - negative["viability"]), [negative["plate"]])


def _plates_in_words(own: pd.DataFrame, overlapping: dict[str, str]) -> pd.Series:
    """(treatment, dose, unit) -> what is wrong with the controls of its plates; only where something is."""
    used = own[own["y"].notna() & own["plate"].isin(list(overlapping))]
    said = used["plate"].astype(str).map(overlapping)
    return said.groupby([used[name] for name in KEYS]).agg(lambda words: "; ".join(dict.fromkeys(words)))


def _statuses(rows: pd.DataFrame, spoiled: pd.Series, noise: Noise, *, controls: Controls) -> npt.NDArray[np.object_]:
    bad = pd.MultiIndex.from_frame(rows[KEYS]).isin(spoiled.index) if len(spoiled) else np.zeros(len(rows), bool)
    return np.select([np.full(len(rows), controls == "none") | (rows["n"] == 0), bad, np.full(len(rows), not noise.sd > 0)],
                     ["no_value", "bad_controls", "no_scatter"], "ok").astype(object)


def _variance(own: pd.DataFrame, wells: pd.DataFrame, noise: Noise, keys: pd.DataFrame, *, controls: Controls) -> Array:
    """Variance (R,) of the mean inhibition of the rows in `keys`: of their wells, of the medians of their plates' controls, and of the
    model. An error of the negative controls' median scales what lives, one of the positive controls' what is dead.
    """
    used = own[own["y"].notna()]
    groups = used.groupby(KEYS, sort=False)
    each = groups["y"].agg(["mean", "count", "var"])
    found = mean_variance(each, noise) + (groups["shift"].mean() / NORMAL_95) ** 2
    on_plate = used.groupby([*KEYS, "plate"], sort=False)["y"].count()      # long, not wide: hundreds of plates share few treatments
    share = on_plate / on_plate.groupby(KEYS).transform("sum")
    for role, part in (("negative", 100 - each["mean"]), ("positive", each["mean"])):
        if role == "negative" or controls == "both":
            of_plate = _median_variance(wells, role, noise).reindex(share.index.get_level_values("plate")).to_numpy()
            found = found + part**2 * (share**2 * of_plate).groupby(KEYS).sum()
    return np.asarray(found.reindex(pd.MultiIndex.from_frame(keys)), dtype=np.float64)


def _median_variance(wells: pd.DataFrame, role: str, noise: Noise) -> pd.Series:
    """Of each plate's controls of a role, in viability^2; a single one scatters as the other wells do."""
    groups = wells[(wells["role"] == role) & ~wells["excluded"]].groupby("plate")["viability"]
    sd, n = groups.std().fillna(noise.sd / 100), groups.count()
    return pd.Series(median_variance(np.asarray(sd, dtype=float), np.asarray(n, dtype=float)), index=sd.index)


def _with_limits(rows: pd.DataFrame, error: Array, noise: Noise) -> pd.DataFrame:
    """The rows with limits (Student's t), p and q. error (R,): standard error of each, NaN where none can be judged."""
    factor = float(stats.t.ppf((1 + CONFIDENCE) / 2, noise.df)) if noise.df > 0 else np.nan
    known = np.isfinite(error)
    p, q = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    if known.any():
        p[known] = 2 * stats.t.sf(np.abs(rows["inhibition"].to_numpy()[known]) / error[known], noise.df)
        q[known] = stats.false_discovery_control(p[known])
    return rows.assign(inhibition_low=rows["inhibition"] - factor * error, inhibition_high=rows["inhibition"] + factor * error, p=p, q=q)


def _if_dead_wells_read(rows: pd.DataFrame, own: pd.DataFrame, dosed: pd.DataFrame) -> pd.Series:
    """Upper limits where no positive control says what dead wells read: if it is q of what living ones do, an inhibition y is truly
    y / (1 - q) (models/dose_response/unknown_zero.py). own: the wells of the rows; dosed: all that hold a treatment.
    """
    levels = dead_level(dosed[~dosed["excluded"] & dosed["viability"].notna()])
    used = own[own["y"].notna()]
    q = used["plate"].map(levels).astype(float).groupby([used[name] for name in KEYS]).mean().reindex(pd.MultiIndex.from_frame(rows[KEYS]))
    high = rows["inhibition_high"]
    return high.where(~(high > 0), high / (1 - q.fillna(0.0).to_numpy(dtype=float)))


def _calls(rows: pd.DataFrame, *, calibrated: bool) -> npt.NDArray[np.object_]:
    seen, more = rows["q"] <= FALSE_CALLS, rows["inhibition"] > 0
    return np.select([rows["status"] != "ok", seen & more & (rows["inhibition_low"] > rows["level"]) & calibrated, seen & more, seen],
                     ["", "hit", "effect", "growth"], "none").astype(object)


def _reason(row: dict[Any, Any], spoiled: str, *, controls: Controls, calibrated: bool) -> str:
    """What forbids to judge a row, and what else to know of it."""
    if row["status"] == "no_value":
        return NO_CONTROLS if controls == "none" else "no well of it is used: all are left out or have no viability"
    if row["status"] == "bad_controls":
        return spoiled
    if row["status"] == "no_scatter":
        return "neither replicates nor several negative controls tell how much wells scatter, so the effect cannot be told from noise"
    said = [f"{row['n_flagged']} of its wells are flagged, but used" if row["n_flagged"] else ""]
    if row["call"] not in ("", "none") and abs(row["plate_z"]) < USUAL_Z:
        said.append(f"it differs from the controls but not from the other wells of its plate (robust z {row['plate_z']:.1f}): either most "
                    "treatments there act alike, or the controls are off")
    elif row["call"] not in ("", "none") and abs(row["b_score"]) < USUAL_Z:
        said.append(f"it differs from its plate but not from its row and column there (B score {row['b_score']:.1f}): it may be a pattern "
                    "of the plate, such as a dry edge or a dispenser's tip")
    if row["call"] == "effect" and not calibrated and row["inhibition_high"] > row["level"]:
        said.append(UNCALIBRATED.format(level=row["level"]))
    return "; ".join(filter(None, said))
