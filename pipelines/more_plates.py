"""A screen that is there already: what must be the same in plates that join it (`add_screen --add`), and what is lost with one that is
replaced (`--force`).
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from models.errors import ScreenError
from models.kept import link_file
from models.plates.layout import read_layout, write_layout
from models.plates.screen import Screen
from models.plates.spreadsheets import read_table
from models.plates.vocabulary import canonical_column
from models.words import some
from pipelines.screens import LAYOUT_FILE, SCREEN_FILE, plate_archives, read_screen, read_screen_layout

ALWAYS = ("channels", "bit_depth", "plate_format")      # fields that must be those of the screen, beside what is known of the new plates


def require_new(target: Path, plates: Iterable[str]) -> None:
    """Raises ScreenError for plates that the screen has already."""
    if twice := sorted(set(read_screen_layout(target)["plate"]) & set(plates)):
        raise ScreenError(f"{target} has plate(s) {some(twice)} already; give the new ones other names (--plate, or in the platemap), "
                          "or, where one has changed, bring all plates in again from one SOURCE with --force")


def require_units(target: Path, layout: pd.DataFrame) -> None:
    """Raises ScreenError for treatments of a layout whose doses are in a unit that those of the screen cannot be converted to."""
    there, here = _units(read_screen_layout(target)), _units(layout)
    if other := [f"{name}: {there[name]} there, {unit} here" for name, unit in here.items() if there.get(name, unit) != unit]:
        raise ScreenError(f"the doses of the new plates are in other units than those of screen '{target.name}' ({some(other)}), which "
                          "cannot be converted; correct the platemap, or give the treatments other names")


def _units(layout: pd.DataFrame) -> dict[str, str]:
    """treatment -> unit of its doses, be it given alone or second."""
    return {name: unit for suffix in ("", "_2") if f"treatment{suffix}" in layout
            for name, unit in zip(layout[f"treatment{suffix}"], layout[f"dose_unit{suffix}"], strict=True) if name and unit}


def joined_screen(before: Screen, new: Screen, *, known: Iterable[str]) -> Screen:
    """The screen's record with the new plates' source. Raises ScreenError where they differ in ALWAYS, or in what is `known` of these."""
    def values(screen: Screen) -> dict[str, object]:
        return screen.to_dict() | {"channels": ", ".join(channel.name for channel in screen.channels)}

    old, now = values(before), values(new)
    other = [f"{name}: {old[name]} there, {now[name]} here" for name in dict.fromkeys((*ALWAYS, *known))
             if old[name] and old[name] != now[name]]
    if other:
        raise ScreenError(f"the new plates do not fit screen '{before.name}' ({'; '.join(other)}); bring them in as a screen of their own, "
                          "by another --name")
    return replace(before, source=f"{before.source}; {new.source}")


def write_joined(target: Path, folder: Path, layout: pd.DataFrame, *, plate_format: int) -> None:
    """Into `folder`: the layout's rows below those of the screen `target`, which stay as they are, and the other files of `target`."""
    write_layout(layout, folder / LAYOUT_FILE)
    old, new = read_table(target / LAYOUT_FILE), read_table(folder / LAYOUT_FILE)
    named = {canonical_column(str(name))[0]: str(name) for name in old.columns}
    both = pd.concat([old, new.rename(columns=named)], ignore_index=True).fillna("")
    both.to_csv(folder / LAYOUT_FILE, index=False, lineterminator="\n", encoding="utf-8")
    read_layout(folder / LAYOUT_FILE, plate_format=plate_format)
    for path in sorted(path for path in target.rglob("*") if path.is_file()):
        place = folder / path.relative_to(target)
        if path.suffix == ".zip":
            link_file(path, place)
        elif path.name not in (LAYOUT_FILE, SCREEN_FILE):
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, place)


def lost_with(target: Path, screen: Screen, *, plates: Collection[str]) -> list[str]:
    """Warnings: plates of the screen that is to be replaced, and fields of its screen.yaml which say something, that the new one lacks."""
    gone = sorted({path.stem for path in plate_archives(target)} - set(plates))
    lines = [f"warning: plate(s) {some(gone)} are in the screen no longer, because the source does not hold them"] if gone else []
    if not (target / SCREEN_FILE).is_file():
        return lines
    try:
        before, now = read_screen(target).to_dict(), screen.to_dict()
    except ScreenError:
        return [*lines, f"warning: {target / SCREEN_FILE} could not be read; what a person wrote into it is gone"]
    return lines + [
        f"warning: {SCREEN_FILE} said {name}: {value} before, and now {now[name] or 'nothing'}; write it there again if it still holds"
        for name, value in before.items() if value and value != now[name] and name != "source"]
