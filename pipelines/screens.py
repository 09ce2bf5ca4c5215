"""screen.yaml: the only place that reads and writes it; and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from models.errors import Finding, ScreenError
from models.plates.screen import Screen

SCREEN_FILE = "screen.yaml"


def read_screen(folder: Path) -> Screen:
    """The screen that `folder`/screen.yaml describes. Raises ScreenError if it is missing, no YAML, or has wrong fields."""
    path = folder / SCREEN_FILE
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _refusal(folder, "is missing; `python -m pipelines.add_screen` makes a screen from a folder of images") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _refusal(folder, f"is no readable YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise _refusal(folder, f"must hold fields like 'name: {folder.name}', got {values!r}")
    return Screen.from_dict(values)


def write_screen(folder: Path, screen: Screen) -> None:
    """Write `folder`/screen.yaml; `read_screen` gives an equal screen back. Fields keep their order; empty ones are left out."""
    values = {name: value for name, value in screen.to_dict().items() if value not in (None, "", {})}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    (folder / SCREEN_FILE).write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` (replacing it) when the block ends well, and vanishes if not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    making = target.with_name(f".{target.name}.making-{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    try:
        yield making
        if target.exists():
            replaced = target.with_name(f".{target.name}.replaced-{os.getpid()}")
            target.rename(replaced)
            making.rename(target)
            shutil.rmtree(replaced)
        else:
            making.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _refusal(folder: Path, message: str) -> ScreenError:
    return ScreenError(f"screen '{folder.name}' cannot be used", [
        Finding(rule="screen_file", severity="error", value=f"{folder.name}/{SCREEN_FILE}",
                message=f"{folder.name}/{SCREEN_FILE} {message}")])
