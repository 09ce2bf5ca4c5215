"""From a multipart form to files on disk and checked values. Nothing is believed: names, sizes and fields are checked here.

Images come as one zip per plate, named <plate>.zip, or as many files <well>_s<site>_c<channel>_z<plane>.tif of one plate.
Only uploads are read; a URL in a field is refused, never fetched.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import yaml

from models.errors import Finding, InputError
from models.plates.layout import ParsedLayout, parse_layout, read_table
from models.plates.screen import Screen
from models.records import from_record
from models.scoring import ScoringOptions

FIELDS = ("images", "layout", "model", "screen", "options")
FILE_FIELDS = ("images", "layout")
LAYOUT_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx")
_FILE_NAME = re.compile(r"^[^\x00-\x1f/\\<>:|?*\"]{1,200}$")
_COPY = 2**20


class FilePart(Protocol):
    """An uploaded file of a form."""

    filename: str | None
    file: IO[bytes]


@dataclass(frozen=True, kw_only=True)
class Form:
    """The parts of POST /score as they came: files and texts."""

    images: Sequence[FilePart]
    layout: FilePart
    model: str
    screen: str
    options: str = ""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A form that was understood. plates: archives on disk, named after their plates."""

    plates: tuple[Path, ...]
    layout: ParsedLayout
    screen: Screen
    options: ScoringOptions


def sort_parts(parts: Sequence[tuple[str, FilePart | str]]) -> Form:
    """The parts of a form under their names. Raises InputError with a finding per missing, unknown, repeated or wrong field."""
    files: dict[str, list[FilePart]] = {name: [] for name in FILE_FIELDS}
    texts: dict[str, list[str]] = {}
    findings = []
    for name, part in parts:
        if name not in FIELDS:
            findings.append(_field(name, f"unknown field '{name}'; known: {', '.join(FIELDS)}"))
        elif isinstance(part, str) and name in FILE_FIELDS:
            findings.append(_field(name, f"'{name}' must be uploaded as a file; addresses and texts are not fetched or read", part))
        elif isinstance(part, str):
            texts.setdefault(name, []).append(part)
        elif name in FILE_FIELDS:
            files[name].append(part)
        else:
            texts.setdefault(name, []).append(part.file.read().decode("utf-8", errors="replace"))
    counts = {**{name: len(items) for name, items in texts.items()}, "layout": len(files["layout"])}
    findings += [_field(name, f"'{name}' is given {count} times; give it once") for name, count in counts.items() if count > 1]
    findings += [_field(name, f"'{name}' is missing") for name in FIELDS[:-1]
                 if not (files.get(name) or texts.get(name)) and not any(finding.column == name for finding in findings)]
    if findings:
        raise InputError("the form cannot be used", findings)
    return Form(images=files["images"], layout=files["layout"][0], **{name: items[0] for name, items in texts.items()})


def read_upload(form: Form, folder: Path) -> Upload:
    """Write the form's files into `folder` and read its values. Raises InputError."""
    screen, options = read_screen(form.screen), read_options(form.options)
    plates, zipped = store_images(form.images, folder / "images"), bool(_zips(form.images))
    layout = store_layout(form.layout, folder, screen=screen,
                          default_plate=plates[0].stem if zipped and len(plates) == 1 else "plate1")
    return Upload(plates=plates if zipped else (_name_plate(plates[0], layout),), layout=layout, screen=screen, options=options)


def _name_plate(loose: Path, layout: ParsedLayout) -> Path:
    """The archive of loose images under the name of the layout's one plate."""
    named = sorted(set(layout.layout["plate"]))
    if len(named) != 1 or not _FILE_NAME.match(named[0]):
        raise InputError("the images name no plate", [_field(
            "images", f"the layout has plates {', '.join(named)}; send one zip per plate, named <plate>.zip")])
    return loose.rename(loose.with_name(f"{named[0]}.zip"))


def read_screen(text: str) -> Screen:
    """The screen of a form: YAML or JSON with the fields of screen.yaml. Raises InputError."""
    values = read_mapping(text, field="screen")
    if isinstance(channels := values.get("channels"), list):
        values["channels"] = [{"name": item} if isinstance(item, str) else item for item in channels]
    values |= {name: str(values[name]) for name in ("name", "sample") if isinstance(values.get(name), int | float)}
    return from_record(Screen, values, path="screen")


def read_options(text: str) -> ScoringOptions:
    """The options of a form: JSON with fit, exclusions, force. Raises InputError (ParamsError) naming the key at fault."""
    return from_record(ScoringOptions, read_mapping(text, field="options") if text.strip() else {}, path="options")


def read_mapping(text: str, *, field: str) -> dict[str, Any]:
    """A mapping in JSON, or in YAML without anchors and tags. Raises InputError."""
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=_PlainLoader)  # noqa: S506  # a SafeLoader
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"'{field}' cannot be read", [_field(field, f"'{field}' is neither JSON nor YAML: {reason}")]) from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"'{field}' cannot be read", [_field(field, f"'{field}' must be a mapping of names to values", text[:100])])
    return values


class _PlainLoader(yaml.SafeLoader):
    """A safe loader that also refuses aliases, with which a few lines stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not read")
        return super().compose_node(parent, index)


def store_images(parts: Sequence[FilePart], folder: Path) -> tuple[Path, ...]:
    """The uploaded images as plate archives on disk. Loose images go into one archive, whose plate the layout names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [base_name(part, "images") for part in parts]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    zips = _zips(parts)
    if zips and len(zips) < len(parts):
        raise InputError("the images cannot be used", [_field("images", "send either one zip per plate or single images, not both")])
    if repeated:
        raise InputError("the images cannot be used", [_field("images", f"file {name} is sent more than once", name) for name in repeated])
    if zips:
        return tuple(_store(part, folder / name) for part, name in zip(parts, names, strict=True))
    path = folder / "loose.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for part, name in zip(parts, names, strict=True):
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                shutil.copyfileobj(part.file, member, _COPY)
    return (path,)


def store_layout(part: FilePart, folder: Path, *, screen: Screen, default_plate: str) -> ParsedLayout:
    """The uploaded table, parsed. Raises InputError when it is no table at all; what its cells say is judged later."""
    name = base_name(part, "layout")
    suffix = Path(name).suffix.lower()
    if suffix not in LAYOUT_SUFFIXES:
        raise InputError("the layout cannot be read", [_field("layout", f"a layout is a {' or '.join(LAYOUT_SUFFIXES)} file, got '{name}'",
                                                              name)])
    return parse_layout(read_table(_store(part, folder / f"layout{suffix}")), plate_format=screen.plate_format, default_plate=default_plate)


def base_name(part: FilePart, field: str) -> str:
    """The file's name without its folders. Raises InputError for names that no file may have."""
    name = re.split(r"[/\\]", part.filename or "")[-1]
    if not _FILE_NAME.match(name) or name.startswith(".") or not Path(name).stem:
        raise InputError("a file cannot be used", [_field(field, f"'{part.filename}' is no usable file name", str(part.filename))])
    return name


def _zips(parts: Sequence[FilePart]) -> list[FilePart]:
    return [part for part in parts if (part.filename or "").lower().endswith(".zip")]


def _store(part: FilePart, path: Path) -> Path:
    path = path.with_suffix(path.suffix.lower())
    with path.open("wb") as file:
        shutil.copyfileobj(part.file, file, _COPY)
    return path


def _field(name: str, message: str, value: str = "") -> Finding:
    return Finding(rule="form_field", severity="error", column=name, value=value[:200], message=message)
