"""What several tests of the page do in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.serving.tiny import SAMPLE, TinyPlate
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

Open = Callable[..., "Page"]
LOADED = """selector => {
  const images = [...document.querySelectorAll(selector)];
  return images.length > 0 && images.every(image => image.complete && image.naturalWidth > 0);
}"""


def fill_in(page: Page, plate: TinyPlate, *, name: str, layout: Path | None = None) -> None:
    """Choose the files and say what was screened; the model is suggested."""
    page.set_input_files("#files", [plate.archive, layout or plate.layout])
    page.locator("input[name=sample]").fill(SAMPLE)
    page.locator("input[name=name]").fill(name)


def score(page: Page, plate: TinyPlate, *, name: str, layout: Path | None = None) -> str:
    """From the first page to the result; the job's id."""
    fill_in(page, plate, name=name, layout=layout)
    page.locator("#send").click()
    page.locator("#state", has_text=re.compile("^done$")).wait_for()
    page.locator("#plates").wait_for()
    return page.url.rpartition("/")[2]


def saved(page: Page, button: str) -> tuple[str, bytes]:
    """(name, bytes) of what a click downloads."""
    with page.expect_download() as download:
        page.locator(button).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def focused_job(page: Page) -> str:
    """The job whose button has the focus, "" for none; asked in one go, for the list may be drawn anew at any moment."""
    return str(page.evaluate("document.activeElement.closest('[data-job] button')?.closest('[data-job]').dataset.job ?? ''"))


def hold(page: Page, address: str, act: Callable[[], object]) -> Route:
    """The next request to the address, which `act` (or the page by itself) makes, before it goes on to the service."""
    held: list[Route] = []
    page.route(re.compile(address), lambda route: held.append(route), times=1)  # Playwright notes itself in it
    act()
    until(lambda: bool(page.wait_for_timeout(50) or held))
    return held[0]
