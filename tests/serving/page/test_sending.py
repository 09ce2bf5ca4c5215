"""The way to the service and back: connections that break, tabs that close, files that change meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pandas as pd
import pytest

from tests.serving.page.steps import Open, fill_in, hold
from tests.serving.tiny import MODEL, SAMPLE, TinyPlate
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

pytestmark = pytest.mark.browser


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


def two_folders(page: Page, plate: TinyPlate, folder: Path) -> None:
    """Choose a run of two plates, each a folder of images, which the page packs, and fill in the rest."""
    for name in ("P1", "P2"):
        (folder / name).mkdir(parents=True)
        for member, data in plate.images.items():
            (folder / name / member).write_bytes(data)
    (folder / "layout.csv").write_bytes(plate.csv(pd.concat([plate.table, plate.table.assign(plate="P2")])))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(folder)
    page.locator("input[name=sample]").fill(SAMPLE)
    page.locator("#send:not([disabled])").wait_for()


@pytest.mark.parametrize("packed", [False, True], ids=["while packing", "after packing"])
def test_a_file_of_several_folders_that_was_moved_is_named(open_page: Open, plate: TinyPlate, tmp_path: Path, *, packed: bool) -> None:
    """While the page packed them it told the browser's own words, without a name, and afterwards that the service does not answer."""
    page = open_page()
    two_folders(page, plate, tmp_path / "run")
    moved = tmp_path / "run" / "P2" / sorted(plate.images)[40]
    if packed:
        held = hold(page, "/jobs$", page.locator("#send").click)
        moved.unlink()
        held.continue_()
    else:
        moved.unlink()
        page.locator("#send").click()
    page.get_by_text(f"The file {moved.name} was changed or moved since it was chosen; choose it again").wait_for()
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
    page = open_page()
    hold(page, "/layouts$", lambda: page.set_input_files("#files", [plate.archive, plate.layout]))
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
    held = hold(page, "/jobs$", page.locator("#send").click)
    page.get_by_role("link", name="Models").click()
    page.locator(".model-list").wait_for()
    with page.expect_response("**/jobs"):
        held.continue_()
    page.wait_for_timeout(300)
    assert page.url.endswith("#/models")
    page.get_by_role("link", name="Score", exact=True).click()
    page.get_by_role("link", name="browser-away").click()
    page.locator("#state", has_text=re.compile("^done$")).wait_for()


def test_a_gateway_s_own_page_is_no_answer(open_page: Open, plate: TinyPlate) -> None:
    page = open_page()
    fill_in(page, plate, name="browser-gateway")
    page.locator("#send:enabled").wait_for()
    page.route(re.compile("/jobs$"), lambda route: route.fulfill(status=200, body="<html>signed out</html>"))
    page.locator("#send").click()
    page.get_by_text("The connection broke.").wait_for()


def test_of_an_upload_the_stage_is_read_out_and_not_every_count(open_page: Open) -> None:
    """A screen reader spoke as long as the upload took, of numbers that had passed."""
    said, shown = open_page().evaluate("""async () => {
      const { progressView, sending } = await import('/page/score/send.js');
      const { element, step } = progressView({ onStop() {} });
      document.body.append(element);
      const said = [];
      const note = (changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach((node) => said.push(node.textContent)));
      new MutationObserver(note).observe(element.querySelector('[role=status]'), { childList: true, subtree: true });
      const tell = sending(step, 'Sent');
      for (let sent = 1; sent <= 99; sent += 1) tell(sent * 1e6, 1e8);
      const shown = element.textContent;
      tell(1e8, 1e8);
      await Promise.resolve();
      return [said, shown];
    }""")
    assert said == ["Sending", "Sent"]
    assert "99 MB of 100 MB" in shown
