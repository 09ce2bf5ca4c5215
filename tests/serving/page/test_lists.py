"""The lists of jobs and of models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from models.registry import CHAMPION, Registry
from tests.serving.page.steps import Open, focused_job, hold, score
from tests.serving.tiny import MODEL, TinyPlate
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.browser


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
    assert focused_job(page) == many_jobs[0]
    row.locator("button").click()
    page.get_by_role("dialog").wait_for()
    asked = len(seen)
    until(lambda: bool(page.wait_for_timeout(100) or len(seen) > asked + 1))
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert focused_job(page) == many_jobs[0]
    page.route(re.compile(f"/jobs/{many_jobs[0]}$"), lambda route: route.fulfill(status=503, json={"error": "busy", "findings": []}))
    row.locator("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("Busy.").wait_for()
    asked = len(seen)
    until(lambda: bool(page.wait_for_timeout(100) or len(seen) > asked + 1))
    assert page.get_by_text("Busy.").is_visible()


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


def test_the_focus_stays_on_the_page_when_the_only_job_of_a_list_is_deleted(open_page: Open) -> None:
    """It fell to the top of the document, and the keyboard began with the menu again."""
    job = {"id": "a" * 32, "name": "only", "state": "refused", "model": "m", "version": 1, "adapt": False, "sample": "s", "by": "",
           "plates": 1, "wells": 9, "created": "2026-11-21T10:00:00.000+00:00", "error": "the layout cannot be used", "revision": 0}
    jobs = [job]
    page = open_page("/#/models")
    page.locator(".model-list").wait_for()
    page.route(re.compile(r"/jobs\?"), lambda route: route.fulfill(json={"jobs": jobs, "next": ""}))
    page.route(re.compile(f"/jobs/{job['id']}$"), lambda route: route.fulfill(status=204, body=str(jobs.clear() or "")))
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_role("button", name="Delete only").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("No plate has been sent yet.").wait_for()
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Compare two samples"     # the first of this page


def test_older_jobs_are_a_page_away(open_page: Open, many_jobs: list[str]) -> None:
    page = open_page("/#/jobs")
    page.get_by_role("button", name="Older jobs").click()
    page.locator(f'tr[data-job="{many_jobs[-1]}"]').wait_for()
    assert page.get_by_role("button", name="Older jobs").count() == 0
    page.get_by_role("button", name="Newest jobs").click()
    page.locator(f'tr[data-job="{many_jobs[0]}"]').wait_for()
    assert page.locator(f'tr[data-job="{many_jobs[-1]}"]').count() == 0


def test_back_leads_to_the_same_place_of_the_list(open_page: Open, many_jobs: list[str]) -> None:
    page = open_page("/#/jobs")
    page.get_by_role("button", name="Older jobs").click()
    job = page.locator(f"tr[data-job='{many_jobs[-5]}']")
    job.get_by_role("link").click()
    page.get_by_text("All jobs").wait_for()
    assert page.evaluate("scrollY") == 0
    page.go_back()
    job.wait_for()
    until(lambda: bool(page.wait_for_timeout(50) or page.evaluate("scrollY > 0")))
    assert job.evaluate("row => row.getBoundingClientRect().top < innerHeight")


def test_jobs_of_a_state_and_of_several_people_whatever_they_are_called(open_page: Open) -> None:
    page = open_page("/#/models")
    page.locator(".model-list").wait_for()
    job = {"id": "a" * 32, "name": "N" * 200, "state": "refused", "model": "m", "version": 1, "adapt": False, "sample": "s", "by": "anna",
           "plates": 1, "wells": 9, "created": "2026-11-21T10:00:00.000+00:00", "error": "the layout cannot be used", "revision": 0}
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url.rpartition("?")[2])
        route.fulfill(json={"jobs": [job, {**job, "id": "b" * 32, "by": "bob"}], "next": ""})
    page.route(re.compile(r"/jobs\?"), answer)
    page.get_by_role("link", name="Jobs", exact=True).click()
    row = page.locator("tr[data-job]").first
    row.get_by_text("by anna").wait_for()
    box = row.get_by_role("button", name="Delete").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= page.evaluate("innerWidth")     # a long name had pushed it out of sight
    page.get_by_label("Show").select_option("refused")
    until(lambda: bool(page.wait_for_timeout(50) or "state=refused" in asked[-1]))
    page.reload()
    row.wait_for()
    assert page.get_by_label("Show").input_value() == "refused"


def test_a_page_of_jobs_that_comes_late_changes_nothing(open_page: Open, many_jobs: list[str]) -> None:
    """The list was turned over meanwhile."""
    page = open_page("/#/jobs")
    page.get_by_role("button", name="Older jobs").wait_for()
    held = hold(page, r"jobs\?before=$", lambda: None)
    page.get_by_role("button", name="Older jobs").click()
    page.locator(f"tr[data-job='{many_jobs[-1]}']").wait_for()
    with page.expect_response(re.compile(r"jobs\?before=$")):
        held.continue_()
    page.wait_for_timeout(300)
    assert page.locator(f"tr[data-job='{many_jobs[-1]}']").count() == 1


@pytest.mark.parametrize(("address", "asked"), [("/#/jobs", "**/jobs?*"), ("/#/models", "**/promotions")])
def test_a_tab_out_of_sight_asks_nothing_and_catches_up(open_page: Open, many_jobs: list[str], address: str, asked: str) -> None:
    assert many_jobs
    page = open_page(address)
    times: list[str] = []
    page.locator("table").first.wait_for()
    page.evaluate("Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })")
    page.wait_for_timeout(1000)     # what was under way
    page.route(asked, lambda route: (times.append(route.request.url), route.continue_()))
    page.wait_for_timeout(5000)
    assert times == []
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    until(lambda: bool(page.wait_for_timeout(50) or times))


def test_the_version_stands_at_the_foot_of_each_page(open_page: Open, http: httpx.Client) -> None:
    """It came with the page that scores plates, and not before."""
    version = http.get("/openapi.json").json()["info"]["version"]
    assert open_page("/#/jobs").locator("footer #version").inner_text() == f"Dosewell {version}"


def test_the_banner_of_a_missing_token_goes_when_the_service_answers(open_page: Open) -> None:
    page = open_page("/#/models")
    page.route("**/jobs?*", lambda route: route.fulfill(status=401, json={"error": "a token is needed", "findings": []}), times=1)
    page.get_by_role("link", name="Jobs").click()
    page.get_by_role("dialog").get_by_role("button", name="Not now").click()
    banner = page.locator("#connection", has_text="only to those who have an access token")
    banner.wait_for()
    page.evaluate("import('/page/shared/api.js').then(({ get }) => get('models'))")    # as another part of the page may ask
    banner.wait_for(state="detached")
    page.get_by_label("Show").wait_for()
    page.locator("#main", has_text="Loading …").wait_for(state="detached")      # the list goes on by itself


def test_the_banner_of_a_missing_token_outlasts_the_thanks_for_an_answer(open_page: Open) -> None:
    """A service that starts again with other tokens: four seconds later its button had gone, and every list waited without a word."""
    page = open_page()      # which asks nothing more once it is drawn
    page.locator(".steps").wait_for()
    page.wait_for_load_state("networkidle")
    page.evaluate("""async () => {
      const [{ connection }, { access }] = [await import('/page/shared/api.js'), await import('/page/shared/token.js')];
      for (const event of ['lost', 'found']) connection.dispatchEvent(new Event(event));
      access.dispatchEvent(new Event('declined'));
    }""")
    page.wait_for_timeout(4500)
    assert page.get_by_role("button", name="Give the token").is_visible()


def test_a_card_that_is_read_stays_open_when_something_else_changes(open_page: Open) -> None:
    page = open_page("/#/models")
    seen: list[int] = []

    def another(route: Route) -> None:
        seen.append(len(seen))
        answer = route.fetch().json()
        route.fulfill(json={"promotions": [*answer["promotions"], {**answer["promotions"][0], "reason": f"change {seen[-1]}"}]})
    page.route("**/promotions", another)
    card = page.locator(f'section[aria-label="{MODEL}"] details', has_text="Card and lineage")
    card.locator("summary").first.click()
    page.get_by_text(f"change {len(seen) + 1}").wait_for()
    assert card.locator(".model-card").is_visible()
    assert page.evaluate("document.activeElement.textContent") == "Card and lineage"
