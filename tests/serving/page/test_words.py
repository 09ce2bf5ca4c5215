"""What the page says of samples, pictures and thresholds."""

from __future__ import annotations

import pytest

from tests.serving.page.steps import Open, fill_in, score
from tests.serving.tiny import MODEL, TinyPlate

pytestmark = pytest.mark.browser


def test_a_sample_is_what_its_model_was_trained_on_a_patients_or_a_line(open_page: Open, plate: TinyPlate) -> None:
    """Patients' samples were offered as cell lines where no screen.yaml said otherwise, and the report called them so."""
    page = open_page("/#/models")
    answer = page.request.get("/models").json()
    next(model for model in answer["models"] if model["name"] == MODEL)["serving"]["kind"] = "patient"
    page.route("**/models", lambda route: route.fulfill(json=answer))
    page.get_by_role("link", name="Score", exact=True).click()
    fill_in(page, plate, name="of a patient")
    page.locator("#send:enabled").wait_for()
    kind = page.locator("select[name=kind]")
    assert kind.input_value() == "patient"
    page.locator("input[name=sample]").fill("HeLa")
    page.locator(".step select[id^=model]").select_option(MODEL)
    assert kind.input_value() == "cell_line"


def test_what_a_model_reads_is_said_in_words(open_page: Open) -> None:
    """ "brightfield:mid" told nobody which picture that is."""
    page = open_page("/#/models")
    card = page.locator(f'section[aria-label="{MODEL}"]')
    card.get_by_text("Card and lineage").click()
    assert "brightfield, middle plane; at 32 × 32 pixels" in card.inner_text()


def test_the_words_of_the_threshold_lie_on_no_bar_and_a_phone_shows_all_of_a_single_dose(open_page: Open, plate: TinyPlate) -> None:
    page = open_page(viewport={"width": 390, "height": 844})
    job = score(page, plate, name="browser-words")
    view = page.request.get(f"/jobs/{job}/view").json()
    view["treatments"] = [{**treatment, "name": f"{treatment['name']} {number}"} for number in range(6) for treatment in view["treatments"]]
    row = {"name": "drug", "dose": "1 µM", "dose_sort": 1000, "call": "hit", "chip": "hit", "why": "its limits lie above 50 %",
           "inhibition": "80 %", "inhibition_sort": 80, "low": 70, "high": 90, "limits": "70 to 90 %", "q": "0.01", "q_sort": 0.01,
           "plate_z": "5", "plate_z_sort": 5, "b_score": "4", "b_score_sort": 4, "n": "2", "wells": [0]}
    view["single_doses"] = {"rows": [row], "key": "", "chips": [["hit", "hit"]], "level": 50}
    page.route("**/view", lambda route: route.fulfill(json=view))
    page.reload()
    words = page.locator("svg.waterfall text", has_text="hit from 10")
    words.wait_for()
    box = words.bounding_box()
    assert box is not None
    assert all(box["x"] >= right for right in page.locator("svg.waterfall .bar").evaluate_all(
        "bars => bars.map((bar) => bar.getBoundingClientRect().right)"))
    table = page.locator("#single-doses tbody tr")
    for said in ("80 %", "70 to 90 %", "1 µM", "its limits lie above 50 %", "0.01"):
        assert said in table.inner_text()
    assert max(table.locator("th, td").evaluate_all("cells => cells.map((cell) => cell.getBoundingClientRect().right)")) <= 390
