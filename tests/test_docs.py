"""The documentation says what the code does: tables and units, links, commands, modules named in pages."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest

from models.columns import Contract
from models.tables import CONTRACTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TABLES = ROOT / "docs" / "tables.md"
HEADER = """# Tables and units

What flows through Dosewell. A row is never dropped silently: rows in are rows out, with a status or a flag. Columns in *italics* are
optional; further columns are kept as they are. This page is made from `models/tables.py` (`DOSEWELL_ACCEPT=1 pytest tests/test_docs.py`).
"""


def tables_page() -> str:
    return HEADER + "".join(f"\n## {contract.name}\n\nOne row per {contract.row}.\n\n{table(contract)}" for contract in CONTRACTS)


def table(contract: Contract) -> str:
    lines = ["| column | kind | unit | meaning |", "|---|---|---|---|"]
    for column in contract.columns:
        name = f"`{column.name}`" if column.required else f"*`{column.name}`*"
        allowed = f" ({', '.join(filter(None, column.allowed))})" if column.allowed else ""
        lines.append(f"| {name} | {column.kind} | {column.unit} | {column.meaning}{allowed} |")
    return "\n".join(lines) + "\n"


def test_tables_page_is_that_of_the_contracts() -> None:
    if os.environ.get("DOSEWELL_ACCEPT"):
        TABLES.write_text(tables_page(), encoding="utf-8")
    assert TABLES.read_text(encoding="utf-8") == tables_page(), "docs/tables.md is old: DOSEWELL_ACCEPT=1 pytest tests/test_docs.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_make_targets_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    modules = set(re.findall(r"python -m ((?:models|pipelines|serving|validation|benchmarks)[\w.]*)", text))
    assert not [module for module in modules if importlib.util.find_spec(module) is None]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make (\w+)", text)) | set(re.findall(r"^make (\w+)", text, flags=re.MULTILINE))
    assert not [target for target in targets if f"\n{target}:" not in makefile]


def test_readme_names_the_two_commands_first() -> None:
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8")[:1500]
    assert "make demo" in first_screen
    assert "make test" in first_screen
    assert "![" in first_screen


def test_every_environment_variable_is_in_the_table_of_settings() -> None:
    """What the code names, docs/operations.md explains; and it explains nothing that no code names."""
    code = {name for folder in ("models", "validation", "pipelines", "serving") for path in (ROOT / folder).rglob("*.py")
            for name in re.findall(r"\"((?:DOSEWELL_[A-Z_]*[A-Z]|MLFLOW_PORT|MLFLOW_TRACKING_URI|SERVICE_PORT))\"",
                                   path.read_text(encoding="utf-8"))}
    settings = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("## Settings")[2].partition("\n## ")[0]
    told = set(re.findall(r"`([A-Z][A-Z_]+)`", "\n".join(line for line in settings.splitlines() if line.startswith("|"))))
    assert len(code) > 20
    assert code <= told, f"docs/operations.md lacks {sorted(code - told)}"
    assert told - code == {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}     # MLflow reads them itself
    for_tests = {name for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
                 for name in re.findall(r"environ[\w.]*[(\[]\"(DOSEWELL_[A-Z_]*[A-Z])\"", path.read_text(encoding="utf-8"))}
    assert not [name for name in for_tests if f"`{name}`" not in settings]


def test_every_metric_is_in_the_table_of_metrics() -> None:
    text = (ROOT / "serving" / "metrics.py").read_text(encoding="utf-8")
    names = {name + ("_total" if kind == "Counter" else "") for kind, name in re.findall(r"(Counter|Gauge|Histogram)\(\"(\w+)\"", text)}
    watch = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("## Watch")[2].partition("\n## ")[0]
    told = set(re.findall(r"`(dosewell_\w+)`", "\n".join(line for line in watch.splitlines() if line.startswith("|"))))
    assert len(names) > 10
    assert told == names
    anywhere = {name for page in PAGES for name in re.findall(r"`(dosewell_\w+)", page.read_text(encoding="utf-8"))}
    assert anywhere == names
