"""A scored plate: numbers, wells, curves, what is left out, downloads."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import openpyxl
import pandas as pd
import pytest

from tests.serving.page.steps import LOADED, Open, hold, saved, score
from tests.serving.tiny import TinyPlate
from tests.waiting import until

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.browser


def test_from_upload_to_download(open_page: Open, plate: TinyPlate, http: httpx.Client) -> None:
    page = open_page()
    job = score(page, plate, name="browser-1")
    assert page.locator("#plates .well[data-row]").count() == 96
    assert page.locator("#treatments tbody tr").count() == 2
    assert page.locator("#curves figure svg.curve").count() == 2
    assert page.locator("#combinations").count() == 0
    name, data = saved(page, "[data-format=xlsx]")
    assert name == f"browser-1-{job[:8]}.xlsx"     # as the service and its client name it: two jobs of one screen are told apart
    assert openpyxl.load_workbook(io.BytesIO(data)).sheetnames[0] == "treatments"
    _, data = saved(page, "[data-format=csv]")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        wells = pd.read_csv(archive.open("wells.csv"))
    assert wells["viability"].tolist() == pytest.approx([row["viability"] for row in http.get(f"/jobs/{job}/result").json()["wells"]])
    name, data = saved(page, "[data-format=html]")
    assert "alpha" in data.decode()


def test_a_well_is_looked_at_explained_left_out_and_taken_back(open_page: Open, plate: TinyPlate, http: httpx.Client) -> None:
    page = open_page()
    job = score(page, plate, name="browser-2")
    row = next(well for well in http.get(f"/jobs/{job}/result").json()["wells"] if well["treatment"] == "alpha")
    well = page.locator(f'.well[aria-label^="{row["well"]},"]')
    panel = page.locator(".well-panel")
    well.hover()
    panel.get_by_text("alpha").first.wait_for()
    until(lambda: page.evaluate(LOADED, ".well-image img"))
    well.click()
    panel.get_by_role("button", name="Show where the model looks").click()
    panel.get_by_text("Each map is scaled to its own strongest place").or_(panel.get_by_text("pushes the")).first.wait_for()
    until(lambda: page.evaluate(LOADED, ".heat-image img"))
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
    reason = page.get_by_label("Why it is left out")
    leave = page.get_by_role("button", name=re.compile("Leave .* out"))

    def write(well: str, words: str) -> None:
        page.locator(f'.well[aria-label^="{well},"]').click()
        reason.fill(words)
    page.route("**/exclusions", lambda route: route.fulfill(status=401, json={"error": "a token is needed", "findings": []}), times=1)
    write("B02", "dry")
    leave.click()
    page.get_by_role("dialog").get_by_label("Token").fill("secret")
    first = hold(page, "/exclusions$", page.get_by_role("button", name="Use it").click)
    assert first.request.headers["authorization"] == "Bearer secret"
    write("C03", "bubb")
    first.continue_()
    page.locator("#changes", has_text="B02 left out (dry)").wait_for()
    page.keyboard.type("le")        # the focus is where it was
    assert reason.input_value() == "bubble"
    second = hold(page, "/exclusions$", leave.click)
    write("D04", "debris")
    leave.click()
    page.wait_for_timeout(300)
    second.continue_()
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
    score(page, plate, name="browser-pairs", layout=layout)
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
    score(page, plate, name="browser-single", layout=layout)
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


def test_a_result_follows_another_tab_and_a_gateway_that_answers_for_the_service(open_page: Open, plate: TinyPlate,
                                                                                 http: httpx.Client) -> None:
    page = open_page()
    job = score(page, plate, name="browser-tabs")
    away = re.compile(f"/(jobs/{job}|models)$")     # until that was seen, for the page asks again by itself
    page.route(away, lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"))
    page.reload()
    page.locator("#lost").wait_for()
    page.unroute(away)
    page.locator("#plates").wait_for()
    http.post(f"/jobs/{job}/exclusions", json={"exclusions": [{"plate": "P1", "well": "B02", "excluded": True, "reason": "dry"}]})
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.locator('.well[aria-label^="B02,"][aria-label$="left out"]').wait_for()
    http.delete(f"/jobs/{job}").raise_for_status()
    page.evaluate("dispatchEvent(new Event('focus'))")
    page.locator("#state", has_text=re.compile("^deleted$")).wait_for()      # it was still called done
    assert page.title() == "browser-tabs: deleted · Dosewell"


def test_a_well_that_another_tab_changed_meanwhile_is_shown_so_instead_of_changed_again(open_page: Open, plate: TinyPlate,
                                                                                        http: httpx.Client) -> None:
    page = open_page()
    job = score(page, plate, name="browser-both")
    page.locator('.well[aria-label^="B02,"]').click()
    page.get_by_label("Why it is left out").fill("bubble")
    http.post(f"/jobs/{job}/exclusions", json={"exclusions": [{"plate": "P1", "well": "B02", "excluded": True, "reason": "dry"}]})
    page.get_by_role("button", name="Leave B02 out").click()
    page.locator("#changes", has_text="P1 B02 was left out (dry); nothing was changed now").wait_for()
    page.locator('.well[aria-label^="B02,"][aria-label$="left out"]').wait_for()
    assert [change["reason"] for change in http.get(f"/jobs/{job}/result").json()["changes"]] == ["dry"]
    page.get_by_label("Why it is taken back").fill("it is not dry")
    page.get_by_role("button", name="Take B02 back").click()
    page.locator("#changes", has_text="B02 taken back").wait_for()


def test_a_database_that_is_away_for_a_while_neither_ends_a_page_nor_takes_its_result_away(open_page: Open, plate: TinyPlate) -> None:
    """The page asked no more, and said "try again in a while"; and a look at the tab put these words in the place of the whole result."""
    page = open_page()
    job = score(page, plate, name="browser-away")
    address = re.compile(f"/jobs/{job}$")
    page.route(address, lambda route: route.fulfill(status=503, json={"error": "the database of jobs is away", "findings": []}), times=2)
    page.reload()
    said = page.get_by_text("The database of jobs is away.")
    said.wait_for()
    page.locator("#plates").wait_for()
    page.route(address, lambda route: route.fulfill(status=503, json={"error": "the database of jobs is away", "findings": []}), times=1)
    page.evaluate("dispatchEvent(new Event('focus'))")
    said.wait_for()
    assert page.locator("#plates").is_visible()
    said.wait_for(state="detached")


def test_a_mistake_of_the_service_at_a_look_takes_no_result_away(open_page: Open, plate: TinyPlate) -> None:
    """When the window came back into use, its words stood in the place of the whole result."""
    page = open_page()
    job = score(page, plate, name="browser-mistake")
    page.route(re.compile(f"/jobs/{job}$"), lambda route: route.fulfill(status=500, json={"error": "a mistake", "findings": []}), times=1)
    page.evaluate("dispatchEvent(new Event('focus'))")
    said = page.locator("#changes", has_text="The result below is as it was seen last.")
    said.wait_for()
    assert "A mistake." in said.inner_text()
    assert page.locator("#plates").is_visible()
    page.evaluate("dispatchEvent(new Event('focus'))")      # it answers again
    said.wait_for(state="detached")
    assert page.locator("#plates").is_visible()


def test_a_change_whose_view_broke_off_is_shown_when_the_service_answers_again(open_page: Open, plate: TinyPlate) -> None:
    """It had been made, and the page went on with the numbers of before, for as long as it was open."""
    page = open_page()
    job = score(page, plate, name="browser-broken-off")
    page.locator('.well[aria-label^="B02,"]').click()
    page.get_by_label("Why it is left out").fill("bubble")
    page.route(f"**/jobs/{job}/view", lambda route: route.abort(), times=1)
    page.get_by_role("button", name="Leave B02 out").click()
    page.locator('.well[aria-label^="B02,"][aria-label$="left out"]').wait_for()
    assert page.get_by_label("Why it is taken back").is_visible()


def test_an_image_is_fetched_once_though_its_well_is_chosen_meanwhile(open_page: Open, plate: TinyPlate) -> None:
    page = open_page()
    score(page, plate, name="browser-once")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/C05.png" in request.url else None)
    well = page.locator('.well[aria-label^="C05,"]')
    image = hold(page, "/C05.png", well.hover)
    well.click()
    page.wait_for_timeout(500)
    image.continue_()
    page.wait_for_function(LOADED, arg=".well-image img")
    assert len(asked) == 1
