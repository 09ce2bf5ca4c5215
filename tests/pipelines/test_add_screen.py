"""A folder and its platemap become a screen: what was recognised is said, what is wrong is refused, nothing is half-written."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from models.errors import InputError, ScreenError
from models.plates.images import PlateArchive, decode_image, encode_tiff
from models.plates.layout import read_layout
from models.plates.readers import Source
from models.plates.screen import Screen
from pipelines.add_screen import Request, add_screen, main, number_replicates, params_lines, parse_rows
from pipelines.screens import read_screen, write_screen

SHARED = Path(os.environ.get("DOSEWELL_SHARED", Path(__file__).parents[3] / "shared")) / "data"


def pixels(value: int) -> np.ndarray:
    return np.full((8, 6), value, dtype=np.uint8)


def lab_folder(path: Path, *, wells: str = "AB", doses: tuple[float, ...] = (1, 10), bits: int = 8) -> Path:
    """Rows of one negative, one positive and treated wells each; channels gfp and dna; doses in uM."""
    path.mkdir(parents=True, exist_ok=True)
    lines, value = ["well,role,compound,dose,unit,file_gfp,file_dna"], 0
    for row in wells:
        roles = [("negative", "", "0"), ("positive", "killer", "100"), *(("treated", "drug", f"{dose:g}") for dose in doses)]
        for column, (role, compound, dose) in enumerate(roles, start=1):
            names = [f"{row}{column}_{channel}.tif" for channel in ("g", "d")]
            lines.append(f"{row}{column},{role},{compound},{dose},uM,{','.join(names)}")
            for name in names:
                value += 1
                (path / name).write_bytes(encode_tiff(pixels(value).astype(f"uint{bits}")))
    (path / "platemap.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def request(folder: Path, out: Path, **options: object) -> Request:
    return Request(source=Source(folder=folder, plate=folder.name), name="mine", out=out, **options)  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def edit(folder: Path, old: str, new: str) -> None:
    table = folder / "platemap.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_a_screen_holds_the_layout_the_images_and_what_is_known(tmp_path: Path) -> None:
    folder, out = lab_folder(tmp_path / "plate7"), tmp_path / "data"
    said = add_screen(request(folder, out, facts={"sample": "U2OS", "magnification": 20.0}), progress=False)
    screen = read_screen(out / "mine")
    assert (screen.sample, screen.magnification, screen.bit_depth, screen.plate_format) == ("U2OS", 20, 8, 96)
    assert [channel.name for channel in screen.channels] == ["gfp", "dna"]
    assert (screen.controls, screen.positive_control) == ("both", {"image": "killer"})
    layout = read_layout(out / "mine" / "layout.csv", plate_format=96)
    assert layout["well"].tolist() == ["A01", "A02", "A03", "A04", "B01", "B02", "B03", "B04"]
    assert layout.loc[layout["role"] == "treated", "dose"].tolist() == [1000, 10_000, 1000, 10_000]
    assert set(layout.loc[layout["dose"].notna(), "dose_unit"]) == {"nM"}
    assert layout["replicate"].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    with PlateArchive(out / "mine" / "images" / "plate7.zip") as plate:
        assert plate.members["member"].tolist()[:3] == ["A01_s1_c0_z0.tif", "A01_s1_c1_z0.tif", "A02_s1_c0_z0.tif"]
        np.testing.assert_array_equal(plate.read("B04_s1_c1_z0.tif"), pixels(16))
    text = "\n".join(said)
    for words in ("gfp (column file_gfp)", "8 wells: 2 negative, 2 positive, 4 treated", "2 doses 1000-10000 nM, 2 replicates",
                  "8x6 pixels, 8 bit"):
        assert words in text


def test_the_same_source_gives_the_same_bytes_and_then_nothing_to_do(tmp_path: Path) -> None:
    folder = lab_folder(tmp_path / "plate7")
    for out in ("one", "two"):
        add_screen(request(folder, tmp_path / out), progress=False)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    before = content(tmp_path / "one")
    assert "already there" in add_screen(request(folder, tmp_path / "one"), progress=False)[0]
    assert content(tmp_path / "one") == before


def test_another_content_under_the_same_name_is_refused_unless_forced(tmp_path: Path) -> None:
    folder, out = lab_folder(tmp_path / "plate7"), tmp_path / "data"
    add_screen(request(folder, out), progress=False)
    (folder / "A1_g.tif").write_bytes(encode_tiff(pixels(200)))
    with pytest.raises(ScreenError, match="already there with other content"):
        add_screen(request(folder, out), progress=False)
    add_screen(request(folder, out, force=True), progress=False)
    with PlateArchive(out / "mine" / "images" / "plate7.zip") as plate:
        assert plate.read("A01_s1_c0_z0.tif").max() == 200


def test_rows_keep_those_rows_only_and_faults_elsewhere_do_not_matter(tmp_path: Path) -> None:
    folder, out = lab_folder(tmp_path / "plate7", wells="ABC"), tmp_path / "data"
    (folder / "A3_g.tif").unlink()
    edit(folder, "A4,treated,drug,10", "A4,treated,drug,ten")
    add_screen(request(folder, out, rows="B-C"), progress=False)
    assert set(read_layout(out / "mine" / "layout.csv", plate_format=96)["well"].str[0]) == {"B", "C"}
    with pytest.raises(ScreenError, match="nothing is left"):
        add_screen(request(folder, tmp_path / "other", rows="H"), progress=False)


@pytest.mark.parametrize(("old", "new", "rule", "place"), [
    ("A3,treated", "Z99,treated", "well_format", "Z99"), ("A3,treated", "A4,treated", "image_repeated", "A04"),
    ("drug,10,uM,A4_g", "drug,ten,uM,A4_g", "number", "A04"), ("A4_g.tif", "gone.tif", "image_missing", "A04"),
    ("drug,1,uM,A3_g", "drug,1,furlong,A3_g", "unit_unknown", "A03"), ("A1,negative", "A1,nonsense", "role_unknown", "A01")])
def test_bad_platemaps_are_refused_with_the_well(tmp_path: Path, old: str, new: str, rule: str, place: str) -> None:
    folder, out = lab_folder(tmp_path / "plate7"), tmp_path / "data"
    edit(folder, old, new)
    with pytest.raises(InputError) as caught:
        add_screen(request(folder, out, plate_format=96), progress=False)
    assert (rule, place) in {(item.rule, item.well) for item in caught.value.findings}
    assert not out.exists() or list(out.iterdir()) == []


def test_all_unreadable_images_are_named_at_once_and_nothing_is_left(tmp_path: Path) -> None:
    folder, out = lab_folder(tmp_path / "plate7"), tmp_path / "data"
    (folder / "A1_g.tif").write_bytes(b"")
    (folder / "B2_d.tif").write_bytes(b"II*\0 rubbish")
    with pytest.raises(ScreenError) as caught:
        add_screen(request(folder, out), progress=False)
    assert [(item.rule, item.well) for item in caught.value.findings] == [("image_empty", "A01"), ("image_unreadable", "B02")]
    assert list(out.iterdir()) == []


def test_sixteen_bits_and_stacks_become_planes(tmp_path: Path) -> None:
    folder, out = lab_folder(tmp_path / "plate7", bits=16), tmp_path / "data"
    tifffile.imwrite(folder / "A1_g.tif", np.stack([np.full((8, 6), level, np.uint16) for level in (5, 6, 7)]),
                     photometric="minisblack")
    add_screen(request(folder, out), progress=False)
    assert read_screen(out / "mine").bit_depth == 16
    with PlateArchive(out / "mine" / "images" / "plate7.zip") as plate:
        assert plate.read_stack("A01", site=1, channel=0).max(axis=(1, 2)).tolist() == [5, 6, 7]


def test_a_big_plate_is_recognised_by_its_wells(tmp_path: Path) -> None:
    folder = lab_folder(tmp_path / "plate7", wells="AP")
    add_screen(request(folder, tmp_path / "data"), progress=False)
    assert read_screen(tmp_path / "data" / "mine").plate_format == 384


@pytest.mark.parametrize(("text", "rows"), [("A-D", {0, 1, 2, 3}), ("e-h", {4, 5, 6, 7}), ("A,C-D", {0, 2, 3}), ("AA", {26}), ("", set())])
def test_rows_are_written_as_ranges_and_lists(text: str, rows: set[int]) -> None:
    assert parse_rows(text) == rows


@pytest.mark.parametrize("text", ["D-A", "1-4", "A-", "A..D", "A1-D1", "A-B-C"])
def test_other_row_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--rows"):
        parse_rows(text)


def test_replicates_are_numbered_by_plate_order_whatever_the_order_of_the_table() -> None:
    layout = pd.DataFrame({"plate": "P1", "well": ["B02", "A10", "A02", "C01"], "role": "treated", "treatment": "drug",
                           "dose": 5.0, "dose_unit": "nM", "replicate": 1})
    two = pd.concat([layout.assign(plate="P2"), layout], ignore_index=True)
    numbered = number_replicates(two)
    assert numbered["well"].tolist() == ["A02", "A10", "B02", "C01"] * 2
    assert numbered["replicate"].tolist() == list(range(1, 9))
    assert number_replicates(two.assign(role="negative"))["replicate"].tolist() == [1, 2, 3, 4] * 2


def test_what_comes_next_is_a_command_or_the_lines_of_an_input(tmp_path: Path) -> None:
    screen = Screen.from_dict({"name": "mine", "sample": "X", "channels": ["gfp", "dna"], "bit_depth": 16})
    missing = params_lines(screen, tmp_path / "params.yaml")
    assert "  mine: {input: gfp_dna_224}" in missing
    assert any("gfp:mid" in line and "intensity: plate" in line for line in missing)
    command = params_lines(screen, Path(__file__).parents[2] / "params.yaml")[-1]
    assert command.startswith("python -m pipelines.add_model profile-mine --screen mine --recipe controls_mobilenet")


def test_the_command_says_what_it_did_and_returns_1_on_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = lab_folder(tmp_path / "plate7")
    options = [str(folder), "--name", "mine", "--out", str(tmp_path / "data"), "--channels", "nuclei=file_dna,green=file_gfp",
               "--columns", "treatment=compound", "--rows", "A", "--sample", "U2OS"]
    assert main(options) == 0
    out = capsys.readouterr().out
    assert "screens:\n  mine: {input: nuclei_green_224}" in out
    assert [channel.name for channel in read_screen(tmp_path / "data" / "mine").channels] == ["nuclei", "green"]
    assert main([*options, "--rows", "A-B"]) == 1
    assert "already there with other content" in capsys.readouterr().err


def test_screen_yaml_comes_back_equal_and_its_faults_are_named(tmp_path: Path) -> None:
    screen = Screen.from_dict({"name": "s", "sample": "Zellen-Ä", "channels": [{"name": "dna", "stain": "DRAQ5"}], "bit_depth": 16,
                               "positive_control": {"image": "x"}, "magnification": 20.0})
    write_screen(tmp_path, screen)
    assert read_screen(tmp_path) == screen
    for text, words in (("a: [", "no readable YAML"), ("- 1", "must hold fields"), ("name: s\nsampel: x", "did you mean 'sample'")):
        (tmp_path / "screen.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ScreenError, match=words):
            read_screen(tmp_path)
    with pytest.raises(ScreenError, match="is missing"):
        read_screen(tmp_path / "nowhere")


@pytest.mark.shared
@pytest.mark.parametrize(("rows", "drug", "low", "high", "roles"), [
    ("A-D", "wortmannin", 0.98, 250, {"treated": 36, "negative": 8, "positive": 4}),
    ("E-H", "LY294002", 310, 80_000, {"treated": 36, "negative": 4, "positive": 4, "untreated": 4})])
def test_the_real_plate_goes_in_as_two_screens(
        tmp_path: Path, rows: str, drug: str, low: float, high: float, roles: dict[str, int]) -> None:
    folder = SHARED / "bbbc013"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set DOSEWELL_SHARED")
    add_screen(request(folder, tmp_path, rows=rows), progress=False)
    layout = read_layout(tmp_path / "mine" / "layout.csv", plate_format=96)
    assert layout["role"].value_counts().to_dict() == roles
    treated = layout.query("role == 'treated'")
    assert (set(treated["treatment"]), treated["dose"].min(), treated["dose"].max()) == ({drug}, low, high)
    assert (treated.groupby("dose")["replicate"].agg(sorted).map(str) == "[1, 2, 3, 4]").all()
    assert read_screen(tmp_path / "mine").positive_control == {"image": drug}
    with PlateArchive(tmp_path / "mine" / "images" / "bbbc013.zip") as plate:
        assert len(plate.members) == 96
        well = treated["well"].iloc[0]
        original = folder / "images" / f"Channel2-{(ord(well[0]) - 65) * 12 + int(well[1:]):02d}-{well[0]}-{well[1:]}.tif"
        np.testing.assert_array_equal(plate.read(f"{well}_s1_c1_z0.tif"), decode_image(original.read_bytes(), original.name))


def test_a_microscopes_folder_with_grids_readout_and_treatments_becomes_a_screen(tmp_path: Path) -> None:
    folder, out = tmp_path / "run", tmp_path / "data"
    for column in (1, 2, 3):
        path = folder / "TimePoint_1" / f"x_A0{column}_s1_w1.TIF"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_tiff(pixels(column)))
    (folder / "x.HTD").write_text('"XWells", 24\n"YWells", 16\n"WaveName1", "DAPI"\n', encoding="latin-1")
    (folder / "map.csv").write_text("Compound,1,2,3\nA,DMSO,drug,drug\n,,,\nDose (uM),1,2,3\nA,,1,10\n", encoding="utf-8")
    (folder / "treatments.csv").write_text("treatment,class\ndrug,kinase inhibitor\n", encoding="utf-8")
    (tmp_path / "OD_1.txt").write_text("\t1\t2\t3\nA\t0.9\tNA\t0.2\n", encoding="utf-8")
    said = "\n".join(add_screen(request(folder, out, readout=tmp_path / "OD_1.txt", facts={"sample": "U2OS"}), progress=False))
    screen, layout = read_screen(out / "mine"), read_layout(out / "mine" / "layout.csv", plate_format=384)
    assert (screen.plate_format, screen.sample, [channel.name for channel in screen.channels]) == (384, "U2OS", ["dapi"])
    assert layout["role"].tolist() == ["negative", "treated", "treated"]
    assert layout["readout"].fillna(-1).tolist() == [0.9, -1, 0.2]
    assert "drug,kinase inhibitor" in (out / "mine" / "treatments.csv").read_text(encoding="utf-8")
    assert "convention imagexpress" in said
    assert "already there, made from the same" in add_screen(
        request(folder, out, readout=tmp_path / "OD_1.txt", facts={"sample": "U2OS"}), progress=False)[0]


def test_jpegs_may_come_in_smaller_where_a_small_image_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.full((480, 640), 90, np.uint8)).save(folder / "A01.jpg")
    (folder / "map.csv").write_text("well,role,treatment,dose\nA1,negative,,0\n", encoding="utf-8")
    assert main([str(folder), "--name", "mine", "--out", str(tmp_path / "data"), "--pattern", "{well}.jpg", "--jpeg-size", "100"]) == 0
    with PlateArchive(tmp_path / "data" / "mine" / "images" / "photos.zip") as plate:
        assert plate.read("A01_s1_c0_z0.tif").shape == (120, 160)
