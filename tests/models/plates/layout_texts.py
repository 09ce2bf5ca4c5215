"""Layouts as text, read as a table or parsed."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from models.errors import Finding
from models.plates.layout import ParsedLayout, parse_layout
from models.plates.spreadsheets import read_table

GOOD = """plate,well,role,treatment,dose,dose_unit,replicate
P1,A01,negative,,,,1
P1,A02,positive,staurosporine,1000,nM,1
P1,A03,treated,wortmannin,0.5,nM,1
P1,A04,treated,wortmannin,0.5,nM,2
"""


def table(path: Path, text: str, encoding: str = "utf-8") -> pd.DataFrame:
    path.write_bytes(text.encode(encoding))
    return read_table(path)


def parsed(text: str, *, plate_format: int = 96, **options: str) -> ParsedLayout:
    return parse_layout(pd.read_csv(io.StringIO(text), dtype="str", keep_default_na=False), plate_format=plate_format,
                        **options)


def only(result: ParsedLayout, rule: str) -> Finding:
    found = [finding for finding in result.findings if finding.rule == rule]
    assert len(found) == 1, result.findings
    return found[0]
