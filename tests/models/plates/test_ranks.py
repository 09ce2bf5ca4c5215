"""Order statistics are NumPy's, whatever values stand in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.plates.ranks import largest, lower_decile_of_rows, mean_square_of_smaller_half, median, median_of_rows

FLOATS = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=st.floats(-1e6, 1e6))
COUNTS = arrays(np.uint16, st.tuples(st.integers(1, 4), st.integers(1, 30)))
BYTES = arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 30)))


@given(FLOATS)
def test_medians_are_those_of_numpy(rows: np.ndarray) -> None:
    assert median(rows[0]) == np.median(rows[0])
    np.testing.assert_array_equal(median_of_rows(rows), np.median(rows, axis=-1, keepdims=True))


def test_nothing_has_no_median() -> None:
    assert np.isnan(median(np.empty(0)))


@given(FLOATS | COUNTS | BYTES)
def test_lower_deciles_are_those_of_numpy(rows: np.ndarray) -> None:
    np.testing.assert_allclose(lower_decile_of_rows(rows), np.percentile(rows.astype(float), 10, axis=-1), rtol=1e-12, atol=1e-9)


@given(COUNTS)
def test_counting_whole_numbers_gives_what_ranking_gives(values: np.ndarray) -> None:
    signed = values.astype(np.int32) - 1000
    assert mean_square_of_smaller_half(signed) == pytest.approx(mean_square_of_smaller_half(signed.astype(float)))


@pytest.mark.parametrize("values", [np.zeros(1000), np.arange(1000.0), np.repeat([0.0, 9.0], [990, 10]), np.tile([7.0] + 15 * [1.0], 40)])
@pytest.mark.parametrize("count", [1, 5, 600])
def test_the_largest_values_are_found_wherever_they_lie(values: np.ndarray, count: int) -> None:
    assert sorted(largest(values, count)) == sorted(values)[-count:]
