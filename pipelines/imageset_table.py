"""Which images a folder holds, and what their table says of them: path, label, group. A part of `add_imageset`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from models.errors import Finding, InputError, TableError
from models.plates.pixels import IMAGE_SUFFIXES
from models.plates.spreadsheets import read_table
from models.words import some

BOX = ("xmin", "ymin", "xmax", "ymax")
SYNONYMS = {    # the first that is there is taken: of groups the widest, since a patient's slides must not be parted
    "path": ("path", "file", "filename", "image", "imagepath", "imageid", "name", "datei", "dateiname", "bild", "fichier"),
    "label": ("label", "class", "category", "klasse", "classe"),
    "group": ("group", "gruppe", "groupe", "patient", "subject", "donor", "spender", "donneur", "case", "animal", "tier", "mouse", "rat",
              "specimen", "sample", "culture", "slide", "dish", "well")}
TOLD = 5        # names in one line


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for. classes: the two labels, the one to find first; empty: those found, in order of the alphabet. margin: side
    of a crop over the longer side of its box. facts: fields of imageset.yaml.
    """

    source: Path
    name: str
    out: Path = Path("data")
    labels: Path | None = None
    boxes: Path | None = None
    classes: tuple[str, ...] = ()
    group_pattern: str = ""
    margin: float = 1.2
    facts: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.margin < math.inf:
            raise InputError(f"--margin must be a number above 0, got {self.margin:g}")


def find_images(request: Request) -> tuple[pd.DataFrame, list[str]]:
    """(image_id, path (in images.zip), file (under the source), label, group of every image, of crops xmin, ymin, xmax, ymax too; lines
    on what was taken for groups, and what is left out).

    Raises InputError when there is none, or a table names files that are not there.
    """
    if not request.source.is_dir():
        raise InputError(f"{request.source} is not a folder")
    places = {path.relative_to(request.source): path for path in request.source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES}
    files = sorted(place.as_posix() for place, path in places.items()
                   if path.is_file() and not any(part.startswith(".") for part in place.parts))
    if not files:
        raise InputError(f"{request.source} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    if request.boxes is not None:
        table, said = _listed(request.boxes, files, needed=("label", *BOX), group_pattern=request.group_pattern)
        table = _crops(table)
    elif request.labels is not None:
        table, said = _listed(request.labels, files, needed=("label",), group_pattern=request.group_pattern)
        table = _once(table, request.labels).assign(path=lambda rows: rows["file"])
    else:
        table, said = pd.DataFrame({"file": files, "path": files, "label": _folder_labels(files)}), []
    return _grouped(table.assign(image_id=_ids(table["path"])).sort_values("file", kind="stable", ignore_index=True), request, said)


def _folder_labels(files: list[str]) -> list[str]:
    """The name of the folder that each lies in; of the topmost one where that gives two names, as in class/patient/image; "" without."""
    own, top = ([PurePosixPath(file).parent.parts[place] if "/" in file else "" for file in files] for place in (-1, 0))
    return top if len({*own} - {""}) != 2 and len({*top} - {""}) == 2 else own


def _ids(paths: pd.Series) -> pd.Series:
    """Paths without suffix, in one word; as they are where two would be called alike."""
    ids = pd.Series([Path(path).with_suffix("").as_posix().replace("/", "_") for path in paths], index=paths.index)
    return ids.mask(ids.duplicated(keep=False), paths)


def _listed(path: Path, files: list[str], *, needed: tuple[str, ...], group_pattern: str) -> tuple[pd.DataFrame, list[str]]:
    """(rows of a table with the file that each names; lines on its groups, unless a pattern finds them, on files that it does not name, and
    on columns that are of no use here).
    """
    table = read_table(path)
    columns = {_plain(column): str(column) for column in reversed(list(table.columns))}
    found = {columns[name]: wanted for wanted, names in SYNONYMS.items() if (name := next((name for name in names if name in columns), ""))}
    given, table = {wanted: column for column, wanted in found.items()}, table.rename(columns=found)
    if missing := [name for name in ("path", *needed) if name not in table]:
        raise TableError(f"{path.name} cannot be used", [Finding(
            rule="column_missing", severity="error", column=name,
            message=f"{path.name} has no column '{name}'; columns found: {', '.join(columns.values())}") for name in missing])
    table = table.assign(file=list(_files_of(table["path"], files)))
    if (lost := table[table["file"] == ""]).size:
        raise TableError(f"{path.name} names {len(lost)} image(s) that are not there", [Finding(
            rule="imageset_path", severity="error", column="path", value=str(row.path),
            message=f"row {int(str(row.Index)) + 2} of {path.name}: no image '{row.path}' under the source, or several of that name")
            for row in lost.head(20).itertuples()])
    unused = [str(column) for column in table if column not in ("file", "path", "group", "mask_path", *needed)]
    unnamed = sorted(set(files) - set(table["file"]))
    return table, [
        *([f"groups: column '{given['group']}' of {path.name}"] if "group" in given and not group_pattern else []),
        *([f"columns of {path.name} that were not used: {', '.join(unused)}; if one of them says which images belong together, call it "
           "'group'"] if unused else []),
        *([f"{len(unnamed)} image(s) are left out, for {path.name} does not name them: {some(unnamed, TOLD)}"] if unnamed else [])]


def _plain(column: Any) -> str:
    """ "Patient ID" and "patient_id" -> "patient"; "Image path" -> "imagepath"."""
    name = re.sub(r"[\s_-]+", "", str(column).strip().lower())
    return name if name == "imageid" else re.sub(r"(?<=.)(id|nr|no)$", "", name)


def _files_of(names: pd.Series, files: list[str]) -> Iterator[str]:
    """The file that each name means, "" where there is none, or several: the same path, or one that ends the other, with its suffix or
    without. "2/a.png" is not "1/a.png".
    """
    ends: dict[tuple[str, ...], list[str]] = {}
    for file in files:
        parts = PurePosixPath(file).parts
        for tail in {parts[start:] for start in range(len(parts))}:
            ends.setdefault(tail, []).append(file)
            ends.setdefault((*tail[:-1], PurePosixPath(tail[-1]).stem), []).append(file)
    known = set(files)
    for name in names.str.strip():
        parts = tuple(part for part in re.split(r"[/\\]", name) if part not in ("", "."))
        meant = [name] if name in known else ends.get(parts, [])
        for start in range(1, len(parts)):      # a longer path than that under the source, as of another machine
            whole = [file for file in ends.get(parts[start:], []) if len(PurePosixPath(file).parts) == len(parts) - start]
            meant = meant or whole
        yield meant[0] if len(meant) == 1 else ""


def _once(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table, if each of its rows is another image. Raises TableError."""
    again = table[table.duplicated("file", keep=False)]
    if len(again):
        rows = {str(file): same for file, same in again.groupby("file", sort=False)}
        raise TableError(f"{path.name} names {len(rows)} image(s) more than once", [Finding(
            rule="imageset_path", severity="error", column="path", value=file,
            message=f"rows {', '.join(str(int(str(row)) + 2) for row in same.index)} of {path.name} are all of {file} (labels: "
                    f"{', '.join(dict.fromkeys(same['label']))}); keep the right one") for file, same in list(rows.items())[:20]])
    return table


def _crops(table: pd.DataFrame) -> pd.DataFrame:
    """A row per box, numbered within its image; the image is the group. Raises TableError for boxes that are none."""
    numbers = table[list(BOX)].apply(pd.to_numeric, errors="coerce").replace([math.inf, -math.inf], math.nan)
    wrong = numbers.isna().any(axis=1) | (numbers["xmax"] <= numbers["xmin"]) | (numbers["ymax"] <= numbers["ymin"])
    if wrong.any():
        raise TableError(f"{int(wrong.sum())} box(es) cannot be used", [Finding(
            rule="imageset_box", severity="error", column=",".join(BOX), value=str(tuple(table.loc[row, list(BOX)])),
            message=f"row {int(row) + 2}: a box needs numbers with xmin < xmax and ymin < ymax") for row in table.index[wrong][:20]])
    place = table.groupby("file").cumcount()
    stems = [Path(file).with_suffix("").as_posix() for file in table["file"]]
    paths = [f"{stem}_{number:03d}.tif" for stem, number in zip(stems, place, strict=True)]
    group = table["group"] if "group" in table else table["file"]
    return table.drop(columns=list(BOX)).assign(**{name: numbers[name] for name in BOX}, path=paths, group=group)


def _grouped(table: pd.DataFrame, request: Request, said: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """With the column `group`: found by the pattern, or given, or the image's own name; and the lines."""
    if request.group_pattern:
        try:
            pattern = re.compile(request.group_pattern)
        except re.error as error:
            raise InputError(f"--group-pattern {request.group_pattern} is no regular expression ({error}); e.g. "
                             r"'(patient\d+)_'") from None
        matches = [pattern.search(file) for file in table["file"]]
        if not all(match and match.groups() for match in matches):
            first = next(file for file, match in zip(table["file"], matches, strict=True) if not (match and match.groups()))
            raise InputError(f"--group-pattern {request.group_pattern} finds no group in {first}; its first bracket must match in every "
                             r"path, e.g. '(patient\d+)_'")
        return table.assign(group=[match.group(1) for match in matches if match]), said
    if "group" not in table:
        return table.assign(group=table["image_id"]), said
    empty = table["group"].str.strip() == ""
    return table.assign(group=table["group"].mask(empty, table["image_id"])), [*said, *(
        [f"{int(empty.sum())} image(s) name no group and are taken as groups of their own: {some(table.loc[empty, 'file'], TOLD)}"]
        if empty.any() else [])]
