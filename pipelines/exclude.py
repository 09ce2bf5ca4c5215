"""Leave a well out of training and curves, or keep it whatever the rules say of its image; kept in the screen's layout.csv.

    python -m pipelines.exclude SCREEN WELL [WELL ...] [--plate P] --reason "pipetted twice"       # or PLATE:WELL, without --plate
    python -m pipelines.exclude SCREEN WELL [--plate P] --restore [--reason "looked at it: the crystals are the drug"]
    python -m pipelines.exclude SCREEN WELL [--plate P] --forget

The layout says it in two columns. `excluded` true: left out, `exclusion_reason` says why. `excluded` false with a reason: a person has
looked, and keeps the well even if a rule flags its image. Neither: the rules decide (docs/image_quality.md). The same command again
changes nothing. Nothing else in the file is touched, and it is replaced as a whole or not at all.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from models.errors import Finding, InputError, ScreenError
from models.plates.layout import read_layout
from models.plates.spreadsheets import read_table
from models.plates.vocabulary import canonical_column
from models.wells import well_or_text
from models.whole_file import whole_file
from models.words import some
from pipelines.command import run_command
from pipelines.screens import LAYOUT_FILE, SCREEN_FILE, read_screen, read_screen_layout

KEPT = "a person looked at it"
COLUMNS = ("excluded", "exclusion_reason")
Excluded = Literal["true", "false", ""]     # as the column `excluded` of the layout has it


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a person decides of some wells, "B03" or "P1:B03". excluded: "true", "false", or "" for no opinion; reason: empty for none."""

    wells: tuple[str, ...]
    plate: str = ""
    excluded: Excluded = "true"
    reason: str = ""


def apply_choice(folder: Path, choice: Choice) -> tuple[list[str], bool]:
    """Write the choice into `folder`/layout.csv; returns a line per well that says what is so now, "already" where it was so before, and
    whether anything changed.

    Raises InputError for wells that the layout does not have, a plate that must be named, an empty reason, or a layout that somebody else
    changes meanwhile; TableError for a layout that cannot be read. The file then stays as it is.
    """
    path = folder / LAYOUT_FILE
    was, layout = path.read_bytes() if path.is_file() else b"", read_screen_layout(folder)
    if choice.excluded == "true" and not choice.reason.strip():
        raise InputError("a well is not left out without a reason; say it with --reason \"...\"")
    rows = _rows_of(layout, choice)
    raw = _with_columns(read_table(path))
    names = {canonical_column(str(name))[0]: str(name) for name in raw.columns}
    before = raw.copy()
    raw.loc[rows, names["excluded"]] = choice.excluded
    raw.loc[rows, names["exclusion_reason"]] = " ".join(choice.reason.split())
    changed = (raw != before).any(axis=1)
    said = [_said(well, choice, new=new) for (_, well), new in zip(layout.loc[rows].iterrows(), changed.loc[rows], strict=True)]
    if changed.any():
        columns = [names[name] for name in COLUMNS]
        _replace(path, raw.drop(columns=columns if (raw[columns] == "").all(axis=None) else []), was=was)
    return said, bool(changed.any())


def decisions_kept(layout: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """The layout with what people had decided of its wells in the screen that it is to replace in `folder`, and lines that say so.

    What the layout itself says of a well wins.
    """
    if not (folder / LAYOUT_FILE).is_file():
        return layout, []
    try:
        before = _decisions(read_screen_layout(folder))
    except InputError:
        return layout, [f"warning: {folder / LAYOUT_FILE} cannot be read; wells that were left out in it are so no longer"]
    now = _decisions(layout)
    kept = [place for place, said in before.items() if any(said) and not any(now.get(place, (True, "")))]
    gone = [place for place, said in before.items() if any(said) and place not in now]
    lines = [f"{text}: {some(map(' '.join, places))}" for text, places in (
        ("a person's decisions are kept, on the wells", kept), ("warning: decisions are gone with their wells", gone)) if places]
    if kept:
        now |= {place: before[place] for place in kept}
        layout = layout.assign(excluded=[said[0] for said in now.values()], exclusion_reason=[said[1] for said in now.values()])
    return layout, lines


def _decisions(layout: pd.DataFrame) -> dict[tuple[str, str], tuple[bool, str]]:
    """(plate, well) -> whether it is left out, and the reason, of every row."""
    excluded, reason = (layout.get(name, pd.Series(nothing, index=layout.index)).tolist()
                        for name, nothing in zip(COLUMNS, (False, ""), strict=True))
    places = zip(layout["plate"].tolist(), layout["well"].tolist(), strict=True)
    return dict(zip(places, zip(excluded, reason, strict=True), strict=True))


def _rows_of(layout: pd.DataFrame, choice: Choice) -> list[int]:
    """Rows of the wells, in the order given. Layout rows are the file's rows, one for one."""
    plates = list(dict.fromkeys(layout["plate"]))
    places = dict(zip(zip(layout["plate"], layout["well"], strict=True), layout.index.tolist(), strict=True))
    rows = []
    for name in choice.wells:
        plate, _, well = name.rpartition(":")
        plate = plate or choice.plate or (plates[0] if len(plates) == 1 else "")
        if not plate:
            raise InputError(f"the screen has {len(plates)} plates; say which with --plate, or PLATE:WELL: {', '.join(plates)}")
        if plate not in plates:
            raise _unknown("plate", plate, plates)
        if (plate, well) not in places:
            raise _unknown("well", well, [own for of, own in places if of == plate])
        rows.append(places[plate, well])
    return rows


def _unknown(what: str, name: str, known: Sequence[str]) -> InputError:
    near = difflib.get_close_matches(name, known, 3, cutoff=0.5)
    shown = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known[:8])}{' ...' if len(known) > 8 else ''}"
    return InputError(f"the layout has no {what} '{name}'", [Finding(
        rule="exclusion_unknown", severity="error", column=what, value=name, message=f"no {what} '{name}' in the layout; {shown}")])


def _names(wells: Sequence[str]) -> tuple[str, ...]:
    """"b3" -> "B03", "P1:b3" -> "P1:B03", each once; what is no well name stays as it is, so that the refusal names it."""
    parts = (name.rpartition(":") for name in wells)
    return tuple(dict.fromkeys(f"{plate}{mark}{well_or_text(well)}" for plate, mark, well in parts))


def _with_columns(raw: pd.DataFrame) -> pd.DataFrame:
    known = {canonical_column(str(name))[0] for name in raw.columns}
    return raw.assign(**{name: "" for name in COLUMNS if name not in known})


def _replace(path: Path, raw: pd.DataFrame, *, was: bytes) -> None:
    """Write the table beside its place, read it back, and put it there. Raises InputError where the file is not any more as it was."""
    with whole_file(path) as making:
        raw.to_csv(making, index=False, lineterminator="\n", encoding="utf-8")
        read_layout(making, plate_format=read_screen(path.parent).plate_format)
        if path.read_bytes() != was:
            raise InputError(f"{path} was changed by somebody else while this was at it; run the same command again")


def _said(well: pd.Series, choice: Choice, *, new: bool) -> str:
    state = {"true": "left out", "false": "kept, whatever the rules say", "": "as the rules find it"}[choice.excluded]
    reason = f" ({' '.join(choice.reason.split())})" if choice.reason else ""
    return f"{well['plate']} {well['well']}: {'' if new else 'already '}{state}{reason}"


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.exclude", description="Leave a well out, keep it, or let the rules decide.")
    parser.add_argument("screen", help="name of the screen, data/<screen>")
    parser.add_argument("wells", nargs="+", metavar="WELL", help="such as B03, or PLATE:B03")
    parser.add_argument("--plate", default="", help="name of the plate; needed where the screen has several")
    parser.add_argument("--reason", default="", help="why; needed to leave a well out")
    state = parser.add_mutually_exclusive_group()
    state.add_argument("--restore", action="store_true", help="keep the well, also against a rule that flags its image")
    state.add_argument("--forget", action="store_true", help="drop the person's decision; the rules decide again")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the screens (default: data)")
    arguments = parser.parse_args(argv)
    folder = arguments.data / arguments.screen
    if not folder.is_dir():
        known = sorted(path.parent.name for path in arguments.data.glob(f"[!.]*/{SCREEN_FILE}"))
        raise ScreenError(f"there is no screen '{arguments.screen}' in {arguments.data}; it has {', '.join(known) or 'none'}")
    excluded: Excluded = "" if arguments.forget else "false" if arguments.restore else "true"
    reason = {"": "", "false": arguments.reason if arguments.reason.strip() else KEPT, "true": arguments.reason}[excluded]
    said, changed = apply_choice(folder, Choice(wells=_names(arguments.wells), plate=arguments.plate, excluded=excluded, reason=reason))
    print(*said, sep="\n")
    if changed:
        print("next: `dvc add data`, then `dvc repro` trains and scores again where it matters")


if __name__ == "__main__":
    run_command(main)
