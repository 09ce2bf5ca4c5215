"""What people who see little, hear the page, or use no mouse depend on; WCAG 2.2 AA, as far as a test can hold it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.page.steps import Open, focused_job, score
from tests.serving.tiny import TinyPlate

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.browser
# what a screen reader has no name for, headings that skip a level, ids that are there twice, and columns without a scope
FAULTS = """() => {
  const shown = [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && !one.closest('[aria-hidden=true]'));
  const name = (one) => one.getAttribute('aria-label') || document.getElementById(one.getAttribute('aria-labelledby') ?? '')?.textContent
    || [...(one.labels ?? [])].map((label) => label.textContent).join('') || one.alt || one.textContent.trim();
  const controls = 'button, a[href], input, select, summary, progress, [role=grid], [role=region], [role=img], dialog, [tabindex="0"]';
  const levels = shown.filter((one) => /^H[1-6]$/.test(one.tagName)).map((one) => Number(one.tagName[1]));
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  return [
    ...shown.filter((one) => one.matches(controls) && !name(one)).map((one) => `no name: ${one.outerHTML.slice(0, 120)}`),
    ...shown.filter((one) => one.matches('img:not([alt]), th:not([scope])')).map((one) => `no alt or scope: ${one.outerHTML.slice(0, 99)}`),
    ...levels.filter((level, place) => level - (levels[place - 1] ?? 0) > 1).map((level) => `h${level} skips a level`),
    ...ids.filter((id, place) => ids.indexOf(id) !== place).map((id) => `id twice: ${id}`),
    ...(levels.filter((level) => level === 1).length === 1 ? [] : ['not one h1']),
    ...(document.documentElement.lang && document.querySelectorAll('main').length === 1 ? [] : ['no language or not one main']),
  ];
}"""
# texts on the page (not in drawings) whose contrast with what lies behind them is below 4.5, or 3 where they are large
PALE = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const over = (colour, under) => {
    canvas.fillStyle = `rgb(${under})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((part) => (part <= 10 ? part / 3294 : ((part / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (one) => (one ? over(getComputedStyle(one).backgroundColor, behind(one.parentElement)) : [255, 255, 255]);
  return [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && !one.closest('svg, :disabled, .unseen')
    && [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())
    && !getComputedStyle(one).backgroundImage.includes('gradient')).flatMap((one) => {
      const style = getComputedStyle(one);
      const back = behind(one);
      const [low, high] = [light(over(style.color, back)), light(back)].sort((a, b) => a - b);
      const ratio = (high + 0.05) / (low + 0.05);
      const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
      return ratio < (large ? 3 : 4.5) ? [`${ratio.toFixed(2)}: ${one.textContent.slice(0, 40)}`] : [];
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_and_heard_also_at_four_times_its_size(open_page: Open, plate: TinyPlate, scheme: str) -> None:
    """320 pixels are a window of 1280 at 400 %."""
    page = open_page(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    job = score(page, plate, name="browser-heard")

    def upload() -> None:
        page.set_input_files("#files", [plate.archive, plate.layout])
        page.locator(".layout").wait_for()

    def choose_well() -> None:
        page.locator('.well[aria-label^="C05,"]').click()
        page.locator("form.exclude").wait_for()

    def ask_to_delete() -> None:
        page.locator("tr[data-job] button").first.click()
        page.get_by_role("dialog").wait_for()

    views: dict[str, tuple[str, Callable[[], Any]]] = {
        "/": (".drop", upload), f"/jobs/{job}": ("#lineage", choose_well), f"/compare/{job}/{job}": ("#fold-csv", lambda: None),
        "/classify": (".drop", lambda: None), "/models": (".model-list", lambda: None), "/jobs": ("tr[data-job]", ask_to_delete)}
    for path, (ready, act) in views.items():
        page.goto(f"/#{path}")
        page.locator(ready).first.wait_for()
        act()
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate(FAULTS) == [], path
        assert page.evaluate(PALE) == [], path
        assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0, path


def as_it_was_sent(route: Route) -> None:
    """The job's true answer, as it was before its turn came."""
    answer = route.fetch()
    route.fulfill(response=answer, json=answer.json() | {"state": "queued", "progress": {"stage": "queued", "done": 0, "total": 1}})


def test_what_changes_by_itself_is_said_where_it_stays(open_page: Open, plate: TinyPlate) -> None:
    """A live region that comes with its words is not read out; that of a job's state and progress was drawn anew with them."""
    page = open_page()
    page.evaluate("""() => {
      window.said = [];
      const live = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest('main [role=status], main [aria-live]');
      new MutationObserver((changes) => changes.forEach(({ target }) => {
        const region = live(target);
        if (region && region.isConnected) said.push(region.textContent);
      })).observe(document.body, { subtree: true, childList: true, characterData: true });
    }""")
    page.route(re.compile(r"/jobs/[0-9a-f]+$"), as_it_was_sent, times=1)  # else a quick job is done before it is asked for
    score(page, plate, name="browser-said")
    said = page.evaluate("said")
    for words in ("The layout has not been read yet.", "you can close this page", "done"):
        assert any(words in one for one in said), (words, said)
    well = page.get_by_label("Well", exact=True)
    well.fill("z99")
    well.press("Enter")
    page.get_by_text("This plate has no well z99").wait_for()
    well.fill("c5")
    well.press("Enter")
    assert str(page.evaluate("document.activeElement.getAttribute('aria-label')")).startswith("C05")
    page.get_by_label("Choose several").check()
    page.locator('.well[aria-label^="D06,"]').click()
    assert page.locator('.well[aria-selected="true"]').count() == 2
    page.keyboard.press("Control+Home")
    assert str(page.evaluate("document.activeElement.getAttribute('aria-label')")).startswith("A01")


def test_a_dialog_keeps_the_focus_and_gives_it_back(open_page: Open, many_jobs: list[str]) -> None:
    page = open_page("/#/jobs")
    button = page.locator("tr[data-job] button").first
    button.focus()
    job = focused_job(page)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=re.compile("^Delete"))
    dialog.wait_for()
    for _ in range(5):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert focused_job(page) == job != ""
    assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2


def test_a_table_says_how_it_is_sorted(open_page: Open, plate: TinyPlate) -> None:
    page = open_page()
    score(page, plate, name="browser-sorted")
    head = page.locator("#treatments thead th").first
    for way in ("ascending", "descending"):
        head.get_by_role("button", name="Treatment", exact=True).press("Enter")     # the arrow is no part of its name
        assert head.get_attribute("aria-sort") == way
    assert page.locator("#treatments [aria-sort]").count() == 1
