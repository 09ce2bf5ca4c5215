"""A folder and its platemap become a screen: what was recognised is said, what is wrong is refused, nothing is half-written."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from models.errors import InputError, ScreenError
from models.plates.images import PlateArchive, encode_tiff
from models.plates.layout import read_layout
from models.plates.pixels import decode_image
from models.plates.prepare import missing_channels
from models.plates.readers import Source
from models.plates.screen import Screen
from models.wells import PLATE_FORMATS, wells_of
from pipelines.add_model import main as list_model
from pipelines.add_screen import add_screen, main
from pipelines.exclude import Choice, apply_choice
from pipelines.params import Params
from pipelines.screen_tables import Request, number_replicates, parse_rows
from pipelines.screen_words import next_steps, plate_maps, summary
from pipelines.screens import read_screen, write_screen
from tests.pipelines.lab import content, edit, images_of, lab_folder, layout_of, pixels, request

SHARED = Path(os.environ.get("DOSEWELL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
PARAMS = Path(__file__).parents[2] / "params.yaml"


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


def test_what_a_person_decided_or_wrote_is_not_lost_when_a_screen_is_replaced(tmp_path: Path) -> None:
    """More plates, or a corrected platemap, come in with --force: wells that were left out must not creep back into training."""
    folder, out = lab_folder(tmp_path / "plate7"), tmp_path / "data"
    add_screen(request(folder, out, facts={"assay": "ATP"}), progress=False)
    apply_choice(out / "mine", Choice(wells=("A02",), reason="pipetted twice"))
    apply_choice(out / "mine", Choice(wells=("B04",), excluded="false", reason="looked at it"))
    (folder / "A1_g.tif").write_bytes(encode_tiff(pixels(200)))
    said = add_screen(request(folder, out, force=True), progress=False)
    layout = read_layout(out / "mine" / "layout.csv", plate_format=96).set_index("well")
    assert layout.index[layout["excluded"]].tolist() == ["A02"]
    assert layout["exclusion_reason"][["A02", "B04"]].tolist() == ["pipetted twice", "looked at it"]
    assert [line for line in said if "decisions" in line] == ["a person's decisions are kept, on the wells: plate7 A02, plate7 B04"]
    assert [line for line in said if "screen.yaml" in line] == [
        "warning: screen.yaml said assay: ATP before, and now nothing; write it there again if it still holds"]
    said = add_screen(request(folder, out, force=True, rows="B"), progress=False)
    assert "warning: decisions are gone with their wells: plate7 A02" in said


def test_what_the_platemap_itself_says_of_a_well_wins_over_what_was_decided_before(tmp_path: Path) -> None:
    folder, out = lab_folder(tmp_path / "plate7"), tmp_path / "data"
    add_screen(request(folder, out), progress=False)
    apply_choice(out / "mine", Choice(wells=("A02", "A03"), reason="pipetted twice"))
    edit(folder, "well,role,compound", "excluded,exclusion_reason,well,role,compound")
    for line in (folder / "platemap.csv").read_text(encoding="utf-8").splitlines()[1:]:
        edit(folder, line, f"{'false,it is sound' if line.startswith('A2') else ','},{line}")
    said = add_screen(request(folder, out, force=True), progress=False)
    layout = read_layout(out / "mine" / "layout.csv", plate_format=96).set_index("well")
    assert layout.loc[["A02", "A03"], ["excluded", "exclusion_reason"]].to_numpy().tolist() == [
        [False, "it is sound"], [True, "pipetted twice"]]
    assert "a person's decisions are kept, on the wells: plate7 A03" in said


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


def test_the_same_projections_of_stacks_are_advised_when_nothing_is_left_to_do(tmp_path: Path) -> None:
    folder = images_of(tmp_path / "run", ["A01", "A02"])
    for path in folder.glob("*.tif"):
        tifffile.imwrite(path, np.zeros((3, 8, 6), np.uint16), photometric="minisblack")
    (folder / "layout.csv").write_text("well,role,treatment,dose,unit\nA1,negative,DMSO,,\nA2,positive,,,\n", encoding="utf-8")
    made, again = (add_screen(request(folder, tmp_path / "data"), progress=False) for _ in range(2))
    assert made[-3:] == again[-3:]
    assert ":mip," in made[-3]


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


@pytest.mark.parametrize(("channels", "planes", "command"), [
    (["gfp", "dna"], 1, "--recipe controls_mobilenet --parent"), (["dapi"], 30, "--planes dapi:mip,dapi:mid,dapi:mip --parent"),
    (["dapi_mip", "dapi_mid", "dapi_mos"], 1, "--planes dapi:mip,dapi:mid,dapi:mip --parent"),
    (["ch1", "ch2"], 1, "--planes ch1:mid,ch2:mid,ch1:mid --parent")])
def test_what_comes_next_is_a_command(channels: list[str], planes: int, command: str) -> None:
    screen = Screen.from_dict({"name": "mine", "sample": "X", "channels": channels, "bit_depth": 16})
    lines = next_steps(screen, pd.DataFrame({"role": ["negative", "positive"]}), PARAMS, planes=planes)
    assert command in next(line for line in lines if line.startswith("python -m pipelines.add_model profile-mine --screen mine"))


def test_the_command_that_comes_next_works(tmp_path: Path) -> None:
    channels = ["dapi_mip", "dapi_mid", "dapi_mos"]
    screen = Screen.from_dict({"name": "mine", "sample": "X", "channels": channels, "bit_depth": 16})
    lines = next_steps(screen, pd.DataFrame({"role": ["negative", "positive"]}), PARAMS, planes=1)
    add_model = next(line for line in lines if "add_model" in line)
    shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    (tmp_path / "data" / "mine").mkdir(parents=True)
    list_model([*add_model.split()[3:], "--params", str(tmp_path / "params.yaml"), "--data", str(tmp_path / "data")])
    params = Params.read(tmp_path / "params.yaml")
    assert not missing_channels(params.inputs[params.screens["mine"].input], channels)


def test_a_screen_that_no_model_can_learn_from_says_so() -> None:
    screen = Screen.from_dict({"name": "mine", "sample": "X", "channels": ["gfp"], "controls": "negative"})
    assert "No model can learn" in next_steps(screen, pd.DataFrame({"role": ["negative"]}), PARAMS, planes=1)[1]
    with_readout = next_steps(screen, pd.DataFrame({"role": ["negative"], "readout": [1.0]}), PARAMS, planes=1)
    assert any("--recipe viability --planes gfp:mid" in line for line in with_readout)


def test_the_command_says_what_it_did_and_refuses_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = lab_folder(tmp_path / "plate7")
    options = [str(folder), "--name", "mine", "--out", str(tmp_path / "data"), "--channels", "nuclei=file_dna,green=file_gfp",
               "--columns", "treatment=compound", "--rows", "A", "--sample", "U2OS"]
    main(options)
    out = capsys.readouterr().out
    assert "python -m pipelines.add_model profile-mine" in out
    assert [channel.name for channel in read_screen(tmp_path / "data" / "mine").channels] == ["nuclei", "green"]
    with pytest.raises(ScreenError, match="already there with other content"):
        main([*options, "--rows", "A-B"])


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
    main([str(folder), "--name", "mine", "--out", str(tmp_path / "data"), "--pattern", "{well}.jpg", "--jpeg-size", "100"])
    with PlateArchive(tmp_path / "data" / "mine" / "images" / "photos.zip") as plate:
        assert plate.read("A01_s1_c0_z0.tif").shape == (120, 160)


# --- plates of every size and kind -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("plate_format", "asked", "last"), [(6, 6, "B03"), (12, 12, "C04"), (24, 24, "D06"), (48, 48, "F08"),
                                                            (96, None, "H12"), (384, None, "P24"), (1536, None, "AF48")])
def test_plates_of_6_to_1536_wells(tmp_path: Path, plate_format: int, asked: int | None, last: str) -> None:
    wells = list(wells_of(plate_format))
    folder = layout_of(images_of(tmp_path / "plate", wells), wells)
    said = add_screen(request(folder, tmp_path / "data", plate_format=asked), params=PARAMS, progress=False)
    layout = read_layout(tmp_path / "data" / "mine" / "layout.csv", plate_format=plate_format)
    assert (read_screen(tmp_path / "data" / "mine").plate_format, layout["well"].iloc[-1]) == (plate_format, last)
    assert set(layout.loc[layout["role"] == "treated", "dose_unit"]) == {"ug/mL"}
    with PlateArchive(tmp_path / "data" / "mine" / "images" / "plate.zip") as plate:
        assert plate.members["well"].tolist() == wells
    drawn = said[said.index(next(line for line in said if line.startswith("plate plate"))) + 1:]
    rows, columns = PLATE_FORMATS[plate_format]
    assert drawn[1].split() == ["A", *(MARK[number % 4] for number in range(columns))]
    assert drawn[rows].split()[0] == last.rstrip("0123456789")
    assert not drawn[rows + 1].startswith(" ")


MARK = "-+oo"


def test_a_small_plate_that_fills_a_format_is_recognised_as_a_question(tmp_path: Path) -> None:
    wells = list(wells_of(24))
    folder = layout_of(images_of(tmp_path / "plate", wells), wells)
    said = "\n".join(add_screen(request(folder, tmp_path / "data"), progress=False))
    assert "warning: plate plate is taken as one of 96 wells, but its wells are those of a 24-well plate" in said


def test_inner_wells_only_and_wells_without_a_partner_are_said(tmp_path: Path) -> None:
    inner = [f"{row}{column:02d}" for row in "BCDEFG" for column in range(2, 12)]
    folder = layout_of(images_of(tmp_path / "plate", [*inner[1:], "H12"]), inner)
    said = "\n".join(add_screen(request(folder, tmp_path / "data"), progress=False))
    assert read_screen(tmp_path / "data" / "mine").plate_format == 96
    assert "1 well of the layout without an image (B02)" in said
    assert "1 well with images, but not in the layout (H12)" in said
    assert "  B      ?  +  o  o" in said
    assert "24-well" not in said


def test_several_plates_with_two_treatments_in_a_well(tmp_path: Path) -> None:
    wells = ["A01", "A02", "A03", "A04"]
    folder = images_of(images_of(tmp_path / "run", wells, plate="P1"), wells, plate="P2")
    (folder / "layout.csv").write_text(
        "Plate,Well,Role,Compound,Conc. [uM],Compound 2,Conc 2,Unit 2\n" + "".join(
            f"{plate},A1,negative,DMSO,,,,\n{plate},A2,positive,killer,5,,,\n{plate},A3,treated,a,{dose},,,\n{plate},A4,treated,a,{dose},b,{dose},%\n"
            for plate, dose in (("P1", 1), ("P2", 10))), encoding="utf-8")
    source = Source(folder=folder, pattern="{plate}/{well}.tif")
    said = "\n".join(add_screen(Request(source=source, name="mine", out=tmp_path / "data"), progress=False))
    layout = read_layout(tmp_path / "data" / "mine" / "layout.csv", plate_format=96)
    assert layout.loc[layout["treatment_2"] == "b", ["plate", "dose", "dose_2", "dose_unit_2"]].values.tolist() == [
        ["P1", 1000.0, 1.0, "%"], ["P2", 10_000.0, 10.0, "%"]]
    assert "a: 2 doses 1000-10000 nM, 1 replicate" in said
    assert "a + b: 2 doses 1000-10000 nM with 2 doses 1-10 %, 2 wells" in said
    assert "plates P1, P2   (- negative, + positive, o treated)" in said
    assert sorted(path.name for path in (tmp_path / "data" / "mine" / "images").iterdir()) == ["P1.zip", "P2.zip"]


def test_folders_of_the_same_images_are_asked_about_once(tmp_path: Path) -> None:
    folder = images_of(images_of(tmp_path / "run", ["A01", "A02"], plate="P1"), ["A01", "A02"], plate="P2")
    (folder / "layout.csv").write_text("well,role,treatment,dose,unit\nA1,negative,DMSO,,\nA2,treated,a,5,nM\n", encoding="utf-8")
    with pytest.raises(ScreenError) as caught:
        add_screen(request(folder, tmp_path / "data"), progress=False)
    (finding,) = caught.value.findings
    assert (finding.rule, finding.value) == ("image_repeated", "P1, P2")
    assert "--pattern, such as '{plate}/*{well}*.tif'" in finding.message
    assert "read as plate run, well A01 (" in finding.message
    source = Source(folder=folder, pattern="{plate}/*{well}*.tif")
    add_screen(Request(source=source, name="mine", out=tmp_path / "data"), progress=False)
    assert sorted(path.name for path in (tmp_path / "data" / "mine" / "images").iterdir()) == ["P1.zip", "P2.zip"]


@pytest.mark.parametrize(("facts", "asked"), [({}, True), ({"sample": "mine"}, False)])
def test_a_sample_that_nobody_named_is_asked_for(tmp_path: Path, facts: dict[str, str], asked: bool) -> None:
    wanted = replace(request(lab_folder(tmp_path / "plate7"), tmp_path / "data"), name="mine", facts=facts)
    assert ("the sample is taken to be 'mine'" in "\n".join(add_screen(wanted, progress=False))) == asked


def test_patterns_of_plates_are_drawn_once_each_and_not_without_end() -> None:
    layout = pd.DataFrame([{"plate": f"P{number}", "well": f"A{column:02d}", "role": "treated", "treatment": "d", "dose": 1.0,
                            "dose_unit": "nM", "replicate": 1} for number in range(5) for column in range(1, number + 2)])
    lines = plate_maps(layout, layout, 96)
    assert sum(line.startswith("plate ") for line in lines) == 3
    assert lines[-1] == "... and 2 other patterns on other plates"
    screen = Screen.from_dict({"name": "s", "sample": "X"})
    assert "d: 1 dose, 1 nM, 1 replicate" in summary(layout, screen, shapes=[(8, 6)], planes=1, sample_given=True)


@pytest.mark.parametrize("name", ["../elsewhere", "my screen", ".", "a.b", "-x", "x" * 101, ""])
def test_a_name_that_no_folder_or_stage_can_have_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScreenError, match="--name: a name is text of at most 100 letters"):
        add_screen(Request(source=Source(folder=tmp_path / "nowhere"), name=name, out=tmp_path / "data"), progress=False)
    assert not list(tmp_path.iterdir())
