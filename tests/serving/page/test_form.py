"""What is chosen and entered, before anything is sent."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image

from tests.conftest import tiny_layout
from tests.serving.page.steps import Open, fill_in, hold, saved
from tests.serving.tiny import MODEL, SAMPLE, TinyPlate
from tests.waiting import until

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.browser


def test_a_table_of_read_outs_alone_gives_a_report(open_page: Open, tmp_path: Path) -> None:
    layout = tmp_path / "Überblick 薬.csv"
    tiny_layout().to_csv(layout, index=False)
    page = open_page()
    page.set_input_files("#files", [layout])
    name, data = saved(page, "#readouts")
    assert name == "Überblick_薬.html"
    assert "measured read-outs" in data.decode()
    page.get_by_text("the report is among your downloads").wait_for()


def test_a_folder_of_one_image_a_well_is_a_plate_of_its_name(open_page: Open, plate: TinyPlate, tmp_path: Path,
                                                             http: httpx.Client) -> None:
    folder = tmp_path / "run7"
    folder.mkdir()
    for name, data in plate.images.items():
        Image.open(io.BytesIO(data)).save(folder / name.replace("_s1_c0_z0.tif", ".png"))
    (folder / "layout.csv").write_bytes(plate.csv(plate.table.drop(columns="plate")))
    page = open_page()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(folder)
    page.get_by_text("96 images in 1 folder").wait_for()
    page.locator("input[name=sample]").fill(SAMPLE)
    page.locator("#send").click()
    page.locator("#plates .well[data-row]").first.wait_for()
    job = http.get("/jobs").json()["jobs"][0]["id"]
    assert {row["plate"] for row in http.get(f"/jobs/{job}/result").json()["wells"]} == {"run7"}


def test_a_refused_layout_is_marked_before_anything_is_sent(open_page: Open, plate: TinyPlate, tmp_path: Path) -> None:
    table = plate.table.copy()
    table["dose"] = table["dose"].astype(object)
    table.loc[table.index[40], "dose"] = "ten"
    (tmp_path / "layout.csv").write_bytes(plate.csv(table))
    page = open_page()
    fill_in(page, plate, name="browser-3", layout=tmp_path / "layout.csv")
    page.get_by_text("The layout cannot be used yet").wait_for()
    assert page.locator(f'.well.marked[aria-label^="{table["well"].iloc[40]}:"]').is_visible()
    assert page.locator("#send").is_disabled()
    assert "put right" in page.locator("#missing").inner_text()


def test_a_plate_of_another_name_than_the_layouts_is_told_before_it_is_sent(open_page: Open, plate: TinyPlate, tmp_path: Path) -> None:
    shutil.copy(plate.archive, tmp_path / "P7.zip")
    page = open_page()
    page.set_input_files("#files", [tmp_path / "P7.zip", plate.layout])
    page.get_by_text("P7 is no plate of the layout; no images of P1").wait_for()
    assert page.locator("#send").is_disabled()
    (tmp_path / "old.xls").write_bytes(b"")
    page.set_input_files("#files", [plate.archive, tmp_path / "old.xls"])
    page.get_by_text("This kind of spreadsheet cannot be read").wait_for()
    (tmp_path / "layout.csv").write_text("")
    page.set_input_files("#files", [plate.archive, tmp_path / "layout.csv"])
    page.get_by_text("layout.csv is empty", exact=False).wait_for()
    assert "Layout.csv" not in page.locator("main").inner_text()   # a file's name is no first word of a sentence


def test_what_a_screen_file_states_is_sent_and_forgotten_with_its_plate(open_page: Open, plate: TinyPlate, tmp_path: Path) -> None:
    """The model's channels stood in for those that a file named, and in their order; a magnification stayed for the next plate."""
    (tmp_path / "screen.yaml").write_text(f"name: s7\nsample: {SAMPLE}\nchannels: [phase, gfp]\nmagnification: 20\n")
    page = open_page()
    named = {name: page.locator(f"input[name={name}]") for name in ("name", "channels", "magnification")}
    model = page.locator("select", has_text=MODEL)
    for files, expected in (([tmp_path / "screen.yaml"], ["s7", "phase, gfp", "20"]), ([], ["P1", "brightfield", ""])):
        page.set_input_files("#files", [plate.archive, plate.layout, *files])
        until(lambda expected=expected: named["name"].input_value() == expected[0])
        model.select_option(MODEL)
        assert [found.input_value() for found in named.values()] == expected


def test_the_next_plates_own_screen_file_counts_more_than_what_was_typed_for_the_last(open_page: Open, plate: TinyPlate,
                                                                                      tmp_path: Path) -> None:
    """While the same plate keeps it, also where its layout is dropped again."""
    (tmp_path / "screen.yaml").write_text("sample: HeLa\nname: s8\n")
    page = open_page()
    sample, name, magnification = (page.locator(f"input[name={name}]") for name in ("sample", "name", "magnification"))
    fill_in(page, plate, name="mine")
    page.locator("#send:enabled").wait_for()
    magnification.evaluate("input => { input.value = '20'; input.dispatchEvent(new Event('input')); }")
    with page.expect_response("**/layouts"):
        page.set_input_files("#files", [plate.layout])
    page.locator("#send:enabled").wait_for()
    assert (sample.input_value(), name.input_value()) == (SAMPLE, "mine")
    with page.expect_response("**/layouts"):
        page.set_input_files("#files", [plate.archive, plate.layout, tmp_path / "screen.yaml"])
    until(lambda: (sample.input_value(), name.input_value()) == ("HeLa", "s8"))
    assert magnification.input_value() == "20"      # of which the file says nothing


def test_a_layout_that_cannot_be_read_again_is_not_sent_by_its_older_reading(open_page: Open, plate: TinyPlate) -> None:
    page = open_page()
    fill_in(page, plate, name="browser-again")
    page.locator("#send:enabled").wait_for()
    page.route("**/layouts", lambda route: route.fulfill(status=503, json={"error": "busy", "findings": []}), times=1)
    page.locator("select[name=controls]").select_option("negative")
    page.get_by_text("Busy.").wait_for()
    assert page.locator("#send").is_disabled()
    assert "has not been read" in page.locator("#missing").inner_text()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/layouts") else None)
    page.set_input_files("#files", [plate.layout])
    page.locator("#send:enabled").wait_for()
    assert len(asked) == 2      # and then by what the form says


def test_guesses_that_make_every_dose_or_well_wrong_are_asked_about_in_the_open(open_page: Open, plate: TinyPlate, tmp_path: Path) -> None:
    table = plate.table.drop(columns="dose_unit")
    table["well"] = [chr(ord(well[0]) + 1) + well[1:] for well in table["well"]]
    (tmp_path / "layout.csv").write_bytes(plate.csv(table))
    page = open_page()
    page.set_input_files("#files", [tmp_path / "layout.csv"])
    page.get_by_text("Is this the right plate?").wait_for()
    assert "rows B-I" in page.locator("main .alert").first.inner_text()
    assert page.get_by_text("Is this the right unit?").is_visible()


def test_a_reading_that_comes_late_changes_nothing(open_page: Open, plate: TinyPlate) -> None:
    """The layout was read in another way meanwhile."""
    page = open_page()
    fill_in(page, plate, name="late")
    page.locator(".layout").wait_for()
    held = hold(page, "/layouts$", lambda: page.locator("select[name=plate_format]").select_option("24"))
    with page.expect_response(re.compile("/layouts$")):
        page.locator("select[name=plate_format]").select_option("96")
    page.locator("#send:enabled").wait_for()
    with page.expect_response(re.compile("/layouts$")):
        held.continue_()
    page.wait_for_timeout(300)
    assert page.locator("#send").is_enabled()


def test_what_is_read_of_a_plate_is_not_put_under_somebody_s_hands(open_page: Open, plate: TinyPlate) -> None:
    page = open_page()
    name, sample = page.locator("input[name=name]"), page.locator("input[name=sample]")
    held = hold(page, "/layouts$", lambda: page.set_input_files("#files", [plate.archive, plate.layout]))
    sample.fill(SAMPLE)
    name.focus()
    held.continue_()
    page.locator("#send:enabled").wait_for()
    assert name.input_value() == ""
    sample.focus()
    assert name.input_value() == "P1"


def test_an_example_that_comes_late_takes_no_dropped_plate_s_place(open_page: Open, plate: TinyPlate) -> None:
    """Simulated images took the place of a person's own, which had been dropped while they were made."""
    page = open_page()
    example = {"name": "late", "sample": "A549", "plates": 1, "wells": 96, "single": 0, "pairs": 0, "files": ["P9.zip", "layout.csv"]}
    page.route("**/examples", lambda route: route.fulfill(json={"examples": [example]}))
    page.route("**/examples/late/layout.csv", lambda route: route.fulfill(body="well,role\n"))
    page.reload()
    late = hold(page, "/examples/late/P9.zip", page.locator("[data-example]").click)
    fill_in(page, plate, name="browser-own")
    page.locator("#send:not([disabled])").wait_for()
    late.fulfill(body=b"PK")
    page.locator("[data-example]:not([disabled])").wait_for()
    assert page.locator(".found").inner_text().startswith("1 plate archive")
    assert page.locator("#send").is_enabled()
    assert page.locator(".found").get_by_text("Layout layout.csv").is_visible()
