"""Data Docs that open without a network: no scripts, styles, fonts or pictures from elsewhere, nothing that phones home."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from validation.verdicts import Verdict

_SCRIPTS = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)
_FILES = re.compile(r"<(?:link|img|iframe)\b[^>]*>", re.IGNORECASE)     # local ones would lie in a folder that is not written
_REMOTE_URLS = re.compile(r"url\(\s*['\"]?(?:https?:)?//[^)]*\)", re.IGNORECASE)
_TOGGLES = re.compile(r"<a\b[^>]*data-toggle=[^>]*>.*?</a>", re.DOTALL | re.IGNORECASE)     # need the scripts
_ANCHORS = re.compile(r"<a\b[^>]*href=[\"'][^#][^>]*>(.*?)</a>", re.DOTALL | re.IGNORECASE)  # to pages of another folder
_IDS = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_REMOTE = re.compile(r"\b(?:src|href|srcset|data|action|poster)\s*=\s*[\"']?(?:https?:)?//|url\(\s*['\"]?(?:https?:)?//|@import",
                     re.IGNORECASE)

STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;background:#fff;margin:0}
.container-fluid{padding:1rem 2rem}.row{display:flex;flex-wrap:wrap;gap:1rem}.col-12{flex:0 0 100%}
.col-md-10,.col-lg-10{flex:1 1 40rem;min-width:0}.navbar,.col-md-2,.col-lg-2,.collapse,
.cloud-footer,.modal,.d-none,.cta,footer{display:none}
.card{border:1px solid #d8dee6;border-radius:6px;padding:.75rem;margin:.5rem 0;background:#fff}
table{border-collapse:collapse;width:100%}th,td{border:1px solid #d8dee6;padding:.4rem .6rem;text-align:left;vertical-align:top}
th{background:#f3f5f8}.badge{background:#eef1f5;border-radius:4px;padding:0 .35em;font-size:85%;font-family:ui-monospace,monospace}
td:first-child{white-space:nowrap}.list-inline{list-style:none;padding:0}a{color:#0b5cad}
.text-success{color:#19733a}.text-danger{color:#b3261e}.fa-check-circle:before{content:"\\2714"}.fa-times:before{content:"\\2718"}
.fa-exclamation-triangle:before{content:"\\26A0"}h1{font-size:1.6rem}h5,h6,.card-title{font-size:1.05rem;margin:.6rem 0 .3rem}
.alert{padding:.5rem .75rem;border-radius:6px;background:#f3f5f8}
"""


def offline_page(page: str) -> str:
    """The page without anything that is loaded from elsewhere, with a small style of its own.

    Raises ValueError if a remote load is left, so that an update of the renderer cannot bring one in unseen.
    """
    for pattern, replacement in ((_SCRIPTS, ""), (_FILES, ""), (_REMOTE_URLS, "none"), (_TOGGLES, ""), (_ANCHORS, r"\1"), (_IDS, "")):
        page = pattern.sub(replacement, page)
    page = page.replace("</head>", f"<style>{STYLE}</style></head>", 1)
    page = page.replace("Data asset: None<br>", "")  # says the result has no checkpoint; it needs none
    page = page.replace("<body>", "<body><p class='container-fluid'><a href='index.html'>All screens</a></p>", 1)
    left = _REMOTE.search(page)
    if left:
        raise ValueError(f"Data Docs would load from elsewhere: {page[left.start():left.start() + 120]!r}")
    return "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n"


def write_index(verdicts: Sequence[Verdict], path: Path, *, reports: str) -> None:
    """The first page of the Data Docs: a row per screen. reports: relative folder of the screens' own pages."""
    rows = "".join(
        f"<tr><td>{html.escape(verdict.screen)}</td>"
        f"<td class='text-{'success' if verdict.accepted else 'danger'}'>{'accepted' if verdict.accepted else 'refused'}</td>"
        f"<td>{len(verdict.errors)}</td><td>{len(verdict.warnings)}</td>"
        f"<td><a href='{html.escape(verdict.screen)}.html'>expectations</a></td>"
        f"<td><a href='{html.escape(reports)}/{html.escape(verdict.screen)}.html'>what to do</a></td></tr>" for verdict in verdicts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Data Docs</title>"
                    f"<style>{STYLE}</style></head><body><div class='container-fluid'><h1>Screens and what was expected of them</h1>"
                    "<table><tr><th>screen</th><th>verdict</th><th>errors</th><th>warnings</th><th>Data Docs</th><th>report</th></tr>"
                    f"{rows}</table></div></body></html>\n", encoding="utf-8")
