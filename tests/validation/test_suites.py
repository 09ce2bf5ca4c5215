"""The Great Expectations suite says what the rules say, loses none of them, and its pages work offline."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.errors import ScreenError
from validation import suites
from validation.data_docs import offline_page, write_index
from validation.evidence import Rule
from validation.rules import RULES
from validation.verdicts import Verdict, refused

if TYPE_CHECKING:
    from .conftest import Draft


class Loads(HTMLParser):
    """Everything that a page loads or links to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.urls += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action") and value]


def spoil(draft: Draft) -> Draft:
    draft.layout.loc[draft.at("treated"), "dose"] = "ten"
    draft.layout.loc[draft.at("treated", 2), "well"] = draft.layout.at[draft.at("treated", 1), "well"]
    draft.layout = draft.layout[draft.layout["role"] != "positive"].reset_index(drop=True)
    return draft


def test_suite_and_rules_agree(draft: Draft, tmp_path: Path) -> None:
    direct = spoil(draft).judge(tmp_path / "direct")
    verdict, page = suites.validate_screen(draft.evidence(tmp_path / "suite"))
    assert verdict == direct
    assert {"number", "well_unique", "controls_present"} <= {finding.rule for finding in verdict.errors}
    for text in ("'ten' in column dose is not a number", "keep one line", "has no positive control well, where 3 are needed"):
        assert text.replace("'", "&#39;") in page or text in page


def test_each_rule_has_one_expectation() -> None:
    assert sorted(one.rule for one in suites.EXPECTATIONS) == sorted(rule.name for rule in RULES)


def test_the_page_names_each_rule_and_loads_nothing(draft: Draft, tmp_path: Path) -> None:
    evidence = draft.evidence(tmp_path / "screen")
    verdict, page = suites.validate_screen(evidence)
    assert verdict.accepted
    for rule in RULES:
        assert rule.title in page
    loads = Loads(page)
    assert not re.search(r"(?:https?:)?//[a-z]|@import|url\(", page, re.IGNORECASE)
    assert not {"script", "img", "iframe", "link"} & set(loads.tags)
    assert all(url.startswith("#") or url == "index.html" for url in loads.urls)
    assert suites.validate_screen(evidence)[1] == page


def test_a_missing_expectation_is_an_error(draft: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *kept, lost = suites.EXPECTATIONS
    monkeypatch.setattr(suites, "EXPECTATIONS", kept)
    with pytest.raises(ScreenError, match=f"expectations are missing: {lost.rule}$"):
        suites.validate_screen(draft.evidence(tmp_path / "screen"))


def test_a_broken_rule_is_an_error(draft: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> list[object]:
        raise ZeroDivisionError("by zero")
    name = suites.EXPECTATIONS[0].rule
    rules = dict(suites._BY_NAME) | {name: Rule(name, "layout", "It breaks", broken)}
    monkeypatch.setattr(suites, "_BY_NAME", rules)
    with pytest.raises(ScreenError, match="rules broke: expect_dosewell_table_repaired"):
        suites.validate_screen(draft.evidence(tmp_path / "screen"))


@pytest.mark.parametrize("load", [
    '<video src="https://x.org/a.mp4">', '<object data="//x.org/a">', "<style>@import 'https://x.org/a.css';</style>",
    '<source srcset="https://x.org/a.png">'])
def test_a_load_from_elsewhere_that_is_not_known_is_refused(load: str) -> None:
    with pytest.raises(ValueError, match="would load from elsewhere"):
        offline_page(f"<html><head></head><body>{load}</body></html>")


def test_known_loads_are_taken_out() -> None:
    page = offline_page("<html><head><script src='https://x.org/a.js'></script><link href='//x.org/a.css'></head><body>"
                        "<img src='https://x.org/logo.png'><a href='https://x.org'>name</a><p style=\"background:url('https://x.org/b')\">"
                        "</body></html>")
    assert "x.org" not in page
    assert "name" in page


def test_the_index_lists_every_screen(tmp_path: Path) -> None:
    write_index([Verdict(screen="good"), refused("<bad>", (), message="no")], tmp_path / "index.html", reports="../validate")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "accepted" in page
    assert "refused" in page
    assert "&lt;bad&gt;" in page
    assert "../validate/good.html" in page


def test_rules_import_without_great_expectations_and_the_rest() -> None:
    code = ("import sys, validation.rules, validation.verdicts, validation.pages\n"
            "print([name for name in ('great_expectations', 'torch', 'mlflow', 'yaml', 'openpyxl', 'scipy') if name in sys.modules])")
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert answer.stdout.strip() == "[]"
