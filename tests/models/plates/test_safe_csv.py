"""Tables that go out as CSV run nothing in a spreadsheet, and come in again as they were."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.plates.safe_csv import STARTS, as_meant, to_csv
from models.plates.spreadsheets import table_of


@pytest.mark.parametrize("name", ['=HYPERLINK("http://evil.example")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\n=1", "＝1"])
def test_no_cell_begins_like_a_formula(name: str) -> None:
    (header, row) = csv.reader(io.StringIO(to_csv(pd.DataFrame({"treatment": [name], name: ["x"]})), newline=""))
    assert row[0] == "'" + name
    assert header[1] == "'" + name


def test_numbers_and_words_stay_as_they_are() -> None:
    table = pd.DataFrame({"treatment": ["alpha", "o'toole", "'tis", "-5", "="], "viability": [-0.1, 1.0, float("nan"), 0.0, -1e-9],
                          "excluded": [True, False, True, False, True], "flags": [["a", "b"], [], ["a"], [], []]})
    assert to_csv(table) == ("treatment,viability,excluded,flags\nalpha,-0.1,True,a b\no'toole,1.0,False,\n'tis,,True,a\n-5,0.0,False,\n"
                             "=,-1e-09,True,\n")
    assert to_csv(pd.DataFrame({"treatment": ["two\r\nlines\rmore"]})) == 'treatment\n"two\nlines\nmore"\n'


@given(st.text(alphabet=[*STARTS, "'", "a", "1", ",", '"', " "], max_size=6))
def test_what_goes_out_comes_in_as_it_was(name: str) -> None:
    (_, row) = csv.reader(io.StringIO(to_csv(pd.DataFrame({"treatment": [name], "b": ["x"]})), newline=""))
    assert as_meant(row[0]) == name


def test_layouts_are_read_without_the_apostrophe() -> None:
    table = pd.DataFrame({"well": ["A01", "A02"], "treatment": ["=1+1", "-x"]})
    assert table_of(to_csv(table).encode(), "layout.csv")["treatment"].tolist() == ["=1+1", "-x"]
