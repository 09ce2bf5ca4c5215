"""Tables that go out as CSV run nothing in a spreadsheet, and come in again as they were."""

from __future__ import annotations

import csv
import io
import resource
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.plates.safe_csv import STARTS, as_meant, to_csv, write_csv
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


def test_a_table_that_the_disk_does_not_take_leaves_the_one_before(tmp_path: Path) -> None:
    """Half a table would pass for one with fewer rows."""
    path, before = write_csv(pd.DataFrame({"well": ["A01"]}), tmp_path / "wells.csv"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_csv(pd.DataFrame({"well": ["A01"] * 50_000}), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("wells.csv", "well\nA01\n")]
