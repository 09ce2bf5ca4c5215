"""The page of a report as a document: escaped, self-contained, small, readable by keyboard and screen reader."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import Finding
from models.report import index_entry, render_index, render_report
from models.report.plate_figures import plate_map
from models.wells import well_name
from tests.models.oracle import SCREEN
from tests.models.report_pages import CENSORED, GATE, LINEAGE, NAN, QUALITY, TOO_FEW, Page, make_tables, make_wells, render


@pytest.mark.parametrize(("curve", "words"), [
    ({}, "fitted viability goes from 99 % to 1 %"),
    ({"scale": "fraction_viability", "direction": "falling", "top": 1.0}, "fitted viability goes from 99 % to 1 %"),
    ({"scale": "raw", "direction": "falling", "bottom": 0.2, "top": 1.6}, "fitted read-out goes from 1.59 to 0.21"),
    (TOO_FEW, "points only, no curve")])
def test_curves_of_every_scale_are_drawn_as_viability_or_read_out(curve: dict[str, object], words: str) -> None:
    assert f"Dose-response of drug: {words}" in render(make_tables(curve))


def test_the_interval_that_is_drawn_is_the_one_to_go_by() -> None:
    """A model's error makes it wider; an open end runs to the edge, and with both open no dose is ruled out: that had no band at all."""
    def width(**limits: float) -> float:
        tables = make_tables({})
        found = Page(render(replace(tables, curves=tables.curves.assign(**limits)))).elements
        return max(float(one.attributes["width"]) for one in found if one.attributes.get("class") == "band" and "y" in one.attributes)
    assert width() < width(ic50_model_low=50.0, ic50_model_high=400.0) < width(ic50_model_low=50.0, ic50_model_high=NAN) \
        < width(ic50_model_low=NAN, ic50_model_high=NAN)


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&{{ 7*7 }}"


def test_everything_a_user_names_is_escaped() -> None:
    tables = make_tables({"treatment": HOSTILE, "reason": HOSTILE, "status": "weakly_identified"},
                         *({"treatment": f"t{index}"} for index in range(4)))
    wells = tables.wells.copy()
    wells["plate"] = HOSTILE
    wells.at[9, "flags"] = [HOSTILE]
    wells.loc[10, ["excluded", "exclusion_reason"]] = [True, HOSTILE]
    tables = replace(tables, wells=wells, quality=pd.DataFrame([QUALITY | {"plate": HOSTILE}]),
                     findings=(Finding(rule="r", severity="warning", message=HOSTILE, plate=HOSTILE, well=HOSTILE),))
    screen = replace(SCREEN, name=HOSTILE, sample=HOSTILE, assay=HOSTILE, source=HOSTILE)
    source = render_report(tables, screen=screen, lineage={**LINEAGE, HOSTILE: HOSTILE}, metrics={HOSTILE: HOSTILE},
                           gates=(replace(GATE, metric=HOSTILE, reason=HOSTILE),), links={HOSTILE: "a.html"})
    index = render_index([index_entry(tables, file="a.html", screen=screen, lineage={"model": HOSTILE})])
    for text in (source, index):
        page = Page(text)
        assert sum(element.name == "script" for element in page.elements) == 1
        assert not any(element.name == "img" for element in page.elements)
        assert not any(name.startswith("on") for element in page.elements for name in element.attributes)
        assert "49" not in re.findall(r"&amp;(\S+)", text)
    assert HOSTILE in Page(source).text


@pytest.mark.parametrize("address", [
    "javascript:alert(1)", " JavaScript:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "vbscript:x", "http://[", ""])
def test_only_web_and_relative_links_are_kept(address: str) -> None:
    assert ">bad link<" not in render(make_tables({}), links={"bad link": address})
    assert '<a href="../docs/x.html"' in render(make_tables({}), links={"good": "../docs/x.html"})


def test_the_page_fetches_nothing_and_is_the_same_each_time() -> None:
    tables = make_tables({}, {"treatment": "b", **TOO_FEW})
    source = render(tables)
    assert source == render(tables)
    assert "default-src &#39;none&#39;" in source
    page = Page(source)
    assert not [e for e in page.elements if e.name in ("link", "img", "iframe", "object") or "src" in e.attributes]
    assert all(not e.attributes.get("href", "").startswith(("http", "//")) for e in page.elements)
    assert "@import" not in source


def test_the_policy_names_the_script_that_the_page_holds() -> None:
    source = render(make_tables({}))
    script = source.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"sha256-{digest}" in source


def test_seventy_five_curves_stay_small() -> None:
    source = render(make_tables(*({"treatment": f"compound {index:02d}", "dss_asym": index / 3} for index in range(75))),
                    screen=replace(SCREEN, plate_format=1536))
    assert len(source.encode()) < 1_500_000
    assert source.count('class="curve"') == 75


def test_every_drawing_is_well_formed_and_named() -> None:
    source = render(make_tables({}, {"treatment": "b", **CENSORED}, {"treatment": "c", **TOO_FEW}, {"treatment": "d"}, {"treatment": "e"},
                                {"treatment": "f"}))
    drawings = re.findall(r"<svg.*?</svg>", source, re.S)
    assert len(drawings) > 8
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("aria-label") or root.get("aria-hidden") == "true"
        assert "nan" not in drawing


def test_the_page_is_usable_by_keyboard_and_screen_reader() -> None:
    page = Page(render(make_tables({})))
    assert sum(e.name == "h1" for e in page.elements) == 1
    assert [e.attributes["lang"] for e in page.elements if e.name == "html"] == ["en"]
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    targets = [e.attributes["href"][1:] for e in page.elements if e.attributes.get("href", "").startswith("#")]
    assert set(targets) <= set(ids)
    assert all("scope" in e.attributes for e in page.elements if e.name == "th")
    assert all("aria-label" in e.attributes for e in page.elements if "tabindex" in e.attributes)


def test_excluded_and_flagged_points_differ_in_shape() -> None:
    tables = make_tables({})
    wells = tables.wells.copy()
    wells.loc[8, ["excluded", "exclusion_reason"]] = [True, "pipetting error"]
    flags = {8: ["debris"], 9: ["out_of_focus"], 12: ["training_well"]}
    wells["flags"] = pd.Series([np.array(flags.get(index, []), dtype=object) for index in wells.index], dtype=object)  # as Parquet has it
    source = render(replace(tables, wells=wells))
    panel = source.split('<svg viewBox', 1)[1].split("</svg>", 1)[0]
    assert panel.count('class="hollow"') == 1
    assert panel.count('class="flagged"') == 1
    assert panel.count('class="pt"') == 8
    text = Page(source).text
    assert "dirt in the image (large bright or dark objects); pipetting error left out A09 drug 1 nM" in text
    assert "image out of focus used in its curve, with doubt A10 drug 1 nM" in text
    assert "trained on 1 well of this screen" in text


def test_flagged_wells_stand_on_the_plate_map_with_their_reason_whoever_left_them_out() -> None:
    wells = make_wells("drug")
    flags = {8: ["out_of_focus", "debris"], 9: ["saturated"], 10: ["duplicate_image"]}
    wells["flags"] = pd.Series([flags.get(index, []) for index in wells.index], dtype=object)
    wells.loc[8, ["excluded", "exclusion_reason"]] = [True, "by rule: out_of_focus, debris"]
    wells.loc[9, "exclusion_reason"] = "the drug glows"
    source = render(make_tables({}, wells=wells))
    assert re.search(r"A09 treated; drug 1 nM;[^<]*; image out of focus; dirt in the image[^<]*; left out</title>", source)
    assert re.search(r"A10 treated; [^<]*; image overexposed[^<]*; a person keeps it: the drug glows</title>", source)
    drawn = source.split('aria-label="Heat map of P1"', 1)[1].split("</figure>", 1)[0]
    assert re.findall(r'class="v code [^"]*"[^>]*>(\w+)<', drawn) == ["FD", "S", "C"]
    text = Page(source).text
    assert "F image out of focus" in text
    assert "S image overexposed (saturated pixels)" in text
    assert "E well looks empty" not in text     # the key names what is there
    assert "image out of focus; dirt in the image (large bright or dark objects) left out by a rule A09" in text
    assert "a person keeps it: the drug glows used in its curve, with doubt A10" in text
    assert "by rule:" not in text


def test_wells_outside_the_declared_format_are_still_drawn() -> None:
    wells = make_wells("drug", "other", "third").assign(well=lambda table: [well_name(*divmod(index, 24)) for index in range(len(table))])
    drawing = plate_map(wells, plate_format=96, limits=(0.0, 100.0), values=100 * wells["viability"])
    assert str(drawing).count("<title>") == len(wells)


def test_of_many_treatments_the_first_are_drawn_and_all_have_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = make_tables(*({"treatment": f"drug-{score}", "dss_asym": float(score)} for score in (11, 30, 20)))
    whole = render(tables)
    assert whole.count("<figure id=") == 3
    assert "too large to open" not in whole
    monkeypatch.setattr("models.report.treatments.MOST_PANELS", 2)
    page = render(tables)
    assert [name in page for name in ('id="curve-1" data-name="drug-30"', 'id="curve-2" data-name="drug-20"', 'id="curve-3"')] == [
        True, True, False]
    assert "#curve-3" not in page
    assert '<th scope="row">drug-11</th>' in page
    assert "The curves of the first 2 treatments of the table are drawn. The other 1 have their numbers there" in page


def test_bars_stand_out_from_what_is_behind_them() -> None:
    """At least 3 to 1 (WCAG 1.4.11), in light, dark and print."""
    css = (Path(__file__).parents[2] / "models/report/templates/page.css").read_text()
    palettes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", block)) for block in re.findall(r":root \{(.*?)\}", css, flags=re.S)]
    assert len(palettes) == 3

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = np.array([int(digits[at:at + 2], 16) / 255 for at in (0, 2, 4)])
        return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))
    for palette in palettes:
        for behind in ("page", "card", "soft"):
            dark, light = sorted((luminance(palette["bar"]), luminance(palette[behind])))
            assert (light + 0.05) / (dark + 0.05) >= 3, (palette["bar"], behind)
