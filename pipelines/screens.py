"""Screens on disk: data/<screen>/screen.yaml, layout.csv, images/<plate>.zip; and folders that appear whole or not at all.

The only place that reads and writes the YAML of screens and image sets.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

from models.errors import Finding, ScreenError
from models.plates.layout import read_layout
from models.plates.screen import Screen
from models.processes import started_at
from pipelines.yaml_text import read_yaml

SCREEN_FILE, LAYOUT_FILE = "screen.yaml", "layout.csv"
NAME = re.compile(r"\w[\w-]{0,99}", re.ASCII)
"""Of screens, image sets, trunks and models: folders, models of the registry, and keys of dvc.yaml, whose paths a dot would part."""


def name_problem(name: object) -> str:
    """What keeps `name` from naming a screen, an image set or a model, in words; "" if nothing does."""
    if isinstance(name, str) and NAME.fullmatch(name):
        return ""
    return ("a name is text of at most 100 letters, digits, _ and -, and does not begin with -; "
            f"got {name!r}" + ("" if isinstance(name, str) else " (quotes make it text)"))


def folder_of(name: str, out: Path) -> Path:
    """out/<name>. Raises ScreenError for what is no name, such as '../elsewhere'."""
    if problem := name_problem(name):
        raise ScreenError(f"--name: {problem}")
    return out / name


def read_screen(folder: Path) -> Screen:
    """The screen that `folder`/screen.yaml describes. Raises ScreenError if it is missing, no YAML, or has wrong fields."""
    return Screen.from_dict(read_description(folder / SCREEN_FILE, what="screen", maker="add_screen"))


def write_screen(folder: Path, screen: Screen) -> None:
    """Write `folder`/screen.yaml; `read_screen` gives an equal screen back. Fields keep their order; empty ones are left out."""
    write_description(folder / SCREEN_FILE, screen.to_dict())


def read_screen_layout(folder: Path) -> pd.DataFrame:
    """`folder`/layout.csv, checked. Raises ScreenError for the screen.yaml beside it, TableError for the layout."""
    return read_layout(folder / LAYOUT_FILE, plate_format=read_screen(folder).plate_format)


def plate_archives(folder: Path) -> list[Path]:
    """images/<plate>.zip of a screen, by name."""
    return sorted((folder / "images").glob("*.zip"))


def require_archives(folder: Path) -> list[Path]:
    """`plate_archives`. Raises ScreenError where there is none."""
    if not (found := plate_archives(folder)):
        raise ScreenError(f"{folder / 'images'} holds no plate archive; `python -m pipelines.add_screen` makes them from a folder")
    return found


def read_description(path: Path, *, what: str, maker: str) -> dict[str, Any]:
    """The fields of data/<name>/screen.yaml or imageset.yaml, as they stand there.

    what: "screen" or "image set"; maker: the command that makes one. Raises ScreenError if the file is missing or no mapping in YAML.
    """
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        reason = f"is missing; `python -m pipelines.{maker}` makes it from a folder of images"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = f"is no readable YAML ({' '.join(str(error).split())})"
    else:
        if isinstance(values, dict):
            return values
        reason = f"must hold fields like 'name: {path.parent.name}', got {values!r}"
    raise ScreenError(f"{what} '{path.parent.name}' cannot be used", [
        Finding(rule=f"{path.stem}_file", severity="error", value=f"{path.parent.name}/{path.name}",
                message=f"{path.parent.name}/{path.name} {reason}")])


def write_description(path: Path, fields: Mapping[str, Any]) -> None:
    """Write what `read_description` gives back, in this order, without empty fields."""
    values = {name: value for name, value in fields.items() if value not in (None, "", {})}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    path.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def whole_folder(target: Path, *, key: str = "") -> Iterator[Path]:
    """A hidden folder beside `target` that becomes `target` (replacing it) when the block ends well, and vanishes when it raises.

    key: names the work, so that what a killed or interrupted process of the same key had done is found again in the folder;
    "" always begins anew. Raises ScreenError while another process is at the same work.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    bring_back(target)
    making = _hidden(target, "making", f"{key}-{process_mark(os.getpid())}")
    _take_over(target, making, key)
    making.mkdir(exist_ok=True)
    try:
        yield making
    except BaseException as error:
        if not (key and isinstance(error, KeyboardInterrupt)):
            shutil.rmtree(making, ignore_errors=True)
        raise
    if target.exists():
        target.rename(replaced := _hidden(target, "replaced", process_mark(os.getpid())))
        making.rename(target)
        shutil.rmtree(replaced)
    else:
        making.rename(target)


def process_mark(number: int) -> str:
    """What tells a process from others that had, or will have, its number. Raises psutil.NoSuchProcess."""
    return f"{number}~{started_at(psutil.Process(number))}"


def _hidden(target: Path, state: str, rest: str) -> Path:
    """".name.making-<key>-<process>"; .dvcignore leaves such folders out."""
    return target.with_name(f".{target.name}.{state}-{rest}")


def _left(target: Path, state: str) -> Iterator[tuple[Path, str]]:
    """(folder, mark of the process that made it) of what stands beside the target in that state."""
    start = _hidden(target, state, "").name
    for path in sorted(target.parent.glob(".*")):
        process = path.name.rpartition("-")[2]
        if path.name.startswith(start) and process.partition("~")[0].isdigit():
            yield path, process


def bring_back(target: Path) -> None:
    """Undo what a process was killed at: a target that had stepped aside for its successor comes back, one that was replaced goes."""
    for path, process in _left(target, "replaced"):
        if _is_dead(process) and not target.exists():
            path.rename(target)
            for making, maker in _left(target, "making"):
                if maker == process:
                    shutil.rmtree(making, ignore_errors=True)
        elif _is_dead(process):
            shutil.rmtree(path, ignore_errors=True)


def _take_over(target: Path, making: Path, key: str) -> None:
    """Give `making` the unfinished work of the same key; other unfinished work whose process is gone is removed."""
    for path, process in _left(target, "making"):
        same = bool(key) and path.name.startswith(_hidden(target, "making", f"{key}-").name)
        if same and not _is_dead(process):
            raise ScreenError(f"process {process.partition('~')[0]} is making {target} right now; wait for it, or stop it and run the same "
                              "command again")
        if same and (path == making or not making.exists()):
            path.rename(making)
        elif _is_dead(process):
            shutil.rmtree(path, ignore_errors=True)


def _is_dead(process: str) -> bool:
    """Whether the process of this mark has ended, or is this one, which does one work at a time."""
    number = int(process.partition("~")[0])
    try:
        return number == os.getpid() or process_mark(number) != process
    except psutil.NoSuchProcess:
        return True
