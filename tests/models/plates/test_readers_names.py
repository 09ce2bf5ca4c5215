"""Names by pattern, and files that hold several channels and times: each place, channel and plane where it belongs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from models.errors import InputError
from models.plates.planes import open_planes
from models.plates.readers import Found, Source, read_source
from models.plates.readers.pattern import compile_pattern
from tests.models.plates.image_folders import HTD, files_in, places


@pytest.mark.parametrize(("names", "odd"), [
    (("P1/TimePoint_1/x_B02_s1_w1.TIF", "P1/TimePoint_1/x_B02_s1_w1_thumb.TIF", "P1/TimePoint_1/x_B02_s1 (2).TIF"), "x_B02_s1 (2).TIF"),
    (("Images/r02c02f01p01-ch1sk1fk1fl1.tiff", "Images/r02c02f01p01-ch1.tiff"), "r02c02f01p01-ch1.tiff")])
def test_images_whose_names_say_no_place_are_told(tmp_path: Path, names: tuple[str, ...], odd: str) -> None:
    folder = files_in(tmp_path / "run", *names)
    if "P1" in names[0]:
        (folder / "P1" / "x.HTD").write_text(HTD, encoding="latin-1")
    found = read_source(Source(folder=folder, plate="P1"))
    assert len(found.files) == 1
    assert [(item.rule, item.severity, item.value) for item in found.findings] == [("pattern_unmatched", "warning", odd)]


def test_a_template_names_the_parts_and_folders_count(tmp_path: Path) -> None:
    folder = files_in(tmp_path, "P7/run_B02_f2_z05_dna.tif", "P7/run_B02_f2_z03_dna.tif", "P7/run_B03_f1_z01_GFP 2.tif", "P7/other.tif")
    found = read_source(Source(folder=folder, pattern="{plate}/*_{well}_f{field}_z{z}_{channel}.tif"))
    assert places(found) == [("P7", "B02", 2, "dna", 0, "run_B02_f2_z03_dna.tif"), ("P7", "B02", 2, "dna", 1, "run_B02_f2_z05_dna.tif"),
                             ("P7", "B03", 1, "gfp_2", 0, "run_B03_f1_z01_GFP 2.tif")]
    assert [(item.rule, item.severity) for item in found.findings] == [("pattern_unmatched", "warning")]


@pytest.mark.parametrize(("names", "expected"), [
    (("002002-1-001001002.tif", "004008-2-003001001.tif"), [("B02", 1, "ch2", 0), ("D08", 2, "ch1", 0)]),       # Columbus
    (("B - 2(fld 01 wv UV - DAPI z 1).tif", "D - 08(fld 2 wv Blue - FITC z 1).tif"),
     [("B02", 1, "uv_dapi", 0), ("D08", 2, "blue_fitc", 0)]),
    (("V_B2_1_00d06h00m.tif", "V_B2_1_01d00h00m.tif"), [("B02", 1, "brightfield", 0)]),                          # the last of two times
    (("B02_T5.tif", "B02_T12.tif"), [("B02", 1, "brightfield", 0)]),
    (("P1_B02.tif", "P1_B03.tif"), [("B02", 1, "brightfield", 0), ("B03", 1, "brightfield", 0)]),       # plate 1, not well P01
    (("B02_D0.tif", "B02_D3.tif", "B03_D0.tif"), [("B02", 1, "d0", 0), ("B02", 1, "d3", 0), ("B03", 1, "d0", 0)]),
    (("B002.tif", "B003.tif"), [("B02", 1, "brightfield", 0), ("B03", 1, "brightfield", 0)]),
    (("B02.tif", "B03.tif"), [("B02", 1, "brightfield", 0), ("B03", 1, "brightfield", 0)]),
    (("x_B02_s2_w1.tif", "x_B03_s1_w2.tif"), [("B02", 2, "ch1", 0), ("B03", 1, "ch2", 0)]),
    (("B02_S2_Z3_W1.TIF", "B02_S2_Z4_W1.TIF"), [("B02", 2, "ch1", 0), ("B02", 2, "ch1", 1)]),       # not channels of one site and plane
    (("B02_s1_cy5.tif", "B03_s1_wga.tif", "B04_s1_cherry.tif"), [("B02", 1, "cy5", 0), ("B03", 1, "wga", 0), ("B04", 1, "cherry", 0)]),
    (("B02_t1_c2.tif", "B02_t3_c2.tif"), [("B02", 1, "ch2", 0)]),                                                # the last of two times
    (("B02_s2_t1_z1_c2.tif", "B02_s2_t3_z1_c2.tif", "B02_s2_t3_z2_c2.tif"), [("B02", 2, "ch2", 0), ("B02", 2, "ch2", 1)]),
    (("B02_dapi_t1.tif", "B02_dapi_t3.tif"), [("B02", 1, "dapi", 0)]),
    (("Channel1-01-B-02.tif", "Channel2-01-D-08.tif"), [("B02", 1, "channel1", 0), ("D08", 1, "channel2", 0)]),
    (("y_D08_T0001F003L01A01Z02C02.tif", "y_D08_T0001F003L01A01Z01C02.tif"), [("D08", 3, "ch2", 0), ("D08", 3, "ch2", 1)]),
])
def test_usual_names_need_no_pattern(tmp_path: Path, names: tuple[str, ...], expected: list[tuple[object, ...]]) -> None:
    found = read_source(Source(folder=files_in(tmp_path, *names)))
    assert (found.convention, [place[1:5] for place in places(found)]) == ("pattern", expected)


def test_channels_and_plates_are_counted_not_spelt(tmp_path: Path) -> None:
    """w10 came before w2: in screen.yaml, in the numbers of the images and on the page; and plate 10 before plate 2."""
    waves = [f"P{plate}/x_B02_s1_w{wave}.tif" for plate in (1, 2, 10) for wave in range(1, 12)]
    found = read_source(Source(folder=files_in(tmp_path / "usual", *waves), pattern="{plate}/*_{well}_s{site}_{channel}.tif"))
    assert found.channels == tuple(f"w{wave}" for wave in range(1, 12))
    assert found.raw_layout["plate"].unique().tolist() == ["P1", "P2", "P10"]
    guid = "0A1B2C3D-0A1B-0A1B-0A1B-0A1B2C3D4E5F"
    named = [f"x_B02_s1_w{wave}{guid}.TIF" for wave in range(1, 12)]
    assert read_source(Source(folder=files_in(tmp_path / "metaxpress", *named))).channels == tuple(f"w{wave}" for wave in range(1, 12))


def test_a_well_behind_anything_does_not_begin_within_a_word(tmp_path: Path) -> None:
    """"un7" of run7 was the well of every image."""
    folder = files_in(tmp_path, "run7_A1_w1.tif", "run7-B12_w1.tif", "C03.tif")
    found = read_source(Source(folder=folder, pattern="*{well}*.tif", layout=False))
    assert sorted(found.files["well"]) == ["A01", "B12", "C03"]


def test_a_regular_expression_works_and_bad_patterns_say_why(tmp_path: Path) -> None:
    folder = files_in(tmp_path / "r", "r2c3.tif", "r4c8.tif")
    found = read_source(Source(folder=folder, pattern=r"r(?P<row>\d+)c(?P<column>\d+)"))
    assert sorted(found.files["well"]) == ["B03", "D08"]
    with pytest.raises(InputError, match="time 'x' holds no number"):
        read_source(Source(folder=files_in(tmp_path / "t", "B02_x.tif"), pattern=r"(?P<well>B\d+)_(?P<time>.)\.tif"))
    (assumed,) = read_source(Source(folder=files_in(tmp_path / "s", "B02_1.tif", "B02_2.tif"))).findings
    assert (assumed.rule, assumed.severity) == ("site_assumed", "warning")
    for text, words in (("{wel}.tif", "is no part"), ("{site}.tif", r"needs \{well\}"), ("(?P<well>[", "no regular expression")):
        with pytest.raises(InputError, match=words):
            compile_pattern(text)
    with pytest.raises(InputError, match="fits none of 2 images"):
        read_source(Source(folder=folder, pattern="{well}_never.tif"))


def test_names_without_wells_are_no_convention_and_a_missing_layout_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not recognised by any of"):
        read_source(Source(folder=files_in(tmp_path / "a", "one.tif", "two.tif")))
    (tmp_path / "a").joinpath("one.tif").unlink()
    (tmp_path / "a").joinpath("two.tif").rename(tmp_path / "a" / "B02.czi")
    with pytest.raises(InputError, match=r"only 1 \.czi and 1 \.csv|only 1 \.csv and 1 \.czi"):
        read_source(Source(folder=tmp_path / "a"))
    with pytest.raises(InputError, match="name the layout with --platemap"):
        read_source(Source(folder=files_in(tmp_path / "b", "B02.tif", layout="")))


def ome_tiff(path: Path, shape: tuple[int, ...], axes: str, **metadata: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(int(np.prod(shape[:-2])), dtype=np.uint16).reshape((*shape[:-2], 1, 1)) + np.zeros(shape, np.uint16)
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": axes, **metadata})


def first_values(found: Found) -> dict[tuple[str, str], list[int]]:
    """(well, channel) -> grey value of each plane."""
    values = {}
    for row in found.files.to_dict("records"):
        with open_planes(row["path"], row["part"]) as planes:
            values[row["well"], row["channel"]] = [int(plane[0, 0]) for plane in planes]
    return values


def test_ome_tiffs_are_taken_apart_into_their_channels(tmp_path: Path) -> None:
    folder = files_in(tmp_path)
    for well in ("B02", "B03"):
        ome_tiff(folder / f"run_{well}.ome.tif", (2, 3, 8, 8), "CZYX", Channel={"Name": ["DAPI", "GFP"]}, PhysicalSizeX=0.325,
                 PhysicalSizeXUnit="µm")
    found = read_source(Source(folder=folder, pattern="run_{well}.ome.tif"))
    assert (found.channels, found.facts["pixel_size_um"]) == (("dapi", "gfp"), 0.325)
    assert first_values(found) == {(well, name): values for well in ("B02", "B03")
                                   for name, values in (("dapi", [0, 1, 2]), ("gfp", [3, 4, 5]))}
    named = read_source(Source(folder=folder, pattern="run_{well}.ome.tif", channels={"nuclei": "dapi"}))
    assert (named.channels, len(named.files)) == (("nuclei",), 2)


def test_times_inside_a_file_are_chosen_and_the_choice_is_said(tmp_path: Path) -> None:
    folder = files_in(tmp_path)
    ome_tiff(folder / "B02.ome.tif", (3, 2, 8, 8), "TCYX")
    found = read_source(Source(folder=folder, pattern="{well}.ome.tif"))
    assert first_values(found) == {("B02", "c0"): [4], ("B02", "c1"): [5]}
    assert [item.rule for item in found.findings] == ["timepoints"]
    early = read_source(Source(folder=folder, pattern="{well}.ome.tif", timepoint=0))
    assert first_values(early) == {("B02", "c0"): [0], ("B02", "c1"): [1]}
    with pytest.raises(InputError, match=r"no time point 3; B02\.ome\.tif has 0 to 2"):
        read_source(Source(folder=folder, pattern="{well}.ome.tif", timepoint=3))
    with pytest.raises(InputError, match="neither names nor files tell times"):
        read_source(Source(folder=files_in(tmp_path / "plain", "B02.tif"), timepoint=0))


def test_a_table_may_name_files_of_several_channels(tmp_path: Path) -> None:
    ome_tiff(tmp_path / "a.ome.tif", (2, 8, 8), "CYX", Channel={"Name": ["DAPI", "DAPI"]})
    (tmp_path / "map.csv").write_text("well,role,treatment,dose,file\nB02,negative,,0,a.ome.tif\n", encoding="utf-8")
    found = read_source(Source(folder=tmp_path))
    assert (found.convention, found.channels) == ("table", ("c0", "c1"))     # two of the same name keep their numbers
    assert first_values(found) == {("B02", "c0"): [0], ("B02", "c1"): [1]}
