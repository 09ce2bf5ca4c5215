"""A screen that is there already: plates that join it, and one that is replaced copies what changed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import ScreenError
from models.plates.images import PlateArchive, encode_tiff
from models.plates.layout import parse_layout, read_layout
from pipelines import image_copy, screen_tables
from pipelines.add_screen import add_screen, main
from pipelines.exclude import Choice, apply_choice
from pipelines.screen_tables import number_replicates
from pipelines.screens import read_screen
from tests.pipelines.lab import content, edit, pixels, request


def plates_folder(path: Path, *plates: str) -> Path:
    """A source of plates, one negative, one positive and two treated wells each, whose images differ."""
    roles = ("negative,,", "positive,killer,100", "treated,drug,1", "treated,drug,10")
    rows = ["plate,well,role,compound,dose,unit,image"]
    for number, plate in enumerate(plates):
        for column, role in enumerate(roles, start=1):
            name = f"{plate}/A{column}.tif"
            (path / plate).mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(encode_tiff(pixels(10 * number + column)))
            rows.append(f"{plate},A{column},{role},uM,{name}")
    (path / "platemap.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def copied_now(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Plates that are copied from now on."""
    copied: list[str] = []
    write = image_copy.write_plate
    monkeypatch.setattr(image_copy, "write_plate", lambda path, images: (copied.append(path.stem), write(path, images)))
    return copied


def test_a_screen_that_is_replaced_copies_what_changed_and_is_as_from_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out, copied, numbers = plates_folder(tmp_path / "s", "P1", "P2"), tmp_path / "data", copied_now(monkeypatch), count()

    def again(**options: object) -> list[str]:
        copied.clear()
        said = add_screen(request(source, out, force=True, **options), progress=False)
        found = sorted(copied)
        assert any("as they were" in line for line in said) == (len(found) < len(list((out / "mine" / "images").iterdir())))
        fresh = tmp_path / f"fresh{next(numbers)}"
        add_screen(request(source, fresh, **options), progress=False)
        assert content(out) == content(fresh)
        return found

    archives = out / "mine" / "images"
    assert again() == ["P1", "P2"]
    plates_folder(source, "P1", "P2", "P3")
    for image in (*source.glob("P1/*.tif"), *source.glob("P2/*.tif")):
        os.utime(image, (1, 1))
    again()
    assert again() == []
    (source / "P2" / "A3.tif").write_bytes(encode_tiff(pixels(200)))        # of the same size
    assert again() == ["P2"]
    edit(source, "treated,drug,10", "treated,drug,20")
    assert again() == []
    shutil.copy(archives / "P1.zip", tmp_path / "copy.zip")     # as DVC puts its own copy or a symbolic link in the place of a file
    (archives / "P1.zip").unlink()
    (archives / "P1.zip").symlink_to(tmp_path / "copy.zip")
    assert again() == []
    assert not (archives / "P1.zip").is_symlink()
    (archives / "P3.zip").unlink()
    shutil.copy(archives / "P1.zip", archives / "P3.zip")       # another content by the same name
    assert again() == ["P3"]
    (archives / "P1.zip").write_bytes(b"damaged")
    assert again() == ["P1"]
    monkeypatch.setattr(image_copy, "CODE", (tmp_path,))
    assert again() == ["P1", "P2", "P3"]


def test_plates_of_another_folder_join_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, facts = tmp_path / "data", {"sample": "U2OS", "magnification": 20.0}
    first, later = plates_folder(tmp_path / "week1", "P1", "P2"), plates_folder(tmp_path / "week2", "P3")
    add_screen(request(first, out, facts=facts), progress=False)
    apply_choice(out / "mine", Choice(wells=("P1:A03",), reason="pipetted twice"))
    (out / "mine" / "truth").mkdir()
    (out / "mine" / "truth" / "wells.csv").write_text("well\n")
    before, copied = content(out / "mine"), copied_now(monkeypatch)
    said = add_screen(request(later, out, add=True), progress=False)
    assert copied == ["P3"]
    assert f"{out / 'mine'}: 1 plate(s) added" in said
    after = content(out / "mine")
    assert {name for name in after if after[name] != before.get(name)} == {"layout.csv", "screen.yaml", "images/P3.zip"}
    assert set(before) < set(after)
    add_screen(request(plates_folder(tmp_path / "all", "P1", "P2", "P3"), tmp_path / "whole", facts=facts), progress=False)
    layout, whole = (read_layout(place / "mine" / "layout.csv", plate_format=96) for place in (out, tmp_path / "whole"))
    pd.testing.assert_frame_equal(layout[whole.columns.tolist()], whole)      # replicates count on
    assert layout.loc[layout["excluded"], ["plate", "well", "exclusion_reason"]].to_numpy().tolist() == [["P1", "A03", "pipetted twice"]]
    screen = read_screen(out / "mine")
    assert (screen.sample, screen.magnification, screen.source.count("sha256")) == ("U2OS", 20, 2)
    (out / "mine").rename(out / ".mine.replaced-999999999")     # killed before its successor took its place
    assert "already there" in add_screen(request(later, out, add=True), progress=False)[0]
    assert content(out / "mine") == after
    add_screen(request(plates_folder(tmp_path / "week3", "P4"), out, add=True), progress=False)
    assert copied == ["P3", "P1", "P2", "P3", "P4"]     # those of the whole one between
    said = add_screen(request(first, out, force=True), progress=False)
    assert "warning: plate(s) P3, P4 are in the screen no longer, because the source does not hold them" in said


@pytest.mark.parametrize(("plates", "options", "message"), [
    (("P9", "P2"), {}, r"has plate\(s\) P2 already; give the new ones other names"),
    (("P9",), {"facts": {"sample": "HeLa"}}, "do not fit screen 'mine' .sample: U2OS there, HeLa here.; bring them in as a"),
    (("P9",), {"bits": 16}, "bit_depth: 8 there, 16 here"),
    (("P9",), {"channel": "dapi"}, "channels: brightfield there, dapi here")])
def test_plates_that_do_not_fit_do_not_join(tmp_path: Path, plates: tuple[str, ...], options: dict[str, object], message: str) -> None:
    out, other = tmp_path / "data", plates_folder(tmp_path / "other", *plates)
    add_screen(request(plates_folder(tmp_path / "s", "P1", "P2"), out, facts={"sample": "U2OS"}), progress=False)
    before = content(out)
    if options.pop("bits", 8) == 16:
        for image in other.rglob("*.tif"):
            image.write_bytes(encode_tiff(pixels(7).astype(np.uint16)))
    asked = request(other, out, add=True, facts=options.get("facts", {}))
    if channel := options.get("channel"):
        asked = replace(asked, source=replace(asked.source, channels={str(channel): "image"}))
    with pytest.raises(ScreenError, match=message):
        add_screen(asked, progress=False)
    assert content(out) == before
    with pytest.raises(ScreenError, match=r"nobody' cannot be used"):
        add_screen(replace(asked, name="nobody"), progress=False)


def test_a_treatment_in_a_unit_that_cannot_be_converted_does_not_join(tmp_path: Path) -> None:
    out = tmp_path / "data"
    add_screen(request(plates_folder(tmp_path / "one", "P1"), out), progress=False)
    before, other = content(out), plates_folder(tmp_path / "two", "P2")
    for dose in ("1", "10"):
        edit(other, f"treated,drug,{dose},uM", f"treated,drug,{dose},ug/mL")
    with pytest.raises(ScreenError, match=r"screen 'mine' \(drug: nM there, ug/mL here\), which cannot be converted"):
        add_screen(request(other, out, add=True), progress=False)
    assert content(out) == before


def test_replicates_count_on_whether_or_not_both_tables_have_columns_of_a_second_treatment() -> None:
    """They began at 1 again, so that a dose had two first replicates; the combination was counted as the treatment alone."""
    wells = pd.DataFrame({"plate": "P1", "well": ["A01", "A02", "A03"], "role": "treated", "treatment": ["x", "x", "y"],
                          "dose": ["1", "1", "2"], "dose_unit": "nM"}, dtype="str")
    both = wells.assign(plate="P2", treatment_2=["", "z", ""], dose_2=["", "3", ""], dose_unit_2=["", "nM", ""])
    plain, mixed = (number_replicates(parse_layout(table, plate_format=96).layout) for table in (wells, both))
    assert number_replicates(mixed, after=plain)["replicate"].tolist() == [3, 1, 2]
    assert number_replicates(plain, after=mixed)["replicate"].tolist() == [2, 3, 2]
    thrice = number_replicates(mixed.assign(plate="P3"), after=number_replicates(mixed.assign(treatment_2=["z", "z", ""], dose_2=3.0)))
    assert thrice["replicate"].tolist() == [1, 3, 1]


def test_replicates_count_through_all_plates_unless_the_table_states_them(tmp_path: Path) -> None:
    """Sets of replicates are what a split keeps together and what midpoints are told of: those that a person states hold."""
    source, out = plates_folder(tmp_path / "s", "P1", "P2"), tmp_path / "data"
    add_screen(request(source, out), progress=False)
    add_screen(request(plates_folder(tmp_path / "later", "P3"), out, add=True), progress=False)
    assert replicates(out) == {"P1": [1, 1, 1, 1], "P2": [1, 1, 2, 2], "P3": [1, 1, 3, 3]}
    table = pd.read_csv(source / "platemap.csv", dtype="str")
    table.assign(replicate=["1", "2", "3", "4", "5", "6", "7", "8"]).to_csv(source / "platemap.csv", index=False)
    add_screen(request(source, out, force=True), progress=False)
    assert replicates(out) == {"P1": [1, 2, 3, 4], "P2": [5, 6, 7, 8]}


def replicates(out: Path) -> dict[str, list[int]]:
    layout = read_layout(out / "mine" / "layout.csv", plate_format=96)
    return layout.groupby("plate")["replicate"].apply(list).to_dict()


def test_what_a_person_states_wins_over_what_the_instrument_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, known = plates_folder(tmp_path / "s", "P1"), screen_tables.read_source
    monkeypatch.setattr(screen_tables, "read_source", lambda *of, **options: replace(
        known(*of, **options), facts={"magnification": 10.0, "camera": "its own"}))
    add_screen(request(source, tmp_path / "data", facts={"magnification": 20.0, "camera": None}), progress=False)
    screen = read_screen(tmp_path / "data" / "mine")
    assert (screen.magnification, screen.camera) == (20, "its own")


def test_planes_in_files_of_their_own_are_one_stack_and_a_plane_twice_is_refused(tmp_path: Path) -> None:
    source = plates_folder(tmp_path / "s", "P1")
    for image in source.glob("P1/*.tif"):
        for plane in (0, 1):
            shutil.copy(image, image.with_name(f"{image.stem}_z{plane}.tif"))
        image.unlink()
    table = pd.read_csv(source / "platemap.csv", dtype="str").drop(columns="image")
    table.to_csv(source / "platemap.csv", index=False)
    asked = request(source, tmp_path / "data")
    asked = replace(asked, source=replace(asked.source, pattern="{plate}/{well}_z{plane}.tif"))
    add_screen(asked, progress=False)
    with PlateArchive(tmp_path / "data" / "mine" / "images" / "P1.zip") as archive:
        assert archive.members["member"].tolist()[:2] == ["A01_s1_c0_z0.tif", "A01_s1_c0_z1.tif"]
    with pytest.raises(ScreenError, match="several images for one place"):
        add_screen(replace(asked, force=True, source=replace(asked.source, pattern="{plate}/{well}_z*.tif")), progress=False)


def test_the_unit_of_doses_that_is_named_on_the_command_line_holds_and_is_part_of_what_a_screen_is_made_from(tmp_path: Path) -> None:
    """Without it every IC50 is a thousand times too small."""
    source, out = plates_folder(tmp_path / "s", "P1"), tmp_path / "data"
    table = pd.read_csv(source / "platemap.csv", dtype="str").drop(columns="unit").fillna("")
    table.to_csv(source / "platemap.csv", index=False)
    words = [str(source), "--name", "mine", "--out", str(out)]
    main([*words, "--dose-unit", "uM"])
    layout = read_layout(out / "mine" / "layout.csv", plate_format=96)
    assert layout.loc[layout["role"] == "treated", ["dose", "dose_unit"]].to_numpy().tolist() == [[1000, "nM"], [10_000, "nM"]]
    with pytest.raises(ScreenError, match="already there with other content"):
        main(words)
    main([*words, "--force"])
    layout = read_layout(out / "mine" / "layout.csv", plate_format=96)
    assert layout.loc[layout["role"] == "treated", "dose"].tolist() == [1, 10]
