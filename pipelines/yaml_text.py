"""YAML as this project's files hold it: plain values, each key once."""

from __future__ import annotations

from typing import Any

import yaml


def read_yaml(text: str) -> Any:
    """The values of a YAML text. Raises yaml.YAMLError, with the line, for what is no YAML and for a key that stands twice in a mapping,
    of which YAML would take the last and forget the others without a word, and where a merge of two branches is unfinished.
    """
    if problem := unfinished_merge(text):
        raise yaml.YAMLError(problem)
    return yaml.load(text, Loader=_OnceLoader)  # noqa: S506  # a SafeLoader


def unfinished_merge(text: str) -> str:
    """Where a merge of two branches left a file unfinished, in words; "" if nowhere."""
    before, mark, _ = f"\n{text}".partition("\n<<<<<<< ")
    return (f"two branches changed the same lines, and their merge is unfinished (line {before.count(chr(10)) + 1}, <<<<<<<); "
            "docs/train_and_promote.md, two people, says what to do") if mark else ""


class _OnceLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:     # PyYAML's own
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise yaml.YAMLError(f"'{key.value}' stands twice, in lines {lines[key.value]} and {line}; keep one, "
                                         "and put what belongs to both under it")
                lines[key.value] = line
        return super().construct_mapping(node, deep=deep)
