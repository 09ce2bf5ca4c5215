"""What lists entries in params.yaml, and leaves all else there as people wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from models.errors import ParamsError
from models.whole_file import whole_file
from pipelines.params import Params
from pipelines.yaml_text import read_yaml


def add_entries(path: str | Path, entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """List entries (section -> name -> value) in params.yaml, one line each at the end of their section; all else stays as it is.

    Returns the YAML paths that were added; what is there already with the same value is left alone. Raises ParamsError, and writes
    nothing, when a name stands there with another value or the whole would no longer be accepted by `Params`.
    """
    Params.read(path)
    wanted = read_yaml(text := Path(path).read_text(encoding="utf-8"))
    added = []
    for section, name, value in [(section, name, value) for section, items in entries.items() for name, value in items.items()]:
        present = (wanted.get(section) or {}).get(name)
        if present == value:
            continue
        if present is not None:
            way_out = "change it there, or " + ("leave it as it is with --no-score" if section == "scores" else "choose another name")
            raise ParamsError(f"{section}.{name}: is {present} in {path}, not {value}; {way_out}")
        text = _with_line(text, section, _flow_line(name, value))
        wanted = {**wanted, section: {**(wanted.get(section) or {}), name: value}}
        if not _holds(text, wanted):
            raise ParamsError(f"{section}: is written in {path} in a form that a program cannot add to; add '{_flow_line(name, value)}' "
                              "by hand")
        added.append(f"{section}.{name}")
    Params.parse(wanted)
    if added:
        with whole_file(Path(path)) as making:
            making.write_text(text, encoding="utf-8", newline="\n")
    return added


def _holds(text: str, wanted: object) -> bool:
    try:
        return bool(read_yaml(text) == wanted)
    except yaml.YAMLError:
        return False


def _flow_line(name: str, value: Any) -> str:
    """`name: {key: value}`, as the sections of params.yaml are written."""
    return yaml.safe_dump({name: value}, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True).strip()[1:-1]


def _with_line(text: str, section: str, line: str) -> str:
    """The text with `line` after the last entry of a block section; a section that is missing or empty is begun at the end."""
    lines = text.rstrip("\n").split("\n")
    root = yaml.compose(text)
    assert root is not None     # Params accepted it
    found = next((value for key, value in root.value if key.value == section), None)
    if not isinstance(found, yaml.MappingNode) or not found.value:
        kept = [item for item in lines if not item.startswith(f"{section}:")]
        return "\n".join([*kept, "", f"{section}:", f"  {line}", ""])
    last: yaml.Node = found
    while isinstance(last, yaml.CollectionNode) and not last.flow_style and last.value:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    at, indent = last.end_mark.line + 1, found.value[0][0].start_mark.column
    return "\n".join([*lines[:at], " " * indent + line, *lines[at:], ""])
