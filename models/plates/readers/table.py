"""A platemap with a column of file names per channel: one CSV or XLSX beside the images, a row per well (or image)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from models.errors import Finding, InputError, TableError
from models.plates.pixels import IMAGE_SUFFIXES
from models.plates.readers.base import FILE_COLUMNS, Found, Source
from models.plates.readers.parts import split_parts
from models.plates.readers.platemaps import TABLE_SUFFIXES, with_contract_names
from models.plates.spreadsheets import read_table
from models.plates.vocabulary import canonical_column, plain
from models.wells import well_or_text, well_texts

_FILE_WORDS = ("filename", "file", "image", "img", "path", "url")
_SITE_WORDS, _PLANE_WORDS = ("site", "field", "fov"), ("plane", "z", "slice", "zplane")


class TableConvention:
    """See the module."""

    name = "table"

    def detect(self, source: Source) -> bool:
        """A table is named, or lies in the folder, in which a column holds names of image files."""
        tables = [source.platemap] if source.platemap is not None else _tables(source.folder)
        return any(_names_images(path, source) for path in tables)

    def read(self, source: Source) -> Found:
        """The files that the table names. Raises TableError if it has no column of file names or of wells."""
        platemap = _platemap(source)
        table = with_contract_names(read_table(platemap), source.columns, platemap.name)
        channels = _file_columns(table, source)
        if not channels:
            raise TableError(f"{platemap.name} names no images", [Finding(
                rule="file_column_missing", severity="error", value=platemap.name,
                message=f"{platemap.name} has no column of image file names ({', '.join(IMAGE_SUFFIXES)}); columns found: "
                        f"{', '.join(map(str, table.columns))}. Name it with --channels, such as --channels dna=my_column")])
        places = _places(table, source.plate)
        index = _FileIndex(source.folder, platemap.parent)
        rows, findings = [], []
        for channel, column in channels.items():
            for position, text in enumerate(table[column]):
                place = places.iloc[position]
                path, problem = index.find(text)
                if path is not None:
                    rows.append({**place.to_dict(), "channel": channel, "path": path})
                elif text:
                    findings.append(Finding(rule="image_missing", severity="error", message=problem, plate=place["plate"],
                                            well=place["well"], column=column, value=text))
        named = pd.DataFrame(rows, columns=list(FILE_COLUMNS[:-1]))
        parts = split_parts(named, {channel: channel for channel in channels}, source)
        files = parts.files.assign(channel=parts.files["channel"].map(dict(parts.channels)))
        return Found(convention=self.name, files=files, raw_layout=_layout_part(table, channels),
                     channels=tuple(parts.channels.values()), inputs=(platemap,), findings=(*findings, *parts.findings),
                     facts=parts.facts, said=(*_said(platemap, channels, named), *parts.said))


class _FileIndex:
    """Finds the files that a table names: as written, or by their name alone anywhere in the folder."""

    def __init__(self, folder: Path, beside: Path) -> None:
        self.roots = [folder.resolve(), *([beside.resolve()] if beside.resolve() != folder.resolve() else [])]
        self.by_name: dict[str, list[Path]] = {}
        for path in sorted(self.roots[0].rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self.by_name.setdefault(path.name, []).append(path)

    def find(self, text: str) -> tuple[Path | None, str]:
        """(path, "") or (None, what is wrong)."""
        written = text.replace("\\", "/")
        for root in self.roots:
            path = (root / written).resolve()
            if path.is_file() and any(path.is_relative_to(allowed) for allowed in self.roots):
                return path, ""
        named = self.by_name.get(Path(written).name, [])
        if len(named) == 1 and named[0].resolve().is_relative_to(self.roots[0]):
            return named[0], ""
        if len(named) > 1:
            return None, f"'{text}' names {len(named)} files in {self.roots[0].name}/; write their folder into the table"
        return None, f"image '{text}' is not in {self.roots[0].name}/; put it there, or correct the table"


def _platemap(source: Source) -> Path:
    """The table that is named, else the only one in the folder that names images."""
    if source.platemap is not None:
        return source.platemap
    if not source.folder.is_dir():
        raise InputError(f"{source.folder} is not a folder")
    tables = _tables(source.folder)
    usable = [path for path in tables if _names_images(path, source)] or (tables if len(tables) == 1 else [])
    if len(usable) == 1:
        return usable[0]
    problem = (f"{len(usable)} tables name images ({', '.join(path.name for path in usable)})" if usable else
               f"none of {len(tables)} table(s) in it has a column of image file names")
    raise InputError(f"{source.folder.name}/ has no single platemap", [Finding(
        rule="platemap", severity="error", value=source.folder.name, message=f"{problem}; name the right one with --platemap")])


def _tables(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in TABLE_SUFFIXES] if folder.is_dir() else []


def _names_images(path: Path, source: Source) -> bool:
    """Whether a column holds names of image files, or the columns are there that a person named as channels."""
    try:
        table = read_table(path)
    except InputError:
        return False
    if source.channels:
        return set(source.channels.values()) <= set(table.columns)
    return bool(_image_columns(table))


def _file_columns(table: pd.DataFrame, source: Source) -> dict[str, str]:
    """channel -> column: as the person says, else each column whose filled cells name images."""
    if source.channels:
        missing = [column for column in source.channels.values() if column not in table.columns]
        if missing:
            raise TableError("a channel's column is missing", [Finding(
                rule="file_column_missing", severity="error", column=missing[0],
                message=f"--channels names column '{missing[0]}'; columns found: {', '.join(map(str, table.columns))}")])
        return dict(source.channels)
    columns = _image_columns(table)
    names = [_channel_name(column) for column in columns]
    return dict(zip(names if len(set(names)) == len(names) else columns, columns, strict=True))


def _image_columns(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.columns if (filled := [text for text in table[name] if text])
            and all(text.lower().endswith(IMAGE_SUFFIXES) for text in filled)]


def _channel_name(column: str) -> str:
    """ "file_gfp" -> "gfp", "DNA image" -> "dna"; a bare "file" is bright-field until told otherwise."""
    words = [word for word in column.lower().replace("_", " ").replace("-", " ").replace(".", " ").split()
             if word not in (*_FILE_WORDS, "name")]
    return "_".join(words) or "brightfield"


def _places(table: pd.DataFrame, default_plate: str) -> pd.DataFrame:
    """plate, well, site, plane of each row of the table; a well that cannot be read stays as written."""
    columns = {canonical_column(str(name))[0] or plain(str(name)): str(name) for name in reversed(table.columns)}
    if "well" not in columns and not {"row", "column"} <= set(columns):
        raise TableError("the platemap has no column of wells", [Finding(
            rule="column_missing", severity="error", column="well",
            message=f"no column 'well'; columns found: {', '.join(map(str, table.columns))}. Name it with --columns well=...")])
    wells = well_texts(table, columns)
    plates = table[columns["plate"]] if "plate" in columns else pd.Series("", index=table.index, dtype="str")
    return pd.DataFrame({
        "plate": plates.where(plates != "", default_plate), "well": [well_or_text(text) for text in wells],
        "site": _counts(table, columns, _SITE_WORDS, default=1), "plane": _counts(table, columns, _PLANE_WORDS, default=0)})


def _counts(table: pd.DataFrame, columns: Mapping[str, str], words: tuple[str, ...], *, default: int) -> list[int]:
    column = next((columns[word] for word in words if word in columns), None)
    if column is None:
        return [default] * len(table)
    wrong = [text for text in table[column] if not text.isdecimal()]
    if wrong:
        raise TableError(f"column '{column}' must hold whole numbers", [Finding(
            rule="number", severity="error", column=column, value=wrong[0],
            message=f"'{wrong[0]}' in column {column} is not a whole number")])
    return [int(text) for text in table[column]]


def _layout_part(table: pd.DataFrame, channels: Mapping[str, str]) -> pd.DataFrame:
    """The table without its file columns; rows that differ only in site or plane are one well."""
    counting = [name for name in table.columns if plain(str(name)) in _SITE_WORDS + _PLANE_WORDS]
    layout = table.drop(columns=[*channels.values(), *counting])
    layout = (layout[~layout.duplicated()] if counting else layout).reset_index(drop=True)
    layout.attrs = dict(table.attrs)
    return layout


def _said(platemap: Path, channels: Mapping[str, str], files: pd.DataFrame) -> tuple[str, ...]:
    named = ", ".join(f"{channel} (column {column})" for channel, column in channels.items())
    return (f"platemap {platemap.name} names {len(files)} image(s) of {files[['plate', 'well']].drop_duplicates().shape[0]} well(s) "
            f"on {files['plate'].nunique()} plate(s)", f"channels: {named}")
