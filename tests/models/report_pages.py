"""Tables of a small screen as a report takes them, and its page as a reader sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

import numpy as np
import pandas as pd

from models.networks.bundle import GateResult
from models.plates.screen import Screen
from models.report import ReportTables, render_report
from models.tables import CURVES, WELL_SCORES, check_table
from models.wells import well_name

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
