"""Bad input of many kinds, each with the finding that says what is wrong, where, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from models.plates.images import encode_tiff
from tests.validation.spoils import (
    Spoil,
    add_member,
    all_images,
    as_png,
    combine,
    copy_image,
    drop_column,
    drop_image,
    duplicate_well,
    huge_tiff,
    keep,
    merged_excel,
    one_column_of_controls,
    read_out,
    rename_archive,
    rename_wells,
    set_cell,
    set_image,
    set_screen,
    set_text,
    shift_rows,
    unbalanced,
)

if TYPE_CHECKING:
    from .conftest import Draft


GREY = np.full((16, 16), 90, np.uint8)
BAD: dict[str, tuple[Spoil, str, str]] = {  # what is bad -> how it comes about, rule, a part of the message
    "duplicate well": (duplicate_well, "well_unique", "keep one line"),
    "well outside the format": (set_cell("well", "A13"), "well_format", "lies outside a 96-well plate (rows A-H, columns 1-12)"),
    "1536 wells in a 384 layout": (lambda draft: (draft.screen.update(plate_format=384), set_cell("well", "AF48")(draft)),
                                   "well_format", "lies outside a 384-well plate"),
    "no well name": (set_cell("well", "here"), "well_name", "like A01 or AF48"),
    "missing column": (drop_column("dose"), "column_missing", "no column 'dose'; columns found: plate, well"),
    "two columns of one meaning": (lambda draft: draft.layout.insert(0, "Conc.", "1"), "column_repeated", "both mean dose"),
    "unknown role": (set_cell("role", "control"), "role_unknown", "use one of negative, positive"),
    "treatment missing": (set_cell("treatment", ""), "treatment_named", "names no treatment"),
    "treatment called NA": (set_cell("treatment", "NA"), "treatment_named", "NA, nan, none, null and - count as empty"),
    "text dose": (set_cell("dose", "ten"), "number", "'ten' in column dose is not a number"),
    "infinite dose": (set_cell("dose", "inf"), "number", "not a number"),
    "thousands comma": (lambda draft: draft.layout.__setitem__("dose", draft.layout["dose"].replace({"1000": "1,000", "10": "10.5"})),
                        "number", "without a comma"),
    "negative dose": (set_cell("dose", "-1"), "dose_by_role", "is negative"),
    "zero dose on a treated well": (set_cell("dose", "0"), "dose_by_role", "has dose 0"),
    "logarithms of doses": (lambda draft: draft.layout.__setitem__("dose", draft.layout["dose"].replace(
        {"1": "0.7", "10": "1.4", "100": "2.1", "1000": "2.8", "10000": "3.5", "100000": "4.2"})), "dose_logarithm",
        "give the doses themselves"),
    "NaN dose": (set_cell("dose", "NaN"), "dose_by_role", "has no dose"),
    "mixed units": (set_cell("dose_unit", "ug/mL"), "one_unit", "given in ug/mL here and in nM elsewhere"),
    "unknown unit": (set_cell("dose_unit", "apples"), "unit_unknown", "'apples' is not a unit"),
    "unit missing": (set_cell("dose_unit", ""), "unit_missing", "fill in dose_unit"),
    "unit contradicted": (set_cell("dose", "100 uM"), "unit_contradicted", "another unit"),
    "two cell lines": (lambda draft: draft.layout.insert(0, "Cell line", ["A549", "HEK293"] * (len(draft.layout) // 2)), "one_condition",
                       "column 'Cell line' tells 2 apart (A549, HEK293)"),
    "two patients by name of a sample": (lambda draft: draft.layout.insert(0, "Sample", ["PAT_1", "PAT_2"] * (len(draft.layout) // 2)),
                                         "one_condition", "column 'Sample' tells 2 apart"),
    "two times": (lambda draft: draft.layout.insert(0, "time", ["24", "48"] * (len(draft.layout) // 2)), "one_condition", "(24, 48)"),
    "text read-out": (lambda draft: draft.layout.insert(0, "OD450", ["high"] + ["1"] * (len(draft.layout) - 1)), "number", "'high'"),
    "read-outs mostly missing": (lambda draft: draft.layout.insert(0, "OD450", ["1"] * 9 + [""] * (len(draft.layout) - 9)),
                                 "readout_missing", "have no read-out"),
    "empty file": (set_text(lambda _: b""), "table_empty", "is empty"),
    "header only": (set_text(lambda draft: draft.csv().splitlines()[0]), "table_header_only", "but no rows"),
    "wrong delimiter": (set_text(lambda draft: draft.csv("~")), "column_missing", "is the delimiter one of"),
    "not a table": (set_text(lambda _: encode_tiff(GREY)), "table_unreadable", "not a text table"),
    "old Excel": (set_text(lambda _: b"\xd0\xcf\x11\xe0" + b"\0" * 99), "table_unreadable", "save it as .xlsx"),
    "control missing": (keep(lambda draft: draft.layout["role"] != "positive"), "controls_present",
                        "has no positive control well, where 3 are needed"),
    "image missing": (drop_image, "image_missing", "1 well of plate P1 has no image in images/P1.zip; add the images"),
    "image extra": (add_member("A07_s2_c0_z0.tif", encode_tiff(GREY)), "image_complete",
                    "2 sites of 1 plane, where most wells have 1 of 1"),
    "plate and archive named differently": (rename_archive, "plate_images", "is it 'P01'? archives found: P01"),
    "truncated TIFF": (set_image(lambda data: data[:len(data) // 2]), "image_unreadable", "copy it again"),
    "zero bytes": (set_image(b""), "image_empty", "zero bytes"),
    "no image at all": (set_image(b"hello"), "image_unreadable", "not an image"),
    "60000x60000 header in 4 kB": (set_image(huge_tiff), "image_too_large", "declares 3,600,000,000 pixels"),
    "32-bit image": (set_image(encode_tiff(GREY.astype(np.float32))), "image_depth", "expected 8- or 16-bit"),
    "8 and 16 bit mixed": (set_image(encode_tiff(GREY.astype(np.uint16))), "image_alike", "16 bit, grey, where 41 of the screen's are"),
    "sizes mixed": (set_image(encode_tiff(GREY[:8])), "image_alike", "8x16 pixels"),
    "colour mixed with grey": (set_image(encode_tiff(np.stack([GREY] * 3, -1))), "image_alike", "colour"),
    "deeper than stated": (all_images(lambda rng: rng.integers(0, 900, (16, 16)).astype(np.uint16)), "image_depth", "beyond the 8 bit"),
    "eight bits in sixteen": (all_images(lambda rng: rng.integers(0, 250, (16, 16)).astype(np.uint16)), "image_depth", "with 16 bit"),
    "RGB where grey is expected": (all_images(lambda rng: rng.integers(0, 255, (16, 16, 3)).astype(np.uint8), channels=["hoechst"]),
                                   "image_colour", "export single channels"),
    "channel missing": (set_screen(channels=["gfp", "dna"]), "image_complete", "42 wells of plate P1 have no image of channel 1"),
    "channel unknown": (add_member("A07_s1_c1_z0.tif", encode_tiff(GREY)), "image_complete", "images of channel 1"),
    "all black": (set_image(encode_tiff(GREY * 0), places=24), "image_uniform", "24 of 42 wells of plate P1 are black"),
    "all saturated": (set_image(encode_tiff(GREY * 0 + 255), places=24), "image_saturated", "24 of 42 wells of plate P1 are mostly white"),
    "zip slip": (add_member("../../A01_s1_c0_z0.tif"), "archive_name", "leads outside the archive"),
    "zip bomb": (add_member("A01_s9_c0_z0.tif", b"\0" * 3_000_000, compressed=True), "archive_size", "refused as a zip bomb"),
    "symbolic link in the archive": (add_member("A01_s9_c0_z0.tif", b"/etc/passwd", link=True), "archive_link", "put the image itself"),
    "combination with one dose missing": (combine(lambda at: at.assign(treatment_2="olaparib", dose_2=["50"] + [""] * (len(at) - 1),
                                                                       dose_unit_2="nM")), "combination", "give dose_2"),
    "second dose without a treatment": (combine(lambda at: at.assign(treatment_2="", dose_2="50", dose_unit_2="nM")),
                                        "combination", "name the second treatment"),
    "a treatment combined with itself": (combine(lambda at: at.assign(treatment_2=at["treatment"], dose_2="50", dose_unit_2="nM")),
                                         "combination", "combine a treatment with itself"),
    "second treatment in another unit": (combine(lambda at: at.assign(treatment_2="cisplatin", dose_2="5", dose_unit_2="ug/mL")),
                                         "one_unit", "given in ug/mL here and in nM elsewhere"),
    "controls off their pattern": (set_screen(control_pattern={"positive": "A1-H1"}), "control_pattern",
                                   "6 wells should be positive and are not (A01, B01, C01, D01, F01, G01); 4 wells should not be"),
    "no archive": (lambda draft: draft.images.clear(), "plate_images", "add the images"),
}
MARKED: dict[str, tuple[Spoil, str, str]] = {
    "A1 for A01": (rename_wells(lambda well: well.replace("0", "") if well[1] == "0" else well), "well_renamed", "read as meant"),
    "lower case": (rename_wells(str.lower), "well_renamed", "read as meant"),
    "extra column": (lambda draft: draft.layout.insert(0, "notes", "x"), "column_unused", "kept as it is"),
    "one cell line": (lambda draft: draft.layout.insert(0, "Cell line", ["", "A549", "a549"] * (len(draft.layout) // 3)), "column_unused",
                      "kept as it is"),
    "pooled lines to pre-train on": (lambda draft: draft.layout.insert(0, "line", ["mix-1", "mix-2"] * (len(draft.layout) // 2)),
                                     "column_unused", "kept as it is"),
    "a number of each well": (lambda draft: draft.layout.insert(0, "Sample ID", [f"S{row}" for row in draft.layout.index]), "column_unused",
                              "kept as it is"),
    "two vehicles": (lambda draft: draft.layout.__setitem__("treatment", draft.layout["treatment"].mask(
        draft.layout["role"] == "negative", pd.Series(["DMSO 0.1 %", "DMSO 0.5 %"] * (len(draft.layout) // 2)))), "controls_mixed",
        "negative controls of plate P1 hold 2 things"),
    "no plate column": (lambda draft: (drop_column("plate")(draft), draft.images.update(plate1=draft.images.pop("P1"))),
                        "plate_default", "taken as plate 'plate1'"),
    "no unit column": (drop_column("dose_unit"), "unit_default", "read as nM"),
    "shifted by rows, so that it is read as 384 wells": (shift_rows, "format_doubtful", "shifted by a row or column?"),
    "a slip that makes it 384 wells": (lambda draft: (draft.screen.update(plate_format=384), draft.layout.__setitem__(
        "well", draft.layout["well"].replace("A07", "P24")), draft.images["P1"].__setitem__(
        "P24_s1_c0_z0.tif", draft.images["P1"].pop("A07_s1_c0_z0.tif"))), "format_doubtful", "wells but P24 are those of a plate of 96"),
    "decimal comma": (set_text(lambda draft: (set_cell("dose", "1,5")(draft), draft.csv(";"))[1]), "decimal_comma", "1,5 is read as 1.5"),
    "UTF-16": (set_text(lambda draft: draft.csv(encoding="utf-16")), "table_repaired", "read as utf-16"),
    "Latin-1": (set_text(lambda draft: draft.csv().replace(b"nM", "µM".encode("latin-1"))), "table_repaired", "read as cp1252"),
    "Excel with merged cells": (set_text(merged_excel), "table_repaired", "merged cell"),
    "dose of a control": (set_cell("dose", "0.1", role="negative"), "dose_of_control", "not used as one"),
    "two spellings": (set_cell("treatment", "Cis-platin®"), "treatment_spelling", "spell them alike"),
    "controls in one column": (one_column_of_controls, "controls_spread", "in one column"),
    "controls unbalanced": (unbalanced, "controls_balanced", "13 negative and 3 positive"),
    "too few replicates": (keep(lambda draft: (draft.layout["role"] != "treated")
                                | ~draft.layout.duplicated(["treatment", "dose"])), "replicates", "fewer than 2 wells"),
    "one dose only": (keep(lambda draft: (draft.layout["treatment"] != "cisplatin") | (draft.layout["dose"] == "1000")),
                      "dose_count", "has 1 dose (1000 nM)"),
    "narrow doses": (lambda draft: draft.layout.__setitem__("dose", draft.layout["dose"].replace(
        {"1": "10", "10": "20", "100": "30", "1000": "40", "10000": "50", "100000": "60"})), "dose_range", "test a wider range"),
    "mistyped dose": (lambda draft: draft.layout.__setitem__("dose", draft.layout["dose"].replace({"1000": "700"})),
                      "dose_ratio", "is a dose missing or mistyped?"),
    "PNG named .tif": (set_image(as_png), "image_kind", "PNG named .tif"),
    "duplicate image files": (copy_image, "image_duplicate", "one was copied over the other"),
    "one black image": (set_image(encode_tiff(GREY * 0)), "image_uniform", "or exclude the wells"),
    "other positive control": (set_screen(positive_control={"image": "benzethonium"}), "controls_named", "screen.yaml names benzethonium"),
    "combination without any dose": (lambda draft: draft.layout.insert(6, "AddOn", ["x"] * len(draft.layout)), "combination",
                                     "give dose_2"),
    "parts of a combination not tested alone": (combine(lambda at: at.assign(treatment_2="olaparib", dose_2="50", dose_unit_2="nM")),
                                                "combination_parts", "no wells with gemcitabine 1, gemcitabine 10"),
    "read-out below zero": (read_out(lambda values: values - 0.3), "readout_negative", "is the blank subtracted twice?"),
    "read-out beyond the reader's range": (read_out(lambda values: values.replace(values.max(), 4.2)), "readout_high", "above OD 4"),
    "saturated read-outs": (read_out(lambda values: values.clip(upper=1.2)), "readout_saturated", "as a saturated reader gives it"),
    "read-out missing in one well": (read_out(lambda values: values.mask(values == values.max())), "readout_missing",
                                     "1 of 42 wells of plate P1 has no read-out"),
}


def test_the_good_screen_says_nothing(draft: Draft, two_plates: Draft, tmp_path: Path) -> None:
    assert draft.judge(tmp_path / "one").findings == ()
    assert two_plates.judge(tmp_path / "two").findings == ()


@pytest.mark.parametrize(("spoil", "rule", "message"), BAD.values(), ids=BAD)
def test_refused(draft: Draft, tmp_path: Path, spoil: Spoil, rule: str, message: str) -> None:
    spoil(draft)
    verdict = draft.judge(tmp_path / "screen")
    assert not verdict.accepted
    found = [finding for finding in verdict.errors if finding.rule == rule]
    assert found, verdict.findings
    assert message in found[0].message


@pytest.mark.parametrize(("spoil", "rule", "message"), MARKED.values(), ids=MARKED)
def test_marked(draft: Draft, tmp_path: Path, spoil: Spoil, rule: str, message: str) -> None:
    spoil(draft)
    verdict = draft.judge(tmp_path / "screen")
    assert verdict.accepted, verdict.errors
    found = [finding for finding in verdict.warnings if finding.rule == rule]
    assert found, verdict.findings
    assert message in found[0].message


def test_an_image_of_a_well_that_the_layout_does_not_name(draft: Draft, tmp_path: Path) -> None:
    row = draft.layout.iloc[draft.at("treated")]
    draft.layout = draft.layout.drop(index=row.name).reset_index(drop=True)
    finding, = draft.judge(tmp_path / "screen").errors
    assert (finding.rule, finding.plate, finding.well) == ("image_extra", "P1", row["well"])


def test_a_positive_control_that_is_called_pc_is_no_other_compound(draft: Draft, tmp_path: Path) -> None:
    set_screen(positive_control={"image": "staurosporine"})(draft)
    draft.layout.loc[draft.layout["role"] == "positive", "treatment"] = "PC"
    assert "controls_named" not in {finding.rule for finding in draft.judge(tmp_path / "screen").findings}


def test_a_control_missing_on_one_plate_of_two(two_plates: Draft, tmp_path: Path) -> None:
    layout = two_plates.layout
    keep(lambda draft: (layout["role"] != "negative") | (layout["plate"] == "P1"))(two_plates)
    assert [finding.plate for finding in two_plates.judge(tmp_path / "screen").errors if finding.rule == "controls_present"] == ["P2"]


def test_a_well_under_two_spellings_is_a_well_twice(draft: Draft, tmp_path: Path) -> None:
    first, second = draft.at("treated", 0), draft.at("treated", 1)
    draft.layout.loc[second, "well"] = draft.layout.at[first, "well"].replace("0", "").lower()   # a7 beside A07
    finding = next(finding for finding in draft.judge(tmp_path / "screen").errors if finding.rule == "well_unique")
    assert finding.well == draft.layout.at[first, "well"]
    assert f"(lines {first + 2}, {second + 2})" in finding.message


def test_the_pattern_of_controls_names_the_turn_by_which_a_layout_would_fit(full_plates: Draft, tmp_path: Path) -> None:
    roles = full_plates.layout[full_plates.layout["plate"] == "P2"].groupby("role")["well"]
    full_plates.screen["control_pattern"] = {role: ", ".join(roles.get_group(role)) for role in ("negative", "positive")}
    found = [finding for finding in full_plates.judge(tmp_path / "three").errors if finding.rule == "control_pattern"]
    assert {(finding.plate, finding.value) for finding in found} == {(plate, role) for plate in ("P1", "P3")
                                                                    for role in ("negative", "positive")}
    here = full_plates.layout["plate"] == "P2"
    wells = full_plates.layout.loc[here, "well"]
    full_plates.layout = full_plates.layout[here].assign(well=[f"{'HGFEDCBA'['ABCDEFGH'.index(well[0])]}{13 - int(well[1:]):02d}"
                                                               for well in wells]).reset_index(drop=True)
    full_plates.images = {"P2": full_plates.images["P2"]}
    found = [finding for finding in full_plates.judge(tmp_path / "turned").errors if finding.rule == "control_pattern"]
    assert [finding.plate for finding in found] == ["P2", "P2"]
    assert all("it would if it were rotated by 180 degrees" in finding.message for finding in found)


def test_what_is_wrong_alike_in_many_wells_is_said_once(draft: Draft, tmp_path: Path) -> None:
    for member in list(draft.images["P1"])[:5]:
        draft.images["P1"][member] = b""
    draft.layout["dose"] = draft.layout["dose"].replace({"1000": "much"})
    findings = {finding.rule: finding for finding in draft.judge(tmp_path / "screen").errors}
    assert len(findings["image_empty"].wells) == 5
    assert findings["image_empty"].message.startswith("5 images of plate P1 (A04_s1_c0_z0.tif, A07_s1_c0_z0.tif and 3 more): each has zero")
    assert len(findings["number"].wells) == (draft.layout["dose"] == "much").sum()
    assert str(findings["number"]).endswith("wells B04, B08, B11, C12, D04, D10, E01, E09 and 3 more, column dose)")


def test_one_image_twice_in_an_archive(draft: Draft, tmp_path: Path) -> None:
    name = draft.member(draft.at("treated"))
    draft.images["P1"][name.lower().replace("_s1", "_s01")] = draft.images["P1"][name]
    assert "one image twice in the archive" in draft.judge(tmp_path / "screen").errors[0].message


def test_blanks_and_unicode_in_names_are_fine(draft: Draft, tmp_path: Path) -> None:
    draft.layout["plate"] = "Plate é 1"
    draft.layout["treatment"] = draft.layout["treatment"].replace({"cisplatin": "α-cis platin"})
    draft.images = {"Plate é 1": draft.images["P1"]}
    assert draft.judge(tmp_path / "a screen ü").findings == ()


def test_wells_excluded_by_a_person_are_not_judged(draft: Draft, tmp_path: Path) -> None:
    drop_image(draft)
    draft.layout["excluded"] = ["yes" if row == draft.at("treated") else "no" for row in draft.layout.index]
    assert {finding.rule for finding in draft.judge(tmp_path / "screen").findings} <= {"replicates"}


@pytest.mark.parametrize(("controls", "roles", "accepted"), [
    ("both", ("negative", "positive"), True), ("both", ("negative",), False), ("negative", ("negative",), True),
    ("negative", ("positive",), False), ("none", (), True)])
def test_controls_as_the_screen_declares_them(draft: Draft, tmp_path: Path, controls: str, roles: tuple[str, ...], accepted: bool) -> None:
    keep(lambda draft: draft.layout["role"].isin([*roles, "treated"]))(draft)
    draft.screen["controls"] = controls
    assert draft.judge(tmp_path / "screen").accepted is accepted
