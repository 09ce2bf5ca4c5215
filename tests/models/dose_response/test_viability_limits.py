"""What a model's wells are off in common, by level, on its way to the limits of a viability: against simulated models with known error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.dose_response.viability import normalise_to_controls, shared_error, viability_limits

TRUTH = np.linspace(0, 1, 41)
BLANK, SPAN, HALF = 0.2, 1.4, 0.12      # OD of dead wells, added by living ones; 95 % half-width of what wells of one level are off


def plate(read: np.ndarray, *, shared: np.ndarray | float = HALF, own: float = 0.0) -> pd.DataFrame:
    """Wells that read (43,) OD: a negative control, a positive one, and treated wells of TRUTH. shared, own: half-widths."""
    total = np.hypot(shared, own)
    wells = pd.DataFrame({"plate": "P1", "role": ["negative", "positive"] + ["treated"] * len(TRUTH), "od": read})
    wells = wells.assign(od_low=read - total, od_high=read + total, od_shared=shared)
    return viability_limits(normalise_to_controls(wells, value="od"), value="od")


def levels() -> np.ndarray:
    """True viability (43,) of the wells of `plate`."""
    return np.concatenate([[1.0, 0.0], TRUTH])


@pytest.mark.parametrize("half", [HALF, 0.3])
def test_limits_hold_the_truth_of_models_that_are_off_level_by_level(half: float) -> None:
    """400 models, off by a smooth random error whose half-width is twice as large at dead levels as at living ones; controls included."""
    rng, true = np.random.default_rng(1), levels()
    halves = half * (1 - 0.5 * true)
    alike = np.exp(-0.5 * ((true[:, None] - true[None, :]) / 0.1) ** 2) + 1e-9 * np.eye(len(true))
    errors = rng.multivariate_normal(np.zeros(len(true)), alike, size=400) * halves / 1.96
    held = []
    for error in errors:
        found = plate(BLANK + SPAN * true + error, shared=halves)
        held.append((found["viability_low"] - 1e-3 <= true) & (true <= found["viability_high"] + 1e-3))     # controls are 0 and 1
    inside = np.mean(held, axis=0)
    assert inside.mean() > 0.945        # of all levels
    assert inside.min() > 0.91          # and at each: 400 models tell that to 0.03
    widths = found["viability_shared"].to_numpy()
    assert widths[2:].max() < 3.5 * half / SPAN      # and yet they say something


def test_controls_are_sure_of_themselves_and_half_dead_wells_are_not() -> None:
    found = plate(BLANK + SPAN * levels())
    shared = found["viability_shared"].to_numpy()
    np.testing.assert_allclose(shared[:2], 0, atol=1e-9)
    middle = HALF / SPAN * np.sqrt(1 + 0.5**2 + 0.5**2)     # its own level, and a half of each control's
    assert shared[2:][20] == pytest.approx(middle, rel=0.05)
    assert shared[2:][8:33].min() > 0.9 * middle
    assert shared[2:][:4].max() < middle


def test_a_half_dead_well_that_is_read_as_dead_is_not_taken_for_sure() -> None:
    """Dead wells are read at OD 0.55, and so are wells of viability 0.25: the limits of these reach the truth, on one side only."""
    true = levels()
    found = plate(np.maximum(BLANK + SPAN * true, 0.55), shared=np.where(true < 0.3, 0.35, 0.02))
    well = found.iloc[2 + 9]        # true viability 0.225
    assert well["viability"] == pytest.approx(0)
    assert well["viability_high"] > 0.2
    assert well["viability_high"] - well["viability"] == pytest.approx(well["viability_shared"])


def test_what_a_well_is_off_by_itself_is_added_and_without_a_shared_part_nothing_is_shared() -> None:
    read = BLANK + SPAN * levels()
    own = plate(read, shared=0.0, own=0.1)
    assert (own["viability_shared"] == 0).all()
    v = own["viability"]
    control = 1.2533 * 0.1
    np.testing.assert_allclose(own["viability_high"] - v, np.sqrt(0.1**2 + (v * control) ** 2 + ((1 - v) * control) ** 2) / SPAN)
    both, shared = plate(read, own=0.1), plate(read)
    np.testing.assert_allclose(np.maximum(both["viability_high"] - v, v - both["viability_low"]),
                               np.hypot(own["viability_high"] - v, shared["viability_shared"]), rtol=1e-6)
    pd.testing.assert_series_equal(both["viability_shared"], shared["viability_shared"])


def test_a_median_of_more_controls_is_surer_by_the_root_of_their_number_and_left_out_ones_do_not_count() -> None:
    wells = pd.DataFrame({"plate": "P1", "role": ["negative"] * 9 + ["positive"] * 4 + ["treated"], "excluded": False,
                          "od": [1.6] * 9 + [0.2] * 4 + [0.55]})
    wells.loc[0, ["od", "excluded"]] = [0.3, True]
    wells = wells.assign(od_low=wells["od"] - 0.1, od_high=wells["od"] + 0.1)
    row = viability_limits(normalise_to_controls(wells, value="od"), value="od").iloc[-1]
    assert row["viability"] == pytest.approx(0.25)
    own = np.sqrt(0.1**2 + (0.25 * 1.2533 * 0.1 / np.sqrt(8)) ** 2 + (0.75 * 1.2533 * 0.1 / np.sqrt(4)) ** 2) / 1.4
    assert [row["viability_low"], row["viability_high"]] == pytest.approx([0.25 - own, 0.25 + own])


def test_without_positive_controls_a_read_out_of_nothing_is_dead_for_sure() -> None:
    """0 % is 0 then, and has no error of its own."""
    read = SPAN * (0.1 + 0.9 * levels()[[0, *range(2, 43)]])
    wells = pd.DataFrame({"plate": "P1", "role": ["negative"] + ["treated"] * len(TRUTH), "od": read})
    wells = wells.assign(od_low=read - 0.1, od_high=read + 0.1)
    found = viability_limits(normalise_to_controls(wells, value="od", positive=None), value="od", positive=None)
    v = read / SPAN
    np.testing.assert_allclose(found["viability_high"] - v, np.sqrt(0.1**2 + (v * 1.2533 * 0.1) ** 2) / SPAN)
    np.testing.assert_allclose(v - found["viability_low"], found["viability_high"] - v)


def test_plates_are_judged_one_by_one_and_rows_stay_in_order() -> None:
    first, second = plate(BLANK + SPAN * levels()), plate(BLANK + 0.7 * SPAN * levels())
    both = pd.concat([first, second.assign(plate="P2")], ignore_index=True).sample(frac=1, random_state=3)
    again = viability_limits(both.drop(columns=["viability_low", "viability_high", "viability_shared"]), value="od")
    pd.testing.assert_frame_equal(again[both.columns], both)


def test_a_table_without_wells_has_the_columns() -> None:
    found = viability_limits(plate(BLANK + SPAN * levels()).iloc[:0], value="od")
    assert found.empty
    assert {"viability_low", "viability_high", "viability_shared"} <= set(found)


def test_wells_without_a_value_and_plates_without_controls_have_no_limits() -> None:
    whole = plate(BLANK + SPAN * levels())
    whole.loc[5, ["od", "od_low", "od_high", "od_shared"]] = np.nan
    bare = whole.assign(plate="P2", role="treated")
    found = viability_limits(normalise_to_controls(pd.concat([whole, bare], ignore_index=True), value="od"), value="od")
    names = ["viability", "viability_low", "viability_high", "viability_shared"]
    missing = found[names].isna()
    assert missing.loc[5].all()
    assert missing.loc[len(whole):].all(axis=None)
    assert not missing.drop(index=5).loc[:len(whole) - 1].any(axis=None)
    assert shared_error(found).notna().all()
    assert (shared_error(found.drop(columns="viability_shared")) == 0).all()
