"""Every page on a phone, by keyboard, in the dark."""

from __future__ import annotations

import pytest

from tests.serving.page.steps import Open, score
from tests.serving.tiny import TinyPlate

pytestmark = pytest.mark.browser


def test_a_phone_by_keyboard_in_the_dark(open_page: Open, plate: TinyPlate) -> None:
    """No page is wider than the phone; one tab stop leads into the plate, arrows move in it, Enter chooses."""
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    score(page, plate, name="browser-7")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    heights = page.locator("#treatments tbody tr").evaluate_all("rows => rows.map(row => row.offsetHeight)")
    assert max(heights) < 100       # reasons in a column out of sight left hand-wide gaps between the rows
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


def test_on_paper_nothing_is_cut_off_and_no_control_is_printed(open_page: Open, plate: TinyPlate) -> None:
    page = open_page(viewport={"width": 718, "height": 1000})      # A4 with margins
    score(page, plate, name="N" * 200)
    page.emulate_media(media="print")
    assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate("""() => [...document.querySelectorAll("main button:not(.link, th *, .square), main input")]
        .filter(control => control.checkVisibility()).map(control => control.outerHTML)""") == []
    tops = [page.locator("#curves figure").nth(number).evaluate("figure => figure.getBoundingClientRect().top") for number in (0, 1)]
    assert tops[0] == tops[1]       # two curves filled a sheet each
