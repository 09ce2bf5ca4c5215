"""Files of layouts: every usual encoding, delimiter and workbook; what is no table is refused with a way out."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from models.errors import TableError
from models.plates.layout import parse_layout, read_layout, write_layout
from models.plates.spreadsheets import read_table
from tests.models.plates.layout_texts import GOOD, only, table


@pytest.mark.parametrize("text", [
    "Platte;Kavität;Rolle;Wirkstoff;Konzentration [µM];Replikat;Extinktion\nP1;A1;Negativkontrolle;;;1;1,9\nP1;A2;Probe;x;0,5;1;0,7\n",
    "Plaque;Puits;Rôle;Composé;Concentration (µM);Réplicat;Mesure\nP1;A1;Témoin négatif;;;1;1,9\nP1;A2;Traité;x;0,5;1;0,7\n",
    "板号;孔位;类型;化合物;浓度（µM）;重复;读数\nP1;A1;阴性对照;;;1;1,9\nP1;A2;给药;x;0,5;1;0,7\n"])
def test_tables_in_other_languages(tmp_path: Path, text: str) -> None:
    result = parse_layout(table(tmp_path / "layout.csv", text), plate_format=96)
    assert result.errors == ()
    assert result.layout[["plate", "well", "role", "treatment", "dose", "dose_unit", "readout"]].fillna(0).to_numpy().tolist() == [
        ["P1", "A01", "negative", "", 0.0, "", 1.9], ["P1", "A02", "treated", "x", 500.0, "nM", 0.7]]


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


def test_writing_and_reading_gives_the_same_layout_and_the_same_bytes(tmp_path: Path) -> None:
    raw = table(tmp_path / "raw.csv", GOOD.replace("replicate", "replicate,excluded,note").replace(",1\n", ",1,yes,n\n")
                .replace(",2\n", ",2,,\n"))
    layout = parse_layout(raw, plate_format=96).layout
    write_layout(layout, tmp_path / "layout.csv")
    again = read_layout(tmp_path / "layout.csv", plate_format=96)
    pd.testing.assert_frame_equal(again, layout)
    write_layout(again, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "layout.csv").read_bytes()


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
