"""Big plates made small where they lie: stacks of planes -> MIP, MID and MoS at a network's size, one plate archive a plate.

    python -m pipelines.project SOURCE --out DIR [--size 224] [--projections mip,mid,mos] [--threads 2] [--sample PAT_2]

To be run beside the microscope's storage: planes are streamed, and only DIR travels, a few thousandths of SOURCE. DIR goes into
`python -m pipelines.add_screen DIR --name NAME --platemap FILE`, and DIR/images and DIR/screen.json into the service. Needs no layout.
A run that was cut off goes on with the same command; plates whose files have not changed are left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from models.errors import Finding, ImageError, InputError, ScreenError
from models.plates.images import encode_tiff, member_name, write_plate
from models.plates.lazy_planes import Scratch
from models.plates.pixels import decode_image
from models.plates.planes import open_planes
from models.plates.projections import PROJECTIONS, Projection, StackProjector
from models.plates.readers import Found, Source, read_source
from models.plates.readers.archive import SCREEN_JSON
from models.wells import parse_well
from models.whole_file import whole_file
from pipelines.command import run_command
from pipelines.image_copy import source_state
from pipelines.sources import add_fact_options, add_source_options, facts_of, source_of

NOTES = "projected.json"    # what DIR was made with, and of which files
PARTS = ".parts"            # small images of plates that are not complete


@dataclass(frozen=True, kw_only=True)
class Projecting:
    """What a person asks for. size: pixels a side; a model reads its own size best. facts: fields of screen.json."""

    source: Source
    out: Path
    convention: str = "auto"
    size: int = 224
    projections: tuple[Projection, ...] = PROJECTIONS
    threads: int = min(4, os.cpu_count() or 1)
    facts: dict[str, Any] = field(default_factory=dict)
    force: bool = False

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 4096 or self.threads < 1:
            raise InputError(f"--size must lie between 8 and 4096 pixels and --threads be at least 1, got {self.size} and {self.threads}")
        if not self.projections or set(self.projections) - set(PROJECTIONS):
            raise InputError(f"--projections must be some of {', '.join(PROJECTIONS)}, got {', '.join(self.projections) or 'none'}")


@dataclass(frozen=True)
class PlateNote:
    """A plate that is done. state: of its files; stacks: how many; source_bytes: that they had; shape and bits: of a plane of theirs."""

    state: str
    stacks: int
    source_bytes: int
    shape: tuple[int, ...]
    bits: int


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """The images of one well, site and channel. files: (path, part, bytes) in order of planes; members: projection -> small image."""

    plate: str
    well: str
    files: tuple[tuple[Path, str, int], ...]
    members: dict[Projection, Path]


def project(request: Projecting, *, progress: bool = True) -> list[str]:
    """Write DIR; returns lines that say what was found and made.

    Raises InputError with a finding per image that cannot be used; the plates without one are done then, and the same command goes
    on when the others are mended. Raises ScreenError where DIR was made with other settings.
    """
    found = read_source(replace(request.source, layout=False), convention=request.convention)
    errors = [item for item in found.findings if item.severity == "error"]
    if errors:
        raise ScreenError(f"{request.source.folder.name}/ cannot be used as it is", errors)
    channels = [f"{channel}_{projection}" for channel in found.channels for projection in request.projections]
    settings = {"size": request.size, "channels": channels, "timepoint": request.source.timepoint}
    notes = _begin(request, settings)
    findings: list[Finding] = []
    sizes = _sizes(found.files)
    with tqdm(total=sum(sizes), unit="B", unit_scale=True, desc="project", disable=not progress, leave=False) as bar:
        for plate, files in found.files.assign(size=sizes).groupby("plate"):
            note = _plate(request, found, str(plate), files, notes.get(str(plate)), bar, findings)
            if note is not None and note != notes.get(str(plate)):
                notes[str(plate)] = note
                _write_json(request.out / NOTES, {"settings": settings, "plates": {name: asdict(item) for name, item in notes.items()}})
    if findings:
        raise ImageError(f"{len(findings)} image(s) cannot be used; {len(notes)} plate(s) are done; put these images right, and the same "
                         "command continues", findings)
    shutil.rmtree(request.out / PARTS, ignore_errors=True)
    _write_json(request.out / SCREEN_JSON, _screen(request, found, channels, notes))
    return _said(request, found, channels, notes)


def _begin(request: Projecting, settings: dict[str, Any]) -> dict[str, PlateNote]:
    """What DIR holds from before. Raises ScreenError where it was made with other settings."""
    path = request.out / NOTES
    request.out.mkdir(parents=True, exist_ok=True)
    if request.force:
        for name in ("images", PARTS):
            shutil.rmtree(request.out / name, ignore_errors=True)
        path.unlink(missing_ok=True)
    if not path.is_file():
        _write_json(path, {"settings": settings, "plates": {}})
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["settings"] != settings:
        was = ", ".join(f"{name} {record['settings'].get(name)}" for name in settings if record["settings"].get(name) != settings[name])
        raise ScreenError(f"{request.out} was made with other settings ({was}); choose another --out, or --force to start over")
    return {name: PlateNote(**{**note, "shape": tuple(note["shape"])}) for name, note in record["plates"].items()}


def _plate(request: Projecting, found: Found, plate: str, files: pd.DataFrame, note: PlateNote | None, bar: tqdm[Any],
           findings: list[Finding]) -> PlateNote | None:
    """Project one plate; its note, None where an image cannot be used. A plate that is there, of the same files, is left alone."""
    state, archive = source_state(files), request.out / "images" / f"{plate}.zip"
    if note is not None and note.state == state and archive.is_file():
        bar.update(note.source_bytes)
        return note
    parts = _parts(request.out / PARTS / plate, state)
    stacks = [_stack(rows, found.channels, request.projections, plate=plate, folder=parts)
              for _, rows in files.groupby(["well", "site", "channel"], sort=True)]
    wrong = list(_each(lambda stack: _project_stack(stack, request.size, bar), stacks, threads=request.threads))
    if wrong:
        findings += wrong
        return None
    members = sorted((path for stack in stacks for path in stack.members.values()), key=_member_order)
    write_plate(archive, ((path.name, decode_image(path.read_bytes(), path.name)) for path in members))
    shutil.rmtree(parts)
    path, part, _ = stacks[0].files[0]
    with open_planes(path, part) as planes:
        return PlateNote(state, len(stacks), int(files["size"].sum()), planes[0].shape, planes[0].dtype.itemsize * 8)


def _parts(folder: Path, state: str) -> Path:
    """The folder of a plate's small images: what is there of the same files stays."""
    mark = folder / "state"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != state:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.write_text(state, encoding="utf-8")
    return folder


def _stack(rows: pd.DataFrame, channels: Sequence[str], projections: Sequence[Projection], *, plate: str, folder: Path) -> _Stack:
    """The stack of the rows of one well, site and channel."""
    ordered = rows.sort_values("plane", kind="stable")
    well, site, channel = ordered.iloc[0][["well", "site", "channel"]]
    first = list(channels).index(channel) * len(projections)
    names = [member_name(well, site=int(site), channel=first + place) for place in range(len(projections))]
    files = zip(ordered["path"], ordered["part"], ordered["size"], strict=True)
    return _Stack(plate=plate, well=well, files=tuple(files),
                  members={projection: folder / name for projection, name in zip(projections, names, strict=True)})


def _member_order(path: Path) -> tuple[int, ...]:
    well, *rest = path.stem.split("_")
    return (*parse_well(well), *(int(part[1:]) for part in rest))


def _each(work: Callable[[_Stack], Sequence[Finding]], stacks: Sequence[_Stack], *, threads: int) -> Iterator[Finding]:
    """What the work finds in each stack, in order, by several threads; nothing new is begun once one fails or the run is interrupted."""
    pool = ThreadPoolExecutor(threads)
    try:
        for found in pool.map(work, stacks):
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)


class _Workspace(threading.local):
    """Each thread's memory."""

    def __init__(self) -> None:
        self.projector, self.scratch = StackProjector(), Scratch()


_WORKSPACE = _Workspace()


def _project_stack(stack: _Stack, size: int, bar: tqdm[Any]) -> Sequence[Finding]:
    """Write the stack's small images, unless they are there; what is wrong with it."""
    try:
        if not all(path.is_file() for path in stack.members.values()):
            _write_small(stack, size)
    except ImageError as error:
        return [replace(item, plate=stack.plate, well=stack.well) for item in error.findings]
    except ValueError as error:
        name = stack.files[0][0].name
        return [Finding(rule="image_stack", severity="error", plate=stack.plate, well=stack.well, value=name,
                        message=f"{name} and its neighbours make no stack: {error}; export the well again")]
    finally:
        bar.update(sum(bytes_ for _, _, bytes_ in stack.files))
    return []


def _write_small(stack: _Stack, size: int) -> None:
    workspace = _WORKSPACE
    with ExitStack() as opened:
        images = [opened.enter_context(open_planes(path, part, at_least=2 * size, scratch=workspace.scratch))
                  for path, part, _ in stack.files]
        workspace.projector.run((plane for image in images for plane in image), count=sum(map(len, images)))
    for projection, path in stack.members.items():
        small = np.rint(workspace.projector.small(projection, size)).astype(workspace.projector.dtype)
        with whole_file(path) as making:
            making.write_bytes(encode_tiff(small))


def _sizes(files: pd.DataFrame) -> list[int]:
    """Bytes behind each row: of the file, shared among its parts."""
    shares = files["path"].map(files["path"].value_counts())
    known = {path: sum(one.stat().st_size for one in path.rglob("*") if one.is_file()) if path.is_dir() else path.stat().st_size
             for path in set(files["path"])}
    return [int(known[path] // share) for path, share in zip(files["path"], shares, strict=True)]


def _screen(request: Projecting, found: Found, channels: Sequence[str], notes: dict[str, PlateNote]) -> dict[str, Any]:
    """screen.json: what is known of the screen, pixels as large as they are now."""
    facts = {**found.facts, **request.facts}
    height, width = max(note.shape for note in notes.values())[:2]
    if "pixel_size_um" in facts:
        facts["pixel_size_um"] = float(f"{facts['pixel_size_um'] * height / request.size:.6g}")
        if height != width:
            del facts["pixel_size_um"]  # the small pixels are no squares
    return {"name": request.out.resolve().name, **facts, "channels": list(channels), "bit_depth": max(note.bits for note in notes.values()),
            "source": f"{request.source.folder.resolve().name} ({found.convention}), projected to {request.size} pixels"}


def _said(request: Projecting, found: Found, channels: Sequence[str], notes: dict[str, PlateNote]) -> list[str]:
    out = request.out
    lines = [f"convention {found.convention}: {line}" for line in found.said] + [str(item) for item in found.findings]
    lines.append(f"channels now: {', '.join(channels)}; recipes find {channels[0]} under {':'.join(channels[0].rsplit('_', 1))}")
    for plate, note in notes.items():
        small = (out / "images" / f"{plate}.zip").stat().st_size
        lines.append(f"{plate}: {note.stacks} stacks, {note.source_bytes / 1e9:.3g} GB -> {small / 1e6:.3g} MB")
    if "sample" not in {**found.facts, **request.facts}:
        lines.append(f"warning: {SCREEN_JSON} names no sample; name the cell line or patient with --sample, here or to add_screen")
    return [*lines, f"{out}: made", "", "Next, where the data are kept:",
            f"python -m pipelines.add_screen {out} --name NAME --platemap FILE", "or, with a model that serves:",
            f"python -m serving.cli score {out}/images --layout FILE --screen {out}/{SCREEN_JSON} --model NAME"]


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with whole_file(path) as making:
        making.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.project", description="Make big plates small, where they lie.")
    add_source_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the small images: what travels")
    parser.add_argument("--size", type=int, default=Projecting.size, help="pixels a side (default: 224)")
    parser.add_argument("--projections", default=",".join(PROJECTIONS), help="some of mip,mid,mos (default: all)")
    parser.add_argument("--threads", type=int, default=Projecting.threads, help="default: as many as processors, at most 4")
    add_fact_options(parser)
    parser.add_argument("--force", action="store_true", help="start over, whatever OUT holds")
    arguments = parser.parse_args(argv)
    facts = facts_of(arguments) | ({"plate_format": arguments.plate_format} if arguments.plate_format else {})
    request = Projecting(source=source_of(arguments, layout=False), out=arguments.out, convention=arguments.convention, size=arguments.size,
                         projections=tuple(filter(None, arguments.projections.replace(" ", "").split(","))),
                         threads=arguments.threads, facts=facts, force=arguments.force)
    print(*project(request), sep="\n")


if __name__ == "__main__":
    run_command(main)
