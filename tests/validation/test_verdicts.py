"""Verdicts on disk, and the page that a bench scientist reads."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.errors import Finding, ScreenError
from validation.pages import MAX_PER_RULE, screen_page
from validation.rules import Thresholds, judge_layout, judge_screen
from validation.verdicts import MAX_TOLD, Verdict, file_of, read_verdict, refused, require_accepted, write_verdict

if TYPE_CHECKING:
    from .conftest import Draft

WARNING = Finding(rule="replicates", severity="warning", message="few", plate="P1")
ERROR = Finding(rule="image_missing", severity="error", message="no image <here>", plate="P1", well="A01")


def test_a_verdict_survives_the_file(tmp_path: Path) -> None:
    verdict = Verdict(screen="ä", findings=(ERROR, WARNING), counts={"wells": 3})
    write_verdict(verdict, tmp_path / "ä.json")
    assert read_verdict(tmp_path / "ä.json") == verdict
    record = json.loads((tmp_path / "ä.json").read_text(encoding="utf-8"))
    assert record["accepted"] is False
    assert record["findings"][0]["file"] == "images/P1.zip"


def test_only_errors_refuse(tmp_path: Path) -> None:
    write_verdict(Verdict(screen="s", findings=(WARNING,)), tmp_path / "good.json")
    require_accepted(tmp_path / "good.json")
    write_verdict(Verdict(screen="s", findings=(WARNING, ERROR)), tmp_path / "bad.json")
    with pytest.raises(ScreenError, match=r"screen 's' is refused for 1 reason, in images/P1.zip; see .*bad.html") as refusal:
        require_accepted(tmp_path / "bad.json")
    assert refusal.value.findings == (ERROR,)


def test_a_command_tells_the_first_of_many_findings(tmp_path: Path) -> None:
    verdict = Verdict(screen="s", findings=tuple(Finding(rule="number", severity="error", message=f"{place}") for place in range(99)))
    write_verdict(verdict, tmp_path / "bad.json")
    with pytest.raises(ScreenError, match="refused for 99 reason") as told:
        require_accepted(tmp_path / "bad.json")
    assert len(told.value.findings) == MAX_TOLD
    with pytest.raises(ScreenError) as all_told:
        verdict.require()
    assert all_told.value.findings == verdict.findings


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"screen": "s", "counts": {}, "findings": [{"a": 1}]}'])
def test_what_is_no_verdict_accepts_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(ScreenError, match="dvc repro validate"):
        require_accepted(tmp_path / "x.json")


def test_a_refusal_always_has_a_reason() -> None:
    assert refused("s", (), message="gone").errors[0].message == "gone"
    assert file_of(Finding(rule="screen_field", severity="error", message="")) == "screen.yaml"
    assert file_of(Finding(rule="number", severity="error", message="")) == "layout.csv"


class Tags(HTMLParser):
    """Counts tags and checks that they close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_draws_the_plate_and_marks_the_well(draft: Draft, tmp_path: Path) -> None:
    row = draft.at("treated")
    draft.layout.loc[row, "dose"] = "<ten>"
    evidence = draft.evidence(tmp_path / "screen")
    verdict = draft.judge(tmp_path / "again")
    page = screen_page(verdict, evidence)
    counts = Tags(page).counts
    assert counts["circle"] == len(draft.layout)
    assert page.count("stroke='#b3261e'") == 1
    assert "&lt;ten&gt;" in page
    assert "<ten>" not in page
    assert "http" not in page
    assert page == screen_page(verdict, evidence)
    assert "Refused: 1 thing to put right" in page


def test_a_page_without_a_layout_and_with_many_findings() -> None:
    many = [replace(ERROR, message=f"image {place} is not there") for place in range(MAX_PER_RULE + 5)]
    page = screen_page(refused("s", [*many, replace(many[0], well="B02")]))
    assert "plate P1, wells A01, B02" in page
    Tags(page)
    assert "and 5 more of this kind" in page
    assert Tags(screen_page(Verdict(screen="fine"))).counts["p"] == 1


def test_a_layout_can_be_judged_without_its_images(draft: Draft, tmp_path: Path) -> None:
    draft.images["P1"].popitem()
    evidence = draft.evidence(tmp_path / "screen")
    assert evidence.inventory is not None
    assert judge_layout(evidence.parsed, evidence.screen) == ()
    both = judge_screen(evidence.parsed, evidence.screen, inventory=evidence.inventory)
    assert [finding.rule for finding in both.findings] == ["image_missing"]


@pytest.mark.parametrize(("name", "value"), [
    ("min_controls", 0), ("max_missing_readouts", 1.5), ("dilution_tolerance", -0.1), ("max_control_ratio", 0.5),
    ("series_correlation", 2)])
def test_thresholds_out_of_range_name_their_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}: must be"):
        Thresholds(**{name: value})
