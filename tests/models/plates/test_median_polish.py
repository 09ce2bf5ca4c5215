"""B scores: what a row or column shares is taken away, what a well has for itself stays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.plates.median_polish import b_scores
from models.wells import well_name, wells_of

WELLS = pd.Series(list(wells_of(96)))
P1 = pd.Series("P1", WELLS.index)


def pattern() -> np.ndarray:
    """A dry first column, a tip that dispenses less into row C, a drift over the rows; (8, 12)."""
    found = np.add.outer(np.linspace(0, 3, 8), np.zeros(12))
    found[:, 0] += 6
    found[2] -= 4
    return found


def noisy(seed: int = 1) -> np.ndarray:
    return pattern() + np.random.default_rng(seed).normal(0, 0.5, (8, 12))


def scores(grid: np.ndarray) -> np.ndarray:
    return b_scores(pd.Series(grid.ravel()), P1, WELLS).to_numpy().reshape(8, 12)


def test_a_pattern_of_the_plate_makes_no_outlier_and_an_outlier_stays_one() -> None:
    grid = noisy()
    grid[4, 6] -= 5
    found = scores(grid)
    assert found[4, 6] < -6
    assert np.abs(np.delete(found, 4 * 12 + 6)).max() < 4
    plain = (grid - np.median(grid)) / (1.4826 * np.median(np.abs(grid - np.median(grid))))
    assert np.median(plain[:, 0]) > 3       # by the plate's median alone the edge would be hits


def test_what_is_left_of_rows_and_columns_has_medians_of_nothing() -> None:
    found = scores(noisy())
    assert np.abs(np.median(found, axis=0)).max() < 0.01
    assert np.abs(np.median(found, axis=1)).max() < 0.01


@pytest.mark.parametrize(("rows", "columns"), [(8, 10), (8, 12), (6, 10), (16, 22)])
def test_where_nothing_acts_it_exceeds_two_as_often_as_a_normal_score(rows: int, columns: int) -> None:
    rng, wells = np.random.default_rng(7), pd.Series([well_name(row, column) for row in range(rows) for column in range(columns)])
    found = pd.concat([b_scores(pd.Series(rng.normal(size=len(wells))), pd.Series("P1", wells.index), wells) for _ in range(40)])
    assert (found.abs() > 2).mean() == pytest.approx(0.0455, abs=0.012)


def test_it_is_blind_to_row_and_column_and_keeps_units_out() -> None:
    grid = noisy()
    shifted = scores(1000 * (grid + np.arange(8)[:, None] - 3 * np.arange(12)))
    np.testing.assert_allclose(shifted, scores(grid), atol=0.05)


def test_plates_are_judged_by_themselves_and_rows_come_back_in_their_order() -> None:
    two = pd.concat([pd.Series(noisy(1).ravel()), pd.Series(100 + noisy(2).ravel())], ignore_index=True)
    plates, wells = pd.Series(["P1"] * 96 + ["P2"] * 96), pd.concat([WELLS, WELLS], ignore_index=True)
    order = np.random.default_rng(0).permutation(192)
    found = b_scores(two.iloc[order], plates.iloc[order], wells.iloc[order])
    assert found.index.tolist() == order.tolist()
    np.testing.assert_allclose(found.sort_index().to_numpy().reshape(2, 8, 12), [scores(noisy(1)), scores(noisy(2))])


@pytest.mark.parametrize("few", ["column", "plate", "flat"])
def test_what_cannot_be_said_is_missing(few: str) -> None:
    grid = noisy()
    if few == "column":
        grid[3:, 5] = np.nan
        assert np.isnan(scores(grid)[:, 5]).all()
        assert np.isfinite(np.delete(scores(grid), 5, axis=1)).all()
    elif few == "plate":
        grid[4:] = grid[:, 4:] = np.nan
        assert np.isnan(scores(grid)).all()
    else:
        assert np.isnan(scores(pattern())).all()
