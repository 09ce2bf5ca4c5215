"""Layouts drawn as plates and plate-reader exports become tables with a row per well; real iTReX files too."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from models.errors import InputError, TableError
from models.plates.layout import parse_layout
from models.plates.readers import Found, Source
from models.plates.readers.files import match_plates
from models.plates.readers.grids import find_grids
from models.plates.readers.platemaps import find_platemap, find_treatments, read_layout_table, read_platemap, read_treatments
from models.plates.readers.readouts import attach_readout, read_readouts

SHARED = Path(os.environ.get("DOSEWELL_SHARED", Path(__file__).parents[4] / "shared")) / "data" / "vendor_layouts" / "itrex"
TREATMENT = ["Compound,1,2,3", "A,DMSO,drug,drug", "B,DMSO,drug,"]
DOSE = ["Concentration (uM),1,2,3", "A,,1,10", "B,,1,"]


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def found(layout: pd.DataFrame) -> Found:
    return Found(convention="table", files=pd.DataFrame(), raw_layout=layout.astype("str"), channels=())


def test_one_block_per_quantity_is_a_layout_with_units_and_roles_by_name(tmp_path: Path) -> None:
    read = read_platemap(written(tmp_path / "map.csv", *TREATMENT, ",,,", *DOSE))
    parsed = parse_layout(read.raw_layout, plate_format=96)
    assert not parsed.errors
    layout = parsed.layout
    assert layout["well"].tolist() == ["A01", "A02", "A03", "B01", "B02", "B03"]
    assert layout["role"].tolist() == ["negative", "treated", "treated", "negative", "treated", "empty"]
    assert layout["dose"].dropna().tolist() == [1000, 10_000, 1000]
    assert any("treatments' names" in line for line in read.said)


def test_titles_may_stand_above_blocks_and_name_plates(tmp_path: Path) -> None:
    blocks = [line for plate in (1, 2) for title, block in (("Treatment", TREATMENT), ("Dose", DOSE))
              for line in (f"Plate {plate}: {title},,,", "," + block[0].split(",", 1)[1], *block[1:], ",,,")]
    layout = read_platemap(written(tmp_path / "map.csv", *blocks)).raw_layout
    assert layout["plate"].value_counts().to_dict() == {"1": 6, "2": 6}
    assert list(layout.columns) == ["plate", "well", "Treatment", "Dose", "role"]


@pytest.mark.parametrize(("titles", "columns", "plate"), [
    (("Plate 1: Compound", "Plate 1: Concentration [µM]"), ["Compound", "Concentration [µM]"], ""),     # the unit keeps its brackets
    (("Substanz (Platte 7)", "(Platte 7) Konz. (µM)"), ["Substanz", "Konz. (µM)"], "7"),
    (("Plate layout: Compound", "Platemap - Dose (µM)"), ["Compound", "Dose (µM)"], ""),                # not a plate called "layout"
])
def test_what_a_title_says_of_plate_quantity_and_unit(tmp_path: Path, titles: tuple[str, str], columns: list[str], plate: str) -> None:
    lines = [line for title, block in zip(titles, (TREATMENT, DOSE), strict=True)
             for line in (f"{title},,,", "," + block[0].split(",", 1)[1], *block[1:], ",,,")]
    layout = read_platemap(written(tmp_path / "map.csv", *lines)).raw_layout
    assert [name for name in layout.columns if name not in ("plate", "well", "role")] == columns
    assert set(layout.get("plate", [""])) == {plate}
    parsed = parse_layout(layout, plate_format=96)
    assert not parsed.errors
    assert parsed.layout["dose"].max() == 10_000


def test_a_treatment_merged_over_its_wells_stands_in_all_of_them(tmp_path: Path) -> None:
    """A drug merged over its doses left all wells but the first empty, and its curve with one dose."""
    book = openpyxl.Workbook()
    for line in ("Compounds,,,,", ",1,2,3,4", "A,DMSO,drug,,", "B,DMSO,,,", "Dose (uM),1,2,3,4", "A,,1,10,100", "B,,1,10,100"):
        book.active.append([int(text) if text.isdecimal() else text or None for text in line.split(",")])
    book.active.merge_cells("A1:E1")
    book.active.merge_cells("C3:E4")
    book.save(tmp_path / "map.xlsx")
    layout = parse_layout(read_layout_table(tmp_path / "map.xlsx"), plate_format=96).layout
    assert layout.groupby("treatment")["well"].agg(" ".join).to_dict() == {"DMSO": "A01 B01", "drug": "A02 A03 A04 B02 B03 B04"}
    assert layout["dose"].dropna().tolist() == [1000, 10_000, 100_000] * 2


def test_a_dose_without_a_treatment_is_asked_about_and_not_taken_for_an_empty_well(tmp_path: Path) -> None:
    layout = read_platemap(written(tmp_path / "map.csv", *TREATMENT[:-1], "B,DMSO,,", ",,,", *DOSE[:-1], "B,0,1,")).raw_layout
    assert dict(zip(layout["well"], layout["role"], strict=True)) == {
        "A01": "negative", "A02": "treated", "A03": "treated", "B01": "negative", "B02": "treated", "B03": "empty"}


def test_unnamed_plates_are_counted_and_sheets_are_quantities_or_plates(tmp_path: Path) -> None:
    layout = read_platemap(written(tmp_path / "map.csv", *TREATMENT, *DOSE, *TREATMENT, *DOSE)).raw_layout
    assert sorted(set(layout["plate"])) == ["1", "2"]
    book = openpyxl.Workbook()
    for sheet, block in ((book.active, TREATMENT), (book.create_sheet("Dose"), DOSE)):
        for line in block:
            cells = line.split(",")
            sheet.append([None if line == block[0] else cells[0], *(int(text) if text.isdigit() else text or None for text in cells[1:])])
    for title, quantity in (("Compound", "Compound"), ("Layout", "treatment")):     # what stands beside doses is what they are of
        book.worksheets[0].title = title
        book.save(tmp_path / "map.xlsx")
        assert list(read_platemap(tmp_path / "map.xlsx").raw_layout.columns) == ["well", quantity, "Dose", "role"]


def test_inner_wells_side_by_side_and_big_plates_are_grids() -> None:
    rows = [["<>", "2", "3", "", "x", "1", "2"], ["B", "1", "2", "", "AE", "5", "6"], ["C", "3", "4", "", "AF", "7", "8"], ["notes"]]
    grids = find_grids([("", rows)])
    assert [(grid.title, grid.cells) for grid in grids] == [
        ("", {"B02": "1", "B03": "2", "C02": "3", "C03": "4"}), ("x", {"AE01": "5", "AE02": "6", "AF01": "7", "AF02": "8"})]


def test_a_mark_of_a_footnote_is_no_column_number() -> None:
    rows = [["drug", "²", "dose"], ["", "1", "2"], ["A", "5", "²"]]
    assert [grid.cells for grid in find_grids([("", rows)])] == [{"A01": "5", "A02": "²"}]


def test_a_long_table_is_no_grid_and_columns_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path / "map.csv", "spot,role,drug,dose", "A1,neg,DMSO,0", "A2,treated,x,5")
    assert read_platemap(path, columns={"well": "spot"}).raw_layout["well"].tolist() == ["A1", "A2"]
    with pytest.raises(TableError, match="'gone' was named as the column of"):
        read_platemap(path, columns={"well": "gone"})


def test_a_layout_of_either_form_is_read_and_what_is_neither_is_left_to_the_rules(tmp_path: Path) -> None:
    listed = written(tmp_path / "list.csv", "well,role,drug,dose", "A1,neg,DMSO,0", "A2,treated,x,5")
    assert read_layout_table(listed)["well"].tolist() == ["A1", "A2"]
    drawn = read_layout_table(written(tmp_path / "drawn.csv", *TREATMENT, *DOSE))
    assert drawn["well"].tolist() == ["A01", "A02", "A03", "B01", "B02", "B03"]
    assert "2 plate grid(s) of Compound, Concentration (uM)" in drawn.attrs["notes"][0]
    beside = read_layout_table(written(tmp_path / "beside.csv", *(f"{left},,{right}" for left, right in zip(TREATMENT, DOSE, strict=True))))
    assert list(beside.columns) == ["well", "Compound", "Concentration (uM)", "role"]     # column numbers stand twice in its first row
    assert list(read_layout_table(written(tmp_path / "odd.csv", "when,who", "monday,me")).columns) == ["when", "who"]
    with pytest.raises(TableError, match="cannot be read"):
        read_layout_table(written(tmp_path / "ragged.csv", "well,role", "A1,neg,more,cells"))


def test_the_layout_in_a_folder_is_the_only_table_that_is_one(tmp_path: Path) -> None:
    written(tmp_path / "notes.csv", "when,who", "monday,me")
    written(tmp_path / "treatments.csv", "treatment,class", "drug,kinase inhibitor")
    double = written(tmp_path / "double.csv", "well,role,conc", ",,value,unit", "A1,neg,,")
    with pytest.raises(InputError, match=r"double.csv has more cells \(4\) .* value \| unit' .* join them.*--platemap FILE"):
        find_platemap(tmp_path)
    double.unlink()
    path = written(tmp_path / "map.csv", *TREATMENT, *DOSE)
    assert find_platemap(tmp_path) == path
    written(tmp_path / "other.csv", "well,role", "A1,neg")
    with pytest.raises(InputError, match="2 tables look like layouts"):
        find_platemap(tmp_path)


def test_treatments_are_found_and_checked(tmp_path: Path) -> None:
    path = written(tmp_path / "treatments.csv", "treatment,class,loading_capacity_percent", "drug,kinase inhibitor,12.5", "other,,")
    assert find_treatments(Source(folder=tmp_path)) == path
    assert read_treatments(path)["loading_capacity_percent"].tolist()[0] == 12.5
    with pytest.raises(TableError, match="loading_capacity_percent"):
        read_treatments(written(path, "treatment,loading_capacity_percent", "drug,much"))


@pytest.mark.parametrize(("images", "layout", "expected"), [
    (["x"], ["P9"], {"P9"}), (["S_P1", "S_P2"], ["1", "2"], {"1", "2"}), (["S_P01", "S_P11"], ["P1", "P11"], {"P1", "P11"}),
    (["A", "B"], [], {"A", "B"}), (["A"], ["A", "B"], {"A"})])
def test_plates_of_images_and_layout_meet(images: list[str], layout: list[str], expected: set[str]) -> None:
    raw = pd.DataFrame({"Plate ID": layout, "well": "A1"}) if layout else pd.DataFrame({"well": ["A1"]})
    files, joined, _ = match_plates(pd.DataFrame({"plate": images}), raw)
    assert set(files["plate"]) == expected
    assert layout or set(joined["plate"]) == expected


def test_plates_that_do_not_meet_are_named() -> None:
    with pytest.raises(InputError, match=r"images are of plate\(s\) A, B, the layout has 7, 8"):
        match_plates(pd.DataFrame({"plate": ["A", "B"]}), pd.DataFrame({"plate": ["7", "8"]}))


def test_a_sheet_for_each_plate_is_not_the_layout_of_the_first_for_all(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for sheet, drug in ((book.active, "x"), (book.create_sheet("P2"), "y")):
        for row in (["well", "role", "treatment", "dose"], ["A01", "treated", drug, 1]):
            sheet.append(row)
    book.save(tmp_path / "map.xlsx")
    layout = read_platemap(tmp_path / "map.xlsx").raw_layout
    with pytest.raises(InputError, match="put the wells of all plates into one table with a column 'plate'"):
        match_plates(pd.DataFrame({"plate": ["P1", "P2"]}), layout)
    assert match_plates(pd.DataFrame({"plate": ["P1"]}), layout)[1]["treatment"].tolist() == ["x"]


# --- read-outs -------------------------------------------------------------------------------------------------------------

def test_grids_of_numbers_long_tables_and_zips_become_one_table(tmp_path: Path) -> None:
    grid = written(tmp_path / "CTG_2.txt", "\t01\t02", "A\t10\tNA", "B\t30\tOVRFLW")
    assert read_readouts(grid).values.tolist() == [
        ["CTG", "2", "A01", "10"], ["CTG", "2", "A02", "NA"], ["CTG", "2", "B01", "30"], ["CTG", "2", "B02", "OVRFLW"]]
    long = written(tmp_path / "long.csv", "Plate,Well,OD450", "7,a1,0.5", "7,B2,")
    assert read_readouts(long).values.tolist() == [["long", "7", "A01", "0.5"], ["long", "7", "B02", ""]]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(grid, "sub/CTG_2.txt")
        archive.write(long, "long.csv")
        archive.writestr("readme.md", "no table")
    assert len(read_readouts(tmp_path / "all.zip")) == 6


def test_several_grids_in_a_file_are_plates_in_order(tmp_path: Path) -> None:
    read = read_readouts(written(tmp_path / "run.csv", ",1,2", "A,1,2", "B,3,4", "", ",1,2", "A,5,6", "B,7,8"))
    assert read["plate"].tolist() == ["1"] * 4 + ["2"] * 4


def test_a_readout_joins_its_layout_by_plate_number(tmp_path: Path) -> None:
    layout = pd.DataFrame({"Plate": ["P1", "P2"], "Row": ["A", "A"], "Column": ["1", "1"], "Readout": ["", ""]})
    values = pd.concat([read_readouts(written(tmp_path / f"CTG_{plate}.txt", "\t1\t2", f"A\t{plate}0\t0", "B\t0\t0")) for plate in (1, 2)])
    joined = attach_readout(found(layout), values, (tmp_path / "CTG_1.txt",))
    assert joined.raw_layout["readout"].tolist() == ["10", "20"]
    assert "Readout" not in joined.raw_layout
    assert any("2 of 2 wells" in line for line in joined.said)
    other = values.assign(name=["a"] * 4 + ["b"] * 4)
    with pytest.raises(TableError, match="choose with --readout-name"):
        attach_readout(found(layout), other, (tmp_path,))
    with pytest.raises(TableError, match="1, 2 are the read-out's plates"):
        attach_readout(found(layout.assign(Plate=["X", "Y"])), values, (tmp_path,))


def test_a_well_with_two_values_is_refused(tmp_path: Path) -> None:
    """As of a plate read at two times: neither is the read-out."""
    layout = pd.DataFrame({"plate": ["1", "1"], "well": ["A1", "B2"], "treatment": ["", ""]})
    times = read_readouts(written(tmp_path / "long.csv", "Well,OD450", "A1,0.5", "B2,0.7", "a01,0.6"))
    with pytest.raises(TableError, match=r"several values for 1 wells, first A01 of plate '': 0.5, 0.6"):
        attach_readout(found(layout), times, (tmp_path / "long.csv",))
    assert attach_readout(found(layout), pd.concat([times[:2]] * 2), (tmp_path,)).raw_layout["readout"].tolist() == ["0.5", "0.7"]


SOFTMAX = ("##BLOCKS= 1", "Plate:\tOD600\t1.3\tPlateFormat\tEndpoint\tAbsorbance\tRaw\tFALSE\t1",
           "\tTemperature(°C)\t" + "\t".join(map(str, range(1, 13))),
           *("\t".join(["", "" if row else "24.1", *(str(100 * row + column) for column in range(1, 13))]) for row in range(8)), "", "~End")


def test_a_plate_that_softmax_pro_wrote_without_letters(tmp_path: Path) -> None:
    values = read_readouts(written(tmp_path / "CTG_3.txt", *SOFTMAX)).set_index("well")["value"]
    assert (len(values), values["A01"], values["C07"], values["H12"]) == (96, "1", "207", "712")
    two = [f"{line}\t\t1\t2" if "Temperature" in line else line for line in SOFTMAX]
    with pytest.raises(TableError, match="several wavelengths of a plate side by side"):
        read_readouts(written(tmp_path / "CTG_4.txt", *two))
    with pytest.raises(TableError):      # each of the reads of a kinetic is a plate, and none of them the read-out
        read_readouts(written(tmp_path / "CTG_5.txt", *(line.replace("Endpoint", "Kinetic") for line in SOFTMAX)))


def test_a_list_as_bmg_writes_it(tmp_path: Path) -> None:
    listed = written(tmp_path / "CTG_1.csv", "Well Row,Well Col,Content,Raw Data (lens)", "A,1,Sample X1,15230", "P,24,Blank,12")
    assert read_readouts(listed)[["well", "value"]].values.tolist() == [["A01", "15230"], ["P24", "12"]]


@pytest.mark.parametrize(("lines", "words"), [
    (("\t1\t2", "A\t1\tmuch", "B\t1\t2"), "'much' is not a number"), (("a,b", "1,2"), "neither a plate grid")])
def test_a_readout_that_is_none_says_so(tmp_path: Path, lines: tuple[str, ...], words: str) -> None:
    with pytest.raises(TableError, match=words):
        read_readouts(written(tmp_path / "x.txt", *lines))


# --- real ones -------------------------------------------------------------------------------------------------------------

def real(name: str) -> Path:
    path = SHARED / f"iTReX-Demo_{name}"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set DOSEWELL_SHARED")
    return path


@pytest.mark.shared
@pytest.mark.parametrize(("name", "wells", "plates", "facts"), [
    ("MRA_Layout-Imaging-3Plates.xlsx", 1152, 3, {}), ("MRA_LayoutAndReadouts_BT-40_ST04.xlsx", 1152, 3, {"sample": "BT-40"}),
    ("MRA_Layout-Imaging-1Plate_ST06.xlsx", 384, 1, {}), ("CRA_Layout.xlsx", 2304, 6, {})])
def test_real_itrex_layouts_are_read_without_error(name: str, wells: int, plates: int, facts: dict[str, str]) -> None:
    read = read_platemap(real(name))
    parsed = parse_layout(read.raw_layout, plate_format=384)
    assert (len(parsed.layout), parsed.layout["plate"].nunique(), read.facts) == (wells, plates, facts)
    assert not parsed.errors
    assert any(item.rule == "unit_default" and item.value == "nM" for item in parsed.findings)


@pytest.mark.shared
def test_the_real_combination_layout_keeps_its_second_drug() -> None:
    layout = parse_layout(read_platemap(real("CRA_Layout.xlsx")).raw_layout, plate_format=384).layout
    assert (layout["treatment_2"] == "Trametinib").sum() == 886


@pytest.mark.shared
def test_the_real_mixed_readouts_are_told_apart_and_agree_with_the_layout() -> None:
    values = read_readouts(real("MRA_3ReadoutsMixed.zip"))
    assert values.groupby("name").size().to_dict() == {"BT-40_V1_DS1_Full": 1152, "BT-40_V1_DS1_NA": 1152, "Flat": 1152}
    layout = read_platemap(real("MRA_LayoutAndReadouts_BT-40_ST04.xlsx")).raw_layout
    joined = attach_readout(found(layout), values, (SHARED,), name="BT-40_V1_DS1_Full").raw_layout
    assert (joined["readout"] == layout["Readout"]).all()
    holes = attach_readout(found(layout), values, (SHARED,), name="BT-40_V1_DS1_NA").raw_layout
    assert parse_layout(holes, plate_format=384).layout["readout"].isna().sum() == 257


def test_a_layout_that_is_sent_is_no_longer_than_plates_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.plates.readers.platemaps.MAX_SENT_ROWS", 3)
    path = tmp_path / "layout.csv"
    for rows, refused in ((3, False), (4, True)):
        path.write_text("well,role\n" + "A01,empty\n" * (rows - 1), encoding="utf-8")
        if refused:
            with pytest.raises(TableError, match="more than 3 rows"):
                read_layout_table(path)
        else:
            assert len(read_layout_table(path)) == rows - 1


@pytest.mark.parametrize("corner", ["plate" + " " * 3_000 + "!", "plate" * 1_000])
def test_a_title_that_was_made_to_keep_the_reader_busy_is_read_as_any_other(tmp_path: Path, corner: str) -> None:
    assert len(read_readouts(written(tmp_path / "x.csv", f"{corner},1,2", "A,1,2", "B,3,4"))) == 4


def test_a_number_of_5000_digits_above_a_plate_is_refused_and_no_crash(tmp_path: Path) -> None:
    with pytest.raises(TableError):
        read_readouts(written(tmp_path / "x.csv", f",{'1' * 5_000},2", "A,1,2", "B,3,4"))


def _zipped(path: Path, *, name: str = "a_1.csv", method: int = zipfile.ZIP_STORED, at: int = 0, byte: int = 0) -> Path:
    """A zip of a read-out. byte: what stands instead of the one `at` this place of its entry in the directory."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, ",1,2\nA,1,2\nB,3,4\n")
    if at:
        data = bytearray(path.read_bytes())
        data[data.rfind(b"PK\1\2") + at] = byte
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("how", [
    {"at": 8, "byte": 1}, {"at": 10, "byte": 99}, {"at": 16, "byte": 0}, {"at": 42, "byte": 250},     # encrypted, packing, CRC, place
    {"method": zipfile.ZIP_BZIP2}, {"name": "_" * 60_000 + "x.csv"}])
def test_a_zip_of_read_outs_that_cannot_be_unpacked_is_refused(tmp_path: Path, how: dict[str, Any]) -> None:
    assert len(read_readouts(_zipped(tmp_path / "good.zip"))) == 4
    with pytest.raises(TableError, match=r"bad\.zip"):
        read_readouts(_zipped(tmp_path / "bad.zip", **how))


def test_more_bytes_of_read_outs_than_plates_can_have_are_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "x.csv").open("wb") as file:
        file.truncate(2**35)
    with pytest.raises(TableError, match="at most 33,554,432"):
        read_readouts(tmp_path / "x.csv")
