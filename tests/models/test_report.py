"""The report page: what it says for hits, doubts, censoring and bad plates; that it is safe, offline and the same each time."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.dose_response.doubts import LEFT_OUT_WORDS
from models.errors import Finding
from models.networks.bundle import GateResult
from models.plates.screen import Screen
from models.report import ReportOptions, ReportTables, index_entry, render_index, render_report, render_text, report_view, treatment_table
from models.report.inputs import curve_names, wells_by_curve
from models.report.plate_figures import plate_map
from models.scoring import score_measured
from models.tables import CURVES, WELL_SCORES, check_table
from models.wells import well_name
from tests.conftest import tiny_layout

NAN = float("nan")
DOSES = (1.0, 10.0, 100.0, 1000.0, 10000.0)
SCREEN = Screen(name="patient-7", sample="PAT_7", kind="patient", plate_format=384)
LINEAGE = {"model": "profile-PAT_7", "version": "3",
           "run_id": "run-1", "git_commit": "c0ffee", "data_md5": "abc.dir", "bundle_sha256": "feed"}
GATE = GateResult(metric="z_prime_cv", value=0.7, minimum=0.3, maximum=None, passed=True, reason="z_prime_cv is 0.7, asked at least 0.3")
PASSED = (GATE,)
QUALITY = {"plate": "P1", "z_prime": 0.7, "z_prime_robust": 0.75, "z_prime_mad_mean": 0.72, "ssmd": -12.0,
           "n_negative": 4, "n_positive": 4, "reason": ""}
CURVE = {"treatment": "drug", "dose_unit": "nM", "scale": "percent_inhibition", "model": "4pl", "direction": "rising", "bottom": 0.0,
         "top": 100.0, "log10_midpoint": 2.0, "slope": 1.0, "asymmetry": 1.0, "hormesis": 0.0, "ec50": 100.0, "ec50_low": 60.0,
         "ec50_high": 170.0, "ec50_relation": "=", "ic50": 100.0, "ic50_low": 60.0, "ic50_high": 170.0, "ic50_relation": "=",
         "ic_level": 50.0, "rss": 1.0, "rmse": 1.0, "r2": 0.98, "log_likelihood": 1.0, "aicc": 1.0, "p_flat": 0.0, "p_lack_of_fit": 0.5,
         "rmse_doses": 1.0, "n": 10, "n_doses": 5, "n_outliers": 0, "dose_min": 1.0, "dose_max": 10000.0, "auc": 0.5, "dss1": 20.0,
         "dss2": 20.0, "dss3": 20.0, "dss_asym": 24.0, "status": "ok", "reason": ""}
CENSORED = {"ic50": 10000.0, "ic50_low": NAN, "ic50_high": NAN, "ic50_relation": ">", "dss_asym": 2.0}
NO_FIT = dict.fromkeys(
    ("bottom", "top", "log10_midpoint", "slope", "ec50", "ic50", "ic50_low", "ic50_high", "auc", "dss_asym", "r2"), NAN)
TOO_FEW = {**NO_FIT, "ic50_relation": "", "ec50_relation": "", "status": "too_few_doses", "reason": "2 usable doses; a curve needs 4"}


def make_wells(*treatments: str, plate: str = "P1") -> pd.DataFrame:
    """Treatments x 5 doses x 2, and four control wells of each kind, on one plate."""
    rows = [(role, "", NAN, 1, level) for role, level in (("negative", 1.0), ("positive", 0.0)) for _ in range(4)]
    rows += [("treated", name, dose, replicate, 1 / (1 + dose / 100.0)) for name in treatments for dose in DOSES for replicate in (1, 2)]
    table = pd.DataFrame(rows, columns=["role", "treatment", "dose", "replicate", "viability"])
    table["viability"] += 0.01 * np.cos(np.arange(len(table)))
    return check_table(table.assign(
        plate=plate, well=[well_name(*divmod(index, 24)) for index in range(len(table))],
        dose_unit=np.where(table["dose"].notna(), "nM", ""),
        logit=NAN, probability=0.2 + 0.6 * table["viability"], od=NAN, flags=pd.Series([[] for _ in range(len(table))], dtype=object),
        excluded=False, exclusion_reason="", model="profile-PAT_7", version="3"), WELL_SCORES)


def make_tables(*curves: dict[str, object], quality: dict[str, object] | None = None, wells: pd.DataFrame | None = None) -> ReportTables:
    rows = pd.DataFrame([CURVE | curve for curve in curves], columns=list(CURVE))
    wells = make_wells(*rows["treatment"]) if wells is None else wells
    return ReportTables(wells=wells, curves=check_table(rows, CURVES), quality=pd.DataFrame([QUALITY | (quality or {})]))


def render(tables: ReportTables, *, screen: Screen = SCREEN, gates: tuple[GateResult, ...] = PASSED, **more: object) -> str:
    return render_report(tables, screen=screen, lineage=LINEAGE, gates=gates, **more)


@dataclass
class Element:
    name: str
    attributes: dict[str, str]


class Page(HTMLParser):
    """Text as a reader sees it, elements, and whether tags are balanced."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open, self.open
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)


def rows_of(source: str) -> dict[str, str]:
    """Text of every row of the treatments' table by its first cell."""
    body = source.split('<table class="sortable"', 1)[1].split("</table>", 1)[0]
    texts = [re.sub(r"\s+", " ", Page(f"<table>{row}</table>").text).strip() for row in re.findall(r"<tr data-name.*?</tr>", body, re.S)]
    return {text.split(" ")[0]: text for text in texts}


def test_a_clear_effect_on_a_good_plate_is_a_hit_with_its_reason() -> None:
    row = rows_of(render(make_tables({}, {"treatment": "other"}, {"treatment": "third"}, {"treatment": "weak", **CENSORED})))
    assert "hit DSS_asym 24.0 ≥ 10, curve ok, controls ok 100 nM 60 to 170 nM 24.0 0.50 1.00 0.98 ok" in row["drug"]
    assert "no hit DSS_asym 2.0 is below 10 > 10 µM beyond the tested doses" in row["weak"]


def test_a_score_at_the_threshold_is_a_hit_if_noise_cannot_have_put_it_there() -> None:
    def row(**changes: object) -> str:
        return rows_of(render(make_tables(changes)))["drug"]

    assert "drug hit DSS_asym 10.0 ≥ 10" in row(dss_asym=10.0, rmse=0.0, bottom=30.0, top=30.0)
    assert "hit DSS_asym 11.5 ≥ 10" in row(dss_asym=11.5)
    assert "cannot say DSS_asym 10.5 would be a hit, but within its noise it may lie on either side (9.1 to 11.9)" in row(dss_asym=10.5)
    assert "cannot say DSS_asym 9.5 is below 10, but within its noise it may lie on either side" in row(dss_asym=9.5)
    assert "no hit DSS_asym 8.0 is below 10" in row(dss_asym=8.0)


def test_a_score_of_plates_that_disagree_is_no_no() -> None:
    reason = "plates disagree beyond their noise (p 1e-06): IC50 1 nM on P1, > 10 nM on P2"
    row = rows_of(render(make_tables({"dss_asym": 6.0, "status": "weakly_identified", "reason": reason})))["drug"]
    assert f"cannot say DSS_asym 6.0 is below 10, but {reason}" in row


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


def test_the_headline_counts_hits_and_doubts() -> None:
    page = Page(render(make_tables({}, {"treatment": "b"}, {"treatment": "c", **CENSORED}, {"treatment": "d", **TOO_FEW})))
    assert "2 hits among 4 treatments. 1 cannot be judged." in page.text
    assert "1 plate, excellent" in page.text


def test_few_treatments_are_named_at_the_top() -> None:
    assert "drug: IC50 100 nM (60 to 170 nM)." in Page(render(make_tables({}))).text


@pytest.mark.parametrize(("curve", "said", "never"), [
    (TOO_FEW, "cannot say: too few doses", "100 nM"),
    ({**NO_FIT, "status": "failed", "ic50_relation": ""}, "cannot say: the fit failed", "100 nM"),
    ({"status": "weakly_identified", "reason": "slope at its bound", "dss_asym": 24.0}, "≈ 100 nM", "<strong>100 nM"),
    ({"ic50_high": NAN}, "≈ 100 nM", "<strong>100 nM"),
    (CENSORED, "&gt; 10 µM", "<strong>10 µM"),
    ({**CENSORED, "ic50": 1.0, "ic50_relation": "<"}, "&lt; 1 nM", "<strong>1 nM"),
])
def test_a_number_is_never_shown_as_certain_when_it_is_not(curve: dict[str, object], said: str, never: str) -> None:
    table = render(make_tables(curve)).split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    assert said in table
    assert never not in table


@pytest.mark.parametrize(("curve", "quality", "gates", "reason"), [
    ({"status": "weakly_identified", "reason": "no more responses than parameters"}, {}, PASSED,
     "a hit, but the curve is weakly determined (no more"),
    ({"status": "weakly_identified", "reason": "slope at its bound; well B03 drags it"}, {}, PASSED, "but the curve is weakly determined"),
    ({"status": "weakly_identified", "reason": "slope at its bound", "dss_asym": 10.5}, {}, PASSED, "determined (slope at its bound)"),
    ({}, {"z_prime": -0.2}, PASSED, "drug cannot say controls overlap (Z′ below 0)"),
    ({"dss_asym": 1.0}, {"z_prime": -0.2}, PASSED, "drug cannot say controls overlap (Z′ below 0)"),
    ({}, {"z_prime": NAN, "n_positive": 1}, PASSED, "would be a hit, but the quality of plate P1 cannot be computed"),
    ({}, {}, (replace(GATE, passed=False, reason="too low"),), "the model did not pass its own checks (z_prime_cv)"),
])
def test_a_failed_check_makes_a_hit_a_cannot_say(curve: dict[str, object], quality: dict[str, object], gates: tuple[GateResult, ...],
                                                 reason: str) -> None:
    row = rows_of(render(make_tables(curve, quality=quality), gates=gates))["drug"]
    assert row.startswith("drug cannot say")
    assert reason in row


def test_a_sure_score_of_an_unsure_dose_is_a_hit() -> None:
    """A drug that kills from the second dose on: whatever its IC50, it kills."""
    weak = {"status": "weakly_identified", "reason": "a plateau at its bound; 1 of 12 " + LEFT_OUT_WORDS}
    row = rows_of(render(make_tables(weak)))["drug"]
    assert row.startswith("drug hit DSS_asym 24.0 ≥ 10, surely so, though the dose is weakly determined (a plateau at its bound")
    assert "≈ 100 nM" in row


def test_a_treatment_that_kills_at_every_dose_is_not_said_to_do_nothing() -> None:
    flat = {"status": "flat", "ic50": 1.0, "ic50_relation": "<", "dss_asym": 48.0, "reason": "no dependence on dose beyond noise"}
    row = treatment_table(make_tables(flat), screen=SCREEN, gates=PASSED).iloc[0]
    assert row["verdict"] == "cannot say"
    assert "would be a hit, but it acts so at every dose" in row["because"]
    assert "test lower doses" in row["because"]
    assert "no dependence" not in row["because"]


@pytest.mark.parametrize("curve", [{}, CENSORED, {**CENSORED, "status": "flat"}])
def test_no_number_of_a_plate_that_must_not_be_used_is_shown(curve: dict[str, object]) -> None:
    """Half of the treatment's wells are on a good plate, half on one whose controls overlap."""
    wells = pd.concat([make_wells("drug", plate=plate) for plate in ("P1", "P2")], ignore_index=True)
    bad = pd.DataFrame([QUALITY, QUALITY | {"plate": "P2", "z_prime": -5.3}])
    tables = replace(make_tables(curve, wells=wells), quality=bad)
    row = treatment_table(tables, screen=SCREEN, gates=PASSED).iloc[0]
    assert (row["verdict"], row["IC50"], row["curve"]) == ("cannot say", "cannot say: controls overlap (Z′ below 0)", "not judged")
    assert np.isnan(row["dss_asym"])
    assert np.isnan(row["AUC"])
    said = render_text(tables, screen=SCREEN)
    assert "cannot say: controls overlap" in said
    assert "µM" not in said
    shown = report_view(tables, screen=SCREEN, lineage=LINEAGE)["treatments"][0]
    assert (shown["half"], shown["interval"], shown["score"], shown["panel"]["mark"]) == (row["IC50"], "", "–", None)


def test_controls_that_the_model_learned_from_do_not_make_a_plate_excellent_without_a_word() -> None:
    tables = make_tables({})
    assert "1 plate, excellent" in Page(render(tables)).text
    assert "learned from" not in Page(render(tables)).text
    control = tables.wells.index[tables.wells["role"] == "positive"][0]
    tables.wells.at[control, "flags"] = ["training_well"]
    text = Page(render(tables)).text
    assert "1 plate, excellent, but by wells that the model learned from" in text
    assert "Z′ 0.70: excellent, but by wells that the model learned from" in text


def test_a_plate_that_must_not_be_used_is_said_at_the_top() -> None:
    page = Page(render(make_tables({}, quality={"z_prime": -0.4})))
    assert "Do not use plate P1." in page.text
    assert "Do not rely on it." in page.text


def raw_tables() -> ReportTables:
    curve = {"scale": "raw", "bottom": 0.2, "top": 1.6, "direction": "falling", "ic50": NAN, "ic50_relation": "", "dss_asym": NAN,
             "auc": NAN}
    tables = make_tables(curve, quality={"z_prime": NAN, "z_prime_robust": NAN, "n_positive": 0, "reason": "no positive control wells"})
    wells = tables.wells[tables.wells["role"] != "positive"]
    return replace(tables, wells=wells.assign(od=1.6 * wells["viability"], viability=NAN, probability=NAN))


def test_a_raw_screen_shows_ec50_and_says_why_there_is_no_z_prime() -> None:
    source = render(raw_tables(), screen=replace(SCREEN, controls="negative"))
    page = Page(source)
    assert "drug: EC50 100 nM (60 to 170 nM)." in page.text
    assert "Z′ cannot be computed because the plate has no positive control (at least 2 wells are needed)" in page.text
    assert "Hits are not called" in page.text
    assert "EC50 100 nM" in page.text
    assert "IC50" not in source.split('id="treatments"', 1)[1]
    assert 'class="bar' not in source.split("<h2", 1)[1]


def test_measured_wells_without_controls_are_drawn() -> None:
    measured = score_measured(tiny_layout(), screen=replace(SCREEN, controls="none"))
    source = render(measured, screen=replace(SCREEN, controls="none"))
    assert "no value to draw" not in source
    assert "not drawn" not in source
    assert "read-out" in source.split('id="treatments"', 1)[1]


def test_a_hit_of_a_screen_without_positive_control_says_so() -> None:
    tables = make_tables({}, quality={"z_prime": NAN, "n_positive": 0})
    assert "plate quality unknown (no positive control)" in rows_of(render(tables, screen=replace(SCREEN, controls="negative")))["drug"]


def test_nothing_computable_is_a_page_with_reasons() -> None:
    tables = make_tables(TOO_FEW, quality={"z_prime": NAN, "n_negative": 0, "n_positive": 0})
    wells = tables.wells.assign(viability=NAN, probability=NAN)
    findings = (Finding(rule="controls", severity="error", message="no controls", plate="P1"),)
    page = Page(render(replace(tables, wells=wells, findings=findings)))
    assert "no value to draw" in page.text
    assert "no negative control and no positive control" in page.text
    assert "error no controls (P1)" in page.text


def test_a_screen_without_curves_or_wells_is_still_a_page() -> None:
    tables = ReportTables(wells=make_wells().iloc[:0], curves=pd.DataFrame({name: [] for name in CURVE}), quality=pd.DataFrame())
    assert "No treatment could be fitted." in Page(render(tables)).text


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


def test_findings_that_differ_only_in_the_well_are_one() -> None:
    findings = tuple(Finding(rule="no_image", severity="warning", plate="P1", well=well, message=f"well {well} has no image")
                     for well in ("A01", "A02"))
    assert "warning each of the wells has no image (P1 A01, P1 A02)" in Page(render(replace(make_tables({}), findings=findings))).text
    assert "warning well A01 has no image (P1)" in Page(render(replace(make_tables({}), findings=findings[:1]))).text   # a whole sentence


def test_treatments_in_words_for_a_spreadsheet() -> None:
    tables = make_tables({"treatment": "weak", **CENSORED}, {"treatment": "strong"}, {"treatment": "few", **TOO_FEW})
    table = treatment_table(tables, screen=SCREEN, gates=PASSED).set_index("treatment")
    assert list(table.index) == ["strong", "few", "weak"]
    assert table["verdict"].tolist() == ["hit", "cannot say", "no hit"]
    assert table["IC50"].tolist() == ["100 nM", "cannot say: too few doses", "> 10 µM"]
    assert table["dss_asym"].tolist()[0] == 24.0
    assert table.loc["few", "curve: why"] == "2 usable doses; a curve needs 4"


def test_a_dose_of_another_level_is_never_called_ic50() -> None:
    """Asked for IC25, report, page and tables in words said IC50 of it."""
    asked = {"ic_level": 25.0}
    tables = make_tables(asked, {"treatment": "weak", **CENSORED, **asked})
    page, view = Page(render(tables)), report_view(tables, screen=SCREEN, lineage=LINEAGE, gates=PASSED)
    shown = [page.text, render_text(tables, screen=SCREEN), str(list(treatment_table(tables, screen=SCREEN))), str(view)]
    assert ["IC50" in words for words in shown] == [False] * 4
    assert ["IC25" in words for words in shown] == [True] * 4
    assert "crosses 75 %" in page.text
    assert (view["summary"]["half"], view["treatments"][0]["panel"]["half_line"]) == ("IC25", 75.0)


def test_a_curve_that_was_asked_for_no_interval_has_none_rather_than_an_open_one() -> None:
    tables = make_tables({"ic50_low": NAN, "ic50_high": NAN})
    narrow = render_text(replace(tables, curves=tables.curves.assign(level=0.8)), screen=SCREEN)
    assert "80 % interval" in narrow
    assert "interval open on both sides" in narrow
    assert "≈ 100 nM  no interval" in render_text(replace(tables, curves=tables.curves.assign(level=NAN)), screen=SCREEN)


def test_lineage_metrics_and_gates_are_shown() -> None:
    text = Page(render(make_tables({}), metrics={"r2": {"cv": 0.912345, "loss": None}})).text
    for words in ("model profile-PAT_7", "version 3", "run run-1", "git commit c0ffee", "data md5 abc.dir", "bundle sha256 feed",
                  "r2 / cv 0.9123", "passed z prime cv: z_prime_cv is 0.7"):
        assert words in text
    assert "run not recorded" in Page(render_report(make_tables({}), screen=SCREEN, lineage={})).text


def test_curves_by_plate_take_only_their_own_wells() -> None:
    wells = pd.concat([make_wells("drug"), make_wells("drug", plate="P2")], ignore_index=True)
    curves = pd.DataFrame([CURVE, CURVE]).assign(plate=["P2", "P1"])
    assert curve_names(curves, wells) == ["drug · plate P2", "drug · plate P1"]
    assert [set(wells["plate"].iloc[own]) for own in wells_by_curve(curves, wells)] == [{"P2"}, {"P1"}]


def test_wells_cut_out_of_a_larger_table_are_drawn() -> None:
    wells = pd.concat([make_wells("drug"), make_wells("drug", plate="P2")])      # repeated index
    assert render(make_tables({}, wells=wells)) == render(make_tables({}, wells=wells.reset_index(drop=True)))


def test_another_score_and_threshold_decide_when_asked() -> None:
    options = ReportOptions(hit_score="dss2", hit_threshold=30)
    assert "no hit DSS2 20.0 is below 30" in rows_of(render(make_tables({}), options=options))["drug"]
    with pytest.raises(ValueError, match="hit_score"):
        ReportOptions(hit_score="dss9")
    with pytest.raises(ValueError, match="hit_threshold"):
        ReportOptions(hit_threshold=-1)


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
