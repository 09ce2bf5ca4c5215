"""Two samples side by side in words: what the page says is what `compare_potency` found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.dose_response import compare_potency
from models.report.potency import comparison, fold_words
from tests.models.dose_response.test_potency import sample


@pytest.fixture
def curves() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Less potent, more potent, alike, beyond the doses on the second sample, in doubt; and one treatment more each."""
    first, second = (sample(np.array(middles), seed=seed) for middles, seed in (
        ([1.5, 2.5, 2.0, 2.0, 2.0, 2.0], 1), ([2.7, 1.3, 2.0, 4.5, 2.0, 2.0], 2)))
    second.loc[3, "ic50_low"] = 8000.0
    second.loc[4, ["status", "reason"]] = "weakly_identified", "plates disagree: <b>P1</b>"
    return first.replace({"treatment": {"drug 5": "only A"}}), second.replace({"treatment": {"drug 5": "only B"}})


def test_the_page_says_what_was_found(curves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    found, view = comparison(*curves)
    pd.testing.assert_frame_equal(found, compare_potency(*curves))
    rows = {row["name"]: row for row in view["rows"]}
    assert {name: row["kind"] for name, row in rows.items()} == {
        "drug 0": "less", "drug 1": "more", "drug 2": "none", "drug 3": "less", "drug 4": "unsure"}
    assert view["rows"][-1]["name"] == "drug 4"     # what cannot be said comes last
    assert view["headline"] == ("2 of 5 treatments are less potent on the second sample. More potent: 1. No difference seen: 1. "
                                "Cannot say: 1.")
    table = found.set_index("treatment")
    for name, row in rows.items():
        assert row["fold"] == fold_words(table.loc[name])
        assert row["fold_sort"] == (None if name == "drug 4" else pytest.approx(table.loc[name, "fold"]))
    assert (rows["drug 3"]["relation"], rows["drug 3"]["high"], rows["drug 3"]["limits"][-8:]) == (">", None, " or more")
    assert (rows["drug 4"]["fold"], rows["drug 4"]["limits"]) == ("cannot say", "")
    assert rows["drug 4"]["why"] == "the curve on the second sample is in doubt: plates disagree: <b>P1</b>"
    assert rows["drug 3"]["second"].startswith("> 10 µM")
    assert (view["only_first"], view["only_second"]) == (["only A"], ["only B"])


def test_two_without_a_treatment_in_common_are_told_so(curves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    first, second = curves
    _, view = comparison(first[:1], second[1:])
    assert (view["rows"], view["headline"]) == ([], "The two have no treatment in common.")


def test_what_is_compared_is_called_by_its_level(curves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    assert comparison(*curves)[1]["halves"] == ["IC50", "IC50"]
    assert comparison(*(table.assign(ic_level=30.0) for table in curves))[1]["halves"] == ["IC30", "IC30"]
