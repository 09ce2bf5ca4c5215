"""Layouts as labs keep them come out in one form, row for row, and everything changed or not understood is said."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import Finding, TableError
from models.plates.layout import ParsedLayout, parse_layout, read_layout, write_layout
from models.plates.layout_cells import MOST_TOLD
from models.plates.spreadsheets import read_table
from models.plates.vocabulary import canonical_column, canonical_role, canonical_unit, named_pairs

GOOD = """plate,well,role,treatment,dose,dose_unit,replicate
P1,A01,negative,,,,1
P1,A02,positive,staurosporine,1000,nM,1
P1,A03,treated,wortmannin,0.5,nM,1
P1,A04,treated,wortmannin,0.5,nM,2
"""


def table(path: Path, text: str, encoding: str = "utf-8") -> pd.DataFrame:
    path.write_bytes(text.encode(encoding))
    return read_table(path)


def parsed(text: str, *, plate_format: int = 96, **options: str) -> ParsedLayout:
    return parse_layout(pd.read_csv(io.StringIO(text), dtype="str", keep_default_na=False), plate_format=plate_format,
                        **options)


def only(result: ParsedLayout, rule: str) -> Finding:
    found = [finding for finding in result.findings if finding.rule == rule]
    assert len(found) == 1, result.findings
    return found[0]


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


@pytest.mark.parametrize(("text", "unit"), [
    ("µM", "uM"), ("μM", "uM"), ("um", "uM"), ("nmol/L", "nM"), ("M", "M"), ("mM", "mM"), ("MM", ""), ("ug / ml", "ug/mL"),
    ("µg/mL", "ug/mL"), ("ng/ml", "ng/mL"), ("%", "%"), ("% v/v", "% v/v"), ("mg/L", "ug/mL"), ("apples", "")])
def test_units(text: str, unit: str) -> None:
    assert canonical_unit(text) == unit


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


@pytest.mark.parametrize("text", [
    "Platte;Kavität;Rolle;Wirkstoff;Konzentration [µM];Replikat;Extinktion\nP1;A1;Negativkontrolle;;;1;1,9\nP1;A2;Probe;x;0,5;1;0,7\n",
    "Plaque;Puits;Rôle;Composé;Concentration (µM);Réplicat;Mesure\nP1;A1;Témoin négatif;;;1;1,9\nP1;A2;Traité;x;0,5;1;0,7\n",
    "板号;孔位;类型;化合物;浓度（µM）;重复;读数\nP1;A1;阴性对照;;;1;1,9\nP1;A2;给药;x;0,5;1;0,7\n"])
def test_tables_in_other_languages(tmp_path: Path, text: str) -> None:
    result = parse_layout(table(tmp_path / "layout.csv", text), plate_format=96)
    assert result.errors == ()
    assert result.layout[["plate", "well", "role", "treatment", "dose", "dose_unit", "readout"]].fillna(0).to_numpy().tolist() == [
        ["P1", "A01", "negative", "", 0.0, "", 1.9], ["P1", "A02", "treated", "x", 500.0, "nM", 0.7]]


def test_a_dose_in_words_names_plate_well_column_and_value() -> None:
    finding = only(parsed(GOOD.replace("P1,A03,treated,wortmannin,0.5", "P1,A03,treated,wortmannin,ten")), "number")
    assert finding.record() == {
        "rule": "number", "severity": "error", "plate": "P1", "well": "A03", "column": "dose", "value": "ten",
        "message": "'ten' in column dose is not a number; write it in digits with a decimal point, like 0.5"}


@pytest.mark.parametrize(("values", "doses"), [
    (["0,5", "1,25"], [0.5, 1.25]), (["1e-3", "2E2"], [0.001, 200.0]), (["10 uM", "5 nM"], [10_000.0, 5.0]),
    (["1,1 µM", "2 µM"], [1100.0, 2000.0]), (["1,1e2 nM", "2e1 nM"], [110.0, 20.0]), (["1,000 µM", "2 µM"], [np.nan, 2000.0]),
    (["1,1 apples", "2"], [np.nan, 2.0]), (["inf", "1e999"], [np.nan, np.nan]), (["1_000", "1 000"], [np.nan, np.nan]),
    (["1,000", "2"], [np.nan, 2.0]), (["NaN", "n/a"], [np.nan, np.nan]), (["=A1", "<5"], [np.nan, np.nan]),
    (["10OO", "5 apples"], [np.nan, np.nan])])
def test_numbers(values: list[str], doses: list[float]) -> None:
    raw = pd.DataFrame({"well": ["A01", "A02"], "role": "treated", "treatment": "x", "dose": values})
    np.testing.assert_array_equal(parse_layout(raw, plate_format=96).layout["dose"], doses)


@pytest.mark.parametrize(("unit", "factor"), [("M", 1e9), ("mM", 1e6), ("uM", 1e3), ("nM", 1.0), ("pM", 1e-3)])
def test_molar_units_become_nM(unit: str, factor: float) -> None:
    result = parsed(GOOD.replace("0.5,nM", f"1.1,{unit}"))
    assert result.layout["dose"][2] == pytest.approx(1.1 * factor, rel=1e-15)
    assert result.layout["dose_unit"][2] == "nM"


@pytest.mark.parametrize(("header", "dose", "unit"), [
    ("dose", "0.5 uM", "nM"), ("Conc. [µM]", "0.5", "nM"), ("dose (nM)", "0.5 nM", "mg/mL")])
def test_units_that_contradict_each_other_are_refused(header: str, dose: str, unit: str) -> None:
    table = GOOD.replace("dose,", f"{header},").replace("0.5,nM", f"{dose},{unit}")
    finding = next(one for one in parsed(table).errors if one.well == "A03")
    assert (finding.rule, finding.value, "correct the wrong one" in finding.message) == ("unit_contradicted", unit, True)


@pytest.mark.parametrize(("header", "doses", "read"), [
    ("Conc. [µM]", ["0.5 uM", "500 nM"], [500.0, 500.0]), ("Conc. [µM]", ["0.5", "500 nM"], [500.0, 500.0]),
    ("dose", ["1 uM", "5 nM"], [1000.0, 5.0])])
def test_units_beside_doses_and_in_the_header_go_together(header: str, doses: list[str], read: list[float]) -> None:
    raw = pd.DataFrame({"plate": "P", "well": ["A01", "A02"], "role": "treated", "treatment": "x", header: doses})
    result = parse_layout(raw, plate_format=96)
    assert (result.layout["dose"].tolist(), result.findings) == (read, ())


def test_a_header_with_an_unknown_unit_is_not_read_as_nM() -> None:
    raw = pd.DataFrame({"plate": "P", "well": ["A01"], "role": "treated", "treatment": "x", "Dose (log M)": ["5"]})
    finding = only(parse_layout(raw, plate_format=96), "unit_unknown")
    assert (finding.severity, finding.value) == ("error", "log M")
    assert not parse_layout(raw, plate_format=96, dose_unit="uM").findings
    assert not parse_layout(raw.assign(unit="nM"), plate_format=96).findings


@pytest.mark.parametrize(("doses", "unit", "refused"), [
    ([0.79, 1.39, 1.99, 2.59, 3.19, 3.8, 4.4, 5.0], "nM", True), ([5, 5.5, 6, 6.5, 7, 7.5], "M", True),
    ([1, 2, 3, 4, 5], "ug/mL", True), ([1000, 2000, 3000, 4000, 5000], "nM", False), ([1, 2, 3, 4], "uM", False),
    ([1, 2, 4, 6, 8], "uM", False), ([1, 2, 3, 4, 5], "Gy", False), ([1, 3, 10, 30, 100], "nM", False)])
def test_logarithms_of_doses_are_refused(doses: list[float], unit: str, refused: bool) -> None:
    raw = pd.DataFrame({"plate": "P", "well": [f"A{n:02d}" for n in range(1, len(doses) + 1)], "role": "treated", "treatment": "x",
                        "dose": list(map(str, doses)), "dose_unit": unit})
    assert [one.rule for one in parse_layout(raw, plate_format=96).errors] == ["dose_logarithm"] * refused
    tenfold = raw.assign(treatment="y", well=raw["well"].str.replace("A", "B"), dose=[str(10.0 ** n) for n in range(len(doses))])
    other = pd.concat([raw, tenfold], ignore_index=True)
    assert parse_layout(other, plate_format=96).errors == ()    # one odd series among others is `dose_ratio`


@pytest.mark.parametrize(("doses", "read"), [
    ([9.97, 10.02, 10, 101, 99.2, 1000], [10, 10, 10, 100, 100, 1000]),     # as a dispenser reports them
    ([1, 1.1, 1.21, 1.331], [1, 1.1, 1.21, 1.331]),                         # steps of a tenth are a series
    ([10, 10.9, 13, 100], [10, 10.9, 13, 100])])                            # nobody knows what belongs to what
def test_doses_of_one_level_are_one_dose(doses: list[float], read: list[float]) -> None:
    raw = pd.DataFrame({"plate": "P", "well": [f"A{n:02d}" for n in range(1, len(doses) + 1)], "role": "treated", "treatment": "x",
                        "dose": list(map(str, doses)), "dose_unit": "nM"})
    result = parse_layout(raw, plate_format=96)
    assert result.layout["dose"].tolist() == pytest.approx(read)
    assert [one.rule for one in result.findings] == ["dose_pooled"] * (doses != read)
    second = raw.assign(treatment="y", dose="5", treatment_2="x", dose_2=raw["dose"], dose_unit_2="nM", plate="P2")
    both = parse_layout(pd.concat([raw[2:3], second], ignore_index=True), plate_format=96)
    assert [one.message for one in both.findings if one.rule == "dose_pooled" and "(9.97 as 10)" not in one.message] == []
    assert {one.column for one in both.findings if one.rule == "dose_pooled"} == ({"dose_2"} if doses != read else set())
    assert both.layout["dose_2"][1:].tolist() == pytest.approx(read)


def test_other_units_are_kept() -> None:
    layout = parsed(GOOD.replace("0.5,nM", "0.5,µg/ml")).layout
    assert (layout["dose"][2], layout["dose_unit"][2]) == (0.5, "ug/mL")


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


def test_a_dose_of_a_control_is_left_out_and_said() -> None:
    result = parsed(GOOD.replace("P1,A01,negative,,,", "P1,A01,negative,DMSO,0.1,%"))
    assert np.isnan(result.layout["dose"][0])
    assert only(result, "dose_of_control").severity == "warning"


def test_readings_beyond_the_range_are_missing_and_said() -> None:
    result = parsed("plate,well,role,treatment,dose,dose_unit,OD\nP,A01,neg,,,,OVRFLW\nP,A02,neg,,,,1.5\nP,A03,neg,,,,bad\n")
    assert result.layout["readout"].tolist()[1] == 1.5
    assert only(result, "readout_overflow").well == "A01"
    assert only(result, "number").well == "A03"


def test_two_columns_of_one_meaning() -> None:
    assert "'dose' and 'conc' both mean dose" in only(parsed("well,role,treatment,dose,conc\nA01,neg,,,\n"), "column_repeated").message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_usual_encoding_and_delimiter(tmp_path: Path, encoding: str, delimiter: str) -> None:
    text = "well,drug,dose (µM)\nA01,é,1.5\nA02,b,2\nA03,b,2\n".replace(",", delimiter)
    raw = table(tmp_path / "layout.csv", text, encoding)
    assert raw.columns.tolist() == ["well", "drug", "dose (µM)"]
    assert raw.iloc[0].tolist() == ["A01", "é", "1.5"]


def test_decimal_commas_between_semicolons(tmp_path: Path) -> None:
    raw = table(tmp_path / "layout.csv", "well;role;treatment;dose\nA01;treated;a;0,5\nA02;treated;a;1,25\n")
    result = parse_layout(raw, plate_format=96)
    assert result.layout["dose"].tolist() == [0.5, 1.25]
    assert "0,5 is read as 0.5" in only(result, "decimal_comma").message


@pytest.mark.parametrize(("doses", "told"), [(("1.000", "10.000", "100.000"), True), (("0.100", "1.000"), False),
                                             (("1.250", "1.125"), False), (("1000.000", "100.000"), False)])
def test_points_that_may_all_part_thousands_are_told(doses: tuple[str, ...], told: bool) -> None:
    """A German thousand in every dose would move all midpoints by three decades."""
    rows = "".join(f"A{place + 1:02d},treated,a,{dose},nM\n" for place, dose in enumerate(doses))
    result = parsed(f"well,role,treatment,dose,unit\nB01,negative,,0,\n{rows}")
    assert result.layout["dose"].tolist()[1:] == [float(dose) for dose in doses]
    assert not result.errors
    assert [finding.message for finding in result.findings if finding.rule == "decimal_point"] == told * [
        "3 value(s) of dose have three digits behind a point; 1.000 is read as 1. If the point marks thousands, write 1000"]


@pytest.mark.parametrize(("doses", "unclear"), [
    (("10", "100", "1.000", "10.000"), ["1.000", "10.000"]),    # 10, 100, 1, 10 would make replicates of the lowest and the highest dose
    (("10 uM", "100 uM", "1.000 uM", "10.000 uM"), ["1.000 uM", "10.000 uM"]), (("1.000 uM", "10.000 uM"), []),
    (("0", "1.000", "10.000"), []), (("1.125", "2.25", "9"), []), (("1.125", "3.375", "9"), [])])
def test_a_point_that_may_part_thousands_is_asked_about(tmp_path: Path, doses: tuple[str, ...], unclear: list[str]) -> None:
    rows = "".join(f"A{place + 1:02d};treated;a;{dose};{'' if 'M' in dose else 'nM'}\n" for place, dose in enumerate(doses) if dose != "0")
    result = parse_layout(table(tmp_path / "layout.csv", f"well;role;treatment;dose;unit\nB01;negative;;0;\n{rows}"), plate_format=96)
    assert [finding.value for finding in result.errors if finding.rule == "number"] == unclear


@pytest.mark.parametrize(("content", "rule"), [
    (b"", "table_empty"), (b" \n \n", "table_empty"), (b",,,\n,,,\n", "table_empty"), (b"well,role,dose\n", "table_header_only"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "table_unreadable"), (b"PK\x03\x04rubbish", "table_unreadable"),
    (b"\xd0\xcf\x11\xe0old excel", "table_unreadable"), (b"a,a\n1,2\n", "column_repeated"),
    (b"a,b\n1,2\n1,2,3\n", "table_ragged"), (None, "table_missing")])
def test_what_is_no_table_is_refused_with_a_way_out(tmp_path: Path, content: bytes | None, rule: str) -> None:
    path = tmp_path / "layout.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError, match=r"layout\.csv") as refusal:
        read_table(path)
    assert [finding.rule for finding in refusal.value.findings] == [rule]


def test_excel_with_a_title_merged_cells_and_whole_numbers(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (["My screen"], ["plate", "well", "role", "treatment", "dose", "dose_unit"],
                [1, "A01", "neg", None, None, None], [None, "A02", "treated", "x", 5.0, "nM"]):
        sheet.append(row)
    sheet.merge_cells("A3:A4")
    book.save(tmp_path / "layout.xlsx")
    raw = read_table(tmp_path / "layout.xlsx")
    assert raw["plate"].tolist() == ["1", "1"]
    assert raw["dose"].tolist() == ["", "5"]
    result = parse_layout(raw, plate_format=96)
    assert sorted(finding.message.split(": ")[1][:15] for finding in result.findings) == ["1 merged cell(s", "skipped 1 title"]


@pytest.mark.parametrize("shown", ["0.0%", "0%"])   # an own format, and one that every workbook has
def test_percentages_of_excel_are_read_as_they_are_shown(tmp_path: Path, shown: str) -> None:
    """Excel keeps 5% as 0.05, and a dose of ethanol was a hundredth of itself."""
    book = openpyxl.Workbook()
    for row in (["plate", "well", "role", "treatment", "dose", "dose_unit", "readout"], ["P", "A01", "treated", "EtOH", 0.05, "%", 0.5],
                ["P", "A02", "treated", "EtOH", 0.07, "%", 0.25], ["P", "A03", "treated", "EtOH", 3, "%", 1]):
        book.active.append(row)
    for cell in ("E2", "E3", "G2"):
        book.active[cell].number_format = shown
    book.save(tmp_path / "layout.xlsx")
    layout = parse_layout(read_table(tmp_path / "layout.xlsx"), plate_format=96).layout
    assert (layout["dose"].tolist(), layout["readout"].tolist()) == ([5.0, 7.0, 3.0], [0.5, 0.25, 1.0])


def test_the_header_stands_below_the_headings_of_groups_of_columns(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (["Screen 7"], ["Place", None, "Sample", None, None, None], ["plate", "well", "Type", "Compound", "Conc. [nM]", "Rep"],
                ["P1", "A01", "treated", "x", 5, 1]):
        sheet.append(row)
    sheet.merge_cells("C2:F2")
    book.save(tmp_path / "layout.xlsx")
    table = read_table(tmp_path / "layout.xlsx")
    assert table.columns.tolist() == ["plate", "well", "Type", "Compound", "Conc. [nM]", "Rep"]
    assert "skipped 2 title row(s)" in table.attrs["notes"][1]
    (tmp_path / "labels.csv").write_text("path,label\na.tif,well\nb.tif,ill\n")
    assert read_table(tmp_path / "labels.csv").columns.tolist() == ["path", "label"]


def test_rows_that_are_no_wells_are_told_as_that() -> None:
    finding = only(parsed(GOOD + "mean,,,,12,nM,\n"), "well_name")
    assert "take rows of units, means and remarks out of the table" in finding.message


def test_writing_and_reading_gives_the_same_layout_and_the_same_bytes(tmp_path: Path) -> None:
    raw = table(tmp_path / "raw.csv", GOOD.replace("replicate", "replicate,excluded,note").replace(",1\n", ",1,yes,n\n")
                .replace(",2\n", ",2,,\n"))
    layout = parse_layout(raw, plate_format=96).layout
    write_layout(layout, tmp_path / "layout.csv")
    again = read_layout(tmp_path / "layout.csv", plate_format=96)
    pd.testing.assert_frame_equal(again, layout)
    write_layout(again, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "layout.csv").read_bytes()


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


@pytest.mark.parametrize("value", ["2026-03-16 00:00:00", "2026-03-16", "3-Jan", "03. Mrz", "16-Mar-26"])
def test_a_dose_that_a_spreadsheet_made_a_date_of_is_told_as_that(value: str) -> None:
    finding = only(parsed(GOOD.replace("0.5,nM", f"{value},nM", 1)), "number")
    assert "a spreadsheet program made a date of it; format the column as text" in finding.message


@pytest.mark.parametrize("value", ["ten", "1 in 10", "low"])
def test_other_words_are_no_dates(value: str) -> None:
    assert "date" not in only(parsed(GOOD.replace("0.5,nM", f"{value},nM", 1)), "number").message


def test_doses_without_a_unit_are_shown_as_they_are_read() -> None:
    result = parsed("plate,well,role,treatment,dose\nP,A01,neg,,0\nP,A02,treated,x,1e-9\nP,A03,treated,x,1e-5\n")
    assert "doses (1e-09 to 1e-05) are read as nM" in only(result, "unit_default").message


def test_a_workbook_whose_layout_is_not_in_front_says_what_was_read(tmp_path: Path) -> None:
    with pd.ExcelWriter(tmp_path / "book.xlsx") as book:
        pd.DataFrame({"About": ["our plate"]}).to_excel(book, sheet_name="README", index=False)
        pd.DataFrame({"well": ["A01"], "role": ["neg"]}).to_excel(book, sheet_name="Layout", index=False)
    result = parse_layout(read_table(tmp_path / "book.xlsx"), plate_format=96)
    said = next(finding.message for finding in result.findings if finding.rule == "column_missing")
    assert "only the first of 2 sheets, 'README', is read; move the table there" in said


def test_a_workbook_of_charts_alone_is_refused(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.create_chartsheet("Figure").add_chart(openpyxl.chart.BarChart())
    book.remove(book.worksheets[0])
    book.save(tmp_path / "book.xlsx")
    with pytest.raises(TableError, match="has no sheet with cells, only charts"):
        read_table(tmp_path / "book.xlsx")


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
