"""Images without a layout are classified."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models.classifying import SURE
from models.plates.images import encode_tiff
from tests.serving.page.steps import LOADED, Open, saved
from tests.serving.tiny import CLASSIFIER, SAMPLE, noise
from tests.waiting import until

pytestmark = pytest.mark.browser


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
    until(lambda: page.evaluate(LOADED, ".gallery img"))
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
