"""From a form on disk to checked values. Nothing is believed: names, sizes and fields are checked here.

Images come as one zip per plate, named <plate>.zip, or as many files of one plate, named as in a zip (models/plates/member_names.py).
Only uploads are read; a URL in a field is refused, never fetched.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from models.errors import Finding, InputError
from models.plates.layout import UNNAMED, ParsedLayout, only_plate, parse_layout
from models.plates.readers.platemaps import read_layout_table
from models.plates.screen import Screen
from models.records import from_record
from models.scoring import ScoringOptions
from serving.forms import Fields, Form, StoredFile, field_finding
from serving.readouts import ReadoutOptions, ReadoutTable, read_readout_table

SCORE_FIELDS = Fields(files=("images", "layout"), texts=("model", "screen", "options"), required=("images", "layout", "model", "screen"))
JOB_FIELDS = replace(SCORE_FIELDS, texts=(*SCORE_FIELDS.texts, "adapt"), hashed=True)     # the same again is known by its hashes
CURVE_FIELDS = Fields(files=("layout", "readout"), texts=("options",), required=("layout",))
MAX_DEPTH = 20
MAX_YAML = 65_536       # characters: it is read at some 100,000 a second
MAX_NAME = 255          # of a screen and its sample, as the table of jobs keeps them
LAYOUT_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx")
SENT = "sent"           # folder of what is kept as it was sent, beside the rest of an upload
_FILE_NAME = re.compile(r"[^\x00-\x1f/\\<>:|?*\".][^\x00-\x1f/\\<>:|?*\"]{0,199}")
_MAX_BYTES = 240        # of a file's name: disks take 255, of which an ending needs some; 200 letters may be 800 bytes
_COPY = 2**20


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A form that was understood. plates: archives on disk, named after their plates."""

    plates: tuple[Path, ...]
    layout: ParsedLayout
    screen: Screen
    options: ScoringOptions


def read_upload(form: Form, folder: Path) -> Upload:
    """Put the form's files in order in `folder` and read its values. Raises InputError."""
    screen, options = read_screen(form.texts["screen"]), read_options(form.texts.get("options", ""))
    images = form.files["images"]
    plates, zipped = store_images(images, folder / "images"), bool(_zips(images))
    layout = read_layout_file(form.files["layout"][0], plate_format=screen.plate_format,
                              default_plate=_only_plate(images, plates))
    return Upload(plates=plates if zipped else (_name_plate(plates[0], layout),), layout=layout, screen=screen, options=options)


def read_readout_form(form: Form, folder: Path) -> tuple[ReadoutTable, ReadoutOptions]:
    """The table of POST /curves, with the plate reader's files where there are some. Raises InputError."""
    options = from_record(ReadoutOptions, _options_mapping(form.texts.get("options", "")), path="options")
    files = form.files["readout"]
    names = [base_name(file.filename, "readout") for file in files]     # they say read-out and plate
    if repeated := repeated_names(names, field="readout"):
        raise InputError("the read-outs cannot be used", repeated)
    (folder / "readouts").mkdir()
    for file, name in zip(files, names, strict=True):
        file.path.rename(folder / "readouts" / name)
    title = Path(base_name(form.files["layout"][0].filename, "layout")).stem
    options = options if options.name else replace(options, name=title)
    return read_readout_table(table_path(form.files["layout"][0]), sorted((folder / "readouts").glob("*")), options=options), options


def _only_plate(images: Sequence[StoredFile], plates: Sequence[Path]) -> str:
    """What a layout without a plate column is the layout of: the one zip, or the folder that the loose images were sent with."""
    if _zips(images):
        return only_plate([path.stem for path in plates])
    folders = {re.split(r"[/\\]", file.filename)[-2:][0] if re.search(r"[/\\]", file.filename) else "" for file in images}
    name = folders.pop() if len(folders) == 1 else ""
    return name if _is_file_name(name) else UNNAMED


def _name_plate(loose: Path, layout: ParsedLayout) -> Path:
    """The archive of loose images under the name of the layout's one plate."""
    named = sorted(set(layout.layout["plate"]))
    if len(named) != 1 or not _is_file_name(named[0]):
        raise InputError("the images name no plate", [field_finding(
            "images", f"the layout has plates {', '.join(named)}; send one zip per plate, named <plate>.zip")])
    return loose.rename(loose.with_name(f"{named[0]}.zip"))


def read_screen(text: str) -> Screen:
    """The screen of a form: YAML or JSON with the fields of screen.yaml. Raises InputError."""
    values = read_mapping(text, field="screen")
    if isinstance(channels := values.get("channels"), list):
        values["channels"] = [{"name": item} if isinstance(item, str) else item for item in channels]
    values |= {name: str(values[name]) for name in ("name", "sample") if isinstance(values.get(name), int | float)}
    screen = from_record(Screen, values, path="screen")
    if wrong := [name for name in ("name", "sample") if len(getattr(screen, name)) > MAX_NAME or not getattr(screen, name).isprintable()]:
        raise InputError("the screen cannot be used", [field_finding(
            "screen", f"screen.{name} must be at most {MAX_NAME} characters that can be printed", getattr(screen, name)[:50])
            for name in wrong])
    return screen


def read_options(text: str) -> ScoringOptions:
    """The options of a form: JSON with fit, exclusions, force. Raises InputError (ParamsError) naming the key at fault."""
    return from_record(ScoringOptions, _options_mapping(text), path="options")


def _options_mapping(text: str) -> dict[str, Any]:
    return read_mapping(text, field="options") if text.strip() else {}


def read_mapping(text: str, *, field: str) -> dict[str, Any]:
    """A mapping in JSON, or in YAML without anchors and tags. Raises InputError."""
    if len(text) > MAX_YAML and not text.lstrip().startswith("{"):
        raise InputError(f"'{field}' cannot be read", [field_finding(field, f"'{field}' has {len(text):,} characters; YAML of at most "
                                                                     f"{MAX_YAML:,} is read, send a longer one as JSON")])
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=_PlainLoader)  # noqa: S506  # a SafeLoader
        json.dumps(values, default=str, ensure_ascii=False, skipkeys=True).encode()     # half a character, "\ud800", could not be sent back
    except (ValueError, ArithmeticError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"'{field}' cannot be read", [field_finding(field, f"'{field}' is neither JSON nor YAML: {reason}")]) from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"'{field}' cannot be read", [field_finding(field, f"'{field}' must be a mapping of names to values", text[:100])])
    return values


class _PlainLoader(yaml.SafeLoader):
    """A safe loader that also refuses aliases, with which a few lines stand for gigabytes, tags, and nesting that no screen has."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not read")
        if getattr(self.peek_event(), "tag", None):  # type: ignore[no-untyped-call]  # PyYAML has no types
            raise yaml.YAMLError("tags are not read")       # a text that is called !!int is none, on which the loader itself trips
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def store_images(files: Sequence[StoredFile], folder: Path) -> tuple[Path, ...]:
    """The uploaded images as plate archives in `folder`. Loose images go into one archive, whose plate the layout names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [re.sub(r"\.zip$", ".zip", base_name(file.filename, "images"), flags=re.IGNORECASE) for file in files]
    zips = _zips(files)
    if zips and len(zips) < len(files):
        raise InputError("the images cannot be used", [field_finding("images", "send either one zip per plate or single images, not both")])
    if repeated := repeated_names(names, field="images"):
        raise InputError("the images cannot be used", repeated)
    if zips:
        return tuple(file.path.rename(folder / name) for file, name in zip(files, names, strict=True))
    return (pack(files, names, folder / "loose.zip"),)


def pack(files: Sequence[StoredFile], names: Sequence[str], path: Path) -> Path:
    """Single files as one archive under these names, stored; each is taken away as it goes in, so that the disk holds it once."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file, name in zip(files, names, strict=True):
            with file.path.open("rb") as source, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                shutil.copyfileobj(source, member, _COPY)
            file.path.unlink()
    return path


def read_layout_file(file: StoredFile, *, plate_format: int, default_plate: str) -> ParsedLayout:
    """The uploaded table, parsed. Raises InputError when it is no table at all; what its cells say is judged later."""
    return parse_layout(read_layout_table(table_path(file)), plate_format=plate_format, default_plate=default_plate)


def table_path(file: StoredFile) -> Path:
    """The uploaded table under the name that its sender calls it, which findings name, in the folder SENT beside where it came. Raises
    InputError when its name is not that of a table.
    """
    name = base_name(file.filename, "layout")
    if not _is_table(name):
        raise InputError("the layout cannot be read", [field_finding(
            "layout", f"a layout is a {' or '.join(LAYOUT_SUFFIXES)} file, got '{name}'", name)])
    path = file.path.with_name(SENT) / name
    path.parent.mkdir(exist_ok=True)
    return path if path.exists() else file.path.rename(path)


def _is_table(name: str) -> bool:
    return Path(name).suffix.lower() in LAYOUT_SUFFIXES


def sent_table(folder: Path) -> Path:
    """The table that `table_path` put into the folder of an upload."""
    (found,) = (path for path in (folder / SENT).iterdir() if _is_table(path.name))
    return found


def base_name(filename: str, field: str) -> str:
    """The file's name without its folders. Raises InputError for names that no file may have."""
    name = re.split(r"[/\\]", filename)[-1]
    if not _is_file_name(name):
        raise InputError("a file cannot be used", [field_finding(field, f"'{filename[:200]}' is no usable file name", filename)])
    return name


def _is_file_name(name: str) -> bool:
    return bool(_FILE_NAME.fullmatch(name)) and len(name.encode(errors="replace")) <= _MAX_BYTES


def repeated_names(names: Sequence[str], *, field: str) -> list[Finding]:
    """A finding for each name that several files of a field have."""
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    return [field_finding(field, f"file {name} is sent more than once", name) for name in repeated]


def _zips(files: Sequence[StoredFile]) -> list[StoredFile]:
    return [file for file in files if file.filename.lower().endswith(".zip")]
