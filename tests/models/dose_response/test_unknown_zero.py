"""Screens without positive controls: what dead wells may read is in the lower limits of IC50s and the upper ones of scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.dose_response_statistics import inhibition
from models.dose_response import FitOptions, score_limits
from models.dose_response.unknown_zero import BACKGROUND
from models.effects import treatment_curves, with_viability
from models.plates.screen import Controls

DOSES, EC50 = np.logspace(0, 4, 9), 100.0


def plate(background: float, *, top: float = 100.0, seed: int = 0, name: str = "P1") -> pd.DataFrame:
    """8 negative controls of read-out 1, and 3 wells a dose whose dead cells still read `background`."""
    rng = np.random.default_rng(seed)
    dose = np.repeat(DOSES, 3)
    alive = np.concatenate([np.ones(8), 1 - inhibition(dose, EC50, top=top) / 100])
    return pd.DataFrame({"plate": name, "role": ["negative"] * 8 + ["treated"] * len(dose), "treatment": [""] * 8 + ["drug"] * len(dose),
                         "dose": [np.nan] * 8 + list(dose), "dose_unit": "nM", "excluded": False,
                         "readout": background + (1 - background) * alive + rng.normal(0, 0.02, len(alive))})


def curve(wells: pd.DataFrame, *, controls: Controls = "negative") -> pd.Series:
    scored = with_viability(wells, controls=controls, value="readout")
    return treatment_curves(scored, FitOptions(), controls=controls, value="readout").iloc[0]


def test_limits_hold_the_true_ic50_whatever_dead_wells_read() -> None:
    """Fifty plates each; the read-outs alone say 1.3 times the true IC50 where dead wells read 15 % of living ones."""
    for background in (0.0, 0.15):
        found = [curve(plate(background, seed=seed)) for seed in range(50)]
        held = [row["ic50_low"] <= EC50 <= row["ic50_high"] for row in found]
        assert np.mean(held) >= 0.92
        assert np.median([row["zero_at"] for row in found]) == pytest.approx(background, abs=0.03)
    assert np.median([row["ic50"] for row in found]) > 1.25 * EC50


def test_where_dead_wells_read_nothing_the_limits_hardly_move_and_controls_leave_nothing_open() -> None:
    wells = plate(0.0)
    bare = curve(wells)
    assert bare["ic50_low"] > 0.9 * EC50
    dead = wells[wells["role"] == "negative"].assign(role="positive", readout=0.0)
    dead.loc[dead.index[::2], "readout"] = 0.02
    assert "zero_at" not in curve(pd.concat([wells, dead], ignore_index=True), controls="both")


def test_what_the_least_affected_wells_leave_is_not_all_taken_for_background() -> None:
    weak = curve(plate(0.0, top=40.0))
    assert weak["zero_at"] == BACKGROUND
    assert weak["ic50_relation"] == ">"
    assert weak["ic50_low"] < DOSES[-1]     # it may be that 37.5 % of inhibition are a half of all there is


def test_scores_may_be_higher_by_as_much() -> None:
    found = curve(plate(0.15))
    limits = score_limits(found.to_frame().T.infer_objects())
    certain = score_limits(found.drop("zero_at").to_frame().T.infer_objects())
    true = score_limits(curve(plate(0.0, seed=1)).to_frame().T.infer_objects())["dss_asym"].iloc[0]
    assert certain["dss_asym_high"].iloc[0] < true <= limits["dss_asym_high"].iloc[0]
    assert limits["dss_asym_low"].iloc[0] == certain["dss_asym_low"].iloc[0]


def test_plates_weigh_by_their_wells() -> None:
    found = curve(pd.concat([plate(0.0), plate(0.2, name="P2", seed=2)], ignore_index=True))
    assert found["zero_at"] == pytest.approx(0.1, abs=0.03)
