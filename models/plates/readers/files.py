"""What the conventions of microscopes share: which files lie in a folder, how channels are named, and how files meet their layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import Finding, InputError
from models.plates.pixels import IMAGE_SUFFIXES
from models.plates.readers.base import FILE_COLUMNS, Found, Source, by_numbers
from models.plates.readers.parts import split_parts
from models.plates.readers.platemaps import find_platemap, read_platemap
from models.plates.spreadsheets import OTHER_SHEETS
from models.plates.vocabulary import contract_columns

LOOK_AT = 5_000     # files that `detect` looks at before it gives up


def images_in(folder: Path) -> list[Path]:
    """The image files below the folder, in order of their names; none that a link leads to from elsewhere."""
    root = folder.resolve()
    return [path for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
            and (not path.is_symlink() or path.resolve().is_relative_to(root))]


def some_image(folder: Path, pattern: re.Pattern[str]) -> bool:
    """Whether one of the first files below the folder is an image of such a name."""
    if not folder.is_dir():
        return False
    return any(pattern.search(path.name) for path, _ in zip(folder.rglob("*"), range(LOOK_AT), strict=False)
               if path.suffix.lower() in IMAGE_SUFFIXES)


def unmatched(paths: Iterable[Path], read: Iterable[Path]) -> tuple[Finding, ...]:
    """A warning where images of a folder say no place by their names, and are left out. read: those that do."""
    known = set(read)
    names = [path.name for path in paths if path not in known]
    return (Finding(rule="pattern_unmatched", severity="warning", value=names[0], message=(
        f"{len(names)} image(s) do not fit the pattern of names and are left out, such as '{names[0]}'")),) if names else ()


def last_timepoint(files: pd.DataFrame, source: Source) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """The rows of one `timepoint`: as asked for, else the last of each plate; with a warning where there were several."""
    times = sorted(files["timepoint"].unique())
    if source.timepoint is not None and source.timepoint not in times:
        raise InputError(f"no time point {source.timepoint}; the images have {', '.join(map(str, times))}")
    last = files.groupby("plate")["timepoint"].transform("max")
    findings = () if len(times) < 2 or source.timepoint is not None else (Finding(
        rule="timepoints", severity="warning", value=str(len(times)),
        message=f"{len(times)} time points ({', '.join(map(str, times))}); the last of each plate is used. Choose with --timepoint"),)
    wanted = last if source.timepoint is None else source.timepoint
    return files[files["timepoint"] == wanted].reset_index(drop=True), findings


def with_planes(files: pd.DataFrame, *, by: str = "number") -> pd.DataFrame:
    """The files with `plane`, counted from 0 within the stack of each plate, well, site and channel, in the order of the column `by`."""
    planes = files.groupby(["plate", "well", "site", "channel"])[by].rank(method="dense").astype("int64") - 1
    return files.assign(plane=planes)


def agreed(stated: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """What the plates of a source say of themselves, such as {"P1": {"ch1": "DAPI", "magnification": 20.0}}, as one, where the first to say
    a thing wins; and findings where two differ. A channel is one by its number, and a screen has one plate format: an error. One
    magnification and pixel size are written down, which may differ by 1 %: a warning.
    """
    said: dict[str, Any] = {}
    by: dict[str, str] = {}
    findings = []
    for plate, words in stated.items():
        for name, value in words.items():
            if not value:
                continue
            if not _same(said.setdefault(name, value), value):
                findings.append(Finding(
                    rule="plates_differ", severity="warning" if isinstance(value, float) else "error", plate=plate, column=name,
                    value=str(value), message=f"{name} is {said[name]} on plate {by[name]}, and {value} on {plate}; make a screen of each "
                                              "plate (its folder as SOURCE), or export them alike"))
            by.setdefault(name, plate)
    return said, tuple(findings)


def _same(first: Any, second: Any) -> bool:
    return bool(abs(first - second) <= 0.01 * first if isinstance(first, float) else first == second)


def plate_names(roots: Iterable[Path], source: Source) -> dict[Path, str]:
    """Plate folder -> plate name: the one plate is called as asked for, several by their folders."""
    unique = sorted(set(roots))
    if len(unique) == 1:
        return {unique[0]: source.plate}
    names = [root.name for root in unique]
    return {root: root.name if names.count(root.name) == 1 else "_".join(root.relative_to(source.folder.resolve()).parts)
            for root in unique}


def found_with_layout(convention: str, source: Source, files: pd.DataFrame, *, channels: Mapping[str, str], said: tuple[str, ...],
                      inputs: tuple[Path, ...] = (), findings: tuple[Finding, ...] = (), facts: Mapping[str, Any] | None = None,
                      platemap: Path | None = None) -> Found:
    """The convention's answer: its files under their channels' names, joined to the layout that is named or lies in the folder.

    files: FILE_COLUMNS but part, channel holding keys. channels: key -> name. Raises InputError if a layout is wanted and none is found.
    """
    if files.empty:
        raise InputError(f"{source.folder.name}/ holds no image of the convention {convention}", findings)
    parts = split_parts(files, channels, source)
    files, order = _named_channels(parts.files, parts.channels, source)
    wells = len(files[["plate", "well"]].drop_duplicates())
    heard = (f"{len(files)} image(s) of {wells} well(s) on {files['plate'].nunique()} plate(s), {files['site'].nunique()} site(s)"
             + (f", {files['plane'].nunique()} planes" if files["plane"].nunique() > 1 else ""),
             *said, *parts.said, f"channels: {_said_channels(order, parts.channels, source)}")
    found = Found(convention=convention, files=files[list(FILE_COLUMNS)], raw_layout=pd.DataFrame({"plate": [], "well": []}, dtype="str"),
                  channels=order, inputs=inputs, findings=(*findings, *parts.findings), facts={**parts.facts, **(facts or {})}, said=heard)
    return _with_layout(found, source, platemap) if source.layout else found


def _with_layout(found: Found, source: Source, platemap: Path | None) -> Found:
    """What was found, joined to the layout in `platemap`, the one that a person named, or the one in the folder."""
    path = platemap or source.platemap or find_platemap(source.folder)
    layout = read_platemap(path, columns=source.columns)
    files, raw_layout, matched = match_plates(found.files, layout.raw_layout)
    return replace(found, files=files, raw_layout=raw_layout, inputs=(path, *found.inputs), facts={**layout.facts, **found.facts},
                   said=(*found.said, *(layout.said or (f"platemap {path.name}",)), *matched))


def _named_channels(files: pd.DataFrame, names: Mapping[str, str], source: Source) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Channels under their names, or under those that a person gave to keys or names, and only these."""
    present = [key for key in names if key in set(files["channel"])]
    if not source.channels:
        return files.assign(channel=files["channel"].map(dict(names))), tuple(names[key] for key in present)
    keys = {**{name: key for key, name in names.items()}, **{key: key for key in names}}
    unknown = [wanted for wanted in source.channels.values() if keys.get(wanted) not in present]
    if unknown:
        raise InputError(f"no channel '{unknown[0]}'", [Finding(
            rule="channel_unknown", severity="error", column=unknown[0],
            message=f"--channels names '{unknown[0]}'; channels found: {', '.join(f'{key} ({names[key]})' for key in present)}")])
    chosen = {keys[wanted]: name for name, wanted in source.channels.items()}
    kept = files[files["channel"].isin(chosen)].reset_index(drop=True)
    return kept.assign(channel=kept["channel"].map(chosen)), tuple(source.channels)


def _said_channels(order: tuple[str, ...], names: Mapping[str, str], source: Source) -> str:
    keys = {name: key for key, name in names.items()} | dict(source.channels)
    return ", ".join(name if keys.get(name, name) == name else f"{name} ({keys[name]})" for name in order)


def match_plates(files: pd.DataFrame, raw_layout: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Files and layout under the same plate names, and what was taken to be the same, in words.

    The layout's names win. Without a plate column it holds for every plate. One plate here and there are the same plate;
    "<screen>_P1" is plate "1" or "P1". Raises InputError where nothing fits.
    """
    plates = sorted(files["plate"].unique(), key=by_numbers)
    column = contract_columns(raw_layout).get("plate")
    stated = [name for name in dict.fromkeys(raw_layout[column].astype("str").str.strip()) if name] if column is not None else []
    if not stated:
        if len(plates) > 1 and (unread := next((note for note in raw_layout.attrs.get("notes", ()) if OTHER_SHEETS in note), "")):
            raise InputError("the layout names no plate", [Finding(
                rule="plate_names", severity="error", column="plate", value=", ".join(plates),
                message=f"images are of {len(plates)} plates ({', '.join(plates[:6])}), the layout names none, and "
                        f"{unread.partition(';')[0]}: put the wells of all plates into one table with a column 'plate'")])
        rest = raw_layout.drop(columns=column) if column is not None else raw_layout
        repeated = pd.concat([rest.assign(plate=plate) for plate in plates], ignore_index=True)
        repeated.attrs = dict(raw_layout.attrs)
        return files, repeated, (f"the layout names no plate and holds for all {len(plates)}",) if len(plates) > 1 else ()
    same = _same_plates(plates, stated)
    if same is None:
        raise InputError("the plates of images and layout have different names", [Finding(
            rule="plate_names", severity="error", column="plate", value=", ".join(plates),
            message=f"images are of plate(s) {', '.join(plates)}, the layout has {', '.join(stated)}; "
                    "write the names of the images into the layout, name the one plate with --plate, or, where plates are folders, say so "
                    "with --pattern '{plate}/*{well}*.tif'")])
    said = tuple(f"images of '{image}' belong to the layout's plate '{name}'" for image, name in same.items() if image != name)
    return files.assign(plate=files["plate"].map(same)), raw_layout, said


def _same_plates(images: list[str], stated: list[str]) -> dict[str, str] | None:
    """image plate -> layout plate, or None."""
    if set(images) <= set(stated):
        return {name: name for name in images}
    if len(images) == 1 and len(stated) == 1:
        return {images[0]: stated[0]}
    numbers = {name: re.sub(r"^(?:plate|p)?[\W_]*0*(?=\d+$)", "", name, flags=re.IGNORECASE) for name in stated}
    same = {image: [name for name, number in numbers.items()
                    if re.search(rf"(?:^|[\W_])(?:plate|p)?[\W_]*0*{re.escape(number)}$", image, re.IGNORECASE)] for image in images}
    if all(len(names) == 1 for names in same.values()) and len({names[0] for names in same.values()}) == len(images):
        return {image: names[0] for image, names in same.items()}
    return None
