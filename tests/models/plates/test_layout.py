"""Layouts as labs keep them come out in one form, row for row, and everything changed or not understood is said."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import TableError
from models.plates.layout import parse_layout, read_layout
from models.plates.layout_cells import MOST_TOLD
from models.plates.vocabulary import canonical_column, canonical_role, named_pairs
from tests.models.plates.layout_texts import GOOD, only, parsed


def test_a_clean_layout_says_nothing() -> None:
    result = parsed(GOOD)
    assert result.findings == ()
    assert result.layout["dose"].tolist()[1:] == [1000.0, 0.5, 0.5]
    assert np.isnan(result.layout["dose"][0])
    assert result.layout["dose_unit"].tolist() == ["", "nM", "nM", "nM"]


def test_synonyms_of_columns_roles_and_units() -> None:
    result = parsed("Plate ID;Well Type;Well;Drug;Conc. [µM];Comment\nP1;DMSO;a1;DMSO;0;\nP1;therapy;B - 2;x;1,5;hm\n"
                    .replace(";", "\t").replace("\t", ",").replace("1,5", "1.5"))
    layout = result.layout
    assert layout["role"].tolist() == ["negative", "treated"]
    assert layout["well"].tolist() == ["A01", "B02"]
    assert layout["dose"].tolist()[1] == 1500.0
    assert layout["dose_unit"].tolist() == ["", "nM"]
    assert "'a1' for 'A01'" in only(result, "well_renamed").message
    assert only(result, "column_unused").column == "Comment"
    assert not result.errors


@pytest.mark.parametrize(("header", "column"), [
    ("WellType", ("role", "")), ("Concentration_uM", ("dose", "uM")), ("dose (nM)", ("dose", "nM")),
    ("Dose (log M)", ("dose", "log M")), ("Well (384)", ("well", "")), ("conc", ("dose", "")),
    ("AddOn", ("treatment_2", "")), ("OD450", ("readout", "")), ("CellTiter-Glo", ("readout", "")), ("colour", ("", ""))])
def test_column_words(header: str, column: tuple[str, str]) -> None:
    assert canonical_column(header) == column


@pytest.mark.parametrize(("word", "role"), [("Neg.", "negative"), ("DMSO", "negative"), ("pos", "positive"),
                                            ("TRC", "reference"), ("Blank wells", "empty"), ("control", "")])
def test_role_words(word: str, role: str) -> None:
    assert canonical_role(word) == role


def test_a_profile_of_many_features_is_told_in_a_few_lines() -> None:
    names = [f"Cells_{number}" for number in range(900)]
    rows = [["plate,well,role,treatment,dose", *names], ["P,A01,negative,,", *["1"] * 900]]
    unused = [one.message for one in parsed("\n".join(map(",".join, rows)) + "\n").findings if one.rule == "column_unused"]
    assert (len(unused), unused[-1]) == (11, "890 more columns are not used; they are kept as they are")


def test_a_word_that_labs_use_for_two_roles_is_asked_about() -> None:
    found, = parsed("plate,well,role,treatment,dose,unit\nP,A01,Medium,,,\nP,A02,treated,x,5,nM\n").errors
    assert found.rule == "role_unknown"
    assert found.message.endswith("write empty or untreated")


@pytest.mark.parametrize("replicate", ["0", "-1", "2.5", "1e30"])
def test_a_replicate_that_none_can_be_is_named(replicate: str) -> None:
    result = parsed(GOOD.replace(",nM,2", f",nM,{replicate}"))
    assert only(result, "replicate").well == "A04"
    assert result.layout["replicate"].tolist() == [1, 1, 1, 2]


def test_a_replicate_that_is_not_stated_gets_a_number_of_its_own() -> None:
    rows = "".join(f"P1,A0{number},treated,x,5,nM,{stated}\n" for number, stated in enumerate(("", "1", "3", "", "2"), 1))
    assert parsed(GOOD.splitlines()[0] + "\n" + rows).layout["replicate"].tolist() == [4, 1, 3, 5, 2]


def test_missing_optional_columns_are_filled_and_said() -> None:
    result = parsed("well,role,treatment,dose\nA01,neg,,0\nA02,treated,x,5\nA03,treated,x,5\nA04,treated,x,6\n")
    assert result.layout["replicate"].tolist() == [1, 1, 2, 1]
    assert set(result.layout["plate"]) == {"plate1"}
    assert only(result, "unit_default").severity == only(result, "plate_default").severity == "warning"
    assert not parsed("plate,well,role,treatment,dose\nP,A01,neg,,0\nP,A02,treated,x,5\n", dose_unit="uM").findings


@pytest.mark.parametrize("name", ["role", "treatment", "dose", "well"])
def test_a_missing_column_is_named_with_those_found(name: str) -> None:
    result = parse_layout(pd.read_csv(io.StringIO(GOOD), dtype="str", keep_default_na=False).drop(columns=name), plate_format=96)
    finding = only(result, "column_missing")
    assert finding.column == name
    assert "columns found: plate" in finding.message
    assert len(result.layout) == 4


@pytest.mark.parametrize(("well", "rule"), [("Z9", "well_format"), ("A13", "well_format"), ("hello", "well_name"), ("", "well_name")])
def test_wells_that_the_plate_has_not(well: str, rule: str) -> None:
    finding = only(parsed(GOOD.replace("A03", well)), rule)
    assert finding.severity == "error"
    assert finding.value == well


def test_row_and_column_make_a_well_and_combinations_are_read() -> None:
    result = parsed("plate,row,column,role,treatment,dose,unit,AddOn,dose 2,unit 2\n1,A,1,treated,x,5,nM,y,2,uM\n1,P,24,empty,,,,,,\n",
                    plate_format=384)
    assert result.layout["well"].tolist() == ["A01", "P24"]
    assert result.layout.loc[0, ["treatment_2", "dose_2", "dose_unit_2"]].tolist() == ["y", 2000.0, "nM"]
    assert not result.errors
    numbered = parsed("plate,Row,Column,role,treatment,dose,unit\n1,2,3,treated,x,5,nM\n1,16,24,empty,,,\n", plate_format=384)  # Harmony's
    assert (numbered.layout["well"].tolist(), numbered.errors) == (["B03", "P24"], ())


def test_a_matrix_of_two_drugs_has_each_alone_at_dose_0_of_the_other() -> None:
    result = parsed("well,role,treatment,dose,treatment_2,dose_2,unit\nA1,treated,x,10,y,2,nM\nA2,treated,x,10,y,0,nM\n"
                    "A3,treated,x,0,y,2,nM\nA4,treated,x,0,y,0,nM\nA5,negative,,,,,\n")
    assert not result.errors
    columns = ["treatment", "dose", "dose_unit", "treatment_2", "dose_2", "dose_unit_2"]
    rows = result.layout[columns].astype(object).where(result.layout[columns].notna(), None).to_numpy().tolist()
    assert rows[0] == ["x", 10.0, "nM", "y", 2.0, "nM"]
    assert rows[1] == ["x", 10.0, "nM", "", None, ""]
    assert rows[2] == ["y", 2.0, "nM", "", None, ""]
    assert rows[3][1] == 0      # neither: the rules refuse it, and say to call it a control
    assert rows[4][3:] == ["", None, ""]


@pytest.mark.parametrize(("first", "second"), [("A", "B"), ("1", "2")])
def test_two_drugs_of_a_well_may_be_called_a_and_b(first: str, second: str) -> None:
    """A second drug in a column that is not understood would be fitted into the first one's curve."""
    result = parsed(f"plate,well,role,Drug {first},Conc {first} (nM),Drug {second},Conc_{second} [µM]\nP,A1,treated,x,10,y,2\n")
    assert result.layout.loc[0, ["treatment", "dose", "treatment_2", "dose_2", "dose_unit_2"]].tolist() == ["x", 10.0, "y", 2000.0, "nM"]


def test_readings_beyond_the_range_are_missing_and_said() -> None:
    result = parsed("plate,well,role,treatment,dose,dose_unit,OD\nP,A01,neg,,,,OVRFLW\nP,A02,neg,,,,1.5\nP,A03,neg,,,,bad\n")
    assert result.layout["readout"].tolist()[1] == 1.5
    assert only(result, "readout_overflow").well == "A01"
    assert only(result, "number").well == "A03"


def test_two_columns_of_one_meaning() -> None:
    assert "'dose' and 'conc' both mean dose" in only(parsed("well,role,treatment,dose,conc\nA01,neg,,,\n"), "column_repeated").message


def test_rows_that_are_no_wells_are_told_as_that() -> None:
    finding = only(parsed(GOOD + "mean,,,,12,nM,\n"), "well_name")
    assert "take rows of units, means and remarks out of the table" in finding.message


def test_read_layout_refuses_with_every_finding(tmp_path: Path) -> None:
    (tmp_path / "layout.csv").write_text(GOOD.replace("0.5", "ten"))
    with pytest.raises(TableError, match="ten") as refusal:
        read_layout(tmp_path / "layout.csv", plate_format=96)
    assert [finding.well for finding in refusal.value.findings] == ["A03", "A04"]
    (tmp_path / "layout.csv").write_text(GOOD.replace("A04", "A03"))
    with pytest.raises(TableError, match="P1 A03 more than once"):
        read_layout(tmp_path / "layout.csv", plate_format=96)


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.text(max_size=6)] * 6), min_size=1, max_size=8))
def test_no_content_drops_a_row_or_raises(rows: list[tuple[str, ...]]) -> None:
    raw = pd.DataFrame(rows, columns=["plate", "well", "role", "treatment", "dose", "unit"], dtype="str")
    result = parse_layout(raw, plate_format=96)
    assert len(result.layout) == len(rows)
    assert result.layout["replicate"].ge(1).all()


def test_a_fault_of_many_thousand_wells_is_told_of_some_and_counted() -> None:
    """A findings list as long as a table that is no layout took a minute and 180 MB to answer."""
    rows = MOST_TOLD + 500
    table = pd.DataFrame({"well": "A01", "role": "treated", "treatment": "x", "dose": "much"}, index=range(rows))
    found = parse_layout(table, plate_format=96)
    told = [finding for finding in found.errors if finding.column == "dose"]
    assert len(told) == MOST_TOLD + 1
    assert told[-1].message == "500 more cells of column dose have the same fault"
    assert len(found.layout) == rows


@pytest.mark.parametrize(("text", "pairs"), [
    ("dose=Conc,well=Position", {"dose": "Conc", "well": "Position"}), ("dose=Conc, nM", {"dose": "Conc, nM"}),
    (" dose = Conc, nM , well=Position,readout=Signal,raw,", {"dose": "Conc, nM", "well": "Position", "readout": "Signal,raw"})])
def test_a_header_with_a_comma_can_be_named(text: str, pairs: dict[str, str]) -> None:
    assert named_pairs(text) == pairs


@pytest.mark.parametrize("text", ["", "dose", "dose=", "=Conc", "dose=Conc,=Position", "dose=Conc,dose=Level"])
def test_what_names_no_columns_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected name=value,name=value, each name once, got"):
        named_pairs(text)
