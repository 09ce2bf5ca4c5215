"""Well names: every format's names come back as they went in, however they were written."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from models.wells import (
    PLATE_FORMATS,
    add_row_column,
    canonical_well,
    has_well,
    in_format,
    parse_well,
    parse_wells,
    row_letters,
    site_medians,
    well_name,
    wells_of,
)


@pytest.mark.parametrize("plate_format", sorted(PLATE_FORMATS))
def test_a_format_has_as_many_names_as_wells_and_each_comes_back(plate_format: int) -> None:
    names = list(wells_of(plate_format))
    assert len(set(names)) == plate_format
    assert all(well_name(*parse_well(name)) == name and in_format(name, plate_format) for name in names)


@given(row=st.integers(0, 31), column=st.integers(0, 47))
def test_names_are_read_in_any_case_and_with_or_without_zeros(row: int, column: int) -> None:
    name = well_name(row, column)
    letters = row_letters(row)
    for written in (name, name.lower(), f"{letters}{column + 1}", f" {letters} {column + 1:03d} "):
        assert canonical_well(written) == name


@pytest.mark.parametrize(("name", "place"), [("A01", (0, 0)), ("H12", (7, 11)), ("P24", (15, 23)), ("AF48", (31, 47)), ("AA1", (26, 0))])
def test_known_places(name: str, place: tuple[int, int]) -> None:
    assert parse_well(name) == place


@pytest.mark.parametrize("name", ["", "A", "1", "A0", "A00", "1A", "ABC1", "A100", "A-1", "A1.5", "nan", "Ä1", "A01x"])
def test_anything_else_is_refused_with_the_text_and_an_example(name: str) -> None:
    with pytest.raises(InputError, match="A01"):
        parse_well(name)


def test_wells_outside_the_format_are_told() -> None:
    assert in_format("H12", 96)
    assert not in_format("I01", 96)
    assert not in_format("A13", 96)
    assert in_format("I13", 384)
    assert has_well(384, "I13")
    assert not has_well(96, "I13")
    assert not has_well(96, "B-3")


@pytest.mark.parametrize(("text", "wells"), [
    ("A1", ["A01"]), ("A1-C1", ["A01", "B01", "C01"]), ("h12 - g11", ["G11", "G12", "H11", "H12"]), ("A1, A1-A2", ["A01", "A02"])])
def test_wells_and_rectangles(text: str, wells: list[str]) -> None:
    assert parse_wells(text) == wells


def test_a_text_that_names_the_same_wells_over_and_over_is_refused() -> None:
    assert len(parse_wells(",".join(["A1-AF48"] * 16))) == 1536
    with pytest.raises(InputError, match="more than 24,576 wells"):
        parse_wells(",".join(["A1-AF48"] * 20_000))


@pytest.mark.parametrize("text", ["", "A1-", "A1--B2", "A1;B2", "column 1", "A1-B"])
def test_what_is_no_list_of_wells_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="A01"):
        parse_wells(text)


def test_rows_and_columns_are_added_from_zero() -> None:
    table = add_row_column(pd.DataFrame({"well": ["B03", "AF48"]}))
    assert table["row"].tolist() == [1, 31]
    assert table["column"].tolist() == [2, 47]


def test_a_well_s_value_is_the_median_of_its_sites_and_its_own_where_it_has_one() -> None:
    sites = pd.DataFrame({"plate": "P1", "well": ["B02", "A01", "B02", "B02"], "od": [1.0, 5.0, 2.0, 9.0]})
    assert site_medians(sites, ["od"]).to_dict("list") == {"plate": ["P1", "P1"], "well": ["B02", "A01"], "od": [2.0, 5.0]}
    assert site_medians(sites[:2], ["od"]).to_dict("list") == sites[:2].to_dict("list")
