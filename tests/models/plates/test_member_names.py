"""Names of images in plate archives: the contract's, usual ones that leave no question, and the questions of the others."""

from __future__ import annotations

import re

import pytest

from models.errors import InputError
from models.plates.member_names import judge_name, places_of, well_in

GUID = "0A1B2C3D-1111-2222-3333-444455556666"


def located(*names: str) -> list[tuple[str, int, int, int]]:
    assert [judge_name(name) for name in names] == [""] * len(names)
    return [place[1:] for place in places_of(names)]


@pytest.mark.parametrize(("names", "places"), [
    (["B03_s2_c1_z4.tif", "P1/b3_s1_c0_z0.TIFF"], [("B03", 2, 1, 4), ("B03", 1, 0, 0)]),
    (["A01.tif", "A2.tiff", "h12.PNG"], [("A01", 1, 0, 0), ("A02", 1, 0, 0), ("H12", 1, 0, 0)]),
    (["plate 7/run7-A01.tif", "plate 7/run7-A02.tif"], [("A01", 1, 0, 0), ("A02", 1, 0, 0)]),
    (["A01_s1.tif", "A01_s2.tif"], [("A01", 1, 0, 0), ("A01", 2, 0, 0)]),
    (["A01_f3_z2.tif", "A01_f3_z1.tif"], [("A01", 3, 0, 2), ("A01", 3, 0, 1)]),
    (["A01_w1.tif", "A01_w2.tif"], [("A01", 1, 0, 0), ("A01", 1, 1, 0)]),
    (["A01_c0.tif", "A01_c1.tif"], [("A01", 1, 0, 0), ("A01", 1, 1, 0)]),
    ([f"9987_E07_s1_w1{GUID}.tif", f"9987_E07_s1_w2{GUID}.tif"], [("E07", 1, 0, 0), ("E07", 1, 1, 0)]),
    (["x_A01_T0001F002L01A01Z03C01.tif", "x_A01_T0001F002L01A01Z03C02.tif"], [("A01", 2, 0, 3), ("A01", 2, 1, 3)]),
    (["r02c11f01p01-ch1sk1fk1fl1.tiff", "r02c11f01p01-ch2sk1fk1fl1.tiff"], [("B11", 1, 0, 1), ("B11", 1, 1, 1)]),
    (["Channel1-01-A-01.tif", "Channel2-01-A-01.tif"], [("A01", 1, 0, 0), ("A01", 1, 1, 0)]),
    (["002003-1-001001001.tif", "002003-1-001001002.tif"], [("B03", 1, 0, 1), ("B03", 1, 1, 1)]),
    (["B - 03(fld 2 wv UV - DAPI z 4).tif", "D - 8(fld 1 wv UV - DAPI z 4).tif"], [("B03", 2, 0, 4), ("D08", 1, 0, 4)]),
    (["V1_B3_2_00d06h00m.tif", "V1_D12_1_00d06h00m.tif"], [("B03", 2, 0, 0), ("D12", 1, 0, 0)]),
    (["A01_02_1_1_Bright Field_001.tif", "A02_02_1_1_Bright Field_001.tif"], [("A01", 1, 0, 0), ("A02", 1, 0, 0)]),
])
def test_names_that_leave_no_question(names: list[str], places: list[tuple[str, int, int, int]]) -> None:
    assert located(*names) == places


@pytest.mark.parametrize(("names", "question"), [
    (["A01_1.tif", "A01_2.tif"], "whether the number behind the well is a site"),
    (["A01_dna.tif", "A01_gfp.tif"], "which site, channel and plane"),
    (["A1.tif", "A01.tif"], "'A1.tif' and 'A01.tif' would be the same image of well A01"),
    (["run7-A01.tif", "run8-A02.tif"], "of several plates"),
    (["P1/A01.tif", "P2/A01.tif"], "of several plates"),
    (["A01_w2.tif", "A02_w2.tif"], "which of the screen's channels"),
    (["A01_w1.tif", "A02.tif"], "which of the screen's channels"),
    (["x_A01_T0001F001L01A01Z01C01.tif", "x_A01_T0002F001L01A01Z01C01.tif"], "of several times"),
    (["V1_B3_1_00d06h00m.tif", "V1_B3_1_00d12h00m.tif"], "of several times"),
    (["A - 01(fld 1 wv UV - DAPI).tif", "A - 01(fld 1 wv Blue - FITC).tif"], "which site, channel and plane"),
    (["A01_s1_c0_z0.tif", "A01_thumb.tif"], "A01_thumb.tif"),
    (["Z01.tif", "Z02.tif"], "no row from A to P"),
])
def test_names_that_leave_a_question_are_refused_with_it(names: list[str], question: str) -> None:
    with pytest.raises(InputError, match=re.escape(question)):
        located(*names)


@pytest.mark.parametrize("name", ["image.tif", "A01.txt", "A01.tif.bak", "AG01.tif", "A00.tif", "A100.tif",
                                  "r00c01f01p01-ch1sk1fk1fl1.tiff", f"r{'9' * 8}c01f01p01-ch1sk1fk1fl1.tiff",
                                  f"A01_s{'1' * 5000}_c0_z0.tif"])
def test_names_that_tell_no_well(name: str) -> None:
    assert "tells its well" in judge_name(name)
    assert not well_in(name)


def test_a_name_that_could_keep_the_patterns_busy_is_not_tried() -> None:
    assert judge_name("run_" * 70 + "A01.tif") == ""
    assert judge_name("A01_/" * 13_000 + "A01.tif")
