"""Two jobs side by side, chosen on the page."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import pandas as pd
import pytest

from tests.serving.page.steps import Open, saved, score
from tests.serving.tiny import SAMPLE, TinyPlate

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)>"


def test_two_jobs_are_compared_and_the_table_is_kept(open_page: Open, plate: TinyPlate, tmp_path: Path, http: httpx.Client) -> None:
    """The same plate with tenfold doses: every IC50 is tenfold."""
    page = open_page()
    first = score(page, plate, name="parental")
    table = plate.table.assign(dose=10 * plate.table["dose"]).replace({"treatment": {"alpha": HOSTILE}})
    (tmp_path / "layout.csv").write_bytes(plate.csv(table))
    page.goto("/")
    second = score(page, plate, name=HOSTILE, layout=tmp_path / "layout.csv")
    page.goto(f"/#/jobs/{first}")
    page.get_by_role("link", name="Compare with another sample").click()
    page.get_by_label("Second sample").select_option(second)
    page.get_by_role("button", name="Compare", exact=True).click()
    row = page.locator("tbody tr", has_text="beta")
    row.wait_for()
    assert "10-fold" in row.inner_text()
    assert page.locator("main h2").inner_text() == f"{SAMPLE} ({HOSTILE}) over {SAMPLE} (parental)"
    assert page.locator("main img").count() == 0
    assert page.get_by_text(f"Only on {SAMPLE} (parental): alpha").is_visible()
    assert page.locator("svg.folds g").count() == 1
    name, data = saved(page, "#fold-csv")
    assert name == "img_src_x_onerror_alert_1-over-parental.csv"
    assert data == http.get(f"/jobs/{first}/against/{second}?format=csv").content
    found = pd.read_csv(io.BytesIO(data))
    assert found["fold"].tolist() == pytest.approx([10.0], rel=1e-6)
    answer = http.get(f"/jobs/{first}/against/{second}").json()
    assert answer["potencies"][0]["fold"] == pytest.approx(10.0, rel=1e-6)
    assert (answer["first"]["job"], answer["second"]["job"]) == (first, second)
    page.get_by_role("button", name="Exchange the two").click()
    page.locator("tbody tr", has_text="0.1-fold").wait_for()
    assert page.url.endswith(f"#/compare/{second}/{first}")
