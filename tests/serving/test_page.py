"""The page in a real browser, against a running service: from upload to download, and what a person sees when something is wrong.

Needs Chromium: that of the system, or the one that DOSEWELL_CHROMIUM names.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openpyxl
import pandas as pd
import pytest
from PIL import Image

from models.classifying import SURE
from models.plates.images import encode_tiff
from models.registry import CHAMPION, Registry
from tests.conftest import tiny_layout
from tests.serving.test_promotion import until
from tests.serving.tiny import CLASSIFIER, MODEL, SAMPLE, Server, TinyPlate, noise

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Route

pytestmark = pytest.mark.browser
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("DOSEWELL_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 180_000  # milliseconds: a busy machine is no failure
LOADED = """selector => {
  const images = [...document.querySelectorAll(selector)];
  return images.length > 0 && images.every(image => image.complete && image.naturalWidth > 0);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="the dependency group `browser` is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; install one, or name it by DOSEWELL_CHROMIUM")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Open]:
    """A page of the service. Afterwards: nothing was asked of another host, and no script failed or broke the page's policy."""
    contexts: list[BrowserContext] = []
    asked: list[str] = []
    troubles: list[str] = []

    def look(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(base_url=server.url, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if "Content Security Policy" in message.text else None)
        page.goto(path)
        return page
    yield look
    for context in contexts:
        context.close()
    assert not troubles
    assert [url for url in asked if not url.startswith((server.url, "blob:", "data:"))] == []


def fill_in(page: Page, plate: TinyPlate, *, name: str, layout: Path | None = None) -> None:
    """Choose the files and say what was screened; the model is suggested."""
    page.set_input_files("#files", [plate.archive, layout or plate.layout])
    page.locator("input[name=sample]").fill(SAMPLE)
    page.locator("input[name=name]").fill(name)


def score(page: Page, plate: TinyPlate, *, name: str) -> str:
    """From the first page to the result; the job's id."""
    fill_in(page, plate, name=name)
    page.locator("#send").click()
    page.locator("#state", has_text=re.compile("^done$")).wait_for()
    page.locator("#plates").wait_for()
    return page.url.rpartition("/")[2]


def saved(page: Page, button: str) -> tuple[str, bytes]:
    """(name, bytes) of what a click downloads."""
    with page.expect_download() as download:
        page.locator(button).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_from_upload_to_download(open_page: Open, plate: TinyPlate, http: httpx.Client) -> None:
    page = open_page()
    job = score(page, plate, name="browser-1")
    assert page.locator("#plates .well[data-row]").count() == 96
    assert page.locator("#treatments tbody tr").count() == 2
    assert page.locator("#curves figure svg.curve").count() == 2
    assert page.locator("#combinations").count() == 0
    name, data = saved(page, "[data-format=xlsx]")
    assert name.endswith(".xlsx")
    assert openpyxl.load_workbook(io.BytesIO(data)).sheetnames[0] == "treatments"
    _, data = saved(page, "[data-format=csv]")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        wells = pd.read_csv(archive.open("wells.csv"))
    assert wells["viability"].tolist() == pytest.approx([row["viability"] for row in http.get(f"/jobs/{job}/result").json()["wells"]])
    name, data = saved(page, "[data-format=html]")
    assert "alpha" in data.decode()


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


def test_a_well_is_looked_at_explained_left_out_and_taken_back(open_page: Open, plate: TinyPlate, http: httpx.Client) -> None:
    page = open_page()
    job = score(page, plate, name="browser-2")
    row = next(well for well in http.get(f"/jobs/{job}/result").json()["wells"] if well["treatment"] == "alpha")
    well = page.locator(f'.well[aria-label^="{row["well"]},"]')
    panel = page.locator(".well-panel")
    well.hover()
    panel.get_by_text("alpha").first.wait_for()
    until(lambda: page.evaluate(LOADED, ".well-image img"), seconds=180)
    well.click()
    panel.get_by_role("button", name="Show where the model looks").click()
    panel.get_by_text("Each map is scaled to its own strongest place").or_(panel.get_by_text("pushes the")).first.wait_for()
    until(lambda: page.evaluate(LOADED, ".heat-image img"), seconds=180)
    panel.get_by_label("Why it is left out").fill("bubble")
    page.locator('.well[aria-label^="A01,"]').hover()      # what is being written stays
    assert panel.get_by_label("Why it is left out").input_value() == "bubble"
    panel.get_by_role("button", name=f"Leave {row['well']} out").click()
    told = page.locator("#changes", has_text=f"{row['well']} left out (bubble)")
    told.wait_for()
    answer = http.get(f"/jobs/{job}/result").json()
    assert [(change["well"], change["reason"]) for change in answer["changes"]] == [(row["well"], "bubble")]
    assert panel.get_by_role("button", name=f"Take {row['well']} back").is_visible()
    assert str(page.evaluate("document.activeElement.getAttribute('aria-label')")).startswith(row["well"])  # the keyboard goes on there
    told.get_by_role("button", name="Close").click()
    assert page.locator("#changes").inner_text() == ""
    page.reload()   # it is kept
    page.locator(f'.well[aria-label^="{row["well"]},"][aria-label$="left out"]').wait_for()


def test_what_is_typed_about_a_well_outlasts_a_token_dialog_and_an_earlier_change(open_page: Open, plate: TinyPlate) -> None:
    """And of two changes at once, the answer to the older one is not drawn last."""
    page = open_page()
    score(page, plate, name="browser-typed")
    held: list[Route] = []
    reason = page.get_by_label("Why it is left out")
    leave = page.get_by_role("button", name=re.compile("Leave .* out"))

    def write(well: str, words: str) -> None:
        page.locator(f'.well[aria-label^="{well},"]').click()
        reason.fill(words)
    page.route("**/exclusions", lambda route: route.fulfill(status=401, json={"error": "a token is needed", "findings": []}), times=1)
    write("B02", "dry")
    leave.click()
    page.get_by_role("dialog").get_by_label("Token").fill("secret")
    page.route("**/exclusions", lambda route: held.append(route), times=1)
    page.get_by_role("button", name="Use it").click()
    until(lambda: bool(page.wait_for_timeout(50) or held))
    assert held[0].request.headers["authorization"] == "Bearer secret"
    write("C03", "bubb")
    held[0].continue_()
    page.locator("#changes", has_text="B02 left out (dry)").wait_for()
    page.keyboard.type("le")        # the focus is where it was
    assert reason.input_value() == "bubble"
    page.route("**/exclusions", lambda route: held.append(route), times=1)
    leave.click()
    until(lambda: bool(page.wait_for_timeout(50) or len(held) > 1))
    write("D04", "debris")
    leave.click()
    page.wait_for_timeout(300)
    held[1].continue_()
    page.locator("#changes", has_text="D04 left out (debris)").wait_for()
    for well in ("B02", "C03", "D04"):
        page.locator(f'.well[aria-label^="{well},"][aria-label$="left out"]').wait_for()


def test_a_job_that_is_gone_is_not_taken_for_a_well_without_image(open_page: Open, plate: TinyPlate, http: httpx.Client) -> None:
    page = open_page()
    http.delete(f"/jobs/{score(page, plate, name='browser-gone')}").raise_for_status()
    page.locator('.well[aria-label^="B02,"]').hover()
    page.locator(".well-panel").get_by_text("There is no such job; it was deleted").wait_for()


def test_of_many_curves_those_in_sight_are_drawn(open_page: Open, plate: TinyPlate, http: httpx.Client) -> None:
    """The page of fifty 1536-well plates drew 9,200 curves and rows at once, and looked at each point whenever the pointer moved."""
    page = open_page()
    answer = http.get(f"/jobs/{score(page, plate, name='browser-many')}/view")
    assert answer.headers["content-encoding"] == "gzip"
    view = answer.json()
    view["treatments"] = [{**treatment, "name": f"{treatment['name']} {number}"}
                          for number in range(300) for treatment in view["treatments"]]
    page.route("**/view", lambda route: route.fulfill(json=view))
    page.reload()
    page.locator("#curves figure").last.wait_for(state="attached")
    assert page.locator("#curves figure").count() == 600
    assert page.locator("#treatments tbody tr").count() == 500
    page.locator("#treatments").get_by_role("button", name="Show 100 more").click()
    assert page.locator("#treatments tbody tr").count() == 600
    page.locator("#treatments tbody tr").last.get_by_role("button").click()
    last = page.locator("#curves figure").last
    well = view["wells"][int(last.locator(".point").last.get_attribute("data-well") or "")]      # waits until it is drawn
    page.locator(f"#plates [data-row='{well['row']}'][data-column='{well['column']}']").hover()
    assert last.locator(".point.pointed").count() == 1
    assert page.locator("#curves svg.curve").count() < 200


def test_pairs_of_treatments_are_a_matrix_that_follows_what_is_left_out(open_page: Open, plate: TinyPlate, tmp_path: Path) -> None:
    """Every second well of alpha holds beta, too."""
    table = plate.table.copy()
    both = table["treatment"].eq("alpha") & table["replicate"].gt(2)
    table.loc[both, "treatment_2"], table.loc[both, "dose_unit_2"], table["dose_2"] = "beta", "nM", table["dose"].where(both)
    layout = tmp_path / "pairs.csv"
    layout.write_bytes(plate.csv(table))
    page = open_page()
    fill_in(page, plate, name="browser-pairs", layout=layout)
    page.locator("#send").click()
    pair = page.locator("#combinations figure.pair")
    pair.wait_for()
    assert pair.locator("h3").inner_text() == "alpha + beta"
    squares = pair.locator("table.matrix td[title]")
    assert squares.count() == 8
    assert pair.locator("table.matrix td.none").count() == 8 * 8 - 8
    assert "n = 2" in str(squares.first.get_attribute("title"))
    squares.first.get_by_role("button").click()
    chosen = table[both & table["dose"].eq(table["dose"].min())]
    for well in chosen["well"]:
        page.locator(f'.well[aria-label^="{well},"][aria-selected="true"]').wait_for()
    alone = table[table["treatment"].eq("beta") & table["dose"].eq(table["dose"].min())]
    for at, well in enumerate(alone["well"]):
        page.locator(f'.well[aria-label^="{well},"]').click(modifiers=["Shift"] if at else [])
    page.get_by_label("Why it is left out").fill("dry")
    page.get_by_role("button", name=re.compile("Leave .* out")).click()
    page.locator("#changes", has_text="left out (dry)").wait_for()
    assert pair.locator("table.matrix td.unknown").inner_text() == "?"
    assert "no well with beta" in str(pair.locator("table.matrix td.unknown").get_attribute("title"))
    assert "alpha + beta" in page.locator("#changes").inner_text()


def test_single_doses_are_ranked_and_lead_to_their_wells(open_page: Open, plate: TinyPlate, tmp_path: Path) -> None:
    """Every dose of alpha and beta as a treatment of its own."""
    table = plate.table.copy()
    dosed = table["treatment"].isin(("alpha", "beta"))
    step = table["dose"].rank(method="dense").fillna(0).astype(int).astype(str)
    table.loc[dosed, "treatment"] = table["treatment"] + "-" + step
    layout = tmp_path / "single.csv"
    layout.write_bytes(plate.csv(table))
    page = open_page()
    fill_in(page, plate, name="browser-single", layout=layout)
    page.locator("#send").click()
    found = page.locator("#single-doses")
    found.wait_for()
    assert page.locator("#treatments").count() == 0
    count = table.loc[dosed, "treatment"].nunique()
    assert found.locator("svg.ranking g").count() == found.locator("tbody tr").count() == count
    assert found.locator("tbody tr").first.locator(".chip").inner_text() == "hit"
    found.locator(".table-tools select").select_option(label="hit")
    assert 0 < found.locator("tbody tr:visible").count() < count
    found.locator(".table-tools select").select_option(label="all")
    name = found.locator("tbody tr th button").first.inner_text()
    found.locator("input[type=search]").fill(name)
    found.locator("tbody tr th button").first.click()
    for well in table.loc[table["treatment"] == name, "well"]:
        page.locator(f'.well[aria-label^="{well},"][aria-selected="true"]').wait_for()
    page.mouse.move(0, 0)   # off the wells that the page has brought under it, which would be looked at in passing
    page.get_by_label("Why it is left out").fill("dry")
    page.get_by_role("button", name=re.compile("Leave .* out")).click()
    page.locator("#changes", has_text=f"{name} ").wait_for()
    assert "cannot say" in page.locator("#changes").inner_text()
    assert found.locator("input[type=search]").input_value() == name    # what was searched for stays
    assert found.locator("tbody tr:visible").count() < count


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


def test_what_a_screen_file_states_is_sent_and_forgotten_with_its_plate(open_page: Open, plate: TinyPlate, tmp_path: Path) -> None:
    """The model's channels stood in for those that a file named, and in their order; a magnification stayed for the next plate."""
    (tmp_path / "screen.yaml").write_text(f"name: s7\nsample: {SAMPLE}\nchannels: [phase, gfp]\nmagnification: 20\n")
    page = open_page()
    named = {name: page.locator(f"input[name={name}]") for name in ("name", "channels", "magnification")}
    model = page.locator("select", has_text=MODEL)
    for files, expected in (([tmp_path / "screen.yaml"], ["s7", "phase, gfp", "20"]), ([], ["P1", "brightfield", ""])):
        page.set_input_files("#files", [plate.archive, plate.layout, *files])
        until(lambda expected=expected: named["name"].input_value() == expected[0], seconds=60)
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
    until(lambda: (sample.input_value(), name.input_value()) == ("HeLa", "s8"), seconds=60)
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


def test_a_plate_that_is_refused_says_why_and_entries_stay(open_page: Open, plate: TinyPlate, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "P1.zip", "w") as archive:
        for name, data in plate.images.items():
            archive.writestr(name, b"broken" if name.startswith("B03") else data)
    page = open_page()
    page.set_input_files("#files", [tmp_path / "P1.zip", plate.layout])
    page.locator("input[name=sample]").fill(SAMPLE)
    page.locator("#send").click()
    page.locator("#state", has_text="refused").wait_for()
    assert "B03" in page.locator("main .alert").inner_text()
    page.get_by_role("link", name="Back to your entries").click()
    assert page.locator("input[name=sample]").input_value() == SAMPLE
    assert page.locator("#send").is_enabled()


def test_a_lost_connection_is_said_and_what_was_entered_is_sent_again(open_page: Open, plate: TinyPlate, http: httpx.Client) -> None:
    page = open_page()
    fill_in(page, plate, name="browser-5")
    page.locator("#send:not([disabled])").wait_for()
    page.context.set_offline(True)
    page.locator("#send").click()
    page.locator("#lost").wait_for()
    page.get_by_text("The connection broke").wait_for()
    page.context.set_offline(False)
    page.get_by_text("The service answers again").wait_for()
    page.get_by_role("button", name="Send again").click()
    page.locator("#state", has_text=re.compile("^done$")).wait_for()
    assert len([job for job in http.get("/jobs").json()["jobs"] if job["name"] == "browser-5"]) == 1


def test_a_file_that_was_changed_is_not_taken_for_a_service_that_is_away(open_page: Open, plate: TinyPlate, tmp_path: Path) -> None:
    """As the layout that somebody corrects in a spreadsheet; a browser says of both that the request failed."""
    layout = tmp_path / "layout.csv"
    shutil.copy(plate.layout, layout)
    page = open_page()
    fill_in(page, plate, name="browser-changed", layout=layout)
    page.locator("#send:not([disabled])").wait_for()
    layout.write_bytes(layout.read_bytes() + b"\n")
    os.utime(layout, (0, 0))
    page.locator("#send").click()
    page.get_by_text("The file layout.csv was changed or moved since it was chosen").wait_for()
    assert page.locator("#lost").count() == 0


def test_a_tab_is_not_closed_during_an_upload_without_a_word(open_page: Open, plate: TinyPlate) -> None:
    page = open_page()
    fill_in(page, plate, name="browser-close")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()
    page.on("dialog", stay)
    page.route("**/jobs", lambda route: None)       # on its way
    page.locator("#send").click()
    page.close(run_before_unload=True)
    until(lambda: bool(page.wait_for_timeout(50) or asked))
    assert asked == ["beforeunload"]
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    with page.expect_event("close"):        # nothing is lost any more
        page.close(run_before_unload=True)


def test_the_page_goes_on_when_a_person_looks_elsewhere(open_page: Open, plate: TinyPlate) -> None:
    """A layout that was being read is read after all, and a plate that arrives meanwhile takes nobody away from another page."""
    held: list[Route] = []
    page = open_page()
    page.route("**/layouts", lambda route: held.append(route), times=1)
    page.set_input_files("#files", [plate.archive, plate.layout])
    until(lambda: bool(page.wait_for_timeout(50) or held))
    page.get_by_role("link", name="Models").click()
    page.locator(".model-list").wait_for()
    page.get_by_role("link", name="Score", exact=True).click()
    page.locator("input[name=sample]").fill("HeLa")
    page.locator("input[name=name]").fill("browser-away")
    page.locator(".step select[id^=model]").select_option(MODEL)
    page.get_by_label("Score with it all the same").check()
    page.get_by_role("link", name="Models").click()
    page.get_by_role("link", name="Score", exact=True).click()
    page.locator("#send:not([disabled])").wait_for()
    page.route("**/jobs", lambda route: held.append(route), times=1)
    page.locator("#send").click()
    until(lambda: bool(page.wait_for_timeout(50) or len(held) > 1))
    page.get_by_role("link", name="Models").click()
    page.locator(".model-list").wait_for()
    with page.expect_response("**/jobs"):
        held[1].continue_()
    page.wait_for_timeout(300)
    assert page.url.endswith("#/models")
    page.get_by_role("link", name="Score", exact=True).click()
    page.get_by_role("link", name="browser-away").click()
    page.locator("#state", has_text=re.compile("^done$")).wait_for()


def test_a_result_follows_another_tab_and_a_gateway_that_answers_for_the_service(open_page: Open, plate: TinyPlate,
                                                                                 http: httpx.Client) -> None:
    page = open_page()
    job = score(page, plate, name="browser-tabs")
    page.route(re.compile(f"/jobs/{job}$"), lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"), times=1)
    page.reload()
    page.locator("#lost").wait_for()
    page.locator("#plates").wait_for()
    http.post(f"/jobs/{job}/exclusions", json={"exclusions": [{"plate": "P1", "well": "B02", "excluded": True, "reason": "dry"}]})
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.locator('.well[aria-label^="B02,"][aria-label$="left out"]').wait_for()


def test_a_list_that_changes_keeps_the_focus_and_what_was_told(open_page: Open, many_jobs: list[str]) -> None:
    page = open_page("/#/jobs")
    row = page.locator(f"tr[data-job='{many_jobs[0]}']")
    row.locator("button").focus()
    seen: list[int] = []

    def another(route: Route) -> None:
        answer = route.fetch().json()
        seen.append(len(seen))
        answer["jobs"][0]["progress"]["done"] = seen[-1]
        route.fulfill(json=answer)
    page.route(re.compile(r"/jobs\?before="), another)
    until(lambda: bool(page.wait_for_timeout(100) or len(seen) > 1))
    assert row.locator("button").evaluate("button => button === document.activeElement")
    page.route(re.compile(f"/jobs/{many_jobs[0]}$"), lambda route: route.fulfill(status=503, json={"error": "busy", "findings": []}))
    row.locator("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("Busy.").wait_for()
    until(lambda: bool(page.wait_for_timeout(100) or len(seen) > 4))
    assert page.get_by_text("Busy.").is_visible()


def test_images_are_classified_without_a_layout(open_page: Open, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        (tmp_path / f"image-{number}.tif").write_bytes(encode_tiff(rng.integers(0, 60 + 60 * number, (40, 40)).astype(np.uint8)))
    Image.fromarray(rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "=1+1.png")
    Image.fromarray(np.add.outer(np.arange(40), np.arange(40)).astype(np.uint8)).save(tmp_path / "photo.png")
    page = open_page("/#/classify")
    page.set_input_files("#files", sorted(tmp_path.iterdir()))
    page.locator("input[name=sample]").fill("HeLa")
    page.get_by_text(f"{CLASSIFIER} was trained on {SAMPLE}, not on HeLa").wait_for()
    assert page.locator("#classify").is_disabled()
    page.locator("input[name=sample]").fill(SAMPLE)
    page.locator("#classify").click()
    page.locator(".gallery li").first.wait_for()
    page.get_by_text(f"probability of {100 * SURE:.0f} %").first.wait_for()
    assert page.locator(".gallery li").count() == 6
    assert page.locator('.gallery li[data-image="photo"] .chip').inner_text() == "unknown"
    assert page.locator('section[aria-label="Result"] .big').inner_text().endswith("1 unknown")
    until(lambda: page.evaluate(LOADED, ".gallery img"), seconds=180)
    name, data = saved(page, "#classes-csv")
    table = pd.read_csv(io.BytesIO(data))
    assert name == f"classes-{CLASSIFIER}.csv"
    assert table["image_id"].tolist() == ["'=1+1", "image-0", "image-1", "image-2", "image-3", "photo"]     # no formula for a spreadsheet
    assert set(table["class"]) <= {"toxic", "nontoxic"}


def test_images_are_sent_again_by_a_person_and_never_answered_for_others(open_page: Open, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"image-{number}.tif").write_bytes(encode_tiff(noise(number, 200)))
    page = open_page("/#/classify")
    page.set_input_files("#files", tmp_path / "image-0.tif")
    page.locator("input[name=sample]").fill(SAMPLE)
    page.locator("#classify:not([disabled])").wait_for()
    page.context.set_offline(True)
    page.locator("#classify").click()
    page.get_by_text("The connection broke").wait_for()
    page.context.set_offline(False)
    page.route("**/classify", lambda route: None)       # on its way, and not answered
    page.get_by_role("button", name="Send again").click()
    page.set_input_files("#files", tmp_path / "image-1.tif")
    page.get_by_text("Stopped.").wait_for()
    page.unroute("**/classify")
    page.locator("#classify:not([disabled])").click()
    page.locator('.gallery li[data-image="image-1"]').wait_for()
    assert page.locator(".gallery li").count() == 1


def test_a_phone_by_keyboard_in_the_dark(open_page: Open, plate: TinyPlate) -> None:
    """No page is wider than the phone; one tab stop leads into the plate, arrows move in it, Enter chooses."""
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    score(page, plate, name="browser-7")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    page.locator('#plates .well[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator('#plates .well[aria-selected="true"]').get_attribute("aria-label").startswith("B02")
    job = page.url.rpartition("#")[2]
    for place in (job, "/", "/jobs", "/models", "/classify"):
        page.goto(f"/#{place}")
        page.locator("main h1").wait_for()
        assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0, place
        if place == "/jobs":    # "Delete" needed sideways scrolling
            page.locator("tr[data-job] button").first.wait_for()
            assert page.evaluate("document.querySelector('.scroll').scrollWidth - document.querySelector('.scroll').clientWidth") <= 0


def test_promotions_and_refusals_are_shown(open_page: Open, registry: Registry) -> None:
    page = open_page("/#/models")
    card = page.locator(f'section[aria-label="{MODEL}"]')
    card.get_by_text("in service since").first.wait_for()
    registry.set_alias(registry.resolve(f"{MODEL}/3"), CHAMPION)
    try:
        card.get_by_text("Version 3 was promoted but must not serve").wait_for()
        assert "r2_cv is 0.1" in card.inner_text()
        page.locator("tr", has_text="refused").filter(has_text="r2_cv is 0.1").first.wait_for()
    finally:
        registry.set_alias(registry.resolve(f"{MODEL}/1"), CHAMPION)
    card.get_by_text("must not serve").wait_for(state="detached")


def test_a_job_of_the_list_is_opened_and_deleted(open_page: Open, plate: TinyPlate, http: httpx.Client) -> None:
    page = open_page()
    job = score(page, plate, name="browser-9")
    page.get_by_role("link", name="Jobs", exact=True).click()
    row = page.locator(f'tr[data-job="{job}"]')
    row.get_by_role("button", name="Delete browser-9").click()
    page.go_back()      # closes the question, and does not leave the list
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.url.endswith("#/jobs")
    row.get_by_role("button", name="Delete browser-9").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    row.wait_for(state="detached")
    assert http.get(f"/jobs/{job}").status_code == 404


def test_older_jobs_are_a_page_away(open_page: Open, many_jobs: list[str]) -> None:
    page = open_page("/#/jobs")
    page.get_by_role("button", name="Older jobs").click()
    page.locator(f'tr[data-job="{many_jobs[-1]}"]').wait_for()
    assert page.get_by_role("button", name="Older jobs").count() == 0
    page.get_by_role("button", name="Newest jobs").click()
    page.locator(f'tr[data-job="{many_jobs[0]}"]').wait_for()
    assert page.locator(f'tr[data-job="{many_jobs[-1]}"]').count() == 0


def test_an_answer_that_comes_late_changes_nothing(open_page: Open, many_jobs: list[str], plate: TinyPlate) -> None:
    """Of a page of jobs that was turned meanwhile, and of a layout that is read in another way meanwhile."""
    held: list[Route] = []

    def hold(address: str, act: Callable[[], object]) -> None:
        held.clear()
        page.route(re.compile(address), lambda route: held.append(route), times=1)  # Playwright notes itself in it
        act()
        until(lambda: bool(page.wait_for_timeout(50) or held))
    page = open_page("/#/jobs")
    page.get_by_role("button", name="Older jobs").wait_for()
    hold(r"jobs\?before=$", lambda: None)
    page.get_by_role("button", name="Older jobs").click()
    page.locator(f"tr[data-job='{many_jobs[-1]}']").wait_for()
    with page.expect_response(re.compile(r"jobs\?before=$")):
        held[0].continue_()
    page.wait_for_timeout(300)
    assert page.locator(f"tr[data-job='{many_jobs[-1]}']").count() == 1
    page = open_page()
    fill_in(page, plate, name="late")
    page.locator(".layout").wait_for()
    hold("/layouts$", lambda: page.locator("select[name=plate_format]").select_option("24"))
    with page.expect_response(re.compile("/layouts$")):
        page.locator("select[name=plate_format]").select_option("96")
    page.locator("#send:enabled").wait_for()
    with page.expect_response(re.compile("/layouts$")):
        held[0].continue_()
    page.wait_for_timeout(300)
    assert page.locator("#send").is_enabled()
    page.route(re.compile("/jobs$"), lambda route: route.fulfill(status=200, body="<html>signed out</html>"))   # a gateway's own page
    page.locator("#send").click()
    page.get_by_text("The connection broke.").wait_for()


def test_what_is_read_of_a_plate_is_not_put_under_somebody_s_hands(open_page: Open, plate: TinyPlate) -> None:
    page = open_page()
    held: list[Route] = []
    page.route(re.compile("/layouts$"), lambda route: held.append(route), times=1)
    page.set_input_files("#files", [plate.archive, plate.layout])
    name, sample = page.locator("input[name=name]"), page.locator("input[name=sample]")
    until(lambda: bool(page.wait_for_timeout(50) or held))
    sample.fill(SAMPLE)
    name.focus()
    held[0].continue_()
    page.locator("#send:enabled").wait_for()
    assert name.input_value() == ""
    sample.focus()
    assert name.input_value() == "P1"


def test_the_policy_lets_no_inline_script_run(http: httpx.Client) -> None:
    for path in ("/", "/page/app.js"):
        policy = http.get(path).headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|style=", http.get("/").text)
    assert json.loads(http.get("/openapi.json").text)["paths"]["/classify"]
