"""Readers: a folder as a lab left it becomes a table of image files and a raw layout; what is wrong is said with its well."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import InputError, TableError
from models.plates.images import encode_tiff
from models.plates.layout import parse_layout, read_layout
from models.plates.readers import CONVENTIONS, FILE_COLUMNS, Source, read_source
from models.plates.simulate import sample_look, simulate_spheroids, true_viability
from models.plates.simulate.examples import random_curves

SHARED = Path(os.environ.get("DOSEWELL_SHARED", Path(__file__).parents[4] / "shared")) / "data"
IMAGE = encode_tiff(np.full((8, 8), 7, dtype=np.uint8))
ROWS = ["well,role,compound,dose,unit,file_gfp,file_dna",
        "A1,negative,,0,nM,a1_g.tif,a1_d.tif", "A2,treated,drug,5,nM,a2_g.tif,a2_d.tif"]


def folder_of(path: Path, rows: list[str] = ROWS, *, images: tuple[str, ...] | None = None, table: str = "platemap.csv") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / table).write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name in images if images is not None else ("a1_g.tif", "a1_d.tif", "a2_g.tif", "a2_d.tif"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(IMAGE)
    return path


def test_a_table_of_files_gives_a_row_per_image_and_a_layout_without_file_columns(tmp_path: Path) -> None:
    found = read_source(Source(folder=folder_of(tmp_path / "plate"), plate="P9"))
    assert found.convention == "table"
    assert tuple(found.files.columns) == FILE_COLUMNS
    assert found.channels == ("gfp", "dna")
    assert found.files[["plate", "well", "site", "channel", "plane"]].values.tolist() == [
        ["P9", "A01", 1, "gfp", 0], ["P9", "A02", 1, "gfp", 0], ["P9", "A01", 1, "dna", 0], ["P9", "A02", 1, "dna", 0]]
    assert all(path.is_file() for path in found.files["path"])
    assert list(found.raw_layout.columns) == ["well", "role", "compound", "dose", "unit"]
    assert any("4 image(s) of 2 well(s)" in line for line in found.said)
    assert not parse_layout(found.raw_layout, plate_format=96).errors


def test_channels_can_be_chosen_and_ordered(tmp_path: Path) -> None:
    source = Source(folder=folder_of(tmp_path), channels={"nuclei": "file_dna"})
    found = read_source(source)
    assert found.channels == ("nuclei",)
    assert "file_gfp" in found.raw_layout  # not asked for, not thrown away
    with pytest.raises(TableError, match="file_red"):
        read_source(Source(folder=tmp_path, channels={"red": "file_red"}), convention="table")
    with pytest.raises(InputError, match="--platemap"):
        read_source(Source(folder=tmp_path, channels={"red": "file_red"}))


def test_columns_under_other_names_are_named_by_the_user(tmp_path: Path) -> None:
    rows = ["where,what,compound,dose,pic", "A1,negative,,0,a1_g.tif"]
    source = Source(folder=folder_of(tmp_path, rows), columns={"well": "where", "role": "what"})
    found = read_source(source)
    assert found.files["well"].tolist() == ["A01"]
    assert found.channels == ("pic",)
    with pytest.raises(TableError, match="no column of wells"):
        read_source(Source(folder=tmp_path))
    with pytest.raises(TableError, match="'spot' was named as the column of"):
        read_source(Source(folder=tmp_path, columns={"well": "spot"}), convention="table")


def test_a_bare_file_column_is_brightfield(tmp_path: Path) -> None:
    found = read_source(Source(folder=folder_of(tmp_path, ["well,role,treatment,dose,filename", "A1,negative,,0,a1_g.tif"])))
    assert found.channels == ("brightfield",)


def test_files_are_found_beside_the_table_by_path_and_by_name_alone(tmp_path: Path) -> None:
    rows = ["well,role,treatment,dose,file", r"A1,negative,,0,images\one.tif", "A2,negative,,0,two.tif"]
    found = read_source(Source(folder=folder_of(tmp_path, rows, images=("images/one.tif", "deep/er/two.tif"))))
    assert [path.name for path in found.files["path"]] == ["one.tif", "two.tif"]
    assert not found.findings


def test_missing_and_ambiguous_files_are_named_with_their_well(tmp_path: Path) -> None:
    rows = ["well,role,treatment,dose,file", "A1,negative,,0,one.tif", "A2,negative,,0,gone.tif", "A3,negative,,0,"]
    found = read_source(Source(folder=folder_of(tmp_path, rows, images=("x/one.tif", "y/one.tif"))))
    assert [(item.rule, item.well, item.value) for item in found.findings] == [
        ("image_missing", "A01", "one.tif"), ("image_missing", "A02", "gone.tif")]
    assert "names 2 files" in found.findings[0].message


def test_files_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.tif").write_bytes(IMAGE)
    rows = ["well,role,treatment,dose,file", "A1,negative,,0,../secret.tif", "A2,negative,,0,link.tif",
            f"A3,negative,,0,{tmp_path}/secret.tif"]
    folder = folder_of(tmp_path / "plate", rows, images=())
    (folder / "link.tif").symlink_to(tmp_path / "secret.tif")
    found = read_source(Source(folder=folder))
    assert found.files.empty
    assert len(found.findings) == 3


def test_sites_and_planes_are_counted_and_a_well_stays_one_row(tmp_path: Path) -> None:
    rows = ["well,role,treatment,dose,site,z,file"] + [
        f"A1,negative,,0,{site},{plane},s{site}z{plane}.tif" for site in (1, 2) for plane in (0, 1)]
    found = read_source(Source(folder=folder_of(tmp_path, rows, images=tuple(f"s{s}z{z}.tif" for s in (1, 2) for z in (0, 1)))))
    assert found.files[["site", "plane"]].values.tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]
    assert len(found.raw_layout) == 1
    folder_of(tmp_path, ["well,role,treatment,dose,site,file", "A1,negative,,0,left,s1z0.tif"])
    with pytest.raises(TableError, match="'left' in column site is not a whole number"):
        read_source(Source(folder=tmp_path))


def test_the_platemap_is_found_among_other_tables_or_asked_for(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "notes.csv").write_text("when,who\nmonday,me\n", encoding="utf-8")
    assert read_source(Source(folder=folder)).inputs[0].name == "platemap.csv"
    folder_of(folder, table="second.csv")
    with pytest.raises(InputError, match=r"2 tables name images \(platemap.csv, second.csv\)"):
        read_source(Source(folder=folder))
    assert read_source(Source(folder=folder, platemap=folder / "second.csv")).inputs[0].name == "second.csv"


def test_row_and_column_stand_for_a_well(tmp_path: Path) -> None:
    found = read_source(Source(folder=folder_of(tmp_path, ["Plate,Row,Column,role,drug,dose,file", "X,B,3,negative,,0,a1_g.tif"])))
    assert found.files[["plate", "well"]].values.tolist() == [["X", "B03"]]


def test_a_folder_in_no_known_form_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image of a kind that is read"):
        read_source(Source(folder=tmp_path))
    (tmp_path / "one.tif").write_bytes(b"")
    with pytest.raises(InputError, match="--platemap"):
        read_source(Source(folder=tmp_path))
    with pytest.raises(InputError, match="not a folder"):
        read_source(Source(folder=tmp_path / "nowhere"), convention="table")
    with pytest.raises(InputError, match="known: auto, archive, ome_zarr, table"):
        read_source(Source(folder=tmp_path), convention="zeiss")


def test_conventions_have_different_names() -> None:
    names = [convention.name for convention in CONVENTIONS]
    assert len(set(names)) == len(names)


# --- real ones -----------------------------------------------------------------------------------------------------------

@pytest.mark.shared
def test_the_real_bbbc013_plate_is_recognised() -> None:
    folder = SHARED / "bbbc013"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set DOSEWELL_SHARED")
    found = read_source(Source(folder=folder))
    assert len(found.files) == 192
    assert found.channels == ("gfp", "dna")
    assert not found.findings


@pytest.fixture(scope="module")
def itrex() -> pd.DataFrame:
    path = SHARED / "vendor_layouts" / "itrex" / "iTReX-Demo_MRA_Layout-Imaging-3Plates.xlsx"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set DOSEWELL_SHARED")
    return read_layout(path, plate_format=384)


@pytest.mark.shared
def test_the_real_three_plate_layout_holds_75_drugs_in_duplicate(itrex: pd.DataFrame) -> None:
    assert itrex["role"].value_counts().to_dict() == {
        "treated": 750, "empty": 228, "reference": 75, "untreated": 45, "negative": 30, "positive": 24}
    treated = itrex.query("role == 'treated'")
    assert treated["treatment"].nunique() == 75
    assert (treated.groupby("treatment")["dose"].nunique() == 5).all()
    assert (treated.groupby(["treatment", "dose"]).size() == 2).all()


@pytest.mark.shared
def test_the_real_layout_drives_the_simulation(itrex: pd.DataFrame) -> None:
    truth = true_viability(itrex, random_curves(itrex, seed=1))
    some = itrex[itrex["role"] != "empty"].groupby("role").head(2)
    plate = some["plate"].iloc[0]
    stacks = dict(simulate_spheroids(some, look=sample_look("PAT_2"), truth=truth, planes=2, size=48, plate=plate))
    assert list(stacks) == some.loc[some["plate"] == plate, "well"].tolist()
    assert truth.isna().sum() == 228
