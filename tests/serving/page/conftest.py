"""The page in a real browser, against a running service: from upload to download, and what a person sees when something is wrong.

Needs Chromium: that of the system, or the one that DOSEWELL_CHROMIUM names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.page.steps import Open
from tests.serving.tiny import Server
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("DOSEWELL_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for a file: its event loop runs in the tests' thread, and must not outlast them."""
    api = pytest.importorskip("playwright.sync_api", reason="the dependency group `browser` is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; install one, or name it by DOSEWELL_CHROMIUM")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


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
        page.set_default_timeout(1000 * PATIENCE)
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

