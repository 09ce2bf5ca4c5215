"""The documentation says what the code does: tables and units, words that warn, links, commands, modules named in pages."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest

from models.columns import Contract
from models.counting import AttachedOptions, CellOptions
from models.dose_response import FitOptions, doubts
from models.dose_response.assay_quality import PlateQuality
from models.networks.recipe import (
    Augmentation,
    CotrainingSpec,
    GanSpec,
    Gate,
    HeadSpec,
    OptimizerSpec,
    Recipe,
    SplitSpec,
    TrunkSpec,
)
from models.plates.imageset import ImageSet
from models.plates.prepare import InputSpec
from models.plates.quality import LEAVING_FLAGS
from models.plates.screen import Screen
from models.report.words import FLAG_LETTERS, FLAG_WORDS, STATUS_WORDS
from models.tables import CONTRACTS
from pipelines.gate_names import possible_metrics
from pipelines.params import Params
from serving.job_records import STATES
from serving.schemas import ERRORS
from validation.imageset_rules import RULES as IMAGESET_RULES
from validation.rules import RULES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TABLES = ROOT / "docs" / "tables.md"
HEADER = """# Tables and units

What flows through Dosewell. A row is never dropped silently: rows in are rows out, with a status or a flag. Columns in *italics* are
optional; further columns are kept as they are. What a flag, a status or a call means and what to do: [flags](flags.md). Terms:
[glossary](glossary.md). The tables are made from `models/tables.py` (`DOSEWELL_ACCEPT=1 pytest tests/test_docs.py`).

"""
FILES = "\n## Plate quality\n"     # from here on the page is written by hand


def tables_page() -> str:
    names = [*(contract.name for contract in CONTRACTS), "Plate quality", "A recipe of params.yaml", "Metrics of a model", "screen.yaml",
             "imageset.yaml"]
    links = " ·\n".join(f"[{name}](#{name.casefold().replace('.', '').replace(' ', '-')})" for name in names)
    tables = "".join(f"\n## {contract.name}\n\nOne row per {contract.row}.\n\n{table(contract)}" for contract in CONTRACTS)
    return f"{HEADER}**On this page**: {links}\n{tables}{FILES}{TABLES.read_text(encoding='utf-8').partition(FILES)[2]}"


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


def test_every_field_that_is_no_column_of_a_contract_is_explained() -> None:
    page = TABLES.read_text(encoding="utf-8")
    for heading, kind in (("Plate quality", PlateQuality), ("screen.yaml", Screen), ("imageset.yaml", ImageSet)):
        section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        told = {name for line in section.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
        assert {field.name for field in fields(kind)} == told - {"plate"}


def test_every_field_of_a_recipe_is_explained() -> None:
    from models.networks.backbones import OWN, TIMM, TORCHVISION  # imports torch, which other tests of pages need not wait for

    section = TABLES.read_text(encoding="utf-8").partition("\n## A recipe of params.yaml\n")[2].partition("\n## ")[0]
    told = {name for line in section.splitlines() if line.startswith("| `") for name in re.findall(r"`([\w.]+)`", line.split(" | ")[0])}
    parts = {"trunk": TrunkSpec, "head": HeadSpec, "augmentation": Augmentation, "optimizer": OptimizerSpec, "split": SplitSpec}
    asked = {field.name for kind in (Recipe, InputSpec) for field in fields(kind) if field.name not in parts}
    assert told == asked | {f"{name}.{field.name}" for name, kind in parts.items() for field in fields(kind)}
    assert [field.name for kind in (GanSpec, CotrainingSpec, Gate) for field in fields(kind) if f"`{field.name}`" not in section] == []
    assert [name for name in (*OWN, *TIMM, *TORCHVISION) if f"`{name}`" not in section] == []


def test_every_metric_of_a_model_is_explained() -> None:
    """And nothing that no model has: those that gates may name, of all recipes of params.yaml."""
    section = TABLES.read_text(encoding="utf-8").partition("\n## Metrics of a model\n")[2].partition("\n## ")[0]
    told = {name for line in section.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    possible = {name for recipe in Params.read(str(ROOT / "params.yaml")).recipes.values() for name in possible_metrics(recipe)}
    views = re.compile(r"_(in_sample|validation|test|cv)$")
    assert {name if name in told else views.sub("", name) for name in possible} == told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that are there, and headings of theirs."""
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8"))
    targets = [(page.parent / file if file else page, anchor) for file, anchor in links]
    assert not [str(file) for file, _ in targets if not file.exists()]
    assert not [f"{file.name}#{anchor}" for file, anchor in targets if anchor and anchor not in anchors(file)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S), flags=re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|`", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.casefold()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", [page for page in PAGES if page != TABLES], ids=lambda page: page.name)
def test_pages_read_well(page: Path) -> None:
    """Prose in lines of 140; every table has a blank line before it and as many cells in each row as in its head; a long page says what
    is on it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = text.splitlines()
    assert not [line for line in lines if len(line) > 140 and not line.lstrip().startswith(("|", "!["))]
    assert not [line for before, line in pairwise(lines) if line[:1] == "|" and before.strip() and before[0] != "|"]
    for table in re.findall(r"(?:^\|.*\n?)+", text, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table[:200]
    sections = re.findall(r"^## ", text, flags=re.M)
    if len(lines) > 130 and len(sections) > 3:
        assert "**On this page**" in text, "a page of more than three screens has a list of its sections"


def test_every_page_can_be_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"({page.relative_to(ROOT).as_posix()}" not in readme] == []


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


def rules_in_code() -> set[str]:
    """Every word that a finding may have as its rule, read from the source: literals and constants that are given as `rule`, also by a
    helper whose first argument is one, and those of the tables of rules."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for folder in ("models", "validation", "pipelines", "serving")
             for path in (ROOT / folder).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    helpers = {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.args.args and node.args.args[0].arg == "rule"}
    given = [word.value for node in nodes if isinstance(node, ast.Call) for word in node.keywords if word.arg == "rule"]
    given += [node.args[0] for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
              and node.func.id in helpers and node.args]
    words = {word.value for value in given if not isinstance(value, ast.JoinedStr) for word in ast.walk(value)
             if isinstance(word, ast.Constant) and isinstance(word.value, str)}
    constants = {value.id for value in given if isinstance(value, ast.Name) and value.id.isupper()}
    words |= {text for tree in trees for name, text in _constants(tree) if name in constants and text.isidentifier()}
    pairs = [pair for node in nodes if isinstance(node, ast.Dict) for pair in zip(node.keys, node.values, strict=True)]
    words |= {str(value.value) for key, value in pairs
              if isinstance(key, ast.Constant) and key.value == "rule" and isinstance(value, ast.Constant)}
    words |= {re.sub(r"(?<!^)(?=[A-Z])", "_", node.name).lower() for node in nodes if isinstance(node, ast.ClassDef)
              and any(isinstance(base, ast.Name) and base.id == "HTTPException" for base in node.bases)}     # serving/faults.py
    words |= set(re.findall(r"\(\"(archive_\w+)\", ", (ROOT / "models" / "plates" / "zips.py").read_text(encoding="utf-8")))
    words |= {f"{file}_{what}" for file in ("screen", "imageset") for what in ("field", "file")}
    return {word for word in words - _OF_IMAGESETS if word} | {name for rule in RULES for name in (rule.name, *rule.says)} | {
        rule.name for rule in IMAGESET_RULES}


_OF_IMAGESETS = {rule.name.removeprefix("imageset_") for rule in IMAGESET_RULES}


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(name, text) of a module's constants, also of those that are assigned in pairs."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names, values = (side.elts if isinstance(side, ast.Tuple) else [side] for side in (node.targets[0], node.value))
            yield from ((name.id, value.value) for name, value in zip(names, values, strict=False)
                        if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str))


def table_words(page: str, *, cells: int) -> set[str]:
    """What stands in backticks in the first cells of the rows of a page's tables."""
    rows = [line.split(" | ") for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return {word for row in rows for cell in row[:cells] for word in re.findall(r"`(\w+)`", cell)}


def test_every_word_that_warns_is_explained() -> None:
    """docs/flags.md and the table of rules in docs/validation.md together have every rule, flag, status and call."""
    rules = rules_in_code()
    assert {"stray_well", "above_controls", "archive_link", "imageset_flat", "image_bomb", "gates_failed", "table_ragged"} <= rules
    first = table_words("flags.md", cells=1)
    assert sorted(rules - first - table_words("validation.md", cells=1)) == []
    flags = {*FLAG_WORDS, *FLAG_LETTERS, *LEAVING_FLAGS, "unsure"}
    states = {word for contract in CONTRACTS for column in contract.columns if column.name in ("status", "call", "evidence")
              for word in column.allowed if word}
    assert sorted((flags | states | set(STATUS_WORDS)) - table_words("flags.md", cells=3)) == []
    page = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    reasons = [words for name, value in vars(doubts).items() if name.endswith("_WORDS")
               for words in ((value,) if isinstance(value, str) else value)]
    assert len(reasons) > 10
    assert [words for words in reasons if words[:35] not in page and words.partition(":")[0] not in page] == []
    assert [flag for flag, letter in FLAG_LETTERS.items() if f"| `{flag}` | {letter} |" not in page] == []
    assert sorted(first - rules - flags - states) == []      # nothing that no code says any more


def without_names(path: str) -> str:
    return re.sub(r"{[^}]*}", "{}", path)


def test_the_page_of_the_service_has_every_address_status_and_state() -> None:
    text = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    told = {without_names(path) for path in re.findall(r"/[\w/{}.]+", text)}
    routes = set[str]()
    for path in (ROOT / "serving").glob("*endpoints.py"):
        source = path.read_text(encoding="utf-8")
        prefix = "".join(re.findall(r"APIRouter\(prefix=\"([^\"]+)\"", source))
        routes |= {without_names(prefix + route) for route in re.findall(r"@router\.\w+\(\"([^\"]*)\"", source)}
    assert {"/score", "/jobs/{}/result", "/layouts"} <= routes
    assert sorted(routes - told) == []
    assert [status for status in ERRORS if f"| {status} |" not in text] == []
    assert [state for state in (*STATES, "refused") if state != "deleting" and f"| `{state}` |" not in text] == []


COMMANDS = "serve|score|classify|exclude|curves|fit|compare|token|promote"


def options_of(command: str) -> set[str]:
    """The options that a command's module, or a module of its folder which it imports, names: `benchmarks.service`, `dosewell score`."""
    module = "serving.cli" if command.startswith("dosewell ") else command
    folder, _, name = module.partition(".")
    source = (ROOT / folder / f"{name}.py").read_text(encoding="utf-8")
    read = [source] + [(ROOT / folder / f"{other}.py").read_text(encoding="utf-8")
                       for other in re.findall(rf"^ *from {folder}\.(\w+) import", source, flags=re.M)]
    fields_as_options = (*fields(CellOptions), *fields(AttachedOptions)) if name == "count_cells" else ()
    return {option for text in read for option in re.findall(r"\"(--[a-z][\w-]*)\"", text)} | {
        f"--{field.name.replace('_', '-')}" for field in fields_as_options}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_and_python_are_such(page: Path) -> None:
    """Options of our commands are options of that command, and blocks of Python parse."""
    text = page.read_text(encoding="utf-8")
    commands = re.findall(rf"(?:python -m ((?:pipelines|serving|benchmarks)\.\w+)|(dosewell (?:{COMMANDS}))) ([^\n`#]*)",
                          text.replace("\\\n", " "))
    assert [(module or dosewell, option) for module, dosewell, rest in commands
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", rest) if option not in options_of(module or dosewell)] == []
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.S):
        ast.parse(block)


def test_every_command_reads_its_options() -> None:
    """So that `--help` tells what it does, and does not do it."""
    commands = [path for folder in ("pipelines", "benchmarks") for path in (ROOT / folder).glob("*.py")
                if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")]
    assert len(commands) > 40
    assert [path.name for path in commands if not re.search(r"ArgumentParser\(|stage_parser\(", path.read_text(encoding="utf-8"))] == []


def test_every_choice_of_a_fit_is_in_the_table_of_choices() -> None:
    section = (ROOT / "docs" / "dose_response.md").read_text(encoding="utf-8").partition("## Choices")[2].partition("\n## ")[0]
    told = {word for line in section.splitlines() if line.startswith("| `") for word in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert told == {field.name for field in fields(FitOptions)}
